//! One state of the index, as readers see it.

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock, RwLockReadGuard},
};

use rayon::prelude::*;

use super::{
    Micros,
    block::{Block, Person},
    names::Names,
};

/// How many shards people are spread over: enough to keep a few processors busy and a repacking short.
pub const SHARDS: usize = 64;

/// Parts of a [`View::sum`] at most: a few for each of a few processors.
const PARTS: usize = 8;

/// Bytes that a changed person takes besides the block: its place in the map and the counts of the two pointers.
const CHANGED_OVERHEAD: usize = 64;

/// Returns the shard a person belongs to.
pub fn shard_of(person: u32) -> usize {
    person as usize % SHARDS
}

/// The people of one shard: packed, and beside it the people that changed since.
#[derive(Clone, Debug, Default)]
pub struct Shard {
    pub(super) packed: Arc<Block>,
    /// Takes the place of the packed person; an empty block means that there is none any more.
    changed: Arc<BTreeMap<u32, Arc<Block>>>,
    size: Size,
    changed_bytes: usize,
}

impl Shard {
    pub fn new(packed: Block) -> Self {
        Self {
            size: Size::of(&packed),
            packed: Arc::new(packed),
            changed: Arc::default(),
            changed_bytes: 0,
        }
    }

    /// Puts a block with one person, or none, in place of what was known of the person.
    pub(super) fn replace(&mut self, person: u32, block: Block) {
        let before = self
            .find(person)
            .map(|old| (old.sessions().len(), old.events().len()));
        if let Some((sessions, events)) = before {
            self.size.people -= 1;
            self.size.sessions -= sessions;
            self.size.events -= events;
        }
        let added = Size::of(&block);
        self.size.people += added.people;
        self.size.sessions += added.sessions;
        self.size.events += added.events;
        self.changed_bytes += block.bytes() + CHANGED_OVERHEAD;
        if let Some(old) = Arc::make_mut(&mut self.changed).insert(person, Arc::new(block)) {
            self.changed_bytes -= old.bytes() + CHANGED_OVERHEAD;
        }
    }

    /// Returns how many people changed since the shard was packed.
    pub(super) fn changed_count(&self) -> usize {
        self.changed.len()
    }

    /// Returns the people of the shard, in no particular order.
    pub fn people(&self) -> impl Iterator<Item = Person<'_>> {
        let unchanged = self
            .packed
            .people()
            .filter(|person| self.changed.is_empty() || !self.changed.contains_key(&person.number()));
        unchanged.chain(self.changed.values().flat_map(|block| block.people()))
    }

    /// Returns a person by number.
    pub fn find(&self, person: u32) -> Option<Person<'_>> {
        match self.changed.get(&person) {
            Some(block) => block.find(person),
            None => self.packed.find(person),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.packed.bytes() + self.changed_bytes
    }
}

/// How much an index holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub people: usize,
    pub sessions: usize,
    pub events: usize,
}

impl Size {
    fn of(block: &Block) -> Self {
        Self {
            people: block.people_count(),
            sessions: block.session_count(),
            events: block.event_count(),
        }
    }
}

/// One state of the index. It never changes; a newer one takes its place for readers that come later.
#[derive(Clone, Debug)]
pub struct View {
    names: Arc<RwLock<Names>>,
    shards: Vec<Shard>,
    /// Times before this are not covered: retention or the limit of memory removed them.
    pub covered_from: Micros,
}

impl View {
    pub fn new(names: Arc<RwLock<Names>>, shards: Vec<Shard>, covered_from: Micros) -> Self {
        Self {
            names,
            shards,
            covered_from,
        }
    }

    /// Returns the dictionaries. Hold them briefly: what a writer stores meanwhile waits to be indexed.
    pub fn names(&self) -> RwLockReadGuard<'_, Names> {
        // A panic while a name was added leaves every name that was there.
        self.names.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Returns a person by number.
    pub fn find(&self, person: u32) -> Option<Person<'_>> {
        self.shards.get(shard_of(person))?.find(person)
    }

    /// Walks over all people on all processors.
    ///
    /// Each part of the people has a result of its own, made by `start`, to which `each` adds a person; `merge` adds one
    /// result to another. Parts are merged in a fixed order, so the answer does not depend on who was quicker.
    pub fn fold<T, Start, Each, Merge>(&self, start: Start, each: Each, merge: Merge) -> T
    where
        T: Send,
        Start: Fn() -> T + Sync,
        Each: Fn(&mut T, Person<'_>) + Sync,
        Merge: Fn(&mut T, T),
    {
        let parts: Vec<T> = self
            .shards
            .par_iter()
            .map(|shard| {
                let mut part = start();
                for person in shard.people() {
                    each(&mut part, person);
                }
                part
            })
            .collect();
        let mut total = start();
        for part in parts {
            merge(&mut total, part);
        }
        total
    }

    /// Walks over all people on all processors, for results that are sums.
    ///
    /// Unlike in [`View::fold`] there are only a few parts, so that they may be large, and they are merged on all
    /// processors in any order: the order must not matter to the answer.
    pub fn sum<T, Start, Each, Merge>(&self, start: Start, each: Each, merge: Merge) -> T
    where
        T: Send,
        Start: Fn() -> T + Sync,
        Each: Fn(&mut T, Person<'_>) + Sync,
        Merge: Fn(&mut T, T) + Sync,
    {
        let add = |mut part: T, shard: &Shard| {
            shard.people().for_each(|person| each(&mut part, person));
            part
        };
        let join = |mut one: T, other: T| {
            merge(&mut one, other);
            one
        };
        self.shards
            .par_iter()
            .with_min_len(SHARDS / PARTS)
            .fold(&start, add)
            .reduce(&start, join)
    }

    /// Returns how much it holds.
    pub fn size(&self) -> Size {
        let mut size = Size::default();
        for shard in &self.shards {
            size.people += shard.size.people;
            size.sessions += shard.size.sessions;
            size.events += shard.size.events;
        }
        size
    }
}
