//! From which pages browsers may call the API.
//!
//! Two rules, and never credentials: a key is what gives access, no cookie is ever read.
//!
//! - Everywhere: the origins of `server.cors_origins`, `*` for any.
//! - For sending events, besides: every origin that some usable write key lists, and any origin at all
//!   while some usable write key is not restricted. A preflight cannot say which key will follow, so the
//!   answer is for all of them; the request itself is judged by its own key (`origin_not_allowed`).
//!
//! With the database away, the last known origins count. When none were ever known, a page may try: its
//! request still needs a key.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header, request::Parts};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{auth::API_KEY_HEADER, observe::REQUEST_ID, state::AppState};
use crate::store::keys::normalise_origin;

/// How long a browser may remember a preflight. Chromium keeps it for two hours at most.
const MAX_AGE: Duration = Duration::from_secs(2 * 60 * 60);

/// Paths under this one take events.
const INGEST_PATH: &str = "/api/v1/events";

/// Makes the layer that answers preflights and adds the headers to answers.
pub(super) fn layer(state: AppState) -> CorsLayer {
    let allow_origin = AllowOrigin::async_predicate(move |origin: HeaderValue, request: &Parts| {
        let path = request.uri.path().to_owned();
        let takes_events = is_ingest(&path, request);
        async move { is_allowed(&state, &origin, &path, takes_events).await }
    });
    CorsLayer::new()
        .allow_origin(allow_origin)
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_ENCODING,
            header::CONTENT_TYPE,
            HeaderName::from_static(API_KEY_HEADER),
            REQUEST_ID,
        ])
        .expose_headers([REQUEST_ID, header::RETRY_AFTER])
        .max_age(MAX_AGE)
}

/// Reading events has the same path as sending them: the method decides, for a preflight the one it asks
/// for.
fn is_ingest(path: &str, request: &Parts) -> bool {
    let below = path.strip_prefix(INGEST_PATH);
    let on_path = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let asked = request
        .headers
        .get(header::ACCESS_CONTROL_REQUEST_METHOD)
        .and_then(|method| method.to_str().ok())
        .filter(|_| request.method == Method::OPTIONS)
        .unwrap_or(request.method.as_str());
    on_path && asked == "POST"
}

async fn is_allowed(state: &AppState, origin: &HeaderValue, path: &str, takes_events: bool) -> bool {
    if !path.starts_with("/api/") && path != "/openapi.json" {
        return false;
    }
    let listed = &state.config.server.cors_origins;
    if listed.iter().any(|allowed| allowed == "*") {
        return true;
    }
    let origin = origin.to_str().ok().and_then(normalise_origin);
    let is_listed = |list: &[String]| {
        origin.as_ref().is_some_and(|origin| {
            list.iter()
                .any(|other| normalise_origin(other).as_ref() == Some(origin))
        })
    };
    if is_listed(listed) {
        return true;
    }
    if !takes_events {
        return false;
    }
    match state.keys.write_origins(&state.pool, state.clock.now()).await {
        Some(origins) => origins.any || is_listed(&origins.listed),
        None => true,
    }
}
