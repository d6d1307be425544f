//! Lists: filters, pages, exports, and what bad input gets.

use axum::http::StatusCode;
use serde_json::json;
use sqlx::PgPool;

use super::{World, column, encoded};
use crate::store::keys::Scope;

/// Texts that would do harm if they were ever part of a query or a page.
const HOSTILE: &[&str] = &[
    "' OR '1'='1",
    "'; DROP TABLE events; --",
    "\\'; DELETE FROM sessions; --",
    "$1",
    "%",
    "<script>alert(1)</script>",
    "\u{202e}\u{1f4a5}",
    "a{}b[]*",
];

#[sqlx::test(migrations = "./migrations")]
async fn a_walk_sees_every_event_once_while_others_arrive(pool: PgPool) {
    let world = World::new(pool).await;
    for number in 0..25 {
        // Five events share each second, so that pages end inside of a group of equal times.
        let second = number / 5;
        world
            .event(json!({"event_id": format!("e{number:02}"), "timestamp": format!("2026-06-01T00:00:0{second}Z")}))
            .await;
    }
    for (order, arriving) in [
        ("newest", "2026-06-02T00:00:00Z"),
        ("oldest", "2026-05-02T00:00:00Z"),
    ] {
        let path = format!("/api/v1/events?limit=4&order={order}");
        let mut seen = Vec::new();
        let mut page = world.ok(&path).await;
        loop {
            seen.extend(
                column(page["items"].as_array().unwrap(), "event_id")
                    .iter()
                    .map(|id| (*id).to_owned()),
            );
            let Some(cursor) = page["next_cursor"].as_str() else {
                break;
            };
            world
                .event(json!({"event_id": format!("late-{order}-{}", seen.len()), "timestamp": arriving}))
                .await;
            page = world.ok(&format!("{path}&cursor={cursor}")).await;
        }
        let mut expected: Vec<String> = (0..25).map(|number| format!("e{number:02}")).collect();
        if order == "newest" {
            expected.reverse();
        }
        seen.retain(|id| id.starts_with('e'));
        assert_eq!(seen, expected, "{order}");
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn a_walk_sees_every_session_and_customer_once(pool: PgPool) {
    let world = World::new(pool).await;
    for number in 0..13 {
        let at = format!("2026-06-0{}T00:00:00Z", 1 + number / 4);
        world.session(json!({"started_at": at})).await;
        world.customer(json!({"first_seen": at})).await;
    }
    for path in [
        "/api/v1/sessions?limit=3",
        "/api/v1/customers?limit=3&order=oldest",
        "/api/v1/customers?limit=3",
    ] {
        let items = world.walk(path).await;
        let mut ids = column(&items, "id");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((items.len(), ids.len()), (13, 13), "{path}");
    }
    let cursor = world.ok("/api/v1/customers?limit=3").await["next_cursor"]
        .as_str()
        .unwrap()
        .to_owned();
    let turned = format!("/api/v1/customers?order=oldest&cursor={cursor}");
    assert_eq!(
        world.refused(&turned, StatusCode::BAD_REQUEST).await,
        "invalid_cursor"
    );
}

#[sqlx::test(migrations = "./migrations")]
async fn session_filters_find_what_they_say(pool: PgPool) {
    let world = World::new(pool).await;
    let customer = world.customer(json!({})).await;
    world
        .session(json!({
            "session_id": "shop", "started_at": "2026-06-01T22:00:00Z", "device_id": "d2", "user_id": "u2",
            "customer_id": customer, "source": "google", "medium": "cpc", "campaign": "june", "channel": "paid_search",
            "device_type": "mobile", "country": "AT", "converted": true, "abandoned": true, "engaged": false,
            "errors": 2, "duration_seconds": 61.5, "entry_page": "/shop/50%_off", "exit_page": "/thanks",
        }))
        .await;
    world.session(json!({"session_id": "other", "started_at": "2026-06-01T21:59:59.999999Z", "entry_page": "/shop/50x off"})).await;
    for filter in [
        "from=2026-06-01T22:00:00Z",
        "from=2026-06-02&to=2026-06-02",
        "from=2026-06-01&to=2026-06-01&tz=UTC&source=google",
        "device_id=d2",
        "user_id=u2",
        &format!("customer_id={customer}"),
        "source=google",
        "medium=cpc",
        "campaign=june",
        "channel=paid_search",
        "device_type=mobile",
        "country=AT",
        "converted=true",
        "abandoned=true",
        "engaged=false",
        "has_errors=true",
        "min_duration=61.5",
        "entry_page=/shop/50%25_*",
        "exit_page=*anks",
    ] {
        let items = world.walk(&format!("/api/v1/sessions?{filter}")).await;
        assert_eq!(column(&items, "session_id"), ["shop"], "{filter}");
    }
    let other = world
        .walk("/api/v1/sessions?to=2026-06-01T22:00:00Z&has_errors=false&entry_page=/shop/*")
        .await;
    assert_eq!(column(&other, "session_id"), ["other"]);
}

#[sqlx::test(migrations = "./migrations")]
async fn event_filters_find_what_they_say(pool: PgPool) {
    let world = World::new(pool).await;
    world
        .event(json!({
            "event_id": "wanted", "timestamp": "2026-06-01T10:00:00Z", "event_type": "purchase", "device_id": "d2",
            "user_id": "u2", "page_path": "/shop/a", "page_url": "https://shop.example/shop/a", "country": "AT",
            "device_type": "mobile", "properties": {"plan": "pro", "seats": 3, "a'b": "c"},
        }))
        .await;
    world
        .event(
            json!({"event_id": "other", "timestamp": "2026-06-01T11:00:00Z", "properties": {"plan": "free"}}),
        )
        .await;
    for filter in [
        "from=2026-06-01T10:00:00Z&to=2026-06-01T11:00:00Z",
        "event_type=purchase",
        "event_type=purchase,search",
        "event_type=search&event_type=purchase",
        "device_id=d2",
        "user_id=u2",
        "page_path=/shop/*",
        "page_url=https://*/shop/a",
        "country=AT",
        "device_type=mobile",
        "property.plan=pro",
        "property%5Bplan%5D=pro",
        "property.seats=3&property.plan=pro",
        "property.a%27b=c",
    ] {
        let items = world.walk(&format!("/api/v1/events?{filter}")).await;
        assert_eq!(column(&items, "event_id"), ["wanted"], "{filter}");
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn customer_filters_find_what_they_say(pool: PgPool) {
    let world = World::new(pool).await;
    world
        .customer(json!({
            "user_id": "u1", "first_seen": "2026-06-01T10:00:00Z", "last_seen": "2026-06-03T10:00:00Z",
            "conversions": 2, "revenue": {"EUR": "129.90", "USD": "5"}, "source": "google",
            "channel": "paid_search", "country": "AT", "attributes": {"plan": "pro"},
        }))
        .await;
    world
        .customer(json!({"revenue": {"EUR": "9.90"}, "conversions": 0, "attributes": {"plan": "free"}}))
        .await;
    for filter in [
        "user_id=u1",
        "identified=true",
        "first_seen_from=2026-06-01T10:00:00Z&first_seen_to=2026-06-01",
        "last_seen_from=2026-06-03",
        "converted=true",
        "min_revenue=129.90",
        "min_revenue=100&currency=EUR",
        "currency=USD",
        "source=google",
        "channel=paid_search",
        "country=AT",
        "attribute.plan=pro",
        "attribute[plan]=pro",
    ] {
        let path = format!(
            "/api/v1/customers?{}",
            filter.replace('[', "%5B").replace(']', "%5D")
        );
        let items = world.walk(&path).await;
        assert_eq!(items.len(), 1, "{filter}");
        assert_eq!(items[0]["user_id"], "u1", "{filter}");
    }
    assert!(
        world
            .walk("/api/v1/customers?min_revenue=100&currency=USD")
            .await
            .is_empty()
    );
}

#[sqlx::test(migrations = "./migrations")]
async fn hostile_text_in_every_filter_finds_nothing_and_harms_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    world.event(json!({"timestamp": "2026-06-01T10:00:00Z"})).await;
    world.session(json!({"started_at": "2026-06-01T10:00:00Z"})).await;
    world.customer(json!({})).await;
    let lists: [(&str, &[&str]); 3] = [
        (
            "sessions",
            &[
                "device_id",
                "user_id",
                "source",
                "medium",
                "campaign",
                "channel",
                "device_type",
                "country",
                "entry_page",
                "exit_page",
            ],
        ),
        (
            "customers",
            &[
                "user_id",
                "currency",
                "source",
                "channel",
                "country",
                "attribute.x",
                "attribute.%27%27",
            ],
        ),
        (
            "events",
            &[
                "event_type",
                "device_id",
                "user_id",
                "session_id",
                "page_path",
                "page_url",
                "country",
                "device_type",
                "property.x",
                "property.%27%3B--",
            ],
        ),
    ];
    for (list, names) in lists {
        for name in names {
            for text in HOSTILE {
                let path = format!("/api/v1/{list}?{name}={}", encoded(text));
                assert!(world.walk(&path).await.is_empty(), "{path}");
            }
        }
        for bad in [
            "from",
            "to",
            "tz",
            "converted",
            "min_duration",
            "customer_id",
            "order",
            "limit",
            "format",
        ] {
            let path = format!("/api/v1/{list}?{bad}={}", encoded("' OR 1=1 --"));
            let (status, _) = world.json(&path).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        }
        let nul = format!("/api/v1/{list}?device_id=%00&user_id=%00");
        assert_eq!(
            world.refused(&nul, StatusCode::BAD_REQUEST).await,
            "invalid_query"
        );
        let misspelt = format!("/api/v1/{list}?user_idd=x");
        assert_eq!(
            world.refused(&misspelt, StatusCode::BAD_REQUEST).await,
            "unknown_parameter"
        );
        assert_eq!(world.walk(&format!("/api/v1/{list}")).await.len(), 1, "{list}");
    }
    for text in HOSTILE {
        let name = encoded(text).replace('+', "%20");
        for path in ["sessions", "customers"] {
            let path = format!("/api/v1/{path}/{name}");
            assert_eq!(
                world.refused(&path, StatusCode::NOT_FOUND).await,
                "not_found",
                "{path}"
            );
        }
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn an_export_holds_every_row_and_reads_back_as_it_was(pool: PgPool) {
    let world = World::new(pool).await;
    let count = 2_345;
    sqlx::query(
        "INSERT INTO events (timestamp, event_id, event_type, received_at, device_id, key_id, device_type, \
           page_title, properties) \
         SELECT '2026-06-01'::timestamptz + n / 3 * interval '1 second', 'e' || n, 'page_view', '2026-06-01', \
           'd' || n % 7, 1, 'desktop', E'a \"b\", c\\n' || n, jsonb_build_object('n', n) \
         FROM generate_series(1, $1) n",
    )
    .bind(count)
    .execute(&world.pool)
    .await
    .unwrap();
    let (status, csv) = world.text("/api/v1/events?format=csv&limit=1").await;
    assert_eq!(status, StatusCode::OK);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let headers = reader.headers().unwrap().clone();
    let place = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let (id, title, properties) = (place("event_id"), place("page_title"), place("properties"));
    let mut numbers: Vec<i32> = reader
        .records()
        .map(|record| {
            let record = record.unwrap();
            let number: i32 = record[id][1..].parse().unwrap();
            assert_eq!(&record[title], format!("a \"b\", c\n{number}"));
            assert_eq!(&record[properties], format!("{{\"n\":{number}}}"));
            number
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>());

    let (_, lines) = world.text("/api/v1/events?format=ndjson&device_id=d3").await;
    let rows: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows, world.walk("/api/v1/events?device_id=d3&limit=1000").await);
    for list in ["sessions", "customers"] {
        let (_, csv) = world.text(&format!("/api/v1/{list}?format=csv")).await;
        assert!(
            csv.contains("customer_id") || csv.starts_with("id,user_id,"),
            "{csv}"
        );
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn a_key_without_the_scope_reads_nothing(pool: PgPool) {
    let world = World::with_scope(pool, Scope::Ingest).await;
    for path in [
        "sessions",
        "sessions/x",
        "customers",
        "customers/x",
        "customers/x/journey",
        "events",
        "metrics/overview",
        "metrics/timeseries?metric=visitors",
        "ledger",
    ] {
        let (status, _) = world.json(&format!("/api/v1/{path}")).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn every_documented_parameter_of_a_list_is_known(pool: PgPool) {
    let world = World::new(pool).await;
    let document = serde_json::to_value(crate::http::document()).unwrap();
    for list in ["sessions", "customers", "events"] {
        let path = format!("/api/v1/{list}");
        for parameter in document["paths"][&path]["get"]["parameters"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            let (_, answer) = world.json(&format!("{path}?{name}=1")).await;
            assert_ne!(answer["code"], "unknown_parameter", "{list} {name}");
        }
        assert!(
            document["paths"][&path]["get"]["parameters"]
                .as_array()
                .unwrap()
                .len()
                > 10
        );
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn a_query_does_not_outlive_the_patience_of_its_caller(pool: PgPool) {
    let mut snapshot = crate::store::begin_snapshot(&pool, std::time::Duration::from_millis(50))
        .await
        .unwrap();
    let error = sqlx::query("SELECT pg_sleep(60)")
        .execute(&mut *snapshot)
        .await
        .unwrap_err();
    let problem = crate::http::Problem::from(error);
    assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(snapshot);
    let limit: String = sqlx::query_scalar("SHOW statement_timeout")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(limit, "0", "the limit stays inside the snapshot");
}
