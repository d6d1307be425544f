//! The ledger's equation: `received = stored + duplicate + rejected + queued`.
//!
//! The left side is counted by the queue (or, for direct commits, from the size of the request) before an
//! event is looked at. The right side is what the store says it did plus what lies in the queue. Nothing on
//! one side is computed from the other, so a difference means that something was lost or counted twice.

use serde::Serialize;
use sqlx::{Connection, PgConnection};
use utoipa::ToSchema;
use uuid::Uuid;

use super::queue::{Queue, QueueCounts, QueueError};
use crate::store::{
    StoreError,
    ledger::{self, DIRECT, LostQueue, SettledEntry, Sums},
};

/// The equation at one moment, over one way into the store or over all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Equation {
    pub received: i64,
    pub stored: i64,
    pub duplicate: i64,
    pub rejected: i64,
    pub queued: i64,
}

impl Equation {
    /// Returns how many events are missing (positive) or too many (negative). 0 when nothing vanished.
    pub fn difference(&self) -> i64 {
        self.received - self.stored - self.duplicate - self.rejected - self.queued
    }

    fn plus(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            stored: self.stored + other.stored,
            duplicate: self.duplicate + other.duplicate,
            rejected: self.rejected + other.rejected,
            queued: self.queued + other.queued,
        }
    }
}

/// The ledger's state, with what is wrong about it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Audit {
    /// Over the current queue and all direct commits.
    pub total: Equation,
    pub difference: i64,
    pub queue: Equation,
    pub direct: Equation,
    /// Entries the queue should hold but does not (or holds but should not).
    pub entries_missing: i64,
    /// Queues that hold unsettled events and are not read any more: replaced by another one, or switched off.
    pub lost_queues: Vec<LostQueue>,
}

impl Audit {
    /// Whether every event ever received is accounted for.
    pub fn balances(&self) -> bool {
        self.difference == 0 && self.entries_missing == 0 && self.lost_queues.is_empty()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("the queue's side of the ledger cannot be read")]
    Queue(#[from] QueueError),
    #[error("the store's side of the ledger cannot be read")]
    Store(#[from] StoreError),
}

/// Reads both sides and compares them, at any moment and under any load.
///
/// The queue is read first, in one atomic step, the store second, in one snapshot. What the store settled in
/// between is recognised by its entry id: an entry the queue still held then is taken off `queued`, an entry
/// that came later is taken off the store's sums.
pub async fn audit(connection: &mut PgConnection, queue: Option<&Queue>) -> Result<Audit, AuditError> {
    let counts = match queue {
        Some(queue) => queue.counts().await?,
        None => QueueCounts::default(),
    };
    let step = "store.ledger.audit";
    let mut snapshot = connection.begin().await.map_err(StoreError::during(step))?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .execute(&mut *snapshot)
        .await
        .map_err(StoreError::during(step))?;
    let direct = ledger::sums(&mut snapshot, DIRECT).await?;
    let queued = match counts.epoch {
        Some(epoch) => balance(&mut snapshot, epoch, &counts).await?,
        None => Equation::default(),
    };
    let others = ledger::lost_queues(&mut snapshot, counts.epoch).await?;
    snapshot.rollback().await.map_err(StoreError::during(step))?;

    let direct = Equation {
        received: direct.received,
        stored: direct.stored,
        duplicate: direct.duplicate,
        rejected: direct.rejected,
        queued: 0,
    };
    let total = direct.plus(queued);
    Ok(Audit {
        total,
        difference: total.difference(),
        queue: queued,
        direct,
        entries_missing: counts.entries_counted - counts.entries,
        lost_queues: others,
    })
}

/// Compares the two sides of one queue: `counts`, and what the store says in a snapshot taken after them.
pub(crate) async fn balance(
    connection: &mut PgConnection,
    epoch: Uuid,
    counts: &QueueCounts,
) -> Result<Equation, StoreError> {
    let sums = ledger::sums(connection, epoch).await?;
    let settled = ledger::settled_since(connection, epoch, &counts.pending, counts.last_delivered).await?;
    Ok(reconcile(sums, counts, &settled))
}

/// Brings the store's sums and the queue's counters to the same moment: that of the queue's.
fn reconcile(sums: Sums, counts: &QueueCounts, settled: &[SettledEntry]) -> Equation {
    let mut equation = Equation {
        received: counts.received,
        stored: sums.stored,
        duplicate: sums.duplicate,
        rejected: sums.rejected,
        queued: counts.unacknowledged,
    };
    for entry in settled {
        if entry.id > counts.last_added {
            equation.stored -= i64::from(entry.stored);
            equation.duplicate -= i64::from(entry.duplicate);
            equation.rejected -= i64::from(entry.rejected);
        } else {
            equation.queued -= i64::from(entry.stored + entry.duplicate + entry.rejected);
        }
    }
    equation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ledger::EntryId;

    fn settled(ms: i64, stored: i32, duplicate: i32) -> SettledEntry {
        SettledEntry {
            id: EntryId {
                entry_ms: ms,
                entry_seq: 0,
            },
            stored,
            duplicate,
            rejected: 0,
        }
    }

    #[test]
    fn what_the_store_settled_meanwhile_is_counted_once() {
        // At the queue's moment: 30 received, entries 2 and 3 (10 events each) not acknowledged. By the
        // store's moment entry 2 and entry 4, which came later, are settled.
        let counts = QueueCounts {
            received: 30,
            unacknowledged: 20,
            last_added: EntryId {
                entry_ms: 3,
                entry_seq: 0,
            },
            ..QueueCounts::default()
        };
        let sums = Sums {
            received: 0,
            stored: 29,
            duplicate: 1,
            rejected: 0,
        };
        let equation = reconcile(sums, &counts, &[settled(2, 9, 1), settled(4, 10, 0)]);
        assert_eq!(
            equation,
            Equation {
                received: 30,
                stored: 19,
                duplicate: 1,
                rejected: 0,
                queued: 10
            }
        );
        assert_eq!(equation.difference(), 0);
    }

    #[test]
    fn a_lost_event_shows_as_a_difference() {
        let counts = QueueCounts {
            received: 5,
            ..QueueCounts::default()
        };
        let sums = Sums {
            received: 0,
            stored: 4,
            duplicate: 0,
            rejected: 0,
        };
        assert_eq!(reconcile(sums, &counts, &[]).difference(), 1);
    }
}
