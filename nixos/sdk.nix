{
  lib,
  stdenvNoCC,
  buildNpmPackage,
  importNpmLock,
}:

let
  inherit (lib.importJSON ../sdk/package.json) version;

  # Fails where the committed script is not what its sources give.
  rebuilt = buildNpmPackage {
    pname = "customer-journey-sdk-rebuilt";
    inherit version;
    src = lib.fileset.toSource {
      root = ../.;
      fileset = lib.fileset.unions [
        ../sdk
        ../assets/sdk
      ];
    };
    sourceRoot = "source/sdk";
    npmDeps = importNpmLock { npmRoot = ../sdk; };
    npmConfigHook = importNpmLock.npmConfigHook;
    buildPhase = ''
      runHook preBuild
      node build.mjs --check
      runHook postBuild
    '';
    installPhase = ''
      runHook preInstall
      cp -r dist $out
      runHook postInstall
    '';
  };
in
# The committed files, since sites pin them by their hash, each compressed beside itself for nginx.
stdenvNoCC.mkDerivation {
  pname = "customer-journey-sdk";
  inherit version;
  src = ../assets/sdk;
  inherit rebuilt;
  installPhase = ''
    runHook preInstall
    cp -r . $out
    for name in customer-journey.min.js customer-journey.min.js.map; do
      cp ${version}/$name $out/$name
    done
    find $out -type f -exec gzip --keep --best --no-name {} +
    runHook postInstall
  '';
  passthru = { inherit rebuilt; };
  meta = {
    description = "Browser SDK of the customer journey service, as nginx serves it";
    platforms = lib.platforms.all;
  };
}
