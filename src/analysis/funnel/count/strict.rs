//! Strict funnels: the steps follow each other with no other event between.
//!
//! A chain that can go on ended with the event before. Events of one moment may be thought of in any order, so a
//! chain goes on beyond a moment only when all of its events serve steps, except for the moment of its entry, where
//! the others may have come before, and that of its end, where they may come after.

use super::{Chain, Hit, Outcome, Rules, STEP_BITS, Scratch, moments, pairing};
use crate::index::Micros;

/// By step: chains.
#[derive(Debug, Default)]
pub(super) struct Partials {
    /// Those that ended with the moment before.
    running: Vec<Option<Chain>>,
    next: Vec<Option<Chain>>,
    /// Those with the newest entry of all.
    newest: Vec<Option<Chain>>,
    is_running: bool,
}

fn raise(present: &mut Option<Chain>, chain: Chain) {
    if present.is_none_or(|present| present.entry() < chain.entry()) {
        *present = Some(chain);
    }
}

impl Partials {
    fn clear(&mut self, steps: usize) {
        for chains in [&mut self.running, &mut self.next, &mut self.newest] {
            chains.clear();
            chains.resize(steps, None);
        }
        self.is_running = false;
    }

    fn take(&mut self, rules: &Rules, time: Micros, masks: &[u32]) {
        for base in (0..rules.steps()).rev() {
            let Some(chain) = self.running[base] else {
                continue;
            };
            let stay = time - chain.times[base];
            if rules.stays[base].admits(stay) && rules.is_open(chain.entry(), time) {
                self.follow(rules, Some(base), chain, time, masks);
            }
        }
        self.follow(rules, None, Chain::EMPTY, time, masks);
        std::mem::swap(&mut self.running, &mut self.next);
        self.next.fill(None);
        self.is_running = self.running.iter().any(Option::is_some);
    }

    fn follow(&mut self, rules: &Rules, base: Option<usize>, chain: Chain, time: Micros, masks: &[u32]) {
        for to in base.map_or(0, |base| base + 1)..rules.steps() {
            let Some((required, besides)) = rules.steps_between(base, to) else {
                break;
            };
            let least = required.count_ones() as usize;
            if least > masks.len() {
                break;
            }
            if !pairing::serves_all(masks, required) {
                continue;
            }
            let most = pairing::extend(masks, required, besides, usize::MAX);
            raise(&mut self.newest[to], chain.with_all(most, time));
            // Here the events that serve no step come first, or there are none.
            if base.is_none() || most.count_ones() as usize == masks.len() {
                raise(&mut self.next[to], chain.with_all(most, time));
            }
        }
    }
}

pub(super) fn count(rules: &Rules, hits: &[Hit], scratch: &mut Scratch) -> Outcome {
    let Scratch { strict, masks, .. } = scratch;
    strict.clear(rules.steps());
    for moment in moments(hits) {
        let any = moment.iter().fold(0, |any, hit| any | hit.mask) & STEP_BITS;
        if any & 1 == 0 && !strict.is_running {
            continue;
        }
        masks.clear();
        masks.extend(moment.iter().map(|hit| hit.mask & STEP_BITS));
        strict.take(rules, moment[0].time, masks);
    }
    let furthest = strict.newest.iter().rev().find_map(|chain| *chain);
    furthest.map_or(Outcome::Absent, Outcome::Counted)
}
