//! What became of the events that arrived, by hour of receipt, and examples of what was refused.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::metrics_read::Period;

/// A sum of the ledger in one bucket.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct LedgerCell {
    /// Index into the bucket starts that were asked for.
    pub(crate) bucket: i32,
    pub(crate) key_id: i32,
    pub(crate) outcome: String,
    pub(crate) reason: String,
    pub(crate) count: i64,
}

/// Sums the ledger by bucket, key, outcome and reason over the hours that start in `period`.
pub(crate) async fn sums(
    connection: &mut PgConnection,
    period: Period,
    starts: &[DateTime<Utc>],
    key_id: Option<i32>,
) -> sqlx::Result<Vec<LedgerCell>> {
    sqlx::query_as(
        "SELECT width_bucket(l.hour, $3) - 1 AS bucket, l.key_id, l.outcome, l.reason, \
           sum(l.count)::bigint AS count \
         FROM ingest_ledger l \
         WHERE l.hour >= $1 AND l.hour < $2 AND ($4::integer IS NULL OR l.key_id = $4) \
         GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
    )
    .bind(period.from)
    .bind(period.to)
    .bind(starts)
    .bind(key_id)
    .fetch_all(connection)
    .await
}

/// A redacted example of a refused event.
#[derive(Clone, Debug, sqlx::FromRow, Serialize, ToSchema)]
pub(crate) struct DropSampleRecord {
    pub(crate) id: i64,
    pub(crate) received_at: DateTime<Utc>,
    pub(crate) key_id: i32,
    pub(crate) reason: String,
    pub(crate) field: Option<String>,
    pub(crate) detail: String,
    pub(crate) sample: Option<Value>,
}

/// Lists the newest examples of refused events.
pub(crate) async fn list_samples(
    connection: &mut PgConnection,
    key_id: Option<i32>,
    rows_max: i64,
) -> sqlx::Result<Vec<DropSampleRecord>> {
    sqlx::query_as(
        "SELECT d.id, d.received_at, d.key_id, d.reason, d.field, d.detail, d.sample FROM drop_samples d \
         WHERE $1::integer IS NULL OR d.key_id = $1 ORDER BY d.id DESC LIMIT $2",
    )
    .bind(key_id)
    .bind(rows_max)
    .fetch_all(connection)
    .await
}
