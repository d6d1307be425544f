//! Funnels over a small index: from a definition to an answer.

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    FunnelAnswer, FunnelDefinition, Options, Plan, StepOutcome, analyze, elsewhere::Place, find_people,
};
use crate::{
    analysis::{
        dimension::Dimension,
        scope::{Scope, SessionCondition},
    },
    index::{
        Micros, View,
        rows::flag,
        testing::{Story, Visit},
    },
};

const SECOND: Micros = 1_000_000;
const DAY: Micros = 86_400 * SECOND;

fn definition(value: Value) -> FunnelDefinition {
    serde_json::from_value(value).unwrap()
}

/// Cart, checkout, purchase within a day.
fn checkout() -> Value {
    json!({
        "steps": [
            {"number": 1, "name": "Cart", "event_type": "add_to_cart"},
            {"number": 2, "name": "Checkout", "page": "/checkout*"},
            {"number": 3, "name": "Purchase", "event_type": "purchase"},
        ],
        "window_seconds": 86_400,
    })
}

fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

fn answer(view: &View, value: Value, scope: &Scope, options: Options) -> FunnelAnswer {
    let funnel = definition(value).check().unwrap();
    analyze(view, &funnel, scope, options)
}

fn entered(answer: &FunnelAnswer) -> Vec<u64> {
    answer.funnel.steps.iter().map(|step| step.entered).collect()
}

const CART: (Micros, &str, &str) = (10 * SECOND, "add_to_cart", "/product/1");
const CHECKOUT: (Micros, &str, &str) = (40 * SECOND, "page_view", "/checkout");
const PURCHASE: (Micros, &str, &str) = (100 * SECOND, "purchase", "/thanks");

fn later(by: Micros, event: (Micros, &'static str, &'static str)) -> (Micros, &'static str, &'static str) {
    (event.0 + by, event.1, event.2)
}

/// 40 people buy, 60 leave at the checkout of whom 50 use a phone, 20 leave with a cart, 30 do nothing.
fn shop() -> Story {
    let mut story = Story::default();
    let phone = Visit {
        device_type: "mobile",
        flags: flag::SCRIPT_ERRORS,
        ..Visit::default()
    };
    for person in 0..150 {
        match person {
            0..40 => story.visit(person, &[CART, CHECKOUT, PURCHASE]),
            40..90 => story.visit_as(
                person,
                phone,
                &[CART, CHECKOUT, (50 * SECOND, "page_view", "/faq")],
            ),
            90..100 => story.visit(person, &[CART, CHECKOUT, (50 * SECOND, "click", "/checkout")]),
            100..120 => story.visit(person, &[CART]),
            _ => story.visit(person, &[(0, "page_view", "/")]),
        };
    }
    story
}

#[test]
fn steps_add_up_and_have_rates_and_times() {
    let all = answer(
        &shop().view(),
        checkout(),
        &Scope::of_time(0, DAY),
        Options::default(),
    );
    assert_eq!(entered(&all), [120, 100, 40]);
    let funnel = all.funnel;
    let abandoned: Vec<u64> = funnel.steps.iter().map(|step| step.abandoned).collect();
    assert_eq!(abandoned, [20, 60, 0]);
    assert_eq!(abandoned.iter().sum::<u64>() + funnel.converted, funnel.entered);
    assert_eq!(funnel.conversion_rate, Some(40.0 / 120.0));
    let checkout = &funnel.steps[1];
    assert_eq!(checkout.completed, 40);
    assert_eq!(checkout.rate_of_previous, Some(100.0 / 120.0));
    assert_eq!(checkout.seconds_to_next.unwrap().median, 60.0);
    assert_eq!(funnel.time_to_convert.seconds.unwrap().mean, 90.0);
    let bucket = funnel
        .time_to_convert
        .histogram
        .iter()
        .find(|bucket| bucket.count > 0);
    assert_eq!(
        bucket.map(|bucket| (bucket.from_seconds, bucket.count)),
        Some((60, 40))
    );
    let worst = funnel.worst_step.unwrap();
    assert_eq!((worst.number, worst.abandoned, worst.rate), (2, 60, 0.6));
}

#[test]
fn below_thirty_people_nothing_is_said_in_percent() {
    let mut story = Story::default();
    for person in 0..29 {
        // Two sessions each: 58 sessions of 29 people.
        story.visit(person, &[CART, CHECKOUT]);
        story.visit(person, &[later(2 * DAY, CART)]);
    }
    let by_session = with(checkout(), "count_by", json!("session"));
    let all = answer(
        &story.view(),
        by_session,
        &Scope::of_time(0, 9 * DAY),
        Options::default(),
    );
    assert_eq!(entered(&all), [58, 29, 0]);
    assert_eq!(all.funnel.conversion_rate, None);
    assert!(all.funnel.steps.iter().all(|step| step.rate_of_first.is_none()));
    assert_eq!(all.funnel.worst_step, None);
}

#[test]
fn those_who_stopped_are_found_elsewhere() {
    let options = Options {
        elsewhere: true,
        ..Options::default()
    };
    let all = answer(&shop().view(), checkout(), &Scope::of_time(0, DAY), options);
    let elsewhere = all.elsewhere.unwrap();
    let [cart, checkout] = &elsewhere[..] else {
        panic!("one for each step but the last");
    };
    assert_eq!((cart.stopped, cart.left_the_site, cart.no_event), (20, 20, 20));
    assert_eq!((checkout.stopped, checkout.left_the_site), (60, 10));
    let place = |name: &str, count, rate| Place {
        name: name.to_owned(),
        count,
        rate,
    };
    assert_eq!(checkout.pages, [place("shop.example/faq", 50, Some(50.0 / 60.0))]);
    assert_eq!(checkout.events, [place("click", 10, Some(10.0 / 60.0))]);
    assert_eq!(checkout.no_event, 50);
}

#[test]
fn what_those_who_stopped_have_in_common_is_named_first() {
    let options = Options {
        reasons: true,
        ..Options::default()
    };
    let all = answer(&shop().view(), checkout(), &Scope::of_time(0, DAY), options);
    let reasons = all.reasons.unwrap();
    let checkout = &reasons[1];
    assert_eq!((checkout.dropped, checkout.went_on), (60, 40));
    let first = &checkout.features[0];
    assert!(first.significant && first.odds_ratio_low > 1.0);
    let is_trouble = |dimension, value: &str| {
        let found = checkout
            .features
            .iter()
            .find(|feature| feature.dimension == dimension && feature.value.as_deref() == Some(value));
        let feature = found.unwrap();
        assert_eq!((feature.dropped, feature.went_on), (50, 0));
        assert_eq!((feature.drop_rate, feature.drop_rate_without), (1.0, 0.2));
        assert!((feature.lift - 1.0 / 0.6).abs() < 1e-12);
        assert!(feature.significant && feature.p_value <= feature.p_value_adjusted);
    };
    is_trouble(Dimension::DeviceType, "mobile");
    is_trouble(Dimension::ScriptErrors, "true");
    // Everybody has the same browser and country, so they say nothing.
    let says_nothing = |dimension| {
        checkout
            .features
            .iter()
            .all(|feature| feature.dimension != dimension)
    };
    assert!(says_nothing(Dimension::Browser) && says_nothing(Dimension::Country));
}

#[test]
fn a_rare_feature_is_no_reason() {
    let mut story = shop();
    for person in 200..224 {
        let rare = Visit {
            country: "LI",
            ..Visit::default()
        };
        story.visit_as(person, rare, &[CART, CHECKOUT]);
    }
    let options = Options {
        reasons: true,
        ..Options::default()
    };
    let all = answer(&story.view(), checkout(), &Scope::of_time(0, DAY), options);
    let features = &all.reasons.unwrap()[1].features;
    assert!(
        features
            .iter()
            .all(|feature| feature.value.as_deref() != Some("LI"))
    );
}

#[test]
fn people_behind_a_number_are_those_that_were_counted() {
    let view = shop().view();
    let funnel = definition(checkout()).check().unwrap();
    let scope = Scope::of_time(0, DAY);
    let plan = Plan::new(&funnel, &scope, &view.names());
    let answer = analyze(&view, &funnel, &scope, Options::default()).funnel;
    for (at, step) in answer.steps.iter().enumerate() {
        let count = |outcome| find_people(&view, &plan, at, outcome).len() as u64;
        assert_eq!(count(StepOutcome::Entered), step.entered);
        assert_eq!(count(StepOutcome::Completed), step.completed);
        assert_eq!(count(StepOutcome::Dropped), step.abandoned);
    }
    let dropped = find_people(&view, &plan, 0, StepOutcome::Dropped);
    let number = view
        .names()
        .people
        .values()
        .position(|id| *id == Uuid::from_u128(110));
    assert!(dropped.contains(number.unwrap() as u32));
}

#[test]
fn a_chain_is_booked_on_its_entry_and_may_end_after_the_period() {
    let mut story = Story::default();
    story.visit(1, &[later(-SECOND, CART), CHECKOUT]);
    story.visit(2, &[CART, CHECKOUT, PURCHASE]);
    let view = story.view();
    // The period ends between cart and checkout; the other cart came before it.
    let scope = Scope::of_time(10 * SECOND, 30 * SECOND);
    let options = Options {
        compare: true,
        ..Options::default()
    };
    let all = answer(&view, checkout(), &scope, options);
    assert_eq!(entered(&all), [1, 1, 1]);
    let previous = all.comparison.unwrap().previous;
    assert_eq!(
        (previous.entered, previous.steps[1].entered, previous.converted),
        (1, 1, 0)
    );
}

#[test]
fn two_devices_of_a_person_are_one_in_people_and_two_in_sessions() {
    let mut story = Story::default();
    let phone = Visit {
        device: 1,
        device_type: "mobile",
        ..Visit::default()
    };
    // The phone's session runs while the desktop's does.
    story.visit(1, &[CART, PURCHASE]);
    story.visit_as(1, phone, &[CHECKOUT]);
    let view = story.view();
    assert!(view.find(1).unwrap().is_interleaved());
    let scope = Scope::of_time(0, DAY);
    let people = answer(&view, checkout(), &scope, Options::default());
    assert_eq!(entered(&people), [1, 1, 1]);
    let by_session = with(checkout(), "count_by", json!("session"));
    assert_eq!(
        entered(&answer(&view, by_session, &scope, Options::default())),
        [1, 0, 0]
    );
    let on = |device: &str| {
        let sessions = json!([{"dimension": "device_type", "in": [device]}]);
        entered(&answer(
            &view,
            with(checkout(), "sessions", sessions),
            &scope,
            Options::default(),
        ))
    };
    assert_eq!(on("desktop"), [1, 1, 1]);
    assert_eq!(on("mobile"), [0, 0, 0]);
}

#[test]
fn a_pattern_of_a_host_matches_host_and_path() {
    let mut story = Story::default();
    story.visit(
        1,
        &[(0, "page_view", "/a/1"), (1, "page_view", "/b"), (2, "click", "")],
    );
    let view = story.view();
    let reaches = |one: &str, other: &str| {
        let steps = json!([
            {"number": 1, "name": "one", "page": one},
            {"number": 2, "name": "other", "page": other},
        ]);
        entered(&answer(
            &view,
            json!({ "steps": steps }),
            &Scope::of_time(0, DAY),
            Options::default(),
        ))
    };
    assert_eq!(reaches("/a/*", "/b"), [1, 1]);
    assert_eq!(reaches("Shop.Example/a/*", "*/b"), [1, 1]);
    assert_eq!(reaches("other.example/*", "/b"), [0, 0]);
    // An event without a page is on no page.
    assert_eq!(reaches("/b", "*"), [1, 0]);
}

#[test]
fn a_condition_on_a_property_is_a_mark_of_its_own() {
    let conditioned = json!([{"property": "order_total", "op": "gte", "value": 50}]);
    let mut value = with(checkout(), "exclude", json!([{"event_type": "error"}]));
    value["steps"][2]["where"] = conditioned.clone();
    value["exclude"][0]["where"] = json!([{"property": "error_message", "op": "contains", "value": "card"}]);
    let funnel = definition(value).check().unwrap();
    assert_eq!(funnel.event_conditions().len(), 2);
    // An index without marks knows of no event that meets them.
    let view = shop().view();
    let all = analyze(&view, &funnel, &Scope::of_time(0, DAY), Options::default());
    assert_eq!(entered(&all), [120, 100, 0]);
}

fn stories() -> impl Strategy<Value = Vec<Vec<(u8, u8, u8)>>> {
    let event = (0..30_u8, 0..4_u8, 0..3_u8);
    prop::collection::vec(prop::collection::vec(event, 1..10), 1..20)
}

fn told(people: &[Vec<(u8, u8, u8)>]) -> Story {
    let types = ["add_to_cart", "page_view", "purchase", "click"];
    let devices = ["desktop", "mobile", "tablet"];
    let mut story = Story::default();
    for (person, events) in people.iter().enumerate() {
        for (number, device_type) in devices.into_iter().enumerate() {
            let mut own: Vec<_> = events
                .iter()
                .filter(|(_, _, device)| usize::from(*device) == number)
                .map(|(time, kind, _)| (Micros::from(*time), types[usize::from(*kind)], "/checkout"))
                .collect();
            own.sort_by_key(|event| event.0);
            let visit = Visit {
                device_type,
                device: number as u32,
                ..Visit::default()
            };
            if !own.is_empty() {
                story.visit_as(person as u128, visit, &own);
            }
        }
    }
    story
}

proptest! {
    #[test]
    fn a_breakdown_adds_up_to_the_whole(
        people in stories(),
        by in prop::sample::select(&["person", "session"][..]),
        order in prop::sample::select(&["ordered", "strict", "unordered"][..]),
        exclude in any::<bool>(),
    ) {
        let view = told(&people).view();
        let mut value = with(with(checkout(), "count_by", json!(by)), "order", json!(order));
        if exclude {
            value["exclude"] = json!([{"event_type": "click"}]);
        }
        let options = Options {
            breakdown: Some(Dimension::DeviceType),
            reasons: true,
            elsewhere: true,
            ..Options::default()
        };
        let all = answer(&view, value, &Scope::of_time(3, 25), options);
        let rows = all.breakdown.as_ref().unwrap().rows.iter();
        let mut sums = vec![0; 3];
        for row in rows {
            row.steps.iter().zip(&mut sums).for_each(|(steps, sum)| *sum += steps);
        }
        prop_assert_eq!(&sums, &entered(&all));
        prop_assert!(sums.is_sorted_by(|earlier, later| earlier >= later));
        for (step, reasons) in all.funnel.steps.iter().zip(all.reasons.as_ref().unwrap()) {
            prop_assert_eq!((step.abandoned, step.completed), (reasons.dropped, reasons.went_on));
        }
        for (step, elsewhere) in all.funnel.steps.iter().zip(all.elsewhere.as_ref().unwrap()) {
            prop_assert_eq!(step.abandoned, elsewhere.stopped);
        }
    }

    #[test]
    fn a_condition_on_all_sessions_changes_nothing(people in stories(), by in prop::sample::select(&["person", "session"][..])) {
        let view = told(&people).view();
        let value = with(checkout(), "count_by", json!(by));
        let everything = SessionCondition {
            dimension: Dimension::Browser,
            values: vec![Some("*".to_owned())],
            not: false,
        };
        let plain = Scope::of_time(3, 25);
        let filtered = Scope { sessions: vec![everything], ..plain.clone() };
        prop_assert_eq!(
            answer(&view, value.clone(), &plain, Options::default()),
            answer(&view, value, &filtered, Options::default())
        );
    }
}
