# What `nix flake check` builds besides the VM tests: the program with its tests, lints, formats, the SDK.
{
  lib,
  pkgs,
  customer-journey,
  sdk,
  nixosSystem,
}:

let
  withTests = customer-journey.override { withTests = true; };

  nixFiles = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.fileFilter (file: file.hasExt "nix") ../.;
  };
in
{
  package = withTests;

  inherit sdk;

  wrong-hosts = import ./wrong-hosts.nix {
    inherit lib pkgs nixosSystem;
    module = ./module.nix;
  };

  # The build with everything after the compiler replaced.
  clippy = withTests.overrideAttrs (old: {
    pname = "${old.pname}-clippy";
    nativeBuildInputs = old.nativeBuildInputs ++ [ pkgs.clippy ];
    buildPhase = ''
      runHook preBuild
      cargo clippy --offline --locked --all-targets -- --deny warnings
      runHook postBuild
    '';
    doCheck = false;
    installPhase = ''
      runHook preInstall
      touch $out
      runHook postInstall
    '';
    postInstall = "";
    dontFixup = true;
  });

  format =
    pkgs.runCommand "format"
      {
        nativeBuildInputs = [
          pkgs.cargo
          pkgs.rustfmt
        ];
      }
      ''
        export HOME=$TMPDIR
        cd ${withTests.src}
        cargo fmt --check
        touch $out
      '';

  nix-format = pkgs.runCommand "nix-format" { nativeBuildInputs = [ pkgs.nixfmt ]; } ''
    find ${nixFiles} -name '*.nix' -print0 | xargs -0 nixfmt --check
    touch $out
  '';
}
