//! Attribution against a reference that shares out with fractions, and the sums it keeps.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::select};
use rust_decimal::prelude::ToPrimitive;

use super::{
    markov::tests::{Paths, chance},
    *,
};
use crate::{
    analysis::scope::SessionCondition,
    index::{
        rows::flag,
        testing::{Story, Visit},
    },
};

const DAY: Micros = 86_400_000_000;

const CHANNELS: [&str; 4] = ["Direct", "Email", "Paid Search", "Referral"];

/// One session.
#[derive(Clone, Debug)]
struct Told {
    person: u128,
    start: Micros,
    channel: &'static str,
    device_type: &'static str,
    converted: bool,
    /// How long after the begin it is bought; the session goes on for an hour.
    bought_after: Option<Micros>,
    order: Option<(Decimal, &'static str)>,
}

fn told() -> impl Strategy<Value = Vec<Told>> {
    let order = (0_i64..100_000, 0_u32..4, select(&["EUR", "JPY", "KWD"][..]))
        .prop_map(|(mantissa, scale, currency)| (Decimal::new(mantissa, scale), currency));
    let session = (
        1_u128..4,
        0..40 * DAY,
        select(&CHANNELS[..]),
        select(&["mobile", "desktop"][..]),
        any::<bool>(),
        prop::option::of(0..DAY / 24),
        prop::option::of(order),
    );
    let session = session.prop_map(
        |(person, start, channel, device_type, converted, bought_after, order)| Told {
            person,
            start,
            channel,
            device_type,
            converted,
            bought_after: bought_after.filter(|_| converted),
            order: order.filter(|_| converted),
        },
    );
    prop::collection::vec(session, 1..16)
}

fn story(told: &[Told]) -> Story {
    let mut story = Story::default();
    for (device, session) in told.iter().enumerate() {
        let visit = Visit {
            channel: session.channel,
            device_type: session.device_type,
            flags: if session.converted { flag::CONVERTED } else { 0 },
            order: session.order,
            device: device as u32,
            ..Visit::default()
        };
        let mut events = vec![(session.start, "page_view", "/")];
        if let Some(after) = session.bought_after {
            events.push((session.start + after, "purchase", "/done"));
        }
        events.push((session.start + DAY / 24, "click", "/"));
        story.visit_as(session.person, visit, &events);
    }
    story
}

fn mobile(from: Micros, to: Micros, only_mobile: bool) -> Scope {
    let condition = SessionCondition {
        dimension: Dimension::DeviceType,
        values: vec![Some("mobile".to_owned())],
        not: false,
    };
    Scope {
        sessions: Some(condition).filter(|_| only_mobile).into_iter().collect(),
        ..Scope::of_time(from, to)
    }
}

/// What the definition says, worked out session by session.
#[derive(Debug, Default)]
struct Reference {
    /// Time, touches, order.
    conversions: Vec<(Micros, Vec<Told>, Option<(Decimal, &'static str)>)>,
    chain: Paths,
    sessions: BTreeMap<&'static str, u64>,
}

fn reference(told: &[Told], scope: &Scope, look_back: Micros) -> Reference {
    let only_mobile = !scope.sessions.is_empty();
    let counts =
        |session: &Told| scope.contains(session.start) && (!only_mobile || session.device_type == "mobile");
    let mut found = Reference::default();
    let channel = |session: &Told| {
        CHANNELS
            .iter()
            .position(|channel| *channel == session.channel)
            .unwrap()
    };
    for person in 1..4 {
        let mut sessions: Vec<&Told> = told.iter().filter(|session| session.person == person).collect();
        sessions.sort_by_key(|session| session.start);
        let mut rest: Vec<&Told> = Vec::new();
        for (place, session) in sessions.iter().enumerate() {
            rest.push(session);
            if !counts(session) {
                continue;
            }
            *found.sessions.entry(session.channel).or_default() += 1;
            if !session.converted {
                continue;
            }
            rest.clear();
            let time = session.start + session.bought_after.unwrap_or(DAY / 24);
            let is_touch = |touch: &&&Told| touch.start >= time - look_back;
            let touches: Vec<&Told> = sessions[..=place].iter().filter(is_touch).copied().collect();
            found
                .chain
                .push((touches.iter().map(|touch| channel(touch)).collect(), true));
            let touches = touches.into_iter().cloned().collect();
            found.conversions.push((time, touches, session.order));
        }
        while rest.last().is_some_and(|session| !counts(session)) {
            rest.pop();
        }
        if let Some(last) = rest.last() {
            let path = rest
                .iter()
                .filter(|session| session.start >= last.start - look_back);
            found
                .chain
                .push((path.map(|session| channel(session)).collect(), false));
        }
    }
    found
}

/// The share of each touch, by the definition.
fn shares(model: Model, time: Micros, touches: &[Told]) -> Vec<f64> {
    let one_at = |place: usize| {
        (0..touches.len())
            .map(|at| f64::from(u8::from(at == place)))
            .collect()
    };
    let last = touches.len() - 1;
    let weights: Vec<f64> = match (model, touches.len()) {
        (Model::First, _) => one_at(0),
        (Model::Last, _) => one_at(last),
        (Model::LastNonDirect, _) => {
            let found = touches.iter().rposition(|touch| touch.channel != "Direct");
            one_at(found.unwrap_or(last))
        }
        (Model::Linear, _) | (Model::Position, 1 | 2) => vec![1.0; touches.len()],
        (Model::TimeDecay, _) => {
            let days = |touch: &Told| (time - touch.start) as f64 / DAY as f64;
            touches
                .iter()
                .map(|touch| 0.5_f64.powf(days(touch) / 7.0))
                .collect()
        }
        (Model::Position, count) => {
            let share = |at| match at {
                0 => 0.4,
                at if at == last => 0.4,
                _ => 0.2 / (count - 2) as f64,
            };
            (0..count).map(share).collect()
        }
        (Model::DataDriven, _) => unreachable!("it does not look at single conversions"),
    };
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

fn credit<'a>(found: &'a Attribution, model: Model, channel: &str) -> Option<&'a Credit> {
    let line = found
        .values
        .iter()
        .find(|line| line.value.as_deref() == Some(channel))?;
    line.credits.iter().find(|credit| credit.model == model)
}

fn conversions(found: &Attribution, model: Model, channel: &str) -> f64 {
    credit(found, model, channel).map_or(0.0, |credit| credit.conversions.to_f64().unwrap())
}

fn revenue(found: &Attribution, model: Model, channel: &str, currency: &str) -> f64 {
    let amounts = credit(found, model, channel)
        .into_iter()
        .flat_map(|credit| &credit.revenue);
    let of_currency = amounts.filter(|amount| amount.currency.as_deref() == Some(currency));
    of_currency.map(|amount| amount.amount.to_f64().unwrap()).sum()
}

proptest! {
    #[test]
    fn credit_is_that_of_the_definition(
        told in told(),
        days in 1_i64..40,
        from in 0_i64..20,
        only_mobile in any::<bool>(),
    ) {
        let scope = mobile(from * DAY, 35 * DAY, only_mobile);
        let question = Question { look_back: days * DAY, ..Question::default() };
        let found = attribute(&story(&told).view(), &scope, &question);
        let expected = reference(&told, &scope, question.look_back);
        prop_assert_eq!(found.conversions, expected.conversions.len() as u64);
        let touches: usize = expected.conversions.iter().map(|(_, touches, _)| touches.len()).sum();
        // Each touch is rounded by less than one unit.
        let off = |units: f64| (touches + 1) as f64 * units;
        for model in MODELS.into_iter().filter(|model| *model != Model::DataDriven) {
            for channel in CHANNELS {
                let of_channel = |wanted: Option<&str>| -> f64 {
                    let shares_of = |(time, touches, order): &(Micros, Vec<Told>, Option<(Decimal, &str)>)| {
                        let amount = match (wanted, order) {
                            (None, _) => 1.0,
                            (Some(currency), Some((value, of))) if currency == *of => value.to_f64().unwrap(),
                            _ => 0.0,
                        };
                        let shares = shares(model, *time, touches);
                        let pairs = shares.iter().zip(touches).filter(|(_, touch)| touch.channel == channel);
                        pairs.map(|(share, _)| share * amount).sum::<f64>()
                    };
                    expected.conversions.iter().map(shares_of).sum()
                };
                let difference = conversions(&found, model, channel) - of_channel(None);
                prop_assert!(difference.abs() < off(1e-6), "{model:?} {channel} {difference}");
                for (currency, unit) in [("EUR", 0.01), ("JPY", 1.0), ("KWD", 0.001)] {
                    let difference = revenue(&found, model, channel, currency) - of_channel(Some(currency));
                    prop_assert!(difference.abs() < off(unit) + 1e-6, "{model:?} {channel} {currency} {difference}");
                }
            }
        }
        for line in &found.values {
            let channel = line.value.as_deref().unwrap();
            let has = |touches: &[Told]| touches.iter().any(|touch| touch.channel == channel);
            let count = |is: &dyn Fn(&[Told]) -> bool| {
                expected.conversions.iter().filter(|(_, touches, _)| is(touches)).count() as u64
            };
            prop_assert_eq!(line.sessions, expected.sessions.get(channel).copied().unwrap_or(0));
            prop_assert_eq!(line.conversions, count(&has));
            prop_assert_eq!(line.assisted, count(&|touches| has(&touches[..touches.len() - 1])));
        }
        let is_direct = |(_, touches, _): &&(_, Vec<Told>, _)| touches.iter().all(|touch| touch.channel == "Direct");
        prop_assert_eq!(found.direct_only, expected.conversions.iter().filter(is_direct).count() as u64);
    }

    #[test]
    fn the_data_driven_model_credits_what_would_be_missing(told in told(), days in 1_i64..40, only_mobile in any::<bool>()) {
        let scope = mobile(0, 30 * DAY, only_mobile);
        let question = Question { look_back: days * DAY, ..Question::default() };
        let found = attribute(&story(&told).view(), &scope, &question);
        let chain = reference(&told, &scope, question.look_back).chain;
        let all = chance(CHANNELS.len(), &chain, None);
        prop_assume!(all > 0.0);
        let effects: Vec<f64> = (0..CHANNELS.len())
            .map(|value| 1.0 - chance(CHANNELS.len(), &chain, Some(value)) / all)
            .collect();
        let sum: f64 = effects.iter().sum();
        for (channel, effect) in CHANNELS.into_iter().zip(effects) {
            let expected = effect / sum * found.conversions as f64;
            let difference = conversions(&found, Model::DataDriven, channel) - expected;
            prop_assert!(difference.abs() < 2e-6, "{channel} {difference}");
        }
    }

    #[test]
    fn every_model_shares_out_everything_exactly(told in told(), limit in 1_usize..6, only_mobile in any::<bool>()) {
        let question = Question { limit, ..Question::default() };
        let found = attribute(&story(&told).view(), &mobile(0, 50 * DAY, only_mobile), &question);
        let counts = |session: &&Told| !only_mobile || session.device_type == "mobile";
        let orders: Vec<(Decimal, &str)> = told.iter().filter(counts).filter_map(|session| session.order).collect();
        for revenue in &found.revenue {
            let of_currency = orders.iter().filter(|(_, currency)| Some(*currency) == revenue.currency.as_deref());
            prop_assert_eq!(revenue.amount, of_currency.map(|(value, _)| value).sum::<Decimal>());
        }
        for model in MODELS {
            let of_model = |line: &ValueCredits| {
                line.credits.iter().find(|credit| credit.model == model).unwrap().clone()
            };
            let credits: Vec<Credit> = found.values.iter().map(of_model).collect();
            let conversions: Decimal = credits.iter().map(|credit| credit.conversions).sum();
            prop_assert_eq!(conversions, Decimal::from(found.conversions));
            for (place, revenue) in found.revenue.iter().enumerate() {
                let amounts = credits.iter().map(|credit| credit.revenue[place].amount);
                prop_assert_eq!(amounts.sum::<Decimal>(), revenue.amount);
            }
        }
        prop_assert!(found.values.iter().filter(|line| !line.other).count() <= limit);
        let sessions: u64 = found.values.iter().map(|line| line.sessions).sum();
        prop_assert_eq!(sessions, told.iter().filter(counts).count() as u64);
    }
}

fn session(person: u128, day: i64, channel: &'static str, order: Option<&str>) -> Told {
    Told {
        person,
        start: day * DAY,
        channel,
        device_type: "desktop",
        converted: order.is_some(),
        bought_after: order.map(|_| 0),
        order: order.map(|value| (value.parse().unwrap(), "EUR")),
    }
}

/// The worked example of docs/analysis/attribution.md.
fn example() -> Vec<Told> {
    vec![
        session(1, 0, "Email", None),
        session(1, 7, "Paid Search", None),
        session(1, 14, "Direct", Some("100.00")),
        session(2, 3, "Email", None),
        session(3, 5, "Direct", Some("20.00")),
    ]
}

#[test]
fn the_example_of_the_documentation_holds() {
    let found = attribute(
        &story(&example()).view(),
        &Scope::of_time(0, 30 * DAY),
        &Question::default(),
    );
    assert_eq!((found.conversions, found.people, found.direct_only), (2, 2, 1));
    let row = |model| {
        ["Email", "Paid Search", "Direct"].map(|channel| {
            let credit = credit(&found, model, channel).unwrap();
            format!("{} {}", credit.conversions, credit.revenue[0].amount)
        })
    };
    for (model, expected) in [
        (
            Model::First,
            ["1.000000 100.00", "0.000000 0.00", "1.000000 20.00"],
        ),
        (Model::Last, ["0.000000 0.00", "0.000000 0.00", "2.000000 120.00"]),
        (
            Model::LastNonDirect,
            ["0.000000 0.00", "1.000000 100.00", "1.000000 20.00"],
        ),
        (
            Model::Linear,
            ["0.333334 33.34", "0.333333 33.33", "1.333333 53.33"],
        ),
        (
            Model::TimeDecay,
            ["0.142857 14.29", "0.285714 28.57", "1.571429 77.14"],
        ),
        (
            Model::Position,
            ["0.400000 40.00", "0.200000 20.00", "1.400000 60.00"],
        ),
        (
            Model::DataDriven,
            ["0.500000 30.00", "0.500000 30.00", "1.000000 60.00"],
        ),
    ] {
        assert_eq!(row(model), expected, "{model:?}");
    }
    let paths: Vec<(Vec<&str>, u64)> = found
        .paths
        .iter()
        .map(|path| {
            let steps = path.steps.iter().map(|step| step.value.as_deref().unwrap());
            (steps.collect(), path.conversions)
        })
        .collect();
    assert_eq!(
        paths,
        [(vec!["Direct"], 1), (vec!["Email", "Paid Search", "Direct"], 1)]
    );
    assert!(found.values.iter().all(|line| line.removal_effect.is_none()));
}

#[test]
fn an_effect_is_claimed_from_thirty_people_on() {
    let told: Vec<Told> = (1..31)
        .map(|person| session(person, 1, "Email", Some("1")))
        .collect();
    let effect = |told: &[Told]| {
        let found = attribute(
            &story(told).view(),
            &Scope::of_time(0, DAY * 2),
            &Question::default(),
        );
        found.values[0].removal_effect
    };
    assert_eq!(effect(&told[1..]), None);
    assert_eq!(effect(&told), Some(1.0));
}

#[test]
fn somebody_with_thousands_of_sessions_has_the_latest_as_touches() {
    let mut told: Vec<Told> = (0..1500)
        .map(|minute| Told {
            start: minute * 60_000_000,
            ..session(1, 0, "Referral", None)
        })
        .collect();
    told[400].channel = "Email";
    told[501].channel = "Paid Search";
    told.push(session(1, 2, "Direct", Some("5")));
    let found = attribute(
        &story(&told).view(),
        &Scope::of_time(0, 9 * DAY),
        &Question::default(),
    );
    let touches: u64 = found.values.iter().map(|line| line.touches).sum();
    assert_eq!(touches, 1000);
    assert_eq!(conversions(&found, Model::First, "Paid Search"), 1.0);
}

#[test]
fn bounds_are_kept() {
    let check = |change: fn(&mut Question)| {
        let mut question = Question::default();
        change(&mut question);
        question.check()
    };
    assert_eq!(check(|_| ()), Ok(()));
    assert_eq!(
        check(|question| question.dimension = Dimension::Browser),
        Err(AttributionError::Dimension)
    );
    assert_eq!(
        check(|question| question.look_back = 0),
        Err(AttributionError::LookBack)
    );
    assert_eq!(
        check(|question| question.limit = 201),
        Err(AttributionError::Limit)
    );
    assert_eq!(
        check(|question| question.paths = 101),
        Err(AttributionError::Paths)
    );
}
