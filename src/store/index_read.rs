//! What the journey index is made of: sessions, and the part of their events that it keeps.

use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use rust_decimal::Decimal;
use sqlx::{PgConnection, postgres::PgRow};
use uuid::Uuid;

use super::{
    StoreError,
    person::{in_span, spans_of_sessions},
};

/// The part of a session that the index keeps.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct IndexedSession {
    pub(crate) id: Uuid,
    pub(crate) device_id: String,
    pub(crate) customer_id: Uuid,
    pub(crate) first_seen: DateTime<Utc>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) ended_at: DateTime<Utc>,
    pub(crate) device_type: String,
    pub(crate) browser: Option<String>,
    pub(crate) os: Option<String>,
    pub(crate) country: Option<String>,
    pub(crate) channel: String,
    pub(crate) source: String,
    pub(crate) medium: Option<String>,
    pub(crate) campaign: Option<String>,
    pub(crate) referrer_host: Option<String>,
    pub(crate) converted: bool,
    pub(crate) abandoned: bool,
    pub(crate) engaged: bool,
    pub(crate) rage_clicks: i32,
    pub(crate) dead_clicks: i32,
    pub(crate) form_errors: i32,
    pub(crate) errors: i32,
    pub(crate) searches: i32,
    pub(crate) conversion_value: Decimal,
    pub(crate) currency: Option<String>,
}

macro_rules! session_columns {
    () => {
        "s.id, s.device_id, s.customer_id, c.first_seen, s.started_at, s.ended_at, s.device_type, s.browser, s.os, \
         s.country, s.channel, s.source, s.medium, s.campaign, s.referrer_host, s.converted, s.abandoned, s.engaged, \
         s.rage_clicks, s.dead_clicks, s.form_errors, s.errors, s.searches, s.conversion_value, s.currency"
    };
}

/// The columns of an event in the order that [`event_of`] reads them.
macro_rules! event_columns {
    () => {
        "e.timestamp, e.event_type, e.page_host, e.page_path, e.page_load_time_ms, e.search_results_count"
    };
}

/// The part of an event that the index keeps. Borrows from the row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexedEvent<'r> {
    pub(crate) timestamp: DateTime<Utc>,
    pub(crate) event_type: &'r str,
    pub(crate) page_host: Option<&'r str>,
    pub(crate) page_path: Option<&'r str>,
    pub(crate) page_load_time_ms: Option<i32>,
    pub(crate) search_results_count: Option<i32>,
}

fn event_of(row: &PgRow, from: usize) -> sqlx::Result<IndexedEvent<'_>> {
    use sqlx::Row as _;
    Ok(IndexedEvent {
        timestamp: row.try_get(from)?,
        event_type: row.try_get(from + 1)?,
        page_host: row.try_get(from + 2)?,
        page_path: row.try_get(from + 3)?,
        page_load_time_ms: row.try_get(from + 4)?,
        search_results_count: row.try_get(from + 5)?,
    })
}

/// An event of a session that was asked for.
pub(crate) struct SessionEvent(PgRow);

impl SessionEvent {
    pub(crate) fn session(&self) -> sqlx::Result<Uuid> {
        use sqlx::Row as _;
        self.0.try_get(0)
    }

    pub(crate) fn event(&self) -> sqlx::Result<IndexedEvent<'_>> {
        event_of(&self.0, 1)
    }
}

/// An event among all.
pub(crate) struct AnyEvent(PgRow);

impl AnyEvent {
    pub(crate) fn device_id(&self) -> sqlx::Result<&str> {
        use sqlx::Row as _;
        self.0.try_get(0)
    }

    /// The client's counter.
    pub(crate) fn seq(&self) -> sqlx::Result<Option<i64>> {
        use sqlx::Row as _;
        self.0.try_get(1)
    }

    pub(crate) fn event(&self) -> sqlx::Result<IndexedEvent<'_>> {
        event_of(&self.0, 2)
    }
}

/// Returns the sessions of customers that ended at or after each one's `since`, in the order they began.
pub(crate) async fn sessions_of(
    connection: &mut PgConnection,
    customers: &[Uuid],
    since: &[DateTime<Utc>],
) -> Result<Vec<IndexedSession>, StoreError> {
    sqlx::query_as(concat!(
        "SELECT ",
        session_columns!(),
        " FROM unnest($1::uuid[], $2::timestamptz[]) AS w(customer_id, since)
          JOIN sessions s ON s.customer_id = w.customer_id AND s.ended_at >= w.since
          JOIN customers c ON c.id = s.customer_id
          ORDER BY s.started_at, s.id"
    ))
    .bind(customers)
    .bind(since)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.index.sessions_of"))
}

/// Returns the events of sessions at or after `not_before`, those of one session in their order.
pub(crate) async fn events_of(
    connection: &mut PgConnection,
    sessions: &[Uuid],
    not_before: DateTime<Utc>,
) -> Result<Vec<SessionEvent>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT span.session, ",
        event_columns!(),
        " FROM ",
        spans_of_sessions!(),
        " span JOIN events e ON ",
        in_span!("e", "timestamp"),
        " WHERE e.timestamp >= $2
          ORDER BY span.session, e.timestamp, e.seq NULLS FIRST, e.event_id COLLATE \"C\""
    ))
    .bind(sessions)
    .bind(not_before)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.index.events_of"))?;
    Ok(rows.into_iter().map(SessionEvent).collect())
}

/// Streams the sessions that ended at or after `from`, in no order.
pub(crate) fn all_sessions(
    connection: &mut PgConnection,
    from: DateTime<Utc>,
) -> BoxStream<'_, sqlx::Result<IndexedSession>> {
    sqlx::query_as(concat!(
        "SELECT ",
        session_columns!(),
        " FROM sessions s JOIN customers c ON c.id = s.customer_id WHERE s.ended_at >= $1"
    ))
    .bind(from)
    .fetch(connection)
}

/// Streams all events from `from` to before `to`, in no order.
pub(crate) fn all_events(
    connection: &mut PgConnection,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> BoxStream<'_, sqlx::Result<AnyEvent>> {
    use futures_util::TryStreamExt as _;
    let rows = sqlx::query(concat!(
        "SELECT e.device_id, e.seq, ",
        event_columns!(),
        " FROM events e WHERE e.timestamp >= $1 AND e.timestamp < $2"
    ))
    .bind(from)
    .bind(to)
    .fetch(connection);
    Box::pin(rows.map_ok(AnyEvent))
}

/// Returns the times of the oldest event at or after `from` and of the newest; `None` without any.
pub(crate) async fn extent(
    connection: &mut PgConnection,
    from: DateTime<Utc>,
) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, StoreError> {
    let found: (Option<DateTime<Utc>>, Option<DateTime<Utc>>) =
        sqlx::query_as("SELECT min(timestamp), max(timestamp) FROM events WHERE timestamp >= $1")
            .bind(from)
            .fetch_one(connection)
            .await
            .map_err(StoreError::during("store.index.extent"))?;
    Ok(found.0.zip(found.1))
}
