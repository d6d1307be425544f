//! Stretches of a device's history: what of it belongs to one person, and how it is taken out.
//!
//! The order of a device's events is (timestamp, counter with absent first, id), and a stretch is half open
//! in it. Each statement is about one device with its bounds as values, since TimescaleDB can then find
//! the compressed rows by their least and greatest device.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, PgConnection, types::Json};
use uuid::Uuid;

use super::StoreError;
use crate::session::OrderKey;

/// 1900-01-01 and the end of 9999: no event is accepted outside of these, and PostgreSQL has both.
pub const EARLIEST: DateTime<Utc> = DateTime::from_timestamp(-2_208_988_800, 0).expect("a time in range");
/// See [`EARLIEST`].
pub const LATEST: DateTime<Utc> = DateTime::from_timestamp(253_402_300_799, 0).expect("a time in range");

/// A stretch of one device's events: from one place, included, up to another, not included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub device_id: String,
    pub from: OrderKey,
    pub before: OrderKey,
}

impl Span {
    /// Everything a device ever sent.
    pub fn whole(device_id: &str) -> Self {
        Self::of_times(device_id, EARLIEST, LATEST)
    }

    /// What a device sent from `since` to `until`, both included.
    pub fn of_times(device_id: &str, since: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        let edge = |timestamp| OrderKey {
            timestamp,
            seq: None,
            event_id: String::new(),
        };
        let after = until + chrono::TimeDelta::microseconds(1);
        Self {
            device_id: device_id.to_owned(),
            from: edge(since),
            before: edge(after),
        }
    }

    /// Whether an event of this device lies in the stretch.
    pub fn contains(&self, device_id: &str, key: &OrderKey) -> bool {
        self.device_id == device_id && self.from <= *key && *key < self.before
    }

    /// The part up to `until`, included.
    pub fn up_to(mut self, until: DateTime<Utc>) -> Self {
        let cut = Self::of_times(&self.device_id, EARLIEST, until).before;
        self.before = self.before.min(cut);
        self
    }
}

/// The condition for a table whose time column is named; parameters 1 to 7 are those of [`bind_span`].
macro_rules! within_span {
    ($time:literal) => {
        concat!(
            " device_id = $1 AND ",
            $time,
            " >= $2 AND ",
            $time,
            " <= $5",
            " AND (",
            $time,
            ", coalesce(seq, -9223372036854775808), event_id) >= ($2, $3, $4)",
            " AND (",
            $time,
            ", coalesce(seq, -9223372036854775808), event_id) < ($5, $6, $7) "
        )
    };
}

macro_rules! bind_span {
    ($query:expr, $span:expr) => {
        $query
            .bind(&$span.device_id)
            .bind($span.from.timestamp)
            .bind($span.from.seq.unwrap_or(i64::MIN))
            .bind(&$span.from.event_id)
            .bind($span.before.timestamp)
            .bind($span.before.seq.unwrap_or(i64::MIN))
            .bind(&$span.before.event_id)
    };
}

/// An event's id and time.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Trace {
    pub event_id: String,
    pub timestamp: DateTime<Utc>,
}

/// Deletes the events of a stretch and says which they were.
pub async fn delete_events(connection: &mut PgConnection, span: &Span) -> Result<Vec<Trace>, StoreError> {
    let step = "store.span.delete_events";
    // Read first: a deletion from compressed chunks is quickest when it need not return rows.
    let select = concat!(
        "SELECT event_id, timestamp FROM events WHERE",
        within_span!("timestamp")
    );
    let found = bind_span!(sqlx::query_as(select), span)
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::during(step))?;
    let delete = concat!("DELETE FROM events WHERE", within_span!("timestamp"));
    bind_span!(sqlx::query(delete), span)
        .execute(connection)
        .await
        .map_err(StoreError::during(step))?;
    Ok(found)
}

/// Deletes the events of a device that name a user, up to `until`, and says which they were.
pub async fn delete_events_naming(
    connection: &mut PgConnection,
    device_id: &str,
    user_id: &str,
    until: DateTime<Utc>,
) -> Result<Vec<Trace>, StoreError> {
    sqlx::query_as(
        "DELETE FROM events WHERE device_id = $1 AND user_id = $2 AND timestamp <= $3
         RETURNING event_id, timestamp",
    )
    .bind(device_id)
    .bind(user_id)
    .bind(until)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.span.delete_events_naming"))
}

/// Forgets that events were stored.
pub async fn delete_keys(connection: &mut PgConnection, keys: &[Uuid]) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM event_keys WHERE event_key = ANY($1)")
        .bind(keys)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.span.delete_keys"))?;
    Ok(done.rows_affected())
}

/// Deletes the attribute facts of a stretch.
pub async fn delete_facts(connection: &mut PgConnection, span: &Span) -> Result<u64, StoreError> {
    let delete = concat!("DELETE FROM attribute_facts WHERE", within_span!("occurred_at"));
    let done = bind_span!(sqlx::query(delete), span)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.span.delete_facts"))?;
    Ok(done.rows_affected())
}

/// Deletes the attribute facts of a device that name a user, up to `until`.
pub async fn delete_facts_naming(
    connection: &mut PgConnection,
    device_id: &str,
    user_id: &str,
    until: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM attribute_facts WHERE device_id = $1 AND user_id = $2 AND occurred_at <= $3",
    )
    .bind(device_id)
    .bind(user_id)
    .bind(until)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.span.delete_facts_naming"))?;
    Ok(done.rows_affected())
}

/// Returns the time of the newest event in the stretches of a device.
pub async fn newest(connection: &mut PgConnection, span: &Span) -> Result<Option<DateTime<Utc>>, StoreError> {
    let select = concat!(
        "SELECT max(timestamp) FROM events WHERE",
        within_span!("timestamp")
    );
    bind_span!(sqlx::query_scalar(select), span)
        .fetch_one(connection)
        .await
        .map_err(StoreError::during("store.span.newest"))
}

/// A row as JSON, as the database wrote it.
pub type Row = Json<Box<RawValue>>;

/// What a page of events starts after.
pub const PAGE: i64 = 500;

/// Returns up to [`PAGE`] events of a stretch as JSON objects without their empty columns, in order, with the
/// place the next page starts from.
pub async fn events_page(
    connection: &mut PgConnection,
    span: &Span,
) -> Result<(Vec<Row>, Option<OrderKey>), StoreError> {
    #[derive(sqlx::FromRow)]
    struct Found {
        timestamp: DateTime<Utc>,
        seq: Option<i64>,
        event_id: String,
        row: Row,
    }
    // Properties are left as they came: a null in them says something.
    let select = concat!(
        "SELECT timestamp, seq, event_id,
                jsonb_strip_nulls(to_jsonb(e) - 'properties')
                || CASE WHEN properties IS NULL THEN '{}' ELSE jsonb_build_object('properties', properties) END
                AS row
         FROM events e WHERE",
        within_span!("timestamp"),
        "ORDER BY timestamp, seq NULLS FIRST, event_id LIMIT $8"
    );
    let found: Vec<Found> = bind_span!(sqlx::query_as(select), span)
        .bind(PAGE)
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.span.events_page"))?;
    // The least place after the last one: no id lies between a text and the same text with NUL, but the
    // database cannot hold that, so U+0001 stands in; ids never end in control characters.
    let next = (found.len() as i64 == PAGE)
        .then(|| found.last())
        .flatten()
        .map(|last| OrderKey {
            timestamp: last.timestamp,
            seq: last.seq,
            event_id: format!("{}\u{1}", last.event_id),
        });
    Ok((found.into_iter().map(|found| found.row).collect(), next))
}

/// Returns the attribute facts of a stretch as JSON objects, in order.
pub async fn facts(connection: &mut PgConnection, span: &Span) -> Result<Vec<Row>, StoreError> {
    let select = concat!(
        "SELECT to_jsonb(f) AS row FROM attribute_facts f WHERE",
        within_span!("occurred_at"),
        "ORDER BY occurred_at, seq NULLS FIRST, event_id, name"
    );
    bind_span!(sqlx::query_scalar(select), span)
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.span.facts"))
}

/// What is known of a person besides events and facts, each kind a list of JSON objects.
#[derive(Clone, Copy, Debug)]
pub enum Kept {
    Customer,
    Sessions,
    Scores,
}

/// Returns these rows of a customer, in order.
pub async fn rows_of_customer(
    connection: &mut PgConnection,
    kept: Kept,
    customer_id: Uuid,
) -> Result<Vec<Row>, StoreError> {
    let statement = match kept {
        Kept::Customer => "SELECT to_jsonb(c) FROM customers c WHERE id = $1",
        Kept::Sessions => {
            "SELECT to_jsonb(s) - 'state' FROM sessions s WHERE customer_id = $1 ORDER BY started_at, id"
        }
        Kept::Scores => "SELECT to_jsonb(x) FROM customer_scores x WHERE customer_id = $1",
    };
    sqlx::query_scalar(statement)
        .bind(customer_id)
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.span.rows_of_customer"))
}

/// Returns the merge log's rows about a user, oldest first.
pub async fn identity_of_user(connection: &mut PgConnection, user_id: &str) -> Result<Vec<Row>, StoreError> {
    sqlx::query_scalar("SELECT to_jsonb(l) - 'id' FROM identity_log l WHERE user_id = $1 ORDER BY id")
        .bind(user_id)
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.span.identity_of_user"))
}

/// A row of `device_lives` with the start of the next one, and whose device it is.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OwnedLife {
    pub device_id: String,
    pub life: i32,
    pub started_at: DateTime<Utc>,
    pub start_seq: Option<i64>,
    pub start_event: String,
    pub user_id: Option<String>,
    pub customer_id: Uuid,
    pub next_at: Option<DateTime<Utc>>,
    pub next_seq: Option<i64>,
    pub next_event: Option<String>,
    /// Whether somebody else has a life on the device.
    pub shared: bool,
}

impl OwnedLife {
    /// Returns the place where the life starts.
    pub fn start(&self) -> OrderKey {
        OrderKey {
            timestamp: self.started_at,
            seq: self.start_seq,
            event_id: self.start_event.clone(),
        }
    }

    /// Returns the stretch of events that is this life. The first life of a device has all before it, too.
    pub fn span(&self) -> Span {
        let mut span = Span::whole(&self.device_id);
        if self.life > 0 {
            span.from = self.start();
        }
        if let (Some(timestamp), Some(event_id)) = (self.next_at, &self.next_event) {
            span.before = OrderKey {
                timestamp,
                seq: self.next_seq,
                event_id: event_id.clone(),
            };
        }
        span
    }
}

/// By what a person's lives are looked for.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    Customer(Uuid),
    User(&'a str),
    Device(&'a str),
}

/// Returns the lives of a customer or of a user, or all lives on a device.
pub async fn find_lives(
    connection: &mut PgConnection,
    owner: Owner<'_>,
) -> Result<Vec<OwnedLife>, StoreError> {
    let step = "store.span.find_lives";
    // Not user input: the condition is one of three constants.
    let statement = |condition| {
        AssertSqlSafe(format!(
            "SELECT l.*, n.started_at AS next_at, n.start_seq AS next_seq, n.start_event AS next_event,
                    EXISTS (SELECT 1 FROM device_lives o
                            WHERE o.device_id = l.device_id AND o.customer_id <> l.customer_id) AS shared
             FROM device_lives l
             LEFT JOIN device_lives n ON n.device_id = l.device_id AND n.life = l.life + 1
             WHERE {condition} ORDER BY l.device_id, l.life"
        ))
    };
    match owner {
        Owner::Customer(id) => {
            sqlx::query_as(statement("l.customer_id = $1"))
                .bind(id)
                .fetch_all(connection)
                .await
        }
        // By the customer's id, which follows from the user and has an index.
        Owner::User(user) => {
            sqlx::query_as(statement("l.customer_id = $1 AND l.user_id IS NOT NULL"))
                .bind(crate::session::customer_id_of_user(user))
                .fetch_all(connection)
                .await
        }
        Owner::Device(id) => {
            sqlx::query_as(statement("l.device_id = $1"))
                .bind(id)
                .fetch_all(connection)
                .await
        }
    }
    .map_err(StoreError::during(step))
}

/// Returns the devices that the merge log mentions with a user.
pub async fn devices_of_user(
    connection: &mut PgConnection,
    user_id: &str,
) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar("SELECT DISTINCT device_id FROM identity_log WHERE user_id = $1 ORDER BY 1")
        .bind(user_id)
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.span.devices_of_user"))
}

/// Returns up to `limit` users after `after`, in order, of those that any life or the merge log names.
pub async fn users_after(
    connection: &mut PgConnection,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar(
        "SELECT user_id FROM (SELECT user_id FROM customers WHERE user_id IS NOT NULL
                              UNION SELECT user_id FROM identity_log
                              UNION SELECT user_id FROM device_lives WHERE user_id IS NOT NULL) u
         WHERE user_id COLLATE \"C\" > $1 ORDER BY user_id COLLATE \"C\" LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.span.users_after"))
}

/// Deletes the merge log's rows about a user up to `until`, or all rows about a device.
pub async fn delete_identity_of_user(
    connection: &mut PgConnection,
    user_id: &str,
    until: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM identity_log WHERE user_id = $1 AND recorded_at <= $2")
        .bind(user_id)
        .bind(until)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.span.delete_identity_of_user"))?;
    Ok(done.rows_affected())
}

/// Deletes the merge log's rows about a device.
pub async fn delete_identity_of_device(
    connection: &mut PgConnection,
    device_id: &str,
) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM identity_log WHERE device_id = $1")
        .bind(device_id)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.span.delete_identity_of_device"))?;
    Ok(done.rows_affected())
}

/// Deletes the sessions of these lives of a device.
pub async fn delete_sessions_of_lives(
    connection: &mut PgConnection,
    device_id: &str,
    lives: &[i32],
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM sessions WHERE device_id = $1 AND life = ANY($2)")
        .bind(device_id)
        .bind(lives)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.span.delete_sessions_of_lives"))?;
    Ok(())
}

/// Deletes the sessions of a device that ended at `from` or later.
pub async fn delete_sessions_ended_from(
    connection: &mut PgConnection,
    device_id: &str,
    from: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM sessions WHERE device_id = $1 AND ended_at >= $2")
        .bind(device_id)
        .bind(from)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.span.delete_sessions_ended_from"))?;
    Ok(())
}

/// Returns how many sessions a device has.
pub async fn count_sessions(connection: &mut PgConnection, device_id: &str) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions WHERE device_id = $1")
        .bind(device_id)
        .fetch_one(connection)
        .await
        .map_err(StoreError::during("store.span.count_sessions"))?;
    Ok(count.unsigned_abs())
}

/// Gives the sessions of a device new numbers of lives, `to[i]` for `from[i]`.
pub async fn renumber_sessions(
    connection: &mut PgConnection,
    device_id: &str,
    from: &[i32],
    to: &[i32],
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE sessions SET life = n.new FROM unnest($2::integer[], $3::integer[]) AS n (old, new)
         WHERE device_id = $1 AND life = n.old AND n.old <> n.new",
    )
    .bind(device_id)
    .bind(from)
    .bind(to)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.span.renumber_sessions"))?;
    Ok(())
}

/// Takes a user's name off the lives of a device and off their sessions: they stand as nobody's until the
/// device is derived again.
pub async fn disown(
    connection: &mut PgConnection,
    device_id: &str,
    life: i32,
    customer_id: Uuid,
) -> Result<(), StoreError> {
    let step = "store.span.disown";
    for statement in [
        "UPDATE device_lives SET user_id = NULL, customer_id = $3 WHERE device_id = $1 AND life = $2",
        "UPDATE sessions SET user_id = NULL, customer_id = $3 WHERE device_id = $1 AND life = $2",
    ] {
        sqlx::query(statement)
            .bind(device_id)
            .bind(life)
            .bind(customer_id)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::during(step))?;
    }
    Ok(())
}

/// Returns how many of these customers there are.
pub async fn count_customers(connection: &mut PgConnection, ids: &[Uuid]) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM customers WHERE id = ANY($1)")
        .bind(ids)
        .fetch_one(connection)
        .await
        .map_err(StoreError::during("store.span.count_customers"))?;
    Ok(count.unsigned_abs())
}
