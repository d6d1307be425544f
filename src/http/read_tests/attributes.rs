//! Attribute history over the lives of a customer.

use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::World;

async fn changes(world: &World, customer: Uuid) -> Vec<(String, Value, Value)> {
    let journey = world.ok(&format!("/api/v1/customers/{customer}/journey")).await;
    let entries = journey["entries"].as_array().unwrap();
    let changes = entries.iter().filter(|entry| entry["kind"] == "attribute_change");
    changes
        .map(|entry| {
            (
                entry["name"].as_str().unwrap().to_owned(),
                entry["old"].clone(),
                entry["new"].clone(),
            )
        })
        .collect()
}

#[sqlx::test(migrations = "./migrations")]
async fn saying_a_value_again_is_no_change_and_devices_share_the_history(pool: PgPool) {
    let world = World::new(pool).await;
    let customer = world
        .customer(json!({"user_id": "u1", "attributes": {"plan": "pro"}}))
        .await;
    world
        .life(json!({"device_id": "d1", "started_at": "2026-06-01T00:00:00Z", "customer_id": customer}))
        .await;
    world
        .life(json!({"device_id": "d2", "started_at": "2026-06-01T00:00:00Z", "customer_id": customer}))
        .await;
    for (device, at, value) in [
        ("d1", "2026-06-01T01:00:00Z", json!("free")),
        ("d2", "2026-06-01T02:00:00Z", json!("free")),
        ("d2", "2026-06-01T03:00:00Z", json!("pro")),
        ("d1", "2026-06-01T04:00:00Z", json!("pro")),
        ("d1", "2026-06-01T05:00:00Z", json!(["a", 1])),
    ] {
        world
            .fact(json!({"device_id": device, "name": "plan", "occurred_at": at, "value": value}))
            .await;
    }
    world
        .fact(json!({"device_id": "d9", "name": "plan", "occurred_at": "2026-06-01T02:30:00Z", "value": "x"}))
        .await;
    let plan = "plan".to_owned();
    assert_eq!(
        changes(&world, customer).await,
        [
            (plan.clone(), Value::Null, json!("free")),
            (plan.clone(), json!("free"), json!("pro")),
            (plan, json!("pro"), json!(["a", 1])),
        ]
    );
    let detail = world.ok("/api/v1/customers/u1").await;
    assert_eq!(detail["attribute_changes"][0]["at"], "2026-06-01T05:00:00Z");
    assert_eq!(detail["attribute_changes"][0]["old"], "pro");
}

#[sqlx::test(migrations = "./migrations")]
async fn a_life_ends_at_the_exact_event_that_starts_the_next(pool: PgPool) {
    let world = World::new(pool).await;
    let first = world.customer(json!({})).await;
    let second = world.customer(json!({"user_id": "u2"})).await;
    let at = "2026-06-01T10:00:00Z";
    world.life(json!({"life": 0, "started_at": "2026-06-01T09:00:00Z", "start_event": "a", "customer_id": first})).await;
    world
        .life(json!({"life": 1, "started_at": at, "start_seq": 5, "start_event": "m", "customer_id": second}))
        .await;
    // In the order of the device: no counter, then 4, then 5 with an id before and after the start.
    for (name, seq, id) in [
        ("absent", Value::Null, "z"),
        ("four", json!(4), "z"),
        ("five_before", json!(5), "Z"),
        ("five_start", json!(5), "m"),
        ("five_after", json!(5), "é"),
        ("six", json!(6), "a"),
    ] {
        world
            .fact(json!({"name": name, "occurred_at": at, "seq": seq, "event_id": id, "value": 1}))
            .await;
        world.event(json!({"timestamp": at, "seq": seq, "event_id": format!("{id}{}", if id == "m" { "" } else { name })})).await;
    }
    let names = |changes: Vec<(String, Value, Value)>| -> Vec<String> {
        changes.into_iter().map(|(name, ..)| name).collect()
    };
    assert_eq!(
        names(changes(&world, first).await),
        ["absent", "four", "five_before"]
    );
    assert_eq!(
        names(changes(&world, second).await),
        ["five_start", "five_after", "six"]
    );
    for customer in [first, second] {
        assert_eq!(
            world
                .walk(&format!("/api/v1/events?customer_id={customer}&limit=2"))
                .await
                .len(),
            3
        );
    }
}
