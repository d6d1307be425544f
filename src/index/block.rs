//! Columns of people, their sessions and their events, and the walk over them.
//!
//! Everything of one person is contiguous, and so is everything of one session. An event takes twelve bytes: time and
//! type share eight, its page takes four. A block never changes.

use rust_decimal::Decimal;

use super::{
    Micros, NameId, Names,
    rows::{EventRow, SessionRow, SessionRows},
};

/// Bits of an event's word that hold its type.
const TYPE_BITS: u32 = 16;

/// What was bought in one session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Order {
    /// Exact decimal in `currency`.
    pub value: Decimal,
    /// Number in `names.labels`.
    pub currency: NameId,
}

/// People with their sessions and events, in columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// The time that event times count from; all blocks of one index have the same.
    pub(super) origin: Micros,
    /// Numbers of people, ascending.
    pub(super) people: Vec<u32>,
    pub(super) first_seen: Vec<Micros>,
    /// Whether sessions of the person run at the same time, so that the events need merging.
    pub(super) interleaved: Vec<bool>,
    /// First session of each person, and one more for the end.
    pub(super) session_bounds: Vec<u32>,
    pub(super) start: Vec<Micros>,
    pub(super) client: Vec<NameId>,
    pub(super) source: Vec<NameId>,
    pub(super) flags: Vec<u16>,
    /// First event of each session, and one more for the end.
    pub(super) event_bounds: Vec<u32>,
    pub(super) words: Vec<u64>,
    pub(super) page: Vec<NameId>,
    /// Empty unless the index was made for one question.
    pub(super) marks: Vec<u32>,
    /// Ascending by session.
    pub(super) orders: Vec<(u32, Order)>,
}

/// Puts a block together, person by person.
#[derive(Debug)]
pub struct BlockBuilder {
    block: Block,
    with_marks: bool,
}

impl BlockBuilder {
    /// Starts a block whose events count from `origin`.
    pub fn new(origin: Micros, with_marks: bool) -> Self {
        Self {
            block: Block {
                origin,
                session_bounds: vec![0],
                event_bounds: vec![0],
                ..Block::default()
            },
            with_marks,
        }
    }

    /// Adds a person. Sessions come in any order (of two that began together, the first stays first), those without events are left out, and so is a person without any.
    ///
    /// # Panics
    /// When people do not come in ascending order.
    pub fn push(&mut self, person: u32, first_seen: Micros, sessions: &mut [SessionRows]) {
        assert!(
            self.block.people.last().is_none_or(|last| *last < person),
            "people come in ascending order"
        );
        sessions.sort_by_key(|session| session.row.start);
        let mut latest = Micros::MIN;
        let mut interleaved = false;
        for session in sessions.iter().filter(|session| !session.events.is_empty()) {
            interleaved |= session.events[0].time < latest;
            latest = latest.max(session.events[session.events.len() - 1].time);
            self.push_session(&session.row, &session.events, session.order);
        }
        self.close_person(person, first_seen, interleaved);
    }

    /// Adds a person as another block holds it.
    pub fn push_person(&mut self, person: Person<'_>) {
        for session in person.sessions() {
            let (block, at) = (session.block, session.at);
            let row = session.row();
            let events = session.events();
            block_session(&mut self.block, &row, block.order_of(at));
            self.block.words.extend_from_slice(events.words);
            self.block.page.extend_from_slice(events.pages);
            self.block.marks.extend_from_slice(events.marks);
            self.block.event_bounds.push(self.block.words.len() as u32);
        }
        let (block, at) = (person.block, person.at);
        self.close_person(block.people[at], block.first_seen[at], block.interleaved[at]);
    }

    fn push_session(&mut self, row: &SessionRow, events: &[EventRow], order: Option<Order>) {
        let block = &mut self.block;
        block_session(block, row, order);
        for event in events {
            block.words.push(word(block.origin, event));
            block.page.push(event.page);
        }
        if self.with_marks {
            block.marks.extend(events.iter().map(|event| event.marks));
        }
        block.event_bounds.push(block.words.len() as u32);
    }

    fn close_person(&mut self, person: u32, first_seen: Micros, interleaved: bool) {
        let block = &mut self.block;
        let sessions = block.start.len() as u32;
        if block.session_bounds.last() == Some(&sessions) {
            return;
        }
        block.people.push(person);
        block.first_seen.push(first_seen);
        block.interleaved.push(interleaved);
        block.session_bounds.push(sessions);
    }

    /// Returns the block, as small as it can be.
    pub fn finish(self) -> Block {
        let mut block = self.block;
        block.shrink();
        block
    }
}

fn block_session(block: &mut Block, row: &SessionRow, order: Option<Order>) {
    let at = block.start.len() as u32;
    block.start.push(row.start);
    block.client.push(row.client);
    block.source.push(row.source);
    block.flags.push(row.flags);
    block.orders.extend(order.map(|order| (at, order)));
}

/// Puts time and type of an event into one word. A time before the origin becomes the origin, one 8.9 years after
/// it stays there: retention and the check of incoming times keep both from happening.
fn word(origin: Micros, event: &EventRow) -> u64 {
    let since = (event.time - origin).clamp(0, (1 << (u64::BITS - TYPE_BITS)) - 1) as u64;
    since << TYPE_BITS | u64::from(event.event_type)
}

impl Block {
    fn shrink(&mut self) {
        self.people.shrink_to_fit();
        self.first_seen.shrink_to_fit();
        self.interleaved.shrink_to_fit();
        self.session_bounds.shrink_to_fit();
        self.start.shrink_to_fit();
        self.client.shrink_to_fit();
        self.source.shrink_to_fit();
        self.flags.shrink_to_fit();
        self.event_bounds.shrink_to_fit();
        self.words.shrink_to_fit();
        self.page.shrink_to_fit();
        self.marks.shrink_to_fit();
        self.orders.shrink_to_fit();
    }

    /// Returns the bytes it takes.
    pub fn bytes(&self) -> usize {
        fn of<T>(column: &Vec<T>) -> usize {
            column.capacity() * size_of::<T>()
        }
        size_of::<Self>()
            + of(&self.people)
            + of(&self.first_seen)
            + of(&self.interleaved)
            + of(&self.session_bounds)
            + of(&self.start)
            + of(&self.client)
            + of(&self.source)
            + of(&self.flags)
            + of(&self.event_bounds)
            + of(&self.words)
            + of(&self.page)
            + of(&self.marks)
            + of(&self.orders)
    }

    /// Whether the columns fit together and every number has its name.
    pub(super) fn fits(&self, names: &Names) -> bool {
        fn bounds_fit(bounds: &[u32], parts: usize, whole: usize) -> bool {
            bounds.len() == parts + 1
                && bounds[0] == 0
                && bounds.is_sorted()
                && bounds.last().is_some_and(|last| *last as usize == whole)
        }
        let (people, sessions, events) = (self.people.len(), self.start.len(), self.words.len());
        let of_people = [self.first_seen.len(), self.interleaved.len()];
        let of_sessions = [self.client.len(), self.source.len(), self.flags.len()];
        let below =
            |numbers: &[NameId], count: usize| numbers.iter().all(|number| (*number as usize) < count);
        of_people.iter().all(|length| *length == people)
            && of_sessions.iter().all(|length| *length == sessions)
            && self.page.len() == events
            && bounds_fit(&self.session_bounds, people, sessions)
            && bounds_fit(&self.event_bounds, sessions, events)
            && self.people.is_sorted()
            && self.people.iter().all(|person| names.people.holds(*person))
            && below(&self.client, names.clients.len())
            && below(&self.source, names.sources.len())
            && below(&self.page, names.pages.len())
            && self
                .words
                .iter()
                .all(|word| (*word as u16 as usize) < names.types.len())
            && self.orders.iter().all(|(session, order)| {
                (*session as usize) < sessions && (order.currency as usize) < names.labels.len()
            })
    }

    pub fn people_count(&self) -> usize {
        self.people.len()
    }

    pub fn session_count(&self) -> usize {
        self.start.len()
    }

    pub fn event_count(&self) -> usize {
        self.words.len()
    }

    /// Returns the people, ascending by number.
    pub fn people(&self) -> impl ExactSizeIterator<Item = Person<'_>> {
        (0..self.people.len()).map(|at| Person { block: self, at })
    }

    /// Returns a person by number.
    pub fn find(&self, person: u32) -> Option<Person<'_>> {
        let at = self.people.binary_search(&person).ok()?;
        Some(Person { block: self, at })
    }

    fn order_of(&self, session: usize) -> Option<Order> {
        let found = self
            .orders
            .binary_search_by_key(&(session as u32), |(session, _)| *session)
            .ok()?;
        Some(self.orders[found].1)
    }

    fn events_between(&self, from: u32, to: u32) -> Events<'_> {
        let (from, to) = (from as usize, to as usize);
        Events {
            origin: self.origin,
            words: &self.words[from..to],
            pages: &self.page[from..to],
            marks: if self.marks.is_empty() {
                &[]
            } else {
                &self.marks[from..to]
            },
        }
    }
}

/// One person in a block.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    block: &'a Block,
    at: usize,
}

impl<'a> Person<'a> {
    /// Returns the number in `names.people`.
    pub fn number(self) -> u32 {
        self.block.people[self.at]
    }

    /// Returns when the person was first seen, also when that is longer ago than the index reaches.
    pub fn first_seen(self) -> Micros {
        self.block.first_seen[self.at]
    }

    /// Returns the sessions in the order they began; there is at least one, and each has events.
    pub fn sessions(self) -> impl ExactSizeIterator<Item = Session<'a>> + DoubleEndedIterator {
        let bounds = &self.block.session_bounds;
        let block = self.block;
        (bounds[self.at] as usize..bounds[self.at + 1] as usize).map(move |at| Session { block, at })
    }

    /// Returns the events of all sessions one session after the other. They are in the order of time unless
    /// [`Person::is_interleaved`].
    pub fn events(self) -> Events<'a> {
        let block = self.block;
        let bounds = &block.session_bounds;
        let first = block.event_bounds[bounds[self.at] as usize];
        let end = block.event_bounds[bounds[self.at + 1] as usize];
        block.events_between(first, end)
    }

    /// Writes the events of all sessions into `into`, in the order of time; at the same time, in the order of sessions.
    pub fn timeline(self, into: &mut Vec<Moment>) {
        into.clear();
        for (place, session) in self.sessions().enumerate() {
            let moment = |event| Moment {
                event,
                session: place as u32,
            };
            into.extend(session.events().rows().map(moment));
        }
        if self.is_interleaved() {
            into.sort_by_key(|moment| moment.event.time);
        }
    }

    /// Whether sessions of several devices ran at the same time.
    pub fn is_interleaved(self) -> bool {
        self.block.interleaved[self.at]
    }
}

/// An event of a person.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    pub event: EventRow,
    /// Place of its session among the person's.
    pub session: u32,
}

/// One session in a block.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    block: &'a Block,
    at: usize,
}

impl<'a> Session<'a> {
    /// Returns when it began.
    pub fn start(self) -> Micros {
        self.block.start[self.at]
    }

    /// Returns the time of its last event.
    pub fn end(self) -> Micros {
        let events = self.events();
        events.time(events.len() - 1)
    }

    /// Returns the number in `names.clients`.
    pub fn client(self) -> NameId {
        self.block.client[self.at]
    }

    /// Returns the number in `names.sources`.
    pub fn source(self) -> NameId {
        self.block.source[self.at]
    }

    /// Returns the flags, see [`super::rows::flag`].
    pub fn flags(self) -> u16 {
        self.block.flags[self.at]
    }

    /// Whether all of these flags are set.
    pub fn has(self, flags: u16) -> bool {
        self.flags() & flags == flags
    }

    /// Returns what was bought; `None` also for a conversion without a value.
    pub fn order(self) -> Option<Order> {
        self.block.order_of(self.at)
    }

    /// Returns the first page of the session; [`super::NONE`] when no event has one.
    pub fn landing_page(self) -> NameId {
        let pages = self.events().pages;
        pages
            .iter()
            .copied()
            .find(|page| *page != super::NONE)
            .unwrap_or(super::NONE)
    }

    /// Returns the events in the order they happened.
    pub fn events(self) -> Events<'a> {
        let bounds = &self.block.event_bounds;
        self.block.events_between(bounds[self.at], bounds[self.at + 1])
    }

    /// Returns the session as a row.
    pub fn row(self) -> SessionRow {
        SessionRow {
            start: self.start(),
            client: self.client(),
            source: self.source(),
            flags: self.flags(),
        }
    }

    /// Returns the session as it came.
    pub fn to_rows(self) -> SessionRows {
        let events = self.events();
        SessionRows {
            row: self.row(),
            events: (0..events.len()).map(|at| events.row(at)).collect(),
            order: self.order(),
        }
    }
}

/// Events in columns.
#[derive(Clone, Copy, Debug)]
pub struct Events<'a> {
    origin: Micros,
    words: &'a [u64],
    /// Numbers in `names.pages`.
    pub pages: &'a [NameId],
    marks: &'a [u32],
}

impl<'a> Events<'a> {
    pub fn len(self) -> usize {
        self.words.len()
    }

    pub fn is_empty(self) -> bool {
        self.words.is_empty()
    }

    pub fn time(self, at: usize) -> Micros {
        self.origin + (self.words[at] >> TYPE_BITS) as Micros
    }

    /// Returns the number in `names.types`.
    pub fn event_type(self, at: usize) -> u16 {
        self.words[at] as u16
    }

    pub fn page(self, at: usize) -> NameId {
        self.pages[at]
    }

    /// Returns the marks; none in an index that was not made for one question.
    pub fn marks(self, at: usize) -> u32 {
        self.marks.get(at).copied().unwrap_or(0)
    }

    pub fn row(self, at: usize) -> EventRow {
        EventRow {
            time: self.time(at),
            event_type: self.event_type(at),
            page: self.page(at),
            marks: self.marks(at),
        }
    }

    pub fn rows(self) -> impl ExactSizeIterator<Item = EventRow> {
        (0..self.len()).map(move |at| self.row(at))
    }
}
