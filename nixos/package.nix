{
  lib,
  stdenv,
  rustPlatform,
  installShellFiles,
  nodejs,
  postgresql_17,
  procps,
  redis,
  # A small server that builds its own release should not also spend an hour on tests: `nix flake check` runs them.
  withTests ? false,
}:

let
  manifest = (lib.importTOML ../Cargo.toml).package;
in
rustPlatform.buildRustPackage {
  pname = manifest.name;
  inherit (manifest) version;

  # Only what the compiler reads: a changed VM test or page of documentation builds nothing again.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions (
      [
        ../Cargo.toml
        ../Cargo.lock
        ../build.rs
        ../assets
        ../benches
        ../migrations
        ../src
        # Tests hold these equal to the program.
        ../docs/configuration.md
        ../docs/openapi.json
      ]
      ++ lib.optionals withTests [
        ../clippy.toml
        ../fuzz/corpus
        ../rustfmt.toml
        ../scripts
        ../tests
      ]
    );
  };

  # The lock file has a checksum of every crate, so no hash stands here.
  cargoLock.lockFile = ../Cargo.lock;

  nativeBuildInputs = [ installShellFiles ];

  doCheck = withTests;
  nativeCheckInputs = [
    nodejs
    postgresql_17
    procps
    redis
  ];
  # The tests share a PostgreSQL and a Redis, and start more of them to crash.
  preCheck = ''
    patchShebangs scripts
    scripts/test-services.sh start "$TMPDIR/services"
    eval "$(scripts/test-services.sh env "$TMPDIR/services")"
  '';
  checkFlags = map (name: "--skip=${name}") [
    # These need TimescaleDB's community edition, whose build for tests npm would have to fetch.
    "community"
    "compressed_chunks_and_the_continuous_aggregate"
  ];
  postCheck = ''
    scripts/test-services.sh stop "$TMPDIR/services"
  '';

  # A program for another architecture cannot tell about itself here.
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    $out/bin/customer-journey manual man
    installManPage man/*
    installShellCompletion --cmd customer-journey \
      --bash <($out/bin/customer-journey completions bash) \
      --zsh <($out/bin/customer-journey completions zsh) \
      --fish <($out/bin/customer-journey completions fish)
  '';

  meta = {
    inherit (manifest) description;
    mainProgram = manifest.name;
    platforms = lib.platforms.linux;
  };
}
