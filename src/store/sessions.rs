//! Sessions as the writer reads and writes them. What the API reads is in `sessions_read`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{StoreError, json_rows};
use crate::session::Session;

/// Returns the newest session of each device that has one.
pub async fn last_of_devices(
    connection: &mut PgConnection,
    device_ids: &[&str],
) -> Result<Vec<Session>, StoreError> {
    sqlx::query_as(
        "SELECT s.* FROM unnest($1::text[]) AS d (id) CROSS JOIN LATERAL (
             SELECT * FROM sessions WHERE device_id = d.id ORDER BY started_at DESC, life DESC LIMIT 1
         ) s",
    )
    .bind(device_ids)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.sessions.last_of_devices"))
}

/// A client's session id that a stored session has kept.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct KeptId {
    pub device_id: String,
    pub session_id: String,
    pub id: Uuid,
}

/// Returns which of the clients' session ids are kept by a stored session of one of these devices.
pub async fn kept_ids(
    connection: &mut PgConnection,
    device_ids: &[&str],
    session_ids: &[&str],
) -> Result<Vec<KeptId>, StoreError> {
    sqlx::query_as(
        "SELECT device_id, session_id, id FROM sessions
         WHERE session_id = ANY($2) AND device_id = ANY($1)",
    )
    .bind(device_ids)
    .bind(session_ids)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.sessions.kept_ids"))
}

/// Returns a device's sessions that started at or after `from`, oldest first.
pub async fn find_by_device(
    connection: &mut PgConnection,
    device_id: &str,
    from: DateTime<Utc>,
) -> Result<Vec<Session>, StoreError> {
    sqlx::query_as(
        "SELECT * FROM sessions WHERE device_id = $1 AND started_at >= $2 ORDER BY started_at, life",
    )
    .bind(device_id)
    .bind(from)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.sessions.find_by_device"))
}

/// Returns the newest session of a device that started before `before`.
pub async fn last_before(
    connection: &mut PgConnection,
    device_id: &str,
    before: DateTime<Utc>,
) -> Result<Option<Session>, StoreError> {
    sqlx::query_as(
        "SELECT * FROM sessions WHERE device_id = $1 AND started_at < $2
         ORDER BY started_at DESC, life DESC LIMIT 1",
    )
    .bind(device_id)
    .bind(before)
    .fetch_optional(connection)
    .await
    .map_err(StoreError::during("store.sessions.last_before"))
}

/// Returns the session ids of a device's sessions that started at or before `until`.
pub async fn ids_up_to(
    connection: &mut PgConnection,
    device_id: &str,
    until: DateTime<Utc>,
) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar("SELECT session_id FROM sessions WHERE device_id = $1 AND started_at <= $2")
        .bind(device_id)
        .bind(until)
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.sessions.ids_up_to"))
}

/// Writes the sessions, replacing those of the same id.
pub async fn save(connection: &mut PgConnection, sessions: &[Session]) -> Result<(), StoreError> {
    if sessions.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO sessions SELECT * FROM json_populate_recordset(NULL::sessions, $1::text::json)
         ON CONFLICT (id) DO UPDATE SET
             session_id = excluded.session_id, client_session_id = excluded.client_session_id,
             device_id = excluded.device_id, life = excluded.life,
             customer_id = excluded.customer_id, user_id = excluded.user_id,
             started_at = excluded.started_at, ended_at = excluded.ended_at,
             duration_seconds = excluded.duration_seconds, event_count = excluded.event_count,
             page_views = excluded.page_views, clicks = excluded.clicks,
             rage_clicks = excluded.rage_clicks, dead_clicks = excluded.dead_clicks,
             form_errors = excluded.form_errors, errors = excluded.errors,
             searches = excluded.searches, event_counts = excluded.event_counts,
             pages = excluded.pages, entry_page = excluded.entry_page, exit_page = excluded.exit_page,
             source = excluded.source, medium = excluded.medium, campaign = excluded.campaign,
             channel = excluded.channel, referrer_host = excluded.referrer_host,
             device_type = excluded.device_type, browser = excluded.browser, os = excluded.os,
             country = excluded.country, converted = excluded.converted,
             conversion_value = excluded.conversion_value, currency = excluded.currency,
             order_ids = excluded.order_ids, cart_value = excluded.cart_value,
             abandoned = excluded.abandoned, drop_off_page = excluded.drop_off_page,
             drop_off_reason = excluded.drop_off_reason,
             mean_scroll_depth = excluded.mean_scroll_depth,
             visible_seconds = excluded.visible_seconds, engagement = excluded.engagement,
             engaged = excluded.engaged, state = excluded.state",
    )
    .bind(json_rows(sessions))
    .execute(connection)
    .await
    .map_err(StoreError::during("store.sessions.save"))?;
    Ok(())
}

/// Removes the sessions with these ids.
pub async fn delete(connection: &mut PgConnection, ids: &[Uuid]) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query("DELETE FROM sessions WHERE id = ANY($1)")
        .bind(ids)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.sessions.delete"))?;
    Ok(())
}

/// Gives all sessions of a device's life to a person.
pub async fn assign_life(
    connection: &mut PgConnection,
    device_id: &str,
    life: i32,
    user_id: &str,
    customer_id: Uuid,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE sessions SET user_id = $3, customer_id = $4
         WHERE device_id = $1 AND life = $2 AND customer_id <> $4",
    )
    .bind(device_id)
    .bind(life)
    .bind(user_id)
    .bind(customer_id)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.sessions.assign_life"))?;
    Ok(())
}

/// Removes up to `limit` sessions that ended before `before`; returns whose each of them was.
pub async fn delete_ended_before(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    sqlx::query_scalar(
        "DELETE FROM sessions WHERE id IN (
             SELECT id FROM sessions WHERE started_at < $1 AND ended_at < $1 ORDER BY started_at LIMIT $2)
         RETURNING customer_id",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.sessions.delete_ended_before"))
}
