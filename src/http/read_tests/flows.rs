//! Paths, attribution and retention over HTTP.

use axum::http::StatusCode;
use rust_decimal::Decimal;
use serde_json::json;
use sqlx::PgPool;

use super::World;
use crate::index::{
    View,
    rows::flag,
    testing::{Story, Visit},
};

const DAY: i64 = 86_400_000_000;

/// Somebody comes by mail and buys on a second visit; somebody else only looks. The stories of a test happen in 1970.
fn story() -> View {
    let mut story = Story::default();
    let mail = Visit {
        channel: "Email",
        device_type: "mobile",
        ..Visit::default()
    };
    let purchase = Visit {
        channel: "Direct",
        flags: flag::CONVERTED,
        order: Some((Decimal::new(4990, 2), "EUR")),
        ..Visit::default()
    };
    let at = |day: i64, second: i64| day * DAY + second * 1_000_000;
    let view = |day, second, page| (at(day, second), "page_view", page);
    story.visit_as(
        1,
        mail,
        &[
            view(4, 0, "/"),
            view(4, 9, "/product/FF-401"),
            view(4, 20, "/product/FF-202"),
        ],
    );
    story.visit_as(
        1,
        purchase,
        &[view(12, 0, "/cart"), (at(12, 30), "purchase", "/done")],
    );
    story.visit(2, &[view(5, 0, "/"), view(5, 60, "/cart")]);
    story.view()
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn paths_are_answered_as_a_diagram(pool: PgPool) {
    let world = World::with_index(pool, story()).await;
    let found = world
        .ok("/api/v1/paths?from=1970-01-01&to=1970-01-31&tz=UTC&group=/product/*&depth=3")
        .await;
    assert_eq!(
        (&found["considered"], &found["engine"]),
        (&json!(3), &json!("index"))
    );
    assert_eq!(found["timezone"], "UTC");
    let nodes = found["nodes"].as_array().unwrap();
    let second: Vec<_> = nodes.iter().filter(|node| node["level"] == 1).collect();
    assert_eq!(second[0]["name"], "/cart");
    assert_eq!(second[1]["name"], "/product/*");
    assert_eq!(second[2]["kind"], "exit");
    let mobile = world
        .ok("/api/v1/paths?from=1970-01-01&to=1970-01-31&filter=device_type:mobile&end_page=/product/FF-202")
        .await;
    assert_eq!(
        (&mobile["considered"], &mobile["nodes"][1]["name"]),
        (&json!(1), &json!("/product/FF-401"))
    );
    for query in ["depth=99", "start_page=/&end_page=/", "steps=people", "top=x"] {
        let code = world
            .refused(&format!("/api/v1/paths?{query}"), StatusCode::BAD_REQUEST)
            .await;
        assert_eq!(code, "invalid_query", "{query}");
    }
    let code = world
        .refused("/api/v1/paths?levels=3", StatusCode::BAD_REQUEST)
        .await;
    assert_eq!(code, "unknown_parameter");
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn attribution_credits_every_conversion(pool: PgPool) {
    let world = World::with_index(pool, story()).await;
    let path = "/api/v1/attribution?from=1970-01-10&to=1970-01-31&tz=UTC";
    let found = world.ok(&format!("{path}&model=linear")).await;
    assert_eq!(found["conversions"], 1);
    assert_eq!(
        found["revenue"],
        json!([{"currency": "EUR", "amount": "49.90", "decimals": 2}])
    );
    let credit = json!([{"model": "linear", "conversions": "0.500000", "revenue": [{"currency": "EUR", "amount": "24.95"}]}]);
    for line in found["values"].as_array().unwrap() {
        assert_eq!(line["credits"], credit);
    }
    let steps = json!([{"value": "Email", "other": false}, {"value": "Direct", "other": false}]);
    assert_eq!(found["paths"], json!([{"steps": steps, "conversions": 1}]));
    let found = world.ok(&format!("{path}&look_back_days=7")).await;
    assert_eq!(found["direct_only"], 1);
    assert_eq!(found["values"][0]["credits"].as_array().unwrap().len(), 7);
    for query in [
        "model=best",
        "dimension=browser",
        "look_back_days=0",
        "limit=1000",
    ] {
        let code = world
            .refused(&format!("{path}&{query}"), StatusCode::BAD_REQUEST)
            .await;
        assert_eq!(code, "invalid_query", "{query}");
    }
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn retention_is_answered_by_cohort(pool: PgPool) {
    let world = World::with_index(pool, story()).await;
    let path = "/api/v1/retention?from=1970-01-05&to=1970-01-25&tz=UTC";
    let found = world.ok(path).await;
    let cohorts = found["cohorts"].as_array().unwrap();
    assert_eq!(cohorts.len(), 3);
    assert_eq!(
        (&cohorts[0]["start"], &cohorts[0]["size"]),
        (&json!("1970-01-05T00:00:00Z"), &json!(2))
    );
    assert_eq!(
        cohorts[0]["periods"][1],
        json!({"period": 1, "complete": true, "returned": 1, "returned_or_later": 1, "share": null,
            "share_or_later": null})
    );
    let bought = world
        .ok(&format!("{path}&cohort_by=first_purchase&interval=day"))
        .await;
    assert_eq!(bought["cohorts"][8]["size"], 1);
    for (query, code) in [
        ("periods=-1", "invalid_query"),
        ("periods=101", "invalid_query"),
        ("interval=hour", "invalid_query"),
        ("from=1960-01-01&interval=day", "too_many_buckets"),
    ] {
        let path = format!("/api/v1/retention?to=1975-01-01&{query}");
        assert_eq!(
            world.refused(&path, StatusCode::BAD_REQUEST).await,
            code,
            "{query}"
        );
    }
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_node_without_an_index_says_so(pool: PgPool) {
    let world = World::new(pool).await;
    for path in ["paths", "attribution", "retention"] {
        let code = world
            .refused(&format!("/api/v1/{path}"), StatusCode::SERVICE_UNAVAILABLE)
            .await;
        assert_eq!(code, "index_disabled");
    }
}
