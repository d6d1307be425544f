# Options of what keeps the data: database and queue.
{ config, lib, ... }:

let
  cfg = config.services.customer-journey;
  inherit (lib) mkOption literalExpression types;
in
{
  options.services.customer-journey = {
    database = {
      createLocally = mkOption {
        type = types.bool;
        default = cfg.database.url == null && cfg.secrets.databaseUrl == null;
        defaultText = literalExpression "database.url == null && secrets.databaseUrl == null";
        example = false;
        description = "Whether PostgreSQL runs on this machine.";
      };
      url = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "postgres://customer-journey@db.internal/customer_journey";
        description = "Address of a database elsewhere, without a password: `secrets.databaseUrl` is for those.";
      };
      timescaledb = mkOption {
        type = types.enum [
          "apache"
          "community"
          "none"
        ];
        default = "apache";
        example = "community";
        description = ''
          TimescaleDB of the local database. `apache`: its free edition, hypertables. `community`: also compression and
          continuous aggregates, under a licence that nixpkgs calls unfree and that has to be allowed with
          `nixpkgs.config.allowUnfreePredicate = package: lib.getName package == "timescaledb";`. `none`: plain
          PostgreSQL.
        '';
      };
    };

    redis = {
      createLocally = mkOption {
        type = types.bool;
        default =
          cfg.settings.ingest.queue == "redis"
          && cfg.redis.queueUrl == null
          && cfg.secrets.redisQueueUrl == null;
        defaultText = literalExpression ''
          settings.ingest.queue == "redis" && redis.queueUrl == null && secrets.redisQueueUrl == null
        '';
        example = false;
        description = "Whether the two Redis servers, queue and cache, run on this machine.";
      };
      queueUrl = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "redis://queue.internal:6379";
        description = ''
          Address of a queue elsewhere, without a password: `secrets.redisQueueUrl` is for those. It needs `appendonly
          yes`, `appendfsync always` and `maxmemory-policy noeviction`, or acknowledged events can be lost.
        '';
      };
      cacheUrl = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "redis://cache.internal:6380";
        description = "Address of a cache elsewhere, without a password. Nothing is cached today.";
      };
    };
  };
}
