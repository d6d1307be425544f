//! The three storage situations, and everything that depends on the TimescaleDB edition.
//!
//! The tables are the same everywhere. On TimescaleDB `events` becomes a hypertable; on its community
//! edition compression, retention and the hourly roll-up are policies of the database, elsewhere the
//! scheduler does that work. All statements here are either constant or made of numbers and constants.

mod rollup;

use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};

pub(crate) use self::rollup::{ROLLUP, ROLLUP_ROWS, has_aggregate};
use self::rollup::{make_aggregate, make_rollup_view};
pub use self::rollup::{mark_dirty, refresh_hours, roll_up};
use super::{StoreError, run};
use crate::config::Retention;

/// Which database features the service found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Situation {
    /// TimescaleDB with its community licence: hypertables, continuous aggregates, compression, retention.
    TimescaleCommunity,
    /// TimescaleDB with its Apache licence: hypertables only.
    TimescaleApache,
    /// PostgreSQL alone.
    Plain,
}

impl Situation {
    /// The name as `doctor` and the API show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TimescaleCommunity => "timescale_community",
            Self::TimescaleApache => "timescale_apache",
            Self::Plain => "plain",
        }
    }

    /// Whether `events` is a hypertable.
    pub fn has_hypertables(self) -> bool {
        self != Self::Plain
    }

    /// Whether the database itself rolls up, compresses and drops old events.
    pub fn has_policies(self) -> bool {
        self == Self::TimescaleCommunity
    }
}

/// Days an event outlives the age at which new ones are refused, so that a late event still finds the
/// events of its session.
pub const RETENTION_MARGIN_DAYS: u32 = 2;

/// Finds out what the database offers. Does not change it.
pub async fn detect(connection: &mut PgConnection) -> Result<Situation, StoreError> {
    let step = "store.situation.detect";
    let installed: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'timescaledb')")
            .fetch_one(&mut *connection)
            .await
            .map_err(StoreError::during(step))?;
    if !installed {
        return Ok(Situation::Plain);
    }
    let licence: Option<String> = sqlx::query_scalar("SELECT current_setting('timescaledb.license', true)")
        .fetch_one(connection)
        .await
        .map_err(StoreError::during(step))?;
    Ok(match licence.as_deref() {
        Some("timescale") => Situation::TimescaleCommunity,
        _ => Situation::TimescaleApache,
    })
}

/// Returns the version of the TimescaleDB extension in this database.
pub async fn timescale_version(connection: &mut PgConnection) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
        .fetch_optional(connection)
        .await
        .map_err(StoreError::during("store.situation.version"))
}

/// Returns whether `events` is a hypertable. Only to be asked where TimescaleDB is installed.
pub async fn is_hypertable(connection: &mut PgConnection) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM timescaledb_information.hypertables WHERE hypertable_name = 'events')",
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::during("store.situation.is_hypertable"))
}

/// Installs the extension where the server has it and this role may; otherwise leaves things as they are.
pub(crate) async fn try_extension(connection: &mut PgConnection) -> Result<(), StoreError> {
    let step = "store.situation.extension";
    // Without its library preloaded, making the extension ends the session. Only a superuser may look at the list
    // of such libraries; that this one's own settings are there anyone may see.
    let available: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_available_extensions
                        WHERE name = 'timescaledb' AND installed_version IS NULL)
            AND current_setting('timescaledb.max_background_workers', true) IS NOT NULL",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(StoreError::during(step))?;
    if !available {
        return Ok(());
    }
    if let Err(error) = sqlx::query("CREATE EXTENSION IF NOT EXISTS timescaledb")
        .execute(connection)
        .await
    {
        tracing::warn!(%error, "TimescaleDB is on the server but this role cannot create the extension");
    }
    Ok(())
}

/// Waits until nobody else prepares the database, and keeps others out until this session ends or gives it up.
pub(crate) async fn lock(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_lock(hashtext('customer-journey.situation'))")
        .execute(connection)
        .await
        .map_err(StoreError::during("store.situation.lock"))?;
    Ok(())
}

/// Brings the database into the form its situation allows, with the policies of the configuration.
///
/// Safe to call at every start: what is as it should be stays untouched. Serialised by an advisory lock.
pub async fn prepare(connection: &mut PgConnection, retention: &Retention) -> Result<Situation, StoreError> {
    let step = "store.situation.prepare";
    lock(connection).await?;
    let result = prepare_locked(connection, retention).await;
    sqlx::query("SELECT pg_advisory_unlock(hashtext('customer-journey.situation'))")
        .execute(connection)
        .await
        .map_err(StoreError::during(step))?;
    result
}

async fn prepare_locked(
    connection: &mut PgConnection,
    retention: &Retention,
) -> Result<Situation, StoreError> {
    try_extension(connection).await?;
    let situation = detect(connection).await?;
    if situation.has_hypertables() {
        make_hypertable(connection, retention).await?;
    }
    if situation.has_policies() {
        make_aggregate(connection).await?;
        set_policies(connection, retention).await?;
    } else {
        make_rollup_view(connection).await?;
    }
    Ok(situation)
}

/// Makes `events` a hypertable, moving rows that are there. Only to be called where TimescaleDB is installed.
pub(crate) async fn make_hypertable(
    connection: &mut PgConnection,
    retention: &Retention,
) -> Result<(), StoreError> {
    let step = "store.situation.hypertable";
    let days = retention.chunk_days;
    run(
        connection,
        step,
        format!(
            "SELECT create_hypertable('events', 'timestamp', chunk_time_interval => interval '{days} days',
                 create_default_indexes => false, if_not_exists => true, migrate_data => true);
             SELECT set_chunk_time_interval('events', interval '{days} days');"
        ),
    )
    .await
}

/// What a policy belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Events,
    Aggregate,
}

/// Returns one setting of a policy as the database has it.
async fn policy(
    connection: &mut PgConnection,
    subject: Subject,
    procedure: &str,
    key: &str,
) -> Result<Option<String>, StoreError> {
    // The policies of the aggregate are those of the table it is materialised in.
    sqlx::query_scalar(
        "SELECT config ->> $2 FROM timescaledb_information.jobs
         WHERE proc_name = $1 AND config ? $2 AND (hypertable_name = 'events') = $3",
    )
    .bind(procedure)
    .bind(key)
    .bind(subject == Subject::Events)
    .fetch_optional(connection)
    .await
    .map_err(StoreError::during("store.situation.policy"))
}

/// Sets retention, compression and refresh; a policy is replaced only when the configuration differs.
async fn set_policies(connection: &mut PgConnection, retention: &Retention) -> Result<(), StoreError> {
    let step = "store.situation.policies";
    let keep = drop_after_days(retention);
    let wanted = keep.map(|days| format!("{days} days"));
    if policy(connection, Subject::Events, "policy_retention", "drop_after").await? != wanted {
        run(
            connection,
            step,
            "SELECT remove_retention_policy('events', if_exists => true)".into(),
        )
        .await?;
        if let Some(days) = &wanted {
            run(
                connection,
                step,
                format!("SELECT add_retention_policy('events', interval '{days}')"),
            )
            .await?;
        }
    }

    let compress =
        (retention.compress_after_days > 0).then(|| format!("{} days", retention.compress_after_days));
    if policy(
        connection,
        Subject::Events,
        "policy_compression",
        "compress_after",
    )
    .await?
        != compress
    {
        run(
            connection,
            step,
            "SELECT remove_compression_policy('events', if_exists => true)".into(),
        )
        .await?;
        if let Some(after) = &compress {
            // Ordered by device within a chunk, not segmented: most devices have a handful of events in a
            // chunk, far too few to fill a compressed segment of their own, and the minimum and maximum
            // kept per batch still lead to one device's rows.
            run(
                connection,
                step,
                format!(
                    "ALTER TABLE events SET (timescaledb.compress,
                         timescaledb.compress_orderby = 'device_id, timestamp');
                     SELECT add_compression_policy('events', interval '{after}')"
                ),
            )
            .await?;
        }
    }

    let metrics = (retention.metrics_days > 0).then(|| format!("{} days", retention.metrics_days));
    if policy(connection, Subject::Aggregate, "policy_retention", "drop_after").await? != metrics {
        run(
            connection,
            step,
            "SELECT remove_retention_policy('events_hourly', if_exists => true)".into(),
        )
        .await?;
        if let Some(days) = &metrics {
            run(
                connection,
                step,
                format!("SELECT add_retention_policy('events_hourly', interval '{days}')"),
            )
            .await?;
        }
    }

    // Refreshing a range whose events were dropped would empty it: the roll-up outlives them.
    let start = keep.map_or_else(
        || "36500 days".to_owned(),
        |days| format!("{} days", days.max(2) - 1),
    );
    if policy(
        connection,
        Subject::Aggregate,
        "policy_refresh_continuous_aggregate",
        "start_offset",
    )
    .await?
    .as_deref()
        != Some(start.as_str())
    {
        run(
            connection,
            step,
            format!(
                "SELECT remove_continuous_aggregate_policy('events_hourly', if_exists => true);
                 SELECT add_continuous_aggregate_policy('events_hourly', start_offset => interval '{start}',
                     end_offset => interval '1 hour', schedule_interval => interval '10 minutes')"
            ),
        )
        .await?;
    }
    Ok(())
}

/// Returns after how many days events are dropped; `None` keeps them for ever.
pub fn drop_after_days(retention: &Retention) -> Option<u32> {
    (retention.events_days > 0).then(|| retention.events_days + RETENTION_MARGIN_DAYS)
}

/// Drops events older than `before`, whichever way the situation has. Returns how many rows or chunks went.
///
/// Where the database has a retention policy it does this by itself, and nothing is done here.
pub async fn drop_events_before(
    connection: &mut PgConnection,
    situation: Situation,
    before: chrono::DateTime<chrono::Utc>,
) -> Result<u64, StoreError> {
    let step = "store.situation.drop_events";
    match situation {
        Situation::TimescaleCommunity => Ok(0),
        Situation::TimescaleApache => {
            let chunks: Vec<String> =
                sqlx::query_scalar("SELECT drop_chunks('events', older_than => $1)::text")
                    .bind(before)
                    .fetch_all(connection)
                    .await
                    .map_err(StoreError::during(step))?;
            Ok(chunks.len() as u64)
        }
        Situation::Plain => delete_before(connection, "events", "timestamp", before).await,
    }
}

/// Deletes rows of `table` older than `before` in pieces, so that no lock is held for long.
pub async fn delete_before(
    connection: &mut PgConnection,
    table: &'static str,
    column: &'static str,
    before: chrono::DateTime<chrono::Utc>,
) -> Result<u64, StoreError> {
    const PIECE: u64 = 20_000;
    let mut total = 0;
    loop {
        let done = sqlx::query(AssertSqlSafe(format!(
            "DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                 SELECT ctid FROM {table} WHERE {column} < $1 LIMIT {PIECE}))"
        )))
        .bind(before)
        .execute(&mut *connection)
        .await
        .map_err(StoreError::during("store.situation.delete_before"))?
        .rows_affected();
        total += done;
        if done < PIECE {
            return Ok(total);
        }
    }
}

/// Lets this transaction delete from compressed chunks however many rows must be unpacked for it.
///
/// TimescaleDB stops at 100 000 of them by default, which one person's 90 days can exceed.
pub async fn allow_large_deletes(
    connection: &mut PgConnection,
    situation: Situation,
) -> Result<(), StoreError> {
    if !situation.has_policies() {
        return Ok(());
    }
    run(
        connection,
        "store.situation.allow_large_deletes",
        "SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0".into(),
    )
    .await
}
