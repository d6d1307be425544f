//! The direct way: events are committed to PostgreSQL before the answer.
//!
//! Requests that arrive while a commit is under way share the next one, so that the cost of a commit is
//! divided among them.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use super::{
    entry::Entry,
    poison,
    settle::{Parcel, Settler},
};
use crate::store::{Remedy, StoreError, ledger::DIRECT};

/// Requests that may wait for the next commit.
const WAITING_MAX: usize = 1024;

/// How long a request waits for its commit before it is answered with 503.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// More requests wait than the store can take.
    #[error("too many requests wait for the database")]
    Full,
    /// The events are not stored, or nobody can say whether they are: the client must send them again.
    #[error("the database did not take the events")]
    Unavailable(#[source] Option<Arc<StoreError>>),
    /// The database refuses this data whenever it is sent.
    #[error("the database cannot hold these events")]
    Unstorable(#[source] Option<Arc<StoreError>>),
}

type Answer = oneshot::Sender<Result<(), DirectError>>;

/// Handle on the task that commits.
#[derive(Clone)]
pub struct Direct {
    sender: mpsc::Sender<(Entry, Answer)>,
}

impl Direct {
    /// Starts the task. It ends when the last handle is dropped, after everything it was given.
    pub fn start(settler: Settler, batch_events: usize) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let task = tokio::spawn(commit_all(settler, receiver, batch_events));
        (Self { sender }, task)
    }

    /// Returns when the entry is committed.
    pub async fn commit(&self, entry: Entry) -> Result<(), DirectError> {
        let (answer, answered) = oneshot::channel();
        self.sender
            .try_send((entry, answer))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => DirectError::Full,
                mpsc::error::TrySendError::Closed(_) => DirectError::Unavailable(None),
            })?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(DirectError::Unavailable(None)),
        }
    }
}

async fn commit_all(settler: Settler, mut receiver: mpsc::Receiver<(Entry, Answer)>, batch_events: usize) {
    while let Some(first) = receiver.recv().await {
        let mut events = first.0.events.len();
        let mut batch = vec![first];
        while events < batch_events
            && let Ok(next) = receiver.try_recv()
        {
            events += next.0.events.len();
            batch.push(next);
        }
        // In a task of its own, so that a panic costs these requests their answer (503), not all later ones.
        if let Err(error) = tokio::spawn(commit(settler.clone(), batch)).await {
            tracing::error!(%error, "a direct commit ended unexpectedly");
        }
    }
}

/// Commits a batch; when the data is at fault, each entry alone, so that only the guilty one is refused.
async fn commit(settler: Settler, batch: Vec<(Entry, Answer)>) {
    let (parcels, answers): (Vec<Parcel>, Vec<Answer>) = batch
        .into_iter()
        .map(|(entry, answer)| (Parcel { id: None, entry }, answer))
        .unzip();
    match settler.settle(DIRECT, &parcels).await {
        Ok(_) => answers.into_iter().for_each(|answer| drop(answer.send(Ok(())))),
        Err(error) if error.remedy() == Remedy::GiveUp => {
            for (parcel, answer) in parcels.into_iter().zip(answers) {
                let _ = answer.send(commit_storable(&settler, &parcel).await);
            }
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "direct commit failed");
            let error = Arc::new(error);
            for answer in answers {
                let _ = answer.send(Err(DirectError::Unavailable(Some(error.clone()))));
            }
        }
    }
}

/// Commits what the database can hold of one entry; the rest is counted as rejected.
///
/// # Errors
/// [`DirectError::Unstorable`] when it can hold none of its events.
async fn commit_storable(settler: &Settler, parcel: &Parcel) -> Result<(), DirectError> {
    let sorted = poison::sort_out(settler, DIRECT, parcel).await.map_err(refusal)?;
    settler
        .settle(DIRECT, std::slice::from_ref(&sorted.storable))
        .await
        .map_err(refusal)?;
    if sorted.storable.entry.events.is_empty() && !sorted.unstorable.is_empty() {
        return Err(DirectError::Unstorable(None));
    }
    Ok(())
}

fn refusal(error: StoreError) -> DirectError {
    match error.remedy() {
        Remedy::GiveUp => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "events that cannot be stored"
            );
            DirectError::Unstorable(Some(Arc::new(error)))
        }
        Remedy::Retry => DirectError::Unavailable(Some(Arc::new(error))),
    }
}
