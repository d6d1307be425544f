//! Unordered funnels: as many of the steps as possible inside one window, which the first of them opens.
//!
//! Whether k steps were done by now depends on the latest events alone: of events that can serve the same steps, only
//! as many of the latest as there are such steps can matter. Those are kept, and walked from the latest back.

use super::{Chain, EXCLUDED, Hit, MAY_ENTER, Outcome, Rules, STEP_BITS, Scratch, moments, pairing::Pairing};
use crate::index::Micros;

/// The latest events that can matter, in the order of time; of one moment, those that may enter come first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    hits: Vec<Hit>,
    /// By number of steps less one: the newest entry of a chain with so many.
    entries: Vec<Option<Micros>>,
    last_exclusion: Option<Micros>,
}

impl Recent {
    fn clear(&mut self, steps: usize) {
        self.hits.clear();
        self.entries.clear();
        self.entries.resize(steps, None);
        self.last_exclusion = None;
    }

    /// Adds the hits of a moment.
    fn add(&mut self, moment: &[Hit]) {
        let serving = moment.iter().filter(|hit| hit.mask & STEP_BITS != 0);
        let (entering, others): (Vec<Hit>, Vec<Hit>) = match moment {
            [_] => {
                self.hits.extend(serving);
                self.forget(moment[0].mask);
                return;
            }
            _ => serving.partition(|hit| hit.mask & MAY_ENTER != 0),
        };
        for hit in entering.into_iter().chain(others) {
            self.hits.push(hit);
            self.forget(hit.mask);
        }
    }

    /// Drops what later events with the same mask make superfluous.
    fn forget(&mut self, mask: u32) {
        let enough = (mask & STEP_BITS).count_ones() as usize;
        let mut have = 0;
        for at in (0..self.hits.len()).rev() {
            if self.hits[at].mask != mask {
                continue;
            }
            have += 1;
            // The last one that may enter before one that may not is the newest entry of a chain that begins there.
            let next = self.hits.get(at + 1);
            let is_last_entry = mask & MAY_ENTER != 0 && next.is_some_and(|next| next.mask & MAY_ENTER == 0);
            if have > enough && !is_last_entry {
                self.hits.remove(at);
            }
        }
    }

    /// Looks for chains that end by `time`. False when one of them removes the actor.
    fn look_back(&mut self, rules: &Rules, time: Micros) -> bool {
        let mut pairing = Pairing::default();
        let mut known = 0;
        for moment in self.hits.chunk_by(|one, next| one.time == next.time).rev() {
            let entry = moment[0].time;
            if !rules.is_open(entry, time) || known == rules.steps() {
                break;
            }
            for hit in moment {
                pairing.add(hit.mask & STEP_BITS);
            }
            if moment[0].mask & MAY_ENTER == 0 {
                continue;
            }
            for newest in &mut self.entries[known..pairing.len()] {
                if newest.is_none_or(|newest| newest < entry) {
                    *newest = Some(entry);
                    if self.last_exclusion.is_some_and(|last| last > entry) {
                        return false;
                    }
                }
            }
            known = pairing.len().max(known);
        }
        true
    }
}

/// Returns when each number of steps was done after `entry`.
fn chain_from(rules: &Rules, hits: &[Hit], entry: Micros, steps: usize) -> Chain {
    let mut chain = Chain::EMPTY;
    let mut pairing = Pairing::default();
    let first = hits.partition_point(|hit| hit.time < entry);
    for hit in &hits[first..] {
        if pairing.len() == steps || !rules.is_open(entry, hit.time) {
            break;
        }
        if pairing.add(hit.mask & STEP_BITS) {
            chain.push(pairing.len() - 1, hit.time);
        }
    }
    chain
}

pub(super) fn count(rules: &Rules, hits: &[Hit], scratch: &mut Scratch) -> Outcome {
    let recent = &mut scratch.unordered;
    recent.clear(rules.steps());
    for moment in moments(hits) {
        let time = moment[0].time;
        if moment.iter().any(|hit| hit.mask & STEP_BITS != 0) {
            recent.add(moment);
            if !recent.look_back(rules, time) {
                return Outcome::Removed;
            }
        }
        if moment.iter().any(|hit| hit.mask & EXCLUDED != 0) {
            recent.last_exclusion = Some(time);
        }
    }
    let most = recent.entries.iter().rposition(Option::is_some);
    let Some((most, entry)) = most.and_then(|most| Some((most, recent.entries[most]?))) else {
        return Outcome::Absent;
    };
    Outcome::Counted(chain_from(rules, hits, entry, most + 1))
}
