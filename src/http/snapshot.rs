//! How the read side asks the store.

use std::time::Duration;

use sqlx::{Postgres, Transaction};

use super::state::AppState;
use crate::store;

/// Begins to read at one moment of the store, for as long as a request may take.
pub(super) async fn begin_snapshot(state: &AppState) -> sqlx::Result<Transaction<'static, Postgres>> {
    let timeout = Duration::from_secs(state.config.server.request_timeout_seconds);
    store::begin_snapshot(&state.pool, timeout).await
}
