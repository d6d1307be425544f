//! The live view as its listeners see it.

use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::{Request, StatusCode},
};
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use super::*;
use crate::{
    config::Config,
    http::Parts,
    store::keys::{self, KeyKind, NewKey, Scope},
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    pool: PgPool,
    live: Arc<Live>,
    router: Router,
    key: String,
}

impl World {
    /// The service with a live view that looks at the store all the time, and a clock that stands still.
    async fn new(pool: PgPool) -> Self {
        let mut config = Config::default();
        config.secrets.api_key_salt = "a salt of sixteen".into();
        config.server.request_timeout_seconds = 1;
        let mut parts = Parts::new(pool.clone(), Arc::new(config), Clock::fixed(now()));
        let live = Arc::new(Live {
            poll_every: Duration::from_millis(20),
            ..Live::new(CancellationToken::new())
        });
        parts.live = live.clone();
        let state = AppState::from(parts);
        let new_key = NewKey::checked(KeyKind::Secret, "reader", &[], &[Scope::Read], None).unwrap();
        let mut connection = pool.acquire().await.unwrap();
        let issued = keys::create_key(&mut connection, &state.hasher, &new_key, now())
            .await
            .unwrap();
        Self {
            pool,
            live,
            router: crate::http::router(state),
            key: issued.key,
        }
    }

    async fn listen(&self) -> BodyDataStream {
        let request = Request::get("/api/v1/live")
            .header("X-API-Key", &self.key)
            .header("Accept-Encoding", "gzip")
            .body(Body::empty())
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers().get("content-encoding"), None);
        response.into_body().into_data_stream()
    }

    async fn event(&self, device: &str, seconds_ago: i64, event_type: &str, page: &str) {
        let time = now() - TimeDelta::seconds(seconds_ago);
        let row = json!({
            "timestamp": time, "received_at": time, "event_id": Uuid::now_v7().to_string(), "event_type": event_type,
            "device_id": device, "key_id": 1, "device_type": "mobile", "country": "AT", "page_host": "shop.example",
            "page_path": page, "user_id": "ann@example.com",
        });
        sqlx::query("INSERT INTO events SELECT * FROM jsonb_populate_record(NULL::events, $1)")
            .bind(row)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    async fn life(&self, device: &str, customer: u128) {
        sqlx::query(
            "INSERT INTO device_lives (device_id, life, started_at, start_event, customer_id)
             VALUES ($1, 0, $2, '', $3)",
        )
        .bind(device)
        .bind(now())
        .bind(Uuid::from_u128(customer))
        .execute(&self.pool)
        .await
        .unwrap();
    }

    fn is_polling(&self) -> bool {
        *self.live.is_polling.lock().unwrap()
    }
}

fn now() -> DateTime<Utc> {
    "2026-06-15T12:00:00Z".parse().unwrap()
}

/// Waits for the next message; `None` at the end of the stream.
async fn next(stream: &mut BodyDataStream) -> Option<Value> {
    let read = async {
        let mut text = String::new();
        while !text.ends_with("\n\n") {
            let chunk = stream.next().await?.unwrap();
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        Some(text)
    };
    let text = tokio::time::timeout(PATIENCE, read)
        .await
        .expect("a message in time")?;
    let data = text
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .expect("a message has data");
    assert!(text.contains("event: live"));
    Some(serde_json::from_str(data).unwrap())
}

async fn eventually(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("it comes to hold");
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_message_is_the_picture_of_the_last_five_minutes(pool: PgPool) {
    let world = World::new(pool).await;
    // Ann has two devices, one of nobody known is a third.
    world.life("a1", 1).await;
    world.life("a2", 1).await;
    for (device, seconds_ago, event_type, page) in [
        ("a1", 10, "page_view", "/cart"),
        ("a1", 70, "page_view", "/"),
        ("a2", 75, "page_view", "/cart"),
        ("n1", 299, "click", "/cart"),
        ("n2", 300, "page_view", "/"),
        ("n3", -5, "page_view", "/"),
    ] {
        world.event(device, seconds_ago, event_type, page).await;
    }
    let live = next(&mut world.listen().await).await.unwrap();
    assert_eq!(
        (&live["active_people"], &live["events_last_minute"]),
        (&2.into(), &1.into())
    );
    assert_eq!(live["events_by_minute"], json!([1, 0, 0, 2, 1]));
    assert_eq!(
        live["pages"],
        json!([
            {"page": "shop.example/cart", "devices": 2, "views": 2},
            {"page": "shop.example/", "devices": 1, "views": 1},
        ])
    );
    assert_eq!(live["newest"].as_array().unwrap().len(), 4);
    assert_eq!(
        live["newest"][0],
        json!({"timestamp": "2026-06-15T11:59:50Z", "event_type": "page_view", "page_path": "/cart", "country": "AT",
               "device_type": "mobile", "customer_id": Uuid::from_u128(1)})
    );
    let text = live.to_string();
    assert!(
        !text.contains("ann@example.com") && !text.contains("\"a1\""),
        "{text}"
    );
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn listeners_share_one_poller_that_ends_with_the_last_of_them(pool: PgPool) {
    let world = World::new(pool).await;
    assert!(!world.is_polling());
    let (mut first, mut second) = (world.listen().await, world.listen().await);
    assert!(world.is_polling());
    next(&mut first).await.unwrap();
    world.event("d", 1, "click", "/").await;
    while next(&mut first).await.unwrap()["active_people"] != 1 {}
    while next(&mut second).await.unwrap()["active_people"] != 1 {}
    drop(first);
    next(&mut second).await.unwrap();
    drop(second);
    eventually(|| !world.is_polling()).await;
    // Nothing stale is left for who comes next.
    assert_eq!(*world.live.latest.borrow(), None);
    next(&mut world.listen().await).await.unwrap();
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn the_time_limit_of_requests_does_not_end_the_stream_but_a_stop_does(pool: PgPool) {
    let world = World::new(pool).await;
    let mut stream = world.listen().await;
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < Duration::from_millis(1500) {
        next(&mut stream).await.unwrap();
    }
    world.live.closing.cancel();
    let end = async { while next(&mut stream).await.is_some() {} };
    tokio::time::timeout(PATIENCE, end)
        .await
        .expect("the stream ends");
    eventually(|| !world.is_polling()).await;
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn listeners_are_limited(pool: PgPool) {
    let world = World::new(pool).await;
    let clock = Clock::fixed(now());
    let all: Vec<_> = (0..LISTENERS_MAX)
        .map(|_| world.live.listen(&world.pool, &clock).unwrap())
        .collect();
    assert!(world.live.listen(&world.pool, &clock).is_none());
    drop(all);
    assert!(world.live.listen(&world.pool, &clock).is_some());
}
