//! Messages about alerts on their way out.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;

/// A message to one channel.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct DeliveryRow {
    pub id: Uuid,
    pub alert_id: Uuid,
    pub channel: String,
    pub event: String,
    pub content: Value,
    pub state: String,
    pub attempts: i32,
    pub created_at: DateTime<Utc>,
    pub next_attempt_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub last_error: Option<String>,
}

/// Puts a message to each channel on its way, in the transaction that changes the alert.
pub async fn enqueue(
    connection: &mut PgConnection,
    alert_id: Uuid,
    event: &str,
    channels: &[&str],
    content: &Value,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = channels.iter().map(|_| Uuid::now_v7()).collect();
    sqlx::query(
        "INSERT INTO alert_deliveries (id, alert_id, channel, event, content, state, created_at, next_attempt_at)
         SELECT message.id, $3, message.channel, $4, $5, 'pending', $6, $6
         FROM unnest($1::uuid[], $2::text[]) AS message (id, channel)",
    )
    .bind(&ids)
    .bind(channels)
    .bind(alert_id)
    .bind(event)
    .bind(content)
    .bind(now)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.deliveries.enqueue"))?;
    Ok(())
}

/// Takes the messages to these channels that are due, oldest first. Until `lease_until` nobody else takes them; should this process die,
/// they are tried again then.
pub async fn claim_due(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    channels: &[&str],
    rows_max: i64,
) -> Result<Vec<DeliveryRow>, StoreError> {
    sqlx::query_as(
        "UPDATE alert_deliveries SET attempts = attempts + 1, next_attempt_at = $2
         WHERE id IN (SELECT id FROM alert_deliveries WHERE state = 'pending' AND next_attempt_at <= $1 AND channel = ANY($4)
                      ORDER BY next_attempt_at, id LIMIT $3 FOR UPDATE SKIP LOCKED)
         RETURNING id, alert_id, channel, event, content, state, attempts, created_at, next_attempt_at, finished_at,
                   last_error",
    )
    .bind(now)
    .bind(lease_until)
    .bind(rows_max)
    .bind(channels)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.deliveries.claim_due"))
}

/// Notes that a message arrived.
pub async fn mark_delivered(
    connection: &mut PgConnection,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    finish(connection, id, "delivered", None, now).await
}

/// Gives a message up.
pub async fn mark_failed(
    connection: &mut PgConnection,
    id: Uuid,
    error: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    finish(connection, id, "failed", Some(error), now).await
}

async fn finish(
    connection: &mut PgConnection,
    id: Uuid,
    state: &str,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE alert_deliveries SET state = $2, last_error = coalesce($3, last_error), finished_at = $4
         WHERE id = $1 AND state = 'pending'",
    )
    .bind(id)
    .bind(state)
    .bind(error)
    .bind(now)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.deliveries.finish"))?;
    Ok(())
}

/// Notes why an attempt failed and when the next one is due.
pub async fn mark_for_retry(
    connection: &mut PgConnection,
    id: Uuid,
    error: &str,
    next_attempt_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE alert_deliveries SET last_error = $2, next_attempt_at = $3 WHERE id = $1 AND state = 'pending'")
        .bind(id)
        .bind(error)
        .bind(next_attempt_at)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.deliveries.mark_for_retry"))?;
    Ok(())
}

/// Gives up messages from before `before` to channels other than these, and returns how many there were.
pub async fn abandon(
    connection: &mut PgConnection,
    channels: &[&str],
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE alert_deliveries SET state = 'failed', finished_at = $3, last_error = 'the channel is not set up any more'
         WHERE state = 'pending' AND created_at < $2 AND channel <> ALL($1)",
    )
    .bind(channels)
    .bind(before)
    .bind(now)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.deliveries.abandon"))?;
    Ok(done.rows_affected())
}

/// Returns the messages about an alert, oldest first.
pub async fn of_alert(connection: &mut PgConnection, alert_id: Uuid) -> Result<Vec<DeliveryRow>, StoreError> {
    sqlx::query_as(
        "SELECT id, alert_id, channel, event, content, state, attempts, created_at, next_attempt_at, finished_at,
                last_error
         FROM alert_deliveries WHERE alert_id = $1 ORDER BY created_at, id",
    )
    .bind(alert_id)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.deliveries.of_alert"))
}

/// A channel whose messages were given up.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct DeadEnd {
    pub channel: String,
    pub messages: i64,
    /// Of the newest one.
    pub last_error: Option<String>,
}

/// Returns the channels with messages given up since `since`, unless a later one got through.
pub async fn dead_ends(
    connection: &mut PgConnection,
    since: DateTime<Utc>,
) -> Result<Vec<DeadEnd>, StoreError> {
    sqlx::query_as(
        "SELECT failed.channel, count(*) AS messages,
                (array_agg(failed.last_error ORDER BY failed.finished_at DESC))[1] AS last_error
         FROM alert_deliveries failed
         WHERE failed.state = 'failed' AND failed.finished_at >= $1
           AND NOT EXISTS (SELECT 1 FROM alert_deliveries later
                           WHERE later.channel = failed.channel AND later.state = 'delivered'
                             AND later.finished_at > failed.finished_at)
         GROUP BY failed.channel ORDER BY failed.channel",
    )
    .bind(since)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.deliveries.dead_ends"))
}
