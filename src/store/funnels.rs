//! Funnels that somebody keeps. What a definition means is not known here.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;

/// A funnel as it is kept.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct FunnelRecord {
    pub id: Uuid,
    pub name: String,
    pub definition: Value,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What came of keeping a funnel.
#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    Funnel(FunnelRecord),
    /// Another funnel has this name.
    NameTaken,
    /// There is no funnel of this id.
    Missing,
}

/// The constraint that keeps names apart.
const NAME_KEY: &str = "funnels_name_key";

/// Lists funnels by ascending id, those after `after`.
pub async fn list_funnels(
    connection: &mut PgConnection,
    after: Option<Uuid>,
    rows_max: i64,
) -> Result<Vec<FunnelRecord>, StoreError> {
    sqlx::query_as(
        "SELECT id, name, definition, created_at, updated_at FROM funnels
         WHERE id > $1 OR $1 IS NULL ORDER BY id LIMIT $2",
    )
    .bind(after)
    .bind(rows_max)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.funnels.list"))
}

/// Finds a funnel.
pub async fn find_funnel(
    connection: &mut PgConnection,
    id: Uuid,
) -> Result<Option<FunnelRecord>, StoreError> {
    sqlx::query_as("SELECT id, name, definition, created_at, updated_at FROM funnels WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(StoreError::during("store.funnels.find"))
}

/// Keeps a new funnel.
pub async fn create_funnel(
    connection: &mut PgConnection,
    id: Uuid,
    name: &str,
    definition: &Value,
    now: DateTime<Utc>,
) -> Result<Kept, StoreError> {
    let row = sqlx::query_as(
        "INSERT INTO funnels (id, name, definition, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
         RETURNING id, name, definition, created_at, updated_at",
    )
    .bind(id)
    .bind(name)
    .bind(definition)
    .bind(now)
    .fetch_optional(connection)
    .await;
    kept(row, "store.funnels.create")
}

/// Puts another name and definition in the place of a funnel's.
pub async fn replace_funnel(
    connection: &mut PgConnection,
    id: Uuid,
    name: &str,
    definition: &Value,
    now: DateTime<Utc>,
) -> Result<Kept, StoreError> {
    let row = sqlx::query_as(
        "UPDATE funnels SET name = $2, definition = $3, updated_at = $4 WHERE id = $1
         RETURNING id, name, definition, created_at, updated_at",
    )
    .bind(id)
    .bind(name)
    .bind(definition)
    .bind(now)
    .fetch_optional(connection)
    .await;
    kept(row, "store.funnels.replace")
}

fn kept(row: sqlx::Result<Option<FunnelRecord>>, operation: &'static str) -> Result<Kept, StoreError> {
    match row {
        Ok(Some(funnel)) => Ok(Kept::Funnel(funnel)),
        Ok(None) => Ok(Kept::Missing),
        Err(sqlx::Error::Database(error)) if error.constraint() == Some(NAME_KEY) => Ok(Kept::NameTaken),
        Err(error) => Err(StoreError::during(operation)(error)),
    }
}

/// Deletes a funnel. Returns whether there was one.
pub async fn delete_funnel(connection: &mut PgConnection, id: Uuid) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM funnels WHERE id = $1")
        .bind(id)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.funnels.delete"))?;
    Ok(done.rows_affected() > 0)
}
