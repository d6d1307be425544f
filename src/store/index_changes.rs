//! The log of changes that the journey index follows.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;

/// A customer whose sessions changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub customer_id: Uuid,
    /// Sessions that ended before this did not change; `None` when any may have.
    pub since: Option<DateTime<Utc>>,
}

/// What a transaction changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number of the transaction.
    pub transaction: i64,
    pub changes: Vec<Change>,
}

/// How far a reader of the log has come: transactions below this were complete when it looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Horizon(pub i64);

/// Notes changes as part of the transaction that makes them.
pub async fn record(connection: &mut PgConnection, changes: &[Change]) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let customers: Vec<Uuid> = changes.iter().map(|change| change.customer_id).collect();
    let since: Vec<Option<DateTime<Utc>>> = changes.iter().map(|change| change.since).collect();
    sqlx::query("INSERT INTO index_changes (customer_ids, since) VALUES ($1, $2)")
        .bind(customers)
        .bind(since)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.index_changes.record"))?;
    Ok(())
}

/// Returns how far a reader has come whose transaction sees what this one sees.
pub async fn horizon(connection: &mut PgConnection) -> Result<Horizon, StoreError> {
    sqlx::query_scalar("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        .fetch_one(connection)
        .await
        .map(Horizon)
        .map_err(StoreError::during("store.index_changes.horizon"))
}

/// Returns the visible entries of transactions that a reader at `after` may not have seen.
pub async fn read(connection: &mut PgConnection, after: Horizon) -> Result<Vec<Entry>, StoreError> {
    let rows: Vec<EntryRow> = sqlx::query_as(
        "SELECT transaction, customer_ids, since FROM index_changes
         WHERE transaction >= $1 ORDER BY transaction",
    )
    .bind(after.0)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.index_changes.read"))?;
    let entries = rows.into_iter().map(|row| Entry {
        transaction: row.transaction,
        changes: row
            .customer_ids
            .into_iter()
            .zip(row.since)
            .map(|(customer_id, since)| Change { customer_id, since })
            .collect(),
    });
    Ok(entries.collect())
}

#[derive(sqlx::FromRow)]
struct EntryRow {
    transaction: i64,
    customer_ids: Vec<Uuid>,
    since: Vec<Option<DateTime<Utc>>>,
}

/// Removes entries recorded longer ago than `kept_seconds`, but keeps the newest of them, emptied: it says how far the log was cut.
pub async fn prune(connection: &mut PgConnection, kept_seconds: f64) -> Result<u64, StoreError> {
    let step = "store.index_changes.prune";
    let newest: Option<i64> = sqlx::query_scalar(
        "SELECT max(transaction) FROM index_changes WHERE recorded_at < now() - make_interval(secs => $1)",
    )
    .bind(kept_seconds)
    .fetch_one(&mut *connection)
    .await
    .map_err(StoreError::during(step))?;
    let Some(newest) = newest else { return Ok(0) };
    sqlx::query(
        "UPDATE index_changes SET customer_ids = '{}', since = '{}'
         WHERE transaction = $1 AND customer_ids <> '{}'",
    )
    .bind(newest)
    .execute(&mut *connection)
    .await
    .map_err(StoreError::during(step))?;
    let done = sqlx::query(
        "DELETE FROM index_changes
         WHERE transaction < $1 AND recorded_at < now() - make_interval(secs => $2)",
    )
    .bind(newest)
    .bind(kept_seconds)
    .execute(connection)
    .await
    .map_err(StoreError::during(step))?;
    Ok(done.rows_affected())
}

/// Whether the log still holds everything that a reader at `after` has not seen.
pub async fn reaches_back_to(connection: &mut PgConnection, after: Horizon) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT 1 FROM index_changes WHERE customer_ids = '{}' AND transaction >= $1)",
    )
    .bind(after.0)
    .fetch_one(connection)
    .await
    .map_err(StoreError::during("store.index_changes.reaches_back_to"))
}

/// Returns what tells this database from every other, also from itself before a restore: numbers of transactions
/// mean nothing elsewhere.
pub async fn identity(connection: &mut PgConnection) -> Result<String, StoreError> {
    sqlx::query_scalar(
        "SELECT format('%s %s %s', d.oid, d.datname, (SELECT min(installed_on) FROM _sqlx_migrations))
         FROM pg_database d WHERE d.datname = current_database()",
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::during("store.index_changes.identity"))
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, PgPool};

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn change(number: u128) -> Change {
        Change {
            customer_id: Uuid::from_u128(number),
            since: number.is_multiple_of(2).then(|| at(number as i64)),
        }
    }

    #[sqlx::test(migrator = "crate::store::MIGRATOR")]
    async fn a_change_that_commits_late_is_not_missed(pool: PgPool) {
        let (mut slow, mut quick) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        let start = horizon(&mut quick).await.unwrap();
        let mut late = slow.begin().await.unwrap();
        record(&mut late, &[change(1)]).await.unwrap();
        record(&mut quick, &[change(2)]).await.unwrap();

        let first = read(&mut quick, start).await.unwrap();
        assert_eq!(first.len(), 1);
        let reached = horizon(&mut quick).await.unwrap();
        late.commit().await.unwrap();
        let second = read(&mut quick, reached).await.unwrap();
        let changes: Vec<Change> = second.into_iter().flat_map(|entry| entry.changes).collect();
        // The one that was seen comes again, since it is newer than the one that was still open.
        assert_eq!(changes, [change(1), change(2)]);
    }

    #[sqlx::test(migrator = "crate::store::MIGRATOR")]
    async fn a_log_that_was_cut_says_so(pool: PgPool) {
        let mut connection = pool.acquire().await.unwrap();
        let before = horizon(&mut connection).await.unwrap();
        for number in 1..=3 {
            record(&mut connection, &[change(number)]).await.unwrap();
        }
        prune(&mut connection, 60.0).await.unwrap();
        assert!(reaches_back_to(&mut connection, before).await.unwrap());
        assert_eq!(read(&mut connection, before).await.unwrap().len(), 3);
        prune(&mut connection, 0.0).await.unwrap();
        assert!(!reaches_back_to(&mut connection, before).await.unwrap());
        assert_eq!(read(&mut connection, before).await.unwrap().len(), 1);
    }
}
