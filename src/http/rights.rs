//! People's rights: export and erasure; and the undoing of a wrong merge.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Deserialize;
use tracing::Instrument as _;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::{AdminAccess, ErasureAccess, ExportAccess},
    extract::{self, Path, Query},
    problem::{BodyProblems, CommonProblems, MissingProblem, Problem},
    state::AppState,
};
use crate::{
    rights::{Chunks, Erasure, Rights, RightsError, Unmerged},
    store::keys::KeyRecord,
};

/// Longest reason for an unmerge, in characters; it stays in the merge log.
const REASON_CHARACTERS_MAX: usize = 500;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(export_person))
        .routes(routes!(erase_person))
        .routes(routes!(unmerge_device))
}

/// Whether to erase, or only to say what would go.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ErasureQuery {
    /// `true`: nothing changes, and the answer says what would go.
    #[serde(default)]
    #[param(default = false)]
    preview: bool,
}

/// A wrong merge.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"device_id": "0190163d-8694-739b-aea5-966c26f8ad91", "reason": "shared tablet"}))]
pub(crate) struct UnmergeIn {
    /// The device that is not the customer's.
    device_id: String,
    /// Why, for the merge log: 1 to 500 characters, without personal data.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// Export a person
///
/// Everything that is kept about the person, as one JSON document: `customer`, `lives` on devices,
/// `sessions`, `events` with all their columns, `attribute_facts` (the history), `identity_log`,
/// `queued_events` and `dead_letter_events`.
///
/// `{id}` is a customer id, a user id (an e-mail address is hashed first) or a device id.
#[utoipa::path(get, path = "/api/v1/customers/{id}/export", tag = "rights",
    security(("secret_key" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "Customer id, user id or device id.")),
    responses(
        (status = 200, description = "The document, streamed.", body = serde_json::Value),
        (status = 409, description = "The device was used by several people: `customers` has their ids.",
            content_type = "application/problem+json", body = super::problem::ProblemDocument),
        CommonProblems, MissingProblem))]
async fn export_person(
    _: ExportAccess,
    State(state): State<AppState>,
    Path(reference): Path<String>,
) -> Result<Response, Problem> {
    let chunks = rights(&state)?.export(&reference).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_DISPOSITION,
            r#"attachment; filename="person.json""#,
        ),
    ];
    Ok((StatusCode::OK, headers, body(chunks)).into_response())
}

/// An error in the stream cuts the answer off, so that half a document is never taken for a whole one.
fn body(chunks: Chunks) -> Body {
    Body::from_stream(stream::unfold(chunks, |mut chunks| async move {
        let chunk = chunks.recv().await?;
        if let Err(error) = &chunk {
            tracing::error!(error = error as &dyn std::error::Error, "an export was cut off");
        }
        Some((chunk, chunks))
    }))
}

/// Erase a person
///
/// Removes the person everywhere: events (compressed ones too), sessions, attributes, merge log, roll-ups and
/// dead letters. What waits in the queue, or is sent again, is refused by tombstones, which are keyed hashes.
/// On a device that others used, too, only the person's own stretches go. `?preview=true` says what would go
/// and changes nothing.
///
/// `{id}` is a customer id, a user id (an e-mail address is hashed first) or a device id.
#[utoipa::path(delete, path = "/api/v1/customers/{id}", tag = "rights",
    security(("secret_key" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "Customer id, user id or device id."), ErasureQuery),
    responses(
        (status = 200, description = "What went, or would go.", body = Erasure),
        (status = 409, description = "The device was used by several people: `customers` has their ids.",
            content_type = "application/problem+json", body = super::problem::ProblemDocument),
        CommonProblems, MissingProblem))]
async fn erase_person(
    access: ErasureAccess,
    State(state): State<AppState>,
    Path(reference): Path<String>,
    Query(query): Query<ErasureQuery>,
) -> Result<Json<Erasure>, Problem> {
    let rights = rights(&state)?;
    let erasure = if query.preview {
        rights.preview(&reference).await?
    } else {
        erase_to_the_end(rights.clone(), reference, actor(&access.key)).await?
    };
    Ok(Json(erasure))
}

/// Erases on a task of its own: a client that goes away, or a request that took its time, does not take back
/// what has been done so far. The audit log tells that it ended.
async fn erase_to_the_end(rights: Rights, reference: String, actor: String) -> Result<Erasure, RightsError> {
    let work = async move {
        let done = rights.erase(&reference, &actor).await;
        // Perhaps nobody waits for the answer any more.
        if let Err(error @ (RightsError::Store(_) | RightsError::Queue(_))) = &done {
            tracing::error!(error = error as &dyn std::error::Error, "an erasure failed");
        }
        done
    };
    match tokio::spawn(work.in_current_span()).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

/// Undo a merge
///
/// The device no longer belongs to the customer: every claim received up to now is taken back in the
/// append-only merge log, and sessions and customers follow. A claim that comes later links again.
#[utoipa::path(post, path = "/api/v1/customers/{id}/unmerge", tag = "rights",
    security(("secret_key" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "Customer id or user id.")), request_body = UnmergeIn,
    responses(
        (status = 200, description = "Whose the device is now.", body = Unmerged),
        (status = 409, description = "The customer is no user, or the device is not linked to it.",
            content_type = "application/problem+json", body = super::problem::ProblemDocument),
        CommonProblems, MissingProblem, BodyProblems))]
async fn unmerge_device(
    access: AdminAccess,
    State(state): State<AppState>,
    Path(reference): Path<String>,
    extract::Json(wish): extract::Json<UnmergeIn>,
) -> Result<Json<Unmerged>, Problem> {
    let reason = wish.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARACTERS_MAX {
        return Err(Problem::unprocessable(
            "invalid_reason",
            format!("reason: must have from 1 to {REASON_CHARACTERS_MAX} characters"),
        ));
    }
    let unmerged = rights(&state)?
        .unmerge(&reference, &wish.device_id, reason, &actor(&access.key))
        .await?;
    Ok(Json(unmerged))
}

/// Who did it, for the audit log.
fn actor(key: &KeyRecord) -> String {
    format!("key:{}", key.id)
}

fn rights(state: &AppState) -> Result<&Rights, Problem> {
    state.rights.as_ref().ok_or_else(|| {
        Problem::unavailable(
            "rights_unavailable",
            "This node does not answer for people's rights.",
            60,
        )
    })
}

impl From<RightsError> for Problem {
    fn from(error: RightsError) -> Self {
        match error {
            RightsError::Unknown => Self::not_found("The customer"),
            RightsError::Ambiguous(ref customers) => {
                let customers: Vec<String> = customers.iter().map(ToString::to_string).collect();
                Self::conflict("several_people", format!("{}.", capitalised(&error)))
                    .with_member("customers", customers)
            }
            RightsError::NotMerged => Self::conflict("not_merged", format!("{}.", capitalised(&error))),
            RightsError::NotLinked => Self::conflict("not_linked", format!("{}.", capitalised(&error))),
            RightsError::Queue(error) => Self::unavailable(
                "queue_unavailable",
                "The queue cannot be read, and it may hold events of the person. Try again soon.",
                5,
            )
            .with_source(error),
            RightsError::Store(error) => error.into(),
        }
    }
}

fn capitalised(error: &RightsError) -> String {
    let text = error.to_string();
    text[..1].to_uppercase() + &text[1..]
}
