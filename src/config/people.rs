//! People: what is kept of them, when their visit ends, and for how long anything stays.

use super::keys::{choice, section};

choice! {
    /// What becomes of a client's address.
    pub enum IpPolicy {
        /// Keep a keyed hash.
        Hash = "hash",
        /// Keep nothing.
        Drop = "drop",
    }
}

section! {
    /// What is kept of people.
    pub struct Privacy in "privacy" {
        /// What becomes of a client's address; it is never stored as it is.
        ip: IpPolicy = IpPolicy::Hash,
        /// Replace e-mail-like values in `user_id` and attributes by a keyed hash.
        hash_emails: bool = true,
        /// Honour `DNT: 1`.
        honour_dnt: bool = true,
        /// Honour `Sec-GPC: 1`.
        honour_gpc: bool = true,
        /// Derive a device id that changes every day, for events that bring none.
        cookieless: bool = false,
        /// Query parameters kept in addresses, besides campaign ones.
        url_parameters_allowed: Vec<String> = Vec::new(),
        /// MaxMind country database (`.mmdb`); empty means no country.
        country_database: String = String::new(),
    }
}

section! {
    /// When a session ends.
    pub struct Session in "session" {
        /// Time without an event.
        timeout_minutes: u32 = 30 => "minutes",
        /// Time after its first event, however busy it is.
        length_max_hours: u32 = 24 => "hours",
    }
}

section! {
    /// How long things are kept. 0 keeps them for ever.
    pub struct Retention in "retention" {
        /// Raw events.
        events_days: u32 = 90 => "days",
        /// Sessions and the customers made of them; they may outlive their events.
        sessions_days: u32 = 730 => "days",
        /// Superseded attribute values; the current one always stays.
        attribute_changes_days: u32 = 180 => "days",
        /// Drop ledger and hourly roll-ups.
        metrics_days: u32 = 365 => "days",
        /// Events older than this are compressed (TimescaleDB community edition); 0 compresses none.
        compress_after_days: u32 = 7 => "days",
        /// Time one chunk of the events' hypertable covers.
        chunk_days: u32 = 7 => "days",
    }
}
