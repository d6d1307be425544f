//! `GET /api/v1/customers` and `/customers/{id}`.

use std::collections::BTreeMap;

use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::ReadAccess,
    events::OrderIn,
    extract::Path,
    list::{Page, PageQuery},
    list_query::{FormatIn, ListQuery, Listing, answer, open_range, zone},
    problem::{CommonProblems, Problem, ProblemDocument},
    reference::as_kept,
    snapshot::begin_snapshot,
    state::AppState,
};
use crate::store::{
    attributes_read::{self, AttributeChangeRecord},
    customers_read::{self, CustomerFilter, CustomerOrder, CustomerRecord},
    person::{self, DeviceRecord, IdentityRecord},
    scores::{self, ScoreRecord},
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CustomersIn {
    user_id: Option<String>,
    /// Whether the person ever identified.
    identified: Option<bool>,
    /// Inclusive: RFC 3339, or a date for the begin of that day.
    #[param(example = "2026-03-01")]
    first_seen_from: Option<String>,
    /// Exclusive: RFC 3339, or a date for the end of that day.
    first_seen_to: Option<String>,
    /// Inclusive: RFC 3339, or a date for the begin of that day.
    last_seen_from: Option<String>,
    /// Exclusive: RFC 3339, or a date for the end of that day.
    last_seen_to: Option<String>,
    /// IANA zone of the dates; the site's when absent.
    tz: Option<String>,
    /// Whether the person ever converted.
    converted: Option<bool>,
    /// Revenue of at least this in one currency.
    #[param(value_type = Option<String>, example = "100.00")]
    min_revenue: Option<Decimal>,
    /// The currency in which there is revenue (ISO 4217); any when absent.
    currency: Option<String>,
    /// Of the first touch.
    source: Option<String>,
    /// Of the first touch.
    channel: Option<String>,
    /// Last seen, ISO 3166-1 alpha-2.
    country: Option<String>,
    /// By the time first seen.
    #[serde(default)]
    #[param(inline)]
    order: OrderIn,
}

/// Filters that no field can hold.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents what the query is asked for by name")]
struct CustomersOpenIn {
    /// Current attributes by name, as `attribute[plan]=pro` or `attribute.plan=pro`; compared as text.
    #[param(style = DeepObject, explode)]
    attribute: Option<BTreeMap<String, String>>,
}

impl CustomersIn {
    fn into_filter(
        self,
        state: &AppState,
        attributes: Vec<(String, String)>,
    ) -> Result<CustomerFilter, Problem> {
        let zone = zone(self.tz.as_deref(), state)?;
        let (first_seen_from, first_seen_to) = open_range(
            ["first_seen_from", "first_seen_to"],
            self.first_seen_from.as_deref(),
            self.first_seen_to.as_deref(),
            zone,
        )?;
        let (last_seen_from, last_seen_to) = open_range(
            ["last_seen_from", "last_seen_to"],
            self.last_seen_from.as_deref(),
            self.last_seen_to.as_deref(),
            zone,
        )?;
        Ok(CustomerFilter {
            user_id: self.user_id.map(|user| as_kept(state, user)),
            identified: self.identified,
            first_seen_from,
            first_seen_to,
            last_seen_from,
            last_seen_to,
            converted: self.converted,
            revenue_min: self.min_revenue,
            currency: self.currency,
            source: self.source,
            channel: self.channel,
            country: self.country,
            attributes: attributes
                .into_iter()
                .map(|(name, value)| (name, as_kept(state, value)))
                .collect(),
        })
    }
}

#[derive(Clone)]
struct Customers {
    filter: CustomerFilter,
    order: OrderIn,
}

impl Listing for Customers {
    type Row = CustomerRecord;
    type Position = (DateTime<Utc>, Uuid);
    const FILE: &'static str = "customers";
    const COLUMNS: &'static [&'static str] = customers_read::COLUMNS;

    fn name(&self) -> String {
        format!("customers:{}", self.order.as_str())
    }

    fn position(row: &CustomerRecord) -> Self::Position {
        (row.first_seen, row.id)
    }

    async fn read(
        &self,
        state: &AppState,
        after: Option<Self::Position>,
        rows_max: i64,
    ) -> sqlx::Result<Vec<CustomerRecord>> {
        let mut snapshot = begin_snapshot(state).await?;
        let order = match self.order {
            OrderIn::Newest => CustomerOrder::NewestFirst,
            OrderIn::Oldest => CustomerOrder::OldestFirst,
        };
        customers_read::list(&mut snapshot, &self.filter, order, after, rows_max).await
    }
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_customers))
        .routes(routes!(show_customer))
}

/// Customers, by the time they were first seen.
///
/// Filters are joined by "and".
#[utoipa::path(get, path = "/api/v1/customers", tag = "journeys", security(("secret_key" = [])),
    params(CustomersIn, CustomersOpenIn, PageQuery, FormatIn),
    responses((status = 200, description = "One page, or all rows as CSV or NDJSON.",
               content((Page<CustomerRecord> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
              CommonProblems))]
async fn list_customers(
    _: ReadAccess,
    State(state): State<AppState>,
    query: ListQuery<CustomersIn, CustomersOpenIn>,
) -> Result<Response, Problem> {
    let attributes = query.members("attribute")?;
    let order = query.filter.order;
    let filter = query.filter.into_filter(&state, attributes)?;
    answer(Customers { filter, order }, state, &query.page, query.format).await
}

/// One customer.
#[derive(Debug, Serialize, ToSchema)]
struct CustomerOut {
    #[serde(flatten)]
    customer: CustomerRecord,
    /// Scores with what they rest on; absent until the person is first scored, soon after their session.
    scores: Option<ScoreRecord>,
    /// The latest change of each attribute, by name.
    attribute_changes: Vec<AttributeChangeRecord>,
    /// The lives of devices that are this person, oldest first.
    lives: Vec<DeviceRecord>,
    /// What the merge log says about these devices and the user.
    identity_log: Vec<IdentityRecord>,
}

/// One customer.
///
/// `id` is a customer id, else a user id, else a device id; a device stands for the person it belongs to now. An
/// e-mail address finds the user whose id it was, also where the store keeps only a token of it.
#[utoipa::path(get, path = "/api/v1/customers/{id}", tag = "journeys", security(("secret_key" = [])),
    params(("id" = String, Path, description = "Customer id, user id or device id.")),
    responses((status = 200, description = "The customer.", body = CustomerOut),
              (status = 404, description = "No such customer.", body = ProblemDocument,
               content_type = "application/problem+json"),
              CommonProblems))]
async fn show_customer(
    _: ReadAccess,
    State(state): State<AppState>,
    Path(reference): Path<String>,
) -> Result<Json<CustomerOut>, Problem> {
    let mut snapshot = begin_snapshot(&state).await?;
    let customer = find_customer(&mut snapshot, &as_kept(&state, reference)).await?;
    let id = customer.id;
    Ok(Json(CustomerOut {
        customer,
        scores: scores::find(&mut snapshot, id).await?,
        attribute_changes: attributes_read::list_latest_changes(&mut snapshot, id).await?,
        lives: person::list_devices(&mut snapshot, id).await?,
        identity_log: person::list_identity(&mut snapshot, id).await?,
    }))
}

/// Finds a customer by what a caller may call them.
///
/// # Errors
/// 404 `not_found`.
pub(super) async fn find_customer(
    connection: &mut PgConnection,
    reference: &str,
) -> Result<CustomerRecord, Problem> {
    let found = match person::find_customer_id(connection, reference).await? {
        Some(id) => customers_read::find(connection, id).await?,
        None => None,
    };
    found.ok_or_else(|| Problem::not_found("The customer"))
}
