//! Ordered funnels whose steps are all required and may take any time: almost every funnel, and the quickest.
//!
//! For each step the newest entry that led there is kept. A newer entry is never worse than an older one, since its
//! window ends later, so nothing else has to be remembered.

use super::{Chain, EXCLUDED, Hit, Outcome, Rules, STEP_BITS, Scratch, collect_masks, moments, pairing};
use crate::index::Micros;

/// By step: the chain with the newest entry that reached it.
#[derive(Debug, Default)]
pub(super) struct Levels {
    chains: Vec<Chain>,
    /// By step: the best chain that ends with the moment at hand.
    found: Vec<Chain>,
    last_exclusion: Option<Micros>,
}

impl Levels {
    fn clear(&mut self, steps: usize) {
        self.chains.clear();
        self.chains.resize(steps, Chain::EMPTY);
        self.last_exclusion = None;
    }

    /// Puts a chain where it is newer than what is there. False when that removes the actor.
    fn raise(&mut self, step: usize, chain: Chain) -> bool {
        let present = &mut self.chains[step];
        if present.reached != 0 && present.entry() >= chain.entry() {
            return true;
        }
        *present = chain;
        step == 0 || self.last_exclusion.is_none_or(|time| time <= chain.entry())
    }

    /// Lets one event serve a step, the last one first so that it does not serve two.
    fn take_one(&mut self, rules: &Rules, time: Micros, mask: u32) -> bool {
        let mut left = mask & STEP_BITS;
        while left != 0 {
            let step = left.ilog2() as usize;
            left ^= 1 << step;
            if step == 0 {
                self.raise(0, Chain::EMPTY.with_all(1, time));
                continue;
            }
            let before = &self.chains[step - 1];
            if before.reached == 0 || !rules.is_open(before.entry(), time) {
                continue;
            }
            let present = &self.chains[step];
            if present.reached != 0 && present.entry() >= before.entry() {
                continue;
            }
            let mut chain = *before;
            chain.push(step, time);
            if !self.raise(step, chain) {
                return false;
            }
        }
        true
    }

    /// Lets all events of one moment serve steps, each one step.
    fn take_all(&mut self, rules: &Rules, time: Micros, masks: &[u32]) -> bool {
        let any = masks.iter().fold(0, |any, mask| any | mask);
        self.found.clear();
        self.found.resize(rules.steps(), Chain::EMPTY);
        // Later bases have older entries; of equal ones the later base did more before.
        for base in std::iter::once(None).chain((0..rules.steps() - 1).map(Some)) {
            let chain = base.map_or(Chain::EMPTY, |base| self.chains[base]);
            let first = base.map_or(0, |base| base + 1);
            let is_usable = base.is_none() || chain.reached != 0 && rules.is_open(chain.entry(), time);
            if !is_usable || any >> first & 1 == 0 {
                continue;
            }
            let mut steps = 0;
            for step in first..rules.steps() {
                steps |= 1 << step;
                if !pairing::serves_all(masks, steps) {
                    break;
                }
                let present = &mut self.found[step];
                let next = chain.with_all(steps, time);
                if present.reached == 0 || present.entry() <= next.entry() {
                    *present = next;
                }
            }
        }
        (0..rules.steps()).all(|step| {
            let found = self.found[step];
            found.reached == 0 || self.raise(step, found)
        })
    }
}

pub(super) fn count(rules: &Rules, hits: &[Hit], scratch: &mut Scratch) -> Outcome {
    let Scratch { plain, masks, .. } = scratch;
    plain.clear(rules.steps());
    for moment in moments(hits) {
        let time = moment[0].time;
        let is_kept = match moment {
            [hit] => plain.take_one(rules, time, hit.mask),
            several => {
                collect_masks(masks, several);
                plain.take_all(rules, time, masks)
            }
        };
        if !is_kept {
            return Outcome::Removed;
        }
        if moment.iter().any(|hit| hit.mask & EXCLUDED != 0) {
            plain.last_exclusion = Some(time);
        }
    }
    let reached = plain.chains.iter().rev().find(|chain| chain.reached != 0);
    reached.map_or(Outcome::Absent, |chain| Outcome::Counted(*chain))
}
