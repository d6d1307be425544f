//! What analyses work on.

use super::keys::section;

section! {
    /// The journey index: a copy in memory of what analyses ask for.
    pub struct Index in "index" {
        /// Whether this process keeps one; without it, analyses are answered with 503.
        enabled: bool = true,
        /// Memory it may take at rest; while it is filled from the store, up to five times that. When it is full, it forgets the oldest sessions and says so. 1 MB holds about 50 000 events.
        memory_mb: u32 = 1024 => "MB",
        /// Pause between two looks at the store for what other processes wrote; what this one writes is looked for at once.
        poll_ms: u64 = 250 => "milliseconds",
        /// File that holds the index between two starts. Empty: `index.snapshot` in systemd's state directory, if there is one.
        snapshot_file: String = String::new(),
        /// Time between two writes of that file; it is also written at the end.
        snapshot_minutes: u32 = 15 => "minutes",
    }
}
