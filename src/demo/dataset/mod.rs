//! Realistic traffic of a small web shop, made from a seed.
//!
//! [`visits`] promises events in the wire form, as the browser's tracker would send them: every client's events in
//! the order of its clock and its `seq`, with ids that never repeat, over weeks of busy Sundays, returning customers,
//! campaigns, abandoned carts and a few planted stories (`docs/demo-data.md`). The same options give the same bytes.
//! Sending or storing them is left to the caller; [`SdkStream`] is the endless sibling for load tests.

mod arrival;
mod basket;
mod catalogue;
mod checkout;
mod dice;
mod page;
mod people;
mod sdk;
mod stay;
mod stories;
#[cfg(test)]
mod tests;
mod traffic;
mod visit;
mod wire;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub use sdk::SdkStream;

use dice::Dice;
use people::Population;
use stories::Stories;
use traffic::{Period, PlannedVisit};

/// Streams of chance, one for each purpose, so that a change to one leaves the others as they were.
const PEOPLE_STREAM: u64 = 0;
const PLAN_STREAM: u64 = 1;
/// Stream of the first visit; each later one has the next number.
const FIRST_VISIT_STREAM: u64 = 1_000;

/// What to make.
#[derive(Clone, Debug)]
pub struct DatasetOptions {
    /// Two data sets of different seeds have nothing in common but their rules.
    pub seed: u64,
    /// No event is later than this; the planted stories count back from it.
    pub end: DateTime<Utc>,
    /// Length in days, counted back from `end`.
    pub days: u32,
    /// Number of people, those whom the campaign brings included.
    pub people: u32,
    /// Scheme, host and port of the shop, without a slash at the end.
    pub origin: String,
}

impl DatasetOptions {
    /// Returns the demonstration's size: 90 days of 4000 people, about 180 000 events.
    pub fn demo(end: DateTime<Utc>, origin: impl Into<String>) -> Self {
        Self {
            seed: 2026,
            end,
            days: 90,
            people: 4_000,
            origin: origin.into(),
        }
    }

    fn period(&self) -> Period {
        Period {
            end: self.end,
            days: self.days,
        }
    }
}

/// One visit's events, in the order of time, as one client would send them; the caller cuts batches.
#[derive(Clone, Debug, PartialEq)]
pub struct Visit {
    /// The `User-Agent` header its requests carry; the events themselves do not repeat it.
    pub user_agent: String,
    /// JSON objects; never empty.
    pub events: Vec<Value>,
}

/// Returns all visits in the order of their starts.
///
/// People and the plan of visits (some tens of bytes each) are held in memory, events only one visit at a time.
pub fn visits(options: &DatasetOptions) -> impl Iterator<Item = Visit> + use<> {
    let (population, plan) = people_and_plan(options);
    Visits {
        options: options.clone(),
        stories: Stories::new(options.end),
        population,
        plan: plan.into_iter(),
        stream: FIRST_VISIT_STREAM,
    }
}

/// Returns how many visits [`visits`] will yield. Makes the plan, but no event.
pub fn visit_count(options: &DatasetOptions) -> u64 {
    people_and_plan(options).1.len() as u64
}

fn people_and_plan(options: &DatasetOptions) -> (Population, Vec<PlannedVisit>) {
    let period = options.period();
    let stories = Stories::new(options.end);
    let with_campaign = stories.spring_deal.start >= period.start();
    let mut people_dice = Dice::new(options.seed, PEOPLE_STREAM);
    let population = Population::new(&mut people_dice, options.people, with_campaign);
    let plan = traffic::plan(
        &mut Dice::new(options.seed, PLAN_STREAM),
        &population,
        &period,
        &stories,
    );
    (population, plan)
}

struct Visits {
    options: DatasetOptions,
    stories: Stories,
    population: Population,
    plan: std::vec::IntoIter<PlannedVisit>,
    stream: u64,
}

impl Iterator for Visits {
    type Item = Visit;

    fn next(&mut self) -> Option<Visit> {
        let planned = self.plan.next()?;
        let dice = Dice::new(self.options.seed, self.stream);
        self.stream += 1;
        let device = &mut self.population.devices[planned.device];
        let setting = visit::Setting {
            stories: &self.stories,
            origin: &self.options.origin,
            start: planned.start,
            end: self.options.end,
            is_first: planned.is_first,
        };
        let user_agent = device.model.user_agent.to_owned();
        let events = visit::play(
            dice,
            &mut self.population.people[planned.person],
            device,
            &setting,
        );
        Some(Visit { user_agent, events })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.plan.size_hint()
    }
}
