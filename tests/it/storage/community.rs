//! TimescaleDB's community edition, over the one connection its build for tests allows.

use chrono::TimeDelta;
use customer_journey::{
    config::QueueMode,
    ops::Clock,
    service::Options,
    store::{events::Load, situation::Situation},
};
use serde_json::json;

use super::{
    promises,
    store::{Store, event, history},
};
use crate::support::{App, assert_sessions_follow_events, config_on, page_view, shared, unique, url_of};

/// A database that vanishes with its connection.
pub fn database_name() -> String {
    unique("once")
}

fn database_url() -> String {
    url_of(&shared("TIMESCALEDB_URL"), &database_name())
}

async fn open() -> Store {
    let store = Store::open(&database_url(), 1, Load::Insert).await;
    assert_eq!(store.settler.situation, Situation::TimescaleCommunity);
    store
}

/// Refreshes what the policy would: up to an hour ago. No background worker runs here.
async fn refresh(store: &Store) {
    store
        .run("CALL refresh_continuous_aggregate('events_hourly', NULL, now() - interval '1 hour')")
        .await;
}

/// Compresses every chunk older than a week, as the policy would.
async fn compress(store: &Store) -> i64 {
    store
        .number(
            "SELECT count(compress_chunk(c, if_not_compressed => true))
             FROM show_chunks('events', older_than => interval '7 days') c",
        )
        .await
}

#[tokio::test]
async fn timescaledb_community_prepared_twice_is_prepared_once() {
    let mut store = open().await;
    promises::preparing_twice_is_preparing_once(&mut store, Situation::TimescaleCommunity).await;
    let jobs = store
        .texts("SELECT proc_name FROM timescaledb_information.jobs WHERE proc_name LIKE 'policy%' AND job_id > 999")
        .await;
    let expected = [
        "policy_compression",
        "policy_refresh_continuous_aggregate",
        "policy_retention",
        "policy_retention",
    ];
    assert_eq!(jobs, expected);
    store.settler.pool.close().await;
}

#[tokio::test]
async fn on_timescaledb_community_events_are_stored_once_and_sessions_follow() {
    let store = open().await;
    promises::events_are_stored_once_and_sessions_follow(&store).await;
    promises::rows_read_back_as_they_were_written(&store).await;
    assert_eq!(
        store.number("SELECT count(*) FROM rollup_dirty_hours").await,
        0,
        "nobody would take them away"
    );
    store.settler.pool.close().await;
}

#[tokio::test]
async fn the_continuous_aggregate_is_exact_before_and_after_each_refresh() {
    let store = open().await;
    let now = store.now();
    store.settle(history(now, 10)).await;
    store.assert_rollup_counts_every_event().await;
    refresh(&store).await;
    store.assert_rollup_counts_every_event().await;
    store.settle(vec![event("new", "device-1", now)]).await;
    store.assert_rollup_counts_every_event().await;
    store
        .settle(vec![event("late", "device-1", now - TimeDelta::days(5))])
        .await;
    refresh(&store).await;
    store.assert_rollup_counts_every_event().await;
    store.settler.pool.close().await;
}

#[tokio::test]
async fn a_compressed_chunk_takes_late_events_and_gives_up_erased_ones() {
    let store = open().await;
    let now = store.now();
    store.settle(history(now, 30)).await;
    refresh(&store).await;
    assert!(compress(&store).await >= 3);
    store.assert_rollup_counts_every_event().await;

    // A late event in the middle of a compressed session's time, and one that was there already.
    let at = now - TimeDelta::days(20);
    let tally = store
        .settle(vec![event("late", "device-1", at), event("h3", "device-0", at)])
        .await;
    assert_eq!((tally.stored, tally.duplicate), (1, 1));
    assert_eq!(
        store
            .number("SELECT count(*) FROM events WHERE event_id = 'late'")
            .await,
        1
    );
    assert_sessions_follow_events(&mut *store.connection().await).await;
    refresh(&store).await;
    store.assert_rollup_counts_every_event().await;

    // As an erasure does it: by device, whatever is compressed.
    let others = store
        .number("SELECT count(*) FROM events WHERE device_id <> 'device-1'")
        .await;
    store.run("DELETE FROM events WHERE device_id = 'device-1'").await;
    assert_eq!(
        store
            .number("SELECT count(*) FROM events WHERE device_id = 'device-1'")
            .await,
        0
    );
    assert_eq!(store.number("SELECT count(*) FROM events").await, others);
    refresh(&store).await;
    store.assert_rollup_counts_every_event().await;
    store.settler.pool.close().await;
}

#[tokio::test]
async fn policies_follow_a_changed_configuration() {
    let mut store = open().await;
    let policies =
        "SELECT concat_ws(' ', CASE WHEN hypertable_name = 'events' THEN 'events' ELSE 'roll-up' END,
                           proc_name, coalesce(config ->> 'drop_after', config ->> 'compress_after',
                           config ->> 'start_offset'))
                    FROM timescaledb_information.jobs WHERE proc_name LIKE 'policy%' AND job_id > 999";
    let interval = "SELECT time_interval::text FROM timescaledb_information.dimensions
                    WHERE hypertable_name = 'events'";
    for (events_days, compress_after_days, chunk_days, metrics_days, expected) in [
        (
            90,
            7,
            7,
            365,
            &[
                "events policy_compression 7 days",
                "events policy_retention 92 days",
                "roll-up policy_refresh_continuous_aggregate 91 days",
                "roll-up policy_retention 365 days",
            ][..],
        ),
        (
            30,
            3,
            1,
            100,
            &[
                "events policy_compression 3 days",
                "events policy_retention 32 days",
                "roll-up policy_refresh_continuous_aggregate 31 days",
                "roll-up policy_retention 100 days",
            ],
        ),
        (
            0,
            0,
            14,
            0,
            &["roll-up policy_refresh_continuous_aggregate 36500 days"],
        ),
        (
            400,
            14,
            30,
            500,
            &[
                "events policy_compression 14 days",
                "events policy_retention 402 days",
                "roll-up policy_refresh_continuous_aggregate 401 days",
                "roll-up policy_retention 500 days",
            ],
        ),
    ] {
        store.retention.events_days = events_days;
        store.retention.compress_after_days = compress_after_days;
        store.retention.chunk_days = chunk_days;
        store.retention.metrics_days = metrics_days;
        store.prepare().await;
        assert_eq!(store.texts(policies).await, expected);
        let days = if chunk_days == 1 {
            "1 day".to_owned()
        } else {
            format!("{chunk_days} days")
        };
        assert_eq!(store.texts(interval).await, [days]);
    }
    store.settler.pool.close().await;
}

/// Runs each policy by hand, as the scheduler would: first the refresh, so that the count outlives the events.
#[tokio::test]
async fn the_retention_policy_drops_old_events_and_the_rollup_keeps_their_count() {
    let mut store = open().await;
    store.retention.events_days = 30;
    store.prepare().await;
    let now = store.now();
    store.settle(history(now, 60)).await;
    refresh(&store).await;
    let count = "SELECT sum(events)::bigint FROM events_hourly";
    let before = store.number(count).await;
    for policy in [
        "policy_compression",
        "policy_retention",
        "policy_refresh_continuous_aggregate",
    ] {
        let id = store
            .number(&format!(
                "SELECT job_id::bigint FROM timescaledb_information.jobs WHERE proc_name = '{policy}' AND job_id > 999
                 AND (hypertable_name = 'events' OR proc_name = 'policy_refresh_continuous_aggregate')"
            ))
            .await;
        store.run(&format!("CALL run_job({id})")).await;
    }
    assert_eq!(
        store
            .number("SELECT count(*) FROM events WHERE timestamp < now() - interval '40 days'")
            .await,
        0
    );
    assert!(store.number("SELECT count(*) FROM events").await >= 30 * 36);
    assert_eq!(store.number(count).await, before);
    store.settler.pool.close().await;
}

/// Nothing in the service may want a second connection while it holds one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_service_runs_over_one_connection() {
    // Without jobs: their leader holds a connection besides the pool.
    let mut config = config_on(&database_url());
    config.database.connections_max = 1;
    config.database.acquire_timeout_seconds = 60;
    config.ingest.queue = QueueMode::Redis;
    let options = Options {
        load: Load::Insert,
        ..Options::new(Clock::system())
    };
    let app = App::start_with(config, options).await;
    for n in 0..10 {
        let events: Vec<_> = (0..10)
            .map(|k| page_view(&format!("event-{n}-{k}"), &format!("device-{k}")))
            .collect();
        app.client.post_kept(&json!({ "events": events })).await;
    }
    let system = crate::support::eventually("everything is stored", async || {
        let system = app.client.read("/api/v1/system").await;
        (system["ledger"]["total"]["stored"] == 100).then_some(system)
    })
    .await;
    assert_eq!(system["storage"]["situation"], "timescale_community");
    assert_eq!(system["ledger"]["difference"], 0);
    assert_eq!(app.client.read("/ready").await["status"], "ready");
    let mut connection = app
        .service
        .settler
        .pool
        .acquire()
        .await
        .expect("the connection is free");
    assert_sessions_follow_events(&mut connection).await;
    drop(connection);
    app.stop().await;
}
