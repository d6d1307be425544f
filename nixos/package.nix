{
  lib,
  stdenv,
  rustPlatform,
  installShellFiles,
  postgresql_17,
  redis,
}:

let
  manifest = (lib.importTOML ../Cargo.toml).package;
in
rustPlatform.buildRustPackage {
  pname = manifest.name;
  inherit (manifest) version;

  # Only what the compiler reads: a changed page of documentation or VM test builds nothing again.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.toml
      ../Cargo.lock
      ../build.rs
      ../rustfmt.toml
      ../clippy.toml
      ../assets
      ../benches
      ../docs
      ../migrations
      ../src
      ../tests
    ];
  };

  # The lock file has a checksum of every crate, so no hash stands here.
  cargoLock.lockFile = ../Cargo.lock;

  nativeBuildInputs = [ installShellFiles ];

  # The tests start servers of their own.
  nativeCheckInputs = [
    postgresql_17
    redis
  ];

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
