# Combinations that cannot work, each with what to change.
{ config, lib, ... }:

let
  cfg = config.services.customer-journey;
  given = lib.filterAttrs (_: path: path != null) cfg.secrets;
  isStorePath = path: lib.hasPrefix builtins.storeDir path;

  # user:password@ before the host, or a parameter.
  holdsPassword =
    url: url != null && builtins.match "[a-z+]+://[^/?]*:[^/?]*@.*|.*[?&]password=.*" url != null;

  valueIn = path: lib.attrByPath (lib.splitString "." path) null cfg.settings;

  derivedAssertions = lib.mapAttrsToList (path: derived: {
    assertion =
      let
        value = valueIn path;
      in
      value == null || value == derived.value;
    message = ''
      services.customer-journey.settings.${path} contradicts the module, which makes it ${builtins.toJSON derived.value}.
      Remove it from the settings, and change services.customer-journey.${derived.option} instead.
    '';
  }) cfg.derivedSettings;

  secretAssertions = lib.mapAttrsToList (name: path: {
    assertion = lib.hasPrefix "/" path && !(isStorePath path);
    message = ''
      services.customer-journey.secrets.${name} is ${path}, which everybody on the machine can read if it lies in
      ${builtins.storeDir}. Name a file elsewhere by its absolute path in quotes, such as "/run/keys/${name}".
    '';
  }) given;

  url = name: value: secret: {
    assertion = !(holdsPassword value);
    message = ''
      services.customer-journey.${name} holds a password, which everybody on the machine could read in the store.
      Put the address into a file and name that in services.customer-journey.secrets.${secret}.
    '';
  };
in
{
  config = lib.mkIf cfg.enable {
    assertions =
      derivedAssertions
      ++ secretAssertions
      ++ [
        {
          assertion = cfg.nginx.enable -> cfg.domain != "";
          message = ''
            services.customer-journey.domain is empty. Set it to the name clients reach this machine at, such as
            "journey.example.com"; a machine without nginx (nginx.enable = false) needs none.
          '';
        }
        {
          assertion = cfg.acme.enable -> cfg.acmeEmail != "" || config.security.acme.defaults.email != null;
          message = ''
            services.customer-journey.acmeEmail is empty. The certificate authority needs an address for warnings; set it, or
            bring a certificate of your own with nginx.sslCertificate and nginx.sslCertificateKey.
          '';
        }
        {
          assertion = cfg.acme.enable -> cfg.nginx.enable;
          message = ''
            services.customer-journey.acme.enable is set, but nginx, which answers the authority, is off. Turn
            services.customer-journey.nginx.enable on or acme.enable off.
          '';
        }
        {
          assertion = cfg.nginx.sslCertificateKey != null -> !(isStorePath cfg.nginx.sslCertificateKey);
          message = ''
            services.customer-journey.nginx.sslCertificateKey lies in ${builtins.storeDir}, where everybody on the machine can
            read it. Name a file elsewhere by its absolute path in quotes, readable for the user nginx.
          '';
        }
        {
          assertion = !(cfg.settings ? secrets);
          message = ''
            services.customer-journey.settings.secrets would lie in ${builtins.storeDir}, where everybody on the machine can
            read it. Name files by services.customer-journey.secrets instead, such as secrets.apiKeySalt = "/run/keys/salt".
          '';
        }
        {
          assertion = !(holdsPassword (lib.attrByPath [ "database" "url" ] null cfg.settings));
          message = ''
            services.customer-journey.settings.database.url holds a password, which everybody on the machine could read in the
            store. Put the address into a file and name that in services.customer-journey.secrets.databaseUrl.
          '';
        }
        {
          assertion =
            !(
              cfg.backup.offsite != null
              && builtins.match ".*://[^/?]*:[^/?]*@.*" cfg.backup.offsite.repository != null
            );
          message = ''
            services.customer-journey.backup.offsite.repository holds a password, which everybody on the machine could read in
            the store. Give it by a variable in backup.offsite.environmentFile, such as RESTIC_REST_PASSWORD.
          '';
        }
        (url "database.url" cfg.database.url "databaseUrl")
        (url "redis.queueUrl" cfg.redis.queueUrl "redisQueueUrl")
        {
          assertion = !(holdsPassword cfg.redis.cacheUrl);
          message = ''
            services.customer-journey.redis.cacheUrl holds a password, which everybody on the machine could read in the
            store. Nothing is cached today: leave it out.
          '';
        }
        {
          assertion =
            cfg.database.createLocally != (cfg.database.url != null || cfg.secrets.databaseUrl != null);
          message = ''
            The service has ${
              if cfg.database.createLocally then "two databases" else "no database"
            }. Set either services.customer-journey.database.createLocally = true, or database.url (secrets.databaseUrl
            if it holds a password) to the address of one elsewhere.
          '';
        }
        {
          assertion = !(cfg.database.url != null && cfg.secrets.databaseUrl != null);
          message = ''
            services.customer-journey.database.url and secrets.databaseUrl both name the database: remove one.
          '';
        }
        {
          assertion = !(cfg.redis.queueUrl != null && cfg.secrets.redisQueueUrl != null);
          message = ''
            services.customer-journey.redis.queueUrl and secrets.redisQueueUrl both name the queue: remove one.
          '';
        }
        {
          assertion =
            !(cfg.redis.createLocally && (cfg.redis.queueUrl != null || cfg.secrets.redisQueueUrl != null));
          message = ''
            services.customer-journey.redis.createLocally is set beside the address of a queue elsewhere. Set it to false, or
            remove redis.queueUrl and secrets.redisQueueUrl.
          '';
        }
        {
          assertion =
            cfg.settings.ingest.queue == "redis"
            -> cfg.redis.createLocally || cfg.redis.queueUrl != null || cfg.secrets.redisQueueUrl != null;
          message = ''
            The service has no queue. Set services.customer-journey.redis.createLocally = true, or redis.queueUrl to one
            elsewhere, or settings.ingest.queue = "direct" to do without.
          '';
        }
        {
          assertion = cfg.role == "ingest" -> !cfg.database.createLocally;
          message = ''
            services.customer-journey.role is "ingest", which keeps its data on other machines. Set database.url (or
            secrets.databaseUrl) to the database of the worker, or role = "all".
          '';
        }
        {
          assertion =
            cfg.role == "ingest" -> !cfg.redis.createLocally && cfg.settings.ingest.queue == "redis";
          message = ''
            services.customer-journey.role is "ingest", whose events are written by a worker elsewhere. Set redis.queueUrl (or
            secrets.redisQueueUrl) to the worker's queue and leave settings.ingest.queue at "redis", or set role = "all".
          '';
        }
        {
          assertion = cfg.role == "ingest" -> cfg.secrets.apiKeySalt != null;
          message = ''
            services.customer-journey.role is "ingest", and machines that work together need the same salt. Copy that of the
            worker (/var/lib/customer-journey-secrets/api-key-salt) and name the file in secrets.apiKeySalt.
          '';
        }
        {
          assertion = cfg.backup.enable -> cfg.database.createLocally;
          message = ''
            services.customer-journey.backup.enable is set, but the database is on another machine. Make the backup there, and
            set backup.enable = false here.
          '';
        }
        {
          assertion = cfg.backup.offsite != null -> cfg.backup.enable;
          message = ''
            services.customer-journey.backup.offsite takes away sets that nobody makes. Turn backup.enable on, or remove it.
          '';
        }
        {
          assertion =
            cfg.backup.offsite != null
            -> lib.all (path: path == null || lib.hasPrefix "/" path && !(isStorePath path)) [
              cfg.backup.offsite.passwordFile
              cfg.backup.offsite.environmentFile
            ];
          message = ''
            services.customer-journey.backup.offsite names a password or environment file in the store, where everybody can
            read it. Name files elsewhere by absolute paths in quotes, such as "/run/keys/restic-password".
          '';
        }
        {
          # Below this PostgreSQL, the queue and the service leave each other too little to start reliably.
          assertion = cfg.ramMB >= 1024;
          message = ''
            services.customer-journey.ramMB is ${toString cfg.ramMB}, but the appliance needs a machine with 1024 MiB, and 4096
            for some ten thousand events a day. It is the machine's memory in MiB, not in GiB.
          '';
        }
      ];
  };
}
