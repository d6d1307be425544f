//! A store without the service around it: migrated, prepared, and written to as the writer does.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use customer_journey::{
    config::{Config, Database as DatabaseConfig, Retention},
    event::{Event, Hasher},
    ingest::{
        entry::Entry,
        settle::{Parcel, Settler, Tally},
    },
    ops::Clock,
    service,
    store::{
        self, MIGRATOR,
        events::Load,
        ledger::DIRECT,
        situation::{self, Situation},
    },
};
use sqlx::{AssertSqlSafe, PgPool, Postgres, pool::PoolConnection};

use crate::support::SALT;

/// One database in one of the three situations.
pub struct Store {
    pub settler: Settler,
    pub retention: Retention,
}

impl Store {
    /// Migrates the database at `url` and prepares it with the default retention.
    pub async fn open(url: &str, connections_max: u32, load: Load) -> Self {
        let mut store = Self::open_unprepared(url, connections_max, load).await;
        store.prepare().await;
        store
    }

    /// Migrates only: the tables are plain.
    pub async fn open_unprepared(url: &str, connections_max: u32, load: Load) -> Self {
        let database = DatabaseConfig {
            url: url.into(),
            connections_max,
            // One thread serves all databases of the server in WebAssembly.
            acquire_timeout_seconds: 60,
            ..DatabaseConfig::default()
        };
        let pool: PgPool = store::connect(&database).expect("the address is sound");
        MIGRATOR.run(&pool).await.expect("the database can be migrated");
        let config = Config::default();
        Self {
            settler: Settler {
                pool,
                load,
                situation: Situation::Plain,
                rules: Arc::new(service::rules(&config)),
                hasher: Hasher::new(SALT),
                clock: Clock::system(),
                committed: Arc::default(),
            },
            retention: config.retention,
        }
    }

    /// Does what every start does; the store then works in the situation it found.
    pub async fn prepare(&mut self) -> Situation {
        let mut connection = self.connection().await;
        let situation = situation::prepare(&mut connection, &self.retention)
            .await
            .expect("the store can be prepared");
        self.settler.situation = situation;
        situation
    }

    pub async fn connection(&self) -> PoolConnection<Postgres> {
        self.settler.pool.acquire().await.expect("PostgreSQL answers")
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.settler.clock.now()
    }

    /// Settles events as one accepted request.
    pub async fn settle(&self, events: Vec<Event>) -> Tally {
        let entry = Entry {
            received: events.len() as u32,
            received_at: self.now(),
            key_id: 1,
            events,
            rejected: Vec::new(),
        };
        self.settler
            .settle(DIRECT, &[Parcel { id: None, entry }])
            .await
            .expect("the store takes events")
    }

    /// Runs statements of the test's own.
    pub async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *self.connection().await)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Reads one number.
    pub async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut *self.connection().await)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Reads rows of one text each, sorted.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let mut rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut *self.connection().await)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.sort();
        rows
    }

    /// Holds that the hourly roll-up says exactly what counting by hand says.
    pub async fn assert_rollup_counts_every_event(&self) {
        const COLUMNS: &str = "event_type, device_type, country, currency";
        let sums = "count(*), sum(order_total), sum(page_load_time_ms)::bigint, count(page_load_time_ms)";
        let by_hand = format!(
            "SELECT row(date_trunc('hour', timestamp), {COLUMNS}, {sums})::text FROM events
             GROUP BY date_trunc('hour', timestamp), {COLUMNS}"
        );
        let rolled_up = format!(
            "SELECT row(hour, {COLUMNS}, events, order_total, page_load_ms_sum, page_load_count)::text
             FROM events_hourly"
        );
        let (by_hand, rolled_up) = (self.texts(&by_hand).await, self.texts(&rolled_up).await);
        assert!(!by_hand.is_empty(), "there are events to count");
        let (by_hand, rolled_up): (BTreeSet<_>, BTreeSet<_>) =
            (by_hand.iter().collect(), rolled_up.iter().collect());
        let missing: Vec<_> = by_hand.difference(&rolled_up).collect();
        let wrong: Vec<_> = rolled_up.difference(&by_hand).collect();
        assert!(
            missing.is_empty() && wrong.is_empty(),
            "missing: {missing:?}, wrong: {wrong:?}"
        );
    }
}

/// An event of `device`, so long before now, distinguishable in every column that is rolled up.
pub fn event(id: &str, device: &str, at: DateTime<Utc>) -> Event {
    let digest = id.bytes().fold(7_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    Event {
        event_id: id.into(),
        event_type: if digest.is_multiple_of(3) {
            "purchase"
        } else {
            "page_view"
        }
        .into(),
        timestamp: at,
        received_at: at,
        device_id: device.into(),
        key_id: 1,
        page_url: Some("https://shop.example/shoes".into()),
        page_host: Some("shop.example".into()),
        page_path: Some("/shoes".into()),
        device_type: if digest.is_multiple_of(2) {
            "mobile"
        } else {
            "desktop"
        }
        .into(),
        order_id: digest.is_multiple_of(3).then(|| format!("order {id}")),
        order_total: digest
            .is_multiple_of(3)
            .then(|| rust_decimal::Decimal::new(i64::from(digest % 10_000), 2)),
        currency: digest.is_multiple_of(3).then(|| "EUR".into()),
        page_load_time_ms: (!digest.is_multiple_of(5)).then_some(i32::try_from(digest % 3000).unwrap_or(0)),
        form_validation_errors: vec!["too \"short\"".into(), "a,b".into()],
        properties: serde_json::from_str(r#"{"color":"red","nested":{"a":[1,2.5,null]}}"#)
            .expect("it is an object"),
        ..Event::default()
    }
}

/// Events of three devices, every 40 minutes over `days` days up to `newest`.
pub fn history(newest: DateTime<Utc>, days: i64) -> Vec<Event> {
    (0..days * 36)
        .map(|n| {
            event(
                &format!("h{n}"),
                &format!("device-{}", n % 3),
                newest - TimeDelta::minutes(40 * n),
            )
        })
        .collect()
}
