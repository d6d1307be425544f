//! Scores of customers: what they are computed from, and where they are kept.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::BoxStream;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::StoreError;
use crate::customer::{Behaviour, Models, Scores, Why, estimate::Calibration, rfm::Cell};

/// What people did before a moment, and whether they came and bought between it and a later one.
///
/// `$1` the moment, `$2` the later one (exclusive), `$3` the currency that revenue is summed in. The two literals are
/// conditions on sessions and on people.
macro_rules! behaviour {
    ($sessions:literal, $people:literal) => {
        concat!(
            "SELECT p.customer_id, count(*) FILTER (WHERE p.earlier) AS sessions, \
               min(p.started_at) FILTER (WHERE p.earlier) AS first_session_at, \
               max(p.started_at) FILTER (WHERE p.earlier) AS last_session_at, \
               count(*) FILTER (WHERE p.earlier AND p.age <= interval '30 days') AS sessions_30_days, \
               avg(p.engagement) FILTER (WHERE p.earlier AND p.age <= interval '90 days')::float8 \
                 AS engagement_90_days, \
               count(*) FILTER (WHERE p.earlier AND p.abandoned AND p.age <= interval '30 days') AS abandoned_30_days, \
               coalesce(sum(p.orders) FILTER (WHERE p.earlier), 0)::bigint AS orders, \
               coalesce(sum(p.orders) FILTER (WHERE p.earlier AND p.age <= interval '90 days'), 0)::bigint \
                 AS orders_90_days, \
               coalesce(sum(p.orders) FILTER (WHERE p.earlier AND p.age <= interval '365 days'), 0)::bigint \
                 AS orders_365_days, \
               max(p.started_at) FILTER (WHERE p.earlier AND p.converted) AS last_order_at, \
               coalesce(sum(p.conversion_value) FILTER (WHERE p.earlier AND p.converted \
                 AND coalesce(p.currency, '') = $3), 0) AS revenue, \
               coalesce(bool_or(NOT p.earlier), false) AS returned, \
               coalesce(bool_or(NOT p.earlier AND p.converted), false) AS ordered \
             FROM (SELECT s.customer_id, s.started_at, s.engagement, s.abandoned, s.converted, s.conversion_value, \
                 s.currency, s.started_at < $1 AS earlier, $1 - s.started_at AS age, \
                 cardinality(s.order_ids) + (s.converted AND s.order_ids = '{}')::integer AS orders \
               FROM sessions s WHERE s.started_at < $2",
            $sessions,
            ") p GROUP BY p.customer_id HAVING bool_or(p.earlier)",
            $people
        )
    };
}

/// Streams what everybody did before `at`, and whether they came and bought before `until`.
pub(crate) fn stream_behaviour<'connection>(
    connection: &'connection mut PgConnection,
    at: DateTime<Utc>,
    until: DateTime<Utc>,
    currency: &'connection str,
) -> BoxStream<'connection, sqlx::Result<Behaviour>> {
    sqlx::query_as(behaviour!("", ""))
        .bind(at)
        .bind(until)
        .bind(currency)
        .fetch(connection)
}

/// Lists what the buyers did before `at`.
pub(crate) async fn list_buyers(
    connection: &mut PgConnection,
    at: DateTime<Utc>,
    currency: &str,
) -> Result<Vec<Behaviour>, StoreError> {
    sqlx::query_as(behaviour!("", " AND bool_or(p.earlier AND p.converted)"))
        .bind(at)
        .bind(at)
        .bind(currency)
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.scores.list_buyers"))
}

/// Lists what these customers did before `at`.
pub(crate) async fn list_behaviour(
    connection: &mut PgConnection,
    customers: &[Uuid],
    at: DateTime<Utc>,
    currency: &str,
) -> Result<Vec<Behaviour>, StoreError> {
    sqlx::query_as(behaviour!(" AND s.customer_id = ANY($4)", ""))
        .bind(at)
        .bind(at)
        .bind(currency)
        .bind(customers)
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.scores.list_behaviour"))
}

/// Returns the currency that most sessions with an order are in; empty where none is named, or nothing was bought.
pub(crate) async fn main_currency(connection: &mut PgConnection) -> Result<String, StoreError> {
    let found: Option<String> = sqlx::query_scalar(
        "SELECT coalesce(currency, '') FROM sessions WHERE converted GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1",
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::during("store.scores.main_currency"))?;
    Ok(found.unwrap_or_default())
}

/// Lists customers with a session that ended between `since` and `until` (inclusive), and whose scores are older than
/// the moment it was over, `patience` after its end.
pub(crate) async fn list_outdated(
    connection: &mut PgConnection,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    patience: TimeDelta,
    length_max: TimeDelta,
    rows_max: i64,
) -> Result<Vec<Uuid>, StoreError> {
    sqlx::query_scalar(
        // Only the start is indexed; no session is longer than `length_max`.
        "SELECT DISTINCT s.customer_id FROM sessions s
         LEFT JOIN customer_scores x ON x.customer_id = s.customer_id
         WHERE s.started_at >= $1 - make_interval(secs => $4) AND s.started_at <= $2
           AND s.ended_at > $1 AND s.ended_at <= $2
           AND (x.computed_at IS NULL OR x.computed_at < s.ended_at + make_interval(secs => $3))
         LIMIT $5",
    )
    .bind(since)
    .bind(until)
    .bind(patience.as_seconds_f64())
    .bind(length_max.as_seconds_f64())
    .bind(rows_max)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.scores.list_outdated"))
}

/// A row of `customer_scores` on its way in.
#[derive(Serialize)]
struct ScoreIn<'scores> {
    customer_id: Uuid,
    computed_at: DateTime<Utc>,
    engagement: i16,
    churn_risk: Option<f64>,
    conversion_probability: Option<f64>,
    rfm_recency: Option<i16>,
    rfm_frequency: Option<i16>,
    rfm_monetary: Option<i16>,
    rfm_segment: Option<&'static str>,
    loyalty_tier: &'static str,
    why: &'scores Why,
}

/// Writes scores over those that were there. Customers that are gone meanwhile are left out.
pub(crate) async fn save(
    connection: &mut PgConnection,
    scores: &[Scores],
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let rows: Vec<ScoreIn<'_>> = scores.iter().map(|scores| score_in(scores, now)).collect();
    let saved = sqlx::query(
        // Writers lock customers in the order of their ids, too.
        "WITH given AS (SELECT * FROM json_populate_recordset(NULL::customer_scores, $1::json)),
              held AS (SELECT c.id FROM customers c WHERE c.id IN (SELECT customer_id FROM given)
                       ORDER BY c.id FOR KEY SHARE)
         INSERT INTO customer_scores SELECT g.* FROM given g JOIN held h ON h.id = g.customer_id
         ORDER BY g.customer_id
         ON CONFLICT (customer_id) DO UPDATE SET
             computed_at = excluded.computed_at, engagement = excluded.engagement,
             churn_risk = excluded.churn_risk, conversion_probability = excluded.conversion_probability,
             rfm_recency = excluded.rfm_recency, rfm_frequency = excluded.rfm_frequency,
             rfm_monetary = excluded.rfm_monetary, rfm_segment = excluded.rfm_segment,
             loyalty_tier = excluded.loyalty_tier, why = excluded.why",
    )
    .bind(super::json_rows(rows))
    .execute(connection)
    .await
    .map_err(StoreError::during("store.scores.save"))?;
    Ok(saved.rows_affected())
}

fn score_in(scores: &Scores, now: DateTime<Utc>) -> ScoreIn<'_> {
    ScoreIn {
        customer_id: scores.customer_id,
        computed_at: now,
        engagement: scores.engagement,
        churn_risk: scores.churn_risk,
        conversion_probability: scores.conversion_probability,
        rfm_recency: scores.rfm.map(|cell| cell.recency),
        rfm_frequency: scores.rfm.map(|cell| cell.frequency),
        rfm_monetary: scores.rfm.map(|cell| cell.monetary),
        rfm_segment: scores.rfm.map(Cell::segment),
        loyalty_tier: scores.loyalty_tier,
        why: &scores.why,
    }
}

/// The scores of a customer as they are read.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow, Serialize, ToSchema)]
pub(crate) struct ScoreRecord {
    pub(crate) computed_at: DateTime<Utc>,
    /// 0 to 100.
    pub(crate) engagement: i16,
    /// Probability that no session begins within 30 days, 0 to 1. Absent where too little has happened to say.
    pub(crate) churn_risk: Option<f64>,
    /// Probability of an order within 30 days, 0 to 1. Absent where too little has happened to say.
    pub(crate) conversion_probability: Option<f64>,
    /// 1 to 5, as are the next two. Absent for who never bought, and where there are too few buyers.
    pub(crate) rfm_recency: Option<i16>,
    pub(crate) rfm_frequency: Option<i16>,
    pub(crate) rfm_monetary: Option<i16>,
    pub(crate) rfm_segment: Option<String>,
    /// `visitor`, `lapsed`, `bronze`, `silver`, `gold` or `platinum`.
    pub(crate) loyalty_tier: String,
    /// What each score rests on. As it was written: another release may have had other formulas.
    #[schema(value_type = Why)]
    pub(crate) why: serde_json::Value,
}

/// Finds the scores of a customer.
pub(crate) async fn find(connection: &mut PgConnection, customer: Uuid) -> sqlx::Result<Option<ScoreRecord>> {
    sqlx::query_as("SELECT * FROM customer_scores WHERE customer_id = $1")
        .bind(customer)
        .fetch_optional(connection)
        .await
}

/// Counts the customers among these that have scores.
pub(crate) async fn count_of(connection: &mut PgConnection, customers: &[Uuid]) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM customer_scores WHERE customer_id = ANY($1)")
        .bind(customers)
        .fetch_one(connection)
        .await
        .map_err(StoreError::during("store.scores.count_of"))?;
    Ok(count.unsigned_abs())
}

/// Name of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ModelName {
    Churn,
    Conversion,
    Rfm,
}

impl ModelName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Churn => "churn",
            Self::Conversion => "conversion",
            Self::Rfm => "rfm",
        }
    }
}

/// How well the estimates do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Calibrations {
    pub(crate) churn: Calibration,
    pub(crate) conversion: Calibration,
}

/// Writes what scores are measured by from now on.
pub(crate) async fn save_models(
    connection: &mut PgConnection,
    models: &Models,
    calibrations: &Calibrations,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Models {
        churn,
        conversion,
        rfm,
    } = models;
    let churn = churn.as_ref().map(to_json);
    save_model(
        connection,
        ModelName::Churn,
        churn,
        Some(to_json(&calibrations.churn)),
        now,
    )
    .await?;
    let conversion = conversion.as_ref().map(to_json);
    let calibration = Some(to_json(&calibrations.conversion));
    save_model(connection, ModelName::Conversion, conversion, calibration, now).await?;
    save_model(connection, ModelName::Rfm, rfm.as_ref().map(to_json), None, now).await
}

fn to_json(value: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).expect("a model is always JSON")
}

async fn save_model(
    connection: &mut PgConnection,
    name: ModelName,
    model: Option<serde_json::Value>,
    calibration: Option<serde_json::Value>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO score_models (name, computed_at, model, calibration) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE SET
             computed_at = excluded.computed_at, model = excluded.model, calibration = excluded.calibration",
    )
    .bind(name.as_str())
    .bind(now)
    .bind(model)
    .bind(calibration)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.scores.save_model"))?;
    Ok(())
}

/// A model as it is read. One that another release wrote in another form counts as none until the next run.
struct ModelRow<M> {
    computed_at: DateTime<Utc>,
    model: Option<M>,
    calibration: Option<Calibration>,
}

#[derive(sqlx::FromRow)]
struct RawModel {
    computed_at: DateTime<Utc>,
    model: Option<Json<serde_json::Value>>,
    calibration: Option<Json<serde_json::Value>>,
}

fn understood<T: DeserializeOwned>(value: Option<Json<serde_json::Value>>) -> Option<T> {
    T::deserialize(value?.0).ok()
}

async fn find_model<M: DeserializeOwned>(
    connection: &mut PgConnection,
    name: ModelName,
) -> sqlx::Result<Option<ModelRow<M>>> {
    let found: Option<RawModel> =
        sqlx::query_as("SELECT computed_at, model, calibration FROM score_models WHERE name = $1")
            .bind(name.as_str())
            .fetch_optional(connection)
            .await?;
    Ok(found.map(|raw| ModelRow {
        computed_at: raw.computed_at,
        model: understood(raw.model),
        calibration: understood(raw.calibration),
    }))
}

/// Returns what scores are measured by now.
pub(crate) async fn find_models(connection: &mut PgConnection) -> Result<Models, StoreError> {
    read_models(connection)
        .await
        .map_err(StoreError::during("store.scores.find_models"))
}

async fn read_models(connection: &mut PgConnection) -> sqlx::Result<Models> {
    let churn = find_model(connection, ModelName::Churn).await?;
    let conversion = find_model(connection, ModelName::Conversion).await?;
    let rfm = find_model(connection, ModelName::Rfm).await?;
    Ok(Models {
        churn: churn.and_then(|row| row.model),
        conversion: conversion.and_then(|row| row.model),
        rfm: rfm.and_then(|row| row.model),
    })
}

/// Returns how well the estimates do, and when that was measured; `None` before the first time.
pub(crate) async fn find_calibrations(
    connection: &mut PgConnection,
) -> sqlx::Result<Option<(DateTime<Utc>, Calibrations)>> {
    let churn = find_model::<serde_json::Value>(connection, ModelName::Churn).await?;
    let conversion = find_model::<serde_json::Value>(connection, ModelName::Conversion).await?;
    let (Some(churn), Some(conversion)) = (churn, conversion) else {
        return Ok(None);
    };
    let computed_at = churn.computed_at;
    let both = churn.calibration.zip(conversion.calibration);
    Ok(both.map(|(churn, conversion)| (computed_at, Calibrations { churn, conversion })))
}
