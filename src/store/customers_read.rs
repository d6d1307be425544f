//! Questions about customers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::filter::Conditions;

/// One customer as it is read. The column names are the names on the wire, so one type serves both.
#[derive(Clone, Debug, sqlx::FromRow, Serialize, ToSchema)]
pub(crate) struct CustomerRecord {
    pub(crate) id: Uuid,
    /// Absent for a person who never identified.
    pub(crate) user_id: Option<String>,
    pub(crate) first_seen: DateTime<Utc>,
    pub(crate) last_seen: DateTime<Utc>,
    pub(crate) devices: i32,
    pub(crate) sessions: i32,
    pub(crate) events: i64,
    pub(crate) page_views: i64,
    pub(crate) conversions: i32,
    /// Sums by currency, exact decimals as text: `{"EUR": "129.90"}`.
    #[sqlx(json)]
    pub(crate) revenue: BTreeMap<String, String>,
    pub(crate) abandoned_carts: i32,
    pub(crate) visible_seconds: f64,
    /// Of the first touch, as are medium, campaign, channel and entry page.
    pub(crate) source: String,
    pub(crate) medium: Option<String>,
    pub(crate) campaign: Option<String>,
    pub(crate) channel: String,
    pub(crate) entry_page: Option<String>,
    /// Last seen, as is the country.
    pub(crate) device_type: String,
    /// ISO 3166-1 alpha-2.
    pub(crate) country: Option<String>,
    /// Current value of every attribute.
    #[sqlx(json)]
    pub(crate) attributes: BTreeMap<String, Value>,
}

/// The members of [`CustomerRecord`] in order: the columns of an export.
pub(crate) const COLUMNS: &[&str] = &[
    "id",
    "user_id",
    "first_seen",
    "last_seen",
    "devices",
    "sessions",
    "events",
    "page_views",
    "conversions",
    "revenue",
    "abandoned_carts",
    "visible_seconds",
    "source",
    "medium",
    "campaign",
    "channel",
    "entry_page",
    "device_type",
    "country",
    "attributes",
];

macro_rules! customer_columns {
    () => {
        "c.id, c.user_id, c.first_seen, c.last_seen, c.devices, c.sessions, c.events, c.page_views, c.conversions, \
         c.revenue, c.abandoned_carts, c.visible_seconds, c.source, c.medium, c.campaign, c.channel, c.entry_page, \
         c.device_type, c.country, c.attributes"
    };
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CustomerOrder {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// Which customers are asked for. An absent or empty field asks nothing; each `from` is inclusive, each `to`
/// exclusive.
#[derive(Clone, Debug, Default)]
pub(crate) struct CustomerFilter {
    pub(crate) user_id: Option<String>,
    /// Whether the person ever identified.
    pub(crate) identified: Option<bool>,
    pub(crate) first_seen_from: Option<DateTime<Utc>>,
    pub(crate) first_seen_to: Option<DateTime<Utc>>,
    pub(crate) last_seen_from: Option<DateTime<Utc>>,
    pub(crate) last_seen_to: Option<DateTime<Utc>>,
    pub(crate) converted: Option<bool>,
    /// Revenue of at least this, in `currency` when given, else in any one currency.
    pub(crate) revenue_min: Option<Decimal>,
    pub(crate) currency: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) channel: Option<String>,
    pub(crate) country: Option<String>,
    /// Current attributes and their values as text.
    pub(crate) attributes: Vec<(String, String)>,
}

/// Lists customers by the time they were first seen, after the given one.
pub(crate) async fn list(
    connection: &mut PgConnection,
    filter: &CustomerFilter,
    order: CustomerOrder,
    after: Option<(DateTime<Utc>, Uuid)>,
    rows_max: i64,
) -> sqlx::Result<Vec<CustomerRecord>> {
    let mut conditions = Conditions::new(concat!("SELECT ", customer_columns!(), " FROM customers c"));
    conditions
        .compare_some("c.user_id = ", filter.user_id.as_deref())
        .compare_some("(c.user_id IS NOT NULL) = ", filter.identified)
        .range(
            ("c.first_seen >= ", filter.first_seen_from),
            ("c.first_seen < ", filter.first_seen_to),
        )
        .range(
            ("c.last_seen >= ", filter.last_seen_from),
            ("c.last_seen < ", filter.last_seen_to),
        )
        .compare_some("(c.conversions > 0) = ", filter.converted)
        .compare_some("c.source = ", filter.source.as_deref())
        .compare_some("c.channel = ", filter.channel.as_deref())
        .compare_some("c.country = ", filter.country.as_deref())
        .members("c.attributes ->> ", &filter.attributes);
    // One currency at a time: a sum over several means nothing.
    if filter.currency.is_some() || filter.revenue_min.is_some() {
        conditions.pair(
            "EXISTS (SELECT 1 FROM jsonb_each_text(c.revenue) r WHERE r.value::numeric >= ",
            filter.revenue_min.unwrap_or_default(),
            " AND r.key = coalesce(",
            filter.currency.as_deref(),
            ", r.key))",
        );
    }
    if let Some((first_seen, id)) = after {
        match order {
            CustomerOrder::NewestFirst => conditions.beyond("(c.first_seen, c.id) < (", first_seen, id),
            CustomerOrder::OldestFirst => conditions.beyond("(c.first_seen, c.id) > (", first_seen, id),
        };
    }
    let ending = match order {
        CustomerOrder::NewestFirst => " ORDER BY c.first_seen DESC, c.id DESC",
        CustomerOrder::OldestFirst => " ORDER BY c.first_seen, c.id",
    };
    conditions
        .finish(ending, rows_max)
        .build_query_as()
        .fetch_all(connection)
        .await
}

/// Lists those of the customers that exist, by id.
pub(crate) async fn list_of_ids(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> sqlx::Result<Vec<CustomerRecord>> {
    sqlx::query_as(concat!(
        "SELECT ",
        customer_columns!(),
        " FROM customers c WHERE c.id = ANY($1) ORDER BY c.id"
    ))
    .bind(ids)
    .fetch_all(connection)
    .await
}

/// Finds a customer by id.
pub(crate) async fn find(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<CustomerRecord>> {
    sqlx::query_as(concat!(
        "SELECT ",
        customer_columns!(),
        " FROM customers c WHERE c.id = $1"
    ))
    .bind(id)
    .fetch_optional(connection)
    .await
}
