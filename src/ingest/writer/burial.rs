//! What cannot be stored goes to the dead letters; the rest of it is stored.

use uuid::Uuid;

use super::{
    PAUSE_MIN, Progress,
    settling::{acknowledge, settle_patiently, wait},
};
use crate::{
    ingest::{
        entry::{Entry, VERSION},
        erased::without_erased,
        poison,
        queue::{Delivery, Queue, QueueError},
        settle::{Parcel, Settler},
    },
    store::{StoreError, erasure},
};

/// Settles what can be stored of an entry that cannot be stored whole; the rest goes to the dead letters.
///
/// The dead letter is written first: a crash leaves a second copy of it, never none.
pub(super) async fn settle_storable(
    queue: &Queue,
    settler: &Settler,
    epoch: Uuid,
    parcel: &Parcel,
    delivery: &Delivery,
    reason: &str,
    progress: &Progress,
) -> Result<(), QueueError> {
    let mut pause = PAUSE_MIN;
    let sorted = loop {
        match poison::sort_out(settler, epoch, parcel).await {
            Ok(sorted) => break sorted,
            Err(error) => wait(&error, &mut pause).await,
        }
    };
    if !sorted.unstorable.is_empty() {
        let letter = Entry {
            received: u32::try_from(sorted.unstorable.len()).unwrap_or(u32::MAX),
            events: sorted.unstorable,
            rejected: Vec::new(),
            ..parcel.entry.clone()
        };
        tracing::error!(entry = %delivery.id, reason, events = letter.received, "events that cannot be stored");
        let letter = Delivery {
            id: delivery.id,
            version: VERSION.to_owned(),
            received: letter.received,
            payload: letter.encode(),
        };
        bury_copy(queue, settler, &letter, reason).await?;
    }
    let storable = std::slice::from_ref(&sorted.storable);
    match settle_patiently(settler, epoch, storable, progress).await {
        Ok(()) => acknowledge(queue, std::slice::from_ref(delivery)).await,
        // Not an event is at fault but the entry itself.
        Err(_) => bury(queue, settler, delivery, reason).await,
    }
}

/// Moves a poison entry to the dead letters: first the copy, then the ledger, then the acknowledgement.
pub(super) async fn bury(
    queue: &Queue,
    settler: &Settler,
    delivery: &Delivery,
    reason: &str,
) -> Result<(), QueueError> {
    tracing::error!(entry = %delivery.id, reason, "a queue entry moves to the dead letters");
    bury_copy(queue, settler, delivery, reason).await?;
    let epoch = queue
        .epoch()
        .await?
        .ok_or_else(|| QueueError::Unexpected("there are entries but no epoch".into()))?;
    let mut pause = PAUSE_MIN;
    while let Err(error) = settler
        .settle_poison(epoch, delivery.id, delivery.received, reason)
        .await
    {
        wait(&error, &mut pause).await;
    }
    acknowledge(queue, std::slice::from_ref(delivery)).await
}

/// Copies an entry to the dead letters, however long it takes to learn who was erased.
async fn bury_copy(
    queue: &Queue,
    settler: &Settler,
    delivery: &Delivery,
    reason: &str,
) -> Result<(), QueueError> {
    let mut pause = PAUSE_MIN;
    loop {
        match copy_to_dead(queue, settler, delivery, reason).await {
            Ok(copied) => return copied,
            Err(error) => wait(&error, &mut pause).await,
        }
    }
}

/// Copies an entry to the dead letters without what was erased while it waited.
///
/// An erasure comes either before, and its tombstones are found, or after, and finds the letter.
async fn copy_to_dead(
    queue: &Queue,
    settler: &Settler,
    delivery: &Delivery,
    reason: &str,
) -> Result<Result<(), QueueError>, StoreError> {
    let mut transaction = settler
        .pool
        .begin()
        .await
        .map_err(StoreError::during("store.bury"))?;
    erasure::lock_shared(&mut transaction).await?;
    // The ledger still counts all of the entry as rejected; the letter counts what it holds.
    let copied = match without_erased(&mut transaction, &settler.hasher, delivery).await? {
        Some(letter) => queue.bury(&letter, reason).await,
        None => Ok(()),
    };
    // Nothing was written: the transaction only held the lock.
    drop(transaction);
    Ok(copied)
}
