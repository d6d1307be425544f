//! Deriving every device again from its events: proof that the stored rows are what the events say.
//!
//! One device at a time, each in a transaction of its own under the device's lock, so that it can run while
//! writers do.

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgPool};

use super::derive;
use crate::{
    session::Rules,
    store::{StoreError, devices, erasure},
};

/// Devices whose ids are read at once.
const PIECE: i64 = 500;

/// What deriving again found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rebuilt {
    pub devices: u64,
    /// Devices of which any row was different.
    pub devices_different: u64,
    pub sessions_written: u64,
    pub sessions_deleted: u64,
    pub lives_written: u64,
}

impl Rebuilt {
    /// Whether every row was as the events say.
    pub fn is_clean(&self) -> bool {
        self.devices_different == 0
    }
}

/// What becomes of differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are counted and the rows stay.
    Check,
    /// The rows become what the events say.
    Repair,
}

/// Derives all devices again; `progress` is told each time another one is done.
///
/// # Errors
/// [`StoreError`]; devices done before keep what was repaired.
pub async fn rebuild(
    pool: &PgPool,
    rules: &Rules,
    now: impl Fn() -> DateTime<Utc>,
    mode: Mode,
    mut progress: impl FnMut(&Rebuilt),
) -> Result<Rebuilt, StoreError> {
    let step = "store.rebuild";
    let mut connection = pool.acquire().await.map_err(StoreError::during(step))?;
    let mut rebuilt = Rebuilt::default();
    let mut after = String::new();
    loop {
        let piece = devices::ids_after(&mut connection, &after, PIECE).await?;
        let Some(last) = piece.last() else {
            return Ok(rebuilt);
        };
        after.clone_from(last);
        for device in &piece {
            let mut transaction = connection.begin().await.map_err(StoreError::during(step))?;
            erasure::lock_shared(&mut transaction).await?;
            // Erased since its id was read: nothing to derive, and no row to make by locking it.
            if !devices::existing(&mut transaction, &[device]).await?.is_empty() {
                devices::lock(&mut transaction, &[device], now()).await?;
                let changes = derive::rederive(&mut transaction, device, rules, now()).await?;
                rebuilt.add(&changes);
                if mode == Mode::Repair {
                    derive::recompute(&mut transaction, &changes).await?;
                }
            }
            match mode {
                Mode::Repair => transaction.commit().await,
                Mode::Check => transaction.rollback().await,
            }
            .map_err(StoreError::during(step))?;
            progress(&rebuilt);
        }
    }
}

impl Rebuilt {
    fn add(&mut self, changes: &derive::Changes) {
        self.devices += 1;
        self.sessions_written += changes.sessions_written as u64;
        self.sessions_deleted += changes.sessions_deleted as u64;
        self.lives_written += changes.lives_written as u64;
        let differs = changes.sessions_written + changes.sessions_deleted + changes.lives_written > 0;
        self.devices_different += u64::from(differs);
    }
}
