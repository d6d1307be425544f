//! Plain PostgreSQL, and TimescaleDB's Apache edition, which is plain but for the hypertable.
//!
//! The Apache edition is only tried where `TIMESCALEDB_APACHE_URL` names one (`make test-timescaledb-apache`).

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::TimeDelta;
use customer_journey::store::{
    events::Load,
    situation::{self, Situation},
};

use super::{
    promises,
    store::{Store, event, history},
};
use crate::support::{Database, shared};

async fn on_plain<F: Future>(promise: impl FnOnce(Store) -> F) {
    let database = Database::create().await;
    let store = Store::open(&database.url, 6, Load::Copy).await;
    assert_eq!(store.settler.situation, Situation::Plain);
    let pool = store.settler.pool.clone();
    promise(store).await;
    pool.close().await;
    database.drop().await;
}

/// Runs a promise on a fresh database of the Apache edition, or says that there is none.
async fn on_apache<F: Future>(promise: impl FnOnce(Store) -> F) {
    let Some(database) = apache_database().await else {
        return;
    };
    let store = Store::open(&database.url, 6, Load::Copy).await;
    assert_eq!(store.settler.situation, Situation::TimescaleApache);
    let pool = store.settler.pool.clone();
    promise(store).await;
    pool.close().await;
    database.drop().await;
}

pub async fn apache_database() -> Option<Database> {
    let Ok(server) = std::env::var("TIMESCALEDB_APACHE_URL") else {
        println!("skipped: TIMESCALEDB_APACHE_URL is not set");
        return None;
    };
    Some(Database::create_on(&server).await)
}

/// The roll-up is exact at every moment, while writers write and the job rolls up.
async fn the_rollup_is_exact_while_writers_write(store: Store) {
    let store = Arc::new(store);
    let done = Arc::new(AtomicBool::new(false));
    let now = store.now();
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for batch in 0..25_i64 {
                    let at = now - TimeDelta::hours(1 + batch % 6);
                    let events = (0..8)
                        .map(|n| event(&format!("w{writer}-{batch}-{n}"), &format!("device-{writer}"), at))
                        .collect();
                    store.settle(events).await;
                }
            })
        })
        .collect();
    let rolling = {
        let (store, done) = (store.clone(), done.clone());
        tokio::spawn(async move {
            let mut hours = 0;
            while !done.load(Ordering::Relaxed) {
                let mut connection = store.connection().await;
                hours += situation::roll_up(&mut connection, now + TimeDelta::hours(1), 1000)
                    .await
                    .expect("hours can be rolled up");
            }
            hours
        })
    };
    let mut looks = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        assert_rollup_equals_events_in_one_statement(&store).await;
        looks += 1;
    }
    for writer in writers {
        writer.await.expect("a writer ends well");
    }
    done.store(true, Ordering::Relaxed);
    let hours = rolling.await.expect("the job ends well");
    assert!(
        looks > 3 && hours > 6,
        "looked {looks} times while {hours} hours were rolled up"
    );
    assert_eq!(
        store
            .number("SELECT sum(events)::bigint FROM events_hourly")
            .await,
        3 * 25 * 8
    );
    let mut connection = store.connection().await;
    situation::roll_up(&mut connection, now + TimeDelta::hours(2), 1000)
        .await
        .expect("hours can be rolled up");
    drop(connection);
    assert_eq!(store.number("SELECT count(*) FROM rollup_dirty_hours").await, 0);
    store.assert_rollup_counts_every_event().await;
}

/// Both sides in one snapshot: between two statements a writer could commit.
async fn assert_rollup_equals_events_in_one_statement(store: &Store) {
    let difference = store
        .number(
            "SELECT coalesce((SELECT sum(events) FROM events_hourly), 0)::bigint - (SELECT count(*) FROM events)",
        )
        .await;
    assert_eq!(difference, 0);
}

/// A late event marks its hour again, and rolled-up rows of untouched hours are not computed anew.
async fn the_rollup_follows_late_events(store: Store) {
    let now = store.now();
    store.settle(history(now, 3)).await;
    store.assert_rollup_counts_every_event().await;
    let hours = situation::roll_up(&mut *store.connection().await, now, 1000)
        .await
        .expect("it rolls up");
    assert!(hours > 24, "{hours}");
    store.assert_rollup_counts_every_event().await;
    store
        .settle(vec![event("late", "device-1", now - TimeDelta::hours(30))])
        .await;
    assert!(
        store.number("SELECT count(*) FROM rollup_dirty_hours").await <= 3,
        "one late hour, and those not over"
    );
    store.assert_rollup_counts_every_event().await;
    let again = situation::roll_up(&mut *store.connection().await, now, 1000)
        .await
        .expect("it rolls up");
    assert_eq!(again, 1);
    store.assert_rollup_counts_every_event().await;
}

/// The roll-up of dropped events stays: it is what is left of them.
async fn the_rollup_outlives_its_events(store: Store) {
    let now = store.now();
    store.settle(history(now - TimeDelta::days(60), 2)).await;
    situation::roll_up(&mut *store.connection().await, now, 1000)
        .await
        .expect("it rolls up");
    let count = "SELECT sum(events)::bigint FROM events_hourly";
    let before = store.number(count).await;
    let cut = now - TimeDelta::days(40);
    situation::drop_events_before(&mut *store.connection().await, store.settler.situation, cut)
        .await
        .expect("old events can be dropped");
    assert_eq!(store.number("SELECT count(*) FROM events").await, 0);
    assert_eq!(store.number(count).await, before);
}

/// Tables that were plain become hypertables with all their rows, and the promises hold on.
async fn a_plain_database_becomes_a_hypertable(mut store: Store, expected: Situation) {
    let now = store.now();
    store.settle(history(now, 30)).await;
    let events = store.number("SELECT count(*) FROM events").await;
    assert_eq!(store.prepare().await, expected);
    assert_eq!(store.number("SELECT count(*) FROM events").await, events);
    let chunks = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'events'";
    assert!(store.number(chunks).await >= 4, "30 days are more than one chunk");
    assert_eq!(store.settle(history(now, 30)).await.duplicate, events as u64);
    store
        .settle(vec![event("late", "device-1", now - TimeDelta::days(20))])
        .await;
    store.assert_rollup_counts_every_event().await;
}

macro_rules! in_both_situations {
    ($($plain:ident, $apache:ident: |$store:ident| $promise:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $plain() {
            on_plain(async |$store| $promise.await).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $apache() {
            on_apache(async |$store| $promise.await).await;
        }
    )*};
}

in_both_situations! {
    on_plain_postgresql_events_are_stored_once_and_sessions_follow,
    on_timescaledb_apache_events_are_stored_once_and_sessions_follow:
        |store| promises::events_are_stored_once_and_sessions_follow(&store);
    on_plain_postgresql_rows_read_back_as_they_were_written,
    on_timescaledb_apache_rows_read_back_as_they_were_written:
        |store| promises::rows_read_back_as_they_were_written(&store);
    on_plain_postgresql_retention_removes_old_events_only,
    on_timescaledb_apache_retention_removes_old_events_only:
        |store| promises::retention_removes_old_events_only(&store);
    on_plain_postgresql_the_rollup_is_exact_while_writers_write,
    on_timescaledb_apache_the_rollup_is_exact_while_writers_write:
        |store| the_rollup_is_exact_while_writers_write(store);
    on_plain_postgresql_the_rollup_follows_late_events,
    on_timescaledb_apache_the_rollup_follows_late_events:
        |store| the_rollup_follows_late_events(store);
    on_plain_postgresql_the_rollup_outlives_its_events,
    on_timescaledb_apache_the_rollup_outlives_its_events:
        |store| the_rollup_outlives_its_events(store);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_postgresql_prepared_twice_is_prepared_once() {
    on_plain(async |mut store| {
        promises::preparing_twice_is_preparing_once(&mut store, Situation::Plain).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timescaledb_apache_prepared_twice_is_prepared_once() {
    on_apache(async |mut store| {
        promises::preparing_twice_is_preparing_once(&mut store, Situation::TimescaleApache).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_database_moves_into_timescaledb_apache_when_it_is_installed() {
    let Some(database) = apache_database().await else {
        return;
    };
    let mut store = Store::open_unprepared(&database.url, 4, Load::Copy).await;
    // The server's template brings the extension.
    store.run("DROP EXTENSION timescaledb").await;
    store.settler.pool.close().await;
    store = Store::open_unprepared(&database.url, 4, Load::Copy).await;
    let pool = store.settler.pool.clone();
    a_plain_database_becomes_a_hypertable(store, Situation::TimescaleApache).await;
    pool.close().await;
    database.drop().await;
}

/// The server compiled to WebAssembly cannot load the extension a second time, so that the tables are only
/// left plain there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_database_moves_into_timescaledb_community_when_it_is_installed() {
    let url = crate::support::url_of(&shared("TIMESCALEDB_URL"), &super::community::database_name());
    let store = Store::open_unprepared(&url, 1, Load::Insert).await;
    store
        .run("CREATE VIEW events_hourly AS SELECT hour, events FROM events_hourly_rows")
        .await;
    let pool = store.settler.pool.clone();
    a_plain_database_becomes_a_hypertable(store, Situation::TimescaleCommunity).await;
    pool.close().await;
}
