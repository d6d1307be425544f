//! Tombstones: what is left of an erased person, so that nothing brings the person back.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;

/// An erased device or user, as a keyed hash.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Tombstone {
    pub subject_hash: Vec<u8>,
    pub erased_at: DateTime<Utc>,
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
    sqlx::query_as("SELECT subject_hash, erased_at FROM erasure_tombstones WHERE subject_hash = ANY($1)")
        .bind(hashes)
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.erasure.find_tombstones"))
}
