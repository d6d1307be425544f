//! The hourly roll-up: a continuous aggregate of the database, or rows that the scheduler keeps.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{Situation, StoreError, detect, run};

/// The roll-up's columns; the same text feeds the continuous aggregate and the view that stands in for it.
const ROLLUP_COLUMNS: &str = "event_type, device_type, country, currency,
    count(*) AS events, sum(order_total) AS order_total,
    sum(page_load_time_ms)::bigint AS page_load_ms_sum, count(page_load_time_ms) AS page_load_count";

/// All columns of the roll-up.
const ROLLUP_NAMES: &str = "hour, event_type, device_type, country, currency, events, order_total,
    page_load_ms_sum, page_load_count";

/// What the hourly roll-up is read through, in every situation.
pub(crate) const ROLLUP: &str = "events_hourly";

/// The table of the roll-up where the database keeps none by itself.
pub(crate) const ROLLUP_ROWS: &str = "events_hourly_rows";

/// Whether the roll-up is a continuous aggregate.
pub(crate) async fn has_aggregate(connection: &mut PgConnection) -> Result<bool, StoreError> {
    if detect(connection).await? == Situation::Plain {
        return Ok(false);
    }
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM timescaledb_information.continuous_aggregates
                        WHERE view_name = 'events_hourly' AND view_schema = current_schema())",
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::during("store.situation.has_aggregate"))
}

pub(super) async fn make_aggregate(connection: &mut PgConnection) -> Result<(), StoreError> {
    let step = "store.situation.aggregate";
    if has_aggregate(connection).await? {
        return adopt_rollup(connection).await;
    }
    run(connection, step, "DROP VIEW IF EXISTS events_hourly".into()).await?;
    // Alone in its message: a continuous aggregate cannot be made inside a transaction.
    run(
        connection,
        step,
        format!(
            "CREATE MATERIALIZED VIEW events_hourly
             WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
             SELECT time_bucket(interval '1 hour', timestamp) AS hour, {ROLLUP_COLUMNS}
             FROM events GROUP BY 1, event_type, device_type, country, currency WITH NO DATA"
        ),
    )
    .await?;
    adopt_rollup(connection).await
}

/// Moves the roll-up's rows into the continuous aggregate where its own differ: what is left of hours whose events
/// retention has dropped. Without rows nothing is done.
///
/// They are written into the table behind the aggregate. Its policy does not compute them again, since it never
/// looks at what is older than the events are kept for.
async fn adopt_rollup(connection: &mut PgConnection) -> Result<(), StoreError> {
    let step = "store.situation.adopt_rollup";
    let waiting: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM events_hourly_rows)")
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::during(step))?;
    if !waiting {
        return run(connection, step, "DELETE FROM rollup_dirty_hours".into()).await;
    }
    // First what the events say: it also moves the line up to which the aggregate is read from its table.
    run(
        connection,
        step,
        "CALL refresh_continuous_aggregate('events_hourly', NULL, now() - interval '1 hour')".into(),
    )
    .await?;
    let table: String = sqlx::query_scalar(
        "SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)
         FROM timescaledb_information.continuous_aggregates
         WHERE view_name = 'events_hourly' AND view_schema = current_schema()",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(StoreError::during(step))?;
    // The name of the table is quoted by the server; the rest is constant.
    run(
        connection,
        step,
        format!(
            "BEGIN;
             DELETE FROM events_hourly_rows r USING rollup_dirty_hours d WHERE d.hour = r.hour;
             CREATE TEMPORARY TABLE adopted ON COMMIT DROP AS
                 SELECT DISTINCT hour FROM (
                     (SELECT {ROLLUP_NAMES} FROM events_hourly_rows EXCEPT SELECT {ROLLUP_NAMES} FROM events_hourly)
                     UNION ALL
                     (SELECT {ROLLUP_NAMES} FROM events_hourly WHERE hour IN (SELECT hour FROM events_hourly_rows)
                      EXCEPT SELECT {ROLLUP_NAMES} FROM events_hourly_rows)) different;
             DELETE FROM {table} WHERE hour IN (SELECT hour FROM adopted);
             INSERT INTO {table} ({ROLLUP_NAMES})
                 SELECT {ROLLUP_NAMES} FROM events_hourly_rows WHERE hour IN (SELECT hour FROM adopted);
             DELETE FROM events_hourly_rows;
             DELETE FROM rollup_dirty_hours;
             COMMIT"
        ),
    )
    .await
}

/// Reads clean hours from the roll-up's rows and dirty ones from the events, so that it is never behind.
pub(super) async fn make_rollup_view(connection: &mut PgConnection) -> Result<(), StoreError> {
    run(
        connection,
        "store.situation.rollup_view",
        format!(
            "CREATE OR REPLACE VIEW events_hourly AS
             SELECT hour, event_type, device_type, country, currency, events, order_total,
                    page_load_ms_sum, page_load_count
             FROM events_hourly_rows r
             WHERE NOT EXISTS (SELECT 1 FROM rollup_dirty_hours d WHERE d.hour = r.hour)
             UNION ALL
             SELECT d.hour, e.* FROM rollup_dirty_hours d CROSS JOIN LATERAL (
                 SELECT {ROLLUP_COLUMNS} FROM events
                 WHERE timestamp >= d.hour AND timestamp < d.hour + interval '1 hour'
                 GROUP BY event_type, device_type, country, currency) e"
        ),
    )
    .await
}

/// Marks hours whose roll-up must be computed again; does nothing where the database keeps track itself.
///
/// `hours` must be sorted. A mark that is already there is locked until this transaction ends: a roll-up
/// must not take it away before the events it stands for can be seen.
pub async fn mark_dirty(
    connection: &mut PgConnection,
    situation: Situation,
    hours: &[chrono::DateTime<chrono::Utc>],
) -> Result<(), StoreError> {
    if situation.has_policies() || hours.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO rollup_dirty_hours SELECT unnest($1::timestamptz[])
         ON CONFLICT (hour) DO UPDATE SET hour = excluded.hour WHERE false",
    )
    .bind(hours)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.situation.mark_dirty"))?;
    Ok(())
}

/// Computes up to `limit` dirty hours that ended before `before`, oldest first. Returns how many.
///
/// Each hour is one transaction. Taking the mark away first makes a writer that marks the same hour again
/// wait until the roll-up is there, and its own mark then stands for its own events.
pub async fn roll_up(
    connection: &mut PgConnection,
    before: chrono::DateTime<chrono::Utc>,
    limit: i64,
) -> Result<u64, StoreError> {
    let step = "store.situation.roll_up";
    let hours: Vec<chrono::DateTime<chrono::Utc>> =
        sqlx::query_scalar("SELECT hour FROM rollup_dirty_hours WHERE hour < $1 ORDER BY hour LIMIT $2")
            .bind(before - chrono::TimeDelta::hours(1))
            .bind(limit)
            .fetch_all(&mut *connection)
            .await
            .map_err(StoreError::during(step))?;
    for hour in &hours {
        let mut transaction = connection.begin().await.map_err(StoreError::during(step))?;
        for statement in [
            "DELETE FROM rollup_dirty_hours WHERE hour = $1",
            "DELETE FROM events_hourly_rows WHERE hour = $1",
        ] {
            sqlx::query(statement)
                .bind(hour)
                .execute(&mut *transaction)
                .await
                .map_err(StoreError::during(step))?;
        }
        sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO events_hourly_rows SELECT $1, {ROLLUP_COLUMNS} FROM events
             WHERE timestamp >= $1 AND timestamp < $1 + interval '1 hour'
             GROUP BY event_type, device_type, country, currency"
        )))
        .bind(hour)
        .execute(&mut *transaction)
        .await
        .map_err(StoreError::during(step))?;
        transaction.commit().await.map_err(StoreError::during(step))?;
    }
    Ok(hours.len() as u64)
}

/// Computes the continuous aggregate again for these hours, which must be sorted; elsewhere does nothing.
///
/// Must run outside of a transaction. Hours whose events were dropped must not be among them: they would be
/// emptied.
pub async fn refresh_hours(
    connection: &mut PgConnection,
    situation: Situation,
    hours: &[chrono::DateTime<chrono::Utc>],
) -> Result<(), StoreError> {
    if !situation.has_policies() {
        return Ok(());
    }
    let hour = chrono::TimeDelta::hours(1);
    for run in hours.chunk_by(|a, b| *b - *a == hour) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            continue;
        };
        // A procedure takes no parameters in a simple query; both are times of our own making.
        sqlx::raw_sql(AssertSqlSafe(format!(
            "CALL refresh_continuous_aggregate('events_hourly', '{}', '{}')",
            first.to_rfc3339(),
            (*last + hour).to_rfc3339()
        )))
        .execute(&mut *connection)
        .await
        .map_err(StoreError::during("store.situation.refresh_hours"))?;
    }
    Ok(())
}
