//! PostgreSQL: one file of queries per entity.
//!
//! Functions take a connection, so that the caller owns the transaction, and the time as a parameter.
pub(crate) mod attributes_read;
pub(crate) mod customers_read;
pub(crate) mod events_read;
pub(crate) mod filter;
pub mod keys;
pub(crate) mod ledger_read;
pub(crate) mod metrics_read;
pub(crate) mod person;
pub(crate) mod sessions_read;

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction};
use thiserror::Error;

/// Why the store gave no answer.
#[derive(Debug, Error)]
#[error("{operation} failed")]
pub struct StoreError {
    /// What was being done, as in `reading an API key`.
    pub operation: &'static str,
    #[source]
    pub source: sqlx::Error,
}

impl StoreError {
    /// Names the operation for an error of the driver: `.map_err(StoreError::during("reading a session"))`.
    pub fn during(operation: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self { operation, source }
    }

    /// Whether PostgreSQL could not be reached or is just starting or stopping, so that trying again
    /// helps. The SQLSTATE classes are 08 (connection), 53 (resources) and 57 (operator intervention);
    /// source: PostgreSQL manual, appendix A.
    pub fn is_unavailable(&self) -> bool {
        match &self.source {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(error) => error
                .code()
                .is_some_and(|code| ["08", "53", "57"].iter().any(|class| code.starts_with(class))),
            _ => false,
        }
    }

    /// Whether PostgreSQL refused a value that a caller sent: text it cannot hold (a NUL character) or a
    /// number or time outside its range. SQLSTATE 22021, 22P05, 22003 and 22008.
    pub fn is_unstorable_value(&self) -> bool {
        match &self.source {
            sqlx::Error::Database(error) => error
                .code()
                .is_some_and(|code| ["22021", "22P05", "22003", "22008"].contains(&code.as_ref())),
            _ => false,
        }
    }
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
