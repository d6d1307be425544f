//! What is taken in, and how it reaches the store.

use super::keys::{choice, section};

choice! {
    /// The way of an accepted event.
    pub enum QueueMode {
        /// Through Redis, directly to PostgreSQL while Redis cannot be reached.
        Redis = "redis",
        /// Always committed to PostgreSQL before the answer.
        Direct = "direct",
    }
}

section! {
    /// What is taken in.
    pub struct Ingest in "ingest" {
        /// The way of an accepted event.
        queue: QueueMode = QueueMode::Redis,
        /// Events in one request.
        batch_events_max: usize = 100 => "events",
        /// Size of a request body as sent.
        body_bytes_max: usize = 512 * 1024 => "bytes",
        /// Size of a request body after decompression.
        decompressed_bytes_max: usize = 2 * 1024 * 1024 => "bytes",
        /// Requests waiting in the queue before 503 is answered.
        queue_entries_max: u64 = 200_000 => "requests",
        /// Time told to a client in `Retry-After`.
        retry_after_seconds: u64 = 5 => "seconds",
        /// Count events of crawlers instead of storing them.
        filter_bots: bool = true,
    }
}

section! {
    /// The writer: queue to store.
    pub struct Writer in "writer" {
        /// Writers in this process; 0 makes it an ingest-only node.
        workers: usize = 2,
        /// Events committed in one transaction, about.
        batch_events: usize = 5000 => "events",
        /// Time an entry may stay with a silent writer before another one claims it.
        claim_idle_ms: u64 = 30_000 => "milliseconds",
        /// Deliveries after which an entry moves to the dead letters.
        deliveries_max: u64 = 5 => "deliveries",
    }
}
