//! The append-only merge log.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;

/// A claim of an event that a device belongs to a user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    pub device_id: String,
    pub user_id: String,
    pub event_id: String,
}

/// Appends a `link` for each claim that the log does not hold as in force already.
pub async fn append_links(
    connection: &mut PgConnection,
    claims: &[Claim],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if claims.is_empty() {
        return Ok(());
    }
    let devices: Vec<_> = claims.iter().map(|claim| claim.device_id.as_str()).collect();
    let users: Vec<_> = claims.iter().map(|claim| claim.user_id.as_str()).collect();
    let events: Vec<_> = claims.iter().map(|claim| claim.event_id.as_str()).collect();
    sqlx::query(
        "INSERT INTO identity_log (recorded_at, device_id, user_id, action, event_id, reason)
         SELECT $4, c.device_id, c.user_id, 'link', c.event_id, 'event'
         FROM unnest($1::text[], $2::text[], $3::text[]) AS c (device_id, user_id, event_id)
         WHERE (SELECT l.action FROM identity_log l
                WHERE l.device_id = c.device_id AND l.user_id = c.user_id
                ORDER BY l.id DESC LIMIT 1) IS DISTINCT FROM 'link'",
    )
    .bind(devices)
    .bind(users)
    .bind(events)
    .bind(now)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.identity.append_links"))?;
    Ok(())
}

/// A pair that an unmerge took apart, and when.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Unlink {
    pub device_id: String,
    pub user_id: String,
    pub recorded_at: DateTime<Utc>,
}

/// Returns the newest unlink of each pair of these devices.
pub async fn unlinks(connection: &mut PgConnection, device_ids: &[&str]) -> Result<Vec<Unlink>, StoreError> {
    sqlx::query_as(
        "SELECT device_id, user_id, max(recorded_at) AS recorded_at FROM identity_log
         WHERE device_id = ANY($1) AND action = 'unlink' GROUP BY device_id, user_id",
    )
    .bind(device_ids)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.identity.unlinks"))
}

/// Appends an `unlink`: claims of this pair received up to `now` no longer count.
pub async fn append_unlink(
    connection: &mut PgConnection,
    device_id: &str,
    user_id: &str,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO identity_log (recorded_at, device_id, user_id, action, reason)
         VALUES ($1, $2, $3, 'unlink', $4)",
    )
    .bind(now)
    .bind(device_id)
    .bind(user_id)
    .bind(reason)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.identity.append_unlink"))?;
    Ok(())
}
