//! Segments: kept, tried, and asked for their people.

use axum::http::{Method, StatusCode};
use chrono::DateTime;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::{NOW, World, column};
use crate::{
    index::{View, testing::Story},
    store::segments,
};

/// Microseconds so many days before the present of the tests.
fn ago(days: i64) -> i64 {
    let now: DateTime<chrono::Utc> = NOW.parse().unwrap();
    now.timestamp_micros() - days * 86_400_000_000
}

/// Forty people: all saw a page, odd ones bought five days ago.
fn shop() -> View {
    let mut story = Story::default();
    for person in 1..=40 {
        if person % 2 == 1 {
            story.visit(
                person,
                &[(ago(9), "page_view", "/"), (ago(5), "purchase", "/pay")],
            );
        } else {
            story.visit(person, &[(ago(9), "page_view", "/")]);
        }
    }
    story.view()
}

async fn world(pool: &PgPool) -> World {
    let world = World::with_index(pool.clone(), shop()).await.into_admin().await;
    for person in 1..=40_u128 {
        let country = if person <= 10 { "AT" } else { "DE" };
        let fields =
            json!({"id": Uuid::from_u128(person), "country": country, "attributes": {"plan": "pro"}});
        world.customer(fields).await;
    }
    world
}

fn austrian_buyers() -> Value {
    json!({"all": [
        {"text": {"column": "country", "in": ["AT"]}},
        {"did": {"event": "purchase", "within_days": 30}},
    ]})
}

async fn create(world: &World, name: &str, definition: Value) -> Value {
    let body = json!({"name": name, "definition": definition});
    let (status, segment) = world.send(Method::POST, "/api/v1/segments", body).await;
    assert_eq!(status, StatusCode::CREATED, "{segment}");
    segment
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_preview_counts_the_people_and_keeps_nothing(pool: PgPool) {
    let world = world(&pool).await;
    let path = "/api/v1/segments/preview";
    for (definition, people) in [
        (austrian_buyers(), 5),
        (json!({"not": austrian_buyers()}), 35),
        (json!({"did": {"event": "purchase", "within_days": 4}}), 0),
        (json!({"did": {"event": "purchase", "at_most": 0}}), 20),
        (json!({"attribute": {"name": "plan", "in": ["pro"]}}), 40),
    ] {
        let (status, answer) = world
            .send(Method::POST, path, json!({"definition": definition}))
            .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(
            (&answer["people"], &answer["everybody"]),
            (&people.into(), &40.into())
        );
        assert_eq!(answer["share"], f64::from(people) / 40.0);
    }
    assert_eq!(world.ok("/api/v1/segments").await["items"], json!([]));
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_segment_is_kept_changed_and_removed(pool: PgPool) {
    let world = world(&pool).await;
    let first = create(&world, " Buyers ", austrian_buyers()).await;
    assert_eq!(
        (&first["name"], &first["definition"]),
        (&json!("Buyers"), &austrian_buyers())
    );
    create(&world, "Ones", json!({"identified": true})).await;
    let path = format!("/api/v1/segments/{}", first["id"].as_str().unwrap());
    assert_eq!(world.ok(&path).await, first);
    assert_eq!(
        column(&world.walk("/api/v1/segments?limit=1").await, "name"),
        ["Buyers", "Ones"]
    );

    let change = |name: &str| json!({"name": name, "description": "d", "definition": {"identified": false}});
    let (status, problem) = world.send(Method::PUT, &path, change("Ones")).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::CONFLICT, &json!("segment_name_taken"))
    );
    let (status, changed) = world.send(Method::PUT, &path, change("Others")).await;
    assert_eq!((status, &changed["name"]), (StatusCode::OK, &json!("Others")));
    assert_eq!(world.ok(&path).await, changed);
    assert_eq!(
        world.send(Method::DELETE, &path, Value::Null).await.0,
        StatusCode::NO_CONTENT
    );
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(
            world.send(method, &path, Value::Null).await.0,
            StatusCode::NOT_FOUND
        );
    }
    assert_eq!(
        world.send(Method::PUT, &path, change("Others")).await.0,
        StatusCode::NOT_FOUND
    );
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn everything_wrong_with_a_segment_is_told_at_once(pool: PgPool) {
    let world = world(&pool).await;
    let body = json!({"name": "", "definition": {"any": [
        {"number": {"column": "sessions"}}, {"did": {"at_least": 3, "at_most": 1}},
    ]}});
    let (status, problem) = world.send(Method::POST, "/api/v1/segments", body).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_segment"))
    );
    let errors = problem["errors"].as_array().unwrap();
    let begins: Vec<&str> = errors
        .iter()
        .map(|error| error.as_str().unwrap().split(':').next().unwrap())
        .collect();
    assert_eq!(begins, ["name", "rule.any[0].number", "rule.any[1].did"]);
    let unknown = json!({"name": "x", "definition": {"colour": "red"}});
    let (status, problem) = world.send(Method::POST, "/api/v1/segments", unknown).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_body"))
    );
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn the_people_of_a_segment_are_walked_page_by_page(pool: PgPool) {
    let world = world(&pool).await;
    let segment = create(&world, "Buyers", austrian_buyers()).await;
    let path = format!("/api/v1/segments/{}/people", segment["id"].as_str().unwrap());
    let people = world.walk(&format!("{path}?limit=2")).await;
    let expected: Vec<String> = [1, 3, 5, 7, 9]
        .map(|person| Uuid::from_u128(person).to_string())
        .into();
    assert_eq!(column(&people, "id"), expected);
    let missing = format!("/api/v1/segments/{}/people", Uuid::nil());
    assert_eq!(world.refused(&missing, StatusCode::NOT_FOUND).await, "not_found");
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn sizes_are_listed_the_newest_day_first(pool: PgPool) {
    let world = world(&pool).await;
    let segment = create(&world, "Buyers", austrian_buyers()).await;
    let id = segment["id"].as_str().unwrap();
    let mut connection = pool.acquire().await.unwrap();
    for (day, people) in [("2026-06-13", 3), ("2026-06-14", 4), ("2026-06-15", 5)] {
        let sizes = [(id.parse().unwrap(), people)];
        segments::save_sizes(&mut connection, day.parse().unwrap(), 40, &sizes)
            .await
            .unwrap();
    }
    let sizes = world.walk(&format!("/api/v1/segments/{id}/sizes?limit=2")).await;
    assert_eq!(column(&sizes, "day"), ["2026-06-15", "2026-06-14", "2026-06-13"]);
    assert_eq!(
        (&sizes[0]["people"], &sizes[0]["everybody"]),
        (&5.into(), &40.into())
    );
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn without_an_index_there_is_no_answer_and_no_wrong_one(pool: PgPool) {
    let world = World::new(pool).await;
    let body = json!({"definition": {"identified": true}});
    let (status, problem) = world.send(Method::POST, "/api/v1/segments/preview", body).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("index_disabled"))
    );
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_key_that_only_reads_tries_segments_and_keeps_none(pool: PgPool) {
    let world = World::with_index(pool, shop()).await;
    let body = json!({"name": "x", "definition": {"identified": true}});
    let one = format!("/api/v1/segments/{}", Uuid::nil());
    for (method, path) in [
        (Method::POST, "/api/v1/segments"),
        (Method::PUT, &one),
        (Method::DELETE, &one),
    ] {
        let (status, problem) = world.send(method, path, body.clone()).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::FORBIDDEN, &json!("insufficient_scope"))
        );
    }
    let preview = json!({"definition": {"did": {"event": "purchase"}}});
    let (status, answer) = world
        .send(Method::POST, "/api/v1/segments/preview", preview)
        .await;
    assert_eq!((status, &answer["people"]), (StatusCode::OK, &json!(20)));
}
