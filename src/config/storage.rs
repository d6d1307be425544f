//! PostgreSQL and Redis.

use super::keys::section;

section! {
    /// PostgreSQL, the only truth.
    pub struct Database in "database" {
        /// Address of the database, without a password where possible (`database_url_file` holds one with it).
        url: String = "postgres:///customer_journey?host=/run/postgresql".into(),
        /// Connections at most, over all parts of the service.
        connections_max: u32 = 20 => "connections",
        /// Time to wait for a free connection.
        acquire_timeout_seconds: u64 = 5 => "seconds",
        /// Whether `serve` migrates before it starts.
        migrate_on_start: bool = true,
    }
}

section! {
    /// Redis: the queue (AOF, `noeviction`) and a cache. Two servers, since an evicting cache would drop events.
    pub struct Redis in "redis" {
        /// Address of the queue.
        queue_url: String = "redis://127.0.0.1:6379".into(),
        /// Address of the cache. Reserved: nothing is cached today.
        cache_url: String = String::new(),
        /// Put before every key, so that several services can share one server.
        key_prefix: String = "customer-journey".into(),
        /// Time to wait for an answer of the queue before an event takes the direct way.
        timeout_ms: u64 = 1000 => "milliseconds",
    }
}
