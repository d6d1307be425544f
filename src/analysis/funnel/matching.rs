//! Which events serve which steps, as tables to look up by number, and whose events are asked.

use std::sync::Arc;

use super::{
    count::{EXCLUDED, Rules, STEP_BITS, STEPS_MAX},
    definition::{CountBy, Order},
    validation::{EventMatch, Funnel},
};
use crate::{
    analysis::scope::{PeopleSet, Scope, SessionFilter, matches_glob},
    index::{Events, Micros, NONE, Names, block::Moment, names::path_of},
    store::event_conditions::EventCondition,
};

/// A funnel made ready for one view of the index and one scope.
#[derive(Clone, Debug)]
pub struct Plan {
    pub rules: Rules,
    pub count_by: CountBy,
    /// Entries lie from here on.
    pub from: Micros,
    /// Entries lie before this.
    pub to: Micros,
    pub people: Option<Arc<PeopleSet>>,
    /// On the session of the entry; none when nothing is asked.
    pub filter: Option<SessionFilter>,
    /// What sessions are looked up in while no lock is held: clients and sources.
    pub tuples: Names,
    tables: Tables,
}

impl Plan {
    /// Compiles a funnel. The names are those of the view it is for.
    pub fn new(funnel: &Funnel, scope: &Scope, names: &Names) -> Self {
        let mut sessions = scope.clone();
        sessions.sessions.extend(funnel.sessions.iter().cloned());
        let filter = sessions.session_filter(names);
        Self {
            rules: funnel.rules.clone(),
            count_by: funnel.count_by,
            from: scope.from,
            to: scope.to,
            people: scope.people.clone(),
            filter: Some(filter).filter(|filter| !filter.is_empty()),
            tuples: Names {
                clients: names.clients.clone(),
                sources: names.sources.clone(),
                ..Names::default()
            },
            tables: Tables::new(funnel, names),
        }
    }

    /// Returns the same plan for the period of equal length just before.
    pub fn of_period_before(&self) -> Self {
        Self {
            from: self.from - (self.to - self.from),
            to: self.from,
            ..self.clone()
        }
    }

    /// Returns the last moment that can matter: the window of the last entry ends then.
    pub fn last(&self) -> Micros {
        self.to.saturating_add(self.rules.window)
    }

    pub fn is_strict(&self) -> bool {
        self.rules.order == Order::Strict
    }

    /// Returns which steps an event can serve, or [`EXCLUDED`].
    pub fn mask(&self, events: Events<'_>, at: usize) -> u32 {
        self.tables
            .mask(events.event_type(at), || events.page(at), || events.marks(at))
    }

    /// The same for an event of a timeline.
    pub fn mask_of(&self, moment: &Moment) -> u32 {
        let event = &moment.event;
        self.tables.mask(event.event_type, || event.page, || event.marks)
    }
}

impl Funnel {
    /// Returns the conditions that only the store can judge: the index must be made with a mark for each group, in
    /// this order. Empty for most funnels, which the index answers alone.
    pub fn event_conditions(&self) -> Vec<Vec<EventCondition>> {
        let conditioned = self.matches().filter(|(_, wanted)| !wanted.conditions.is_empty());
        conditioned.map(|(_, wanted)| wanted.conditions.clone()).collect()
    }

    /// Returns what is matched, each with its bit.
    fn matches(&self) -> impl Iterator<Item = (usize, &EventMatch)> {
        let exclusions = self.exclusions.iter().enumerate();
        self.steps
            .iter()
            .enumerate()
            .chain(exclusions.map(|(at, exclusion)| (STEPS_MAX + at, exclusion)))
    }
}

/// By number: the bits of what matches. An event matches where all its tables agree.
#[derive(Clone, Debug)]
struct Tables {
    types: Vec<u32>,
    /// Empty when no pattern asks for pages.
    pages: Vec<u32>,
    /// By mark: the bits that need it.
    marks: Vec<u32>,
    needs_mark: u32,
}

impl Tables {
    fn new(funnel: &Funnel, names: &Names) -> Self {
        let mut types = vec![0; names.types.len()];
        let mut pages = Vec::new();
        let mut marks = Vec::new();
        let patterns = funnel.matches().any(|(_, wanted)| wanted.page.is_some());
        if patterns {
            pages.resize(names.pages.len(), 0);
        }
        for (bit, wanted) in funnel.matches() {
            let bit = 1 << bit;
            match &wanted.event_type {
                None => types.iter_mut().for_each(|mask| *mask |= bit),
                Some(name) => {
                    if let Some(found) = names.types.find(name) {
                        types[found as usize] |= bit;
                    }
                }
            }
            match &wanted.page {
                None => pages.iter_mut().for_each(|mask| *mask |= bit),
                Some(pattern) => mark_pages(&mut pages, names, pattern, bit),
            }
            if !wanted.conditions.is_empty() {
                marks.push(bit);
            }
        }
        Self {
            types,
            pages,
            needs_mark: marks.iter().fold(0, |all, bits| all | bits),
            marks,
        }
    }

    fn mask(&self, event_type: u16, page: impl Fn() -> u32, marks: impl Fn() -> u32) -> u32 {
        let found = |table: &[u32], at: u32| table.get(at as usize).copied().unwrap_or(0);
        let mut mask = found(&self.types, event_type.into());
        if mask != 0 && !self.pages.is_empty() {
            mask &= found(&self.pages, page());
        }
        if mask & self.needs_mark != 0 {
            let marks = marks();
            for (mark, bit) in self.marks.iter().enumerate() {
                if marks >> mark & 1 == 0 {
                    mask &= !bit;
                }
            }
        }
        match mask & STEP_BITS {
            0 if mask != 0 => EXCLUDED,
            steps => steps,
        }
    }
}

fn mark_pages(pages: &mut [u32], names: &Names, pattern: &str, bit: u32) {
    let is_of_paths = pattern.starts_with(['/', '*']);
    for (number, (mask, page)) in pages.iter_mut().zip(names.pages.values()).enumerate() {
        let text = if is_of_paths { path_of(page) } else { page };
        // Without a page there is nothing to match, not even for `*`.
        if number as u32 != NONE && matches_glob(pattern, text) {
            *mask |= bit;
        }
    }
}
