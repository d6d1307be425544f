//! `GET /api/v1/customers/{id}/journey`: everything a person did, in order, with what changed.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::ReadAccess,
    customers::find_customer,
    extract::{Path, Query},
    list::{PageQuery, encode_cursor},
    problem::{CommonProblems, Problem, ProblemDocument},
    reference::as_kept,
    snapshot::begin_snapshot,
    state::AppState,
};
use crate::store::{
    attributes_read::{self, AttributeChangeRecord},
    customers_read::CustomerRecord,
    events_read::{self, EventRecord, SessionEventRecord},
    person::{self, IdentityRecord},
    sessions_read::{self, SessionRecord},
};

/// Events shown with each session.
const EVENTS_MAX: i64 = 500;

/// Attribute changes shown on a page; a machine that says something new every second must not fill it.
const CHANGES_MAX: i64 = 10_000;

/// The events that tell a journey: commerce, search, identity, and what went wrong.
const KEY_EVENTS: &[&str] = &[
    "add_to_cart",
    "remove_from_cart",
    "checkout_start",
    "purchase",
    "signup",
    "login",
    "logout",
    "identify",
    "search",
    "form_submit",
    "form_error",
    "form_abandon",
    "rage_click",
    "dead_click",
    "error",
    "consent",
];

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct JourneyIn {
    /// Which events are shown with each session, 500 at most.
    #[serde(default)]
    #[param(inline)]
    events: EventsShown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum EventsShown {
    All,
    /// Commerce, search, identity, forms and what went wrong.
    #[default]
    Key,
    None,
}

/// Part of a person's journey.
#[derive(Debug, Serialize, ToSchema)]
struct JourneyOut {
    customer_id: Uuid,
    user_id: Option<String>,
    /// Oldest first.
    entries: Vec<EntryOut>,
    /// Whether this page has more changes of attributes than are shown, which is 10 000.
    attribute_changes_truncated: bool,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// Of the whole journey, on every page.
    totals: TotalsOut,
}

/// A step of the journey.
#[derive(Debug, Serialize, ToSchema)]
struct EntryOut {
    at: DateTime<Utc>,
    /// Seconds since everything before was over: 0 for what happened meanwhile, absent for the first entry.
    gap_seconds: Option<f64>,
    #[serde(flatten)]
    what: WhatOut,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum WhatOut {
    Session(Box<SessionEntryOut>),
    AttributeChange(AttributeChangeRecord),
    Identity(IdentityRecord),
}

/// A session with what happened in it.
#[derive(Debug, Serialize, ToSchema)]
struct SessionEntryOut {
    session: SessionRecord,
    /// In the order they happened; absent when none were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<EventRecord>>,
    /// Whether there are more events of the kinds asked for than are shown.
    events_truncated: bool,
}

/// Sums over the whole journey.
#[derive(Debug, Serialize, ToSchema)]
struct TotalsOut {
    first_seen: DateTime<Utc>,
    last_seen: DateTime<Utc>,
    sessions: i32,
    events: i64,
    page_views: i64,
    conversions: i32,
    /// Exact decimals by currency.
    revenue: std::collections::BTreeMap<String, String>,
    abandoned_carts: i32,
    visible_seconds: f64,
    devices: i32,
    attribute_changes: i64,
    identity_changes: usize,
}

/// Where a page of a journey ended.
#[derive(Debug, Serialize, Deserialize)]
struct Position {
    /// Start and id of the last session shown.
    session: (DateTime<Utc>, Uuid),
    /// Everything before this time was shown, unless it is a session.
    shown_until: DateTime<Utc>,
    /// When all entries so far were over.
    busy_until: DateTime<Utc>,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show_journey))
}

/// Everything a person did, in order, with what changed.
///
/// `limit` counts sessions; changes of attributes and identity come with the sessions around them. `id` is a
/// customer id, a user id or a device id.
#[utoipa::path(get, path = "/api/v1/customers/{id}/journey", tag = "journeys", security(("secret_key" = [])),
    params(("id" = String, Path, description = "Customer id, user id or device id."), PageQuery, JourneyIn),
    responses((status = 200, description = "Part of the journey.", body = JourneyOut),
              (status = 404, description = "No such customer.", body = ProblemDocument,
               content_type = "application/problem+json"),
              CommonProblems))]
async fn show_journey(
    _: ReadAccess,
    State(state): State<AppState>,
    Path(reference): Path<String>,
    Query(page): Query<PageQuery>,
    Query(input): Query<JourneyIn>,
) -> Result<Json<JourneyOut>, Problem> {
    let limit = page.limit()?;
    let mut snapshot = begin_snapshot(&state).await?;
    let customer = find_customer(&mut snapshot, &as_kept(&state, reference)).await?;
    let list = format!("journey:{}", customer.id);
    let position: Option<Position> = page.position(&state.hasher, &list)?;

    let after = position.as_ref().map(|position| position.session);
    let mut sessions = sessions_read::list_of_customer(&mut snapshot, customer.id, after, limit + 1).await?;
    let next_session = split_off_next(&mut sessions, limit);
    let last_session = sessions.last().map(|session| (session.started_at, session.id));
    // A session that arrived late may start before what was shown already; the window never goes back.
    let from = position.as_ref().map(|position| position.shown_until);
    let to = next_session.map(|session| from.map_or(session.started_at, |from| from.max(session.started_at)));

    let identity = person::list_identity(&mut snapshot, customer.id).await?;
    let totals = totals(&mut snapshot, &customer, identity.len()).await?;
    let mut changes =
        attributes_read::list_changes(&mut snapshot, customer.id, from, to, CHANGES_MAX + 1).await?;
    let attribute_changes_truncated = cut_to(&mut changes, CHANGES_MAX);
    let events = read_events(&mut snapshot, &sessions, input.events).await?;

    let in_window = |at: DateTime<Utc>| from.is_none_or(|from| at >= from) && to.is_none_or(|to| at < to);
    let mut found = with_events(sessions, events, input.events);
    found.extend(
        changes
            .into_iter()
            .map(|change| (change.at, change.at, WhatOut::AttributeChange(change))),
    );
    found.extend(
        identity
            .into_iter()
            .filter(|entry| in_window(entry.at))
            .map(|entry| (entry.at, entry.at, WhatOut::Identity(entry))),
    );
    let (entries, busy_until) = arrange(found, position.map(|position| position.busy_until));
    let next_cursor = match (last_session, to, busy_until) {
        (Some(session), Some(shown_until), Some(busy_until)) => Some(encode_cursor(
            &state.hasher,
            &list,
            &Position {
                session,
                shown_until,
                busy_until,
            },
        )),
        _ => None,
    };
    Ok(Json(JourneyOut {
        customer_id: customer.id,
        user_id: customer.user_id,
        entries,
        attribute_changes_truncated,
        next_cursor,
        totals,
    }))
}

/// Takes off the session that was read beyond the page, if there is one.
fn split_off_next(sessions: &mut Vec<SessionRecord>, limit: i64) -> Option<SessionRecord> {
    let is_more = i64::try_from(sessions.len()).is_ok_and(|count| count > limit);
    if is_more { sessions.pop() } else { None }
}

/// Cuts a list that was read with one row too many; returns whether there was more.
fn cut_to<T>(rows: &mut Vec<T>, rows_max: i64) -> bool {
    let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
    let is_more = rows.len() > rows_max;
    rows.truncate(rows_max);
    is_more
}

async fn read_events(
    connection: &mut PgConnection,
    sessions: &[SessionRecord],
    shown: EventsShown,
) -> sqlx::Result<Vec<SessionEventRecord>> {
    let types = match shown {
        EventsShown::None => return Ok(Vec::new()),
        EventsShown::Key => Some(KEY_EVENTS),
        EventsShown::All => None,
    };
    let ids: Vec<Uuid> = sessions.iter().map(|session| session.id).collect();
    events_read::list_of_sessions(connection, &ids, types, EVENTS_MAX + 1).await
}

/// When an entry begins, when it is over, and what it is.
type Found = (DateTime<Utc>, DateTime<Utc>, WhatOut);

fn with_events(
    sessions: Vec<SessionRecord>,
    events: Vec<SessionEventRecord>,
    shown: EventsShown,
) -> Vec<Found> {
    let mut by_session: std::collections::HashMap<Uuid, Vec<EventRecord>> = Default::default();
    for row in events {
        by_session.entry(row.session).or_default().push(row.event);
    }
    sessions
        .into_iter()
        .map(|session| {
            let mut events = by_session.remove(&session.id).unwrap_or_default();
            let events_truncated = cut_to(&mut events, EVENTS_MAX);
            let (start, end) = (session.started_at, session.ended_at);
            let events = (shown != EventsShown::None).then_some(events);
            let entry = SessionEntryOut {
                session,
                events,
                events_truncated,
            };
            (start, end, WhatOut::Session(Box::new(entry)))
        })
        .collect()
}

/// Puts entries in order of time, a session before what happened at its start, and measures the gaps.
///
/// Returns also when all of them, and those of the pages before, were over.
fn arrange(
    mut found: Vec<Found>,
    mut busy_until: Option<DateTime<Utc>>,
) -> (Vec<EntryOut>, Option<DateTime<Utc>>) {
    found.sort_by_key(|(at, _, what)| (*at, !matches!(what, WhatOut::Session(_))));
    let entries = found
        .into_iter()
        .map(|(at, end, what)| {
            let gap = busy_until.map(|until| (at - until).as_seconds_f64().max(0.0));
            busy_until = busy_until.max(Some(end));
            EntryOut {
                at,
                gap_seconds: gap,
                what,
            }
        })
        .collect();
    (entries, busy_until)
}

async fn totals(
    connection: &mut PgConnection,
    customer: &CustomerRecord,
    identity_changes: usize,
) -> sqlx::Result<TotalsOut> {
    Ok(TotalsOut {
        first_seen: customer.first_seen,
        last_seen: customer.last_seen,
        sessions: customer.sessions,
        events: customer.events,
        page_views: customer.page_views,
        conversions: customer.conversions,
        revenue: customer.revenue.clone(),
        abandoned_carts: customer.abandoned_carts,
        visible_seconds: customer.visible_seconds,
        devices: customer.devices,
        attribute_changes: attributes_read::count_changes(connection, customer.id).await?,
        identity_changes,
    })
}
