//! `POST /api/v1/events` and `/api/v1/events/batch`: events in.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    AppState, Problem,
    address::ClientAddress,
    auth::WriteKey,
    event_in::{EventIn, TimeIn},
    extract::body_too_large,
    problem::{BodyProblems, CommonProblems},
};
use crate::{
    event::{
        BodyError, Event, Policy, RejectReason, Rejection, RequestContext, Verdict, judge_batch, parse_body,
    },
    ingest::{
        Intake, IntakeError,
        body::{BodyEncodingError, decompress},
        entry::{Entry, Rejected},
        refusals::Refusals,
    },
    ops::metrics as metric,
};

/// Everything the endpoint needs besides the state of all endpoints.
pub struct Reception {
    pub intake: Intake,
    pub policy: Policy,
    pub refusals: Refusals,
}

/// Answer to accepted events.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "accepted": 1,
    "rejected": 1,
    "event_ids": ["0198c5f2-7d1b-7c3a-9a52-2f6f0f6f4d11"],
    "errors": [{"index": 1, "code": "missing_event_type", "field": "event_type", "detail": "…"}]
}))]
pub(crate) struct AcceptedOut {
    /// Events that are kept. Each is stored exactly once, however often it is sent.
    accepted: usize,
    /// Events that are not kept.
    rejected: usize,
    /// Ids of the accepted events in the order they were sent, also those made here.
    event_ids: Vec<String>,
    /// Why each of the others is not kept.
    errors: Vec<VerdictOut>,
}

/// Why one event is not kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerdictOut {
    /// Place of the event in the request, from 0.
    index: usize,
    /// Stable code, as in `missing_event_type`.
    #[schema(value_type = String)]
    code: RejectReason,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// A sentence.
    detail: String,
}

/// Events, and when they were sent.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "events": [
        {"event_type": "page_view", "device_id": "laptop-1", "page_url": "https://shop.example/tents"},
        {"event_type": "add_to_cart", "device_id": "laptop-1", "product_id": "tent-2", "cart_total": "289.00",
         "currency": "EUR"}
    ]
}))]
#[expect(
    dead_code,
    reason = "describes the body for the OpenAPI document; bodies are read by `event`"
)]
pub(crate) struct BatchIn {
    /// Judged one by one. At most 100, unless the operator allows more.
    #[schema(min_items = 1)]
    events: Vec<EventIn>,
    /// The client's clock when it sends this request; corrects a wrong clock.
    sent_at: Option<TimeIn>,
}

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(post_events))
        .routes(routes!(post_batch))
}

/// Take in one event or several
///
/// The body is an event, a list of events, or `{"events": […], "sent_at": …}`. It may be compressed (`gzip`,
/// `deflate`, `br`, `zstd`) and of any content type, so that a page can send it as `text/plain` with `?key=`
/// and needs no preflight. An event needs `event_type` and `device_id`
/// or `user_id`. 202 means that the events survive a crash of anything here; the same `event_id` sent again
/// is never a second event.
#[utoipa::path(
    post,
    path = "/api/v1/events",
    tag = "ingest",
    operation_id = "postEvents",
    security(("write_key" = []), ("write_key_query" = []), ("bearer" = [])),
    params(("key" = Option<String>, Query, description = "Write key, where headers cannot be set")),
    request_body(content = BatchIn, content_type = "application/json"),
    responses(
        (status = ACCEPTED, body = AcceptedOut, description = "Kept; each event is judged by itself"),
        BodyProblems,
        CommonProblems,
    )
)]
async fn post_events(
    state: State<AppState>,
    key: Result<WriteKey, Problem>,
    address: ClientAddress,
    request: Request,
) -> Result<Response, Problem> {
    receive(state, key, address, request).await
}

/// Take in several events at once
///
/// The same as `POST /api/v1/events`, under the name that the SDK of the original bundle uses.
#[utoipa::path(
    post,
    path = "/api/v1/events/batch",
    tag = "ingest",
    operation_id = "postEventBatch",
    security(("write_key" = []), ("write_key_query" = []), ("bearer" = [])),
    params(("key" = Option<String>, Query, description = "Write key, where headers cannot be set")),
    request_body(content = BatchIn, content_type = "application/json"),
    responses(
        (status = ACCEPTED, body = AcceptedOut, description = "Kept; each event is judged by itself"),
        BodyProblems,
        CommonProblems,
    )
)]
async fn post_batch(
    state: State<AppState>,
    key: Result<WriteKey, Problem>,
    address: ClientAddress,
    request: Request,
) -> Result<Response, Problem> {
    receive(state, key, address, request).await
}

async fn receive(
    State(state): State<AppState>,
    key: Result<WriteKey, Problem>,
    ClientAddress(address): ClientAddress,
    request: Request,
) -> Result<Response, Problem> {
    let reception = state.reception.clone().ok_or_else(no_reception)?;
    let key_id = key.as_ref().map_or(0, |key| key.0.id);
    let answer = match key {
        Ok(key) => take_in(&state, &reception, key.0.id, address, request).await,
        Err(problem) => Err(problem),
    };
    if let Err(problem) = &answer
        && problem.status().is_client_error()
        && problem.code() != EVENTS_REJECTED
    {
        reception.refusals.count(key_id, problem.code(), problem.detail());
    }
    answer
}

/// The code of a request whose every event was refused: those are in the ledger already, one by one.
const EVENTS_REJECTED: &str = "events_rejected";

async fn take_in(
    state: &AppState,
    reception: &Reception,
    key_id: i32,
    address: Option<std::net::IpAddr>,
    request: Request,
) -> Result<Response, Problem> {
    let received_at = state.clock.now();
    let headers = request.headers().clone();
    // Before a byte is read: who waits for an answer to 1 TB of announced body gets it now.
    if announced_bytes(&headers).is_some_and(|bytes| bytes > state.config.ingest.body_bytes_max as u64) {
        return Err(body_too_large());
    }
    let body = Bytes::from_request(request, state).await.map_err(unreadable)?;
    let encoding = text(&headers, header::CONTENT_ENCODING);
    let limit = state.config.ingest.decompressed_bytes_max;
    let body = decompress(&body, encoding, limit).await.map_err(undecodable)?;
    let batch = parse_body(&body).map_err(malformed)?;
    batch
        .check_size(reception.policy.batch_events_max)
        .map_err(malformed)?;

    let received = u32::try_from(batch.events.len()).unwrap_or(u32::MAX);
    let context = RequestContext {
        received_at,
        key_id,
        client_ip: address,
        user_agent: text(&headers, header::USER_AGENT).map(str::to_owned),
        dnt: headers.get("dnt").is_some_and(|value| value == "1"),
        gpc: headers.get("sec-gpc").is_some_and(|value| value == "1"),
    };
    let judged = Judged::from(judge_batch(batch, &context, &reception.policy));
    metrics::counter!(metric::EVENTS_RECEIVED).increment(u64::from(received));
    metrics::counter!(metric::EVENTS_ACCEPTED).increment(judged.events.len() as u64);

    let (out, entry) = judged.into_answer(received, &context);
    let all_invalid = out.accepted == 0 && !out.errors.iter().all(|error| is_policy(error.code));
    reception
        .intake
        .accept(entry)
        .await
        .map_err(|error| not_taken(error, state))?;
    if all_invalid {
        let errors = serde_json::to_value(&out.errors).unwrap_or_default();
        return Err(Problem::unprocessable(
            EVENTS_REJECTED,
            "None of these events is valid; `errors` says why.",
        )
        .with_member("errors", errors));
    }
    Ok((StatusCode::ACCEPTED, Json(out)).into_response())
}

/// Refusals that are no mistake of the client: it may go on as it does.
fn is_policy(reason: RejectReason) -> bool {
    matches!(
        reason,
        RejectReason::Bot | RejectReason::DoNotTrack | RejectReason::GlobalPrivacyControl
    )
}

/// The verdicts of a batch, sorted into what is kept and what is not.
struct Judged {
    events: Vec<Event>,
    refused: Vec<(usize, Rejection)>,
}

impl From<Vec<Verdict>> for Judged {
    fn from(verdicts: Vec<Verdict>) -> Self {
        let mut judged = Self {
            events: Vec::with_capacity(verdicts.len()),
            refused: Vec::new(),
        };
        for (index, verdict) in verdicts.into_iter().enumerate() {
            match verdict {
                Verdict::Accepted(event) => judged.events.push(*event),
                Verdict::Rejected(rejection) => judged.refused.push((index, rejection)),
            }
        }
        judged
    }
}

impl Judged {
    fn into_answer(self, received: u32, context: &RequestContext) -> (AcceptedOut, Entry) {
        let mut rejected: Vec<Rejected> = Vec::new();
        for (_, rejection) in &self.refused {
            let reason = rejection.reason.as_str();
            metrics::counter!(metric::EVENTS_REJECTED, "reason" => reason).increment(1);
            match rejected
                .iter_mut()
                .find(|known| known.reason == reason && known.field == rejection.field)
            {
                Some(known) => known.count += 1,
                None => rejected.push(Rejected {
                    reason: reason.to_owned(),
                    count: 1,
                    field: rejection.field.clone(),
                    detail: rejection.detail.clone(),
                    sample: rejection.sample.clone(),
                }),
            }
        }
        let out = AcceptedOut {
            accepted: self.events.len(),
            rejected: self.refused.len(),
            event_ids: self.events.iter().map(|event| event.event_id.clone()).collect(),
            errors: self
                .refused
                .into_iter()
                .map(|(index, rejection)| VerdictOut {
                    index,
                    code: rejection.reason,
                    field: rejection.field,
                    detail: rejection.detail,
                })
                .collect(),
        };
        let entry = Entry {
            received,
            received_at: context.received_at,
            key_id: context.key_id,
            events: self.events,
            rejected,
        };
        (out, entry)
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Returns the length that the client says its body has.
fn announced_bytes(headers: &HeaderMap) -> Option<u64> {
    text(headers, header::CONTENT_LENGTH)?.parse().ok()
}

fn no_reception() -> Problem {
    Problem::unavailable("no_ingest", "This node takes in no events.", 60)
}

fn unreadable(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return body_too_large();
    }
    Problem::bad_request("unreadable_body", "The body ended before all of it was sent.")
}

fn undecodable(error: BodyEncodingError) -> Problem {
    let detail = format!("{}.", capitalise(&error.to_string()));
    match error {
        BodyEncodingError::Unsupported(_) => {
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", detail)
        }
        BodyEncodingError::Corrupt { .. } => Problem::bad_request("corrupt_encoding", detail),
        BodyEncodingError::TooLarge { .. } => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
        }
    }
}

fn malformed(error: BodyError) -> Problem {
    let status = match error {
        BodyError::TooManyEvents { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    Problem::new(
        status,
        error.code(),
        format!("{}.", capitalise(&error.to_string())),
    )
}

fn not_taken(error: IntakeError, state: &AppState) -> Problem {
    let wait = state.config.ingest.retry_after_seconds;
    let detail =
        "Nothing was stored. Send the same events again, with the same ids, after the time in Retry-After.";
    match error {
        IntakeError::Full => {
            metrics::counter!(metric::REQUESTS_TURNED_AWAY).increment(1);
            Problem::unavailable("queue_full", detail, wait)
        }
        IntakeError::Unavailable(_) => {
            metrics::counter!(metric::REQUESTS_TURNED_AWAY).increment(1);
            Problem::unavailable("store_unavailable", detail, wait).with_source(error)
        }
        IntakeError::Unstorable(_) => {
            Problem::unprocessable("unstorable", "The database cannot hold these events.").with_source(error)
        }
    }
}

fn capitalise(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}
