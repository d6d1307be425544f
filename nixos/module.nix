# The appliance: a part a file, each off when its option says so.
{
  imports = [
    ./options.nix
    ./assertions.nix
    ./service.nix
    ./command.nix
    ./database.nix
    ./redis.nix
    ./nginx.nix
    ./fail2ban.nix
    ./backup.nix
    ./host.nix
  ];
}
