//! One path: the steps of one session or person, from the anchor on.

use super::{Direction, Node, NodeKind, Question, Steps, Unit, group::Groups, matches_page};
use crate::{
    analysis::{counted::Counted, scope::matches_glob},
    index::{NONE, NameId, Names, Person, block::Moment},
};

/// Type of event that shows a page.
const PAGE_VIEW: &str = "page_view";

/// What an event without a page is named by.
const NO_PAGE: &str = "(no page)";

/// A node by numbers: the page's group, and above it the event type, 0 for a page that was viewed.
pub(super) type Key = u64;

/// A question as tables to look up in.
#[derive(Debug)]
pub(super) struct Plan {
    groups: Groups,
    types: Vec<Box<str>>,
    /// By event type: whether it makes a step.
    is_step: Vec<bool>,
    /// Number of [`PAGE_VIEW`] when page views are steps by their page alone.
    page_view: Option<u16>,
    anchor: Option<AnchorTable>,
    pub(super) direction: Direction,
    pub(super) unit: Unit,
    pub(super) depth: usize,
    pub(super) top: usize,
}

#[derive(Debug)]
struct AnchorTable {
    /// By event type.
    types: Vec<bool>,
    /// By page; any, also none, when absent.
    pages: Option<Vec<bool>>,
}

/// Steps of one path, away from the anchor.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) nodes: Vec<Key>,
    /// Whether there were more steps than levels.
    pub(super) goes_on: bool,
}

/// What a walk over people needs over and over.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    trace: Trace,
    moments: Vec<Moment>,
    events: Vec<(u16, NameId)>,
    counted: Vec<bool>,
}

impl Plan {
    pub(super) fn new(names: &Names, question: &Question) -> Self {
        let is_pages = question.steps == Steps::Pages;
        let is_any = question.event_types.is_empty();
        let types: Vec<Box<str>> = names.types.values().cloned().collect();
        let is_step = types.iter().map(|name| match is_pages {
            true => &**name == PAGE_VIEW,
            false => is_any || question.event_types.iter().any(|glob| matches_glob(glob, name)),
        });
        let mut plan = Self {
            is_step: is_step.collect(),
            groups: Groups::new(names, &question.grouping),
            page_view: names
                .types
                .find(PAGE_VIEW)
                .filter(|_| is_pages)
                .map(|found| found as u16),
            types,
            anchor: None,
            direction: question.direction,
            unit: question.unit,
            depth: question.depth,
            top: question.top,
        };
        plan.anchor = question.anchor.as_ref().map(|anchor| AnchorTable {
            // Without a type of its own the anchor is a step.
            types: match &anchor.event_type {
                None => plan.is_step.clone(),
                Some(glob) => plan.types.iter().map(|name| matches_glob(glob, name)).collect(),
            },
            pages: anchor.page.as_ref().map(|glob| {
                let pages = names.pages.values();
                pages
                    .map(|page| !page.is_empty() && matches_page(glob, page))
                    .collect()
            }),
        });
        plan
    }

    /// Gives every path of a person to `each`; returns how many sessions, or people, were considered.
    pub(super) fn trace_person(
        &self,
        counted: &Counted<'_>,
        person: Person<'_>,
        scratch: &mut Scratch,
        mut each: impl FnMut(&Trace),
    ) -> u64 {
        if !counted.has_person(person) {
            return 0;
        }
        match self.unit {
            Unit::Session => self.trace_sessions(counted, person, &mut scratch.trace, each),
            Unit::Person => {
                if !self.collect_events(counted, person, scratch) {
                    return 0;
                }
                let events = &scratch.events;
                if self.trace(events.len(), |at| events[at], &mut scratch.trace) {
                    each(&scratch.trace);
                }
                1
            }
        }
    }

    fn trace_sessions(
        &self,
        counted: &Counted<'_>,
        person: Person<'_>,
        trace: &mut Trace,
        mut each: impl FnMut(&Trace),
    ) -> u64 {
        let mut considered = 0;
        for session in person.sessions().filter(|session| counted.has(*session)) {
            considered += 1;
            let events = session.events();
            let event = |at| (events.event_type(at), events.page(at));
            if self.trace(events.len(), event, trace) {
                each(trace);
            }
        }
        considered
    }

    /// Puts the events of a person's counted sessions together, in the order of time. False when no session counts.
    fn collect_events(&self, counted: &Counted<'_>, person: Person<'_>, scratch: &mut Scratch) -> bool {
        let Scratch {
            events,
            moments,
            counted: is_counted,
            ..
        } = scratch;
        events.clear();
        is_counted.clear();
        is_counted.extend(person.sessions().map(|session| counted.has(session)));
        if person.is_interleaved() {
            person.timeline(moments);
            let wanted = moments
                .iter()
                .filter(|moment| is_counted[moment.session as usize]);
            events.extend(wanted.map(|moment| (moment.event.event_type, moment.event.page)));
        } else {
            for (session, _) in person.sessions().zip(&*is_counted).filter(|(_, is)| **is) {
                let of_session = session.events();
                events
                    .extend((0..of_session.len()).map(|at| (of_session.event_type(at), of_session.page(at))));
            }
        }
        is_counted.contains(&true)
    }

    /// Writes the path of these events into `into`; false when there is none.
    fn trace(&self, len: usize, event: impl Fn(usize) -> (u16, NameId), into: &mut Trace) -> bool {
        match self.direction {
            Direction::Forward => self.follow((0..len).map(event), into),
            Direction::Backward => self.follow((0..len).rev().map(event), into),
        }
    }

    fn follow(&self, mut events: impl Iterator<Item = (u16, NameId)>, into: &mut Trace) -> bool {
        into.nodes.clear();
        into.goes_on = false;
        if let Some(anchor) = &self.anchor {
            let Some(found) = events.find(|event| anchor.matches(*event)) else {
                return false;
            };
            into.nodes.push(self.key(found));
        }
        for event in events.filter(|event| self.is_step(*event)) {
            let key = self.key(event);
            if into.nodes.last() == Some(&key) {
                continue;
            }
            if into.nodes.len() == self.depth {
                into.goes_on = true;
                break;
            }
            into.nodes.push(key);
        }
        !into.nodes.is_empty()
    }

    /// A page view without a page shows nothing, so it is no step among pages.
    fn is_step(&self, (event_type, page): (u16, NameId)) -> bool {
        self.is_step[usize::from(event_type)] && (page != NONE || self.page_view.is_none())
    }

    fn key(&self, (event_type, page): (u16, NameId)) -> Key {
        let node = Key::from(self.groups.node_of_page[page as usize]);
        if self.page_view == Some(event_type) {
            node
        } else {
            Key::from(event_type) << 32 | node
        }
    }

    /// Returns event type and page of a key; empty where there is none.
    pub(super) fn texts(&self, key: Key) -> (&str, &str) {
        // The type with number 0 is the empty text.
        (
            &self.types[(key >> 32) as usize],
            self.groups.texts.get(key as u32),
        )
    }

    /// Returns the node of a key, with no paths yet.
    pub(super) fn node(&self, level: usize, key: Key) -> Node {
        let (event_type, page) = self.texts(key);
        let event_type = Some(event_type).filter(|text| !text.is_empty());
        let page = Some(page).filter(|text| !text.is_empty());
        let name = match (event_type, page) {
            (Some(event_type), Some(page)) => format!("{event_type} {page}"),
            (Some(event_type), None) => event_type.to_owned(),
            (None, page) => page.unwrap_or(NO_PAGE).to_owned(),
        };
        Node {
            level,
            kind: match event_type {
                Some(_) => NodeKind::Event,
                None => NodeKind::Page,
            },
            name,
            page: page.map(str::to_owned),
            event_type: event_type.map(str::to_owned),
            count: 0,
            goes_on: 0,
            merged: None,
        }
    }
}

impl AnchorTable {
    fn matches(&self, (event_type, page): (u16, NameId)) -> bool {
        let is_page = |pages: &Vec<bool>| pages[page as usize];
        self.types[usize::from(event_type)] && self.pages.as_ref().is_none_or(is_page)
    }
}
