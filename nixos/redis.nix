# Two Redis servers on sockets: an evicting cache would drop events, a queue that never evicts would fill up.
{ config, lib, ... }:

let
  cfg = config.services.customer-journey;
  derived = import ./derived.nix { inherit lib; };
  servers = config.services.redis.servers;
  queue = "customer-journey-queue";
  cache = "customer-journey-cache";

  # Shares of the machine. While the queue rewrites its log, pages that change exist twice, so its unit may grow to double.
  queueMB = cfg.ramMB / 8;
  cacheMB = cfg.ramMB / 32;
in
{
  config = lib.mkIf (cfg.enable && cfg.redis.createLocally) {
    services.redis.servers = {
      ${queue} = {
        enable = true;
        port = 0;
        # Flushed before the answer: what was acknowledged outlives a power cut.
        appendOnly = true;
        appendFsync = "always";
        # The log has everything; snapshots beside it would only cost writes.
        save = [ ];
        settings = {
          maxmemory = "${toString queueMB}mb";
          maxmemory-policy = "noeviction";
          # A log cut short by a power cut is taken up to its last whole command.
          aof-load-truncated = true;
          # While the log is rewritten it is flushed as well, or a power cut then would lose what was acknowledged.
          no-appendfsync-on-rewrite = false;
        };
      };
      ${cache} = {
        enable = true;
        port = 0;
        appendOnly = false;
        save = [ ];
        settings = {
          maxmemory = "${toString cacheMB}mb";
          maxmemory-policy = "allkeys-lru";
        };
      };
    };

    systemd.services = {
      "redis-${queue}".serviceConfig = {
        Restart = lib.mkDefault "always";
        MemoryMax = "${toString (queueMB * 2 + 64)}M";
        # Short of memory, the kernel ends the service, which loses nothing, before the queue.
        OOMScoreAdjust = lib.mkDefault (-500);
        # Reading a long log back takes its time.
        TimeoutStartSec = lib.mkDefault 600;
      };
      "redis-${cache}".serviceConfig = {
        Restart = lib.mkDefault "always";
        MemoryMax = "${toString (cacheMB * 2 + 64)}M";
      };
    };

    # The sockets belong to the servers' groups.
    users.users.customer-journey.extraGroups = [
      (servers.${queue}.group or servers.${queue}.user)
      (servers.${cache}.group or servers.${cache}.user)
    ];

    services.customer-journey.derivedSettings =
      derived "redis.queueUrl" { "redis.queue_url" = "unix://${servers.${queue}.unixSocket}"; }
      // derived "redis.cacheUrl" { "redis.cache_url" = "unix://${servers.${cache}.unixSocket}"; };
  };
}
