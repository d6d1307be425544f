//! Ordered funnels with optional steps, or with least and longest times on steps.
//!
//! Where a step limits how long one may stay on it, a newer entry can be worse than an older one: it may have come
//! too late. So each way to reach such a step is kept, and asked for the newest entry among those that may go on now.
//! As time only moves on, that is the maximum of a sliding window: each way enters and leaves it once.

use std::collections::VecDeque;

use super::{
    Chain, EXCLUDED, Hit, Outcome, Rules, STEP_BITS, Scratch, Stay, bits, collect_masks, moments, pairing,
};
use crate::index::Micros;

/// A step that was done, on the way from an entry.
#[derive(Clone, Copy, Debug)]
struct Node {
    time: Micros,
    entry: Micros,
    step: u32,
    /// The step before it; none for the entry.
    parent: Option<u32>,
}

/// The ways to have reached one step.
#[derive(Debug, Default)]
struct Level {
    /// Ways that may not go on yet, in the order of time.
    waiting: VecDeque<u32>,
    /// Ways that may go on, newest entry first; of equal entries the earliest.
    ready: VecDeque<u32>,
    /// The way with the newest entry of all.
    newest: Option<u32>,
}

/// By step: how it was reached.
#[derive(Debug, Default)]
pub(super) struct Levels {
    nodes: Vec<Node>,
    levels: Vec<Level>,
    /// By step: the best way to it by the events of the moment at hand.
    found: Vec<Option<Found>>,
    last_exclusion: Option<Micros>,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    entry: Micros,
    base: Option<u32>,
    /// The steps that this moment adds.
    steps: u32,
}

impl Levels {
    fn clear(&mut self, steps: usize) {
        self.nodes.clear();
        self.levels.resize_with(steps, Level::default);
        for level in &mut self.levels {
            level.waiting.clear();
            level.ready.clear();
            level.newest = None;
        }
        self.found.clear();
        self.found.resize(steps, None);
        self.last_exclusion = None;
    }

    /// Returns the way over `step` with the newest entry that may go on at `time`.
    fn ready_at(&mut self, rules: &Rules, step: usize, time: Micros) -> Option<u32> {
        let stay = rules.stays[step];
        let (nodes, level) = (&self.nodes, &mut self.levels[step]);
        while let Some(&way) = level.waiting.front() {
            if time - nodes[way as usize].time < stay.min {
                break;
            }
            level.waiting.pop_front();
            let is_older = |other: &u32| nodes[*other as usize].entry < nodes[way as usize].entry;
            while level.ready.back().is_some_and(is_older) {
                level.ready.pop_back();
            }
            level.ready.push_back(way);
        }
        let is_over = |way: &u32| time - nodes[*way as usize].time > stay.max;
        while level.ready.front().is_some_and(is_over) {
            level.ready.pop_front();
        }
        let way = *level.ready.front()?;
        rules.is_open(nodes[way as usize].entry, time).then_some(way)
    }

    fn offer(&mut self, step: usize, found: Found) {
        let present = &mut self.found[step];
        if present.is_none_or(|present| present.entry < found.entry) {
            *present = Some(found);
        }
    }

    fn find_for_one(&mut self, rules: &Rules, time: Micros, mask: u32) {
        for step in bits(mask & STEP_BITS) {
            let found = |entry, base| Found {
                entry,
                base,
                steps: 1 << step,
            };
            if step == 0 {
                self.offer(0, found(time, None));
            }
            for base in (0..step).rev() {
                if let Some(way) = self.ready_at(rules, base, time) {
                    self.offer(step, found(self.nodes[way as usize].entry, Some(way)));
                }
                if !rules.is_optional(base) {
                    break;
                }
            }
        }
    }

    fn find_for_all(&mut self, rules: &Rules, time: Micros, masks: &[u32]) {
        for base in (0..rules.steps()).rev() {
            if let Some(way) = self.ready_at(rules, base, time) {
                self.find_from(rules, Some((base, way)), time, masks);
            }
        }
        self.find_from(rules, None, time, masks);
    }

    fn find_from(&mut self, rules: &Rules, base: Option<(usize, u32)>, time: Micros, masks: &[u32]) {
        let step = base.map(|(step, _)| step);
        for to in step.map_or(0, |step| step + 1)..rules.steps() {
            let Some((required, besides)) = rules.steps_between(step, to) else {
                break;
            };
            if required.count_ones() as usize > masks.len() {
                break;
            }
            if pairing::serves_all(masks, required) {
                let found = Found {
                    entry: base.map_or(time, |(_, way)| self.nodes[way as usize].entry),
                    base: base.map(|(_, way)| way),
                    steps: pairing::extend(masks, required, besides, usize::MAX),
                };
                self.offer(to, found);
            }
        }
    }

    /// Keeps what the moment brought. False when that removes the actor.
    fn keep(&mut self, rules: &Rules, time: Micros) -> bool {
        for step in 0..self.found.len() {
            let Some(found) = self.found[step].take() else {
                continue;
            };
            let newest = self.levels[step].newest.map(|way| self.nodes[way as usize].entry);
            let is_newer = newest.is_none_or(|newest| newest < found.entry);
            if !is_newer && rules.stays[step] == Stay::ANY {
                continue;
            }
            let way = self.push(found, time);
            self.levels[step].waiting.push_back(way);
            if is_newer {
                self.levels[step].newest = Some(way);
                if self.last_exclusion.is_some_and(|last| last > found.entry) {
                    return false;
                }
            }
        }
        true
    }

    fn push(&mut self, found: Found, time: Micros) -> u32 {
        let mut parent = found.base;
        for step in bits(found.steps) {
            self.nodes.push(Node {
                time,
                entry: found.entry,
                step: step as u32,
                parent,
            });
            parent = Some(self.nodes.len() as u32 - 1);
        }
        self.nodes.len() as u32 - 1
    }

    fn chain(&self, way: u32) -> Chain {
        let mut chain = Chain::EMPTY;
        let mut next = Some(way);
        while let Some(way) = next {
            let node = self.nodes[way as usize];
            chain.push(node.step as usize, node.time);
            next = node.parent;
        }
        chain
    }
}

pub(super) fn count(rules: &Rules, hits: &[Hit], scratch: &mut Scratch) -> Outcome {
    let Scratch { general, masks, .. } = scratch;
    general.clear(rules.steps());
    for moment in moments(hits) {
        let time = moment[0].time;
        match moment {
            [hit] => general.find_for_one(rules, time, hit.mask),
            several => {
                collect_masks(masks, several);
                general.find_for_all(rules, time, masks);
            }
        }
        if !general.keep(rules, time) {
            return Outcome::Removed;
        }
        if moment.iter().any(|hit| hit.mask & EXCLUDED != 0) {
            general.last_exclusion = Some(time);
        }
    }
    let furthest = general.levels.iter().rev().find_map(|level| level.newest);
    furthest.map_or(Outcome::Absent, |way| Outcome::Counted(general.chain(way)))
}
