//! Sessions, customers and journeys one by one.

use axum::http::StatusCode;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{World, column};
use crate::event::{Hasher, email_token};

#[sqlx::test(migrations = "./migrations")]
async fn a_session_is_found_by_either_id_unless_devices_share_it(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world
        .session(json!({"session_id": "mine", "started_at": "2026-06-01T10:00:00Z"}))
        .await;
    assert_eq!(world.ok("/api/v1/sessions/mine").await["id"], id.to_string());
    let own = world.ok(&format!("/api/v1/sessions/{id}")).await;
    assert_eq!(own["session_id"], "mine");
    assert_eq!((own.get("state"), own.get("events")), (None, None));
    let twin = world
        .session(json!({"session_id": "mine", "device_id": "d2", "started_at": "2026-06-01T11:00:00Z"}))
        .await;
    let (status, problem) = world.json("/api/v1/sessions/mine").await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::CONFLICT, &json!("ambiguous_session_id"))
    );
    assert_eq!(problem["ids"], json!([twin, id]));
    assert_eq!(
        world
            .refused("/api/v1/sessions/nobody", StatusCode::NOT_FOUND)
            .await,
        "not_found"
    );
    assert_eq!(
        world
            .refused("/api/v1/sessions/a%00b", StatusCode::BAD_REQUEST)
            .await,
        "invalid_path"
    );
}

#[sqlx::test(migrations = "./migrations")]
async fn a_session_shows_its_own_events_in_the_order_of_the_device(pool: PgPool) {
    let world = World::new(pool).await;
    let customer = world.customer(json!({})).await;
    world
        .life(json!({"started_at": "2026-06-01T10:00:00Z", "start_event": "a", "customer_id": customer}))
        .await;
    world
        .life(json!({"life": 1, "started_at": "2026-06-01T10:05:00Z", "start_event": "n", "customer_id": customer}))
        .await;
    let first = world
        .session(json!({"session_id": "first", "started_at": "2026-06-01T10:00:00Z", "ended_at": "2026-06-01T10:05:00Z"}))
        .await;
    let second = world
        .session(
            json!({"life": 1, "session_id": "second", "started_at": "2026-06-01T10:05:00Z",
                        "ended_at": "2026-06-01T10:06:00Z"}),
        )
        .await;
    for (id, at, seq) in [
        ("c", "10:05:00", json!(null)),
        ("n", "10:05:00", json!(null)),
        ("o", "10:05:00", json!(1)),
        ("p", "10:06:00", json!(null)),
        ("b", "10:00:00", json!(2)),
        ("a", "10:00:00", json!(1)),
        ("later", "11:00:00", json!(null)),
    ] {
        world
            .event(json!({"event_id": id, "timestamp": format!("2026-06-01T{at}Z"), "seq": seq}))
            .await;
    }
    world
        .event(json!({"event_id": "foreign", "device_id": "d2", "timestamp": "2026-06-01T10:01:00Z"}))
        .await;
    for (session, expected) in [(first, ["a", "b", "c"]), (second, ["n", "o", "p"])] {
        let answer = world
            .ok(&format!("/api/v1/sessions/{session}?include=events"))
            .await;
        assert_eq!(column(answer["events"].as_array().unwrap(), "event_id"), expected);
        assert_eq!(answer["events_truncated"], false);
        let listed = world
            .walk(&format!(
                "/api/v1/events?session_id={session}&order=oldest&limit=2"
            ))
            .await;
        let mut ids = column(&listed, "event_id");
        ids.sort_unstable();
        assert_eq!(ids, expected);
    }
    let both = format!(
        "/api/v1/events?session_id=first&customer_id={}",
        uuid::Uuid::nil()
    );
    assert_eq!(world.walk(&both).await.len(), 3);
    let foreign = format!("/api/v1/events?session_id=first&customer_id={customer}");
    assert!(world.walk(&foreign).await.is_empty());
}

#[sqlx::test(migrations = "./migrations")]
async fn a_customer_answers_to_id_user_and_device(pool: PgPool) {
    let world = World::new(pool).await;
    let before = world.customer(json!({})).await;
    let user = world.customer(json!({"user_id": "u1"})).await;
    world
        .life(json!({"started_at": "2026-06-01T10:00:00Z", "customer_id": before}))
        .await;
    world
        .life(json!({"life": 1, "started_at": "2026-06-02T10:00:00Z", "user_id": "u1", "customer_id": user}))
        .await;
    world
        .identity(json!({"recorded_at": "2026-06-02T10:00:00Z", "user_id": "u1"}))
        .await;
    for reference in [user.to_string(), "u1".into(), "d1".into()] {
        let answer = world.ok(&format!("/api/v1/customers/{reference}")).await;
        assert_eq!(answer["id"], user.to_string(), "{reference}");
        assert_eq!(answer["lives"].as_array().unwrap().len(), 1);
        assert_eq!(answer["identity_log"][0]["action"], "link");
    }
    let answer = world.ok(&format!("/api/v1/customers/{before}")).await;
    assert_eq!(answer["lives"][0]["ended_at"], "2026-06-02T10:00:00Z");
    for path in ["customers/nobody", "customers/nobody/journey"] {
        assert_eq!(
            world
                .refused(&format!("/api/v1/{path}"), StatusCode::NOT_FOUND)
                .await,
            "not_found"
        );
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn an_e_mail_address_finds_the_user_whose_token_is_kept(pool: PgPool) {
    let world = World::new(pool).await;
    let token = email_token(&Hasher::new("a salt of sixteen"), "ann@example.com").unwrap();
    let customer = world
        .customer(json!({"user_id": token, "attributes": {"email": token}}))
        .await;
    world
        .session(json!({"user_id": token, "started_at": "2026-06-01T10:00:00Z"}))
        .await;
    world
        .event(json!({"user_id": token, "timestamp": "2026-06-01T10:00:00Z"}))
        .await;
    for path in ["customers/ann@example.com", "customers/Ann%40example.com"] {
        assert_eq!(
            world.ok(&format!("/api/v1/{path}")).await["id"],
            customer.to_string()
        );
    }
    for path in ["customers", "sessions", "events"] {
        let path = format!("/api/v1/{path}?user_id=ann%40example.com");
        assert_eq!(world.walk(&path).await.len(), 1, "{path}");
    }
    assert_eq!(
        world
            .walk("/api/v1/customers?attribute.email=ann@example.com")
            .await
            .len(),
        1
    );
    world.ok("/api/v1/customers/ann@example.com/journey").await;
}

/// Two devices of one user: four sessions, two of them at the same moment, with changes in between.
async fn journey_world(pool: PgPool) -> World {
    let world = World::new(pool).await;
    let customer = world
        .customer(json!({"user_id": "u1", "sessions": 4, "events": 7, "revenue": {"EUR": "10.00"}, "conversions": 1}))
        .await;
    for device in ["d1", "d2"] {
        world
            .life(json!({"device_id": device, "started_at": "2026-06-01T08:00:00Z", "customer_id": customer}))
            .await;
    }
    for (device, from, to) in [
        ("d1", "08:00:00", "08:10:00"),
        ("d2", "10:00:00", "10:30:00"),
        ("d1", "10:00:00", "10:05:00"),
        ("d1", "12:00:00", "12:00:00"),
    ] {
        let (from, to) = (format!("2026-06-01T{from}Z"), format!("2026-06-01T{to}Z"));
        world
            .session(
                json!({"device_id": device, "customer_id": customer, "started_at": from, "ended_at": to}),
            )
            .await;
    }
    for (id, device, at, kind) in [
        ("e1", "d1", "08:00:00", "page_view"),
        ("e2", "d1", "08:10:00", "identify"),
        ("e3", "d2", "10:00:00", "page_view"),
        ("e4", "d2", "10:30:00", "rage_click"),
        ("e5", "d1", "12:00:00", "purchase"),
    ] {
        let at = format!("2026-06-01T{at}Z");
        world
            .event(json!({"event_id": id, "device_id": device, "timestamp": at, "event_type": kind}))
            .await;
    }
    // Recorded late, as after an import: the event's own time counts.
    world
        .identity(json!({"recorded_at": "2026-06-14T00:00:00Z", "user_id": "u1", "event_id": "e2"}))
        .await;
    world
        .identity(json!({"recorded_at": "2026-06-01T09:00:00Z", "user_id": "u1", "device_id": "d7", "action": "unlink"}))
        .await;
    for (name, at) in [
        ("early", "07:59:59"),
        ("plan", "08:10:00"),
        ("plan", "10:00:00"),
        ("last", "12:30:00"),
    ] {
        let at = format!("2026-06-01T{at}Z");
        world
            .fact(json!({"name": name, "occurred_at": at, "value": at}))
            .await;
    }
    world
}

#[sqlx::test(migrations = "./migrations")]
async fn a_busy_session_says_that_it_shows_a_part(pool: PgPool) {
    let world = journey_world(pool).await;
    sqlx::query(
        "INSERT INTO events (timestamp, event_id, event_type, received_at, device_id, key_id, device_type) \
         SELECT '2026-06-01T08:00:00Z'::timestamptz + n * interval '1 second', 'busy' || n, 'error', now(), 'd1', 1, \
           'desktop' FROM generate_series(1, 500) n",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let journey = world.ok("/api/v1/customers/u1/journey").await;
    let entries = journey["entries"].as_array().unwrap();
    let shown: Vec<_> = entries
        .iter()
        .filter(|entry| entry["kind"] == "session")
        .map(|entry| {
            (
                entry["events"].as_array().unwrap().len(),
                entry["events_truncated"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(shown, [(500, true), (1, false), (0, false), (1, false)]);
    assert_eq!(journey["attribute_changes_truncated"], false);
}

fn summary(entries: &[Value]) -> Vec<String> {
    let line = |entry: &Value| {
        let kind = entry["kind"].as_str().unwrap();
        let time = &entry["at"].as_str().unwrap()[11..16];
        format!("{time} {kind} {}", entry["gap_seconds"])
    };
    entries.iter().map(line).collect()
}

#[sqlx::test(migrations = "./migrations")]
async fn a_journey_tells_everything_in_order_with_gaps(pool: PgPool) {
    let world = journey_world(pool).await;
    let journey = world.ok("/api/v1/customers/u1/journey").await;
    assert_eq!(
        summary(journey["entries"].as_array().unwrap()),
        [
            "08:00 session null",
            "08:10 attribute_change 0.0",
            "08:10 identity 0.0",
            "09:00 identity 3000.0",
            "10:00 session 3600.0",
            "10:00 session 0.0",
            "10:00 attribute_change 0.0",
            "12:00 session 5400.0",
            "12:30 attribute_change 1800.0",
        ]
    );
    assert_eq!(journey["totals"]["attribute_changes"], 3);
    assert_eq!(journey["totals"]["identity_changes"], 2);
    assert_eq!(journey["totals"]["revenue"]["EUR"], "10.00");
    assert_eq!(journey.get("next_cursor"), None);
}

#[sqlx::test(migrations = "./migrations")]
async fn a_journey_shows_the_events_that_are_asked_for(pool: PgPool) {
    let world = journey_world(pool).await;
    for (shown, expected) in [
        ("", Some(vec!["e2", "e4", "e5"])),
        ("?events=key", Some(vec!["e2", "e4", "e5"])),
        ("?events=all", Some(vec!["e1", "e2", "e3", "e4", "e5"])),
        ("?events=none", None),
    ] {
        let journey = world.ok(&format!("/api/v1/customers/d2/journey{shown}")).await;
        let entries = journey["entries"].as_array().unwrap();
        let lists: Option<Vec<&Vec<Value>>> = entries
            .iter()
            .filter(|entry| entry["kind"] == "session")
            .map(|entry| entry["events"].as_array())
            .collect();
        let ids = lists.map(|lists| {
            lists
                .into_iter()
                .flat_map(|events| column(events, "event_id"))
                .collect()
        });
        assert_eq!(ids, expected, "{shown}");
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn the_pages_of_a_journey_are_the_whole_journey(pool: PgPool) {
    let world = journey_world(pool).await;
    let whole = world.ok("/api/v1/customers/u1/journey?events=all").await;
    for limit in 1..=4 {
        let path = format!("/api/v1/customers/u1/journey?events=all&limit={limit}");
        let mut page = world.ok(&path).await;
        let mut entries = page["entries"].as_array().unwrap().clone();
        while let Some(cursor) = page["next_cursor"].as_str() {
            page = world.ok(&format!("{path}&cursor={cursor}")).await;
            assert_eq!(page["totals"], whole["totals"]);
            entries.extend(page["entries"].as_array().unwrap().iter().cloned());
        }
        let by_time = |entries: &[Value]| {
            let mut entries: Vec<String> = entries
                .iter()
                .map(|entry| format!("{} {} {}", entry["at"], entry["kind"], entry["session"]["id"]))
                .collect();
            entries.sort();
            entries
        };
        assert_eq!(
            by_time(&entries),
            by_time(whole["entries"].as_array().unwrap()),
            "limit {limit}"
        );
    }
}
