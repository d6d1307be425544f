//! What is happening now: questions about the last few minutes, all answered through the index of events by time.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

/// A page and who is on it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize, ToSchema)]
pub(crate) struct LivePage {
    /// Host and path.
    pub(crate) page: String,
    /// Devices that viewed it.
    pub(crate) devices: i64,
    pub(crate) views: i64,
}

/// An event that just happened, without what names the person.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize, ToSchema)]
pub(crate) struct LiveEvent {
    pub(crate) timestamp: DateTime<Utc>,
    pub(crate) event_type: String,
    pub(crate) page_path: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub(crate) country: Option<String>,
    pub(crate) device_type: String,
    /// Whom the device belongs to now.
    pub(crate) customer_id: Option<Uuid>,
}

/// Counts the people whose devices did something after `since`, up to `now`.
pub(crate) async fn count_active(
    connection: &mut PgConnection,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(DISTINCT coalesce(l.customer_id::text, d.device_id)) \
         FROM (SELECT DISTINCT e.device_id FROM events e WHERE e.timestamp > $1 AND e.timestamp <= $2) d \
         LEFT JOIN LATERAL (SELECT m.customer_id FROM device_lives m WHERE m.device_id = d.device_id \
           ORDER BY m.life DESC LIMIT 1) l ON true",
    )
    .bind(since)
    .bind(now)
    .fetch_one(connection)
    .await
}

/// Counts events by whole minutes before `now`: minute 0 is the last one. Minutes without events are left out.
pub(crate) async fn count_by_minute(
    connection: &mut PgConnection,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(i32, i64)>> {
    sqlx::query_as(
        "SELECT floor(extract(epoch FROM $2 - e.timestamp) / 60)::integer AS minute, count(*) FROM events e \
         WHERE e.timestamp > $1 AND e.timestamp <= $2 GROUP BY 1 ORDER BY 1",
    )
    .bind(since)
    .bind(now)
    .fetch_all(connection)
    .await
}

/// Lists the pages viewed by most devices.
pub(crate) async fn list_pages(
    connection: &mut PgConnection,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    rows_max: i64,
) -> sqlx::Result<Vec<LivePage>> {
    sqlx::query_as(
        "SELECT coalesce(e.page_host, '') || e.page_path AS page, count(DISTINCT e.device_id) AS devices, \
           count(*) AS views \
         FROM events e WHERE e.timestamp > $1 AND e.timestamp <= $2 AND e.event_type = 'page_view' \
           AND e.page_path IS NOT NULL \
         GROUP BY 1 ORDER BY devices DESC, views DESC, 1 LIMIT $3",
    )
    .bind(since)
    .bind(now)
    .bind(rows_max)
    .fetch_all(connection)
    .await
}

/// Lists the newest events.
pub(crate) async fn list_newest(
    connection: &mut PgConnection,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    rows_max: i64,
) -> sqlx::Result<Vec<LiveEvent>> {
    sqlx::query_as(
        "SELECT e.timestamp, e.event_type, e.page_path, e.country, e.device_type, l.customer_id \
         FROM (SELECT * FROM events WHERE timestamp > $1 AND timestamp <= $2 \
           ORDER BY timestamp DESC, event_id COLLATE \"C\" DESC LIMIT $3) e \
         LEFT JOIN LATERAL (SELECT m.customer_id FROM device_lives m WHERE m.device_id = e.device_id \
           ORDER BY m.life DESC LIMIT 1) l ON true \
         ORDER BY e.timestamp DESC, e.event_id COLLATE \"C\" DESC",
    )
    .bind(since)
    .bind(now)
    .bind(rows_max)
    .fetch_all(connection)
    .await
}
