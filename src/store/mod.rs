//! PostgreSQL, the only truth: a file of queries per entity. Knows nothing above it.
//!
//! Functions take a connection, so that the caller owns the transaction, and the time as a parameter.

pub mod attributes;
pub(crate) mod attributes_read;
pub mod customers;
pub(crate) mod customers_read;
pub mod devices;
pub mod dump;
pub mod erasure;
pub mod error;
pub mod event_conditions;
pub mod events;
pub(crate) mod events_read;
pub mod export;
pub(crate) mod filter;
pub mod identity;
pub mod index_changes;
pub(crate) mod index_read;
pub mod keys;
pub mod ledger;
pub(crate) mod ledger_read;
pub(crate) mod metrics_read;
pub(crate) mod person;
pub mod sessions;
pub(crate) mod sessions_read;
pub mod situation;
pub mod span;

use std::{str::FromStr, time::Duration};

use sqlx::{
    AssertSqlSafe, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
};

use crate::config::Database;
pub use error::{Remedy, StoreError};

/// All migrations, one set for every storage situation.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// By this name PostgreSQL knows the service's sessions.
pub const APPLICATION_NAME: &str = "customer-journey";

/// Opens the pool without waiting for the database: connections are made when they are needed.
///
/// # Errors
/// When `database.url` cannot be read as an address.
pub fn connect(config: &Database) -> Result<PgPool, StoreError> {
    let options = PgConnectOptions::from_str(&config.url)
        .map_err(StoreError::during("store.connect"))?
        .application_name(APPLICATION_NAME)
        // Rollups and sessions compare instants; text forms of time must not depend on the server.
        // Compiling a statement costs more than any of ours takes.
        .options([("timezone", "UTC"), ("jit", "off")]);
    Ok(PgPoolOptions::new()
        .max_connections(config.connections_max)
        .acquire_timeout(Duration::from_secs(config.acquire_timeout_seconds))
        .connect_lazy_with(options))
}

/// Returns rows as the text that `json_populate_recordset` takes: the way to write a set of wide rows in one
/// statement, matched to the columns by name.
fn json_rows(rows: impl serde::Serialize) -> String {
    serde_json::to_string(&rows).expect("a row is always JSON")
}

/// Begins to read: all that follows sees the store at one moment. Dropping it ends it.
///
/// A statement that runs longer than `timeout` is ended by the server: a caller who has given up must not
/// leave a query behind. Reports may sort in 32 MiB, since hashing a month of sessions on disk takes three
/// times as long as in memory.
pub(crate) async fn begin_snapshot(
    pool: &PgPool,
    timeout: Duration,
) -> sqlx::Result<Transaction<'static, Postgres>> {
    // The only part that is not a literal is a number.
    let milliseconds = timeout.as_millis();
    pool.begin_with(AssertSqlSafe(format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
         SET LOCAL statement_timeout = {milliseconds}; SET LOCAL work_mem = '32MB'"
    )))
    .await
}
