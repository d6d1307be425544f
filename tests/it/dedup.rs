//! An event is stored once, however often, when and on whichever way it is sent.

use customer_journey::{config::QueueMode, ops::Clock};
use serde_json::{Value, json};

use crate::support::{App, Database, Gate, assert_each_stored_once, drained, page_view, shared};

/// Five events, of which one has no time of its own.
fn events() -> Vec<Value> {
    let mut events: Vec<Value> = (0..4)
        .map(|n| page_view(&format!("again-{n}"), "device"))
        .collect();
    // As large as a UUID, and as one: both kinds of id must hold.
    events[1]["event_id"] = json!("0198c5f2-7d1b-7c3a-9a52-2f6f0f6f4d11");
    events.push(json!({ "event_id": "timeless", "event_type": "click", "device_id": "device" }));
    events
}

/// The same events as a client sends them whose clock is off by so much: they get another time here.
fn batch(clock_off_minutes: i64) -> Value {
    let sent_at = Clock::system().now() + chrono::TimeDelta::minutes(clock_off_minutes);
    json!({ "events": events(), "sent_at": sent_at })
}

/// Sends the events in every way a client could repeat itself. Returns how many events that makes.
async fn send_in_every_way(app: &App) -> i64 {
    let mut twice_in_one = batch(0);
    let mut list = events();
    list.extend(events());
    twice_in_one["events"] = json!(list);
    app.client.post_kept(&twice_in_one).await;
    for clock_off in [0, 90, -45] {
        app.client.post_kept(&batch(clock_off)).await;
    }
    let parallel = (0..8).map(|n| {
        let client = app.client.clone();
        async move { client.post_kept(&batch(n)).await }
    });
    futures_util::future::join_all(parallel).await;
    (2 + 3 + 8) * 5
}

async fn hold(database: &Database, app: &App, sent: i64) {
    let mut connection = database.connect().await;
    let audit = drained(&mut connection, &app.config).await;
    assert_eq!(audit.total.received, sent);
    assert_eq!((audit.total.stored, audit.total.duplicate), (5, sent - 5));
    let acknowledged = app.client.journal.acknowledged();
    assert_eq!(
        acknowledged.len() as i64,
        sent,
        "a repeated event is acknowledged like any other"
    );
    assert_each_stored_once(&mut connection, &acknowledged, &audit).await;
}

async fn repeat_on(mode: QueueMode) {
    let database = Database::create().await;
    let app = App::start(&database, |config| {
        config.ingest.queue = mode;
        config.writer.workers = 2;
    })
    .await;
    let mut sent = send_in_every_way(&app).await;
    hold(&database, &app, sent).await;
    // All of it again, now that everything is stored.
    sent += send_in_every_way(&app).await;
    hold(&database, &app, sent).await;
    app.stop().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_sent_again_through_the_queue_is_stored_once() {
    repeat_on(QueueMode::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_sent_again_on_the_direct_way_is_stored_once() {
    repeat_on(QueueMode::Direct).await;
}

/// The events wait in the queue, are sent again while Redis is away, and only then does the queue drain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_took_both_ways_is_stored_once() {
    let database = Database::create().await;
    let gate = Gate::open_to(&shared("REDIS_URL")).await;
    let through_gate = gate.instead_of(&shared("REDIS_URL"));
    let app = App::start(&database, |config| {
        config.redis.queue_url = through_gate;
        config.writer.workers = 0;
    })
    .await;
    let mut sent = send_in_every_way(&app).await;
    gate.close().await;
    sent += send_in_every_way(&app).await;
    gate.open().await;
    let writer = app.start_beside(|config| config.writer.workers = 2).await;
    hold(&database, &app, sent).await;
    let mut connection = database.connect().await;
    let audit = crate::support::audit_of(&mut connection, &app.config).await;
    assert_eq!(audit.direct.stored, 5, "the direct way was first");
    assert_eq!(audit.queue.duplicate, sent / 2, "the queue brought nothing new");
    app.stop().await;
    writer.stop().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_an_event_was_first_given_stays() {
    let database = Database::create().await;
    let app = App::start(&database, |_| {}).await;
    app.client
        .post_kept(&json!({ "events": [page_view("once", "device")], "sent_at": Clock::system().now() }))
        .await;
    let mut connection = database.connect().await;
    drained(&mut connection, &app.config).await;
    let sql = "SELECT timestamp, client_timestamp FROM events WHERE event_id = 'once'";
    type Times = (chrono::DateTime<chrono::Utc>, chrono::DateTime<chrono::Utc>);
    let first: Times = sqlx::query_as(sql)
        .fetch_one(&mut connection)
        .await
        .expect("it is stored");
    let sent_at = Clock::system().now() + chrono::TimeDelta::hours(5);
    app.client
        .post_kept(&json!({ "events": [page_view("once", "device")], "sent_at": sent_at }))
        .await;
    let audit = drained(&mut connection, &app.config).await;
    assert_eq!(audit.total.duplicate, 1);
    let second: Times = sqlx::query_as(sql)
        .fetch_one(&mut connection)
        .await
        .expect("it is stored");
    assert_eq!(first, second);
    app.stop().await;
    database.drop().await;
}
