//! Paths against a reference that follows the definition with texts, and the laws they keep.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::select};

use super::*;
use crate::{
    analysis::scope::PeopleSet,
    index::testing::{Story, Visit},
};

/// One session: person, begin, and what happened: `(pause, type, page)`.
type Told = (u128, i64, Vec<(i64, &'static str, &'static str)>);

/// Events of a session with their times.
type Events = Vec<(i64, &'static str, &'static str)>;

fn told() -> impl Strategy<Value = Vec<Told>> {
    let event = (
        0_i64..4,
        select(&["page_view", "page_view", "click", "purchase"][..]),
        select(&["/a", "/b", "/c/1", "/c/2", "/c/x", ""][..]),
    );
    let session = (1_u128..5, 0_i64..100, prop::collection::vec(event, 1..9));
    prop::collection::vec(session, 1..14)
}

fn question() -> impl Strategy<Value = Question> {
    let anchor = (
        prop::option::of(select(&["/a", "/c/*", "shop.example/b", "*"][..])),
        prop::option::of(select(&["click", "p*", "purchase"][..])),
    );
    let kind = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let patterns = prop::collection::vec(select(&["/c/*", "/b", "/*"][..]), 0..3);
    let types = prop::collection::vec(select(&["page_view", "c*", "purchase"][..]), 0..2);
    (kind, anchor, 1_usize..6, 1_usize..4, patterns, types).prop_map(
        |((events, backward, person, ids), (page, event_type), depth, top, patterns, event_types)| Question {
            steps: if events { Steps::Events } else { Steps::Pages },
            event_types: event_types
                .into_iter()
                .filter(|_| events)
                .map(str::to_owned)
                .collect(),
            direction: if backward {
                Direction::Backward
            } else {
                Direction::Forward
            },
            anchor: (page.is_some() || event_type.is_some()).then(|| Anchor {
                page: page.map(str::to_owned),
                event_type: event_type.map(str::to_owned),
            }),
            unit: if person { Unit::Person } else { Unit::Session },
            depth,
            top,
            grouping: Grouping {
                patterns: patterns.into_iter().map(str::to_owned).collect(),
                ids,
                hosts: false,
            },
        },
    )
}

fn timed(begin: i64, events: &Events) -> Events {
    let mut time = begin;
    let at = |(pause, event_type, page): &(i64, &'static str, &'static str)| {
        time += pause;
        (time, *event_type, *page)
    };
    events.iter().map(at).collect()
}

fn story(told: &[Told]) -> Story {
    let mut story = Story::default();
    for (device, (person, begin, events)) in told.iter().enumerate() {
        let visit = Visit {
            device: device as u32,
            ..Visit::default()
        };
        story.visit_as(*person, visit, &timed(*begin, events));
    }
    story
}

/// The events of each unit, in the order of time.
fn sequences(told: &[Told], scope: &Scope, unit: Unit) -> Vec<(u128, Events)> {
    let mut sessions: Vec<(i64, u128, Events)> = told
        .iter()
        .map(|(person, begin, events)| (*person, timed(*begin, events)))
        .map(|(person, events)| (events[0].0, person, events))
        .filter(|(start, ..)| scope.contains(*start))
        .collect();
    sessions.sort_by_key(|(start, ..)| *start);
    if unit == Unit::Session {
        return sessions
            .into_iter()
            .map(|(_, person, events)| (person, events))
            .collect();
    }
    let mut people: BTreeMap<u128, Events> = BTreeMap::new();
    for (_, person, events) in sessions {
        people.entry(person).or_default().extend(events);
    }
    for events in people.values_mut() {
        events.sort_by_key(|(time, ..)| *time);
    }
    people.into_iter().collect()
}

/// Type and page of a node; the type is empty for a page.
type Name = (String, String);

/// Follows the definition for one unit: its steps away from the anchor, all of them.
fn steps(mut events: Events, question: &Question) -> Vec<Name> {
    let is_pages = question.steps == Steps::Pages;
    let matches = |globs: &[String], text: &str| {
        globs.is_empty()
            || globs
                .iter()
                .any(|glob| super::super::scope::matches_glob(glob, text))
    };
    let is_step = |event_type: &str, page: &str| match is_pages {
        true => event_type == "page_view" && !page.is_empty(),
        false => matches(&question.event_types, event_type),
    };
    let name = |event_type: &str, page: &str| {
        let page = match page {
            "" => String::new(),
            page => question
                .grouping
                .node_of(&format!("shop.example{page}"))
                .into_owned(),
        };
        let shown_type = if is_pages && event_type == "page_view" {
            ""
        } else {
            event_type
        };
        (shown_type.to_owned(), page)
    };
    if question.direction == Direction::Backward {
        events.reverse();
    }
    let mut found = Vec::new();
    let mut rest = &events[..];
    if let Some(anchor) = &question.anchor {
        let is_anchor = |(_, event_type, page): &(i64, &str, &str)| {
            let types = match &anchor.event_type {
                Some(glob) => matches(std::slice::from_ref(glob), event_type),
                None if is_pages => *event_type == "page_view",
                None => is_step(event_type, page),
            };
            let full = format!("shop.example{page}");
            let pages = anchor.page.as_ref();
            types && pages.is_none_or(|glob| !page.is_empty() && matches_page(glob, &full))
        };
        let Some(at) = events.iter().position(is_anchor) else {
            return found;
        };
        found.push(name(events[at].1, events[at].2));
        rest = &events[at + 1..];
    }
    for (_, event_type, page) in rest.iter().filter(|(_, kind, page)| is_step(kind, page)) {
        found.push(name(event_type, page));
    }
    found.dedup();
    found
}

/// Nodes `(level, kind, type, page) → count`, and links between such.
type Place = (usize, NodeKind, Name);
type Diagram = (BTreeMap<Place, (u64, u64)>, BTreeMap<(Place, Place), u64>);

fn reference(paths: &[Vec<Name>], question: &Question) -> Diagram {
    let end = match question.direction {
        Direction::Forward => NodeKind::Exit,
        Direction::Backward => NodeKind::Entry,
    };
    let mut top: Vec<Vec<Name>> = Vec::new();
    for level in 0..question.depth {
        let mut counts: BTreeMap<&Name, i64> = BTreeMap::new();
        for path in paths {
            if let Some(name) = path.get(level) {
                *counts.entry(name).or_default() -= 1;
            }
        }
        let mut ranked: Vec<(i64, &Name)> = counts.into_iter().map(|(name, count)| (count, name)).collect();
        ranked.sort();
        ranked.truncate(question.top);
        top.push(ranked.into_iter().map(|(_, name)| name.clone()).collect());
    }
    let place = |level: usize, name: &Name| -> Place {
        let is_page = name.0.is_empty();
        match top[level].contains(name) {
            true if is_page => (level, NodeKind::Page, name.clone()),
            true => (level, NodeKind::Event, name.clone()),
            false => (level, NodeKind::Other, Name::default()),
        }
    };
    let mut diagram = Diagram::default();
    for path in paths {
        let mut places: Vec<Place> = path
            .iter()
            .take(question.depth)
            .enumerate()
            .map(|(level, name)| place(level, name))
            .collect();
        if path.len() > question.depth {
            diagram.0.entry(places[question.depth - 1].clone()).or_default().1 += 1;
        } else {
            places.push((path.len(), end, Name::default()));
        }
        for place in &places {
            diagram.0.entry(place.clone()).or_default().0 += 1;
        }
        for pair in places.windows(2) {
            let pair = match question.direction {
                Direction::Forward => (pair[0].clone(), pair[1].clone()),
                Direction::Backward => (pair[1].clone(), pair[0].clone()),
            };
            *diagram.1.entry(pair).or_default() += 1;
        }
    }
    diagram
}

fn drawn(paths: &Paths) -> Diagram {
    let place = |node: &Node| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        (node.level, node.kind, (text(&node.event_type), text(&node.page)))
    };
    let nodes = paths
        .nodes
        .iter()
        .map(|node| (place(node), (node.count, node.goes_on)));
    let link = |link: &Link| {
        let (source, target) = (&paths.nodes[link.source], &paths.nodes[link.target]);
        ((place(source), place(target)), link.count)
    };
    (nodes.collect(), paths.links.iter().map(link).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn paths_are_those_of_the_definition(told in told(), question in question(), from in 0_i64..30) {
        prop_assume!(question.check().is_ok());
        let scope = Scope::of_time(from, 80);
        let view = story(&told).view();
        let sequences = sequences(&told, &scope, question.unit);
        let expected: Vec<(u128, Vec<Name>)> = sequences
            .iter()
            .map(|(person, events)| (*person, steps(events.clone(), &question)))
            .filter(|(_, path)| !path.is_empty())
            .collect();
        let found = paths(&view, &scope, &question);
        prop_assert_eq!(found.considered, sequences.len() as u64);
        prop_assert_eq!(found.paths, expected.len() as u64);
        let people: std::collections::BTreeSet<u128> = expected.iter().map(|(person, _)| *person).collect();
        prop_assert_eq!(found.people, people.len() as u64);
        let expected: Vec<Vec<Name>> = expected.into_iter().map(|(_, path)| path).collect();
        prop_assert_eq!(drawn(&found), reference(&expected, &question));
    }

    #[test]
    fn what_enters_a_node_leaves_it(told in told(), question in question()) {
        let found = paths(&story(&told).view(), &Scope::of_time(0, 1000), &question);
        let is_forward = question.direction == Direction::Forward;
        for (place, node) in found.nodes.iter().enumerate() {
            let away = |link: &&Link| if is_forward { link.source == place } else { link.target == place };
            let back = |link: &&Link| if is_forward { link.target == place } else { link.source == place };
            let sum = |links: Vec<&Link>| links.iter().map(|link| link.count).sum::<u64>();
            if !matches!(node.kind, NodeKind::Exit | NodeKind::Entry) {
                let leaving = sum(found.links.iter().filter(away).collect());
                prop_assert_eq!(leaving + node.goes_on, node.count);
            }
            if node.level > 0 {
                prop_assert_eq!(sum(found.links.iter().filter(back).collect()), node.count);
            }
        }
        let begun: u64 = found.nodes.iter().filter(|node| node.level == 0).map(|node| node.count).sum();
        prop_assert_eq!(begun, found.paths);
        let is_end = |node: &&Node| matches!(node.kind, NodeKind::Exit | NodeKind::Entry);
        let ended: u64 = found.nodes.iter().filter(is_end).map(|node| node.count).sum();
        let going_on: u64 = found.nodes.iter().map(|node| node.goes_on).sum();
        prop_assert_eq!(ended + going_on, found.paths);
    }

    #[test]
    fn more_levels_leave_the_earlier_ones_as_they_are(told in told(), question in question()) {
        let view = story(&told).view();
        let scope = Scope::of_time(0, 1000);
        let deeper = Question { depth: question.depth + 1, ..question.clone() };
        let of_levels = |paths: Paths| -> Vec<Node> {
            let shown = paths.nodes.into_iter().filter(|node| node.level < question.depth);
            shown.map(|node| Node { goes_on: 0, ..node }).collect()
        };
        prop_assert_eq!(
            of_levels(paths(&view, &scope, &question)),
            of_levels(paths(&view, &scope, &deeper))
        );
    }
}

fn rendered(paths: &Paths) -> Vec<String> {
    let link = |link: &Link| {
        let (source, target) = (&paths.nodes[link.source], &paths.nodes[link.target]);
        format!(
            "{} {} > {}: {}",
            source.level, source.name, target.name, link.count
        )
    };
    paths.links.iter().map(link).collect()
}

fn shop() -> View {
    let mut story = Story::default();
    let view = |time, page| (time, "page_view", page);
    story.visit(1, &[view(0, "/"), view(1, "/product/FF-401"), view(2, "/cart")]);
    story.visit(
        2,
        &[
            view(0, "/"),
            view(1, "/product/FF-202"),
            view(2, "/product/FF-203"),
            view(3, "/"),
        ],
    );
    story.visit(3, &[view(0, "/product/FF-401"), (1, "click", "/product/FF-401")]);
    story.visit(
        4,
        &[
            view(0, "/"),
            view(1, "/"),
            view(2, "/cart"),
            (3, "purchase", "/cart"),
        ],
    );
    story.view()
}

/// The worked example of docs/analysis/paths.md.
#[test]
fn the_example_of_the_documentation_holds() {
    let question = Question {
        depth: 3,
        grouping: Grouping {
            patterns: vec!["/product/*".into()],
            ..Grouping::default()
        },
        ..Question::default()
    };
    let found = paths(&shop(), &Scope::of_time(0, 10), &question);
    assert_eq!((found.considered, found.paths, found.people), (4, 4, 4));
    assert_eq!(
        rendered(&found),
        [
            "0 / > /product/*: 2",
            "0 / > /cart: 1",
            "0 /product/* > (exit): 1",
            "1 /product/* > /: 1",
            "1 /product/* > /cart: 1",
            "1 /cart > (exit): 1",
            "2 / > (exit): 1",
            "2 /cart > (exit): 1",
        ]
    );
    let before = Question {
        direction: Direction::Backward,
        anchor: Some(Anchor {
            page: Some("/cart".into()),
            event_type: None,
        }),
        ..question
    };
    let found = paths(&shop(), &Scope::of_time(0, 10), &before);
    assert_eq!((found.considered, found.paths), (4, 2));
    assert_eq!(
        rendered(&found),
        [
            "1 / > /cart: 1",
            "1 /product/* > /cart: 1",
            "2 (entry) > /: 1",
            "2 / > /product/*: 1",
            "3 (entry) > /: 1",
        ]
    );
}

#[test]
fn the_rest_of_a_level_is_one_node() {
    let question = Question {
        top: 1,
        depth: 2,
        ..Question::default()
    };
    let found = paths(&shop(), &Scope::of_time(0, 10), &question);
    let node = |level, name: &str| {
        let is = |node: &&Node| node.level == level && node.name == name;
        found
            .nodes
            .iter()
            .find(is)
            .map(|node| (node.count, node.goes_on, node.merged))
    };
    assert_eq!(node(0, "/"), Some((3, 0, None)));
    assert_eq!(node(0, "(other)"), Some((1, 0, Some(1))));
    assert_eq!(node(1, "/cart"), Some((1, 0, None)));
    assert_eq!(node(1, "(other)"), Some((2, 2, Some(2))));
}

#[test]
fn an_anchor_by_type_is_shown_as_the_event() {
    let question = Question {
        direction: Direction::Backward,
        anchor: Some(Anchor {
            page: None,
            event_type: Some("purchase".into()),
        }),
        ..Question::default()
    };
    let found = paths(&shop(), &Scope::of_time(0, 10), &question);
    assert_eq!(
        rendered(&found),
        [
            "1 /cart > purchase /cart: 1",
            "2 / > /cart: 1",
            "3 (entry) > /: 1"
        ]
    );
}

#[test]
fn only_people_in_question_are_counted() {
    let scope = Scope {
        people: Some(std::sync::Arc::new(PeopleSet::default())),
        ..Scope::of_time(0, 10)
    };
    let found = paths(&shop(), &scope, &Question::default());
    assert_eq!((found.considered, found.nodes.len()), (0, 0));
}

#[test]
fn bounds_are_kept() {
    let check = |change: fn(&mut Question)| {
        let mut question = Question::default();
        change(&mut question);
        question.check()
    };
    assert_eq!(check(|_| ()), Ok(()));
    assert_eq!(check(|question| question.depth = 0), Err(PathError::Depth));
    assert_eq!(check(|question| question.depth = 21), Err(PathError::Depth));
    assert_eq!(check(|question| question.top = 51), Err(PathError::Top));
    assert_eq!(
        check(|question| question.grouping.patterns = vec![String::new()]),
        Err(PathError::Patterns)
    );
    assert_eq!(
        check(|question| question.event_types = vec!["click".into()]),
        Err(PathError::EventTypes)
    );
}
