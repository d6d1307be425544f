//! The pure core of segments: a rule made into tables, and one walk over the people.

use chrono::{DateTime, Utc};

use super::rule::{DidRule, Rule, Times, VisitedRule, Window};
use crate::{
    analysis::scope::{PeopleSet, Scope, SessionCondition, SessionFilter, matches_glob},
    index::{Micros, Names, Person, Session, View, names::path_of},
    store::segment_match::{Bounds, CustomerTest},
};

/// Returns what the store is asked, in the order that the bits of its answer have.
pub(super) fn store_tests(rule: &Rule, now: DateTime<Utc>) -> Vec<CustomerTest<'_>> {
    let mut tests = Vec::new();
    collect_tests(rule, now, &mut tests);
    tests
}

fn collect_tests<'rule>(rule: &'rule Rule, now: DateTime<Utc>, tests: &mut Vec<CustomerTest<'rule>>) {
    match store_test(rule, now) {
        Some(test) => tests.push(test),
        None => rule
            .inner()
            .iter()
            .for_each(|inner| collect_tests(inner, now, tests)),
    }
}

fn store_test(rule: &Rule, now: DateTime<Utc>) -> Option<CustomerTest<'_>> {
    let bounds = |at_least, at_most| Bounds { at_least, at_most };
    Some(match rule {
        Rule::Text(rule) => CustomerTest::Text(rule.column, &rule.values),
        Rule::Number(rule) => CustomerTest::Number(rule.column, bounds(rule.at_least, rule.at_most)),
        Rule::Revenue(rule) => CustomerTest::Revenue(&rule.currency, bounds(rule.at_least, rule.at_most)),
        Rule::Time(rule) => {
            let (from, to) = rule.window().at(now);
            CustomerTest::Time(rule.column, from, to)
        }
        Rule::Identified(wanted) => CustomerTest::Identified(*wanted),
        Rule::Attribute(rule) if rule.values.is_empty() => {
            CustomerTest::AttributeNumber(&rule.name, bounds(rule.at_least, rule.at_most))
        }
        Rule::Attribute(rule) => CustomerTest::AttributeText(&rule.name, &rule.values),
        _ => return None,
    })
}

/// A rule as it is evaluated: leaves by their place among the store's bits or the counts of a walk.
#[derive(Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    /// Bit of the store's answer.
    Stored(u32),
    /// Place among the counts.
    Counted(usize, Times),
}

impl Node {
    fn holds(&self, bits: u64, counts: &[u32]) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.holds(bits, counts)),
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(bits, counts)),
            Self::Not(node) => !node.holds(bits, counts),
            Self::Stored(bit) => bits >> bit & 1 == 1,
            Self::Counted(place, times) => times.admits(counts[*place]),
        }
    }
}

/// What is counted of each person.
#[derive(Debug)]
struct Counter {
    /// Inclusive.
    from: Micros,
    /// Exclusive.
    to: Micros,
    sessions: SessionFilter,
    what: What,
}

#[derive(Debug)]
enum What {
    Sessions,
    /// By number: which types and which pages count; `None` counts any.
    Events {
        types: Option<Vec<bool>>,
        pages: Option<Vec<bool>>,
    },
}

/// A rule made ready for a walk. Belongs to the names it was made with.
#[derive(Debug)]
pub(super) struct Plan {
    root: Node,
    counters: Vec<Counter>,
    /// What conditions on sessions look up, so that the walk holds no lock.
    names: Names,
}

impl Plan {
    /// Prepares a rule as of `now`.
    pub(super) fn new(rule: &Rule, names: &Names, now: DateTime<Utc>) -> Self {
        let mut counters = Vec::new();
        let root = compile(rule, names, now, &mut 0, &mut counters);
        let has_conditions = counters.iter().any(|counter| !counter.sessions.is_empty());
        let names = if has_conditions {
            Names {
                clients: names.clients.clone(),
                sources: names.sources.clone(),
                ..Names::default()
            }
        } else {
            Names::default()
        };
        Self {
            root,
            counters,
            names,
        }
    }

    /// Returns whom the rule holds for; `bits` are the store's answers by the people's numbers.
    pub(super) fn people(&self, view: &View, bits: &[u64]) -> PeopleSet {
        let start = || (PeopleSet::default(), vec![0; self.counters.len()]);
        let each = |part: &mut (PeopleSet, Vec<u32>), person: Person<'_>| {
            let (people, counts) = part;
            self.count(person, counts);
            let stored = bits.get(person.number() as usize).copied().unwrap_or(0);
            if self.root.holds(stored, counts) {
                people.insert(person.number());
            }
        };
        let merge = |total: &mut (PeopleSet, Vec<u32>), part: (PeopleSet, Vec<u32>)| total.0.merge(&part.0);
        view.fold(start, each, merge).0
    }

    fn count(&self, person: Person<'_>, counts: &mut [u32]) {
        counts.fill(0);
        for (counter, count) in self.counters.iter().zip(counts) {
            for session in person.sessions() {
                *count += counter.count(&self.names, session);
            }
        }
    }
}

impl Counter {
    fn count(&self, names: &Names, session: Session<'_>) -> u32 {
        let (is_before, is_after) = (session.end() < self.from, session.start() >= self.to);
        if is_before || is_after || !self.sessions.admits(names, session) {
            return 0;
        }
        match &self.what {
            What::Sessions => u32::from((self.from..self.to).contains(&session.start())),
            What::Events { types, pages } => {
                let events = session.events();
                let counts = |at: &usize| {
                    (self.from..self.to).contains(&events.time(*at))
                        && is_wanted(types.as_deref(), usize::from(events.event_type(*at)))
                        && is_wanted(pages.as_deref(), events.page(*at) as usize)
                };
                (0..events.len()).filter(counts).count() as u32
            }
        }
    }
}

/// Whether a number is in the table; what came after the table was made is not.
fn is_wanted(table: Option<&[bool]>, number: usize) -> bool {
    table.is_none_or(|table| table.get(number).copied().unwrap_or(false))
}

fn compile(
    rule: &Rule,
    names: &Names,
    now: DateTime<Utc>,
    stored: &mut u32,
    counters: &mut Vec<Counter>,
) -> Node {
    let mut inner = |rules: &[Rule]| -> Vec<Node> {
        let compiled = rules
            .iter()
            .map(|rule| compile(rule, names, now, stored, counters));
        compiled.collect()
    };
    match rule {
        Rule::All(rules) => Node::All(inner(rules)),
        Rule::Any(rules) => Node::Any(inner(rules)),
        Rule::Not(rule) => Node::Not(Box::new(compile(rule, names, now, stored, counters))),
        Rule::Did(rule) => {
            counters.push(did_counter(rule, names, now));
            Node::Counted(counters.len() - 1, Times::new(rule.at_least, rule.at_most))
        }
        Rule::Visited(rule) => {
            counters.push(visited_counter(rule, names, now));
            Node::Counted(counters.len() - 1, Times::new(rule.at_least, rule.at_most))
        }
        _ => {
            *stored += 1;
            Node::Stored(*stored - 1)
        }
    }
}

fn did_counter(rule: &DidRule, names: &Names, now: DateTime<Utc>) -> Counter {
    let types = rule.event.as_deref().map(|event| {
        let types = names.types.values();
        types.map(|name| &**name == event).collect()
    });
    let pages = rule.page.as_deref().map(|glob| {
        let pages = names.pages.values();
        pages
            .map(|page| !page.is_empty() && matches_page(glob, page))
            .collect()
    });
    counter(
        rule.window(),
        &rule.sessions,
        names,
        now,
        What::Events { types, pages },
    )
}

fn visited_counter(rule: &VisitedRule, names: &Names, now: DateTime<Utc>) -> Counter {
    counter(rule.window(), &rule.sessions, names, now, What::Sessions)
}

fn counter(
    window: Window,
    conditions: &[SessionCondition],
    names: &Names,
    now: DateTime<Utc>,
    what: What,
) -> Counter {
    let (from, to) = window.at(now);
    let micros = |time: DateTime<Utc>| time.timestamp_micros();
    let scope = Scope {
        sessions: conditions.to_vec(),
        ..Scope::of_time(from.map_or(Micros::MIN, micros), to.map_or(Micros::MAX, micros))
    };
    Counter {
        from: scope.from,
        to: scope.to,
        sessions: scope.session_filter(names),
        what,
    }
}

/// Whether a page (host and path) matches a pattern: of the path when it begins with `/`, else of the whole.
fn matches_page(glob: &str, page: &str) -> bool {
    let text = if glob.starts_with('/') {
        path_of(page)
    } else {
        page
    };
    matches_glob(glob, text)
}
