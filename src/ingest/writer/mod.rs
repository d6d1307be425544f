//! The writer: takes entries from the queue, settles them, and only then acknowledges them.
//!
//! A writer may die at any point. Before the commit, nothing has happened and another writer claims its
//! entries; after the commit, the entries are known as settled and are only acknowledged again.

mod burial;
mod settling;

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

use self::{burial::bury, settling::settle_all};
use super::{
    entry::Entry,
    queue::{Consumer, Delivery, Queue, QueueError},
    settle::{Parcel, Settler},
};
use crate::{config::Writer as WriterConfig, store::ledger::EntryId};

/// How long a writer waits on an empty queue before it looks around.
const BLOCK: Duration = Duration::from_millis(500);

/// How often, at most, a writer looks for entries that others left behind. Never later than an entry may be
/// claimed.
const CLAIM_EVERY: Duration = Duration::from_secs(5);

/// How many times, while an entry may be silent, its writer says that it lives.
const SIGNS_OF_LIFE: u32 = 4;

/// Entries asked for at once; an entry holds up to a hundred events.
const READ_ENTRIES: usize = 200;

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
///
/// When reading fails, what was read is still settled. When settling fails, reading ends at once: it would
/// go on to collect entries that nobody settles, and its signs of life would keep them from being claimed.
async fn serve(
    queue: &Queue,
    consumer: Consumer<'_>,
    settler: &Settler,
    config: &WriterConfig,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<(), QueueError> {
    let (sender, mut receiver) = mpsc::channel::<Batch>(1);
    let heart = consumer.clone();
    let reader = Reader {
        queue,
        consumer,
        settler,
        config,
        progress,
        stop,
        batches: sender,
    };
    let broken = CancellationToken::new();
    let reading = async {
        let read = broken.run_until_cancelled(reader.read_all()).await;
        read.unwrap_or(Ok(()))
    };
    let settling = async {
        while let Some(batch) = receiver.recv().await {
            if let Err(error) = settle_all(queue, settler, &batch, progress).await {
                broken.cancel();
                return Err(error);
            }
        }
        Ok(())
    };
    let working = async { tokio::join!(reading, settling) };
    let beat = Duration::from_millis(config.claim_idle_ms) / SIGNS_OF_LIFE;
    tokio::select! {
        (read, settled) = working => read.and(settled),
        () = show_life(&heart, beat) => Ok(()),
    }
}

/// Keeps what this writer holds from being claimed, until it is dropped.
///
/// However long the store is away, nobody died of an entry: its deliveries must not add up. When the queue
/// is away, too, the halves find out by themselves.
async fn show_life(heart: &Consumer<'_>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = heart.keep_held().await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "no sign of life was given"
            );
        }
    }
}

/// The half of a writer that takes entries from the queue.
struct Reader<'a> {
    queue: &'a Queue,
    consumer: Consumer<'a>,
    settler: &'a Settler,
    config: &'a WriterConfig,
    progress: &'a Progress,
    stop: &'a CancellationToken,
    batches: mpsc::Sender<Batch>,
}

impl Reader<'_> {
    /// Reads until `stop` and an empty queue, or until nobody settles any more.
    async fn read_all(mut self) -> Result<(), QueueError> {
        if !self.resume().await? {
            return Ok(());
        }
        let claim_every = CLAIM_EVERY.min(Duration::from_millis(self.config.claim_idle_ms));
        let mut looked = None::<Instant>;
        loop {
            self.progress.note(self.settler);
            if looked.is_none_or(|at| at.elapsed() > claim_every) {
                looked = Some(Instant::now());
                self.consumer.forget_idle_consumers(CONSUMER_IDLE).await?;
                if !self.claim().await? {
                    return Ok(());
                }
            }
            let wait = !self.stop.is_cancelled();
            let deliveries = read(&mut self.consumer, self.config.batch_events, wait).await?;
            if deliveries.is_empty() && self.stop.is_cancelled() {
                return Ok(());
            }
            if !self.pass_on(deliveries).await? {
                return Ok(());
            }
        }
    }

    /// Takes up again what this writer was given over an earlier connection.
    async fn resume(&mut self) -> Result<bool, QueueError> {
        self.consumer.absolve_held().await?;
        let mut after = EntryId::default();
        loop {
            let held = self.consumer.read_held(after, READ_ENTRIES).await?;
            let Some(last) = held.last() else { return Ok(true) };
            after = last.id;
            if !self.pass_on(held).await? {
                return Ok(false);
            }
        }
    }

    /// Takes over what silent writers left behind, until there is nothing of it left.
    async fn claim(&mut self) -> Result<bool, QueueError> {
        loop {
            let claimed = self
                .consumer
                .claim(
                    self.config.claim_idle_ms,
                    READ_ENTRIES,
                    self.config.deliveries_max,
                )
                .await?;
            for delivery in &claimed.poison {
                let reason = "its writers died each time, also with nothing else in hand";
                bury(self.queue, self.settler, delivery, reason).await?;
            }
            if claimed.deliveries.is_empty() && claimed.poison.is_empty() {
                return Ok(true);
            }
            if !claimed.deliveries.is_empty() {
                tracing::info!(
                    entries = claimed.deliveries.len(),
                    "took over entries left behind"
                );
            }
            if claimed.suspect {
                if let Some(batch) = unpack(self.queue, self.settler, claimed.deliveries).await? {
                    settle_all(self.queue, self.settler, &batch, self.progress).await?;
                }
            } else if !self.pass_on(claimed.deliveries).await? {
                return Ok(false);
            }
        }
    }

    /// Hands deliveries to the other half; `false` when it is not there any more.
    async fn pass_on(&mut self, deliveries: Vec<Delivery>) -> Result<bool, QueueError> {
        if deliveries.is_empty() {
            return Ok(true);
        }
        match unpack(self.queue, self.settler, deliveries).await? {
            Some(batch) => Ok(self.batches.send(batch).await.is_ok()),
            None => Ok(true),
        }
    }
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

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use sqlx::PgPool;

    use super::*;
    use crate::{
        ingest::{
            ledger::audit,
            testing::{self, event, event_of},
        },
        rights::Rights,
    };

    /// Puts events on a queue and has a writer take them until nothing waits any more.
    async fn write_out(queue: &Arc<Queue>, settler: &Settler) {
        let stop = CancellationToken::new();
        stop.cancel();
        run(
            queue.clone(),
            settler.clone(),
            WriterConfig::default(),
            Arc::default(),
            stop,
        )
        .await;
        assert_eq!(queue.counts().await.unwrap().unacknowledged, 0);
    }

    #[sqlx::test(migrations = "./migrations")]
    async fn who_is_erased_while_an_entry_waits_is_not_in_its_dead_letter(pool: PgPool) {
        let settler = testing::settler(&pool).await;
        let config = crate::config::Redis {
            queue_url: std::env::var("REDIS_URL").expect("REDIS_URL names the Redis for tests"),
            key_prefix: format!("test-{}", Uuid::now_v7()),
            ..crate::config::Redis::default()
        };
        let queue = Arc::new(Queue::open(&config, 1000).await.unwrap());
        let rights = Rights {
            pool: pool.clone(),
            situation: settler.situation,
            rules: settler.rules.clone(),
            hasher: settler.hasher.clone(),
            queue: Some(queue.clone()),
            clock: settler.clock.clone(),
            events_days: None,
        };
        testing::settle(&settler, vec![event_of("a1", 0, "identify", "ann")]).await;
        // PostgreSQL's text holds no NUL.
        let unstorable = |device: &str| {
            let mut event = event(device, 5, "click");
            event.page_title = Some("a\0b".into());
            event
        };
        let mut late = event("a1", 3, "click");
        late.timestamp = testing::now() + TimeDelta::days(1);
        let mixed = vec![
            event_of("a1", 1, "purchase", "ann"),
            event("a1", 2, "click"),
            late,
            event("n1", 4, "click"),
            unstorable("n1"),
        ];
        queue.add(&testing::entry(mixed)).await.unwrap();
        rights.erase("ann", "test").await.unwrap();
        // As if each of its writers had died of it.
        let waiting = queue.peek(EntryId::default(), 10).await.unwrap();
        bury(&queue, &settler, &waiting[0], "its writers died")
            .await
            .unwrap();
        queue.add(&testing::entry(vec![unstorable("n2")])).await.unwrap();
        write_out(&queue, &settler).await;

        let letters = queue.dead_letters(10).await.unwrap();
        let held: Vec<(u32, Vec<String>)> = letters
            .iter()
            .map(|letter| {
                let entry = Entry::decode(&letter.delivery.version, &letter.delivery.payload).unwrap();
                assert_eq!(entry.received, letter.delivery.received);
                let ids = entry.events.into_iter().map(|event| event.event_id);
                (entry.received, ids.collect())
            })
            .collect();
        let ids = ["a1/00003/click", "n1/00004/click", "n1/00005/click"].map(String::from);
        assert_eq!(held, [(3, ids.to_vec()), (1, vec!["n2/00005/click".into()])]);
        let counts = queue.counts().await.unwrap();
        assert_eq!(counts.received, 6, "{counts:?}");

        // Back on the queue, the letter counts what it holds, and the sums still hold.
        queue.revive(&letters[0]).await.unwrap();
        write_out(&queue, &settler).await;
        assert_eq!(queue.counts().await.unwrap().received, 9);
        let mut connection = pool.acquire().await.unwrap();
        let audit = audit(&mut connection, Some(&queue)).await.unwrap();
        assert!(audit.balances(), "{audit:?}");
    }
}
