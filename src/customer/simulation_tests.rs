//! Estimates over a simulated history: what they say of people they have not seen comes true as often as they say.

use chrono::{DateTime, TimeDelta, Utc};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{
    Behaviour, cases, churn, conversion,
    estimate::{self, Case, Model, Reliability},
};

/// Days of history before the moment people are looked at.
const DAYS: f64 = 200.0;

fn at() -> DateTime<Utc> {
    "2026-06-15T12:00:00Z".parse().unwrap()
}

/// Draws a time to the next event of a process without memory.
fn wait(dice: &mut ChaCha8Rng, mean_days: f64) -> f64 {
    -(1.0 - dice.random::<f64>()).ln() * mean_days
}

/// A person with a habit and a life: sessions at a mean gap, until they lose interest for good. Some of the sessions
/// end in an order.
fn person(dice: &mut ChaCha8Rng, number: u128) -> Option<Behaviour> {
    let gap = [2.0, 5.0, 12.0, 30.0][dice.random_range(0..4)];
    let buys = [0.01, 0.1, 0.4][dice.random_range(0..3)];
    let born = dice.random::<f64>() * DAYS;
    let dies = born + wait(dice, 60.0);
    let mut sessions: Vec<(f64, bool)> = Vec::new();
    let mut day = born;
    while day < dies && day < DAYS + 30.0 {
        sessions.push((day, dice.random::<f64>() < buys));
        day += wait(dice, gap);
    }
    let (before, after): (Vec<_>, Vec<_>) = sessions.into_iter().partition(|(day, _)| *day < DAYS);
    let time = |day: f64| at() - TimeDelta::milliseconds(((DAYS - day) * 86_400_000.0) as i64);
    let (first, last) = (before.first()?.0, before.last()?.0);
    let since = |days: f64| before.iter().filter(move |(day, _)| *day >= DAYS - days);
    let orders = |sessions: &[(f64, bool)]| sessions.iter().filter(|(_, bought)| *bought).count() as i64;
    Some(Behaviour {
        customer_id: Uuid::from_u128(number),
        sessions: before.len() as i64,
        first_session_at: time(first),
        last_session_at: time(last),
        sessions_30_days: since(30.0).count() as i64,
        engagement_90_days: Some(if buys > 0.2 { 70.0 } else { 20.0 }),
        abandoned_30_days: 0,
        orders: orders(&before),
        orders_90_days: since(90.0).filter(|(_, bought)| *bought).count() as i64,
        orders_365_days: orders(&before),
        last_order_at: before
            .iter()
            .rfind(|(_, bought)| *bought)
            .map(|(day, _)| time(*day)),
        revenue: Decimal::from(orders(&before)),
        returned: !after.is_empty(),
        ordered: orders(&after) > 0,
    })
}

fn crowd(seed: u64, count: u128) -> (Vec<Case>, Vec<Case>) {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let people: Vec<Behaviour> = (0..count)
        .filter_map(|number| person(&mut dice, number))
        .collect();
    cases(&people, at())
}

/// Asserts that in each tenth of estimates, what was foretold is what happened, within four standard errors and the
/// little that a bin's own error adds; returns how many people that was said of.
fn assert_true_to(lines: &[Reliability]) -> u64 {
    let mut told = 0;
    for line in lines.iter().filter(|line| line.people >= 50) {
        let variance = line.mean_estimate * (1.0 - line.mean_estimate) / line.people as f64;
        let allowed = 4.0 * variance.sqrt() + 0.02;
        let distance = (line.mean_estimate - line.observed).abs();
        assert!(distance <= allowed, "{line:?}: {distance} > {allowed}");
        told += line.people;
    }
    told
}

fn assert_comes_true(model: &Model, fresh: &[Case]) {
    let foretold: Vec<(f64, bool)> = fresh
        .iter()
        .map(|case| (model.probability(case.bin), case.happened))
        .collect();
    let told = assert_true_to(&estimate::reliability(&foretold));
    assert!(told as usize > fresh.len() * 9 / 10, "most people have a line");
}

#[test]
fn estimates_come_true_for_people_they_were_not_made_of() {
    let (churn, conversion) = crowd(1, 20_000);
    let (fresh_churn, fresh_conversion) = crowd(2, 20_000);
    for (past, fresh, bins) in [
        (churn, fresh_churn, churn::BINS),
        (conversion, fresh_conversion, conversion::BINS),
    ] {
        let (model, calibration) = estimate::fit(&past, bins);
        assert_comes_true(&model.unwrap(), &fresh);
        let quality = calibration.quality.unwrap();
        assert!(quality.brier < quality.brier_of_base_rate * 0.9, "{quality:?}");
        assert_true_to(&quality.reliability);
    }
}

#[test]
fn a_young_site_has_no_estimates() {
    let (churn, _) = crowd(3, 300);
    let (model, calibration) = estimate::fit(&churn, churn::BINS);
    assert_eq!(model, None);
    assert!(calibration.people < calibration.people_min && calibration.quality.is_none());
}
