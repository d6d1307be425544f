//! `GET /api/v1/events`: the raw events.

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::ReadAccess,
    list::{Page, PageQuery},
    list_query::{FormatIn, ListQuery, Listing, answer, open_range, zone},
    problem::{CommonProblems, Problem},
    reference::as_kept,
    snapshot::begin_snapshot,
    state::AppState,
};
use crate::store::{
    events_read::{self, EventFilter, EventOrder, EventRecord, EventScope},
    sessions_read,
};

/// Sessions that one session id may stand for in a filter; older ones are left out.
const SESSIONS_MAX: i64 = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EventsIn {
    /// Time of the event, inclusive: RFC 3339, or a date for the begin of that day.
    #[param(example = "2026-03-01")]
    from: Option<String>,
    /// Time of the event, exclusive: RFC 3339, or a date for the end of that day.
    #[param(example = "2026-03-31")]
    to: Option<String>,
    /// IANA zone of the dates; the site's when absent.
    tz: Option<String>,
    device_id: Option<String>,
    /// The user the event itself named; `customer_id` finds what the person did before identifying, too.
    user_id: Option<String>,
    /// Everything of this person: id of the customer.
    customer_id: Option<Uuid>,
    /// Id of a session, or a client's session id.
    session_id: Option<String>,
    /// `*` stands for any text.
    #[param(example = "/shop/*")]
    page_path: Option<String>,
    /// `*` stands for any text.
    page_url: Option<String>,
    /// ISO 3166-1 alpha-2.
    country: Option<String>,
    device_type: Option<String>,
    #[serde(default)]
    #[param(inline)]
    order: OrderIn,
}

/// Filters that no field can hold.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents what the query is asked for by name")]
struct EventsOpenIn {
    /// Any of these types: separated by commas, or the parameter several times.
    #[param(example = "purchase,add_to_cart")]
    event_type: Option<String>,
    /// Members of `properties` by name, as `property[plan]=pro` or `property.plan=pro`; compared as text.
    #[param(style = DeepObject, explode)]
    property: Option<BTreeMap<String, String>>,
}

/// Which end of a list comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OrderIn {
    #[default]
    Newest,
    Oldest,
}

impl OrderIn {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
        }
    }
}

#[derive(Clone)]
struct Events {
    filter: EventFilter,
    order: OrderIn,
}

impl Listing for Events {
    type Row = EventRecord;
    type Position = (DateTime<Utc>, String);
    const FILE: &'static str = "events";
    const COLUMNS: &'static [&'static str] = events_read::COLUMNS;

    fn name(&self) -> String {
        format!("events:{}", self.order.as_str())
    }

    fn position(row: &EventRecord) -> Self::Position {
        (row.timestamp, row.event_id.clone())
    }

    async fn read(
        &self,
        state: &AppState,
        after: Option<Self::Position>,
        rows_max: i64,
    ) -> sqlx::Result<Vec<EventRecord>> {
        let mut snapshot = begin_snapshot(state).await?;
        let order = match self.order {
            OrderIn::Newest => EventOrder::NewestFirst,
            OrderIn::Oldest => EventOrder::OldestFirst,
        };
        let after = after
            .as_ref()
            .map(|(timestamp, event_id)| (*timestamp, event_id.as_str()));
        events_read::list(&mut snapshot, &self.filter, order, after, rows_max).await
    }
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_events))
}

/// Raw events.
///
/// Filters are joined by "and". Events that arrive while a list is read page by page neither repeat nor hide
/// another one.
#[utoipa::path(get, path = "/api/v1/events", tag = "journeys", security(("secret_key" = [])),
    params(EventsIn, EventsOpenIn, PageQuery, FormatIn),
    responses((status = 200, description = "One page, or all rows as CSV or NDJSON.",
               content((Page<EventRecord> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
              CommonProblems))]
async fn list_events(
    _: ReadAccess,
    State(state): State<AppState>,
    query: ListQuery<EventsIn, EventsOpenIn>,
) -> Result<Response, Problem> {
    let event_types = query.all("event_type");
    let properties = query.members("property")?;
    let ListQuery {
        filter: input,
        page,
        format,
        ..
    } = query;
    let zone = zone(input.tz.as_deref(), &state)?;
    let (from, to) = open_range(["from", "to"], input.from.as_deref(), input.to.as_deref(), zone)?;
    let filter = EventFilter {
        scope: scope(&state, input.customer_id, input.session_id.as_deref()).await?,
        from,
        to,
        event_types,
        device_id: input.device_id,
        user_id: input.user_id.map(|user| as_kept(&state, user)),
        page_path: input.page_path,
        page_url: input.page_url,
        country: input.country,
        device_type: input.device_type,
        properties,
    };
    answer(
        Events {
            filter,
            order: input.order,
        },
        state,
        &page,
        format,
    )
    .await
}

/// Works out whose events are asked for: of a person, of sessions, or of a person's sessions.
async fn scope(
    state: &AppState,
    customer: Option<Uuid>,
    session: Option<&str>,
) -> Result<EventScope, Problem> {
    let Some(session) = session else {
        return Ok(customer.map_or(EventScope::Everybody, EventScope::Customer));
    };
    let mut snapshot = begin_snapshot(state).await?;
    let found = sessions_read::find(&mut snapshot, session, SESSIONS_MAX).await?;
    let of_customer = found
        .iter()
        .filter(|found| customer.is_none_or(|id| id == found.customer_id));
    Ok(EventScope::Sessions(
        of_customer.map(|session| session.id).collect(),
    ))
}
