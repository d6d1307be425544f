//! The half of a writer that settles what the other half has read.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{Batch, PAUSE_MAX, PAUSE_MIN, Progress, burial::settle_storable};
use crate::{
    ingest::{
        queue::{Delivery, Queue, QueueError},
        settle::{Parcel, Settler, Tally},
    },
    ops::metrics as metric,
    store::{Remedy, StoreError},
};

/// Settles a batch however long it takes, halving it while the data is at fault.
pub(super) async fn settle_all(
    queue: &Queue,
    settler: &Settler,
    batch: &Batch,
    progress: &Progress,
) -> Result<(), QueueError> {
    let mut ranges = vec![(0, batch.parcels.len())];
    while let Some((start, end)) = ranges.pop() {
        let range = start..end;
        let started = Instant::now();
        match settle_patiently(settler, batch.epoch, &batch.parcels[range.clone()], progress).await {
            Ok(()) => {
                observe(&batch.parcels[range.clone()], started);
                acknowledge(queue, &batch.deliveries[range]).await?;
            }
            Err(_) if range.len() > 1 => {
                let middle = range.start + range.len() / 2;
                ranges.push((middle, range.end));
                ranges.push((range.start, middle));
            }
            Err(error) => {
                let delivery = &batch.deliveries[range.start];
                let reason = format!("{error}: {}", error.source);
                settle_storable(
                    queue,
                    settler,
                    batch.epoch,
                    &batch.parcels[range.start],
                    delivery,
                    &reason,
                    progress,
                )
                .await?;
            }
        }
        progress.note(settler);
    }
    Ok(())
}

/// Says what went wrong, and pauses; longer each time.
pub(super) async fn wait(error: &StoreError, pause: &mut Duration) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        pause_ms = pause.as_millis() as u64,
        "the store did not take a batch; trying again"
    );
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 2).min(PAUSE_MAX);
}

/// Tries until it works; returns only errors that trying again cannot mend.
///
/// The entries stay pending meanwhile. An outage of the database therefore costs patience, not events.
pub(super) async fn settle_patiently(
    settler: &Settler,
    epoch: Uuid,
    parcels: &[Parcel],
    progress: &Progress,
) -> Result<(), StoreError> {
    let mut pause = PAUSE_MIN;
    loop {
        match settle_alive(settler, epoch, parcels, progress).await {
            Ok(_) => return Ok(()),
            Err(error) if error.remedy() == Remedy::GiveUp => return Err(error),
            Err(error) => {
                progress.note(settler);
                wait(&error, &mut pause).await;
            }
        }
    }
}

/// Settles, and shows life meanwhile: waiting for a long erasure is no reason to be restarted.
pub(super) async fn settle_alive(
    settler: &Settler,
    epoch: Uuid,
    parcels: &[Parcel],
    progress: &Progress,
) -> Result<Tally, StoreError> {
    let mut settling = pin!(settler.settle(epoch, parcels));
    loop {
        tokio::select! {
            settled = &mut settling => return settled,
            () = tokio::time::sleep(PAUSE_MAX) => progress.note(settler),
        }
    }
}

/// Acknowledges settled entries. When that fails they are delivered again and recognised.
pub(super) async fn acknowledge(queue: &Queue, deliveries: &[Delivery]) -> Result<(), QueueError> {
    let entries: Vec<_> = deliveries
        .iter()
        .map(|delivery| (delivery.id, delivery.received))
        .collect();
    queue.acknowledge(&entries).await
}

pub(super) fn observe(parcels: &[Parcel], started: Instant) {
    let events: usize = parcels.iter().map(|parcel| parcel.entry.events.len()).sum();
    metrics::histogram!(metric::WRITER_BATCH_EVENTS).record(events as f64);
    metrics::histogram!(metric::WRITER_BATCH_SECONDS).record(started.elapsed().as_secs_f64());
}
