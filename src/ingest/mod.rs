//! From an accepted request to the store.
//!
//! [`Intake::accept`] answers when the queue has the request; the writer acknowledges to the queue when the
//! commit has it. In between, nothing holds events but Redis' disk.

pub mod body;
pub mod derive;
pub mod direct;
pub mod entry;
pub(crate) mod erased;
pub mod ledger;
pub mod poison;
pub mod queue;
pub mod rebuild;
pub mod refusals;
pub mod settle;
pub mod writer;

#[cfg(test)]
pub(crate) mod order_tests;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;

use crate::ops::metrics as metric;

use self::{
    direct::{Direct, DirectError},
    entry::Entry,
    queue::{Queue, QueueError},
};

/// Why a request could not be taken in. Nothing of it counts as received.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// Queue or database have no room: try again later.
    #[error("there is no room for more events now")]
    Full,
    /// Neither the queue nor the database can be reached.
    #[error("events cannot be stored now")]
    Unavailable(#[source] DirectError),
    /// The database refuses this data whenever it is sent.
    #[error("these events cannot be stored")]
    Unstorable(#[source] DirectError),
}

/// The way in: through the queue, or directly to the database.
#[derive(Clone)]
pub struct Intake {
    /// `None` when the configuration says `direct`.
    queue: Option<Arc<Queue>>,
    direct: Direct,
}

impl Intake {
    pub fn new(queue: Option<Arc<Queue>>, direct: Direct) -> Self {
        Self { queue, direct }
    }

    /// Returns the queue, if there is one.
    pub fn queue(&self) -> Option<&Arc<Queue>> {
        self.queue.as_ref()
    }

    /// Returns when the entry cannot be lost any more.
    ///
    /// Falls back to the direct way while the queue cannot be reached. If the queue did take the entry and
    /// only its answer got lost, the events arrive twice and count as duplicates the second time.
    pub async fn accept(&self, entry: Entry) -> Result<(), IntakeError> {
        if let Some(queue) = &self.queue {
            match queue.add(&entry).await {
                Ok(()) => return Ok(()),
                Err(QueueError::Full) => return Err(IntakeError::Full),
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "taking the direct way");
                    metrics::counter!(metric::QUEUE_FALLBACKS).increment(1);
                }
            }
        }
        self.direct.commit(entry).await.map_err(|error| match error {
            DirectError::Full => IntakeError::Full,
            DirectError::Unavailable(_) => IntakeError::Unavailable(error),
            DirectError::Unstorable(_) => IntakeError::Unstorable(error),
        })
    }
}
