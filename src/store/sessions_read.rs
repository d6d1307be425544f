//! Questions about sessions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

use super::filter::Conditions;

/// One session as it is read: the row without the state that only its derivation needs.
///
/// The column names are the names on the wire, so one type serves both.
#[derive(Clone, Debug, sqlx::FromRow, Serialize, ToSchema)]
pub(crate) struct SessionRecord {
    pub(crate) id: Uuid,
    /// The client's own name for the session where it kept to the rules, else one the service gave.
    pub(crate) session_id: String,
    pub(crate) client_session_id: Option<String>,
    pub(crate) device_id: String,
    pub(crate) customer_id: Uuid,
    pub(crate) user_id: Option<String>,
    pub(crate) started_at: DateTime<Utc>,
    /// Time of the last event.
    pub(crate) ended_at: DateTime<Utc>,
    pub(crate) duration_seconds: f64,
    pub(crate) event_count: i32,
    pub(crate) page_views: i32,
    pub(crate) clicks: i32,
    pub(crate) rage_clicks: i32,
    pub(crate) dead_clicks: i32,
    pub(crate) form_errors: i32,
    pub(crate) errors: i32,
    pub(crate) searches: i32,
    /// Events by type.
    #[sqlx(json)]
    pub(crate) event_counts: BTreeMap<String, i64>,
    /// Page paths in order, repeats collapsed, at most 200.
    pub(crate) pages: Vec<String>,
    pub(crate) entry_page: Option<String>,
    pub(crate) exit_page: Option<String>,
    pub(crate) source: String,
    pub(crate) medium: Option<String>,
    pub(crate) campaign: Option<String>,
    pub(crate) channel: String,
    pub(crate) referrer_host: Option<String>,
    pub(crate) device_type: String,
    pub(crate) browser: Option<String>,
    pub(crate) os: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub(crate) country: Option<String>,
    pub(crate) converted: bool,
    /// Exact decimal, in `currency`.
    pub(crate) conversion_value: Decimal,
    /// ISO 4217.
    pub(crate) currency: Option<String>,
    pub(crate) order_ids: Vec<String>,
    pub(crate) cart_value: Option<Decimal>,
    pub(crate) abandoned: bool,
    pub(crate) drop_off_page: Option<String>,
    pub(crate) drop_off_reason: Option<String>,
    /// Percent, over the pages that reported one.
    pub(crate) mean_scroll_depth: Option<f64>,
    pub(crate) visible_seconds: f64,
    /// 0 to 100.
    pub(crate) engagement: i16,
    /// The opposite of a bounce.
    pub(crate) engaged: bool,
}

/// The members of [`SessionRecord`] in order: the columns of an export.
pub(crate) const COLUMNS: &[&str] = &[
    "id",
    "session_id",
    "client_session_id",
    "device_id",
    "customer_id",
    "user_id",
    "started_at",
    "ended_at",
    "duration_seconds",
    "event_count",
    "page_views",
    "clicks",
    "rage_clicks",
    "dead_clicks",
    "form_errors",
    "errors",
    "searches",
    "event_counts",
    "pages",
    "entry_page",
    "exit_page",
    "source",
    "medium",
    "campaign",
    "channel",
    "referrer_host",
    "device_type",
    "browser",
    "os",
    "country",
    "converted",
    "conversion_value",
    "currency",
    "order_ids",
    "cart_value",
    "abandoned",
    "drop_off_page",
    "drop_off_reason",
    "mean_scroll_depth",
    "visible_seconds",
    "engagement",
    "engaged",
];

/// The columns of [`SessionRecord`], from `sessions s`.
macro_rules! session_columns {
    () => {
        "s.id, s.session_id, s.client_session_id, s.device_id, s.customer_id, s.user_id, s.started_at, s.ended_at, \
         s.duration_seconds, s.event_count, s.page_views, s.clicks, s.rage_clicks, s.dead_clicks, s.form_errors, \
         s.errors, s.searches, s.event_counts, s.pages, s.entry_page, s.exit_page, s.source, s.medium, s.campaign, \
         s.channel, s.referrer_host, s.device_type, s.browser, s.os, s.country, s.converted, s.conversion_value, \
         s.currency, s.order_ids, s.cart_value, s.abandoned, s.drop_off_page, s.drop_off_reason, \
         s.mean_scroll_depth, s.visible_seconds, s.engagement, s.engaged"
    };
}

/// Which sessions are asked for. An absent field asks nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionFilter {
    /// Start of the session, inclusive.
    pub(crate) from: Option<DateTime<Utc>>,
    /// Start of the session, exclusive.
    pub(crate) to: Option<DateTime<Utc>>,
    pub(crate) device_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) customer_id: Option<Uuid>,
    pub(crate) source: Option<String>,
    pub(crate) medium: Option<String>,
    pub(crate) campaign: Option<String>,
    pub(crate) channel: Option<String>,
    pub(crate) device_type: Option<String>,
    pub(crate) country: Option<String>,
    pub(crate) converted: Option<bool>,
    pub(crate) abandoned: Option<bool>,
    pub(crate) engaged: Option<bool>,
    /// Whether an error event happened.
    pub(crate) has_errors: Option<bool>,
    /// Seconds.
    pub(crate) duration_min: Option<f64>,
    /// `*` stands for any text.
    pub(crate) entry_page: Option<String>,
    /// `*` stands for any text.
    pub(crate) exit_page: Option<String>,
}

/// Lists sessions, newest start first, after the given one.
pub(crate) async fn list(
    connection: &mut PgConnection,
    filter: &SessionFilter,
    after: Option<(DateTime<Utc>, Uuid)>,
    rows_max: i64,
) -> sqlx::Result<Vec<SessionRecord>> {
    list_query(filter, after, rows_max)
        .build_query_as()
        .fetch_all(connection)
        .await
}

fn list_query(
    filter: &SessionFilter,
    after: Option<(DateTime<Utc>, Uuid)>,
    rows_max: i64,
) -> QueryBuilder<Postgres> {
    let mut conditions = Conditions::new(concat!("SELECT ", session_columns!(), " FROM sessions s"));
    conditions
        .range(("s.started_at >= ", filter.from), ("s.started_at < ", filter.to))
        .compare_some("s.device_id = ", filter.device_id.as_deref())
        .compare_some("s.user_id = ", filter.user_id.as_deref())
        .compare_some("s.customer_id = ", filter.customer_id)
        .compare_some("s.source = ", filter.source.as_deref())
        .compare_some("s.medium = ", filter.medium.as_deref())
        .compare_some("s.campaign = ", filter.campaign.as_deref())
        .compare_some("s.channel = ", filter.channel.as_deref())
        .compare_some("s.device_type = ", filter.device_type.as_deref())
        .compare_some("s.country = ", filter.country.as_deref())
        .compare_some("s.converted = ", filter.converted)
        .compare_some("s.abandoned = ", filter.abandoned)
        .compare_some("s.engaged = ", filter.engaged)
        .compare_some("(s.errors > 0) = ", filter.has_errors)
        .compare_some("s.duration_seconds >= ", filter.duration_min)
        .glob("s.entry_page LIKE ", filter.entry_page.as_deref())
        .glob("s.exit_page LIKE ", filter.exit_page.as_deref());
    if let Some((started_at, id)) = after {
        conditions.beyond("(s.started_at, s.id) < (", started_at, id);
    }
    conditions.finish(" ORDER BY s.started_at DESC, s.id DESC", rows_max)
}

/// Finds the sessions that `reference` names: the one with this id, else all with this session id.
///
/// Only the newest `rows_max` are returned; devices may share a session id.
pub(crate) async fn find(
    connection: &mut PgConnection,
    reference: &str,
    rows_max: i64,
) -> sqlx::Result<Vec<SessionRecord>> {
    if let Ok(id) = reference.parse::<Uuid>() {
        let found: Option<SessionRecord> = sqlx::query_as(concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions s WHERE s.id = $1"
        ))
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(found) = found {
            return Ok(vec![found]);
        }
    }
    sqlx::query_as(concat!(
        "SELECT ",
        session_columns!(),
        " FROM sessions s WHERE s.session_id = $1 ORDER BY s.started_at DESC, s.id DESC LIMIT $2"
    ))
    .bind(reference)
    .bind(rows_max)
    .fetch_all(connection)
    .await
}

/// Lists a customer's sessions, oldest first, after the given one.
pub(crate) async fn list_of_customer(
    connection: &mut PgConnection,
    customer: Uuid,
    after: Option<(DateTime<Utc>, Uuid)>,
    rows_max: i64,
) -> sqlx::Result<Vec<SessionRecord>> {
    let mut conditions = Conditions::new(concat!("SELECT ", session_columns!(), " FROM sessions s"));
    conditions.compare("s.customer_id = ", customer, "");
    if let Some((started_at, id)) = after {
        conditions.beyond("(s.started_at, s.id) > (", started_at, id);
    }
    conditions
        .finish(" ORDER BY s.started_at, s.id", rows_max)
        .build_query_as()
        .fetch_all(connection)
        .await
}
