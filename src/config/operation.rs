//! Scheduled work and logs.

use super::keys::{choice, section};

section! {
    /// When scheduled work runs: cron with seconds, in UTC.
    pub struct Jobs in "jobs" {
        /// Whether this process may lead and run scheduled work.
        enabled: bool = true,
        /// Roll-ups of hours that changed.
        rollup: String = "30 * * * * *".into() => "cron",
        /// Removal of what is older than its retention.
        retention: String = "0 10 3 * * *".into() => "cron",
        /// Comparison of received with stored, duplicate, rejected and queued.
        ledger_check: String = "0 */5 * * * *".into() => "cron",
        /// Removal of what nothing refers to any more.
        housekeeping: String = "0 20 * * * *".into() => "cron",
        /// Comparison of the last hours with the same ones of earlier weeks, for alerts.
        alerts: String = "0 5 * * * *".into() => "cron",
    }
}

choice! {
    /// Where log lines go, and how they look.
    pub enum LogFormat {
        /// journald under systemd, else readable text.
        Auto = "auto",
        /// Readable text on standard error.
        Text = "text",
        /// A JSON object a line on standard error.
        Json = "json",
        /// journald, with fields.
        Journald = "journald",
    }
}

section! {
    /// What the service says about itself.
    pub struct Telemetry in "telemetry" {
        /// Where log lines go, and how they look.
        log_format: LogFormat = LogFormat::Auto,
        /// Which log lines are kept, as a `tracing` filter: `info` or `customer_journey=debug,warn`.
        log_filter: String = "info".into(),
    }
}
