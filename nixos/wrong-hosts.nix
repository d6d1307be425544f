# Hosts that cannot work. Each has to be stopped by an assertion that names what to change.
{
  lib,
  pkgs,
  nixosSystem,
  module,
}:

let
  journey = options: { services.customer-journey = options; };

  # The host of the README, which works, and from which each of the others differs.
  tenLines = journey {
    enable = true;
    domain = lib.mkDefault "journey.example.com";
    acmeEmail = lib.mkDefault "ops@example.com";
    corsOrigins = [ "https://shop.example.com" ];
    secrets.anthropicApiKey = lib.mkDefault "/run/keys/anthropic";
  };

  elsewhere = {
    database.url = "postgres://customer-journey@db.internal/customer_journey";
    redis.queueUrl = "redis://queue.internal";
  };

  # What the message has to name, and the host.
  wrong = {
    "domain is empty" = journey { domain = ""; };
    "acmeEmail is empty" = journey { acmeEmail = ""; };
    "nginx, which answers the authority, is off" = journey {
      nginx.enable = false;
      acme.enable = true;
    };
    "sslCertificate and sslCertificateKey belong together" = journey {
      nginx.sslCertificate = "/var/lib/certificates/journey.pem";
    };
    "sslCertificateKey lies in" = journey {
      nginx.sslCertificate = "/var/lib/certificates/journey.pem";
      nginx.sslCertificateKey = "${pkgs.writeText "key" "secret"}";
    };
    "beside a certificate of your own" = journey {
      acme.enable = true;
      nginx.sslCertificate = "/var/lib/certificates/journey.pem";
      nginx.sslCertificateKey = "/var/lib/certificates/journey.key";
    };
    "nginx has no certificate" = journey { acme.enable = false; };
    "secrets.anthropicApiKey is" = journey {
      secrets.anthropicApiKey = "${pkgs.writeText "key" "secret"}";
    };
    "settings.server.public_url contradicts" = journey {
      settings.server.public_url = "https://other.example.com";
    };
    "customer-journey.corsOrigins instead" = journey {
      settings.server.cors_origins = [ "*" ];
    };
    "settings.secrets would lie in" = journey { settings.secrets.api_key_salt = "0123456789abcdef"; };
    "offsite.repository holds a password" = journey {
      backup.offsite = {
        repository = "rest:https://journey:secret@backup.internal/";
        passwordFile = "/run/keys/restic";
      };
    };
    "database.url holds a password" = journey {
      database.url = "postgres://journey:secret@db.internal/customer_journey";
    };
    "redis.queueUrl holds a password" = journey { redis.queueUrl = "redis://:secret@queue.internal"; };
    "redis.cacheUrl holds a password" = journey { redis.cacheUrl = "redis://:secret@cache.internal"; };
    "has no database" = journey { database.createLocally = false; };
    "has two databases" = journey (lib.recursiveUpdate elsewhere { database.createLocally = true; });
    "both name the database" = journey {
      inherit (elsewhere) database;
      secrets.databaseUrl = "/run/keys/database";
    };
    "both name the queue" = journey {
      inherit (elsewhere) redis;
      secrets.redisQueueUrl = "/run/keys/queue";
    };
    "createLocally is set beside the address of a queue" = journey {
      redis = elsewhere.redis // {
        createLocally = true;
      };
    };
    "has no queue" = journey { redis.createLocally = false; };
    "keeps its data on other machines" = journey {
      role = "ingest";
      inherit (elsewhere) redis;
      secrets.apiKeySalt = "/run/keys/salt";
    };
    "written by a worker elsewhere" = journey {
      role = "ingest";
      inherit (elsewhere) database;
      secrets.apiKeySalt = "/run/keys/salt";
    };
    "need the same salt" = journey (elsewhere // { role = "ingest"; });
    "Make the backup there" = journey (elsewhere // { backup.enable = true; });
    "sets that nobody makes" = journey {
      backup.enable = false;
      backup.offsite = {
        repository = "sftp:backup@storage.example.com:/journey";
        passwordFile = "/run/keys/restic";
      };
    };
    "offsite names a password or environment file in the store" = journey {
      backup.offsite = {
        repository = "sftp:backup@storage.example.com:/journey";
        passwordFile = "${pkgs.writeText "password" "secret"}";
      };
    };
    "ramMB is 4," = journey { ramMB = 4; };
  };

  # As the module evaluates them; no system is built.
  failuresOf =
    modules:
    let
      host = nixosSystem {
        modules = [
          module
          tenLines
          {
            nixpkgs.hostPlatform = pkgs.stdenv.hostPlatform.system;
            system.stateVersion = "26.05";
          }
        ]
        ++ modules;
      };
    in
    map (failed: failed.message) (
      lib.filter (
        checked: !checked.assertion && lib.hasInfix "services.customer-journey" checked.message
      ) host.config.assertions
    );

  right = {
    "ten lines" = { };
    "an ingest node" = journey (
      elsewhere
      // {
        role = "ingest";
        secrets.apiKeySalt = "/run/keys/salt";
      }
    );
    "a worker without a domain" = journey {
      role = "worker";
      domain = "";
    };
    "no queue" = journey {
      settings.ingest.queue = "direct";
    };
    "an own certificate" = journey {
      acmeEmail = "";
      nginx.sslCertificate = "/var/lib/certificates/journey.pem";
      nginx.sslCertificateKey = "/var/lib/certificates/journey.key";
    };
    "addresses with passwords in files" = journey {
      secrets.databaseUrl = "/run/keys/database";
      secrets.redisQueueUrl = "/run/keys/queue";
    };
  };

  problems =
    lib.concatLists (
      lib.mapAttrsToList (
        words: host:
        let
          messages = failuresOf [ host ];
          # Messages are broken into lines anywhere.
          flat = lib.replaceStrings [ "\n" ] [ " " ] (lib.concatStringsSep " " messages);
        in
        lib.optional (
          !lib.hasInfix words flat
        ) "A host that should be told \"${words}\" is told: ${builtins.toJSON messages}"
      ) wrong
    )
    ++ lib.concatLists (
      lib.mapAttrsToList (
        name: host:
        map (message: "The host with ${name} is right, but is told: ${message}") (failuresOf [ host ])
      ) right
    );
in
if problems == [ ] then
  pkgs.runCommand "wrong-hosts" { } "touch $out"
else
  throw (lib.concatStringsSep "\n" problems)
