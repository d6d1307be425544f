//! Bad input gets a stable code or a verdict, is counted, and harms nothing else.

use std::collections::BTreeMap;

use async_compression::{
    Level,
    tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder},
};
use customer_journey::{
    ops::Clock,
    store::keys::{KeyKind, Scope},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    App, Database, assert_sessions_follow_events, audit_of, drained, eventually, issue_key, page_view,
};

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// What one request got.
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    fn of(status: u16, body: &str) -> Self {
        let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("{status} with {body:?}"));
        Self { status, body }
    }

    /// How the ledger must have counted the request: reason and number of events.
    fn counted(&self) -> Vec<(String, i64)> {
        let code = self.body["code"].as_str();
        match code {
            Some(code) if code != "events_rejected" => vec![(code.to_owned(), 1)],
            _ => {
                let errors = self.body["errors"].as_array().expect("verdicts are listed");
                let codes = errors
                    .iter()
                    .map(|error| error["code"].as_str().expect("each has a code"));
                codes.map(|code| (code.to_owned(), 1)).collect()
            }
        }
    }

    /// The answer without what differs from run to run.
    fn redacted(mut self) -> Value {
        for (name, word) in [("instance", "[request id]"), ("event_ids", "[event ids]")] {
            if self.body.get(name).is_some() {
                self.body[name] = json!(word);
            }
        }
        json!({ "status": self.status, "body": self.body })
    }
}

/// Sends one hostile request after the other and keeps the answers by name.
struct Siege {
    app: App,
    answers: Vec<(String, Answer)>,
}

impl Siege {
    async fn send(&mut self, name: &str, body: impl Into<reqwest::Body>, headers: &[(&str, &str)]) {
        let key = self.app.client.write_key.clone();
        let mut all = vec![("x-api-key", key.as_str()), ("user-agent", AGENT)];
        all.retain(|(name, _)| !headers.iter().any(|(other, _)| other == name));
        all.extend(headers);
        self.send_to("/api/v1/events", name, body, &all).await;
    }

    async fn send_to(
        &mut self,
        path: &str,
        name: &str,
        body: impl Into<reqwest::Body>,
        headers: &[(&str, &str)],
    ) {
        let mut request = self.app.client.request(Method::POST, path).body(body);
        for (header, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*header, *value);
        }
        let response = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let status = response.status();
        assert!(!status.is_server_error(), "{name}: {status}");
        if status.is_client_error() {
            assert_eq!(
                response.headers()["content-type"],
                "application/problem+json",
                "{name}"
            );
        }
        let body = response.text().await.expect("the answer is read");
        self.answers
            .push((name.to_owned(), Answer::of(status.as_u16(), &body)));
    }

    /// Sends an event that must be refused or kept by itself.
    async fn send_event(&mut self, name: &str, change: Value) {
        let mut event = page_view(&format!("event {name}"), "device");
        for (field, value) in change.as_object().expect("changes are an object") {
            event[field] = value.clone();
        }
        self.send(name, json!({ "events": [event] }).to_string(), &[])
            .await;
    }

    /// Holds that the ledger has counted every request by its code, and nothing else.
    async fn assert_counted(&self, database: &Database) {
        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        for (reason, count) in self.answers.iter().flat_map(|(_, answer)| answer.counted()) {
            *expected.entry(reason).or_default() += count;
        }
        let mut connection = database.connect().await;
        let mut counted = BTreeMap::new();
        let sql =
            "SELECT reason, sum(count)::bigint FROM ingest_ledger WHERE outcome = 'rejected' GROUP BY 1";
        for _ in 0..1200 {
            let rows: Vec<(String, i64)> = sqlx::query_as(sql)
                .fetch_all(&mut connection)
                .await
                .expect("the ledger can be read");
            counted = rows.into_iter().collect();
            if counted == expected {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(counted, expected, "every refusal is in the ledger under its code");
        assert!(audit_of(&mut connection, &self.app.config).await.balances());
    }

    /// Holds that a good event still gets in and through, and returns the answers for a snapshot.
    async fn end(self, database: Database) -> Value {
        self.assert_counted(&database).await;
        self.app.client.post_kept(&page_view("good", "good device")).await;
        let mut connection = database.connect().await;
        drained(&mut connection, &self.app.config).await;
        let found: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE event_id = 'good'")
            .fetch_one(&mut connection)
            .await
            .expect("the events can be read");
        assert_eq!(found, 1, "a good event is stored as ever");
        self.app.stop().await;
        database.drop().await;
        self.answers
            .into_iter()
            .map(|(name, answer)| (name, answer.redacted()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

async fn lay_siege() -> (Database, Siege) {
    let database = Database::create().await;
    let app = App::start(&database, |_| {}).await;
    let answers = Vec::new();
    (database, Siege { app, answers })
}

macro_rules! pack {
    ($encoder:ident, $bytes:expr) => {{
        let mut encoder = $encoder::with_quality(Vec::new(), Level::Fastest);
        encoder.write_all($bytes).await.expect("memory takes it");
        encoder.shutdown().await.expect("memory takes it");
        encoder.into_inner()
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_cannot_be_read_is_refused_by_name() {
    let (database, mut siege) = lay_siege().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let utf16: Vec<u8> = "{\"event_type\":\"click\"}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let many = json!({ "events": vec![json!({}); 101] }).to_string();
    for (name, body) in [
        ("broken JSON", "{\"events\":["),
        ("no JSON", "hello"),
        ("nothing", ""),
        ("a number", "42"),
        ("a text", "\"event\""),
        ("null", "null"),
        ("events that are no list", "{\"events\":{}}"),
        ("no events", "[]"),
        ("too many events", &many),
        ("deep nesting", &deep),
    ] {
        siege.send(name, body.to_owned(), &[]).await;
    }
    siege
        .send("invalid UTF-8", b"{\"event_type\":\"\xff\xfe\"}".to_vec(), &[])
        .await;
    siege.send("UTF-16", utf16, &[]).await;
    insta::assert_json_snapshot!("unreadable_bodies", siege.end(database).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_encoding_or_a_bomb_is_refused_by_name() {
    let (database, mut siege) = lay_siege().await;
    let plain = b"{\"event_type\":\"click\"}";
    let bomb = vec![b' '; 20 * 1024 * 1024];
    for (encoding, packed) in [
        ("gzip", pack!(GzipEncoder, &bomb)),
        ("deflate", pack!(ZlibEncoder, &bomb)),
        ("br", pack!(BrotliEncoder, &bomb)),
        ("zstd", pack!(ZstdEncoder, &bomb)),
    ] {
        assert!(packed.len() < 200_000, "a bomb is small: {encoding}");
        let headers = [("content-encoding", encoding)];
        siege.send(&format!("{encoding}, a bomb"), packed, &headers).await;
        siege
            .send(&format!("{encoding}, in name only"), plain.to_vec(), &headers)
            .await;
    }
    let torn = pack!(GzipEncoder, plain);
    siege
        .send(
            "gzip, torn",
            torn[..torn.len() - 9].to_vec(),
            &[("content-encoding", "gzip")],
        )
        .await;
    for encoding in ["compress", "gzip, br", "../../etc/passwd"] {
        siege
            .send(
                &format!("encoding {encoding}"),
                plain.to_vec(),
                &[("content-encoding", encoding)],
            )
            .await;
    }
    insta::assert_json_snapshot!("encodings", siege.end(database).await);
}

/// The refusal comes before the body: a client must not have to send 10 MB to learn it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_too_large_is_refused_before_it_is_sent() {
    let (database, mut siege) = lay_siege().await;
    for bytes in [10_000_000, 524_289] {
        let mut stream = tokio::net::TcpStream::connect(siege.app.service.address)
            .await
            .expect("it listens");
        let head = format!(
            "POST /api/v1/events HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\ncontent-length: {bytes}\r\n\r\n[{{",
            siege.app.client.write_key
        );
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        while !answer.ends_with(b"}") {
            let read = stream.read(&mut piece).await.expect("it answers");
            assert_ne!(read, 0, "it hung up after {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..read]);
        }
        let answer = String::from_utf8(answer).expect("the answer is text");
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        let body = &answer[answer.find("\r\n\r\n").expect("a head ends") + 4..];
        siege
            .answers
            .push((format!("{bytes} bytes"), Answer::of(413, body)));
    }
    insta::assert_json_snapshot!("large_bodies", siege.end(database).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_event_gets_a_verdict_of_its_own() {
    let (database, mut siege) = lay_siege().await;
    let mut deep = json!(1);
    for _ in 0..60 {
        deep = json!([deep]);
    }
    for (name, change) in [
        ("no type", json!({ "event_type": null })),
        ("type of blanks", json!({ "event_type": "  " })),
        ("type with a NUL", json!({ "event_type": "cl\0ck me" })),
        ("type that is a list", json!({ "event_type": ["click"] })),
        ("no identity", json!({ "device_id": null })),
        ("device that is an object", json!({ "device_id": {} })),
        (
            "device of the service's own kind",
            json!({ "device_id": "user:42" }),
        ),
        ("event id of 65 characters", json!({ "event_id": "x".repeat(65) })),
        ("time in words", json!({ "timestamp": "yesterday" })),
        (
            "time without a zone",
            json!({ "timestamp": "2026-01-31T12:00:00" }),
        ),
        ("time beyond all numbers", json!({ "timestamp": 1e300 })),
        (
            "time of the year 0",
            json!({ "timestamp": "0000-01-01T00:00:00Z" }),
        ),
        ("time before 1970", json!({ "timestamp": -1 })),
        ("time of 1970", json!({ "timestamp": 0 })),
        ("price in words", json!({ "product_price": "cheap" })),
        ("quantity beyond all numbers", json!({ "quantity": 1e18 })),
        ("scroll depth of 101", json!({ "scroll_depth": 101 })),
        (
            "address of a script",
            json!({ "page_url": "javascript:alert(1)" }),
        ),
        ("properties that are a list", json!({ "custom_properties": [1] })),
        (
            "properties of 17 KiB",
            json!({ "custom_properties": { "x": "y".repeat(17 * 1024) } }),
        ),
        (
            "attributes of 17 KiB",
            json!({ "customer_attributes": { "x": "y".repeat(17 * 1024) } }),
        ),
        (
            "properties nested 60 deep",
            json!({ "custom_properties": { "x": deep } }),
        ),
        ("unknown field nested 60 deep", json!({ "x": deep })),
    ] {
        siege.send_event(name, change).await;
    }
    let mixed = json!({ "events": [page_view("kept", "device"), 42, null, "text", [], page_view("kept too", "device")] });
    siege.send("good and bad together", mixed.to_string(), &[]).await;
    insta::assert_json_snapshot!("verdicts", siege.end(database).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_want_to_be_tracked_and_what_is_no_person_is_counted_and_not_stored() {
    let (database, mut siege) = lay_siege().await;
    let event = |id: &str| page_view(id, "device").to_string();
    siege.send("do not track", event("dnt"), &[("dnt", "1")]).await;
    siege
        .send("global privacy control", event("gpc"), &[("sec-gpc", "1")])
        .await;
    let bot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    siege.send("bot", event("bot"), &[("user-agent", bot)]).await;
    for (_, answer) in &siege.answers {
        assert_eq!((answer.status, &answer.body["accepted"]), (202, &json!(0)));
    }
    let mut connection = database.connect().await;
    eventually("all three are in the ledger", async || {
        (audit_of(&mut connection, &siege.app.config).await.total.rejected == 3).then_some(())
    })
    .await;
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM events")
        .fetch_one(&mut connection)
        .await
        .expect("the events can be read");
    assert_eq!(stored, 0);
    insta::assert_json_snapshot!("not_tracked", siege.end(database).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_may_not_is_refused_by_name() {
    let (database, mut siege) = lay_siege().await;
    let mut connection = database.connect().await;
    let bound = issue_key(&mut connection, KeyKind::Write, &["https://shop.example"], &[]).await;
    let reader = issue_key(&mut connection, KeyKind::Secret, &[], &[Scope::Read]).await;
    let revoked = issue_key(&mut connection, KeyKind::Write, &[], &[]).await;
    sqlx::query("UPDATE api_keys SET revoked_at = $1 WHERE id = (SELECT max(id) FROM api_keys)")
        .bind(Clock::system().now())
        .execute(&mut connection)
        .await
        .expect("the key can be revoked");
    let unknown = format!("pk_{}", "a".repeat(40));
    let event = || page_view("never", "device").to_string();
    for (name, key, origin) in [
        ("no key", "", ""),
        ("wrong key", unknown.as_str(), ""),
        ("key that is SQL", "pk_' OR '1'='1", ""),
        ("endless key", &"k".repeat(5000), ""),
        ("revoked key", &revoked, ""),
        ("secret key that may only read", &reader, ""),
        ("foreign origin", &bound, "https://evil.example"),
        (
            "origin that only looks right",
            &bound,
            "https://shop.example.evil.example",
        ),
        ("origin null", &bound, "null"),
    ] {
        siege
            .send(name, event(), &[("x-api-key", key), ("origin", origin)])
            .await;
    }
    let in_query = format!("/api/v1/events?key={}", siege.app.client.admin_key);
    siege
        .send_to(&in_query, "secret key in the address", event(), &[])
        .await;
    let stored = audit_of(&mut connection, &siege.app.config).await.total.stored;
    assert_eq!(stored, 0);
    insta::assert_json_snapshot!("keys", siege.end(database).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_may_send_from_its_own_origin_without_a_preflight_and_with_one() {
    let database = Database::create().await;
    let app = App::start(&database, |_| {}).await;
    let mut connection = database.connect().await;
    sqlx::query("DELETE FROM api_keys WHERE kind = 'write'")
        .execute(&mut connection)
        .await
        .expect("it is ours");
    let bound = issue_key(&mut connection, KeyKind::Write, &["https://shop.example"], &[]).await;

    // As sendBeacon does it: plain text, the key in the address, no preflight.
    let sent = app
        .client
        .request(Method::POST, &format!("/api/v1/events?key={bound}"))
        .header("content-type", "text/plain;charset=UTF-8")
        .header("origin", "https://shop.example")
        .body(json!({ "events": [page_view("beacon", "device")] }).to_string())
        .send()
        .await
        .expect("the service answers");
    assert_eq!(sent.status(), 202);
    assert_eq!(
        sent.headers()["access-control-allow-origin"],
        "https://shop.example"
    );

    for (origin, allowed) in [
        ("https://shop.example", true),
        ("https://evil.example", false),
        ("null", false),
    ] {
        let preflight = app
            .client
            .request(Method::OPTIONS, "/api/v1/events")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,x-api-key")
            .send()
            .await
            .expect("the service answers");
        assert!(preflight.status().is_success());
        let answer = preflight.headers().get("access-control-allow-origin");
        assert_eq!(answer.is_some(), allowed, "{origin}");
    }
    let audit = drained(&mut connection, &app.config).await;
    assert_eq!(audit.total.stored, 1);
    app.stop().await;
    database.drop().await;
}

/// Texts that are code somewhere: in SQL, HTML, COPY, JSON, arrays, logs, format strings and terminals.
const HOSTILE: [&str; 12] = [
    "'); DROP TABLE events;--",
    "\"><script>alert(1)</script>",
    "\\N",
    "\\.",
    "\\\\\\",
    "{\"a\":[1]}",
    "{a,\"b\",NULL}",
    "${jndi:ldap://x/y}",
    "%s%n%00$1{{7*7}}",
    "a\tb\nc\rd\u{b}e\u{1b}[31m",
    "😀\u{202e}\u{feff}\u{fffd}x",
    "NULL",
];

/// Columns of the store that keep a text as it was sent.
const TEXTS: [&str; 24] = [
    "event_id",
    "device_id",
    "user_id",
    "session_id",
    "page_title",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "element_selector",
    "element_text",
    "element_id",
    "element_classes",
    "form_id",
    "form_field_name",
    "form_field_type",
    "product_id",
    "product_name",
    "product_category",
    "order_id",
    "search_query",
    "error_message",
    "error_stack",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_in_any_field_is_kept_letter_by_letter_and_runs_nowhere() {
    let database = Database::create().await;
    let app = App::start(&database, |_| {}).await;
    let mut expected = BTreeMap::new();
    for (n, text) in HOSTILE.iter().enumerate() {
        let mut event = json!({
            "event_type": "click",
            "form_validation_errors": [text, ""],
            "custom_properties": { *text: { "nested": [text] } },
            "customer_attributes": { *text: text },
        });
        event[format!("field {text}")] = json!(text);
        for field in TEXTS {
            event[field] = json!(text);
        }
        // Each event of its own, so that a row belongs to its text.
        event["event_id"] = json!(format!("{text}{n}"));
        expected.insert(format!("{text}{n}"), *text);
        app.client.post_kept(&json!({ "events": [event] })).await;
    }
    let mut connection = database.connect().await;
    let audit = drained(&mut connection, &app.config).await;
    assert_eq!(
        (audit.total.stored, audit.total.rejected),
        (HOSTILE.len() as i64, 0)
    );
    let rows: Vec<(String, Value)> = sqlx::query_as("SELECT event_id, to_jsonb(e) FROM events e")
        .fetch_all(&mut connection)
        .await
        .expect("the events can be read");
    for (event_id, row) in rows {
        let text = expected
            .remove(&event_id)
            .unwrap_or_else(|| panic!("{event_id:?} was never sent"));
        for field in TEXTS.iter().skip(1) {
            assert_eq!(row[field], text, "{field}");
        }
        assert_eq!(row["form_validation_errors"][0], text);
        assert_eq!(row["properties"][text], json!({ "nested": [text] }));
        assert_eq!(row["properties"][format!("field {text}")], text);
    }
    assert!(expected.is_empty(), "{expected:?} are lost");
    let attributes: Vec<(String, Value)> = sqlx::query_as("SELECT name, value FROM attribute_facts")
        .fetch_all(&mut connection)
        .await
        .expect("the facts can be read");
    assert_eq!(attributes.len(), HOSTILE.len());
    assert!(
        attributes.iter().all(|(name, value)| value == name),
        "{attributes:?}"
    );
    assert_sessions_follow_events(&mut connection).await;
    app.stop().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nul_characters_are_left_out_and_nothing_else_is() {
    let database = Database::create().await;
    let app = App::start(&database, |_| {}).await;
    let mut event = page_view("n\0ul", "dev\0ice");
    event["page_title"] = json!("a\0b");
    event["custom_properties"] = json!({ "k\0ey": ["v\0alue"] });
    event["customer_attributes"] = json!({ "na\0me": { "in\0ner": "va\0lue" } });
    app.client.post_kept(&json!({ "events": [event] })).await;
    let mut connection = database.connect().await;
    let audit = drained(&mut connection, &app.config).await;
    assert_eq!((audit.total.stored, audit.total.rejected), (1, 0));
    let row: Value = sqlx::query_scalar("SELECT to_jsonb(e) FROM events e")
        .fetch_one(&mut connection)
        .await
        .expect("the event can be read");
    let kept = json!([
        row["event_id"],
        row["device_id"],
        row["page_title"],
        row["properties"]["key"]
    ]);
    assert_eq!(kept, json!(["nul", "device", "ab", ["value"]]));
    app.stop().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_future_is_clamped_and_no_absurd_clock_moves_an_event() {
    let database = Database::create().await;
    let app = App::start(&database, |_| {}).await;
    for (n, (timestamp, sent_at)) in [
        (json!("9999-12-31T23:59:59Z"), json!(null)),
        (json!(Clock::system().now()), json!(0)),
        (json!(Clock::system().now()), json!("9999-01-01T00:00:00Z")),
        (json!(Clock::system().now()), json!({})),
        (json!(null), json!("never")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut event = page_view(&format!("time-{n}"), "device");
        event["timestamp"] = timestamp;
        app.client
            .post_kept(&json!({ "events": [event], "sent_at": sent_at }))
            .await;
    }
    let mut connection = database.connect().await;
    let audit = drained(&mut connection, &app.config).await;
    assert_eq!(audit.total.stored, 5);
    let moved: Vec<String> = sqlx::query_scalar(
        "SELECT event_id FROM events
         WHERE timestamp > received_at OR timestamp < received_at - interval '1 minute'",
    )
    .fetch_all(&mut connection)
    .await
    .expect("the events can be read");
    assert!(moved.is_empty(), "{moved:?}");
    app.stop().await;
    database.drop().await;
}
