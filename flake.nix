{
  description = "Self-hosted customer journey analytics, as an appliance for NixOS";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forEachSystem = function: lib.genAttrs systems (system: function nixpkgs.legacyPackages.${system});
      packagesOf = pkgs: self.packages.${pkgs.stdenv.hostPlatform.system};

      # Every file of the folder is a test of that name.
      vmTests =
        lib.mapAttrs' (file: _: lib.nameValuePair (lib.removeSuffix ".nix" file) ./nixos/tests/${file})
          (
            lib.filterAttrs (file: type: type == "regular" && lib.hasSuffix ".nix" file) (
              builtins.readDir ./nixos/tests
            )
          );
    in
    {
      packages = forEachSystem (pkgs: rec {
        customer-journey = pkgs.callPackage ./nixos/package.nix { };
        default = customer-journey;
        sdk = pkgs.callPackage ./nixos/sdk.nix { };
      });

      overlays.default = final: _: {
        customer-journey = final.callPackage ./nixos/package.nix { };
        customer-journey-sdk = final.callPackage ./nixos/sdk.nix { };
      };

      nixosModules.default = ./nixos/module.nix;

      nixosConfigurations = lib.listToAttrs (
        map (
          system:
          lib.nameValuePair "vps-${lib.removeSuffix "-linux" system}" (
            lib.nixosSystem {
              modules = [
                self.nixosModules.default
                ./nixos/hosts/vps.nix
                { nixpkgs.hostPlatform = system; }
              ];
            }
          )
        ) systems
      );

      apps = forEachSystem (pkgs: {
        default = {
          type = "app";
          program = lib.getExe (
            pkgs.callPackage ./nixos/demo.nix { inherit (packagesOf pkgs) customer-journey; }
          );
          meta.description = "The demo: made-up visitors of a made-up shop, on 127.0.0.1:8030";
        };
      });

      devShells = forEachSystem (pkgs: {
        default = pkgs.callPackage ./nixos/shell.nix { inherit (packagesOf pkgs) customer-journey; };
      });

      formatter = forEachSystem (pkgs: pkgs.nixfmt-tree);

      checks = forEachSystem (
        pkgs:
        let
          vmCheck =
            name: file:
            lib.nameValuePair "vm-${name}" (
              pkgs.testers.runNixOSTest {
                imports = [ file ];
                _module.args = { inherit self; };
              }
            );
        in
        lib.mapAttrs' vmCheck vmTests
        // import ./nixos/checks.nix {
          inherit lib pkgs;
          inherit (lib) nixosSystem;
          inherit (packagesOf pkgs) customer-journey sdk;
        }
      );
    };
}
