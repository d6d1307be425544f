//! What waits when a backup is made ends exactly once after a restore.

use customer_journey::{
    config::QueueMode,
    ingest::{entry::Entry, settle::Parcel},
    ops::Clock,
    service::Options,
    store::ledger::EntryId,
};
use serde_json::json;

use super::{Site, number};
use crate::support::{App, QueueKeys, assert_each_stored_once, audit_of, drained, page_view, queue_of};

/// Posts ten events of which no writer takes any, and returns their ids.
async fn leave_waiting(site: &Site) -> (App, Vec<String>) {
    let mut config = site.config.clone();
    config.writer.workers = 0;
    let app = App::start_with(config, Options::new(Clock::system())).await;
    let ids: Vec<String> = (0..10).map(|n| format!("waiting-{n}")).collect();
    for id in &ids {
        app.client
            .post_kept(&json!({ "events": [page_view(id, "device")] }))
            .await;
    }
    (app, ids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_entries_come_back_and_end_exactly_once() {
    let (old, new) = (Site::new().await, Site::new().await);
    let (app, mut ids) = leave_waiting(&old).await;
    // Some are in the hands of a writer.
    QueueKeys::of(&old.config).await.deliver_to_the_dead().await;
    let made = old.back_up().await.expect("a backup can be made");
    app.stop().await;
    let queue = made.set.manifest.queue.as_ref().expect("there is a queue");
    assert_eq!((queue.entries, queue.events, queue.dead_letters), (10, 10, 0));

    // The new queue holds something already, and keeps it.
    let mut config = new.config.clone();
    config.writer.workers = 0;
    let app = App::start_with(config, Options::new(Clock::system())).await;
    app.client
        .post_kept(&json!({ "events": [page_view("kept", "device")] }))
        .await;
    app.stop().await;
    ids.push("kept".into());
    let restored = new
        .restore(&made.set.path, true)
        .await
        .expect("it can be restored");
    assert_eq!((restored.queue.entries, restored.queue.dead_letters), (10, 0));
    let mut connection = new.database.connect().await;
    let audit = audit_of(&mut connection, &new.config).await;
    assert!(audit.balances(), "{audit:?}");
    assert_eq!((audit.queue.received, audit.total.queued), (11, 11));

    let app = App::start_with(new.config.clone(), Options::new(Clock::system())).await;
    let audit = drained(&mut connection, &new.config).await;
    assert_each_stored_once(&mut connection, &ids, &audit).await;
    assert_eq!((audit.total.received, audit.total.duplicate), (11, 0));
    app.stop().await;
    drop(connection);
    old.drop().await;
    new.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_is_in_the_queue_and_in_the_database_of_a_set_is_not_settled_again() {
    let (old, new) = (Site::new().await, Site::new().await);
    let (app, ids) = leave_waiting(&old).await;
    // As a writer that commits between the two parts of a backup, and acknowledges later.
    let queue = queue_of(&old.config).await;
    let epoch = queue
        .epoch()
        .await
        .expect("Redis answers")
        .expect("it has entries");
    let parcels: Vec<Parcel> = queue
        .peek(EntryId::default(), 4)
        .await
        .expect("Redis answers")
        .iter()
        .map(|one| Parcel {
            id: Some(one.id),
            entry: Entry::decode(&one.version, &one.payload).expect("it can be read"),
        })
        .collect();
    let settled = app
        .service
        .settler
        .settle(epoch, &parcels)
        .await
        .expect("it is stored");
    assert_eq!(settled.stored, 4);
    let made = old.back_up().await.expect("a backup can be made");
    app.stop().await;
    assert_eq!(made.set.manifest.database.events, 4);
    assert_eq!(
        made.set
            .manifest
            .queue
            .as_ref()
            .map(|queue| (queue.entries, queue.ledger_difference)),
        Some((10, 0))
    );

    assert_eq!(
        new.restore(&made.set.path, false)
            .await
            .expect("it can be restored")
            .queue
            .entries,
        6
    );
    let mut connection = new.database.connect().await;
    let app = App::start_with(new.config.clone(), Options::new(Clock::system())).await;
    let audit = drained(&mut connection, &new.config).await;
    assert_each_stored_once(&mut connection, &ids, &audit).await;
    assert_eq!((audit.total.received, audit.total.duplicate), (10, 0));
    app.stop().await;
    drop(connection);
    old.drop().await;
    new.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_come_back_with_their_reasons_and_once() {
    let (old, new) = (Site::new().await, Site::new().await);
    let (app, _) = leave_waiting(&old).await;
    let queue = queue_of(&old.config).await;
    let one = queue
        .peek(EntryId::default(), 1)
        .await
        .expect("Redis answers")
        .remove(0);
    queue.bury(&one, "it is too heavy").await.expect("Redis takes it");
    let made = old.back_up().await.expect("a backup can be made");
    app.stop().await;
    for expected in [1, 0] {
        let restored = new
            .restore(&made.set.path, true)
            .await
            .expect("it can be restored");
        assert_eq!(restored.queue.dead_letters, expected);
        let letters = queue_of(&new.config)
            .await
            .dead_letters(10)
            .await
            .expect("Redis answers");
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].reason, "it is too heavy");
        assert_eq!(letters[0].delivery.payload, one.payload);
    }
    old.drop().await;
    new.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_queue_the_waiting_entries_of_a_set_are_stored_at_once() {
    let (old, mut new) = (Site::new().await, Site::new().await);
    let (app, ids) = leave_waiting(&old).await;
    let made = old.back_up().await.expect("a backup can be made");
    app.stop().await;
    new.config.ingest.queue = QueueMode::Direct;
    new.restore(&made.set.path, false)
        .await
        .expect("it can be restored");
    let mut connection = new.database.connect().await;
    let audit = audit_of(&mut connection, &new.config).await;
    assert!(audit.balances(), "{audit:?}");
    assert_each_stored_once(&mut connection, &ids, &audit).await;
    drop(connection);
    old.drop().await;
    new.drop().await;
}

/// Back to last night on the same machine: what was lost is lost, but it is not a defect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_over_the_same_queue_the_ledger_balances() {
    let site = Site::new().await;
    let app = App::start_with(site.config.clone(), Options::new(Clock::system())).await;
    let mut connection = site.database.connect().await;
    app.client
        .post_kept(&json!({ "events": [page_view("before", "device")] }))
        .await;
    drained(&mut connection, &site.config).await;
    let made = site.back_up().await.expect("a backup can be made");
    app.client
        .post_kept(&json!({ "events": [page_view("after", "device")] }))
        .await;
    drained(&mut connection, &site.config).await;
    app.stop().await;
    drop(connection);
    site.restore(&made.set.path, true)
        .await
        .expect("it can be restored");
    let mut connection = site.database.connect().await;
    let audit = audit_of(&mut connection, &site.config).await;
    assert!(audit.balances(), "{audit:?}");
    assert_eq!((audit.total.received, audit.total.stored), (1, 1));
    assert_eq!(number(&mut connection, "SELECT count(*) FROM events").await, 1);
    drop(connection);
    site.drop().await;
}

/// A restore must not hide what was wrong before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_ledger_missed_before_the_backup_it_misses_after_the_restore() {
    let (old, new) = (Site::new().await, Site::new().await);
    let (app, _) = leave_waiting(&old).await;
    let mut keys = QueueKeys::of(&old.config).await;
    let _: i64 = redis::cmd("HINCRBY")
        .arg(&[&keys.counters, "received", "3"])
        .query_async(&mut keys.connection)
        .await
        .expect("Redis counts");
    let made = old.back_up().await.expect("a backup can be made");
    app.stop().await;
    new.restore(&made.set.path, false)
        .await
        .expect("it can be restored");
    let mut connection = new.database.connect().await;
    assert_eq!(audit_of(&mut connection, &new.config).await.difference, 3);
    drop(connection);
    old.drop().await;
    new.drop().await;
}
