//! What retention takes away, and what it must leave.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::jobs::remove_sessions;
use crate::{
    event::Event,
    ingest::testing::{event_of, now, settle, settler},
    session::customer_id_of_user,
    store::attributes,
};

fn saying(mut event: Event, plan: &str) -> Event {
    event.attributes = json!({ "plan": plan }).as_object().cloned().unwrap_or_default();
    event
}

async fn plan_of(pool: &PgPool, user: &str) -> Option<Value> {
    sqlx::query_scalar("SELECT attributes -> 'plan' FROM customers WHERE id = $1")
        .bind(customer_id_of_user(user))
        .fetch_optional(pool)
        .await
        .unwrap()
        .flatten()
}

#[sqlx::test(migrations = "./migrations")]
async fn a_person_who_returns_after_retention_has_the_old_attributes(pool: PgPool) {
    let settler = settler(&pool).await;
    settle(&settler, vec![saying(event_of("a", 0, "login", "ann"), "pro")]).await;
    let mut connection = pool.acquire().await.unwrap();
    assert_eq!(remove_sessions(&mut connection, now()).await.unwrap(), 1);
    assert_eq!(plan_of(&pool, "ann").await, None);

    settle(&settler, vec![event_of("a", 5000, "login", "ann")]).await;
    assert_eq!(plan_of(&pool, "ann").await, Some(json!("pro")));
}

#[sqlx::test(migrations = "./migrations")]
async fn the_current_value_of_everybody_on_a_shared_device_outlives_retention(pool: PgPool) {
    let settler = settler(&pool).await;
    settle(&settler, vec![saying(event_of("a", 0, "login", "ann"), "trial")]).await;
    settle(&settler, vec![saying(event_of("a", 1, "login", "ann"), "pro")]).await;
    settle(&settler, vec![saying(event_of("a", 2, "login", "bob"), "free")]).await;
    let mut connection = pool.acquire().await.unwrap();
    let removed = attributes::prune_superseded(&mut connection, now() + TimeDelta::days(1), 100)
        .await
        .unwrap();
    assert_eq!(removed, 1, "only what ann said before");

    settle(
        &settler,
        vec![
            event_of("a2", 5000, "login", "ann"),
            event_of("a", 5001, "login", "bob"),
        ],
    )
    .await;
    assert_eq!(plan_of(&pool, "ann").await, Some(json!("pro")));
    assert_eq!(plan_of(&pool, "bob").await, Some(json!("free")));
}
