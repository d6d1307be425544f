//! The journey index knows what the store has, soon, from every process, and after every crash.

use std::time::{Duration, Instant};

use customer_journey::store::dump;
use serde_json::json;
use sqlx::PgConnection;
use tempfile::TempDir;

use crate::support::{
    App, Client, Database, ServiceProcess, Settings, eventually, free_port, issue_keys, page_view, shared,
    unique,
};

/// How soon an event is to be seen after it was stored.
const SOON: Duration = Duration::from_secs(1);

async fn count_stored(connection: &mut PgConnection) -> usize {
    dump::count_rows(connection, "events")
        .await
        .expect("PostgreSQL answers") as usize
}

fn indexed(app: &App) -> usize {
    let index = app.service.state.index.as_ref().expect("it keeps an index");
    index.view().map_or(0, |view| view.size().events)
}

async fn everything_is_indexed(app: &App, connection: &mut PgConnection, count: usize) {
    eventually("the index has what the store has", async || {
        (count_stored(connection).await == count && indexed(app) == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_event_is_seen_within_a_second_of_being_stored() {
    let database = Database::create().await;
    let mut connection = database.connect().await;
    let app = App::start(&database, |_| {}).await;
    everything_is_indexed(&app, &mut connection, 0).await;
    let mut delays = Vec::new();
    for number in 1..=15 {
        let event = page_view(&format!("soon-{number}"), &format!("device-{}", number % 4));
        app.client.post_kept(&json!({ "events": [event] })).await;
        eventually("it is stored", async || {
            (count_stored(&mut connection).await == number).then_some(())
        })
        .await;
        let stored_at = Instant::now();
        eventually("it is indexed", async || (indexed(&app) == number).then_some(())).await;
        delays.push(stored_at.elapsed());
    }
    delays.sort();
    // Not each of them: the machine of a test may stand still for a second.
    assert!(delays[delays.len() / 2] < SOON, "{delays:?}");
    app.stop().await;
    database.drop().await;
}

#[tokio::test]
async fn what_another_process_stores_is_seen_too() {
    let database = Database::create().await;
    let mut connection = database.connect().await;
    let app = App::start(&database, |_| {}).await;
    // Takes nothing from the queue: all it knows comes through the store.
    let beside = app.start_beside(|config| config.writer.workers = 0).await;
    for batch in 0..10 {
        let events: Vec<_> = (0..10)
            .map(|n| page_view(&format!("other-{batch}-{n}"), &format!("device-{n}")))
            .collect();
        app.client.post_kept(&json!({ "events": events })).await;
    }
    everything_is_indexed(&app, &mut connection, 100).await;
    everything_is_indexed(&beside, &mut connection, 100).await;
    beside.stop().await;
    app.stop().await;
    database.drop().await;
}

/// Waits until the service says that its index has everything the store has, and at least so much.
async fn agrees(client: &Client, connection: &mut PgConnection, at_least: usize) {
    eventually("the index has what the store has", async || {
        let system = client.try_read("/api/v1/system").await?;
        let indexed = system["index"]["events"].as_u64()? as usize;
        let stored = count_stored(connection).await;
        (indexed == stored && stored >= at_least).then_some(())
    })
    .await;
}

#[tokio::test]
async fn after_being_killed_at_any_moment_the_index_has_what_the_store_has() {
    let database = Database::create().await;
    let mut connection = database.connect().await;
    let folder = TempDir::new().expect("a folder can be made");
    let file = folder.path().join("index.snapshot");
    let mut service = ServiceProcess::start(&Settings {
        port: free_port(),
        database_url: database.url.clone(),
        redis_url: shared("REDIS_URL"),
        key_prefix: unique("it"),
        queue: "redis",
        claim_idle_ms: 3000,
        more: format!(
            "index.snapshot_file = \"{}\"\njobs.enabled = false",
            file.display()
        ),
    })
    .await;
    let keys = issue_keys(&mut connection).await;
    let client = Client::new(&[service.address.clone()], &keys);
    let send = async |round: usize| {
        for batch in 0..20 {
            let events: Vec<_> = (0..10)
                .map(|n| {
                    page_view(
                        &format!("killed-{round}-{batch}-{n}"),
                        &format!("device-{}", n * batch),
                    )
                })
                .collect();
            client.send_until_kept(&events).await;
        }
    };
    send(0).await;
    agrees(&client, &mut connection, 200).await;
    assert!(service.terminate().await.success());
    assert!(file.exists(), "the end leaves a snapshot");
    service.start_again().await;
    agrees(&client, &mut connection, 200).await;
    assert!(
        service
            .log_text()
            .contains("the index was filled from a snapshot")
    );

    for round in 1..4 {
        send(round).await;
        // Whatever it was doing: storing, taking in, saving.
        service.kill();
        service.start_again().await;
        agrees(&client, &mut connection, 200).await;
    }
    agrees(&client, &mut connection, 800).await;
    drop(service);
    database.drop().await;
}
