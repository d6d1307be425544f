//! The queue: what happens when it is full, away, emptied or poisoned, and when the service stops.

use customer_journey::{
    event::Event,
    ingest::entry::{Entry, VERSION},
    ops::Clock,
};
use serde_json::json;

use crate::support::{
    App, Database, Gate, QueueKeys, ServiceProcess, Settings, assert_each_stored_once, audit_of, drained,
    eventually, free_port, page_view, queue_of, shared, stored, url_of,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_says_when_to_come_back_and_counts_nothing() {
    let database = Database::create().await;
    let app = App::start(&database, |config| {
        config.ingest.queue_entries_max = 3;
        config.ingest.retry_after_seconds = 7;
        config.writer.workers = 0;
    })
    .await;
    for n in 0..3 {
        app.client
            .post_kept(&page_view(&format!("fits-{n}"), "device"))
            .await;
    }
    let response = app.client.post(&page_view("too-many", "device")).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "7");
    let problem: serde_json::Value = response.json().await.expect("a problem is JSON");
    assert_eq!(problem["code"], "queue_full");

    let mut connection = database.connect().await;
    let audit = audit_of(&mut connection, &app.config).await;
    assert_eq!(
        (audit.total.received, audit.total.queued),
        (3, 3),
        "nothing of it was received"
    );
    assert!(audit.balances(), "{audit:?}");

    // Once a writer is there, the very same event is taken.
    let writer = app.start_beside(|config| config.writer.workers = 1).await;
    app.client
        .send_until_kept(&[page_view("too-many", "device")])
        .await;
    let audit = drained(&mut connection, &app.config).await;
    assert_eq!(audit.total.stored, 4);
    assert_each_stored_once(&mut connection, &app.client.journal.acknowledged(), &audit).await;
    app.stop().await;
    writer.stop().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_events_take_the_direct_way_and_then_the_queue_again() {
    let database = Database::create().await;
    let gate = Gate::open_to(&shared("REDIS_URL")).await;
    gate.close().await;
    let through_gate = gate.instead_of(&shared("REDIS_URL"));
    let app = App::start(&database, |config| config.redis.queue_url = through_gate).await;
    let mut connection = database.connect().await;
    for (round, is_open) in [false, true, false, true].into_iter().enumerate() {
        if is_open {
            gate.open().await;
        } else {
            gate.close().await;
        }
        // Whichever way it takes, a request is answered with 202; the queue is found again by itself.
        let before = received(&mut connection, is_open, &app).await;
        let mut sent = 0;
        eventually("events go the expected way", async || {
            app.client
                .post_kept(&page_view(&format!("round-{round}-{sent}"), "device"))
                .await;
            sent += 1;
            (received(&mut connection, is_open, &app).await > before).then_some(())
        })
        .await;
        let ready = app.client.read("/ready").await;
        assert_eq!(ready["status"], "ready", "{ready}");
    }
    let audit = drained(&mut connection, &app.config).await;
    assert!(audit.direct.stored > 0 && audit.queue.stored > 0, "{audit:?}");
    assert_each_stored_once(&mut connection, &app.client.journal.acknowledged(), &audit).await;
    app.stop().await;
    database.drop().await;
}

/// Events received so far through the queue, or directly, as the database alone can tell.
async fn received(connection: &mut sqlx::PgConnection, through_queue: bool, app: &App) -> i64 {
    if through_queue {
        return audit_of(connection, &app.config).await.queue.received;
    }
    sqlx::query_scalar(
        "SELECT coalesce(sum(count), 0)::bigint FROM ingest_ledger
         WHERE outcome = 'received' AND epoch = '00000000-0000-0000-0000-000000000000'",
    )
    .fetch_one(connection)
    .await
    .expect("the ledger can be read")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_empty_is_a_new_queue_and_the_loss_is_reported() {
    let database = Database::create().await;
    // A numbered database of its own, which can be emptied without harm to other tests.
    let redis_url = url_of(&shared("REDIS_URL"), "15");
    let app = App::start(&database, |config| {
        config.redis.queue_url = redis_url;
        config.writer.workers = 0;
    })
    .await;
    for n in 0..5 {
        app.client
            .post_kept(&page_view(&format!("lost-{n}"), "device"))
            .await;
    }
    let mut connection = database.connect().await;
    eventually("the service has noted what the queue received", async || {
        let seen: Option<i64> = sqlx::query_scalar("SELECT max(received_seen) FROM queue_epochs")
            .fetch_one(&mut connection)
            .await
            .expect("the table can be read");
        (seen == Some(5)).then_some(())
    })
    .await;
    let mut keys = QueueKeys::of(&app.config).await;
    redis::cmd("FLUSHDB")
        .query_async::<()>(&mut keys.connection)
        .await
        .expect("Redis obeys");

    app.client.post_kept(&page_view("after", "device")).await;
    let writer = app.start_beside(|config| config.writer.workers = 1).await;
    let system = eventually("the new queue is drained", async || {
        let system = app.client.read("/api/v1/system").await;
        (system["ledger"]["total"]["stored"] == 1 && system["ledger"]["total"]["queued"] == 0)
            .then_some(system)
    })
    .await;
    let ledger = &system["ledger"];
    assert_eq!(
        ledger["difference"], 0,
        "the new queue is not blamed for the old one: {ledger}"
    );
    assert_eq!(ledger["lost_queues"][0]["received_seen"], 5, "{ledger}");
    assert_eq!(ledger["lost_queues"][0]["settled"], 0, "{ledger}");
    assert!(!audit_of(&mut connection, &app.config).await.balances());
    app.stop().await;
    writer.stop().await;
    database.drop().await;
}

/// An entry as this release writes it, with an event that was never validated.
fn unvalidated(adjust: impl FnOnce(&mut Event)) -> Vec<u8> {
    let now = Clock::system().now();
    let mut event = Event {
        event_id: "poison".into(),
        event_type: "click".into(),
        timestamp: now,
        received_at: now,
        device_id: "device".into(),
        device_type: "unknown".into(),
        key_id: 1,
        ..Event::default()
    };
    adjust(&mut event);
    let entry = Entry {
        received: 1,
        received_at: now,
        key_id: 1,
        events: vec![event],
        rejected: Vec::new(),
    };
    entry.encode()
}

/// Text that compresses badly, too long for a row of any index.
fn incompressible(length: usize) -> String {
    use rand::{RngExt as _, SeedableRng as _};
    let mut dice = rand::rngs::ChaCha8Rng::seed_from_u64(1);
    (0..length)
        .map(|_| char::from(dice.random_range(33..127_u8)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_goes_to_the_dead_letters_and_its_neighbours_to_the_store() {
    let database = Database::create().await;
    let app = App::start(&database, |config| config.writer.workers = 0).await;
    let mut keys = QueueKeys::of(&app.config).await;
    let good = unvalidated(|_| {});
    let cases: [(&str, Vec<u8>, &str); 6] = [
        (
            "99",
            good.clone(),
            "the payload has version 99, which this release does not know",
        ),
        (
            VERSION,
            good[..good.len() / 2].to_vec(),
            "the payload cannot be decompressed",
        ),
        (
            VERSION,
            zstd::bulk::compress(b"{\"received\":", 1).expect("it fits"),
            "the payload is not the JSON of an entry",
        ),
        // 22021: PostgreSQL's text holds no NUL.
        (
            VERSION,
            unvalidated(|event| event.page_title = Some("a\0b".into())),
            "invalid byte sequence",
        ),
        // 22009: no year of PostgreSQL.
        (
            VERSION,
            unvalidated(|event| event.timestamp = chrono::DateTime::<chrono::Utc>::MAX_UTC),
            "out of range",
        ),
        // 54000: no index takes a row of this size.
        (
            VERSION,
            unvalidated(|event| event.device_id = incompressible(9000)),
            "index row",
        ),
    ];
    for (n, (version, payload, _)) in cases.iter().enumerate() {
        app.client
            .post_kept(&page_view(&format!("good-{n}"), "device"))
            .await;
        keys.add_raw(version, payload, 1).await;
    }
    app.client.post_kept(&page_view("good-last", "device")).await;

    let writer = app.start_beside(|config| config.writer.workers = 1).await;
    let mut connection = database.connect().await;
    let audit = drained(&mut connection, &app.config).await;
    assert_eq!((audit.total.stored, audit.total.rejected), (7, 6));
    assert_each_stored_once(&mut connection, &app.client.journal.acknowledged(), &audit).await;

    let letters = queue_of(&app.config)
        .await
        .dead_letters(100)
        .await
        .expect("Redis answers");
    assert_eq!(letters.len(), cases.len());
    for (letter, (version, payload, reason)) in letters.iter().zip(&cases) {
        assert!(
            letter.reason.contains(reason),
            "{:?} does not say {reason:?}",
            letter.reason
        );
        assert_eq!(
            (&letter.delivery.version, &letter.delivery.payload),
            (&(*version).to_owned(), payload)
        );
    }
    let samples: i64 =
        sqlx::query_scalar("SELECT count(*) FROM drop_samples WHERE reason IN ('poison', 'unstorable')")
            .fetch_one(&mut connection)
            .await
            .expect("the samples can be read");
    assert_eq!(samples, 6, "each is shown to the operator");
    app.stop().await;
    writer.stop().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_cannot_be_stored_costs_none_of_those_it_came_with() {
    let database = Database::create().await;
    let app = App::start(&database, |config| config.writer.workers = 0).await;
    let mut keys = QueueKeys::of(&app.config).await;
    let mut entry = Entry::decode(VERSION, &unvalidated(|_| {})).expect("it was just written");
    let good = entry.events.pop().expect("there is one");
    for n in 0..7 {
        let title = if n == 4 { "a\0b" } else { "fine" };
        entry.events.push(Event {
            event_id: format!("event-{n}"),
            page_title: Some(title.into()),
            ..good.clone()
        });
    }
    entry.received = 7;
    // The queue's counters must know of it, as if a request had brought it.
    keys.add_raw(VERSION, &entry.encode(), 7).await;
    app.client.post_kept(&page_view("neighbour", "device")).await;

    let writer = app.start_beside(|config| config.writer.workers = 1).await;
    let mut connection = database.connect().await;
    let audit = drained(&mut connection, &app.config).await;
    assert_eq!((audit.total.stored, audit.total.rejected), (7, 1));
    assert!(audit.balances(), "{audit:?}");
    let letters = queue_of(&app.config)
        .await
        .dead_letters(10)
        .await
        .expect("Redis answers");
    assert_eq!(letters.len(), 1);
    let letter = Entry::decode(VERSION, &letters[0].delivery.payload).expect("it is an entry");
    assert_eq!((letter.received, letters[0].delivery.received), (1, 1));
    assert_eq!(letter.events[0].event_id, "event-4");
    app.stop().await;
    writer.stop().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_whose_writers_all_died_is_a_dead_letter_and_the_others_are_taken_over() {
    let database = Database::create().await;
    let app = App::start(&database, |config| config.writer.workers = 0).await;
    for n in 0..5 {
        app.client
            .post_kept(&page_view(&format!("entry-{n}"), "device"))
            .await;
    }
    let mut keys = QueueKeys::of(&app.config).await;
    let ids = keys.deliver_to_the_dead().await;
    assert_eq!(ids.len(), 5);
    keys.set_deliveries(&ids[1], 4).await;
    keys.set_deliveries(&ids[3], 5).await;

    let writer = app
        .start_beside(|config| {
            config.writer.workers = 2;
            config.writer.claim_idle_ms = 300;
            config.writer.deliveries_max = 5;
        })
        .await;
    let mut connection = database.connect().await;
    let audit = drained(&mut connection, &app.config).await;
    assert_eq!((audit.total.stored, audit.total.rejected), (4, 1));
    let stored = stored(&mut connection).await;
    assert!(!stored.contains_key("entry-3"), "{stored:?}");
    let letters = queue_of(&app.config)
        .await
        .dead_letters(10)
        .await
        .expect("Redis answers");
    assert_eq!(letters.len(), 1);
    assert_eq!(
        letters[0].reason,
        "its writers died each time, also with nothing else in hand"
    );
    assert_eq!(letters[0].delivery.id.to_string(), ids[3]);
    app.stop().await;
    writer.stop().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_drains_the_queue_and_ends_with_code_0() {
    let database = Database::create().await;
    let app = App::start(&database, |config| config.writer.workers = 0).await;
    for n in 0..150 {
        let events: Vec<_> = (0..4)
            .map(|k| page_view(&format!("entry-{n}-{k}"), &format!("device-{k}")))
            .collect();
        app.client.post_kept(&json!({ "events": events })).await;
    }
    let mut process = ServiceProcess::start(&Settings {
        port: free_port(),
        database_url: database.url.clone(),
        redis_url: app.config.redis.queue_url.clone(),
        key_prefix: app.config.redis.key_prefix.clone(),
        queue: "redis",
        claim_idle_ms: 30_000,
        // Small batches, so that the stop comes in the middle of the work.
        more: "writer.batch_events = 100\nserver.shutdown_timeout_seconds = 60".into(),
    })
    .await;
    let status = process.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", process.log_text());
    let mut connection = database.connect().await;
    let audit = audit_of(&mut connection, &app.config).await;
    assert_eq!(audit.total.queued, 0, "{}", process.log_text());
    assert!(audit.balances(), "{audit:?}");
    assert_each_stored_once(&mut connection, &app.client.journal.acknowledged(), &audit).await;
    app.stop().await;
    database.drop().await;
}
