//! The walk: sessions become touches, touches before a conversion its path.

use super::{Question, markov::Chain, values::Values};
use crate::{
    analysis::counted::Counted,
    index::{Micros, Order, Person, Session, View, rows::flag},
};

/// The latest touches of a conversion that count. Nobody has more, except where a site gives all its guests the same
/// user id: each conversion of that "person" would look back on all sessions of everybody.
pub(super) const TOUCHES_MAX: usize = 1000;

/// One session that led to a conversion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Touch {
    /// Place among the values.
    pub(super) value: u16,
    pub(super) is_direct: bool,
    pub(super) start: Micros,
}

/// One conversion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Conversion {
    pub(super) time: Micros,
    pub(super) order: Option<Order>,
    /// Where its touches end among all; they begin where those of the conversion before end.
    pub(super) touches_end: usize,
}

/// Everything a walk finds.
#[derive(Debug)]
pub(super) struct Found {
    /// Sessions in question, by value.
    pub(super) sessions: Vec<u64>,
    /// People with a conversion.
    pub(super) converters: u64,
    pub(super) conversions: Vec<Conversion>,
    /// Touches of all conversions, one after the other, each in the order of time.
    pub(super) touches: Vec<Touch>,
    pub(super) chain: Chain,
    /// Sessions of the person that is looked at.
    seen: Vec<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    touch: Touch,
    counts: bool,
    converted: bool,
}

/// What the walk looks up.
#[derive(Debug)]
struct Walk<'a> {
    counted: &'a Counted<'a>,
    values: &'a Values,
    look_back: Micros,
    /// Number of the type `purchase`.
    purchase: Option<u16>,
}

impl Found {
    /// Walks over all people.
    pub(super) fn walk(view: &View, counted: &Counted<'_>, values: &Values, question: &Question) -> Self {
        let walk = Walk {
            counted,
            values,
            look_back: question.look_back,
            purchase: view.names().types.find("purchase").map(|found| found as u16),
        };
        view.fold(
            || Self::new(values.len()),
            |found, person| walk.add(found, person),
            Self::merge,
        )
    }

    fn new(values: usize) -> Self {
        Self {
            sessions: vec![0; values],
            converters: 0,
            conversions: Vec::new(),
            touches: Vec::new(),
            chain: Chain::new(values),
            seen: Vec::new(),
        }
    }

    fn merge(&mut self, other: Self) {
        let sessions = self.sessions.iter_mut().zip(&other.sessions);
        sessions.for_each(|(sum, count)| *sum += count);
        self.converters += other.converters;
        let before = self.touches.len();
        self.conversions
            .extend(other.conversions.into_iter().map(|conversion| Conversion {
                touches_end: conversion.touches_end + before,
                ..conversion
            }));
        self.touches.extend(other.touches);
        self.chain.merge(&other.chain);
    }

    /// Returns each conversion with its touches.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&Conversion, &[Touch])> {
        let begins =
            std::iter::once(0).chain(self.conversions.iter().map(|conversion| conversion.touches_end));
        let pairs = self.conversions.iter().zip(begins);
        pairs.map(|(conversion, begin)| (conversion, &self.touches[begin..conversion.touches_end]))
    }
}

impl Walk<'_> {
    fn add(&self, found: &mut Found, person: Person<'_>) {
        if !self.counted.has_person(person) {
            return;
        }
        found.seen.clear();
        found
            .seen
            .extend(person.sessions().map(|session| self.see(session)));
        let mut last_counted = None;
        let mut last_converted = None;
        for (place, session) in person.sessions().enumerate() {
            let seen = found.seen[place];
            if !seen.counts {
                continue;
            }
            last_counted = Some(place);
            found.sessions[usize::from(seen.touch.value)] += 1;
            if seen.converted {
                last_converted = Some(place);
                self.add_conversion(found, place, session);
            }
        }
        found.converters += u64::from(last_converted.is_some());
        match last_counted {
            Some(end) if last_converted != Some(end) => self.add_rest(found, last_converted, end),
            _ => (),
        }
    }

    fn see(&self, session: Session<'_>) -> Seen {
        let (value, is_direct) = self.values.of_source[session.source() as usize];
        Seen {
            touch: Touch {
                value,
                is_direct,
                start: session.start(),
            },
            counts: self.counted.has(session),
            converted: session.has(flag::CONVERTED),
        }
    }

    fn add_conversion(&self, found: &mut Found, place: usize, session: Session<'_>) {
        let time = self.conversion_time(session);
        let begin = self.begin(&found.seen, place, time);
        let touches = found.seen[begin..=place].iter().map(|seen| seen.touch);
        found
            .chain
            .push(touches.clone().map(|touch| usize::from(touch.value)), true);
        found.touches.extend(touches);
        found.conversions.push(Conversion {
            time,
            order: session.order(),
            touches_end: found.touches.len(),
        });
    }

    /// Adds what came after the last conversion, up to the last session that counts: a path that led to none.
    fn add_rest(&self, found: &mut Found, last_converted: Option<usize>, end: usize) {
        let after = last_converted.map_or(0, |place| place + 1);
        let begin = self
            .begin(&found.seen, end, found.seen[end].touch.start)
            .max(after);
        let values = found.seen[begin..=end]
            .iter()
            .map(|seen| usize::from(seen.touch.value));
        found.chain.push(values, false);
    }

    /// Returns the first touch in the look-back window of a path that ends with the session at `end`.
    fn begin(&self, seen: &[Seen], end: usize, time: Micros) -> usize {
        let earliest = time - self.look_back;
        let begin = seen[..end].partition_point(|seen| seen.touch.start < earliest);
        begin.max((end + 1).saturating_sub(TOUCHES_MAX))
    }

    /// Returns the time of the first purchase, or where no event is one, of the session's end.
    fn conversion_time(&self, session: Session<'_>) -> Micros {
        let events = session.events();
        let is_purchase = |at: &usize| Some(events.event_type(*at)) == self.purchase;
        (0..events.len())
            .find(is_purchase)
            .map_or_else(|| session.end(), |at| events.time(at))
    }
}
