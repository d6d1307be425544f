//! The one place where errors become answers: RFC 9457 problem documents.

use std::{any::Any, collections::BTreeMap, error::Error};

use axum::{
    Json,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, RefOr, ResponseBuilder, response::Response as OpenApiResponse},
};

use super::{auth::AuthError, observe};
use crate::{
    analysis::segment::SegmentError,
    store::{StoreError, keys::NewKeyError},
};

/// Media type of every error answer.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Seconds a client is told to wait when a dependency is away.
const RETRY_AFTER_SECONDS: u64 = 5;

/// An error answer. Handlers return it as `Result<_, Problem>`; it is logged when it is answered, with its
/// cause, which the caller never sees.
#[derive(Debug)]
pub struct Problem(Box<Content>);

/// Boxed, so that a `Result` that may hold a problem stays small.
#[derive(Debug)]
struct Content {
    status: StatusCode,
    code: &'static str,
    detail: String,
    members: Map<String, Value>,
    headers: HeaderMap,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A problem of any status. `code` is stable snake_case; `detail` is a sentence for the caller.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Content {
            status,
            code,
            detail: detail.into(),
            members: Map::new(),
            headers: HeaderMap::new(),
            source: None,
        }))
    }

    /// 400: the request is not what the endpoint takes.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 422: the request is well formed, but says something that cannot be.
    pub fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 404 with the code `not_found`: `what` begins the sentence, as in `The session`.
    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("{what} does not exist."),
        )
    }

    /// 409: the request and the present state exclude each other.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 500 with the code `internal`; the cause goes to the log alone.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong here. The log has the cause under this request's id.",
        )
        .with_source(source)
    }

    /// 503 with `Retry-After`.
    pub fn unavailable(code: &'static str, detail: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
            .with_header(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds))
    }

    /// Adds a member to the document, for example `errors`.
    pub fn with_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.into(), value.into());
        self
    }

    /// Adds a header to the answer.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Keeps the cause for the log.
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The sentence for the caller.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The cause and its causes, for the log; empty when none is kept.
    pub fn source_chain(&self) -> String {
        self.0
            .source
            .as_deref()
            .map(|source| chain(source))
            .unwrap_or_default()
    }

    fn log(&self) {
        let cause = self.source_chain();
        let status = self.0.status.as_u16();
        if self.0.status.is_server_error() {
            tracing::error!(status, code = self.0.code, cause, "{}", self.0.detail);
        } else {
            tracing::debug!(status, code = self.0.code, cause, "{}", self.0.detail);
        }
    }
}

/// Returns the error and all its causes, from the outermost inwards, as `a: b: c`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| (*error).source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// The document itself, RFC 9457.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "urn:customer-journey:problem:invalid_query", "title": "Bad Request", "status": 400,
    "detail": "limit: must be from 1 to 1000", "code": "invalid_query",
    "instance": "01976c5e-8f57-7c1c-a1a0-5d6f8c1f0e4b"
}))]
pub struct ProblemDocument {
    /// URN that ends in the code.
    #[serde(rename = "type")]
    kind: String,
    /// What the status means.
    title: &'static str,
    /// The HTTP status, again.
    status: u16,
    /// What was wrong with this request, as a sentence.
    detail: String,
    /// Stable word for programs.
    code: &'static str,
    /// The request's id: the log has more under it.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    members: Map<String, Value>,
}

impl Problem {
    fn document(self) -> ProblemDocument {
        let content = *self.0;
        ProblemDocument {
            kind: format!("urn:customer-journey:problem:{}", content.code),
            title: content.status.canonical_reason().unwrap_or("Error"),
            status: content.status.as_u16(),
            detail: content.detail,
            code: content.code,
            instance: observe::current_request_id(),
            members: content.members,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        self.log();
        let (status, headers) = (self.0.status, std::mem::take(&mut self.0.headers));
        let mut response = (status, headers, Json(self.document())).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response
            .headers_mut()
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            Self::unavailable(
                "store_unavailable",
                "The database does not answer at the moment. Try again soon.",
                RETRY_AFTER_SECONDS,
            )
            .with_source(error)
        } else if error.is_unstorable_value() {
            Self::bad_request(
                "invalid_value",
                "A value cannot be stored or compared: a NUL character, or a number or time out of range.",
            )
            .with_source(error)
        } else {
            Self::internal(error)
        }
    }
}

impl From<SegmentError> for Problem {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Store(error) => error.into(),
            error @ SegmentError::Walk(_) => Self::internal(error),
        }
    }
}

/// For queries outside a named operation.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        StoreError::during("a query")(error).into()
    }
}

impl From<NewKeyError> for Problem {
    fn from(error: NewKeyError) -> Self {
        Self::unprocessable("invalid_key_request", format!("{error}."))
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let detail = format!("{error}.");
        match error {
            AuthError::Missing | AuthError::Unknown => Self::unauthorized("invalid_key", detail),
            AuthError::Revoked => Self::unauthorized("key_revoked", detail),
            AuthError::Expired => Self::unauthorized("key_expired", detail),
            AuthError::SecretInQuery => Self::bad_request("secret_key_in_query", detail),
            AuthError::Scope(_) => Self::new(StatusCode::FORBIDDEN, "insufficient_scope", detail),
            AuthError::Origin => Self::new(StatusCode::FORBIDDEN, "origin_not_allowed", detail),
            AuthError::Store(error) => error.into(),
        }
    }
}

impl Problem {
    fn unauthorized(code: &'static str, detail: String) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail).with_header(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(r#"Bearer realm="customer-journey""#),
        )
    }
}

/// Answers a request whose handler panicked.
pub(super) fn response_for_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown panic");
    Problem::internal(format!("the handler panicked: {message}")).into_response()
}

/// Answers a path that no route has.
pub(super) async fn route_not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "route_not_found",
        "There is nothing at this path. The list of paths is at /docs.",
    )
}

/// Answers a method that the path does not have; axum adds `Allow`.
pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This path does not take this method. The header Allow has those it takes.",
    )
}

/// Describes a problem answer for the OpenAPI document.
fn described(description: &str) -> RefOr<OpenApiResponse> {
    ResponseBuilder::new()
        .description(description)
        .content(
            PROBLEM_JSON,
            ContentBuilder::new().schema(Some(schema_reference())).build(),
        )
        .build()
        .into()
}

fn schema_reference() -> RefOr<utoipa::openapi::Schema> {
    RefOr::Ref(utoipa::openapi::Ref::from_schema_name("Problem"))
}

/// The problems any endpoint behind a key can answer: name it in `responses(…)` of `utoipa::path`.
pub struct CommonProblems;

impl IntoResponses for CommonProblems {
    fn responses() -> BTreeMap<String, RefOr<OpenApiResponse>> {
        describe(&[
            ("400", "The request is not what the endpoint takes."),
            ("401", "No key, or one that is unknown, revoked or expired."),
            ("403", "The key may not do this."),
            ("500", "Something went wrong here."),
            (
                "503",
                "A dependency is away; `Retry-After` says when to try again.",
            ),
        ])
    }
}

/// What an endpoint with one thing in its path can answer besides.
pub struct MissingProblem;

impl IntoResponses for MissingProblem {
    fn responses() -> BTreeMap<String, RefOr<OpenApiResponse>> {
        describe(&[("404", "There is nothing of this id.")])
    }
}

/// What an endpoint with a JSON body can answer besides.
pub struct BodyProblems;

impl IntoResponses for BodyProblems {
    fn responses() -> BTreeMap<String, RefOr<OpenApiResponse>> {
        describe(&[
            ("413", "The body is too large."),
            ("415", "The body is not declared as a type the endpoint takes."),
            ("422", "The body is well formed, but its values cannot be."),
        ])
    }
}

fn describe(problems: &[(&str, &str)]) -> BTreeMap<String, RefOr<OpenApiResponse>> {
    problems
        .iter()
        .map(|(status, description)| ((*status).to_owned(), described(description)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Collects what is logged while `act` runs, at the level of `info` and above.
    fn log_of(act: impl FnOnce()) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || Sink(sink.clone()))
            .finish();
        tracing::subscriber::with_default(subscriber, act);
        let bytes = written.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_fault_of_ours_is_logged_once_with_its_causes_and_a_fault_of_the_caller_is_not() {
        let log = log_of(|| {
            let error = StoreError::during("reading a session")(sqlx::Error::RowNotFound);
            drop(Problem::from(error).into_response());
        });
        assert_eq!(log.matches("ERROR").count(), 1);
        assert!(
            log.contains("reading a session failed: no rows returned"),
            "{log}"
        );
        let log = log_of(|| {
            drop(Problem::bad_request("invalid_query", "No.").into_response());
        });
        assert_eq!(log, "");
    }

    #[test]
    fn a_database_that_is_away_is_a_503_and_a_wrong_query_a_500() {
        let status = |source| Problem::from(StoreError::during("a test")(source)).status();
        assert_eq!(status(sqlx::Error::PoolTimedOut), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(sqlx::Error::PoolClosed), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            status(sqlx::Error::ColumnNotFound("x".into())),
            StatusCode::INTERNAL_SERVER_ERROR
        );
    }

    #[sqlx::test(migrations = "./migrations")]
    async fn a_value_the_database_cannot_hold_is_the_callers_fault(pool: sqlx::PgPool) {
        for query in ["SELECT $1::text", "SELECT ($1::text || '9999999999')::int"] {
            let value = if query.contains("int") { "1" } else { "a\0b" };
            let error = sqlx::query(query).bind(value).execute(&pool).await.unwrap_err();
            let problem = Problem::from(error);
            assert_eq!(problem.code(), "invalid_value", "{query}");
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn further_members_stand_in_the_document() {
        let problem = Problem::unprocessable("invalid_body", "No.").with_member("errors", vec!["a"]);
        let document = serde_json::to_value(problem.document()).unwrap();
        assert_eq!(document["errors"], serde_json::json!(["a"]));
        assert_eq!(document["title"], "Unprocessable Entity");
    }
}
