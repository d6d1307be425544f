//! Questions about raw events.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    filter::Conditions,
    person::{in_span, spans_of_customer, spans_of_sessions},
};

/// One event as it is read.
///
/// The column names are the names on the wire, so one type serves both. The hash of the client's address and
/// the key that brought the event stay inside.
#[derive(Clone, Debug, sqlx::FromRow, Serialize, ToSchema)]
pub(crate) struct EventRecord {
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    /// When it happened, by the server's clock.
    pub(crate) timestamp: DateTime<Utc>,
    /// When it happened, by the client's own clock.
    pub(crate) client_timestamp: Option<DateTime<Utc>>,
    pub(crate) received_at: DateTime<Utc>,
    /// Per-client counter; orders events of equal `timestamp`.
    pub(crate) seq: Option<i64>,
    pub(crate) device_id: String,
    /// The user the event itself named.
    pub(crate) user_id: Option<String>,
    /// The session the client believed it was in.
    pub(crate) session_id: Option<String>,
    pub(crate) page_url: Option<String>,
    pub(crate) page_host: Option<String>,
    pub(crate) page_path: Option<String>,
    pub(crate) page_title: Option<String>,
    pub(crate) referrer: Option<String>,
    pub(crate) referrer_host: Option<String>,
    pub(crate) utm_source: Option<String>,
    pub(crate) utm_medium: Option<String>,
    pub(crate) utm_campaign: Option<String>,
    pub(crate) utm_term: Option<String>,
    pub(crate) utm_content: Option<String>,
    pub(crate) click_id: Option<String>,
    pub(crate) element_selector: Option<String>,
    pub(crate) element_text: Option<String>,
    pub(crate) element_id: Option<String>,
    pub(crate) element_classes: Option<String>,
    /// Pixels from the left edge of the page.
    pub(crate) x: Option<i32>,
    /// Pixels from the top edge of the page.
    pub(crate) y: Option<i32>,
    /// Percent of the page.
    pub(crate) scroll_depth: Option<i16>,
    pub(crate) form_id: Option<String>,
    pub(crate) form_field_name: Option<String>,
    pub(crate) form_field_type: Option<String>,
    pub(crate) form_validation_errors: Option<Vec<String>>,
    pub(crate) product_id: Option<String>,
    pub(crate) product_name: Option<String>,
    pub(crate) product_category: Option<String>,
    pub(crate) product_price: Option<Decimal>,
    pub(crate) quantity: Option<i32>,
    pub(crate) cart_total: Option<Decimal>,
    pub(crate) order_id: Option<String>,
    pub(crate) order_total: Option<Decimal>,
    /// ISO 4217.
    pub(crate) currency: Option<String>,
    pub(crate) search_query: Option<String>,
    pub(crate) search_results_count: Option<i32>,
    pub(crate) error_message: Option<String>,
    pub(crate) error_stack: Option<String>,
    pub(crate) device_type: String,
    pub(crate) browser: Option<String>,
    pub(crate) os: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub(crate) country: Option<String>,
    pub(crate) screen_width: Option<i32>,
    pub(crate) screen_height: Option<i32>,
    pub(crate) viewport_width: Option<i32>,
    pub(crate) viewport_height: Option<i32>,
    pub(crate) page_load_time_ms: Option<i32>,
    pub(crate) time_on_page_seconds: Option<f64>,
    /// Custom properties, and fields the service does not know.
    pub(crate) properties: Option<Value>,
    /// Names of the fields whose text was cut at its limit.
    pub(crate) truncated: Option<Vec<String>>,
}

/// The members of [`EventRecord`] in order: the columns of an export.
pub(crate) const COLUMNS: &[&str] = &[
    "event_id",
    "event_type",
    "timestamp",
    "client_timestamp",
    "received_at",
    "seq",
    "device_id",
    "user_id",
    "session_id",
    "page_url",
    "page_host",
    "page_path",
    "page_title",
    "referrer",
    "referrer_host",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "click_id",
    "element_selector",
    "element_text",
    "element_id",
    "element_classes",
    "x",
    "y",
    "scroll_depth",
    "form_id",
    "form_field_name",
    "form_field_type",
    "form_validation_errors",
    "product_id",
    "product_name",
    "product_category",
    "product_price",
    "quantity",
    "cart_total",
    "order_id",
    "order_total",
    "currency",
    "search_query",
    "search_results_count",
    "error_message",
    "error_stack",
    "device_type",
    "browser",
    "os",
    "country",
    "screen_width",
    "screen_height",
    "viewport_width",
    "viewport_height",
    "page_load_time_ms",
    "time_on_page_seconds",
    "properties",
    "truncated",
];

/// The columns of [`EventRecord`], from `events e`.
macro_rules! event_columns {
    () => {
        "e.event_id, e.event_type, e.timestamp, e.client_timestamp, e.received_at, e.seq, e.device_id, e.user_id, \
         e.session_id, e.page_url, e.page_host, e.page_path, e.page_title, e.referrer, e.referrer_host, \
         e.utm_source, e.utm_medium, e.utm_campaign, e.utm_term, e.utm_content, e.click_id, e.element_selector, \
         e.element_text, e.element_id, e.element_classes, e.x, e.y, e.scroll_depth, e.form_id, e.form_field_name, \
         e.form_field_type, e.form_validation_errors, e.product_id, e.product_name, e.product_category, \
         e.product_price, e.quantity, e.cart_total, e.order_id, e.order_total, e.currency, e.search_query, \
         e.search_results_count, e.error_message, e.error_stack, e.device_type, e.browser, e.os, e.country, \
         e.screen_width, e.screen_height, e.viewport_width, e.viewport_height, e.page_load_time_ms, \
         e.time_on_page_seconds, e.properties, e.truncated"
    };
}

/// Whose events are asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum EventScope {
    #[default]
    Everybody,
    /// All lives of one customer.
    Customer(Uuid),
    /// The sessions with these ids.
    Sessions(Vec<Uuid>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EventOrder {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// Which events are asked for. An absent or empty field asks nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventFilter {
    pub(crate) scope: EventScope,
    /// Inclusive.
    pub(crate) from: Option<DateTime<Utc>>,
    /// Exclusive.
    pub(crate) to: Option<DateTime<Utc>>,
    /// Any of these.
    pub(crate) event_types: Vec<String>,
    pub(crate) device_id: Option<String>,
    pub(crate) user_id: Option<String>,
    /// `*` stands for any text.
    pub(crate) page_path: Option<String>,
    /// `*` stands for any text.
    pub(crate) page_url: Option<String>,
    pub(crate) country: Option<String>,
    pub(crate) device_type: Option<String>,
    /// Members of the properties and their values as text.
    pub(crate) properties: Vec<(String, String)>,
}

/// Lists events in order of time and id, after the given one.
pub(crate) async fn list(
    connection: &mut PgConnection,
    filter: &EventFilter,
    order: EventOrder,
    after: Option<(DateTime<Utc>, &str)>,
    rows_max: i64,
) -> sqlx::Result<Vec<EventRecord>> {
    list_query(filter, order, after, rows_max)
        .build_query_as()
        .fetch_all(connection)
        .await
}

fn list_query(
    filter: &EventFilter,
    order: EventOrder,
    after: Option<(DateTime<Utc>, &str)>,
    rows_max: i64,
) -> QueryBuilder<Postgres> {
    let scoped = filter.scope != EventScope::Everybody;
    let mut conditions = scope_query(&filter.scope);
    conditions.range(("e.timestamp >= ", filter.from), ("e.timestamp < ", filter.to));
    if !filter.event_types.is_empty() {
        conditions.compare("e.event_type = ANY(", &filter.event_types[..], ")");
    }
    conditions
        .compare_some("e.device_id = ", filter.device_id.as_deref())
        .compare_some("e.user_id = ", filter.user_id.as_deref())
        .glob("e.page_path LIKE ", filter.page_path.as_deref())
        .glob("e.page_url LIKE ", filter.page_url.as_deref())
        .compare_some("e.country = ", filter.country.as_deref())
        .compare_some("e.device_type = ", filter.device_type.as_deref())
        .members("e.properties ->> ", &filter.properties);
    if let Some((timestamp, event_id)) = after {
        // The plain comparison lets a hypertable leave out chunks; the pair alone does not.
        match order {
            EventOrder::NewestFirst => conditions.compare("e.timestamp <= ", timestamp, "").beyond(
                "(e.timestamp, e.event_id COLLATE \"C\") < (",
                timestamp,
                event_id,
            ),
            EventOrder::OldestFirst => conditions.compare("e.timestamp >= ", timestamp, "").beyond(
                "(e.timestamp, e.event_id COLLATE \"C\") > (",
                timestamp,
                event_id,
            ),
        };
    }
    let ending = match (scoped, order) {
        (false, EventOrder::NewestFirst) => " ORDER BY e.timestamp DESC, e.event_id COLLATE \"C\" DESC",
        (false, EventOrder::OldestFirst) => " ORDER BY e.timestamp, e.event_id COLLATE \"C\"",
        (true, EventOrder::NewestFirst) => {
            " OFFSET 0) e ORDER BY e.timestamp DESC, e.event_id COLLATE \"C\" DESC"
        }
        (true, EventOrder::OldestFirst) => " OFFSET 0) e ORDER BY e.timestamp, e.event_id COLLATE \"C\"",
    };
    conditions.finish(ending, rows_max)
}

/// Opens the query. `OFFSET 0` at its end keeps the planner from turning "the events of these spans" into a
/// walk over all events by time: a span is always an index range scan on its device.
fn scope_query(scope: &EventScope) -> Conditions {
    match scope {
        EventScope::Everybody => Conditions::new(concat!("SELECT ", event_columns!(), " FROM events e")),
        EventScope::Customer(customer) => Conditions::with_first(
            concat!(
                "SELECT e.* FROM ",
                spans_of_customer!(),
                " span CROSS JOIN LATERAL (SELECT ",
                event_columns!(),
                " FROM events e WHERE ",
                in_span!("e", "timestamp")
            ),
            *customer,
        ),
        EventScope::Sessions(sessions) => Conditions::with_first(
            concat!(
                "SELECT e.* FROM ",
                spans_of_sessions!(),
                " span CROSS JOIN LATERAL (SELECT ",
                event_columns!(),
                " FROM events e WHERE ",
                in_span!("e", "timestamp")
            ),
            &sessions[..],
        ),
    }
}

/// An event together with the session it belongs to.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct SessionEventRecord {
    pub(crate) session: Uuid,
    #[sqlx(flatten)]
    pub(crate) event: EventRecord,
}

/// Lists the events of sessions, each session's in the order they happened, `events_max` of each at most.
///
/// With `event_types` only those types are listed and counted against `events_max`.
pub(crate) async fn list_of_sessions(
    connection: &mut PgConnection,
    sessions: &[Uuid],
    event_types: Option<&[&str]>,
    events_max: i64,
) -> sqlx::Result<Vec<SessionEventRecord>> {
    sqlx::query_as(concat!(
        "SELECT span.session, e.* FROM ",
        spans_of_sessions!(),
        " span CROSS JOIN LATERAL (SELECT ",
        event_columns!(),
        " FROM events e WHERE ",
        in_span!("e", "timestamp"),
        " AND ($2::text[] IS NULL OR e.event_type = ANY($2)) \
          ORDER BY e.timestamp, e.seq NULLS FIRST, e.event_id COLLATE \"C\" LIMIT $3) e \
         ORDER BY span.low, span.session, e.timestamp, e.seq NULLS FIRST, e.event_id COLLATE \"C\""
    ))
    .bind(sessions)
    .bind(event_types)
    .bind(events_max)
    .fetch_all(connection)
    .await
}
