//! Heatmaps through the interface.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::World;
use crate::index::testing::Story;

/// Two devices: one clicks twice into the middle, one at the left edge, with the keyboard, and on another page.
async fn tell(world: &World) {
    for (number, device, path, place) in [
        (0, "d1", "/cart", Some((200, 45))),
        (1, "d1", "/cart", Some((201, 50))),
        (2, "d2", "/cart", Some((0, 0))),
        (3, "d2", "/cart", None),
        (4, "d2", "/other", Some((9, 9))),
    ] {
        world
            .event(json!({
                "timestamp": format!("2026-06-10T10:00:0{number}Z"), "event_type": "click", "device_id": device,
                "device_type": "mobile", "page_path": path, "page_host": "shop.example", "viewport_width": 400,
                "x": place.map(|place: (i32, i32)| place.0), "y": place.map(|place| place.1),
                "element_selector": if device == "d1" { "#buy" } else { "#logo" }, "element_text": "Go",
            }))
            .await;
    }
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn clicks_lie_in_the_cells_of_the_grid(pool: PgPool) {
    let world = World::new(pool).await;
    tell(&world).await;
    let map = world
        .ok("/api/v1/heatmaps?page=/cart&device_type=mobile&columns=10&band_px=20")
        .await;
    assert_eq!((&map["engine"], &map["scroll"]), (&json!("sql"), &Value::Null));
    let clicks = &map["clicks"];
    assert_eq!(
        (&clicks["clicks"], &clicks["devices"], &clicks["placed"]),
        (&4.into(), &2.into(), &3.into())
    );
    assert_eq!(
        clicks["cells"],
        json!([
            {"column": 5, "band": 2, "clicks": 2, "devices": 1},
            {"column": 0, "band": 0, "clicks": 1, "devices": 1},
        ])
    );
    assert_eq!(
        clicks["elements"][0],
        json!({
            "selector": "#buy", "text": "Go", "clicks": 2, "devices": 1, "share": null,
        })
    );
    let few = world.ok("/api/v1/heatmaps?page=shop.example/*&elements=1").await;
    assert_eq!(
        (&few["clicks"]["clicks"], &few["clicks"]["elements_truncated"]),
        (&5.into(), &true.into())
    );
    let desktop = world.ok("/api/v1/heatmaps?page=/cart&device_type=desktop").await;
    assert_eq!(desktop["clicks"]["cells"], json!([]));
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn depths_are_those_that_views_told(pool: PgPool) {
    let world = World::new(pool).await;
    for (second, event_type, depth) in [
        (0, "page_view", None),
        (1, "scroll", Some(25)),
        (2, "page_leave", Some(55)),
        (3, "page_view", None),
        (4, "page_leave", Some(90)),
        (5, "page_view", None),
    ] {
        world
            .event(json!({
                "timestamp": format!("2026-06-10T10:00:0{second}Z"), "event_type": event_type, "page_path": "/cart",
                "scroll_depth": depth,
            }))
            .await;
    }
    let map = world.ok("/api/v1/heatmaps?page=/cart&kind=scroll").await;
    let scroll = &map["scroll"];
    assert_eq!(
        (&scroll["views"], &scroll["views_measured"]),
        (&3.into(), &2.into())
    );
    assert_eq!(scroll["mean_depth"], 72.5);
    let views: Vec<i64> = scroll["reach"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["views"].as_i64().unwrap())
        .collect();
    assert_eq!(views, [2, 2, 2, 2, 2, 1, 1, 1, 1, 0]);
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_segment_narrows_a_heatmap_to_its_people(pool: PgPool) {
    let mut story = Story::default();
    story.visit(1, &[(1, "purchase", "/")]);
    story.visit(2, &[(1, "page_view", "/")]);
    let world = World::with_index(pool, story.view()).await.into_admin().await;
    tell(&world).await;
    for (person, device) in [(1_u128, "d1"), (2, "d2")] {
        world
            .session(
                json!({"customer_id": Uuid::from_u128(person), "device_id": device,
                            "started_at": "2026-06-10T10:00:00Z", "ended_at": "2026-06-10T10:01:00Z"}),
            )
            .await;
    }
    let body = json!({"name": "Buyers", "definition": {"did": {"event": "purchase"}}});
    let (_, segment) = world.send(Method::POST, "/api/v1/segments", body).await;
    let id = segment["id"].as_str().unwrap();
    let map = world
        .ok(&format!("/api/v1/heatmaps?page=/cart&segment={id}"))
        .await;
    assert_eq!(
        (&map["clicks"]["clicks"], &map["clicks"]["devices"]),
        (&2.into(), &1.into())
    );
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn what_cannot_be_drawn_is_refused_by_name(pool: PgPool) {
    let world = World::new(pool).await;
    for (query, code) in [
        ("kind=clicks", "invalid_query"),
        ("page=", "invalid_query"),
        ("page=/&columns=0", "invalid_query"),
        ("page=/&columns=201", "invalid_query"),
        ("page=/&band_px=1001", "invalid_query"),
        ("page=/&kind=hover", "invalid_query"),
        ("page=/&device_type=fridge", "invalid_query"),
        ("page=/&colums=9", "unknown_parameter"),
        ("page=/&from=2026-06-02&to=2026-06-01", "invalid_range"),
    ] {
        let path = format!("/api/v1/heatmaps?{query}");
        assert_eq!(
            world.refused(&path, StatusCode::BAD_REQUEST).await,
            code,
            "{query}"
        );
    }
}
