//! The whole interface, asked without a network.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header},
    response::Response,
    routing::{get, post},
};
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tower::ServiceExt;

use super::{
    AppState, Parts,
    address::ClientAddress,
    auth::{ReadAccess, WriteKey},
    extract, finish, router,
};
use crate::{
    config::Config,
    ops::Clock,
    store::keys::{IssuedKey, KeyKind, NewKey, Scope, create_key},
};

mod funnels;
mod alerts;
mod keys;
mod pages;
mod rights;
mod sdk;

/// A pool whose database does not exist: port 1 refuses at once.
fn pool_without_database() -> PgPool {
    PgPoolOptions::new()
        .acquire_timeout(std::time::Duration::from_millis(200))
        .connect_lazy("postgres://nobody@127.0.0.1:1/nothing")
        .unwrap()
}

fn parts(pool: PgPool) -> Parts {
    let mut config = Config::default();
    config.secrets.api_key_salt = "a salt of sixteen".into();
    config.server.cors_origins = vec!["https://dashboard.example".into()];
    Parts::new(
        pool,
        Arc::new(config),
        Clock::fixed("2026-03-01T12:00:00Z".parse().unwrap()),
    )
}

fn state_without_database() -> AppState {
    parts(pool_without_database()).into()
}

/// A router with a few routes of the tests' own.
fn probe(state: &AppState) -> Router {
    #[derive(Deserialize)]
    struct Numbers {
        number: i32,
    }
    let routes = Router::new()
        .route(
            "/api/v1/events",
            post(async |WriteKey(key): WriteKey| key.id.to_string()),
        )
        .route("/read", get(async |_: ReadAccess| "read"))
        .route("/panic", get(async || -> () { panic!("a secret detail") }))
        .route(
            "/address",
            get(async |ClientAddress(address): ClientAddress| format!("{address:?}")),
        )
        .route("/slow", get(std::future::pending::<()>))
        .route(
            "/query",
            get(async |extract::Query(query): extract::Query<Numbers>| query.number.to_string()),
        )
        .route(
            "/path/{number}",
            get(async |extract::Path(number): extract::Path<i32>| number.to_string()),
        )
        .route(
            "/text/{text}",
            get(async |extract::Path(text): extract::Path<String>| text),
        )
        .route(
            "/json",
            post(async |extract::Json(body): extract::Json<Numbers>| body.number.to_string()),
        );
    finish(routes, state.clone())
}

async fn ask(app: &Router, request: Request<Body>) -> Response {
    app.clone().oneshot(request).await.unwrap()
}

fn request(method: Method, uri: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

async fn get_from(app: &Router, uri: &str, headers: &[(&str, &str)]) -> Response {
    ask(app, request(Method::GET, uri, headers, "")).await
}

async fn text(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn json_of(response: Response) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

/// Checks that an answer is a problem document as promised, and returns its code.
async fn problem_code(response: Response, status: u16) -> String {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/problem+json"
    );
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body = json_of(response).await;
    let code = body["code"].as_str().unwrap().to_owned();
    assert_eq!(body["type"], format!("urn:customer-journey:problem:{code}"));
    assert_eq!(body["status"], status);
    assert_eq!(body["instance"], id);
    assert!(!body["title"].as_str().unwrap().is_empty());
    assert!(!body["detail"].as_str().unwrap().is_empty());
    code
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_problems() {
    let app = router(state_without_database());
    let answer = get_from(&app, "/nothing/here", &[]).await;
    assert_eq!(problem_code(answer, 404).await, "route_not_found");
    let answer = ask(&app, request(Method::POST, "/health", &[], "")).await;
    assert_eq!(answer.headers()[header::ALLOW], "GET,HEAD");
    assert_eq!(problem_code(answer, 405).await, "method_not_allowed");
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_any_other_replaced() {
    let app = router(state_without_database());
    let answer = get_from(&app, "/health", &[("x-request-id", "abc-123")]).await;
    assert_eq!(answer.headers()["x-request-id"], "abc-123");
    let long = "x".repeat(65);
    for bad in ["", "a b", "<script>", long.as_str()] {
        let answer = get_from(&app, "/health", &[("x-request-id", bad)]).await;
        let id = answer.headers()["x-request-id"].to_str().unwrap();
        assert!(id.parse::<uuid::Uuid>().is_ok(), "{bad:?} became {id:?}");
    }
}

#[tokio::test]
async fn a_panic_is_a_500_that_tells_nothing() {
    let app = probe(&state_without_database());
    let answer = get_from(&app, "/panic", &[]).await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = text(answer).await;
    assert!(body.contains("\"code\":\"internal\""));
    assert!(!body.contains("secret detail"));
    let answer = get_from(&app, "/panic", &[]).await;
    assert_eq!(problem_code(answer, 500).await, "internal");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_a_503() {
    let mut parts = parts(pool_without_database());
    let mut config = (*parts.config).clone();
    config.server.request_timeout_seconds = 0;
    parts.config = Arc::new(config);
    let answer = get_from(&probe(&parts.into()), "/slow", &[]).await;
    assert_eq!(answer.headers()[header::RETRY_AFTER], "5");
    assert_eq!(problem_code(answer, 503).await, "timeout");
}

#[tokio::test]
async fn bad_queries_and_paths_are_named() {
    let app = probe(&state_without_database());
    for (uri, code) in [
        ("/query?number=many", "invalid_query"),
        ("/query", "invalid_query"),
        ("/query?number=1&x=%00", "invalid_query"),
        ("/path/many", "invalid_path"),
        ("/path/99999999999", "invalid_path"),
        ("/text/a%00b", "invalid_path"),
        ("/text/%FF", "invalid_path"),
    ] {
        assert_eq!(
            problem_code(get_from(&app, uri, &[]).await, 400).await,
            code,
            "{uri}"
        );
    }
    let detail = json_of(get_from(&app, "/query?number=many", &[]).await).await;
    assert_eq!(detail["detail"], "number: invalid digit found in string");
}

#[tokio::test]
async fn bad_bodies_are_named() {
    let app = probe(&state_without_database());
    let json_type = ("content-type", "application/json");
    let large = format!("{{\"number\": \"{}\"}}", "x".repeat(600 * 1024));
    let deep = "[".repeat(10_000);
    for (headers, body, status, code) in [
        (&[json_type][..], "{\"number\": 1", 400, "invalid_json"),
        (&[json_type], deep.as_str(), 422, "invalid_body"),
        (&[json_type], "{\"number\": \"one\"}", 422, "invalid_body"),
        (&[], "{\"number\": 1}", 415, "unsupported_media_type"),
        (&[json_type], large.as_str(), 413, "body_too_large"),
    ] {
        let answer = ask(&app, request(Method::POST, "/json", headers, body)).await;
        assert_eq!(problem_code(answer, status).await, code);
    }
    let answer = ask(
        &app,
        request(Method::POST, "/json", &[json_type], "{\"number\": 7}"),
    )
    .await;
    assert_eq!(text(answer).await, "7");
}

#[tokio::test]
async fn without_a_usable_key_the_answer_says_what_to_send() {
    let app = probe(&state_without_database());
    let secret = format!("sk_{}", "a".repeat(40));
    let in_query = format!("/read?key={secret}");
    for (uri, headers, status, code) in [
        ("/read", vec![], 401, "invalid_key"),
        ("/read", vec![("x-api-key", "")], 401, "invalid_key"),
        (
            "/read",
            vec![("x-api-key", "sk_'; DROP TABLE api_keys")],
            401,
            "invalid_key",
        ),
        ("/read", vec![("authorization", "Basic abc")], 401, "invalid_key"),
        (in_query.as_str(), vec![], 400, "secret_key_in_query"),
        (
            in_query.as_str(),
            vec![("x-api-key", secret.as_str())],
            400,
            "secret_key_in_query",
        ),
    ] {
        let answer = get_from(&app, uri, &headers).await;
        assert_eq!(
            answer.headers().contains_key(header::WWW_AUTHENTICATE),
            status == 401
        );
        assert_eq!(problem_code(answer, status).await, code, "{uri} {headers:?}");
    }
}

#[tokio::test]
async fn without_a_database_a_key_cannot_be_judged() {
    let app = probe(&state_without_database());
    let key = format!("sk_{}", "a".repeat(40));
    let answer = get_from(&app, "/read", &[("x-api-key", &key)]).await;
    assert_eq!(answer.headers()[header::RETRY_AFTER], "5");
    assert_eq!(problem_code(answer, 503).await, "store_unavailable");
}

#[tokio::test]
async fn health_asks_nobody() {
    let app = router(state_without_database());
    let answer = get_from(&app, "/health", &[]).await;
    assert_eq!(answer.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(json_of(answer).await, json!({"status": "healthy"}));
}

#[tokio::test]
async fn the_client_is_the_peer_or_who_the_trusted_proxy_names() {
    let peer: std::net::SocketAddr = "192.0.2.9:4711".parse().unwrap();
    for (hops, expected) in [(0, "Some(192.0.2.9)"), (1, "Some(203.0.113.7)")] {
        let mut parts = parts(pool_without_database());
        let mut config = (*parts.config).clone();
        config.server.trusted_proxy_hops = hops;
        parts.config = Arc::new(config);
        let forwarded = [("x-forwarded-for", "1.1.1.1, 203.0.113.7")];
        let mut request = request(Method::GET, "/address", &forwarded, "");
        request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
        let answer = ask(&probe(&parts.into()), request).await;
        assert_eq!(text(answer).await, expected);
    }
    let answer = get_from(&probe(&state_without_database()), "/address", &[]).await;
    assert_eq!(text(answer).await, "None", "on a Unix socket there is no peer");
}

struct Check(&'static str, Result<&'static str, &'static str>);

impl super::system::ReadinessCheck for Check {
    fn name(&self) -> &'static str {
        self.0
    }

    fn check(&self) -> futures_util::future::BoxFuture<'_, Result<String, String>> {
        Box::pin(async { self.1.map(String::from).map_err(String::from) })
    }
}

#[tokio::test]
async fn ready_is_what_every_check_says() {
    let ready = async |checks: Vec<Check>| {
        let mut parts = parts(pool_without_database());
        for check in checks {
            parts.readiness.push(Arc::new(check));
        }
        let answer = get_from(&router(parts.into()), "/ready", &[]).await;
        (answer.status().as_u16(), json_of(answer).await)
    };
    let (status, body) = ready(vec![Check("postgresql", Ok("17.5"))]).await;
    assert_eq!((status, &body["status"]), (200, &json!("ready")));
    assert_eq!(body["checks"][0]["detail"], "17.5");
    let (status, body) = ready(vec![
        Check("postgresql", Ok("17.5")),
        Check("queue", Err("refused")),
    ])
    .await;
    assert_eq!((status, &body["status"]), (503, &json!("not_ready")));
    assert_eq!(body["checks"][1]["detail"], "refused");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let mut parts = parts(pool_without_database());
    parts.metrics = Some(recorder.handle());
    let app = router(parts.into());
    get_from(&app, "/health", &[]).await;
    get_from(&app, "/wp-login.php", &[]).await;
    ask(
        &app,
        request(Method::from_bytes(b"BREW").unwrap(), "/health", &[], ""),
    )
    .await;
    let answer = get_from(&app, "/metrics", &[]).await;
    assert_eq!(
        answer.headers()[header::CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let metrics = text(answer).await;
    for line in [
        r#"http_requests_total{method="GET",route="/health",status="200"} 1"#,
        r#"http_requests_total{method="GET",route="unmatched",status="404"} 1"#,
        r#"http_requests_total{method="other",route="/health",status="405"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

fn preflight(uri: &str, origin: &str, method: &str) -> Request<Body> {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", "content-type,x-api-key"),
    ];
    request(Method::OPTIONS, uri, &headers, "")
}

fn allowed_origin(response: &Response) -> Option<&str> {
    response
        .headers()
        .get(header::ACCESS_CONTROL_ALLOW_ORIGIN)
        .map(|origin| origin.to_str().unwrap())
}

#[tokio::test]
async fn configured_origins_may_call_the_api_and_others_may_not() {
    let app = router(state_without_database());
    let dashboard = "https://dashboard.example";
    let answer = ask(&app, preflight("/api/v1/keys", dashboard, "DELETE")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(allowed_origin(&answer), Some(dashboard));
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_MAX_AGE], "7200");
    let list = |name| answer.headers()[name].to_str().unwrap().to_ascii_lowercase();
    for name in ["content-type", "content-encoding", "x-api-key", "authorization"] {
        assert!(
            list(header::ACCESS_CONTROL_ALLOW_HEADERS).contains(name),
            "{name}"
        );
    }
    assert!(
        !answer
            .headers()
            .contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS)
    );
    let answer = get_from(&app, "/api/v1/keys", &[("origin", dashboard)]).await;
    assert_eq!(
        allowed_origin(&answer),
        Some(dashboard),
        "the refusal is readable, too"
    );
    let exposed = answer.headers()[header::ACCESS_CONTROL_EXPOSE_HEADERS]
        .to_str()
        .unwrap();
    assert_eq!(exposed, "x-request-id,retry-after");
    for foreign in [
        "https://evil.example",
        "null",
        "https://dashboard.example.evil.example",
    ] {
        let answer = ask(&app, preflight("/api/v1/keys", foreign, "GET")).await;
        assert_eq!(allowed_origin(&answer), None, "{foreign}");
    }
    let answer = get_from(&app, "/ready", &[("origin", dashboard)]).await;
    assert_eq!(allowed_origin(&answer), None, "outside of the API nobody may");
}

#[tokio::test]
async fn while_no_origins_are_known_a_page_may_try_to_send_events_only() {
    let app = probe(&state_without_database());
    let shop = "https://shop.example";
    let answer = ask(&app, preflight("/api/v1/events", shop, "POST")).await;
    assert_eq!(allowed_origin(&answer), Some(shop));
    for (uri, method) in [("/api/v1/events", "GET"), ("/api/v1/eventsx", "POST")] {
        let answer = ask(&app, preflight(uri, shop, method)).await;
        assert_eq!(allowed_origin(&answer), None, "{method} {uri}");
    }
}

/// Makes a key as the command line would.
async fn issue(
    state: &AppState,
    kind: KeyKind,
    origins: &[&str],
    scopes: &[Scope],
    lifetime: Option<TimeDelta>,
) -> IssuedKey {
    let now = state.clock.now();
    let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
    let new = NewKey::checked(kind, "test", &origins, scopes, lifetime.map(|time| now + time)).unwrap();
    let mut connection = state.pool.acquire().await.unwrap();
    create_key(&mut connection, &state.hasher, &new, now)
        .await
        .unwrap()
}
