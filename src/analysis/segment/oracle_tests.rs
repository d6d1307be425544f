//! Segments against what they mean, said as plainly as possible: person by person, event by event.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::{collection::vec, option, prelude::*};
use serde_json::json;
use uuid::Uuid;

use super::{
    by_number,
    evaluate::{Plan, store_tests},
    ids_of,
    rule::{DidRule, Rule, TextRule, VisitedRule},
};
use crate::{
    analysis::{dimension::Dimension, scope::SessionCondition},
    index::testing::{Story, Visit},
    store::segment_match::{CustomerTest, TextColumn},
};

const DAY: i64 = 86_400_000_000;
const TYPES: [&str; 3] = ["page_view", "click", "purchase"];
const PAGES: [&str; 4] = ["", "/", "/cart", "/cart/pay"];
const DEVICES: [&str; 2] = ["desktop", "mobile"];
const COUNTRIES: [&str; 2] = ["AT", "DE"];

/// A session: person, device type, events as (day, type, page).
type Told = (u128, usize, Vec<(i64, usize, usize)>);

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(10 * DAY).unwrap()
}

fn at(day: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(day * DAY).unwrap()
}

fn told() -> impl Strategy<Value = Vec<Told>> {
    let event = (0i64..=10, 0..TYPES.len(), 0..PAGES.len());
    let events = vec(event, 1..6).prop_map(|mut events| {
        events.sort_by_key(|event| event.0);
        events
    });
    vec((1u128..8, 0..DEVICES.len(), events), 1..14)
}

fn on_device() -> impl Strategy<Value = Vec<SessionCondition>> {
    option::of((0..DEVICES.len(), any::<bool>())).prop_map(|wanted| {
        let condition = |(device, not): (usize, bool)| SessionCondition {
            dimension: Dimension::DeviceType,
            values: vec![Some(DEVICES[device].into())],
            not,
        };
        wanted.map(condition).into_iter().collect()
    })
}

fn leaf() -> impl Strategy<Value = Rule> {
    let bounds = || (option::of(1u32..4), option::of(0u32..4));
    let window = || {
        (option::of(1u32..12), option::of(0i64..12), option::of(0i64..12)).prop_map(|(days, from, to)| {
            match days {
                Some(days) => (Some(days), None, None),
                None => (None, from.map(at), to.map(at)),
            }
        })
    };
    let pages = prop::sample::select(vec!["/cart", "/cart*", "*pay", "shop.example/", "/none"]);
    let did = (
        option::of(0..TYPES.len()),
        option::of(pages),
        on_device(),
        bounds(),
        window(),
    )
        .prop_map(
            |(event, page, sessions, (at_least, at_most), (within_days, from, to))| {
                Rule::Did(DidRule {
                    event: event.map(|event| TYPES[event].to_owned()),
                    page: page.map(str::to_owned),
                    sessions,
                    at_least,
                    at_most,
                    within_days,
                    from,
                    to,
                })
            },
        );
    let visited = (on_device(), bounds(), window()).prop_map(
        |(sessions, (at_least, at_most), (within_days, from, to))| {
            Rule::Visited(VisitedRule {
                sessions,
                at_least,
                at_most,
                within_days,
                from,
                to,
            })
        },
    );
    let country = (0..COUNTRIES.len()).prop_map(|country| {
        Rule::Text(TextRule {
            column: TextColumn::Country,
            values: vec![Some(COUNTRIES[country].into())],
        })
    });
    prop_oneof![did, visited, country]
}

fn rule() -> impl Strategy<Value = Rule> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(Rule::All),
            vec(inner.clone(), 1..4).prop_map(Rule::Any),
            inner.prop_map(|rule| Rule::Not(Box::new(rule))),
        ]
    })
}

/// People of odd number are Austrian.
fn country_of(person: u128) -> &'static str {
    COUNTRIES[usize::from(person.is_multiple_of(2))]
}

fn is_on(conditions: &[SessionCondition], device: usize) -> bool {
    conditions.iter().all(|condition| {
        let is_it = condition.values.contains(&Some(DEVICES[device].to_owned()));
        is_it != condition.not
    })
}

fn page_matches(pattern: &str, page: &str) -> bool {
    let whole = format!("shop.example{page}");
    match pattern {
        "/cart" => page == "/cart",
        "/cart*" => page.starts_with("/cart"),
        "*pay" => page.ends_with("pay"),
        "shop.example/" => whole == "shop.example/",
        _ => false,
    }
}

fn lies_in(day: i64, days: Option<u32>, from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> bool {
    let time = at(day);
    days.is_none_or(|days| now() - time <= TimeDelta::days(i64::from(days)))
        && from.is_none_or(|from| from <= time)
        && to.is_none_or(|to| time < to)
}

fn often_enough(count: usize, at_least: Option<u32>, at_most: Option<u32>) -> bool {
    match (at_least, at_most) {
        (None, None) => count > 0,
        (least, most) => {
            least.is_none_or(|least| count >= least as usize)
                && most.is_none_or(|most| count <= most as usize)
        }
    }
}

fn holds(rule: &Rule, person: u128, told: &[Told]) -> bool {
    let own = || told.iter().filter(|session| session.0 == person);
    match rule {
        Rule::All(rules) => rules.iter().all(|rule| holds(rule, person, told)),
        Rule::Any(rules) => rules.iter().any(|rule| holds(rule, person, told)),
        Rule::Not(rule) => !holds(rule, person, told),
        Rule::Text(rule) => rule.values.contains(&Some(country_of(person).to_owned())),
        Rule::Did(rule) => {
            let events = own()
                .filter(|session| is_on(&rule.sessions, session.1))
                .flat_map(|session| &session.2);
            let count = events
                .filter(|(day, kind, page)| {
                    lies_in(*day, rule.within_days, rule.from, rule.to)
                        && rule.event.as_deref().is_none_or(|event| event == TYPES[*kind])
                        && rule
                            .page
                            .as_deref()
                            .is_none_or(|glob| !PAGES[*page].is_empty() && page_matches(glob, PAGES[*page]))
                })
                .count();
            often_enough(count, rule.at_least, rule.at_most)
        }
        Rule::Visited(rule) => {
            let count = own()
                .filter(|session| {
                    is_on(&rule.sessions, session.1)
                        && lies_in(session.2[0].0, rule.within_days, rule.from, rule.to)
                })
                .count();
            often_enough(count, rule.at_least, rule.at_most)
        }
        other => unreachable!("the strategy makes no {other:?}"),
    }
}

fn story(told: &[Told]) -> Story {
    let mut story = Story::default();
    for (person, device, events) in told {
        let events: Vec<_> = events
            .iter()
            .map(|(day, kind, page)| (day * DAY, TYPES[*kind], PAGES[*page]))
            .collect();
        let visit = Visit {
            device_type: DEVICES[*device],
            ..Visit::default()
        };
        story.visit_as(*person, visit, &events);
    }
    story
}

/// Answers as the store would.
fn store_bits(tests: &[CustomerTest<'_>], person: u128) -> u64 {
    let passes = |test: &CustomerTest<'_>| matches!(test, CustomerTest::Text(_, values) if values.contains(&Some(country_of(person).to_owned())));
    tests
        .iter()
        .enumerate()
        .map(|(bit, test)| u64::from(passes(test)) << bit)
        .sum()
}

fn people(rule: &Rule, told: &[Told]) -> Vec<u128> {
    let view = story(told).view();
    let tests = store_tests(rule, now());
    let everybody: BTreeSet<u128> = told.iter().map(|session| session.0).collect();
    let answers: Vec<(Uuid, i64)> = everybody
        .into_iter()
        .map(|person| (Uuid::from_u128(person), store_bits(&tests, person) as i64))
        .collect();
    let bits = by_number(&view, &answers);
    let plan = Plan::new(rule, &view.names(), now());
    let people = plan.people(&view, &bits);
    ids_of(&view, &people).iter().map(Uuid::as_u128).collect()
}

proptest! {
    #[test]
    fn a_segment_holds_whom_its_rule_holds_for(told in told(), rule in rule()) {
        let everybody: BTreeSet<u128> = told.iter().map(|session| session.0).collect();
        let expected: Vec<u128> = everybody.into_iter().filter(|person| holds(&rule, *person, &told)).collect();
        prop_assert_eq!(people(&rule, &told), expected);
    }

    #[test]
    fn a_rule_and_its_opposite_share_nobody_and_leave_nobody_out(told in told(), rule in rule()) {
        let everybody: BTreeSet<u128> = told.iter().map(|session| session.0).collect();
        let mut both = people(&rule, &told);
        both.extend(people(&Rule::Not(Box::new(rule)), &told));
        both.sort_unstable();
        prop_assert_eq!(both, everybody.into_iter().collect::<Vec<_>>());
    }
}

/// The worked example of docs/analysis/segments.md.
#[test]
fn the_documented_example_comes_out_as_it_says() {
    let (add, view, buy) = ("add_to_cart", "page_view", "purchase");
    let mut story = Story::default();
    story.visit(1, &[(2 * DAY, view, "/"), (2 * DAY + 1, add, "/cart")]);
    story.visit(2, &[(2 * DAY, add, "/cart"), (9 * DAY, buy, "/cart/pay")]);
    story.visit(3, &[(5 * DAY, view, "/"), (5 * DAY + 1, view, "/pricing")]);
    story.visit(4, &[(0, add, "/cart")]);
    let view = story.view();
    let rule: Rule = serde_json::from_value(json!({"all": [
        {"did": {"event": "add_to_cart", "within_days": 9}},
        {"not": {"did": {"event": "purchase", "within_days": 9}}},
    ]}))
    .unwrap();
    assert_eq!(rule.problems(), Vec::<String>::new());
    let found = Plan::new(&rule, &view.names(), now()).people(&view, &[]);
    assert_eq!(ids_of(&view, &found), [Uuid::from_u128(1)]);
}
