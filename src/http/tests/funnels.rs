//! Funnels, kept and answered, against a real database with an index over it.

use chrono::TimeDelta as Delta;
use rust_decimal::Decimal;

use super::*;
use crate::{
    event::Event,
    index::{
        Index,
        feed::{Feed, Settings},
    },
    ingest::testing::{self, event, settle},
};

/// The funnel that is there from the start.
const CHECKOUT: &str = "/api/v1/funnels/00000000-0000-7000-8000-000000000001";

/// The days in which everything happens.
const TIME: &str = "from=2023-11-01&to=2023-11-10&tz=UTC";

struct World {
    app: Router,
    admin: String,
    reader: String,
}

impl World {
    /// The service over these events, in store and index.
    async fn of(pool: PgPool, events: Vec<Event>) -> Self {
        let settler = testing::settler(&pool).await;
        settle(&settler, events).await;
        let index = Arc::new(Index::default());
        let settings = Settings {
            bytes_max: 100_000_000,
            poll: std::time::Duration::from_millis(10),
            events_days: None,
            file: None,
            save_every: Delta::days(1),
        };
        Feed::open(
            index.clone(),
            settler.pool.clone(),
            settler.clock.clone(),
            settings,
        )
        .await
        .unwrap();
        let mut parts = parts(pool);
        parts.index = Some(index);
        let state: AppState = parts.into();
        let admin = issue(&state, KeyKind::Secret, &[], &[Scope::Admin], None).await;
        let reader = issue(&state, KeyKind::Secret, &[], &[Scope::Read], None).await;
        Self {
            app: router(state),
            admin: admin.key,
            reader: reader.key,
        }
    }

    async fn send(&self, key: &str, method: Method, uri: &str, body: Value) -> Response {
        let headers = [("x-api-key", key), ("content-type", "application/json")];
        ask(&self.app, request(method, uri, &headers, &body.to_string())).await
    }

    async fn read(&self, uri: &str) -> Value {
        let answer = get_from(&self.app, uri, &[("x-api-key", &self.reader)]).await;
        let status = answer.status();
        let body = json_of(answer).await;
        assert_eq!(status, StatusCode::OK, "{uri}: {body}");
        body
    }

    async fn analyze(&self, definition: Value) -> Value {
        let uri = format!("/api/v1/funnels/analyze?{TIME}");
        let answer = self.send(&self.reader, Method::POST, &uri, definition).await;
        let status = answer.status();
        let body = json_of(answer).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }
}

fn purchase(device_id: &str, minute: i64, total: i64) -> Event {
    Event {
        order_total: Some(Decimal::from(total)),
        currency: Some("EUR".into()),
        ..event(device_id, minute, "purchase")
    }
}

/// 40 people with a cart, of whom the first 30 go to the checkout and the first 10 buy, each for more.
fn shop() -> Vec<Event> {
    let mut events = Vec::new();
    for person in 0..40 {
        let device = format!("d{person:02}");
        events.push(event(&device, 0, "add_to_cart"));
        if person < 30 {
            events.push(event(&device, 1, "checkout_start"));
        }
        if person < 10 {
            events.push(purchase(&device, 2, person * 10));
        }
    }
    events
}

fn entered(answer: &Value) -> Vec<u64> {
    let steps = answer["steps"].as_array().unwrap().iter();
    steps.map(|step| step["entered"].as_u64().unwrap()).collect()
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn the_checkout_is_answered_from_the_start(pool: PgPool) {
    let world = World::of(pool, shop()).await;
    let kept = world.read(CHECKOUT).await;
    assert_eq!(kept["name"], "Checkout");
    let uri = format!(
        "{CHECKOUT}/analysis?{TIME}&breakdown=device_type&compare=previous&reasons=true&elsewhere=true"
    );
    let answer = world.read(&uri).await;
    assert_eq!(entered(&answer), [40, 30, 10]);
    assert_eq!(answer["conversion_rate"], 0.25);
    assert_eq!(answer["engine"], "index");
    assert_eq!(answer["time_to_convert"]["seconds"]["median"], 120.0);
    assert_eq!(answer["breakdown"]["rows"][0]["value"], "desktop");
    assert_eq!(answer["breakdown"]["rows"][0]["steps"], json!([40, 30, 10]));
    assert_eq!(answer["comparison"]["previous"]["entered"], 0);
    assert_eq!(answer["elsewhere"][1]["left_the_site"], 20);
    assert_eq!(answer["reasons"][1]["dropped"], 20);
    // The definition in the answer of a later request is the same question.
    assert_eq!(
        entered(&world.analyze(kept["definition"].clone()).await),
        [40, 30, 10]
    );
    let filtered = world.read(&format!("{uri}&filter=device_type:mobile")).await;
    assert_eq!(entered(&filtered), [0, 0, 0]);
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_condition_on_a_property_is_judged_by_the_store(pool: PgPool) {
    let world = World::of(pool, shop()).await;
    let mut definition = world.read(CHECKOUT).await["definition"].clone();
    definition["steps"][2]["where"] = json!([{"property": "order_total", "op": "gte", "value": 70}]);
    let answer = world.analyze(definition.clone()).await;
    assert_eq!(answer["engine"], "sql");
    assert_eq!(entered(&answer), [40, 30, 3]);
    // A condition that always holds changes nothing of what the index says.
    definition["steps"][2]["where"] = json!([{"property": "order_total", "op": "exists"}]);
    assert_eq!(entered(&world.analyze(definition).await), [40, 30, 10]);
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn the_people_behind_a_number_are_listed_page_by_page(pool: PgPool) {
    let expected: Vec<String> = {
        let world = World::of(pool.clone(), shop()).await;
        let mut found = Vec::new();
        let uri = format!("{CHECKOUT}/people?{TIME}&step=2&outcome=dropped&limit=7");
        let mut next = uri.clone();
        loop {
            let page = world.read(&next).await;
            let items = page["items"].as_array().unwrap().iter();
            found.extend(items.map(|item| item["customer_id"].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                None => break,
                Some(cursor) => next = format!("{uri}&cursor={cursor}"),
            }
        }
        let too_far = format!("{CHECKOUT}/people?step=4");
        let answer = get_from(&world.app, &too_far, &[("x-api-key", &world.reader)]).await;
        assert_eq!(problem_code(answer, 400).await, "invalid_query");
        found
    };
    let stored: Vec<String> = sqlx::query_scalar(
        "SELECT customer_id::text FROM device_lives WHERE device_id BETWEEN 'd10' AND 'd29' ORDER BY customer_id",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(stored.len(), 20);
    assert_eq!(expected, stored);
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_funnel_is_kept_changed_and_deleted(pool: PgPool) {
    let world = World::of(pool, vec![]).await;
    let definition = json!({"steps": [
        {"number": 1, "name": "Search", "event_type": "search"},
        {"number": 2, "name": "Product", "page": "/product/*"},
    ]});
    let wish = json!({"name": " Found ", "definition": definition});
    let post = async |key: &str| {
        let uri = "/api/v1/funnels";
        world.send(key, Method::POST, uri, wish.clone()).await
    };

    let answer = post(&world.reader).await;
    assert_eq!(problem_code(answer, 403).await, "insufficient_scope");
    let answer = post(&world.admin).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let created = json_of(answer).await;
    assert_eq!(created["name"], "Found");
    assert_eq!(created["definition"]["window_seconds"], 1_209_600);
    assert_eq!(
        problem_code(post(&world.admin).await, 409).await,
        "funnel_name_taken"
    );

    let uri = format!("/api/v1/funnels/{}", created["id"].as_str().unwrap());
    let changed = json!({"name": "Found", "definition": {"steps": definition["steps"], "order": "strict"}});
    let answer = json_of(world.send(&world.admin, Method::PUT, &uri, changed).await).await;
    assert_eq!(answer["definition"]["order"], "strict");
    assert_eq!(world.read(&uri).await["definition"]["order"], "strict");

    let first = world.read("/api/v1/funnels?limit=1").await;
    assert_eq!(first["items"][0]["name"], "Checkout");
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = world
        .read(&format!("/api/v1/funnels?limit=1&cursor={cursor}"))
        .await;
    assert_eq!(second["items"][0]["id"], created["id"]);
    assert_eq!(second["next_cursor"], Value::Null);

    let delete = || world.send(&world.admin, Method::DELETE, &uri, Value::Null);
    assert_eq!(delete().await.status(), StatusCode::NO_CONTENT);
    assert_eq!(problem_code(delete().await, 404).await, "not_found");
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn all_that_is_wrong_with_a_funnel_is_said_at_once(pool: PgPool) {
    let world = World::of(pool, vec![]).await;
    let definition = json!({"steps": [{"number": 2, "name": "", "page": "cart"}]});
    let wish = json!({"name": "", "definition": definition});
    let answer = world
        .send(&world.admin, Method::POST, "/api/v1/funnels", wish)
        .await;
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let body = json_of(answer).await;
    assert_eq!(body["code"], "invalid_funnel");
    let fields: Vec<&str> = body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    assert_eq!(
        fields,
        [
            "name",
            "definition.steps",
            "definition.steps[0].number",
            "definition.steps[0].name",
            "definition.steps[0].page"
        ]
    );
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_funnel_of_another_release_is_said_not_to_be_understood(pool: PgPool) {
    let world = World::of(pool.clone(), vec![]).await;
    sqlx::query("UPDATE funnels SET definition = '{\"steps\": \"of another kind\"}'")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(
        world.read(CHECKOUT).await["definition"]["steps"],
        "of another kind"
    );
    let uri = format!("{CHECKOUT}/analysis");
    let answer = get_from(&world.app, &uri, &[("x-api-key", &world.reader)]).await;
    assert_eq!(problem_code(answer, 409).await, "funnel_not_understood");
}
