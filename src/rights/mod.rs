//! People's rights: everything about a person handed out, or taken away for good; and a wrong merge undone.
//!
//! A person is a customer: a user with all lives the user claimed, or one life of a device that nobody
//! claimed. What belongs to the person is what lies in those lives, and every event that names the user.
//!
//! The response cache and the sessions' index hold nothing of a person today; what does is PostgreSQL, the
//! queue and its dead letters.

mod erase;
mod export;
mod person;
mod queue;
mod remove;
mod replay;
mod unmerge;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use uuid::Uuid;

pub use erase::{Erasure, QueueErasure};
pub use export::{Chunks, ExportError};
pub use person::{Person, find_person};
pub use remove::Removed;
pub use replay::Replay;
pub use unmerge::Unmerged;

use crate::{
    event::Hasher,
    ingest::queue::{Queue, QueueError},
    ops::Clock,
    session::Rules,
    store::{StoreError, situation::Situation},
};

/// Everything the rights need; clones share it.
#[derive(Clone)]
pub struct Rights {
    pub pool: PgPool,
    pub situation: Situation,
    pub rules: Arc<Rules>,
    pub hasher: Hasher,
    /// `None` when events are committed directly.
    pub queue: Option<Arc<Queue>>,
    pub clock: Clock,
    /// After how many days events are dropped; `None` keeps them.
    pub events_days: Option<u32>,
}

#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    #[error("nobody is known by this reference")]
    Unknown,
    /// A device that several people used names none of them.
    #[error("the device was used by several people; name one of them")]
    Ambiguous(Vec<Uuid>),
    #[error("this customer is not a user, so there is no merge to undo")]
    NotMerged,
    #[error("this device is not linked to the customer")]
    NotLinked,
    /// The queue may hold events of the person, and nobody can look.
    #[error("the queue cannot be read")]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How often work is tried that PostgreSQL took back because of somebody else's, and the pause in between.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(200);

impl RightsError {
    /// Whether PostgreSQL took the transaction back for the sake of another: a deadlock or a failed
    /// serialisation. SQLSTATE class 40; source: PostgreSQL manual, appendix A.
    fn is_rollback(&self) -> bool {
        let Self::Store(error) = self else { return false };
        error
            .source
            .as_database_error()
            .and_then(|error| error.code())
            .is_some_and(|code| code.starts_with("40"))
    }
}

/// Does the work, again when it met another's in PostgreSQL; each time is a transaction of its own.
async fn patiently<T, Work>(mut work: impl FnMut() -> Work) -> Result<T, RightsError>
where
    Work: Future<Output = Result<T, RightsError>>,
{
    for attempt in 1..ATTEMPTS {
        match work().await {
            Err(error) if error.is_rollback() => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    attempt,
                    "PostgreSQL took a change of people's data back; trying again"
                );
                tokio::time::sleep(PAUSE * attempt).await;
            }
            done => return done,
        }
    }
    work().await
}
