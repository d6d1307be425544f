//! Every setting of the service, with its default, its meaning and its unit.
//!
//! Layers, later ones win: defaults, the TOML file, `JOURNEY_*` environment (levels separated by `__`), the
//! original bundle's own names (`DATABASE_URL`, …), and secrets from files or the systemd credentials
//! directory. Unknown keys are refused by name.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub database: Database,
    pub redis: Redis,
    pub ingest: Ingest,
    pub writer: Writer,
    pub privacy: Privacy,
    pub session: Session,
    pub retention: Retention,
    pub site: Site,
    pub jobs: Jobs,
    pub telemetry: Telemetry,
    pub secrets: Secrets,
}

/// The HTTP server.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port to listen on.
    pub listen: String,
    /// Proxies in front whose `X-Forwarded-For` entries are believed, counted from the right.
    pub trusted_proxy_hops: usize,
    /// Origins browsers may call the API from; `*` allows any. Write keys add their own origins.
    pub cors_origins: Vec<String>,
    /// Seconds a request may take before it is answered with 503.
    pub request_timeout_seconds: u64,
    /// Seconds a graceful stop waits for open requests and for the queue to drain.
    pub shutdown_timeout_seconds: u64,
}

/// PostgreSQL.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    pub url: String,
    /// Connections at most, over all parts of the service.
    pub connections_max: u32,
    /// Seconds to wait for a free connection.
    pub acquire_timeout_seconds: u64,
    /// Whether `serve` migrates before it starts.
    pub migrate_on_start: bool,
}

/// Redis: the queue (AOF, `noeviction`). Two servers, since an evicting cache would drop events.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    pub queue_url: String,
    /// Empty means no cache.
    pub cache_url: String,
    /// Put before every key, so that several services can share one server.
    pub key_prefix: String,
    /// Milliseconds to wait for an answer of the queue before an event takes the direct way.
    pub timeout_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueMode {
    /// Through Redis, directly to PostgreSQL while Redis cannot be reached.
    Redis,
    /// Always committed to PostgreSQL before the answer.
    Direct,
}

/// What is taken in.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    pub queue: QueueMode,
    /// Events in one request.
    pub batch_events_max: usize,
    /// Bytes of a request body as sent.
    pub body_bytes_max: usize,
    /// Bytes of a request body after decompression.
    pub decompressed_bytes_max: usize,
    /// Requests waiting in the queue before 503 is answered.
    pub queue_entries_max: u64,
    /// Seconds told to a client in `Retry-After`.
    pub retry_after_seconds: u64,
    /// Count events of crawlers instead of storing them.
    pub filter_bots: bool,
}

/// The writer: queue to store.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Writer {
    /// Writers in this process; 0 makes it an ingest-only node.
    pub workers: usize,
    /// Events committed in one transaction, about.
    pub batch_events: usize,
    /// Milliseconds an entry may stay with a silent writer before another one claims it.
    pub claim_idle_ms: u64,
    /// Deliveries after which an entry moves to the dead letters.
    pub deliveries_max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IpPolicy {
    /// Keep a keyed hash.
    Hash,
    /// Keep nothing.
    Drop,
}

/// What is kept of people.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    pub ip: IpPolicy,
    /// Replace e-mail-like values in `user_id` and attributes by a keyed hash.
    pub hash_emails: bool,
    /// Honour `DNT: 1`.
    pub honour_dnt: bool,
    /// Honour `Sec-GPC: 1`.
    pub honour_gpc: bool,
    /// Derive a device id that changes every day, for events that bring none.
    pub cookieless: bool,
    /// Query parameters kept in addresses, besides campaign ones.
    pub url_parameters_allowed: Vec<String>,
    /// MaxMind country database (`.mmdb`); empty means no country.
    pub country_database: String,
}

/// When a session ends.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// Minutes without an event.
    pub timeout_minutes: u32,
    /// Hours after its first event, however busy it is.
    pub length_max_hours: u32,
}

/// How long things are kept, in days. 0 keeps them for ever.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    pub events_days: u32,
    /// Superseded attribute values; the current one always stays.
    pub attribute_changes_days: u32,
    /// Drop ledger and hourly roll-ups.
    pub metrics_days: u32,
    /// Events older than this are compressed (TimescaleDB community edition).
    pub compress_after_days: u32,
    /// Days of events in one chunk of the hypertable.
    pub chunk_days: u32,
}

/// The web site.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Site {
    /// IANA time zone that days, weeks and months of reports are cut in.
    pub timezone: String,
    /// Hosts of the site itself; a visit from them has no source.
    pub own_hosts: Vec<String>,
    /// Payment and login hosts people come back from; they are no source either.
    pub pass_through_hosts: Vec<String>,
}

/// When scheduled work runs: cron with seconds, in UTC.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jobs {
    pub enabled: bool,
    pub rollup: String,
    pub retention: String,
    pub ledger_check: String,
    pub housekeeping: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// journald under systemd, else readable text.
    Auto,
    Text,
    Json,
    Journald,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    pub log_format: LogFormat,
    /// `tracing` filter, for example `info` or `customer_journey=debug,warn`.
    pub log_filter: String,
}

/// Secrets: given as values only in development, by files or credentials elsewhere.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// Keys every hash: API keys, addresses, e-mails. At least 16 characters; losing it makes all keys invalid.
    pub api_key_salt: String,
    /// File that holds `api_key_salt`.
    pub api_key_salt_file: String,
    /// File that holds `database.url`.
    pub database_url_file: String,
    /// File that holds `redis.queue_url`.
    pub redis_queue_url_file: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secrets(…)")
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8030".into(),
            trusted_proxy_hops: 0,
            cors_origins: Vec::new(),
            request_timeout_seconds: 30,
            shutdown_timeout_seconds: 20,
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "postgres:///customer_journey?host=/run/postgresql".into(),
            connections_max: 20,
            acquire_timeout_seconds: 5,
            migrate_on_start: true,
        }
    }
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            queue_url: "redis://127.0.0.1:6379".into(),
            cache_url: String::new(),
            key_prefix: "customer-journey".into(),
            timeout_ms: 1000,
        }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            queue: QueueMode::Redis,
            batch_events_max: 100,
            body_bytes_max: 512 * 1024,
            decompressed_bytes_max: 2 * 1024 * 1024,
            queue_entries_max: 200_000,
            retry_after_seconds: 5,
            filter_bots: true,
        }
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            workers: 1,
            batch_events: 5000,
            claim_idle_ms: 30_000,
            deliveries_max: 5,
        }
    }
}

impl Default for Privacy {
    fn default() -> Self {
        Self {
            ip: IpPolicy::Hash,
            hash_emails: true,
            honour_dnt: true,
            honour_gpc: true,
            cookieless: false,
            url_parameters_allowed: Vec::new(),
            country_database: String::new(),
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self {
            timeout_minutes: 30,
            length_max_hours: 24,
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            events_days: 90,
            attribute_changes_days: 180,
            metrics_days: 365,
            compress_after_days: 7,
            chunk_days: 7,
        }
    }
}

impl Default for Site {
    fn default() -> Self {
        Self {
            timezone: "UTC".into(),
            own_hosts: Vec::new(),
            pass_through_hosts: [
                "paypal.com",
                "checkout.stripe.com",
                "hooks.stripe.com",
                "pay.google.com",
                "klarna.com",
                "accounts.google.com",
                "appleid.apple.com",
                "login.microsoftonline.com",
            ]
            .map(String::from)
            .into(),
        }
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            enabled: true,
            rollup: "30 * * * * *".into(),
            retention: "0 10 3 * * *".into(),
            ledger_check: "0 */5 * * * *".into(),
            housekeeping: "0 20 * * * *".into(),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Auto,
            log_filter: "info".into(),
        }
    }
}
