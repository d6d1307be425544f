//! Every table comes back as it was.

use std::collections::BTreeMap;

use customer_journey::{
    event::Hasher,
    ops::Clock,
    service::Options,
    store::{
        MIGRATOR, dump,
        keys::{KeyKind, NewKey, create_key},
        situation::Situation,
    },
};
use serde_json::json;
use sqlx::PgConnection;

use super::{Site, number, picture, run};
use crate::support::{App, SALT, audit_of, drained, page_view};

/// Tables that a restore changes on purpose: what came through the old queue counts as committed directly, and the
/// restore itself is noted.
const REBOOKED: [&str; 4] = ["audit_log", "ingest_ledger", "queue_entries", "queue_epochs"];

/// Events of every outcome, through the queue and without one, and rows that only age leaves.
async fn fill(site: &Site) -> PgConnection {
    let app = App::start_with(site.config.clone(), Options::new(Clock::system())).await;
    for n in 0..6 {
        let mut event = page_view(&format!("event-{n}"), &format!("device-{}", n % 3));
        event["custom_properties"] = json!({ "text": "tab\t, line\nbreak, \\N and \"quotes\"", "n": 1.5 });
        app.client.post_kept(&json!({ "events": [event] })).await;
    }
    let identify = json!({ "event_id": "who", "event_type": "identify", "device_id": "device-1",
        "user_id": "ann", "customer_attributes": { "plan": "pro" } });
    let purchase = json!({ "event_id": "buy", "event_type": "purchase", "device_id": "device-1",
        "order_id": "1", "order_total": "129.90", "currency": "EUR" });
    app.client
        .post_kept(&json!({ "events": [identify, purchase, page_view("event-1", "device-1")] }))
        .await;
    app.client
        .post_kept(&json!({ "events": [{ "event_type": "no device" }, page_view("event-9", "device-9")] }))
        .await;
    let mut connection = site.database.connect().await;
    drained(&mut connection, &site.config).await;
    app.stop().await;
    run(
        &mut connection,
        "INSERT INTO events_hourly_rows VALUES ('2020-01-01 10:00:00+00', 'page_view', 'mobile', NULL, NULL, 7, NULL, 900, 3);
         INSERT INTO audit_log (at, actor, action, details) VALUES (now(), 'somebody', 'export', '{\"a\": [1, null]}')",
    )
    .await;
    connection
}

fn without_rebooked(picture: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    picture
        .iter()
        .filter(|(table, _)| !REBOOKED.contains(&table.as_str()))
        .map(|(table, digest)| (table.as_str(), digest.as_str()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_table_comes_back_as_it_was() {
    let (old, new) = (Site::new().await, Site::new().await);
    let mut before = fill(&old).await;
    let audit = audit_of(&mut before, &old.config).await;
    let made = old.back_up().await.expect("a backup can be made");
    let manifest = &made.set.manifest;
    assert_eq!(manifest.database.events, 9);
    assert_eq!(manifest.storage, "plain");
    assert_eq!(
        manifest.queue.as_ref().map(|queue| queue.ledger_difference),
        Some(0)
    );

    let restored = new
        .restore(&made.set.path, false)
        .await
        .expect("it can be restored");
    assert_eq!(restored.situation, Situation::Plain);
    assert!(!restored.salt_differs && !restored.salt_written);
    let mut after = new.database.connect().await;
    let (was, is) = (picture(&mut before).await, picture(&mut after).await);
    assert_eq!(without_rebooked(&is), without_rebooked(&was));
    let hourly = "SELECT count(*) + sum(events)::bigint FROM events_hourly";
    assert_eq!(
        number(&mut after, hourly).await,
        number(&mut before, hourly).await
    );

    let noted = "SELECT count(*) FROM audit_log WHERE action IN ('export', 'restore')";
    assert_eq!(number(&mut after, noted).await, 2);
    let again = audit_of(&mut after, &new.config).await;
    assert!(again.balances(), "{again:?}");
    assert_eq!(
        (
            again.total.received,
            again.total.stored,
            again.total.duplicate,
            again.total.rejected
        ),
        (
            audit.total.received,
            audit.total.stored,
            audit.total.duplicate,
            audit.total.rejected
        )
    );
    // The sequences go on where they were.
    let key = NewKey::checked(KeyKind::Write, "new", &[], &[], None).expect("the key is sound");
    create_key(&mut after, &Hasher::new(SALT), &key, Clock::system().now())
        .await
        .expect("a key can be made");
    assert_eq!(
        number(&mut after, "SELECT max(id)::bigint FROM api_keys").await,
        3
    );
    // And the service with them.
    let app = App::start_with(new.config.clone(), Options::new(Clock::system())).await;
    app.client
        .post_kept(&json!({ "events": [page_view("event-1", "device-1"), page_view("new", "device-1")] }))
        .await;
    let audit = drained(&mut after, &new.config).await;
    assert_eq!((audit.total.stored, audit.total.duplicate), (10, 2));
    app.stop().await;
    drop((before, after));
    old.drop().await;
    new.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_of_an_older_release_is_restored_and_migrated() {
    let (old, new) = (Site::new().await, Site::new().await);
    let mut before = old.database.connect().await;
    MIGRATOR
        .run_direct(Some(7), &mut before, false)
        .await
        .expect("the database can be migrated halfway");
    run(
        &mut before,
        "INSERT INTO erasure_tombstones VALUES ('\\x01ff', '2026-01-02 03:04:05+00');
         INSERT INTO devices (device_id, first_seen) VALUES ('device', '2026-01-01 00:00:00+00')",
    )
    .await;
    let made = old.back_up().await.expect("a backup can be made");
    assert_eq!(made.set.manifest.migration, 7);
    new.restore(&made.set.path, false)
        .await
        .expect("it can be restored");
    let mut after = new.database.connect().await;
    assert_eq!(
        dump::migration_of(&mut after).await.expect("it is migrated"),
        Some(dump::newest_migration())
    );
    let stones = dump::tombstones(&mut after).await.expect("they can be read");
    assert_eq!(stones.len(), 1);
    assert_eq!(stones[0].until, stones[0].erased_at);
    assert_eq!(
        number(
            &mut after,
            "SELECT count(*) FROM devices WHERE break_times = '{}'"
        )
        .await,
        1
    );
    drop((before, after));
    old.drop().await;
    new.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rehearsal_leaves_no_database_behind_whether_it_succeeds_or_fails() {
    let site = Site::new().await;
    let mut connection = fill(&site).await;
    let made = site.back_up().await.expect("a backup can be made");
    let now = Clock::system().now();
    let name: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&mut connection)
        .await
        .expect("it has a name");
    // What one that was killed left behind, and what only looks like it.
    for scratch in [format!("{name}_verify_123"), format!("{name}_verify_me")] {
        run(&mut connection, &format!("CREATE DATABASE {scratch}")).await;
    }
    customer_journey::backup::rehearse(&site.config, &made.set, now)
        .await
        .expect("it can be restored");
    run(&mut connection, &format!("DROP DATABASE {name}_verify_me")).await;
    let mut wrong = made.set.clone();
    for file in &mut wrong.manifest.files {
        file.rows = file.rows.map(|rows| rows + 1);
    }
    let error = customer_journey::backup::rehearse(&site.config, &wrong, now)
        .await
        .expect_err("there are fewer rows");
    assert!(
        error.to_string().contains("events: 9 rows instead of 10"),
        "{error}"
    );
    let scratch = "SELECT count(*) FROM pg_database WHERE datname LIKE split_part(current_database(), '_verify_', 1) || '_verify_%'";
    assert_eq!(number(&mut connection, scratch).await, 0);
    drop(connection);
    site.drop().await;
}
