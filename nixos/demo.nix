# `nix run`: the demo, with a PostgreSQL and a Redis of its own.
{
  writeShellApplication,
  customer-journey,
  postgresql_17,
  redis,
}:

writeShellApplication {
  name = "customer-journey-demo";
  runtimeInputs = [
    customer-journey
    postgresql_17
    redis
  ];
  text = ''
    exec customer-journey demo "$@"
  '';
}
