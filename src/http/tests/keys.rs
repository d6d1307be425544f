//! Keys, from their creation to their end, against a real database.

use super::*;
use crate::store::keys::revoke_key;

/// State and admin key on an empty database.
async fn with_admin(pool: PgPool) -> (AppState, String) {
    let state: AppState = parts(pool).into();
    let admin = issue(&state, KeyKind::Secret, &[], &[Scope::Admin], None).await;
    (state, admin.key)
}

async fn send(app: &Router, method: Method, uri: &str, key: &str, body: Value) -> Response {
    let headers = [("x-api-key", key), ("content-type", "application/json")];
    ask(app, request(method, uri, &headers, &body.to_string())).await
}

/// Sends an (empty) event as a server would.
async fn ingest(app: &Router, key: &str) -> Response {
    send(app, Method::POST, "/api/v1/events", key, json!({})).await
}

#[sqlx::test(migrations = "./migrations")]
async fn a_key_is_created_used_rotated_and_revoked(pool: PgPool) {
    let (state, admin) = with_admin(pool).await;
    let (app, probe) = (router(state.clone()), probe(&state));

    let wish = json!({"kind": "write", "name": " Shop ", "origins": ["https://Shop.example:443/"]});
    let answer = send(&app, Method::POST, "/api/v1/keys", &admin, wish).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let created = json_of(answer).await;
    assert_eq!(created["name"], "Shop");
    assert_eq!(created["origins"], json!(["https://shop.example"]));
    let key = created["key"].as_str().unwrap();
    assert_eq!(key.len(), 43);
    assert!(key.starts_with(created["prefix"].as_str().unwrap()));
    assert_eq!(text(ingest(&probe, key).await).await, created["id"].to_string());

    let uri = format!("/api/v1/keys/{}/rotate", created["id"]);
    let answer = send(&app, Method::POST, &uri, &admin, json!({"grace_seconds": 60})).await;
    let rotated = json_of(answer).await;
    assert_eq!(rotated["rotated_from"], created["id"]);
    assert_eq!(rotated["origins"], created["origins"]);
    let new_key = rotated["key"].as_str().unwrap();
    assert_eq!(ingest(&probe, key).await.status(), StatusCode::OK);
    assert_eq!(ingest(&probe, new_key).await.status(), StatusCode::OK);
    state.clock.advance(TimeDelta::seconds(60));
    assert_eq!(problem_code(ingest(&probe, key).await, 401).await, "key_expired");
    assert_eq!(ingest(&probe, new_key).await.status(), StatusCode::OK);
    let answer = send(&app, Method::POST, &uri, &admin, json!({})).await;
    assert_eq!(problem_code(answer, 404).await, "not_found");

    let uri = format!("/api/v1/keys/{}", rotated["id"]);
    let answer = send(&app, Method::DELETE, &uri, &admin, json!(null)).await;
    assert_eq!(json_of(answer).await["status"], "revoked");
    assert_eq!(
        problem_code(ingest(&probe, new_key).await, 401).await,
        "key_revoked"
    );

    let listed = json_of(send(&app, Method::GET, "/api/v1/keys", &admin, json!(null)).await).await;
    let statuses: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["active", "expired", "revoked"]);
    assert!(!listed.to_string().contains(new_key));
}

#[sqlx::test(migrations = "./migrations")]
async fn the_list_is_read_page_by_page(pool: PgPool) {
    let (state, admin) = with_admin(pool).await;
    for _ in 0..4 {
        issue(&state, KeyKind::Write, &[], &[], None).await;
    }
    let app = router(state);
    let mut uri = "/api/v1/keys?limit=2".to_owned();
    let mut sizes = Vec::new();
    loop {
        let page = json_of(send(&app, Method::GET, &uri, &admin, json!(null)).await).await;
        sizes.push(page["items"].as_array().unwrap().len());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        uri = format!("/api/v1/keys?limit=2&cursor={cursor}");
    }
    assert_eq!(sizes, [2, 2, 1]);
    let answer = send(&app, Method::GET, "/api/v1/keys?cursor=abc", &admin, json!(null)).await;
    assert_eq!(problem_code(answer, 400).await, "invalid_cursor");
}

#[sqlx::test(migrations = "./migrations")]
async fn a_key_that_could_do_nothing_is_not_made(pool: PgPool) {
    let (state, admin) = with_admin(pool).await;
    let app = router(state);
    for (wish, code) in [
        (json!({"kind": "secret", "name": "x"}), "invalid_key_request"),
        (
            json!({"kind": "write", "name": "x", "scopes": ["read"]}),
            "invalid_key_request",
        ),
        (json!({"kind": "write", "name": "  "}), "invalid_key_request"),
        (json!({"kind": "write", "name": "x\u{0}"}), "invalid_key_request"),
        (
            json!({"kind": "write", "name": "x", "origins": ["*"]}),
            "invalid_key_request",
        ),
        (
            json!({"kind": "write", "name": "x", "origins": ["https://a.example/path"]}),
            "invalid_key_request",
        ),
        (
            json!({"kind": "secret", "name": "x", "scopes": ["read"], "origins": ["https://a.example"]}),
            "invalid_key_request",
        ),
        (
            json!({"kind": "write", "name": "x", "expires_at": "2026-03-01T12:00:00Z"}),
            "invalid_key_request",
        ),
        (
            json!({"kind": "secret", "name": "x", "scopes": ["everything"]}),
            "invalid_body",
        ),
        (
            json!({"kind": "write", "name": "x", "rights": []}),
            "invalid_body",
        ),
    ] {
        let answer = send(&app, Method::POST, "/api/v1/keys", &admin, wish.clone()).await;
        assert_eq!(problem_code(answer, 422).await, code, "{wish}");
    }
    let uri = "/api/v1/keys/1/rotate";
    let answer = send(&app, Method::POST, uri, &admin, json!({"grace_seconds": -1})).await;
    assert_eq!(problem_code(answer, 422).await, "invalid_grace");
}

#[sqlx::test(migrations = "./migrations")]
async fn each_scope_opens_its_own_door_only(pool: PgPool) {
    let (state, admin) = with_admin(pool).await;
    let (app, probe) = (router(state.clone()), probe(&state));
    let read = issue(&state, KeyKind::Secret, &[], &[Scope::Read], None)
        .await
        .key;
    let write = issue(&state, KeyKind::Write, &[], &[], None).await.key;
    let server = issue(&state, KeyKind::Secret, &[], &[Scope::Ingest], None)
        .await
        .key;
    for (key, may_ingest, may_read, may_admin) in [
        (&admin, false, false, true),
        (&read, false, true, false),
        (&write, true, false, false),
        (&server, true, false, false),
    ] {
        let answers = [
            (may_ingest, ingest(&probe, key).await),
            (
                may_read,
                send(&probe, Method::GET, "/read", key, json!(null)).await,
            ),
            (
                may_admin,
                send(&app, Method::GET, "/api/v1/system", key, json!(null)).await,
            ),
        ];
        for (may, answer) in answers {
            if may {
                assert_eq!(answer.status(), StatusCode::OK);
            } else {
                assert_eq!(problem_code(answer, 403).await, "insufficient_scope");
            }
        }
    }
    let bearer = format!("bearer {read}");
    let answer = get_from(&probe, "/read", &[("authorization", &bearer)]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let uri = format!("/api/v1/events?key={write}");
    let answer = ask(&probe, request(Method::POST, &uri, &[], "")).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[sqlx::test(migrations = "./migrations")]
async fn a_write_key_works_from_its_origins_and_from_servers(pool: PgPool) {
    let (state, _) = with_admin(pool).await;
    let probe = probe(&state);
    let key = issue(&state, KeyKind::Write, &["https://shop.example"], &[], None)
        .await
        .key;
    let from = async |origin: &str| {
        let headers = [("x-api-key", key.as_str()), ("origin", origin)];
        ask(&probe, request(Method::POST, "/api/v1/events", &headers, "")).await
    };
    let answer = from("https://shop.example").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(allowed_origin(&answer), Some("https://shop.example"));
    for foreign in [
        "https://evil.example",
        "http://shop.example",
        "https://shop.example:8443",
        "null",
    ] {
        let answer = from(foreign).await;
        assert_eq!(allowed_origin(&answer), None, "{foreign}");
        assert_eq!(problem_code(answer, 403).await, "origin_not_allowed", "{foreign}");
    }
    assert_eq!(ingest(&probe, &key).await.status(), StatusCode::OK);
}

#[sqlx::test(migrations = "./migrations")]
async fn preflights_follow_the_write_keys(pool: PgPool) {
    let (state, _) = with_admin(pool).await;
    let probe = probe(&state);
    let may = async |origin: &str| {
        let answer = ask(&probe, preflight("/api/v1/events", origin, "POST")).await;
        allowed_origin(&answer).is_some()
    };
    assert!(!may("https://shop.example").await, "there is no write key");
    let bound = issue(&state, KeyKind::Write, &["https://shop.example"], &[], None).await;
    state.keys.clear();
    assert!(may("https://shop.example").await);
    assert!(!may("https://other.example").await);
    issue(&state, KeyKind::Write, &[], &[], Some(TimeDelta::minutes(1))).await;
    state.keys.clear();
    assert!(may("https://other.example").await, "one key is for any origin");
    state.clock.advance(TimeDelta::minutes(1));
    assert!(!may("https://other.example").await, "that key has expired");
    let mut connection = state.pool.acquire().await.unwrap();
    revoke_key(&mut connection, bound.record.id, state.clock.now())
        .await
        .unwrap();
    state.clock.advance(TimeDelta::seconds(5));
    assert!(!may("https://shop.example").await, "the key was revoked");
}

#[sqlx::test(migrations = "./migrations")]
async fn a_key_revoked_elsewhere_ends_within_five_seconds(pool: PgPool) {
    let (state, _) = with_admin(pool).await;
    let probe = probe(&state);
    let issued = issue(&state, KeyKind::Write, &[], &[], None).await;
    assert_eq!(ingest(&probe, &issued.key).await.status(), StatusCode::OK);
    let mut connection = state.pool.acquire().await.unwrap();
    revoke_key(&mut connection, issued.record.id, state.clock.now())
        .await
        .unwrap();
    state.clock.advance(TimeDelta::milliseconds(4999));
    assert_eq!(ingest(&probe, &issued.key).await.status(), StatusCode::OK);
    state.clock.advance(TimeDelta::milliseconds(1));
    let answer = ingest(&probe, &issued.key).await;
    assert_eq!(problem_code(answer, 401).await, "key_revoked");
}

#[sqlx::test(migrations = "./migrations")]
async fn an_unknown_key_is_asked_for_once_in_a_while(pool: PgPool) {
    let (state, _) = with_admin(pool).await;
    let probe = probe(&state);
    let unknown = format!("pk_{}", "a".repeat(40));
    let answer = ingest(&probe, &unknown).await;
    assert_eq!(problem_code(answer, 401).await, "invalid_key");
    state.pool.close().await;
    let answer = ingest(&probe, &unknown).await;
    assert_eq!(problem_code(answer, 401).await, "invalid_key", "it is remembered");
    state.clock.advance(TimeDelta::seconds(5));
    let answer = ingest(&probe, &unknown).await;
    assert_eq!(
        problem_code(answer, 503).await,
        "store_unavailable",
        "nothing stands in for it"
    );
}

#[sqlx::test(migrations = "./migrations")]
async fn ingest_outlives_the_database_by_ten_minutes_and_reading_does_not(pool: PgPool) {
    let (state, _) = with_admin(pool).await;
    let probe = probe(&state);
    let write = issue(&state, KeyKind::Write, &["https://shop.example"], &[], None)
        .await
        .key;
    let read = issue(&state, KeyKind::Secret, &[], &[Scope::Read], None)
        .await
        .key;
    let headers = [("x-api-key", write.as_str()), ("origin", "https://shop.example")];
    let send_event = async || ask(&probe, request(Method::POST, "/api/v1/events", &headers, "")).await;
    let read_it = async || get_from(&probe, "/read", &[("x-api-key", &read)]).await;
    assert_eq!(send_event().await.status(), StatusCode::OK);
    assert_eq!(read_it().await.status(), StatusCode::OK);
    state.pool.close().await;
    state.clock.advance(TimeDelta::seconds(6));
    assert_eq!(problem_code(read_it().await, 503).await, "store_unavailable");
    state.clock.advance(TimeDelta::minutes(9));
    let answer = send_event().await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(allowed_origin(&answer), Some("https://shop.example"));
    state.clock.advance(TimeDelta::minutes(1));
    assert_eq!(problem_code(send_event().await, 503).await, "store_unavailable");
}

#[sqlx::test(migrations = "./migrations")]
async fn the_system_page_shows_each_section_or_its_error(pool: PgPool) {
    struct Section(&'static str, Result<Value, String>);
    impl crate::http::system::SystemInformation for Section {
        fn name(&self) -> &'static str {
            self.0
        }
        fn collect(&self) -> futures_util::future::BoxFuture<'_, Result<Value, String>> {
            Box::pin(async { self.1.clone() })
        }
    }
    let mut parts = parts(pool);
    parts.system = vec![
        Arc::new(Section("queue", Ok(json!({"depth": 3})))),
        Arc::new(Section("storage", Err("no answer".into()))),
    ];
    let state: AppState = parts.into();
    let admin = issue(&state, KeyKind::Secret, &[], &[Scope::Admin], None)
        .await
        .key;
    let answer = send(&router(state), Method::GET, "/api/v1/system", &admin, json!(null)).await;
    let body = json_of(answer).await;
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(body["queue"]["depth"], 3);
    assert_eq!(body["storage"]["error"], "no answer");
    assert_eq!(body["time"], "2026-03-01T12:00:00Z");
}

#[sqlx::test(migrations = "./migrations")]
async fn a_key_is_never_stored_readable(pool: PgPool) {
    let (state, admin) = with_admin(pool).await;
    let rows: Vec<String> = sqlx::query_scalar("SELECT to_jsonb(api_keys)::text FROM api_keys")
        .fetch_all(&state.pool)
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    let (_, secret) = admin.split_at(11);
    assert!(!rows[0].contains(secret));
}
