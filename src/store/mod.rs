//! PostgreSQL, the only truth: a file of queries per entity. Knows nothing above it.
//!
//! Functions take a connection, so that the caller owns the transaction, and the time as a parameter.

pub mod attributes;
pub mod customers;
pub mod devices;
pub mod erasure;
pub mod error;
pub mod events;
pub mod export;
pub mod identity;
pub mod keys;
pub mod ledger;
pub mod sessions;
pub mod situation;

use std::{str::FromStr, time::Duration};

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::config::Database;
pub use error::{Remedy, StoreError};

/// All migrations, one set for every storage situation.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Opens the pool without waiting for the database: connections are made when they are needed.
///
/// # Errors
/// When `database.url` cannot be read as an address.
pub fn connect(config: &Database) -> Result<PgPool, StoreError> {
    let options = PgConnectOptions::from_str(&config.url)
        .map_err(StoreError::during("store.connect"))?
        .application_name("customer-journey")
        // Rollups and sessions compare instants; text forms of time must not depend on the server.
        .options([("timezone", "UTC")]);
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
