//! What tests against a real database share: a settler on it, short events, and pictures of its rows.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

use super::{
    entry::Entry,
    settle::{Parcel, Settler},
};
use crate::{
    config::Retention,
    event::{Event, Hasher},
    ops::Clock,
    session::Rules,
    store::{events::Load, ledger::DIRECT, situation},
};

/// The present of a test's clock.
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a time within range")
}

/// Returns a settler on a migrated database, which it prepares as the service does.
///
/// Its commits do not wait for the disk: what these tests hold has nothing to do with crashes.
pub async fn settler(pool: &PgPool) -> Settler {
    let options = (*pool.connect_options())
        .clone()
        .options([("synchronous_commit", "off"), ("timezone", "UTC")]);
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(4)
        .connect_lazy_with(options);
    settler_on(pool).await
}

/// The same over a pool of the caller's.
pub async fn settler_on(pool: PgPool) -> Settler {
    let mut connection = pool.acquire().await.unwrap();
    let situation = situation::prepare(&mut connection, &Retention::default())
        .await
        .unwrap();
    drop(connection);
    Settler {
        pool,
        load: Load::Copy,
        situation,
        rules: Arc::new(Rules {
            inactivity: TimeDelta::minutes(30),
            length_max: TimeDelta::hours(24),
            own_hosts: vec!["shop.test".into()],
            pass_through_hosts: Vec::new(),
        }),
        hasher: Hasher::new("a salt of sixteen"),
        clock: Clock::fixed(now()),
        committed: Arc::default(),
    }
}

/// An event `minute` minutes after a moment ten days before [`now`]; its id is made of all three arguments.
pub fn event(device_id: &str, minute: i64, event_type: &str) -> Event {
    let timestamp = now() - TimeDelta::days(10) + TimeDelta::minutes(minute);
    Event {
        event_id: format!("{device_id}/{minute:05}/{event_type}"),
        event_type: event_type.into(),
        timestamp,
        received_at: timestamp,
        device_id: device_id.into(),
        key_id: 1,
        device_type: "desktop".into(),
        page_path: (event_type == "page_view").then(|| format!("/{minute}")),
        ..Event::default()
    }
}

/// The same with a user.
pub fn event_of(device_id: &str, minute: i64, event_type: &str, user_id: &str) -> Event {
    Event {
        user_id: Some(user_id.into()),
        ..event(device_id, minute, event_type)
    }
}

/// An entry that accepted all of these events.
pub fn entry(events: Vec<Event>) -> Entry {
    Entry {
        received: events.len() as u32,
        received_at: now(),
        key_id: 1,
        events,
        rejected: Vec::new(),
    }
}

/// Settles these events as one request that came the direct way.
pub async fn settle(settler: &Settler, events: Vec<Event>) {
    let parcel = Parcel {
        id: None,
        entry: entry(events),
    };
    settler.settle(DIRECT, &[parcel]).await.unwrap();
}

/// Everything that follows from events, and the events themselves.
pub const DERIVED: [&str; 7] = [
    "events",
    "event_keys",
    "devices",
    "device_lives",
    "sessions",
    "customers",
    "attribute_facts",
];

/// All rows of some tables, in an order of their own.
pub async fn rows(pool: &PgPool, tables: &[&'static str]) -> BTreeMap<&'static str, Vec<Value>> {
    let mut all = BTreeMap::new();
    for table in tables {
        let statement = format!("SELECT to_jsonb(t) FROM {table} t ORDER BY to_jsonb(t)::text");
        let rows = sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_all(pool)
            .await
            .unwrap();
        all.insert(*table, rows);
    }
    all
}

/// Empties every table that settling writes.
pub async fn empty(pool: &PgPool) {
    // Rows are few, and to truncate a table costs several files.
    let statements = [
        "events",
        "event_keys",
        "devices",
        "device_lives",
        "sessions",
        "customers",
        "attribute_facts",
        "identity_log",
        "ingest_ledger",
        "queue_entries",
        "rollup_dirty_hours",
        "events_hourly_rows",
        "erasure_tombstones",
        "audit_log",
    ]
    .map(|table| format!("DELETE FROM {table}"));
    sqlx::raw_sql(AssertSqlSafe(statements.join(";")))
        .execute(pool)
        .await
        .unwrap();
}
