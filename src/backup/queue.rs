//! The queue's part of a set: what waits, what is being stored, and the dead letters.

use std::{
    collections::{BTreeSet, HashSet},
    io::{BufRead as _, BufReader, Write as _},
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    manifest::{FileEntry, QueueState},
    set::{Draft, Set, finish},
};
use crate::{
    ingest::{
        entry::Entry,
        erased::without_erased,
        queue::{Delivery, PIECE, Queue, QueueCounts},
        settle::{Parcel, Settler},
    },
    store::{
        erasure,
        ledger::{self, DIRECT, EntryId},
    },
};

/// Its file in the set; only there when there is a queue.
pub(super) const FILE: &str = "queue.ndjson.zst";

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    kind: Kind,
    entry_ms: i64,
    entry_seq: i64,
    version: String,
    received: u32,
    /// Base 64.
    payload: String,
    /// Why it is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Entry,
    Dead,
}

impl Line {
    fn new(kind: Kind, delivery: &Delivery, reason: Option<&str>) -> Self {
        Self {
            kind,
            entry_ms: delivery.id.entry_ms,
            entry_seq: delivery.id.entry_seq,
            version: delivery.version.clone(),
            received: delivery.received,
            payload: STANDARD.encode(&delivery.payload),
            reason: reason.map(str::to_owned),
        }
    }

    fn id(&self) -> EntryId {
        EntryId {
            entry_ms: self.entry_ms,
            entry_seq: self.entry_seq,
        }
    }

    fn delivery(&self) -> anyhow::Result<Delivery> {
        Ok(Delivery {
            id: self.id(),
            version: self.version.clone(),
            received: self.received,
            payload: STANDARD.decode(&self.payload)?,
        })
    }
}

/// Copies the queue as it is now into the set, with the counts of the same moment.
///
/// What arrives while this reads belongs to the next backup, unless a writer is quick.
pub(super) async fn dump(
    queue: &Queue,
    draft: &Draft,
) -> anyhow::Result<(FileEntry, QueueState, QueueCounts)> {
    let counts = queue.counts().await?;
    let mut state = QueueState {
        epoch: counts.epoch,
        entries: 0,
        events: 0,
        dead_letters: 0,
        ledger_difference: 0,
    };
    let mut file = draft.packed(FILE)?;
    let mut write = |line: &Line| -> anyhow::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        Ok(file.write_all(&text)?)
    };
    let take = |delivery: Delivery| {
        state.entries += 1;
        state.events += u64::from(delivery.received);
        write(&Line::new(Kind::Entry, &delivery, None))
    };
    queue.for_each_waiting(Some(counts.last_added), take).await?;
    // After the entries: one that dies meanwhile is in both.
    for letter in queue.all_dead_letters().await? {
        write(&Line::new(Kind::Dead, &letter.delivery, Some(&letter.reason)))?;
        state.dead_letters += 1;
    }
    let entry = finish(file)?;
    let rows = Some(state.entries + state.dead_letters);
    Ok((FileEntry { rows, ..entry }, state, counts))
}

/// What a restore put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutBack {
    /// Entries that wait again, or were settled at once where there is no queue.
    pub entries: u64,
    pub dead_letters: u64,
    /// Without a queue, payloads that no release can read have nowhere to go.
    pub unreadable: u64,
}

/// Reads a set's queue line by line.
fn lines(set: &Set) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Line>> + use<>> {
    let reader = match set.manifest.file(FILE) {
        Some(_) => Some(BufReader::new(set.unpack(FILE)?)),
        None => None,
    };
    let lines = reader.into_iter().flat_map(|reader| reader.lines());
    Ok(lines.map(|line| serde_json::from_str(&line?).context("a line of the queue cannot be read")))
}

/// Returns those of the set's entries that its database has settled: they were in both.
pub(super) async fn settled_among(
    connection: &mut PgConnection,
    set: &Set,
) -> anyhow::Result<HashSet<EntryId>> {
    let epoch = set.manifest.queue.as_ref().and_then(|queue| queue.epoch);
    let Some(epoch) = epoch else {
        return Ok(HashSet::new());
    };
    let mut ids = Vec::new();
    for line in lines(set)? {
        let line = line?;
        if line.kind == Kind::Entry {
            ids.push(line.id());
        }
    }
    let settled = ledger::settled_among(connection, epoch, &ids).await?;
    Ok(settled.into_iter().collect())
}

/// Puts back what the set's queue held and its database had not settled. What the queue holds already stays.
///
/// Without a queue the entries are settled at once.
pub(super) async fn put_back(
    set: &Set,
    settled: &HashSet<EntryId>,
    queue: Option<&Queue>,
    settler: &Settler,
) -> anyhow::Result<PutBack> {
    let present = match queue {
        Some(queue) => Present::read(set, queue).await?,
        None => Present::default(),
    };
    if let Some(queue) = queue {
        queue.begin_epoch(Uuid::now_v7()).await?;
    }
    let mut done = PutBack::default();
    let mut piece = Vec::new();
    for line in lines(set)? {
        let line = line?;
        let delivery = line.delivery()?;
        match (line.kind, queue) {
            (Kind::Entry, _) if settled.contains(&delivery.id) || present.entries.contains(&delivery.id) => {}
            (Kind::Entry, _) => piece.push(delivery),
            (Kind::Dead, Some(queue)) => {
                if !present.dead.contains(&(delivery.id, delivery.payload.clone())) {
                    done.dead_letters +=
                        bury(queue, settler, &delivery, &line.reason.unwrap_or_default()).await?;
                }
            }
            (Kind::Dead, None) => done.unreadable += 1,
        }
        if piece.len() >= PIECE {
            add(&mut piece, queue, settler, &mut done).await?;
        }
    }
    add(&mut piece, queue, settler, &mut done).await?;
    Ok(done)
}

/// What the queue holds already of the set, when it is the same queue still.
#[derive(Default)]
struct Present {
    entries: HashSet<EntryId>,
    dead: BTreeSet<(EntryId, Vec<u8>)>,
}

impl Present {
    async fn read(set: &Set, queue: &Queue) -> anyhow::Result<Self> {
        let mut present = Self::default();
        let dead = queue.all_dead_letters().await?.into_iter();
        present.dead = dead
            .map(|letter| (letter.delivery.id, letter.delivery.payload))
            .collect();
        let known = set.manifest.queue.as_ref().and_then(|state| state.epoch);
        if known.is_none() || queue.epoch().await? != known {
            return Ok(present);
        }
        let note = |delivery: Delivery| {
            present.entries.insert(delivery.id);
            anyhow::Ok(())
        };
        queue.for_each_waiting(None, note).await?;
        Ok(present)
    }
}

async fn add(
    piece: &mut Vec<Delivery>,
    queue: Option<&Queue>,
    settler: &Settler,
    done: &mut PutBack,
) -> anyhow::Result<()> {
    let entries = std::mem::take(piece);
    match queue {
        Some(queue) => {
            queue.put_back(&entries).await?;
            done.entries += entries.len() as u64;
        }
        None => {
            for delivery in entries {
                match Entry::decode(&delivery.version, &delivery.payload) {
                    Ok(entry) => {
                        settler.settle(DIRECT, &[Parcel { id: None, entry }]).await?;
                        done.entries += 1;
                    }
                    Err(_) => done.unreadable += 1,
                }
            }
        }
    }
    Ok(())
}

/// Puts a dead letter back without what was erased since; returns how many that makes.
async fn bury(queue: &Queue, settler: &Settler, delivery: &Delivery, reason: &str) -> anyhow::Result<u64> {
    let mut transaction = settler.pool.begin().await?;
    erasure::lock_shared(&mut transaction).await?;
    match without_erased(&mut transaction, &settler.hasher, delivery).await? {
        Some(letter) => {
            queue.bury(&letter, reason).await?;
            Ok(1)
        }
        None => Ok(0),
    }
}
