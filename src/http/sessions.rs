//! `GET /api/v1/sessions` and `/sessions/{id}`.

use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::ReadAccess,
    extract::{Path, Query},
    list::{Page, PageQuery},
    list_query::{FormatIn, ListQuery, Listing, answer, open_range, zone},
    problem::{CommonProblems, Problem, ProblemDocument},
    reference::as_kept,
    snapshot::begin_snapshot,
    state::AppState,
};
use crate::store::{
    events_read::{self, EventRecord},
    sessions_read::{self, SessionFilter, SessionRecord},
};

/// Events shown with one session.
const EVENTS_MAX: i64 = 10_000;

/// Sessions named when a session id is shared.
const CANDIDATES_MAX: i64 = 20;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SessionsIn {
    /// Start of the session, inclusive: RFC 3339, or a date for the begin of that day.
    #[param(example = "2026-03-01")]
    from: Option<String>,
    /// Start of the session, exclusive: RFC 3339, or a date for the end of that day.
    #[param(example = "2026-03-31")]
    to: Option<String>,
    /// IANA zone of the dates; the site's when absent.
    tz: Option<String>,
    device_id: Option<String>,
    user_id: Option<String>,
    customer_id: Option<Uuid>,
    source: Option<String>,
    medium: Option<String>,
    campaign: Option<String>,
    channel: Option<String>,
    device_type: Option<String>,
    /// ISO 3166-1 alpha-2.
    country: Option<String>,
    converted: Option<bool>,
    abandoned: Option<bool>,
    engaged: Option<bool>,
    /// Whether an error happened.
    has_errors: Option<bool>,
    /// Seconds the session lasted at least.
    min_duration: Option<f64>,
    /// Path of the first page; `*` stands for any text.
    #[param(example = "/shop/*")]
    entry_page: Option<String>,
    /// Path of the last page; `*` stands for any text.
    exit_page: Option<String>,
}

impl SessionsIn {
    fn into_filter(self, state: &AppState) -> Result<SessionFilter, Problem> {
        let zone = zone(self.tz.as_deref(), state)?;
        let (from, to) = open_range(["from", "to"], self.from.as_deref(), self.to.as_deref(), zone)?;
        Ok(SessionFilter {
            from,
            to,
            device_id: self.device_id,
            user_id: self.user_id.map(|user| as_kept(state, user)),
            customer_id: self.customer_id,
            source: self.source,
            medium: self.medium,
            campaign: self.campaign,
            channel: self.channel,
            device_type: self.device_type,
            country: self.country,
            converted: self.converted,
            abandoned: self.abandoned,
            engaged: self.engaged,
            has_errors: self.has_errors,
            duration_min: self.min_duration,
            entry_page: self.entry_page,
            exit_page: self.exit_page,
        })
    }
}

#[derive(Clone)]
struct Sessions(SessionFilter);

impl Listing for Sessions {
    type Row = SessionRecord;
    type Position = (DateTime<Utc>, Uuid);
    const FILE: &'static str = "sessions";
    const COLUMNS: &'static [&'static str] = sessions_read::COLUMNS;

    fn name(&self) -> String {
        "sessions".to_owned()
    }

    fn position(row: &SessionRecord) -> Self::Position {
        (row.started_at, row.id)
    }

    async fn read(
        &self,
        state: &AppState,
        after: Option<Self::Position>,
        rows_max: i64,
    ) -> sqlx::Result<Vec<SessionRecord>> {
        let mut snapshot = begin_snapshot(state).await?;
        sessions_read::list(&mut snapshot, &self.0, after, rows_max).await
    }
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_sessions))
        .routes(routes!(show_session))
}

/// Sessions, newest first.
///
/// Filters are joined by "and". Sessions that start while a list is read page by page neither repeat nor
/// hide another one.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "journeys", security(("secret_key" = [])),
    params(SessionsIn, PageQuery, FormatIn),
    responses((status = 200, description = "One page, or all rows as CSV or NDJSON.",
               content((Page<SessionRecord> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
              CommonProblems))]
async fn list_sessions(
    _: ReadAccess,
    State(state): State<AppState>,
    query: ListQuery<SessionsIn>,
) -> Result<Response, Problem> {
    let listing = Sessions(query.filter.into_filter(&state)?);
    answer(listing, state, &query.page, query.format).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SessionIn {
    /// `events` adds the session's events.
    #[param(inline)]
    include: Option<Include>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Include {
    Events,
}

/// One session.
#[derive(Debug, Serialize, ToSchema)]
struct SessionOut {
    #[serde(flatten)]
    session: SessionRecord,
    /// The events in the order they happened, 10 000 at most; only when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<EventRecord>>,
    /// Whether there are more events than are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    events_truncated: Option<bool>,
}

/// One session.
///
/// `id` is the service's own id or the session id a client sent.
#[utoipa::path(get, path = "/api/v1/sessions/{id}", tag = "journeys", security(("secret_key" = [])),
    params(("id" = String, Path, description = "Id of the session, or a client's session id."), SessionIn),
    responses((status = 200, description = "The session.", body = SessionOut),
              (status = 404, description = "No such session.", body = ProblemDocument,
               content_type = "application/problem+json"),
              (status = 409, description = "`ambiguous_session_id`: several sessions have this session id; \
               `ids` names the newest of them.", body = ProblemDocument,
               content_type = "application/problem+json"),
              CommonProblems))]
async fn show_session(
    _: ReadAccess,
    State(state): State<AppState>,
    Path(reference): Path<String>,
    Query(input): Query<SessionIn>,
) -> Result<Json<SessionOut>, Problem> {
    let mut snapshot = begin_snapshot(&state).await?;
    let mut found = sessions_read::find(&mut snapshot, &reference, CANDIDATES_MAX).await?;
    if found.len() > 1 {
        let ids: Vec<String> = found.iter().map(|session| session.id.to_string()).collect();
        let sentence = "Several sessions have this session id: ask for one of them by its own id.";
        return Err(Problem::conflict("ambiguous_session_id", sentence).with_member("ids", ids));
    }
    let session = found.pop().ok_or_else(|| Problem::not_found("The session"))?;
    let (events, events_truncated) = match input.include {
        None => (None, None),
        Some(Include::Events) => {
            let rows =
                events_read::list_of_sessions(&mut snapshot, &[session.id], None, EVENTS_MAX + 1).await?;
            let mut events: Vec<_> = rows.into_iter().map(|row| row.event).collect();
            let events_max = usize::try_from(EVENTS_MAX).unwrap_or(usize::MAX);
            let is_truncated = events.len() > events_max;
            events.truncate(events_max);
            (Some(events), Some(is_truncated))
        }
    };
    Ok(Json(SessionOut {
        session,
        events,
        events_truncated,
    }))
}
