# What `make test` needs besides a browser.
{
  mkShell,
  cargo-deny,
  cargo-nextest,
  chromium,
  clippy,
  customer-journey,
  nixfmt,
  nodejs,
  postgresql_17,
  python3,
  redis,
  rust-analyzer,
  rustfmt,
  shellcheck,
}:

mkShell {
  inputsFrom = [ customer-journey ];
  packages = [
    cargo-deny
    cargo-nextest
    chromium
    clippy
    nixfmt
    nodejs
    postgresql_17
    python3
    redis
    rust-analyzer
    rustfmt
    shellcheck
  ];
}
