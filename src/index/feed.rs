//! Keeping the index up to date: one task that follows the log of changes, and the handle that readers hold.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Micros,
    file::{self, Mark},
    full::{Loader, Progress, REACH_DAYS},
    live::Keeper,
    load,
    view::{Size, View},
};
use crate::{
    ops::{Clock, metrics as metric},
    store::{
        StoreError, begin_snapshot,
        index_changes::{self, Change},
    },
};

/// Customers read again at once.
const CUSTOMERS_PER_READ: usize = 1000;

/// How long reading everything may take before PostgreSQL ends it.
const LOAD_PATIENCE: Duration = Duration::from_secs(3600);

/// How long reading what changed may take.
const READ_PATIENCE: Duration = Duration::from_secs(60);

/// Least pause between two looks: while a lot is stored, one look takes in what several commits wrote.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Pause after a failure.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// How often the index drops what retention has dropped, and the names nobody uses any more.
const TIDY_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// How the index is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes it may take.
    pub bytes_max: usize,
    /// Pause between two looks at the log when nobody says that something was stored.
    pub poll: Duration,
    /// Days after which the store drops events; `None` when it keeps them.
    pub events_days: Option<u32>,
    /// Where snapshots are kept.
    pub file: Option<PathBuf>,
    /// Time between two snapshots.
    pub save_every: TimeDelta,
}

/// What the index is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// How far the first load is; `None` once it is done.
    pub loading: Option<Progress>,
    pub size: Size,
    pub bytes: usize,
    /// Times before this are not covered.
    pub covered_from: Option<Micros>,
    /// Whether memory, and not retention, decides how far the index reaches back.
    pub is_cut_by_memory: bool,
    /// When the index last was as new as the store.
    pub fresh_at: Option<DateTime<Utc>>,
    /// Why it is not, when the last attempt failed.
    pub trouble: Option<String>,
}

/// The index, for readers.
#[derive(Debug)]
pub struct Index {
    view: RwLock<Option<Arc<View>>>,
    status: Mutex<Status>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            view: RwLock::default(),
            status: Mutex::new(Status {
                loading: Some(Progress::default()),
                ..Status::default()
            }),
        }
    }
}

impl Index {
    /// An index with a fixed content.
    pub fn of(view: View) -> Self {
        let index = Self::default();
        index.change_status(|status| status.loading = None);
        index.publish(view);
        index
    }

    /// Returns the newest state; `None` while the first load runs.
    pub fn view(&self) -> Option<Arc<View>> {
        self.view
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    pub fn status(&self) -> Status {
        self.status
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    fn publish(&self, view: View) {
        *self.view.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Arc::new(view));
    }

    fn change_status(&self, change: impl FnOnce(&mut Status)) {
        change(
            &mut self
                .status
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
        );
    }
}

/// Keeps an index as new as the store.
pub struct Feed {
    index: Arc<Index>,
    pool: PgPool,
    clock: Clock,
    settings: Settings,
    keeper: Keeper,
    mark: Mark,
    /// Transactions at or beyond the horizon that were taken in already.
    seen: HashSet<i64>,
    tidied_at: DateTime<Utc>,
    saved_at: DateTime<Utc>,
    /// Whether the snapshot file is older than the index.
    is_dirty: bool,
    /// Whether somebody vanished since names were last counted anew.
    has_vanished: bool,
}

impl Feed {
    /// Fills the index from its file, where that is of this database and new enough, else from the store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(
        index: Arc<Index>,
        pool: PgPool,
        clock: Clock,
        settings: Settings,
    ) -> Result<Self, StoreError> {
        let started = std::time::Instant::now();
        let mut snapshot = begin_snapshot(&pool, LOAD_PATIENCE)
            .await
            .map_err(StoreError::during("store.index.open"))?;
        let identity = index_changes::identity(&mut snapshot).await?;
        let now = clock.now();
        let saved = match &settings.file {
            Some(path) => from_file(&mut snapshot, path, &identity, now).await?,
            None => None,
        };
        let from = if saved.is_some() {
            "a snapshot"
        } else {
            "the store"
        };
        let (keeper, mark) = match saved {
            Some(saved) => saved,
            None => from_store(&mut snapshot, &index, &settings, identity, now).await?,
        };
        snapshot
            .rollback()
            .await
            .map_err(StoreError::during("store.index.open"))?;
        let mut feed = Self {
            index,
            pool,
            clock,
            settings,
            keeper,
            mark,
            seen: HashSet::new(),
            tidied_at: now,
            saved_at: now,
            is_dirty: from == "the store",
            has_vanished: false,
        };
        feed.tidy(now);
        feed.follow().await?;
        let size = feed.index.status().size;
        tracing::info!(
            people = size.people,
            sessions = size.sessions,
            events = size.events,
            seconds = started.elapsed().as_secs_f64(),
            "the index was filled from {from} with {} events of {} people",
            size.events,
            size.people
        );
        Ok(feed)
    }

    /// Follows the store until `stop`, then leaves a snapshot for the next start. `committed` says when to look at once.
    pub async fn run(mut self, committed: Arc<Notify>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = committed.notified() => {}
                () = tokio::time::sleep(self.settings.poll) => {}
            }
            match self.follow().await {
                Ok(()) => {
                    self.keep_house();
                    tokio::time::sleep(PAUSE_MIN).await;
                }
                Err(error) => {
                    self.admit(&error);
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(FAILURE_PAUSE) => {}
                    }
                }
            }
        }
        self.save();
    }

    /// Takes in what changed since the last time.
    ///
    /// # Errors
    /// [`StoreError`]; the index is as it was, and the next attempt starts from the same place.
    pub async fn follow(&mut self) -> Result<(), StoreError> {
        let step = "store.index.follow";
        let began = self.clock.now();
        let mut snapshot = begin_snapshot(&self.pool, READ_PATIENCE)
            .await
            .map_err(StoreError::during(step))?;
        let entries = index_changes::read(&mut snapshot, self.mark.horizon).await?;
        let horizon = index_changes::horizon(&mut snapshot).await?;
        let fresh = || {
            entries
                .iter()
                .filter(|entry| !self.seen.contains(&entry.transaction))
        };
        if fresh().any(|entry| entry.changes.is_empty()) {
            drop(snapshot);
            return self.refill().await;
        }
        let changes = together(fresh().flat_map(|entry| &entry.changes));
        let not_before = load::time_of(self.keeper.covered_from());
        for piece in changes.chunks(CUSTOMERS_PER_READ) {
            let tails = load::read_tails(&mut snapshot, &self.keeper, piece, not_before).await?;
            self.has_vanished |= tails.iter().any(|tail| tail.sessions.is_empty());
            self.keeper.apply(tails);
        }
        snapshot.rollback().await.map_err(StoreError::during(step))?;
        // Only now, when nothing can fail any more. What was taken in before a failure is taken in again: it replaces
        // itself, and nobody sees it before the rest is there.
        self.seen = entries
            .iter()
            .map(|entry| entry.transaction)
            .filter(|transaction| *transaction >= horizon.0)
            .collect();
        self.mark.horizon = horizon;
        if !changes.is_empty() || self.index.view().is_none() {
            self.is_dirty = true;
            self.publish();
        }
        self.index.change_status(|status| {
            status.loading = None;
            status.fresh_at = Some(began);
            status.trouble = None;
        });
        metrics::gauge!(metric::INDEX_LAG_SECONDS).set((self.clock.now() - began).as_seconds_f64());
        Ok(())
    }

    /// Makes the index anew, when the log no longer has all that happened since the last look.
    async fn refill(&mut self) -> Result<(), StoreError> {
        tracing::warn!("the log of changes was cut before the index had read it; it is made from the store");
        let step = "store.index.refill";
        let mut snapshot = begin_snapshot(&self.pool, LOAD_PATIENCE)
            .await
            .map_err(StoreError::during(step))?;
        let identity = self.mark.identity.clone();
        let now = self.clock.now();
        (self.keeper, self.mark) =
            from_store(&mut snapshot, &self.index, &self.settings, identity, now).await?;
        self.seen.clear();
        self.is_dirty = true;
        self.publish();
        Ok(())
    }

    pub(super) fn publish(&self) {
        let view = self.keeper.view();
        let (size, bytes) = (view.size(), self.keeper.bytes());
        let covered_from = view.covered_from;
        self.index.publish(view);
        self.index.change_status(|status| {
            status.size = size;
            status.bytes = bytes;
            status.covered_from = Some(covered_from);
        });
        metrics::gauge!(metric::INDEX_EVENTS).set(size.events as f64);
        metrics::gauge!(metric::INDEX_BYTES).set(bytes as f64);
    }

    pub(super) fn keep_house(&mut self) {
        let now = self.clock.now();
        if now - self.tidied_at >= TIDY_INTERVAL || self.keeper.bytes() > self.settings.bytes_max {
            self.tidy(now);
            self.publish();
        }
        if now - self.saved_at >= self.settings.save_every {
            self.save();
        }
    }

    /// Drops what retention has dropped, what memory has no room for, and names nobody uses.
    pub(super) fn tidy(&mut self, now: DateTime<Utc>) {
        self.tidied_at = now;
        if let Some(time) = horizon_of(&self.settings, now) {
            self.keeper.forget_before(time.timestamp_micros());
        }
        if self.has_vanished {
            self.keeper.renumber();
            // The file still has what was forgotten.
            self.is_dirty = true;
            self.has_vanished = false;
        }
        if let Some(time) = self.keeper.shrink_to(self.settings.bytes_max) {
            tracing::warn!(
                covered_from = %load::time_of(time),
                bytes_max = self.settings.bytes_max,
                "the index has reached its memory and now begins at {}: raise index.memory_mb for more",
                load::time_of(time)
            );
        }
        let wanted = horizon_of(&self.settings, now).map_or(Micros::MIN, |time| time.timestamp_micros());
        let first_possible = self.keeper.origin().max(wanted);
        let is_cut = self.keeper.covered_from() > first_possible;
        self.index
            .change_status(|status| status.is_cut_by_memory = is_cut);
    }

    /// Writes the snapshot file. A failure is said and costs only the next start's time.
    pub(super) fn save(&mut self) {
        self.saved_at = self.clock.now();
        let Some(path) = self.settings.file.clone().filter(|_| self.is_dirty) else {
            return;
        };
        self.keeper.pack();
        match file::write(&path, &self.keeper, &self.mark) {
            Ok(()) => self.is_dirty = false,
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the index could not be saved to {}",
                path.display()
            ),
        }
    }

    fn admit(&self, error: &StoreError) {
        let is_new = self.index.status().trouble.is_none();
        let sentence = error.to_string();
        if is_new {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the index cannot follow the store; it answers from what it knows"
            );
        }
        if let Some(fresh_at) = self.index.status().fresh_at {
            metrics::gauge!(metric::INDEX_LAG_SECONDS).set((self.clock.now() - fresh_at).as_seconds_f64());
        }
        self.index.change_status(|status| status.trouble = Some(sentence));
    }
}

/// Returns from when the store has events.
fn horizon_of(settings: &Settings, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    settings
        .events_days
        .map(|days| now - TimeDelta::days(i64::from(days)))
}

async fn from_store(
    snapshot: &mut PgConnection,
    index: &Index,
    settings: &Settings,
    identity: String,
    now: DateTime<Utc>,
) -> Result<(Keeper, Mark), StoreError> {
    let loader = Loader::new(now, horizon_of(settings, now), settings.bytes_max);
    let horizon = index_changes::horizon(snapshot).await?;
    let said = AtomicU32::new(0);
    let keeper = loader
        .load(snapshot, |progress| report(index, &said, progress))
        .await?;
    Ok((keeper, Mark { identity, horizon }))
}

/// Returns what a file holds, if it is of this database and the log still has all that happened since.
async fn from_file(
    connection: &mut PgConnection,
    path: &std::path::Path,
    identity: &str,
    now: DateTime<Utc>,
) -> Result<Option<(Keeper, Mark)>, StoreError> {
    let (keeper, mark) = match file::read(path) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the saved index cannot be used; it is made from the store"
            );
            return Ok(None);
        }
    };
    let reach = now - TimeDelta::days(REACH_DAYS + 365);
    let is_usable = mark.identity == identity
        && keeper.origin() > reach.timestamp_micros()
        && index_changes::reaches_back_to(connection, mark.horizon).await?;
    if !is_usable {
        tracing::info!("the saved index is of another database or too old; it is made from the store");
    }
    Ok(is_usable.then_some((keeper, mark)))
}

/// Tells how far a load is; the log hears of it at each tenth.
fn report(index: &Index, said: &AtomicU32, progress: Progress) {
    let tenths = (progress.share * 10.0) as u32;
    if tenths > said.swap(tenths, Ordering::Relaxed) {
        tracing::info!(
            events = progress.events,
            "the index is being filled: {} %, {} events",
            tenths * 10,
            progress.events
        );
    }
    index.change_status(|status| status.loading = Some(progress));
}

/// Returns each customer once, with the earliest of its times.
fn together<'a>(changes: impl Iterator<Item = &'a Change>) -> Vec<Change> {
    let mut all: BTreeMap<Uuid, Option<DateTime<Utc>>> = BTreeMap::new();
    for change in changes {
        all.entry(change.customer_id)
            .and_modify(|since| *since = since.zip(change.since).map(|(a, b)| a.min(b)))
            .or_insert(change.since);
    }
    all.into_iter()
        .map(|(customer_id, since)| Change { customer_id, since })
        .collect()
}
