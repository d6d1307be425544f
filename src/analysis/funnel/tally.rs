//! The counts behind an answer.

use super::walk::Actor;
use crate::index::Micros;

/// What was counted of a group of actors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// One for each step.
    pub steps: Vec<StepTally>,
    /// From the entry to the last step, of those who reached it.
    pub to_convert: Vec<Micros>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepTally {
    /// Actors that did the step.
    pub entered: u64,
    /// Those among them that did no later one.
    pub stopped: u64,
    /// People behind `entered`.
    pub people: u64,
    last_person: Option<u32>,
    /// From this step to the next one that was done.
    pub stays: Vec<Micros>,
}

impl Tally {
    pub fn new(steps: usize) -> Self {
        Self {
            steps: vec![StepTally::default(); steps],
            to_convert: Vec::new(),
        }
    }

    /// Adds an actor. All those of one person come one after the other.
    pub fn add(&mut self, actor: &Actor<'_>) {
        let person = actor.person.number();
        let mut before: Option<(usize, Micros)> = None;
        for (step, time) in actor.chain.steps() {
            if let Some((earlier, since)) = before {
                self.steps[earlier].stays.push(time - since);
            }
            let tally = &mut self.steps[step];
            tally.entered += 1;
            if tally.last_person != Some(person) {
                tally.last_person = Some(person);
                tally.people += 1;
            }
            before = Some((step, time));
        }
        let Some((furthest, time)) = before else { return };
        if furthest + 1 == self.steps.len() {
            self.to_convert.push(time - actor.chain.entry());
        } else {
            self.steps[furthest].stopped += 1;
        }
    }

    /// Adds another group, of other people.
    pub fn merge(&mut self, other: Self) {
        for (step, other) in self.steps.iter_mut().zip(other.steps) {
            step.entered += other.entered;
            step.stopped += other.stopped;
            step.people += other.people;
            step.stays.extend(other.stays);
        }
        self.to_convert.extend(other.to_convert);
    }

    /// Adds another group of actors that may belong to the same people: at least as many are behind it as behind either.
    pub fn merge_overlapping(&mut self, other: Self) {
        let least = |one: &StepTally, other: &StepTally| one.people.max(other.people);
        let people: Vec<u64> = self
            .steps
            .iter()
            .zip(&other.steps)
            .map(|(one, other)| least(one, other))
            .collect();
        self.merge(other);
        for (step, people) in self.steps.iter_mut().zip(people) {
            step.people = people;
        }
    }

    pub fn entered(&self) -> u64 {
        self.steps.first().map_or(0, |step| step.entered)
    }

    pub fn converted(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.entered)
    }
}
