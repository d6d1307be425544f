//! Customers: recomputed from their sessions and facts, never counted up.

use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;

/// Locks the customers until the transaction ends, making those that are new.
///
/// Recomputing reads sessions that other writers may just be adding for the same person; whoever holds the
/// row sees everything committed before. `ids` must be sorted and distinct. Returns those that are new.
pub async fn lock(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    sqlx::query_scalar(
        "INSERT INTO customers (id) SELECT i FROM unnest($1::uuid[]) AS i
         ON CONFLICT (id) DO UPDATE SET id = excluded.id WHERE false
         RETURNING id",
    )
    .bind(ids)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.customers.lock"))
}

/// Recomputes the customers from their sessions; those with none left are removed. The rows must be locked.
pub async fn recompute(connection: &mut PgConnection, ids: &[Uuid]) -> Result<(), StoreError> {
    let step = "store.customers.recompute";
    sqlx::query(include_str!("sql/recompute_customers.sql"))
        .bind(ids)
        .execute(&mut *connection)
        .await
        .map_err(StoreError::during(step))?;
    sqlx::query(
        "DELETE FROM customers c WHERE c.id = ANY($1)
         AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.customer_id = c.id)",
    )
    .bind(ids)
    .execute(connection)
    .await
    .map_err(StoreError::during(step))?;
    Ok(())
}

/// Recomputes the current attributes of the customers from the facts of all their lives.
pub async fn recompute_attributes(connection: &mut PgConnection, ids: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query(include_str!("sql/recompute_attributes.sql"))
        .bind(ids)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.customers.recompute_attributes"))?;
    Ok(())
}
