//! Whether there is a different event for each step.
//!
//! Which sets of steps can be served by different events is a matching in a bipartite graph, found with augmenting
//! paths (H. W. Kuhn, The Hungarian method for the assignment problem, 1955). Such sets are a transversal matroid: a
//! set that can be served grows step by step, in any order, to the same size, so nothing here depends on the order
//! of events.

use super::{STEPS_MAX, bits};

/// The events of a growing set, each with the step it serves.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairing {
    /// By step: the mask of the event that serves it.
    served_by: [u32; STEPS_MAX],
    served: u32,
}

impl Pairing {
    /// Adds an event that can serve the steps of `mask`. Returns whether one more step is served now; those that were
    /// served before stay so.
    pub(super) fn add(&mut self, mask: u32) -> bool {
        let mut tried = 0;
        self.place(mask, &mut tried)
    }

    fn place(&mut self, mask: u32, tried: &mut u32) -> bool {
        for step in bits(mask) {
            if *tried >> step & 1 == 1 {
                continue;
            }
            *tried |= 1 << step;
            if self.served >> step & 1 == 0 || self.place(self.served_by[step], tried) {
                self.served |= 1 << step;
                self.served_by[step] = mask;
                return true;
            }
        }
        false
    }

    /// Returns how many steps are served.
    pub(super) fn len(&self) -> usize {
        self.served.count_ones() as usize
    }
}

/// Whether different events serve all of these steps.
pub(super) fn serves_all(events: &[u32], steps: u32) -> bool {
    let wanted = steps.count_ones() as usize;
    if let [event] = events {
        return wanted <= 1 && event & steps == steps;
    }
    let mut pairing = Pairing::default();
    for event in events {
        pairing.add(event & steps);
        if pairing.len() == wanted {
            return true;
        }
    }
    wanted == 0
}

/// Adds as many of the steps `besides` as different events can serve together with `steps`, earlier ones first, until
/// there are `most` of them.
pub(super) fn extend(events: &[u32], mut steps: u32, besides: u32, most: usize) -> u32 {
    for step in bits(besides) {
        if steps.count_ones() as usize >= most.min(events.len()) {
            break;
        }
        if serves_all(events, steps | 1 << step) {
            steps |= 1 << step;
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_serves_one_step() {
        assert!(serves_all(&[0b11, 0b01], 0b11));
        assert!(serves_all(&[0b01, 0b11], 0b11));
        assert!(!serves_all(&[0b11], 0b11));
        assert!(!serves_all(&[0b01, 0b01], 0b11));
        assert!(serves_all(&[], 0));
        assert!(serves_all(&[0b110, 0b011, 0b101], 0b111));
    }

    #[test]
    fn further_steps_are_served_while_events_are_left() {
        assert_eq!(extend(&[0b111, 0b111], 0b100, 0b011, 9), 0b101);
        assert_eq!(extend(&[0b111, 0b111, 0b1], 0b100, 0b011, 9), 0b111);
        assert_eq!(extend(&[0b111, 0b111, 0b1], 0b100, 0b011, 2), 0b101);
        assert_eq!(extend(&[0b100, 0b010], 0b100, 0b011, 9), 0b110);
    }
}
