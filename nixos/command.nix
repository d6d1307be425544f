# `sudo customer-journey …` as the service itself would run it: its user, its configuration, its secrets.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.customer-journey;
  program = lib.getExe' cfg.package "customer-journey";

  properties = [
    "User=customer-journey"
    "Group=customer-journey"
    "UMask=0077"
    "NoNewPrivileges=yes"
  ]
  ++ lib.mapAttrsToList (name: path: "LoadCredential=${name}:${path}") cfg.credentials;

  # Only root can read the secrets, so systemd hands them over as it does to the service. Files given by name are opened by
  # the service's user; those that the shell opens (`> file`, `< file`) by whoever has called.
  command = pkgs.writeShellScriptBin "customer-journey" ''
    if [ "$(id -u)" -ne 0 ]; then exec ${program} "$@"; fi
    if [ -t 0 ] && [ -t 1 ]; then streams=--pty; else streams=--pipe; fi
    exec ${lib.getExe' config.systemd.package "systemd-run"} --quiet --collect --wait $streams \
      --description="customer-journey, called by an administrator" --expand-environment=no \
      ${
        lib.concatMapStringsSep " " (property: "--property=${lib.escapeShellArg property}") properties
      } \
      --property=WorkingDirectory="-$PWD" \
      -- ${program} "$@"
  '';
in
{
  config = lib.mkIf cfg.enable {
    environment.systemPackages = [
      (lib.hiPrio command)
      # Its manual pages and completions; the command above goes before its own.
      cfg.package
    ];
  };
}
