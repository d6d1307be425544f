//! Attribute facts: what was said about a person, and when.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::{StoreError, json_rows};

/// One statement about the person behind a device.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Fact {
    pub device_id: String,
    pub name: String,
    pub occurred_at: DateTime<Utc>,
    pub seq: Option<i64>,
    pub event_id: String,
    pub user_id: Option<String>,
    /// One of `demographic behavioural transactional acquisition engagement device custom`.
    pub category: &'static str,
    /// JSON null takes the attribute away.
    pub value: Value,
    pub reason: String,
}

/// Appends the facts that are not there yet.
pub async fn append(connection: &mut PgConnection, facts: &[Fact]) -> Result<(), StoreError> {
    if facts.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO attribute_facts
         SELECT * FROM json_populate_recordset(NULL::attribute_facts, $1::text::json) ON CONFLICT DO NOTHING",
    )
    .bind(json_rows(facts))
    .execute(connection)
    .await
    .map_err(StoreError::during("store.attributes.append"))?;
    Ok(())
}

/// Removes up to `limit` facts older than `before` that a newer one of the same device, life and name has superseded.
pub async fn prune_superseded(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM attribute_facts WHERE ctid IN (
             SELECT f.ctid FROM attribute_facts f
             WHERE f.occurred_at < $1 AND EXISTS (
                 SELECT 1 FROM attribute_facts n
                 WHERE n.device_id = f.device_id AND n.name = f.name AND n.occurred_at > f.occurred_at
                   AND NOT EXISTS (
                       SELECT 1 FROM device_lives l
                       WHERE l.device_id = f.device_id
                         AND (l.started_at, l.start_event) > (f.occurred_at, f.event_id)
                         AND l.started_at <= n.occurred_at))
             LIMIT $2)",
    )
    .bind(before)
    .bind(limit)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.attributes.prune_superseded"))?;
    Ok(done.rows_affected())
}
