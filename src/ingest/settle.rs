//! Settling: the one transaction that decides what becomes of each event.
//!
//! Both ways into the store end here, the queue's writer and the direct commit. Everything an entry causes
//! is in its transaction: the rows, the sessions and customers that follow from them, the ledger, and the
//! note that the entry is settled. It happens completely, once, or not at all.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    derive::{self, Plan},
    entry::Entry,
};
use crate::{
    event::{Event, Hasher, event_key},
    ops::{Clock, metrics as metric},
    session::Rules,
    store::{
        StoreError, devices, erasure,
        events::{self, Load, Rows},
        ledger::{self, DIRECT, EntryId, LedgerKey, Sample, SettledEntry},
        situation::{self, Situation},
    },
};

/// Examples of one reason kept from one batch; the rest is only counted.
const SAMPLES_PER_REASON: usize = 3;

/// An entry, with its place in the queue if it came through one.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub id: Option<EntryId>,
    pub entry: Entry,
}

/// What became of the events of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub stored: u64,
    pub duplicate: u64,
    pub rejected: u64,
}

/// Everything settling needs to know; clones share it.
#[derive(Clone)]
pub struct Settler {
    pub pool: PgPool,
    pub load: Load,
    pub situation: Situation,
    pub rules: Arc<Rules>,
    pub hasher: Hasher,
    pub clock: Clock,
    /// Told of each commit, so that whoever follows the store looks at once.
    pub committed: Arc<Notify>,
}

/// One accepted event of the batch and the parcel it came in.
struct Item<'a> {
    parcel: usize,
    key: Uuid,
    event: &'a Event,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    stored: i32,
    duplicate: i32,
    erased: i32,
}

impl Settler {
    /// Settles the parcels of one queue epoch ([`DIRECT`] for none) in one transaction.
    ///
    /// Parcels that were settled before change nothing and are not counted again.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has happened then. Its [`StoreError::remedy`] says whether to try again.
    pub async fn settle(&self, epoch: Uuid, parcels: &[Parcel]) -> Result<Tally, StoreError> {
        let step = "store.settle";
        let mut connection = self.pool.acquire().await.map_err(StoreError::during(step))?;
        let mut transaction = connection.begin().await.map_err(StoreError::during(step))?;
        let tally = self.settle_within(&mut transaction, epoch, parcels).await?;
        transaction.commit().await.map_err(StoreError::during(step))?;
        self.committed.notify_one();
        metrics::counter!(metric::EVENTS_STORED).increment(tally.stored);
        metrics::counter!(metric::EVENTS_DUPLICATE).increment(tally.duplicate);
        Ok(tally)
    }

    /// Does all that settling one parcel would do, and takes it back.
    ///
    /// # Errors
    /// The error that settling it would end with.
    pub async fn try_out(&self, epoch: Uuid, parcel: &Parcel) -> Result<(), StoreError> {
        let step = "store.try_out";
        let mut connection = self.pool.acquire().await.map_err(StoreError::during(step))?;
        let mut transaction = connection.begin().await.map_err(StoreError::during(step))?;
        self.settle_within(&mut transaction, epoch, std::slice::from_ref(parcel))
            .await?;
        transaction.rollback().await.map_err(StoreError::during(step))
    }

    async fn settle_within(
        &self,
        connection: &mut PgConnection,
        epoch: Uuid,
        parcels: &[Parcel],
    ) -> Result<Tally, StoreError> {
        let now = self.clock.now();
        erasure::lock_shared(connection).await?;
        let fresh = unsettled(connection, epoch, parcels).await?;
        let mut counts = vec![Count::default(); fresh.len()];
        let mut items = gather(&fresh, &mut counts);

        self.refuse_erased(connection, &mut items, &mut counts).await?;
        if !items.is_empty() {
            self.store(connection, &mut items, &mut counts, now).await?;
        }
        self.account(connection, epoch, &fresh, &counts, now).await
    }

    /// Stores the events that are new, and all that follows from them.
    ///
    /// Twice the processor works while PostgreSQL does: the rows' text is made while ids are looked up, and
    /// sessions are derived while the rows are copied.
    async fn store(
        &self,
        connection: &mut PgConnection,
        items: &mut [Item<'_>],
        counts: &mut [Count],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        // Rows of one device next to each other and in time order: the order they are read in.
        items.sort_unstable_by(|a, b| {
            (&a.event.device_id, a.event.timestamp).cmp(&(&b.event.device_id, b.event.timestamp))
        });
        let mut device_ids: Vec<&str> = items.iter().map(|item| item.event.device_id.as_str()).collect();
        device_ids.dedup();
        let locked = devices::lock(connection, &device_ids, now).await?;
        let (is_new, rows) = tokio::join!(find_new(connection, items), async {
            Rows::prepare(items.iter().map(|item| item.event), self.load)
        });
        let is_new = is_new?;
        let mut new = Vec::with_capacity(items.len());
        for (item, is_new) in items.iter().zip(&is_new) {
            if *is_new {
                counts[item.parcel].stored += 1;
                new.push(item.event);
            } else {
                counts[item.parcel].duplicate += 1;
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let plan = Plan::load(connection, locked, &new).await?;
        let (inserted, extension) = tokio::join!(rows.insert(connection, &is_new), async {
            plan.derive(&self.rules)
        });
        inserted?;
        derive::follow(connection, extension, &new, &self.rules, now).await?;
        let hours: BTreeSet<_> = new.iter().map(|event| hour_of(event.timestamp)).collect();
        situation::mark_dirty(connection, self.situation, &hours.into_iter().collect::<Vec<_>>()).await
    }

    /// Takes out events of erased people that happened before they were erased.
    async fn refuse_erased(
        &self,
        connection: &mut PgConnection,
        items: &mut Vec<Item<'_>>,
        counts: &mut [Count],
    ) -> Result<(), StoreError> {
        let mut subjects: HashMap<(&str, &str), Vec<u8>> = HashMap::new();
        for item in items.iter() {
            for subject in subjects_of(item.event) {
                subjects
                    .entry(subject)
                    .or_insert_with(|| self.hasher.digest(subject.0, subject.1).to_vec());
            }
        }
        let hashes: Vec<Vec<u8>> = subjects.values().cloned().collect();
        let found = erasure::find_tombstones(connection, &hashes).await?;
        if found.is_empty() {
            return Ok(());
        }
        items.retain(|item| {
            let refused = subjects_of(item.event).any(|subject| {
                let hash = &subjects[&subject];
                found
                    .iter()
                    .any(|stone| stone.subject_hash == *hash && stone.covers(item.event.timestamp))
            });
            if refused {
                counts[item.parcel].erased += 1;
            }
            !refused
        });
        Ok(())
    }

    /// Writes the ledger and marks the entries as settled.
    async fn account(
        &self,
        connection: &mut PgConnection,
        epoch: Uuid,
        fresh: &[&Parcel],
        counts: &[Count],
        now: DateTime<Utc>,
    ) -> Result<Tally, StoreError> {
        let mut lines: BTreeMap<LedgerKey, i64> = BTreeMap::new();
        let mut samples = Vec::new();
        let mut sampled: HashMap<&str, usize> = HashMap::new();
        let mut settled = Vec::new();
        let mut tally = Tally::default();
        for (parcel, count) in fresh.iter().zip(counts) {
            let entry = &parcel.entry;
            let mut line = |outcome: &'static str, reason: &str, count: i64| {
                if count > 0 {
                    let key = LedgerKey {
                        hour: hour_of(entry.received_at),
                        key_id: entry.key_id,
                        outcome,
                        reason: reason.to_owned(),
                    };
                    *lines.entry(key).or_default() += count;
                }
            };
            if epoch == DIRECT {
                line("received", "", i64::from(entry.received));
            }
            line("stored", "", i64::from(count.stored));
            line("duplicate", "", i64::from(count.duplicate));
            line("rejected", "erased", i64::from(count.erased));
            let mut rejected = count.erased;
            for refused in &entry.rejected {
                line("rejected", &refused.reason, i64::from(refused.count));
                rejected += i32::try_from(refused.count).unwrap_or(i32::MAX);
                let taken = sampled.entry(&refused.reason).or_default();
                if *taken < SAMPLES_PER_REASON {
                    *taken += 1;
                    samples.push(Sample {
                        received_at: entry.received_at,
                        key_id: entry.key_id,
                        reason: refused.reason.clone(),
                        field: refused.field.clone(),
                        detail: refused.detail.clone(),
                        sample: refused.sample.clone(),
                    });
                }
            }
            tally.stored += count.stored as u64;
            tally.duplicate += count.duplicate as u64;
            tally.rejected += rejected as u64;
            if let Some(id) = parcel.id {
                settled.push(SettledEntry {
                    id,
                    stored: count.stored,
                    duplicate: count.duplicate,
                    rejected,
                });
            }
        }
        ledger::insert_settled(connection, epoch, &settled, now).await?;
        ledger::insert_samples(connection, &samples).await?;
        ledger::add(connection, epoch, &lines.into_iter().collect::<Vec<_>>()).await?;
        Ok(tally)
    }

    /// Settles an entry as rejected without looking into it: the last resort for what cannot be stored.
    pub async fn settle_poison(
        &self,
        epoch: Uuid,
        id: EntryId,
        received: u32,
        detail: &str,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let entry = Entry {
            received,
            received_at: now,
            key_id: 0,
            events: Vec::new(),
            rejected: vec![super::entry::Rejected {
                reason: "poison".into(),
                count: received,
                field: None,
                detail: detail.to_owned(),
                sample: serde_json::json!({ "queue_entry": id.to_string() }),
            }],
        };
        self.settle(epoch, &[Parcel { id: Some(id), entry }]).await?;
        Ok(())
    }
}

/// Returns the parcels that were not settled before.
async fn unsettled<'a>(
    connection: &mut PgConnection,
    epoch: Uuid,
    parcels: &'a [Parcel],
) -> Result<Vec<&'a Parcel>, StoreError> {
    let ids: Vec<EntryId> = parcels.iter().filter_map(|parcel| parcel.id).collect();
    if ids.is_empty() {
        return Ok(parcels.iter().collect());
    }
    let mut done: HashSet<EntryId> = ledger::settled_among(connection, epoch, &ids)
        .await?
        .into_iter()
        .collect();
    // The same entry twice in one batch (claimed and read again) counts once.
    Ok(parcels
        .iter()
        .filter(|parcel| parcel.id.is_none_or(|id| done.insert(id)))
        .collect())
}

/// Lists the accepted events, and counts ids that come twice within the batch as duplicates.
fn gather<'a>(parcels: &[&'a Parcel], counts: &mut [Count]) -> Vec<Item<'a>> {
    let mut seen = HashSet::new();
    let mut items = Vec::new();
    for (parcel, source) in parcels.iter().enumerate() {
        for event in &source.entry.events {
            let key = event_key(&event.event_id);
            if seen.insert(key) {
                items.push(Item { parcel, key, event });
            } else {
                counts[parcel].duplicate += 1;
            }
        }
    }
    items
}

/// Says of each item whether its id is new, and remembers those that are.
async fn find_new(connection: &mut PgConnection, items: &[Item<'_>]) -> Result<Vec<bool>, StoreError> {
    let mut ids: Vec<(Uuid, DateTime<Utc>)> = items
        .iter()
        .map(|item| (item.key, item.event.timestamp))
        .collect();
    ids.sort_unstable();
    let (keys, times): (Vec<_>, Vec<_>) = ids.into_iter().unzip();
    let new: HashSet<Uuid> = events::claim_keys(connection, &keys, &times)
        .await?
        .into_iter()
        .collect();
    Ok(items.iter().map(|item| new.contains(&item.key)).collect())
}

/// Domains of the keyed hashes that tombstones are made of.
pub const ERASED_DEVICE: &str = "erased-device";
/// See [`ERASED_DEVICE`].
pub const ERASED_USER: &str = "erased-user";

/// Returns whom an event is about, as domain and id of the keyed hashes above.
pub(super) fn subjects_of(event: &Event) -> impl Iterator<Item = (&'static str, &str)> {
    std::iter::once((ERASED_DEVICE, event.device_id.as_str()))
        .chain(event.user_id.as_deref().map(|user| (ERASED_USER, user)))
}

/// Returns the start of the hour that `time` lies in.
pub fn hour_of(time: DateTime<Utc>) -> DateTime<Utc> {
    time.duration_trunc(TimeDelta::hours(1)).unwrap_or(time)
}
