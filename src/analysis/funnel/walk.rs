//! From people to actors: which events count for whom, and which chain came of them.

use super::{
    count::{Chain, Hit, MAY_ENTER, Outcome, STEP_BITS, Scratch, count},
    definition::{CountBy, Order},
    matching::Plan,
};
use crate::index::{Events, Micros, Person, Session, block::Moment};

/// Walks people and counts. One serves any number of them.
#[derive(Debug)]
pub struct Walker<'a> {
    plan: &'a Plan,
    scratch: Scratch,
    hits: Vec<Hit>,
    timeline: Vec<Moment>,
    admitted: Vec<bool>,
}

/// Where the events of an actor are.
#[derive(Clone, Copy, Debug)]
enum Trail<'a> {
    /// One session.
    Session(Session<'a>),
    /// All sessions, one after the other.
    Person,
    /// All sessions, merged.
    Merged(&'a [Moment]),
}

/// A person or a session whose chain counts.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    pub person: Person<'a>,
    pub chain: &'a Chain,
    order: Order,
    hits: &'a [Hit],
    trail: Trail<'a>,
}

/// What came of one actor.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    Removed,
    Counted(Actor<'a>),
}

impl<'a> Walker<'a> {
    pub fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            scratch: Scratch::default(),
            hits: Vec::new(),
            timeline: Vec::new(),
            admitted: Vec::new(),
        }
    }

    /// Counts a person, or each of their sessions. Those who never entered are passed over.
    pub fn walk(&mut self, person: Person<'_>, mut see: impl FnMut(Seen<'_>)) {
        let people = self.plan.people.as_ref();
        if people.is_some_and(|people| !people.contains(person.number())) {
            return;
        }
        if self.plan.count_by == CountBy::Session {
            return self.walk_sessions(person, see);
        }
        self.hits.clear();
        if person.is_interleaved() {
            self.gather_merged(person);
        } else if self.plan.filter.is_some() {
            self.gather_filtered(person);
        } else {
            self.gather_all(person.events());
        }
        let trail = match person.is_interleaved() {
            true => Trail::Merged(&self.timeline),
            false => Trail::Person,
        };
        judge(self.plan, &mut self.scratch, &self.hits, person, trail, &mut see);
    }

    fn walk_sessions(&mut self, person: Person<'_>, mut see: impl FnMut(Seen<'_>)) {
        for session in person.sessions() {
            if !self.admits(session) {
                continue;
            }
            self.hits.clear();
            self.gather_all(session.events());
            let trail = Trail::Session(session);
            judge(self.plan, &mut self.scratch, &self.hits, person, trail, &mut see);
        }
    }

    fn admits(&self, session: Session<'_>) -> bool {
        let filter = self.plan.filter.as_ref();
        filter.is_none_or(|filter| filter.admits(&self.plan.tuples, session))
    }

    /// Takes in all that counts from the first entry on.
    fn gather_all(&mut self, events: Events<'_>) {
        let (start, entries_end, end) = self.bounds(events);
        let plan = self.plan;
        let enters = match plan.rules.order {
            Order::Unordered => STEP_BITS,
            _ => 1,
        };
        let first = (start..entries_end).find(|at| plan.mask(events, *at) & enters != 0);
        let Some(mut first) = first else { return };
        // Events at the time of the entry count as after it.
        while first > start && events.time(first - 1) == events.time(first) {
            first -= 1;
        }
        for at in first..end {
            let mask = plan.mask(events, at);
            if mask != 0 || plan.is_strict() {
                self.push(events.time(at), mask, at, true);
            }
        }
    }

    fn gather_filtered(&mut self, person: Person<'_>) {
        let mut base = 0;
        for session in person.sessions() {
            let events = session.events();
            let may_enter = self.admits(session);
            let (start, _, end) = self.bounds(events);
            for at in start..end {
                let mask = self.plan.mask(events, at);
                if mask != 0 || self.plan.is_strict() {
                    self.push(events.time(at), mask, base + at, may_enter);
                }
            }
            base += events.len();
        }
    }

    fn gather_merged(&mut self, person: Person<'_>) {
        let mut timeline = std::mem::take(&mut self.timeline);
        person.timeline(&mut timeline);
        self.admitted.clear();
        for session in person.sessions() {
            let is_admitted = self.admits(session);
            self.admitted.push(is_admitted);
        }
        for (at, moment) in timeline.iter().enumerate() {
            let mask = self.plan.mask_of(moment);
            let is_in_time = (self.plan.from..=self.plan.last()).contains(&moment.event.time);
            if is_in_time && (mask != 0 || self.plan.is_strict()) {
                let may_enter = self.admitted[moment.session as usize];
                self.push(moment.event.time, mask, at, may_enter);
            }
        }
        self.timeline = timeline;
    }

    /// Returns where events begin to count, where they stop to open chains, and where they stop to count.
    fn bounds(&self, events: Events<'_>) -> (usize, usize, usize) {
        let start = lower_bound(events, self.plan.from);
        let entries_end = lower_bound(events, self.plan.to);
        (
            start,
            entries_end,
            lower_bound(events, self.plan.last().saturating_add(1)),
        )
    }

    fn push(&mut self, time: Micros, mask: u32, at: usize, is_admitted: bool) {
        let may_enter = is_admitted && time < self.plan.to;
        let mask = match (self.plan.rules.order, may_enter) {
            (_, true) => mask | MAY_ENTER,
            (Order::Unordered, false) => mask,
            // The first step does nothing but open a chain.
            (_, false) => mask & !1,
        };
        let at = at as u32;
        self.hits.push(Hit { time, mask, at });
    }
}

fn judge<'a>(
    plan: &Plan,
    scratch: &mut Scratch,
    hits: &'a [Hit],
    person: Person<'a>,
    trail: Trail<'a>,
    see: &mut impl FnMut(Seen<'_>),
) {
    if hits.is_empty() {
        return;
    }
    match count(&plan.rules, hits, scratch) {
        Outcome::Absent => {}
        Outcome::Removed => see(Seen::Removed),
        Outcome::Counted(chain) => see(Seen::Counted(Actor {
            person,
            chain: &chain,
            order: plan.rules.order,
            hits,
            trail,
        })),
    }
}

/// Returns the first event that is not before `time`.
fn lower_bound(events: Events<'_>, time: Micros) -> usize {
    let (mut low, mut high) = (0, events.len());
    // Most people lie wholly before or after.
    if high == 0 || events.time(0) >= time {
        return 0;
    }
    if events.time(high - 1) < time {
        return high;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if events.time(middle) < time {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

impl<'a> Actor<'a> {
    /// Returns the place of the event that did a step, among the actor's.
    fn place_of(&self, step: usize) -> usize {
        let time = self.chain.time(step).unwrap_or(self.chain.entry());
        let first = self.hits.partition_point(|hit| hit.time < time);
        let mut moment = self.hits[first..].iter().take_while(|hit| hit.time == time);
        let serves = |hit: &&Hit| match self.order {
            // Here a step is a number of steps, and any of them may have been the last.
            Order::Unordered => hit.mask & STEP_BITS != 0 && (step > 0 || hit.mask & MAY_ENTER != 0),
            _ => hit.mask >> step & 1 == 1,
        };
        let found = moment.find(serves);
        found.map_or(0, |hit| hit.at as usize)
    }

    /// Returns the session in which a step was done.
    pub fn session_of(&self, step: usize) -> Session<'a> {
        self.locate(self.place_of(step)).0
    }

    /// Returns the session of an event, and where its events begin among the actor's when those are not merged.
    fn locate(&self, place: usize) -> (Session<'a>, usize) {
        let mut sessions = self.person.sessions();
        match self.trail {
            Trail::Session(session) => (session, 0),
            Trail::Merged(timeline) => {
                let session = sessions.nth(timeline[place].session as usize);
                (session.expect("a moment is of a session of the person"), 0)
            }
            Trail::Person => {
                let mut first = 0;
                for session in sessions.by_ref() {
                    let next = first + session.events().len();
                    if place < next {
                        return (session, first);
                    }
                    first = next;
                }
                unreachable!("a hit is an event of the person")
            }
        }
    }

    /// Returns the session in which a step was done, and the place of the step's event in it.
    pub fn event_of(&self, step: usize) -> (Session<'a>, usize) {
        let place = self.place_of(step);
        let (session, first) = self.locate(place);
        match self.trail {
            Trail::Merged(timeline) => {
                let own = timeline[..place]
                    .iter()
                    .filter(|moment| moment.session == timeline[place].session);
                (session, own.count())
            }
            _ => (session, place - first),
        }
    }
}
