//! The counting rules of funnels over the events of one actor: a person or a session.
//!
//! What happened is a sequence of [`Hit`]s: a time, and which steps an event can serve. The answer is the one chain
//! that counts for the actor, if there is one. The rules, with the reasons for them, are in
//! `docs/analysis/funnels.md`; `docs/analysis/funnel-vectors.md` shows them as examples.
//!
//! Hits at the same time have no order among themselves: each engine takes all of them together, and asks
//! [`pairing`] whether there is a different event for each step.

mod general;
mod pairing;
mod plain;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod reference;
mod strict;
mod unordered;

use super::definition::Order;
use crate::index::Micros;

/// Steps of a funnel at most: more than anyone reads, and few enough for one word of bits.
pub const STEPS_MAX: usize = 20;

/// The bits of a hit that stand for steps.
pub const STEP_BITS: u32 = (1 << STEPS_MAX) - 1;

/// A hit may open a chain: it lies in the period, and in a session that is asked for.
pub const MAY_ENTER: u32 = 1 << 30;

/// The event is one of those that remove an actor; such a hit serves no step.
pub const EXCLUDED: u32 = 1 << 31;

/// One event, as the counting sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    pub time: Micros,
    /// Bit k: it can serve step k, counted from 0. With [`MAY_ENTER`] and [`EXCLUDED`].
    pub mask: u32,
    /// Place of the event among the actor's.
    pub at: u32,
}

/// How long somebody may stay on a step before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Inclusive.
    pub min: Micros,
    /// Inclusive.
    pub max: Micros,
}

impl Stay {
    pub const ANY: Self = Self {
        min: 0,
        max: Micros::MAX,
    };

    fn admits(self, time: Micros) -> bool {
        (self.min..=self.max).contains(&time)
    }
}

/// What a chain has to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub order: Order,
    /// From the entry to any later step, inclusive.
    pub window: Micros,
    /// Bit k: step k may be left out. Never the first, never the last.
    pub optional: u32,
    /// One for each step.
    pub stays: Vec<Stay>,
}

impl Rules {
    pub fn steps(&self) -> usize {
        self.stays.len()
    }

    fn is_plain(&self) -> bool {
        self.optional == 0 && self.stays.iter().all(|stay| *stay == Stay::ANY)
    }

    fn is_optional(&self, step: usize) -> bool {
        self.optional >> step & 1 == 1
    }

    /// Whether the window that opened at `entry` is still open.
    fn is_open(&self, entry: Micros, time: Micros) -> bool {
        time - entry <= self.window
    }

    /// Returns the steps that events of one moment must serve to lead from step `base` to step `to`, and those they
    /// may serve besides. `None` when somebody would have to stay on a step between, which no moment allows.
    fn steps_between(&self, base: Option<usize>, to: usize) -> Option<(u32, u32)> {
        let first = base.map_or(0, |base| base + 1);
        let between = ((1 << to) - 1) & !((1 << first) - 1);
        let waits = bits(between).filter(|step| self.stays[*step].min > 0);
        let waiting: u32 = waits.fold(0, |mask, step| mask | 1 << step);
        let required = between & !self.optional;
        (required & waiting == 0).then_some((required | 1 << to, between & self.optional & !waiting))
    }
}

/// Returns the places of the bits that are set, lowest first.
fn bits(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(lowest)
    })
}

/// The steps somebody did, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Bit k: step k was done. In unordered funnels bit k says that k + 1 steps were done.
    pub reached: u32,
    times: [Micros; STEPS_MAX],
}

impl Chain {
    const EMPTY: Self = Self {
        reached: 0,
        times: [0; STEPS_MAX],
    };

    fn push(&mut self, step: usize, time: Micros) {
        self.reached |= 1 << step;
        self.times[step] = time;
    }

    fn with_all(mut self, steps: u32, time: Micros) -> Self {
        bits(steps).for_each(|step| self.push(step, time));
        self
    }

    /// Returns when the chain was entered.
    pub fn entry(&self) -> Micros {
        self.times[0]
    }

    /// Returns the last step that was done, counted from 0.
    pub fn furthest(&self) -> usize {
        self.reached.ilog2() as usize
    }

    pub fn has_reached(&self, step: usize) -> bool {
        self.reached >> step & 1 == 1
    }

    /// Returns when a step was done.
    pub fn time(&self, step: usize) -> Option<Micros> {
        self.has_reached(step).then(|| self.times[step])
    }

    /// Returns the steps that were done with their times, in order.
    pub fn steps(&self) -> impl Iterator<Item = (usize, Micros)> + '_ {
        bits(self.reached).map(|step| (step, self.times[step]))
    }
}

/// What came of one actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub enum Outcome {
    /// Nothing opened a chain.
    Absent,
    /// An exclusion lay between the steps of a chain.
    Removed,
    Counted(Chain),
}

/// Room to count in. One serves any number of actors, one after the other.
#[derive(Debug, Default)]
pub struct Scratch {
    plain: plain::Levels,
    general: general::Levels,
    strict: strict::Partials,
    unordered: unordered::Recent,
    masks: Vec<u32>,
}

/// Returns what came of an actor whose hits are these, in the order of time.
///
/// Hits that serve no step and exclude nobody may be left out, but not in strict funnels, where they count as "any
/// other event".
pub fn count(rules: &Rules, hits: &[Hit], scratch: &mut Scratch) -> Outcome {
    match rules.order {
        Order::Ordered if rules.is_plain() => plain::count(rules, hits, scratch),
        Order::Ordered => general::count(rules, hits, scratch),
        Order::Strict => strict::count(rules, hits, scratch),
        Order::Unordered => unordered::count(rules, hits, scratch),
    }
}

/// Returns the hits of each moment.
fn moments(hits: &[Hit]) -> impl Iterator<Item = &[Hit]> {
    hits.chunk_by(|one, next| one.time == next.time)
}

/// Writes the masks of those hits that serve a step.
fn collect_masks(into: &mut Vec<u32>, moment: &[Hit]) {
    into.clear();
    into.extend(
        moment
            .iter()
            .map(|hit| hit.mask & STEP_BITS)
            .filter(|mask| *mask != 0),
    );
}
