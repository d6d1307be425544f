# An example host: a small VPS as Hetzner and others rent it (2 virtual processors, 4 GB, one disk), x86_64 or aarch64.
#
# To install it over whatever system the VPS came with, from a machine with Nix, in three steps. First an installer takes the
# place of that system, in memory:
#
#   nix run github:nix-community/nixos-anywhere -- --phases kexec --flake .#journey root@ADDRESS
#
# Then divide the disk, as root in the installer. There is no layout for disko here; what is mounted is named by label. The disk
# itself is /dev/sda here and in boot.loader.grub.device below; look with lsblk, and put yours in both places:
#
#   parted --script /dev/sda -- mklabel gpt mkpart bios 1MiB 2MiB set 1 bios_grub on mkpart boot fat32 2MiB 512MiB \
#     set 2 esp on mkpart swap linux-swap 512MiB 2560MiB mkpart root ext4 2560MiB 100%
#   mkfs.fat -F 32 -n boot /dev/sda2 && mkswap -L swap /dev/sda3 && mkfs.ext4 -L root /dev/sda4
#   mount /dev/disk/by-label/root /mnt && mkdir /mnt/boot && mount /dev/disk/by-label/boot /mnt/boot
#
# And the rest, after which the machine starts as this host:
#
#   nix run github:nix-community/nixos-anywhere -- --phases install,reboot --flake .#journey root@ADDRESS
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:

{
  # Drivers of virtual disks and networks for the initrd.
  imports = [ "${modulesPath}/profiles/qemu-guest.nix" ];

  services.customer-journey = {
    enable = true;
    domain = "journey.example.com";
    acmeEmail = "ops@example.com";
    corsOrigins = [ "https://shop.example.com" ];
    # Memory of the machine; everything is sized by it.
    ramMB = 4096;
  };

  networking.hostName = "journey";
  # Addresses by DHCP, as every cloud gives them. A static IPv6 address goes to
  # systemd.network.networks."10-wan".address = [ "2001:db8::1/64" ];
  networking.useNetworkd = true;
  networking.useDHCP = false;
  systemd.network.networks."10-wan" = {
    matchConfig.Type = "ether";
    networkConfig.DHCP = "yes";
  };

  services.openssh = {
    enable = true;
    settings = {
      PasswordAuthentication = false;
      KbdInteractiveAuthentication = false;
      PermitRootLogin = "prohibit-password";
    };
  };
  users.users.root.openssh.authorizedKeys.keys = [
    # "ssh-ed25519 AAAA… you@example.com"
  ];
  warnings = lib.optional (config.users.users.root.openssh.authorizedKeys.keys == [ ]) ''
    Nobody could log in to this host: put your public key into users.users.root.openssh.authorizedKeys.keys before installing.
  '';

  # Starts by UEFI, as all aarch64 machines do, and by BIOS, as many x86_64 machines of Hetzner still do.
  boot.loader.grub = {
    efiSupport = true;
    efiInstallAsRemovable = true;
    device = if pkgs.stdenv.hostPlatform.isx86_64 then "/dev/sda" else "nodev";
    configurationLimit = 10;
  };
  # The console that the provider shows in the browser.
  boot.kernelParams = [ "console=tty0" ];

  fileSystems."/" = {
    device = "/dev/disk/by-label/root";
    fsType = "ext4";
    options = [ "noatime" ];
  };
  fileSystems."/boot" = {
    device = "/dev/disk/by-label/boot";
    fsType = "vfat";
    options = [ "umask=0077" ];
  };
  swapDevices = [ { device = "/dev/disk/by-label/swap"; } ];

  # Releases stay for a rollback, but not for ever.
  nix.gc = {
    automatic = true;
    dates = "weekly";
    options = "--delete-older-than 30d";
  };
  nix.settings.experimental-features = [
    "nix-command"
    "flakes"
  ];

  time.timeZone = lib.mkDefault "UTC";
  system.stateVersion = "26.05";
}
