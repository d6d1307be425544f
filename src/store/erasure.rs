//! Tombstones: what is left of an erased person, so that nothing brings the person back.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;

/// An erased device or user, as a keyed hash.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, sqlx::FromRow)]
pub struct Tombstone {
    pub subject_hash: Vec<u8>,
    /// Events of the subject from `since` to `until`, both included, are refused.
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub erased_at: DateTime<Utc>,
}

impl Tombstone {
    /// Whether it stands for an event of its subject at this time.
    pub fn covers(&self, time: DateTime<Utc>) -> bool {
        (self.since..=self.until).contains(&time)
    }
}

/// Lets a writer work beside other writers, but not beside an erasure, until the transaction ends.
pub async fn lock_shared(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock_shared(hashtext('customer-journey.erasure'))")
        .execute(connection)
        .await
        .map_err(StoreError::during("store.erasure.lock_shared"))?;
    Ok(())
}

/// Waits until no writer is at work and keeps all of them out until the transaction ends.
pub async fn lock_exclusive(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext('customer-journey.erasure'))")
        .execute(connection)
        .await
        .map_err(StoreError::during("store.erasure.lock_exclusive"))?;
    Ok(())
}

/// Returns the tombstones among these hashes.
pub async fn find_tombstones(
    connection: &mut PgConnection,
    hashes: &[Vec<u8>],
) -> Result<Vec<Tombstone>, StoreError> {
    sqlx::query_as(
        "SELECT subject_hash, since, until, erased_at FROM erasure_tombstones WHERE subject_hash = ANY($1)",
    )
    .bind(hashes)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.erasure.find_tombstones"))
}

/// Returns all tombstones.
pub async fn all_tombstones(connection: &mut PgConnection) -> Result<Vec<Tombstone>, StoreError> {
    sqlx::query_as(
        "SELECT subject_hash, since, until, erased_at FROM erasure_tombstones ORDER BY subject_hash, since",
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.erasure.all_tombstones"))
}

/// Writes tombstones; of two for the same subject and beginning, the one that reaches further stays.
pub async fn save_tombstones(
    connection: &mut PgConnection,
    tombstones: &[Tombstone],
) -> Result<(), StoreError> {
    for stone in tombstones {
        sqlx::query(
            "INSERT INTO erasure_tombstones (subject_hash, since, until, erased_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (subject_hash, since) DO UPDATE SET
                 until = greatest(erasure_tombstones.until, excluded.until),
                 erased_at = greatest(erasure_tombstones.erased_at, excluded.erased_at)",
        )
        .bind(&stone.subject_hash)
        .bind(stone.since)
        .bind(stone.until)
        .bind(stone.erased_at)
        .execute(&mut *connection)
        .await
        .map_err(StoreError::during("store.erasure.save_tombstones"))?;
    }
    Ok(())
}

/// Records what was done with people's data. `details` must not say whose it was.
pub async fn append_audit(
    connection: &mut PgConnection,
    at: DateTime<Utc>,
    actor: &str,
    action: &str,
    details: &serde_json::Value,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO audit_log (at, actor, action, details) VALUES ($1, $2, $3, $4)")
        .bind(at)
        .bind(actor)
        .bind(action)
        .bind(details)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.erasure.append_audit"))?;
    Ok(())
}
