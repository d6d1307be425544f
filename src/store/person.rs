//! Which events and facts belong to a person or a session: the one place that knows.
//!
//! A device's history is cut into lives, and each life belongs to one customer. A life starts at an event,
//! that is at a point of the order (timestamp, seq with absent first, event id), and lasts up to the start of
//! the next one. A *span* is a life, possibly narrowed to the times of one session: sessions of a device
//! touch at an equal timestamp only where a life ends, so life and times together are exact.
//!
//! Spans are a small set; what lies in them is read by a range scan of an index that starts with the
//! device (`events_device_idx`, the primary key of `attribute_facts`).

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// The lives of customer `$1` as a relation of spans.
macro_rules! spans_of_customer {
    () => {
        "(SELECT l.device_id, l.started_at AS low, coalesce(n.started_at, 'infinity') AS high, \
           l.started_at AS life_start, l.start_seq, l.start_event, \
           coalesce(n.started_at, 'infinity') AS life_end, n.start_seq AS end_seq, n.start_event AS end_event \
         FROM device_lives l \
         LEFT JOIN LATERAL (SELECT m.started_at, m.start_seq, m.start_event FROM device_lives m \
           WHERE m.device_id = l.device_id AND m.life > l.life ORDER BY m.life LIMIT 1) n ON true \
         WHERE l.customer_id = $1)"
    };
}

/// The sessions with ids `$1` (an array) as a relation of spans, with their ids in `session`.
macro_rules! spans_of_sessions {
    () => {
        "(SELECT s.id AS session, l.device_id, s.started_at AS low, s.ended_at AS high, \
           l.started_at AS life_start, l.start_seq, l.start_event, \
           coalesce(n.started_at, 'infinity') AS life_end, n.start_seq AS end_seq, n.start_event AS end_event \
         FROM sessions s \
         JOIN device_lives l ON l.device_id = s.device_id AND l.life = s.life \
         LEFT JOIN LATERAL (SELECT m.started_at, m.start_seq, m.start_event FROM device_lives m \
           WHERE m.device_id = l.device_id AND m.life > l.life ORDER BY m.life LIMIT 1) n ON true \
         WHERE s.id = ANY($1))"
    };
}

/// The condition under which the row `$row`, whose time is in the column `$time`, lies in `span`.
///
/// Ids are compared by bytes, as the derivation of sessions does, whatever the database's own collation.
macro_rules! in_span {
    ($row:literal, $time:literal) => {
        concat!(
            $row,
            ".device_id = span.device_id AND ",
            $row,
            ".",
            $time,
            " BETWEEN span.low AND span.high AND (",
            $row,
            ".",
            $time,
            " > span.life_start OR (coalesce(",
            $row,
            ".seq, -9223372036854775808), ",
            $row,
            ".event_id COLLATE \"C\") >= \
             (coalesce(span.start_seq, -9223372036854775808), span.start_event COLLATE \"C\")) AND (",
            $row,
            ".",
            $time,
            " < span.life_end OR (coalesce(",
            $row,
            ".seq, -9223372036854775808), ",
            $row,
            ".event_id COLLATE \"C\") < \
             (coalesce(span.end_seq, -9223372036854775808), span.end_event COLLATE \"C\"))"
        )
    };
}

pub(crate) use {in_span, spans_of_customer, spans_of_sessions};

/// Finds the customer that `reference` names: a customer id, else a user id, else a device id.
///
/// A device stands for the person of its newest life.
pub(crate) async fn find_customer_id(
    connection: &mut PgConnection,
    reference: &str,
) -> sqlx::Result<Option<Uuid>> {
    if let Ok(id) = reference.parse::<Uuid>() {
        let found = sqlx::query_scalar("SELECT id FROM customers WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    let by_user = sqlx::query_scalar("SELECT id FROM customers WHERE user_id = $1 ORDER BY id LIMIT 1")
        .bind(reference)
        .fetch_optional(&mut *connection)
        .await?;
    if by_user.is_some() {
        return Ok(by_user);
    }
    sqlx::query_scalar(
        "SELECT c.id FROM (SELECT customer_id FROM device_lives WHERE device_id = $1 ORDER BY life DESC LIMIT 1) l \
         JOIN customers c ON c.id = l.customer_id",
    )
    .bind(reference)
    .fetch_optional(connection)
    .await
}

/// A device that belongs, or once belonged, to a person for the time of a life.
#[derive(Clone, Debug, sqlx::FromRow, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct DeviceRecord {
    pub(crate) device_id: String,
    /// Which life of the device is meant, counted from 0.
    pub(crate) life: i32,
    pub(crate) started_at: DateTime<Utc>,
    /// Start of the device's next life; absent while this one lasts.
    pub(crate) ended_at: Option<DateTime<Utc>>,
}

/// Lists the lives that make up a customer, oldest first.
pub(crate) async fn list_devices(
    connection: &mut PgConnection,
    customer: Uuid,
) -> sqlx::Result<Vec<DeviceRecord>> {
    sqlx::query_as(
        "SELECT l.device_id, l.life, l.started_at, \
           (SELECT min(m.started_at) FROM device_lives m WHERE m.device_id = l.device_id AND m.life > l.life) AS ended_at \
         FROM device_lives l WHERE l.customer_id = $1 ORDER BY l.started_at, l.device_id, l.life",
    )
    .bind(customer)
    .fetch_all(connection)
    .await
}

/// One row of the merge log that concerns a person.
#[derive(Clone, Debug, sqlx::FromRow, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct IdentityRecord {
    pub(crate) id: i64,
    /// Time of the event that identified the device, else of the log entry itself.
    pub(crate) at: DateTime<Utc>,
    pub(crate) recorded_at: DateTime<Utc>,
    pub(crate) device_id: String,
    pub(crate) user_id: String,
    /// `link` or `unlink`.
    pub(crate) action: String,
    pub(crate) event_id: Option<String>,
    pub(crate) reason: String,
}

/// Lists what the merge log says about the devices and the user of a customer, in order of time.
pub(crate) async fn list_identity(
    connection: &mut PgConnection,
    customer: Uuid,
) -> sqlx::Result<Vec<IdentityRecord>> {
    sqlx::query_as(
        "SELECT i.id, coalesce(e.timestamp, i.recorded_at) AS at, i.recorded_at, i.device_id, i.user_id, \
           i.action, i.event_id, i.reason \
         FROM (SELECT l.* FROM identity_log l \
             WHERE l.device_id IN (SELECT device_id FROM device_lives WHERE customer_id = $1) \
           UNION SELECT l.* FROM identity_log l WHERE l.user_id = (SELECT user_id FROM customers WHERE id = $1)) i \
         LEFT JOIN LATERAL (SELECT timestamp FROM events \
           WHERE i.action = 'link' AND device_id = i.device_id AND event_id = i.event_id LIMIT 1) e ON true \
         ORDER BY at, i.id",
    )
    .bind(customer)
    .fetch_all(connection)
    .await
}
