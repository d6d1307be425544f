//! The writer: takes entries from the queue, settles them, and only then acknowledges them.
//!
//! A writer may die at any point. Before the commit, nothing has happened and another writer claims its
//! entries; after the commit, the entries are known as settled and are only acknowledged again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    entry::Entry,
    queue::{Consumer, Delivery, Queue, QueueError},
    settle::{Parcel, Settler},
};
use crate::{
    config::Writer as WriterConfig,
    ops::metrics as metric,
    store::{Remedy, StoreError},
};

/// How long a writer waits on an empty queue before it looks around.
const BLOCK: Duration = Duration::from_millis(500);

/// How often a writer looks for entries that others left behind.
const CLAIM_EVERY: Duration = Duration::from_secs(5);

/// Entries asked for at once; an entry holds up to a hundred events.
const READ_ENTRIES: usize = 200;

/// Entries a writer can have in hand when its connection breaks: one batch being settled, one read ahead.
const OWN_ENTRIES: usize = 100_000;

/// Pauses between attempts while Redis or PostgreSQL cannot be reached.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A consumer that holds nothing and has been silent this long belongs to a process that is gone.
const CONSUMER_IDLE: Duration = Duration::from_secs(3600);

/// When the writers last made progress or found nothing to do; read by the watchdog.
#[derive(Debug, Default)]
pub struct Progress {
    last_ms: AtomicI64,
}

impl Progress {
    fn note(&self, settler: &Settler) {
        self.last_ms
            .store(settler.clock.now().timestamp_millis(), Ordering::Relaxed);
    }

    /// Milliseconds since the epoch of the last sign of life; 0 before the first.
    pub fn last_ms(&self) -> i64 {
        self.last_ms.load(Ordering::Relaxed)
    }
}

/// Runs one writer until `stop`, then until the queue is empty or `drain` is over.
pub async fn run(
    queue: Arc<Queue>,
    settler: Settler,
    config: WriterConfig,
    progress: Arc<Progress>,
    stop: CancellationToken,
) {
    let name = format!("{}-{}", std::process::id(), Uuid::now_v7().simple());
    let mut pause = PAUSE_MIN;
    loop {
        match queue.consumer(&name, BLOCK).await {
            Ok(consumer) => {
                pause = PAUSE_MIN;
                match serve(&queue, consumer, &settler, &config, &progress, &stop).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the writer lost the queue"
                        );
                    }
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the queue cannot be opened"
                );
            }
        }
        // Without the queue there is nothing a stop would have to wait for.
        progress.note(&settler);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
        }
    }
}

/// Entries that were read and decoded, on their way to be settled.
struct Batch {
    epoch: Uuid,
    parcels: Vec<Parcel>,
    deliveries: Vec<Delivery>,
}

/// Reads ahead by one batch while the one before is being settled.
async fn serve(
    queue: &Queue,
    mut consumer: Consumer<'_>,
    settler: &Settler,
    config: &WriterConfig,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<(), QueueError> {
    let (sender, mut receiver) = mpsc::channel::<Batch>(1);
    let reading = async move {
        let own = consumer.read_own(OWN_ENTRIES).await?;
        if !pass_on(queue, settler, own, &sender).await? {
            return Ok(());
        }
        let mut looked = None::<Instant>;
        loop {
            progress.note(settler);
            if looked.is_none_or(|at| at.elapsed() > CLAIM_EVERY) {
                looked = Some(Instant::now());
                if !take_over(queue, &mut consumer, settler, config, &sender).await? {
                    return Ok(());
                }
            }
            let deliveries = read(&mut consumer, config.batch_events, !stop.is_cancelled()).await?;
            if deliveries.is_empty() && stop.is_cancelled() {
                return Ok(());
            }
            if !pass_on(queue, settler, deliveries, &sender).await? {
                return Ok(());
            }
        }
    };
    let settling = async {
        while let Some(batch) = receiver.recv().await {
            settle_all(queue, settler, &batch, progress).await?;
        }
        Ok(())
    };
    let (read, settled) = tokio::join!(reading, settling);
    read.and(settled)
}

/// Hands entries on to be settled; false when nobody settles any more.
async fn pass_on(
    queue: &Queue,
    settler: &Settler,
    deliveries: Vec<Delivery>,
    sender: &mpsc::Sender<Batch>,
) -> Result<bool, QueueError> {
    if deliveries.is_empty() {
        return Ok(true);
    }
    match unpack(queue, settler, deliveries).await? {
        Some(batch) => Ok(sender.send(batch).await.is_ok()),
        None => Ok(true),
    }
}

/// Takes over what silent writers left behind; false when nobody settles any more.
async fn take_over(
    queue: &Queue,
    consumer: &mut Consumer<'_>,
    settler: &Settler,
    config: &WriterConfig,
    sender: &mpsc::Sender<Batch>,
) -> Result<bool, QueueError> {
    consumer.forget_idle_consumers(CONSUMER_IDLE).await?;
    let claimed = consumer
        .claim(config.claim_idle_ms, READ_ENTRIES, config.deliveries_max)
        .await?;
    for delivery in claimed.poison {
        bury(
            queue,
            settler,
            &delivery,
            "its writer died each time, also when it had nothing else in hand",
        )
        .await?;
    }
    if !claimed.deliveries.is_empty() {
        tracing::info!(
            entries = claimed.deliveries.len(),
            "took over entries left behind"
        );
    }
    if !pass_on(queue, settler, claimed.deliveries, sender).await? {
        return Ok(false);
    }
    for suspect in claimed.suspects {
        tracing::warn!(entry = %suspect.id, "trying an entry alone that was delivered too often");
        if !pass_on(queue, settler, vec![suspect], sender).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads until a batch is full or the queue has nothing more at once.
async fn read(
    consumer: &mut Consumer<'_>,
    batch_events: usize,
    wait: bool,
) -> Result<Vec<Delivery>, QueueError> {
    let mut deliveries = consumer.read(READ_ENTRIES, wait).await?;
    let mut got = deliveries.len();
    let mut events: usize = deliveries.iter().map(|delivery| delivery.received as usize).sum();
    while got == READ_ENTRIES && events < batch_events {
        let more = consumer.read(READ_ENTRIES, false).await?;
        got = more.len();
        events += more
            .iter()
            .map(|delivery| delivery.received as usize)
            .sum::<usize>();
        deliveries.extend(more);
    }
    Ok(deliveries)
}

/// Decodes the payloads; what this release cannot read goes to the dead letters.
async fn unpack(
    queue: &Queue,
    settler: &Settler,
    deliveries: Vec<Delivery>,
) -> Result<Option<Batch>, QueueError> {
    let Some(epoch) = queue.epoch().await? else {
        return Err(QueueError::Unexpected("there are entries but no epoch".into()));
    };
    let mut batch = Batch {
        epoch,
        parcels: Vec::new(),
        deliveries: Vec::new(),
    };
    for delivery in deliveries {
        match Entry::decode(&delivery.version, &delivery.payload) {
            Ok(entry) => {
                batch.parcels.push(Parcel {
                    id: Some(delivery.id),
                    entry,
                });
                batch.deliveries.push(delivery);
            }
            Err(error) => bury(queue, settler, &delivery, &error.to_string()).await?,
        }
    }
    Ok((!batch.parcels.is_empty()).then_some(batch))
}

/// Settles a batch however long it takes, halving it while the data is at fault.
async fn settle_all(
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
                bury(queue, settler, delivery, &reason).await?;
            }
        }
        progress.note(settler);
    }
    Ok(())
}

/// Tries until it works; returns only errors that trying again cannot mend.
///
/// The entries stay pending meanwhile. An outage of the database therefore costs patience, not events.
async fn settle_patiently(
    settler: &Settler,
    epoch: Uuid,
    parcels: &[Parcel],
    progress: &Progress,
) -> Result<(), StoreError> {
    let mut pause = PAUSE_MIN;
    loop {
        match settler.settle(epoch, parcels).await {
            Ok(_) => return Ok(()),
            Err(error) if error.remedy() == Remedy::GiveUp => return Err(error),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    pause_ms = pause.as_millis() as u64,
                    "the store did not take a batch; trying again"
                );
                progress.note(settler);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Acknowledges settled entries. When that fails they are delivered again and recognised.
async fn acknowledge(queue: &Queue, deliveries: &[Delivery]) -> Result<(), QueueError> {
    let entries: Vec<_> = deliveries
        .iter()
        .map(|delivery| (delivery.id, delivery.received))
        .collect();
    queue.acknowledge(&entries).await
}

/// Moves a poison entry to the dead letters: first the copy, then the ledger, then the acknowledgement.
async fn bury(queue: &Queue, settler: &Settler, delivery: &Delivery, reason: &str) -> Result<(), QueueError> {
    tracing::error!(entry = %delivery.id, reason, "a queue entry moves to the dead letters");
    queue.bury(delivery, reason).await?;
    let epoch = queue
        .epoch()
        .await?
        .ok_or_else(|| QueueError::Unexpected("there are entries but no epoch".into()))?;
    let mut pause = PAUSE_MIN;
    while let Err(error) = settler
        .settle_poison(epoch, delivery.id, delivery.received, reason)
        .await
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a dead letter could not be accounted for"
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    acknowledge(queue, std::slice::from_ref(delivery)).await
}

fn observe(parcels: &[Parcel], started: Instant) {
    let events: usize = parcels.iter().map(|parcel| parcel.entry.events.len()).sum();
    metrics::histogram!(metric::WRITER_BATCH_EVENTS).record(events as f64);
    metrics::histogram!(metric::WRITER_BATCH_SECONDS).record(started.elapsed().as_secs_f64());
}
