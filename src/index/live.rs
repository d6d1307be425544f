//! The state that views are made of, and how it changes.

use std::{
    collections::BTreeSet,
    sync::{Arc, RwLock},
};

use uuid::Uuid;

use super::{
    Micros,
    block::{Block, BlockBuilder, Person},
    names::Names,
    rows::SessionRows,
    view::{SHARDS, Shard, View, shard_of},
};

/// A shard is packed again when this part of its people changed since, as a divisor …
const CHANGED_DIVISOR: usize = 8;
/// … and at least so many: packing a shard for every single change would be all that is done.
const CHANGED_MIN: usize = 64;

/// What became of one person from some time on.
#[derive(Clone, Debug)]
pub struct Tail {
    pub customer_id: Uuid,
    /// Sessions that ended before this stay as they are.
    pub since: Micros,
    pub first_seen: Micros,
    /// All sessions that ended at or after `since`.
    pub sessions: Vec<SessionRows>,
}

/// The one who changes the index. Readers have [`View`]s.
#[derive(Debug)]
pub struct Keeper {
    names: Arc<RwLock<Names>>,
    shards: Vec<Shard>,
    origin: Micros,
    covered_from: Micros,
}

impl Keeper {
    /// An empty index whose events may be as old as `origin`.
    pub fn new(origin: Micros, covered_from: Micros) -> Self {
        Self::from_parts(Names::default(), Vec::new(), origin, covered_from)
    }

    /// An index of blocks that belong to these names, one for each shard.
    pub(super) fn from_parts(names: Names, blocks: Vec<Block>, origin: Micros, covered_from: Micros) -> Self {
        let mut shards: Vec<Shard> = blocks.into_iter().map(Shard::new).collect();
        shards.resize_with(SHARDS, || Shard::new(BlockBuilder::new(origin, false).finish()));
        Self {
            names: Arc::new(RwLock::new(names)),
            shards,
            origin,
            covered_from,
        }
    }

    /// Puts these blocks, one for each shard, in place of everything.
    pub(super) fn with_blocks(mut self, blocks: Vec<Block>) -> Self {
        self.shards = blocks.into_iter().map(Shard::new).collect();
        self
    }

    /// Returns the blocks of the shards, which were packed before.
    pub(super) fn packed(&self) -> impl Iterator<Item = &Block> {
        self.shards.iter().map(|shard| &*shard.packed)
    }

    pub fn origin(&self) -> Micros {
        self.origin
    }

    pub fn covered_from(&self) -> Micros {
        self.covered_from
    }

    /// Returns the present state.
    pub fn view(&self) -> View {
        View::new(self.names.clone(), self.shards.clone(), self.covered_from)
    }

    /// Lets `change` add names.
    pub fn with_names<T>(&self, change: impl FnOnce(&mut Names) -> T) -> T {
        // A panic while a name was added leaves every name that was there.
        change(
            &mut self
                .names
                .write()
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
        )
    }

    /// Takes in what became of some people. Each comes once.
    pub fn apply(&mut self, tails: Vec<Tail>) {
        let mut touched = BTreeSet::new();
        for tail in tails {
            let person = self.with_names(|names| names.people.intern(tail.customer_id));
            let shard = shard_of(person);
            let block = self.renew(person, self.shards[shard].find(person), tail);
            self.shards[shard].replace(person, block);
            touched.insert(shard);
        }
        for number in touched {
            let shard = &self.shards[number];
            if shard.changed_count() >= CHANGED_MIN.max(shard.packed.people_count() / CHANGED_DIVISOR) {
                self.shards[number] = self.repack(number, |_| true);
            }
        }
    }

    /// Returns a person with the tail in place of what was there.
    fn renew(&self, person: u32, old: Option<Person<'_>>, tail: Tail) -> Block {
        let mut sessions: Vec<SessionRows> = old
            .into_iter()
            .flat_map(|old| old.sessions())
            .filter(|session| session.end() < tail.since)
            .map(|session| session.to_rows())
            .collect();
        sessions.extend(tail.sessions);
        let mut builder = BlockBuilder::new(self.origin, false);
        builder.push(person, tail.first_seen, &mut sessions);
        builder.finish()
    }

    /// Returns a shard with all its people packed, each with the sessions that are to stay.
    fn repack(&self, number: usize, stays: impl Fn(Micros) -> bool) -> Shard {
        let shard = &self.shards[number];
        let mut people: Vec<Person<'_>> = shard.people().collect();
        people.sort_unstable_by_key(|person| person.number());
        let mut builder = BlockBuilder::new(self.origin, false);
        for person in people {
            if person.sessions().all(|session| stays(session.end())) {
                builder.push_person(person);
                continue;
            }
            let left = person.sessions().filter(|session| stays(session.end()));
            let mut sessions: Vec<SessionRows> = left.map(|session| session.to_rows()).collect();
            builder.push(person.number(), person.first_seen(), &mut sessions);
        }
        Shard::new(builder.finish())
    }

    /// Packs every shard, as a snapshot file wants it.
    pub fn pack(&mut self) {
        for number in 0..self.shards.len() {
            if self.shards[number].changed_count() > 0 {
                self.shards[number] = self.repack(number, |_| true);
            }
        }
    }

    /// Forgets the sessions that ended before `time`; questions about earlier times are not answered from now on.
    pub fn forget_before(&mut self, time: Micros) {
        if time <= self.covered_from {
            return;
        }
        self.covered_from = time;
        for number in 0..self.shards.len() {
            let has_older = self.shards[number]
                .people()
                .flat_map(Person::sessions)
                .any(|session| session.end() < time);
            if has_older {
                self.shards[number] = self.repack(number, |end| end >= time);
            }
        }
    }

    /// Forgets the oldest sessions until at most `bytes_max` are taken; `None` when nothing had to go, else the time from
    /// which the index now reaches.
    pub fn shrink_to(&mut self, bytes_max: usize) -> Option<Micros> {
        let mut reaches_from = None;
        loop {
            let bytes = self.bytes();
            if bytes <= bytes_max || self.view().size().events == 0 {
                return reaches_from;
            }
            // A tenth more than needed, or the next event would bring the same work.
            let time = self.time_after_oldest(1.0 - bytes_max as f64 * 0.9 / bytes as f64);
            self.forget_before(time);
            self.renumber();
            reaches_from = Some(time);
        }
    }

    /// Returns the time by which the sessions had ended that hold this share of the events, and at least one.
    fn time_after_oldest(&self, share: f64) -> Micros {
        let sessions = self
            .shards
            .iter()
            .flat_map(Shard::people)
            .flat_map(Person::sessions);
        let mut ends: Vec<(Micros, usize)> = sessions
            .map(|session| (session.end(), session.events().len()))
            .collect();
        ends.sort_unstable();
        let all: usize = ends.iter().map(|(_, events)| events).sum();
        let goes = (all as f64 * share).ceil() as usize;
        let mut gone = 0;
        let last = ends.iter().find(|(_, events)| {
            gone += events;
            gone >= goes
        });
        last.map_or(self.covered_from, |(end, _)| *end) + 1
    }

    /// Gives new numbers to the names that are in use and forgets the others: what only erased people left behind, and
    /// what retention made obsolete. Views that were taken before keep the old ones.
    pub fn renumber(&mut self) {
        let mut names = Names::default();
        let old = self.names.clone();
        let old = old.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        for number in 0..self.shards.len() {
            let mut builder = BlockBuilder::new(self.origin, false);
            for person in self.shards[number].people() {
                let mut sessions: Vec<SessionRows> = person
                    .sessions()
                    .map(|session| names.adopt(&old, session.to_rows()))
                    .collect();
                let person_number = names.people.intern(*old.people.get(person.number()));
                builder.push(person_number, person.first_seen(), &mut sessions);
            }
            // The old shard goes here, so that no more than one is there twice.
            self.shards[number] = Shard::new(builder.finish());
        }
        self.names = Arc::new(RwLock::new(names));
    }

    /// Returns the bytes the index takes.
    pub fn bytes(&self) -> usize {
        let names = self.names.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        names.bytes() + self.shards.iter().map(Shard::bytes).sum::<usize>()
    }
}

impl Names {
    /// Returns a session of other names with the numbers it has in these.
    fn adopt(&mut self, old: &Names, mut session: SessionRows) -> SessionRows {
        let mut client = *old.clients.get(session.row.client);
        for label in [
            &mut client.device_type,
            &mut client.browser,
            &mut client.os,
            &mut client.country,
        ] {
            *label = self.intern_label(old.label(*label));
        }
        let mut source = *old.sources.get(session.row.source);
        for label in [
            &mut source.channel,
            &mut source.source,
            &mut source.medium,
            &mut source.campaign,
            &mut source.referrer_host,
        ] {
            *label = self.intern_label(old.label(*label));
        }
        session.row.client = self.clients.intern(client);
        session.row.source = self.sources.intern(source);
        if let Some(order) = &mut session.order {
            order.currency = self.intern_label(old.label(order.currency));
        }
        for event in &mut session.events {
            event.page = self.pages.intern_text(old.pages.get(event.page));
            event.event_type = self.intern_type(old.types.get(event.event_type.into())) as u16;
        }
        session
    }
}
