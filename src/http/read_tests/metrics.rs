//! The overview and the ledger.

use axum::http::StatusCode;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::World;

#[sqlx::test(migrations = "./migrations")]
async fn the_overview_adds_up_and_compares_with_the_period_before(pool: PgPool) {
    let world = World::new(pool).await;
    for number in 0..40_u128 {
        let first_seen = if number < 10 {
            "2026-05-20T00:00:00Z"
        } else {
            "2026-06-01T10:00:00Z"
        };
        let customer = world
            .customer(json!({"id": Uuid::from_u128(number + 1), "first_seen": first_seen}))
            .await;
        let converted = number % 4 == 0;
        world
            .session(json!({
                "customer_id": customer, "started_at": "2026-06-01T10:00:00Z", "page_views": 2, "event_count": 5,
                "pages": ["/", "/shop", "/"], "entry_page": "/", "exit_page": "/shop",
                "duration_seconds": number as f64, "engaged": number % 2 == 0, "converted": converted,
                "conversion_value": if converted { "10.10" } else { "0" },
                "currency": if converted { Some("EUR") } else { None },
                "source": if number < 30 { "google" } else { "direct" }, "errors": 1, "rage_clicks": 2,
                "abandoned": number == 1,
            }))
            .await;
        if number < 32 {
            world
                .session(
                    json!({"customer_id": customer, "started_at": "2026-05-31T10:00:00Z", "page_views": 1}),
                )
                .await;
        }
    }
    let path = "/api/v1/metrics/overview?from=2026-06-01&to=2026-06-01&limit=2";
    let answer = world.ok(path).await;
    assert_eq!(answer["from"], "2026-05-31T22:00:00Z");
    assert_eq!(answer["timezone"], "Europe/Berlin");
    assert_eq!(
        answer["totals"],
        json!({
            "visitors": 40, "new_visitors": 30, "returning_visitors": 10, "sessions": 40, "page_views": 80,
            "events": 200, "conversions": 10, "conversion_rate": 0.25, "bounce_rate": 0.5,
            "mean_duration_seconds": 19.5, "median_duration_seconds": 19.5, "abandoned_carts": 1, "errors": 40,
            "form_errors": 0, "rage_clicks": 80,
        })
    );
    assert_eq!(
        answer["revenue"],
        json!([{"currency": "EUR", "amount": "101.00", "sessions": 10}])
    );
    assert_eq!(
        answer["top"]["sources"],
        json!([
            {"value": "google", "visitors": 30, "sessions": 30, "conversions": 8},
            {"value": "direct", "visitors": 10, "sessions": 10, "conversions": 2},
        ])
    );
    // A page that comes twice in a session is one of its pages once.
    assert_eq!(
        answer["top"]["pages"][0],
        json!({"value": "/", "visitors": 40, "sessions": 40, "conversions": 10})
    );
    assert_eq!(answer["top"]["countries"][0]["value"], json!(null));
    assert_eq!(answer["top"]["campaigns"], json!([]));
    assert_eq!(answer.get("previous"), None);

    let compared = world.ok(&format!("{path}&compare=previous")).await;
    assert_eq!(compared["previous"]["from"], "2026-05-30T22:00:00Z");
    assert_eq!(compared["previous"]["totals"]["visitors"], 32);
    assert_eq!(
        compared["previous"]["change"],
        json!({"visitors": 0.25, "sessions": 0.25, "page_views": 1.5, "conversions": null})
    );
}

#[sqlx::test(migrations = "./migrations")]
async fn no_percentage_is_claimed_below_thirty_people(pool: PgPool) {
    let world = World::new(pool).await;
    // Sixty sessions, but only twenty-nine people.
    for number in 0..60_u128 {
        let customer = Uuid::from_u128(number % 29 + 1);
        world
            .session(
                json!({"customer_id": customer, "started_at": "2026-06-01T10:00:00Z", "converted": true}),
            )
            .await;
    }
    let path = "/api/v1/metrics/overview?from=2026-06-01&to=2026-06-01&compare=previous";
    let totals = world.ok(path).await["totals"].clone();
    assert_eq!(
        (&totals["conversion_rate"], &totals["bounce_rate"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(totals["conversions"], 60);
    world
        .session(json!({"customer_id": Uuid::from_u128(99), "started_at": "2026-06-01T10:00:00Z"}))
        .await;
    let totals = world.ok(path).await["totals"].clone();
    assert_eq!(totals["conversion_rate"].as_f64().unwrap(), 60.0 / 61.0);
}

#[sqlx::test(migrations = "./migrations")]
async fn an_empty_store_has_an_overview_too(pool: PgPool) {
    let world = World::new(pool).await;
    let answer = world.ok("/api/v1/metrics/overview?compare=previous").await;
    assert_eq!(answer["totals"]["visitors"], 0);
    assert_eq!(answer["totals"]["mean_duration_seconds"], json!(null));
    // Thirty days before the present, at the start of that day in Berlin.
    assert_eq!(answer["from"], "2026-05-15T22:00:00Z");
}

#[sqlx::test(migrations = "./migrations")]
async fn the_bad_period_is_refused_by_name(pool: PgPool) {
    let world = World::new(pool).await;
    for (query, code) in [
        ("from=2026-06-02&to=2026-06-01", "invalid_range"),
        (
            "from=2026-06-02T00:00:00Z&to=2026-06-02T00:00:00Z",
            "invalid_range",
        ),
        (
            "from=0001-01-01T00:00:00Z&to=9999-01-01T00:00:00Z&compare=previous",
            "invalid_range",
        ),
        ("tz=Mars/Olympus", "invalid_timezone"),
        ("from=yesterday", "invalid_time"),
        ("limit=0", "invalid_query"),
        ("limit=101", "invalid_query"),
        ("compare=best", "invalid_query"),
    ] {
        let path = format!("/api/v1/metrics/overview?{query}");
        assert_eq!(
            world.refused(&path, StatusCode::BAD_REQUEST).await,
            code,
            "{query}"
        );
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn the_ledger_sums_by_day_of_the_zone_key_and_reason(pool: PgPool) {
    let world = World::new(pool).await;
    for (hour, key, outcome, reason, count) in [
        ("2026-06-01T21:00:00Z", 1, "stored", "", 100_i64),
        ("2026-06-01T22:00:00Z", 1, "stored", "", 10),
        ("2026-06-02T21:00:00Z", 1, "stored", "", 1),
        ("2026-06-02T21:00:00Z", 2, "rejected", "bot", 7),
        ("2026-06-02T22:00:00Z", 1, "stored", "", 1000),
    ] {
        sqlx::query("INSERT INTO ingest_ledger VALUES ($1, $2::timestamptz, $3, $4, $5, $6)")
            .bind(Uuid::nil())
            .bind(hour.parse::<chrono::DateTime<chrono::Utc>>().unwrap())
            .bind(key)
            .bind(outcome)
            .bind(reason)
            .bind(count)
            .execute(&world.pool)
            .await
            .unwrap();
    }
    for number in 0..3 {
        sqlx::query(
            "INSERT INTO drop_samples (received_at, key_id, reason, detail, sample) \
             VALUES ('2026-06-02T21:00:00Z', $1, 'bot', 'a crawler', '{\"event_type\": \"page_view\"}')",
        )
        .bind(number)
        .execute(&world.pool)
        .await
        .unwrap();
    }
    let path = "/api/v1/ledger?from=2026-06-02&to=2026-06-02";
    let answer = world.ok(path).await;
    assert_eq!(
        answer["totals"],
        json!({"rejected": {"bot": 7}, "stored": {"": 11}})
    );
    assert_eq!(answer["rows"][0]["start"], "2026-06-01T22:00:00Z");
    assert_eq!(answer["rows"].as_array().unwrap().len(), 2);
    assert_eq!(answer["samples"].as_array().unwrap().len(), 3);
    assert_eq!(answer["samples"][0]["key_id"], 2);
    let narrow = world
        .ok(&format!("{path}&interval=hour&key_id=1&samples=1"))
        .await;
    assert_eq!(narrow["rows"].as_array().unwrap().len(), 2);
    assert_eq!(narrow["totals"], json!({"stored": {"": 11}}));
    assert_eq!(narrow["samples"].as_array().unwrap().len(), 1);
}
