//! What happens around every request: its id, its span, its metrics, its time limit.

use std::time::{Duration, Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument;
use uuid::Uuid;

use super::{problem::Problem, state::AppState};

/// Header that carries the request's id, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A longer id from outside is replaced by one of ours.
const REQUEST_ID_LENGTH_MAX: usize = 64;

tokio::task_local! {
    static CURRENT_REQUEST_ID: String;
}

/// Returns the id of the request being answered; `None` outside of one.
pub fn current_request_id() -> Option<String> {
    CURRENT_REQUEST_ID.try_with(Clone::clone).ok()
}

/// Gives the request its id, a span that carries it, and counts it by route and status.
///
/// The metrics are `http_requests_total` and `http_request_duration_seconds` (until the head of the
/// answer), by the route's pattern: a path would make a series for every visitor with a typewriter.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let id = incoming_id(&request).unwrap_or_else(|| Uuid::now_v7().to_string());
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("http.request", request_id = %id, %method, route);
    let started = Instant::now();
    let mut response = CURRENT_REQUEST_ID
        .scope(id.clone(), next.run(request))
        .instrument(span.clone())
        .await;
    let elapsed = started.elapsed();
    let status = response.status();
    span.in_scope(|| {
        tracing::debug!(
            status = status.as_u16(),
            elapsed_ms = elapsed.as_secs_f64() * 1000.0,
            "answered"
        );
    });
    let labels = [
        ("method", known_method(&method).to_owned()),
        ("route", route),
        ("status", status.as_u16().to_string()),
    ];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_duration_seconds", &labels).record(elapsed.as_secs_f64());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// An id is taken over when it can stand in a log line and a header as it is.
fn incoming_id(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let sane = !id.is_empty()
        && id.len() <= REQUEST_ID_LENGTH_MAX
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    sane.then(|| id.to_owned())
}

/// HTTP allows any word as a method; a label does not.
fn known_method(method: &axum::http::Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    }
}

/// Answers 503 when a handler takes longer than `server.request_timeout_seconds` to begin its answer. A
/// streamed answer that has begun may take as long as it needs.
pub(super) async fn limit_time(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let limit = Duration::from_secs(state.config.server.request_timeout_seconds);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable(
            "timeout",
            "The answer took too long. Ask for less, or try again later.",
            state.config.ingest.retry_after_seconds,
        )
        .into_response(),
    }
}
