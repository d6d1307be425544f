//! Time series, above all where the clock changes.

use axum::http::StatusCode;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::World;

fn starts(answer: &Value) -> Vec<&str> {
    let buckets = answer["buckets"].as_array().unwrap();
    buckets
        .iter()
        .map(|bucket| bucket["start"].as_str().unwrap())
        .collect()
}

async fn sessions_at(world: &World, times: &[&str]) {
    for (number, time) in times.iter().enumerate() {
        let customer = Uuid::from_u128(number as u128 + 1);
        world
            .session(json!({"started_at": time, "customer_id": customer}))
            .await;
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn a_day_is_the_zones_day_where_the_clock_changes(pool: PgPool) {
    let world = World::new(pool).await;
    sessions_at(
        &world,
        &[
            "2026-03-28T22:59:59.999999Z", // the last moment of the 28th
            "2026-03-28T23:00:00Z",        // midnight, still winter time
            "2026-03-29T21:59:59Z",        // 23:59 in summer time: the 29th has 23 hours
            "2026-03-29T22:00:00Z",        // the 30th
            "2026-10-24T22:00:00Z",        // the 25th of October, which has 25 hours
            "2026-10-25T22:59:59Z",
            "2026-10-25T23:00:00Z",
        ],
    )
    .await;
    let path = "/api/v1/metrics/timeseries?metric=sessions&interval=day";
    let spring = world.ok(&format!("{path}&from=2026-03-28&to=2026-03-31")).await;
    assert_eq!(
        starts(&spring),
        [
            "2026-03-27T23:00:00Z",
            "2026-03-28T23:00:00Z",
            "2026-03-29T22:00:00Z",
            "2026-03-30T22:00:00Z"
        ]
    );
    assert_eq!(
        spring["series"],
        json!([{"value": null, "other": false, "currency": null, "values": [1, 2, 1, 0]}])
    );
    assert_eq!(spring["buckets"][3]["end"], "2026-03-31T22:00:00Z");
    assert_eq!(spring["buckets"][3]["complete"], true);
    let autumn = world.ok(&format!("{path}&from=2026-10-25&to=2026-10-26")).await;
    assert_eq!(autumn["series"][0]["values"], json!([2, 1]));
    assert_eq!(autumn["buckets"][0]["complete"], false, "the present is in June");
    let utc = world
        .ok(&format!("{path}&from=2026-10-25&to=2026-10-26&tz=UTC"))
        .await;
    assert_eq!(utc["series"][0]["values"], json!([2, 0]));
}

#[sqlx::test(migrations = "./migrations")]
async fn both_of_the_hours_that_share_a_name_are_counted_apart(pool: PgPool) {
    let world = World::new(pool).await;
    sessions_at(
        &world,
        &[
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T01:45:00Z",
        ],
    )
    .await;
    let path = "/api/v1/metrics/timeseries?metric=visitors&interval=hour&from=2026-10-25&to=2026-10-25";
    let answer = world.ok(path).await;
    let values = answer["series"][0]["values"].as_array().unwrap();
    assert_eq!(values.len(), 25);
    assert_eq!(values[1..5], [json!(0), json!(1), json!(2), json!(0)]);
}

#[sqlx::test(migrations = "./migrations")]
async fn weeks_start_on_monday_and_cut_buckets_are_incomplete(pool: PgPool) {
    let world = World::new(pool).await;
    sessions_at(
        &world,
        &[
            "2026-03-22T22:59:00Z",
            "2026-03-22T23:00:00Z",
            "2026-03-29T21:59:00Z",
        ],
    )
    .await;
    let path = "/api/v1/metrics/timeseries?metric=sessions&interval=week&from=2026-03-18&to=2026-03-29";
    let answer = world.ok(path).await;
    assert_eq!(starts(&answer), ["2026-03-15T23:00:00Z", "2026-03-22T23:00:00Z"]);
    assert_eq!(answer["series"][0]["values"], json!([1, 2]));
    assert_eq!(
        (
            &answer["buckets"][0]["complete"],
            &answer["buckets"][1]["complete"]
        ),
        (&json!(false), &json!(true))
    );
    let months = world.ok(&path.replace("=week", "=month")).await;
    assert_eq!(starts(&months), ["2026-02-28T23:00:00Z"]);
}

#[sqlx::test(migrations = "./migrations")]
async fn a_split_keeps_the_most_frequent_and_sums_the_rest(pool: PgPool) {
    let world = World::new(pool).await;
    for (source, customer, count) in [("a", 1_u128, 3), ("b", 2, 2), ("c", 3, 1), ("d", 3, 1)] {
        for _ in 0..count {
            world
                .session(json!({
                    "started_at": "2026-06-01T10:00:00Z", "source": source, "customer_id": Uuid::from_u128(customer),
                    "converted": true, "conversion_value": "0.10", "currency": if source == "b" { "USD" } else { "EUR" },
                    "page_views": 4, "errors": 2,
                }))
                .await;
        }
    }
    let series = async |metric: &str| {
        let path = "/api/v1/metrics/timeseries?from=2026-06-01&to=2026-06-01&by=source&limit=2";
        let answer = world.ok(&format!("{path}&metric={metric}")).await;
        let lines = answer["series"].as_array().unwrap().iter();
        let line = |line: &Value| {
            let name = line["value"]
                .as_str()
                .map_or_else(|| format!("other:{}", line["other"]), Into::into);
            (name, line["values"][0].clone())
        };
        lines.map(line).collect::<Vec<_>>()
    };
    let expected = |a: Value, b: Value, other: Value| {
        vec![
            ("a".to_owned(), a),
            ("b".to_owned(), b),
            ("other:true".to_owned(), other),
        ]
    };
    assert_eq!(series("sessions").await, expected(json!(3), json!(2), json!(2)));
    // One person behind both of the rest is one visitor.
    assert_eq!(series("visitors").await, expected(json!(1), json!(1), json!(1)));
    assert_eq!(
        series("page_views").await,
        expected(json!(12), json!(8), json!(8))
    );
    assert_eq!(series("errors").await, expected(json!(6), json!(4), json!(4)));
    assert_eq!(
        series("conversions").await,
        expected(json!(3), json!(2), json!(2))
    );
    assert_eq!(
        series("revenue").await,
        expected(json!("0.30"), json!("0.20"), json!("0.20"))
    );
    assert_eq!(
        series("bounce_rate").await,
        expected(json!(null), json!(null), json!(null))
    );
}

#[sqlx::test(migrations = "./migrations")]
async fn a_bounce_rate_needs_thirty_people_in_its_bucket(pool: PgPool) {
    let world = World::new(pool).await;
    for number in 0..30_u128 {
        let customer = Uuid::from_u128(number + 1);
        let engaged = number % 3 != 0;
        world
            .session(
                json!({"started_at": "2026-06-01T10:00:00Z", "customer_id": customer, "engaged": engaged}),
            )
            .await;
        if number > 0 {
            world
                .session(json!({"started_at": "2026-06-02T10:00:00Z", "customer_id": customer}))
                .await;
        }
    }
    let path = "/api/v1/metrics/timeseries?metric=bounce_rate&from=2026-06-01&to=2026-06-03";
    let answer = world.ok(path).await;
    assert_eq!(answer["series"][0]["values"], json!([10.0 / 30.0, null, null]));
}

#[sqlx::test(migrations = "./migrations")]
async fn events_come_from_the_roll_up_where_its_hours_fit(pool: PgPool) {
    let world = World::new(pool).await;
    // The roll-up and the events differ here on purpose, so that the answer shows where it came from.
    sqlx::query(
        "INSERT INTO events_hourly_rows (hour, event_type, device_type, country, events, page_load_count) VALUES \
         ('2026-06-15T12:00:00Z', 'page_view', 'desktop', 'AT', 100, 0), \
         ('2026-06-15T12:00:00Z', 'purchase', 'mobile', NULL, 5, 0), \
         ('2026-06-14T21:00:00Z', 'page_view', 'desktop', 'AT', 7, 0)",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    for at in [
        "2026-06-15T12:00:00Z",
        "2026-06-15T18:29:00Z",
        "2026-06-15T18:31:00Z",
    ] {
        world.event(json!({"timestamp": at})).await;
    }
    let path = "/api/v1/metrics/timeseries?metric=events&from=2026-06-14";
    // It ends now, at 12:34: nothing is later than now, so the hour of the roll-up belongs to it as a whole.
    let answer = world.ok(path).await;
    assert_eq!(
        (&answer["answered_from"], &answer["series"][0]["values"]),
        (&json!("events_hourly"), &json!([7, 105]))
    );
    let by_type = world.ok(&format!("{path}&by=event_type")).await;
    let names: Vec<_> = by_type["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| &line["value"])
        .collect();
    assert_eq!(names, ["page_view", "purchase"]);
    assert_eq!(by_type["series"][1]["values"], json!([0, 5]));
    for (query, expected) in [
        ("from=2026-06-15&to=2026-06-16&tz=Asia/Kolkata", json!([2, 1])),
        ("from=2026-06-15T12:00:00Z&to=2026-06-15T12:00:00.5Z", json!([1])),
    ] {
        let answer = world
            .ok(&format!("/api/v1/metrics/timeseries?metric=events&{query}"))
            .await;
        assert_eq!(
            (&answer["answered_from"], &answer["series"][0]["values"]),
            (&json!("events"), &expected),
            "{query}"
        );
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn an_empty_store_has_empty_buckets(pool: PgPool) {
    let world = World::new(pool).await;
    let path = "/api/v1/metrics/timeseries?from=2026-06-01&to=2026-06-03";
    for (metric, expected) in [
        ("visitors", json!([[0, 0, 0]])),
        ("events", json!([[0, 0, 0]])),
        ("bounce_rate", json!([[null, null, null]])),
        ("revenue", json!([])),
    ] {
        let answer = world.ok(&format!("{path}&metric={metric}")).await;
        let values: Vec<_> = answer["series"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["values"].clone())
            .collect();
        assert_eq!(Value::from(values), expected, "{metric}");
    }
    let split = world.ok(&format!("{path}&metric=sessions&by=channel")).await;
    assert_eq!(
        (&split["series"], split["buckets"].as_array().unwrap().len()),
        (&json!([]), 3)
    );
}

#[sqlx::test(migrations = "./migrations")]
async fn a_series_that_cannot_be_is_refused_by_name(pool: PgPool) {
    let world = World::new(pool).await;
    for (query, code) in [
        (
            "metric=sessions&interval=hour&from=2020-01-01&to=2026-01-01",
            "too_many_buckets",
        ),
        ("metric=events&by=channel", "unsupported_dimension"),
        ("metric=sessions&by=event_type", "unsupported_dimension"),
        ("metric=nonsense", "invalid_query"),
        ("metric=sessions&by=1%3BDROP", "invalid_query"),
        ("interval=day", "invalid_query"),
        ("metric=sessions&limit=51", "invalid_query"),
    ] {
        let path = format!("/api/v1/metrics/timeseries?{query}");
        assert_eq!(
            world.refused(&path, StatusCode::BAD_REQUEST).await,
            code,
            "{query}"
        );
    }
}
