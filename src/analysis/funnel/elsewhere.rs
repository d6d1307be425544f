//! Where those who stopped at a step went instead.

use foldhash::HashMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::{validation::Funnel, walk::Actor};
use crate::{
    analysis::statistics::rate,
    index::{NONE, NameId, Names},
};

/// Places shown for each step; the others are summed up.
const PLACES_MAX: usize = 10;

/// Event types that happen by themselves while a page is open. They say nothing of what somebody did next.
const PASSIVE_TYPES: [&str; 7] = [
    "page_view",
    "page_leave",
    "scroll",
    "hover",
    "web_vital",
    "consent",
    "identify",
];

/// Where those who stopped at a step went, in the session in which they did it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Elsewhere {
    pub step: usize,
    /// Who stopped here.
    pub stopped: u64,
    /// The next page, as host and path.
    pub pages: Vec<Place>,
    /// Who went to yet another page.
    pub other_pages: u64,
    /// Who saw no other page in that session.
    pub left_the_site: u64,
    /// The type of the next event, page views, scrolling and the like passed over.
    pub events: Vec<Place>,
    pub other_events: u64,
    /// Who did nothing more in that session.
    pub no_event: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Place {
    pub name: String,
    pub count: u64,
    /// Of those who stopped; absent below 30 people.
    pub rate: Option<f64>,
}

/// Counts for each step.
#[derive(Clone, Debug)]
pub struct ElsewhereTally {
    is_passive: Vec<bool>,
    steps: Vec<Places>,
}

#[derive(Clone, Debug, Default)]
struct Places {
    stopped: u64,
    people: u64,
    last_person: Option<u32>,
    /// By page; [`NONE`] for those who saw no other.
    pages: HashMap<NameId, u64>,
    /// By type; [`NONE`] for those who did nothing more.
    events: HashMap<u16, u64>,
}

impl ElsewhereTally {
    pub fn new(steps: usize, names: &Names) -> Self {
        let is_passive = names.types.values().map(|name| PASSIVE_TYPES.contains(&&**name));
        Self {
            is_passive: is_passive.collect(),
            steps: vec![Places::default(); steps.saturating_sub(1)],
        }
    }

    /// Returns an empty one for other people.
    pub fn fresh(&self) -> Self {
        Self {
            is_passive: self.is_passive.clone(),
            steps: vec![Places::default(); self.steps.len()],
        }
    }

    /// Adds an actor, if it stopped.
    pub fn add(&mut self, actor: &Actor<'_>) {
        let step = actor.chain.furthest();
        let Some(places) = self.steps.get_mut(step) else {
            return;
        };
        let person = actor.person.number();
        places.stopped += 1;
        if places.last_person != Some(person) {
            places.last_person = Some(person);
            places.people += 1;
        }
        let (session, at) = actor.event_of(step);
        let events = session.events();
        let here = events.page(at);
        let mut later = at + 1..events.len();
        let page = later
            .clone()
            .map(|next| events.page(next))
            .find(|page| *page != NONE && *page != here);
        let is_passive = |event_type: &u16| {
            self.is_passive
                .get(usize::from(*event_type))
                .copied()
                .unwrap_or(true)
        };
        let event = later.find_map(|next| Some(events.event_type(next)).filter(|found| !is_passive(found)));
        *places.pages.entry(page.unwrap_or(NONE)).or_default() += 1;
        *places.events.entry(event.unwrap_or(NONE as u16)).or_default() += 1;
    }

    /// Adds the counts of other people.
    pub fn merge(&mut self, other: Self) {
        for (places, other) in self.steps.iter_mut().zip(other.steps) {
            places.stopped += other.stopped;
            places.people += other.people;
            for (page, count) in other.pages {
                *places.pages.entry(page).or_default() += count;
            }
            for (event, count) in other.events {
                *places.events.entry(event).or_default() += count;
            }
        }
    }

    /// Returns the answer for each step but the last.
    pub fn finish(self, funnel: &Funnel, names: &Names) -> Vec<Elsewhere> {
        debug_assert_eq!(self.steps.len() + 1, funnel.steps.len());
        let steps = self.steps.into_iter().enumerate();
        steps
            .map(|(at, mut places)| {
                let left_the_site = places.pages.remove(&NONE).unwrap_or(0);
                let no_event = places.events.remove(&(NONE as u16)).unwrap_or(0);
                let ranked = |counts: Vec<(String, u64)>| rank(counts, places.stopped, places.people);
                let page = |(page, count)| (names.pages.get(page).to_string(), count);
                let (pages, other_pages) = ranked(places.pages.into_iter().map(page).collect());
                let event = |(event, count): (u16, u64)| (names.types.get(event.into()).to_string(), count);
                let (events, other_events) = ranked(places.events.into_iter().map(event).collect());
                Elsewhere {
                    step: at + 1,
                    stopped: places.stopped,
                    pages,
                    other_pages,
                    left_the_site,
                    events,
                    other_events,
                    no_event,
                }
            })
            .collect()
    }
}

fn rank(mut counts: Vec<(String, u64)>, stopped: u64, people: u64) -> (Vec<Place>, u64) {
    counts.sort_by(|(one, few), (other, many)| many.cmp(few).then_with(|| one.cmp(other)));
    let rest = counts.split_off(counts.len().min(PLACES_MAX));
    let places = counts.into_iter().map(|(name, count)| Place {
        name,
        count,
        rate: rate(count, stopped, people),
    });
    (places.collect(), rest.into_iter().map(|(_, count)| count).sum())
}
