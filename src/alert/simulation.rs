//! Months of a shop's life, made up by chance, to see how often alerts cry wolf and how soon they find a fault.
//!
//! Sessions follow the clock and the week, grow, and vary from day to day and hour to hour beyond chance, as real ones
//! do; so do the shares of those who go on. All of it comes from a seed.

use chrono::{DateTime, Datelike as _, Timelike as _};
use chrono_tz::Tz;
use rand::{Rng, RngExt as _, SeedableRng as _, rngs::ChaCha8Rng};
use uuid::Uuid;

use super::{
    baseline::Calendar,
    judge::{Alarm, Thresholds, judge, measure},
    lifecycle::{self, History, Open, Past, Step},
    subject::Subject,
};
use crate::analysis::series::{Count, Hour, Hourly};

/// Sunday 2025-01-05, 00:00 UTC.
const BEGIN: Hour = 482_232;

/// Weeks before the month that is watched: all that a baseline looks at.
const WEEKS_BEFORE: Hour = 8;

/// Hours of the month that is watched: 30 days.
const MONTH: Hour = 720;

const ZONE: Tz = chrono_tz::Europe::Vienna;

pub(super) const THRESHOLDS: Thresholds = Thresholds {
    weeks_min: 3,
    rate_fall_min: 0.2,
    traffic_fall_min: 0.3,
    error_rise_min: 0.5,
    trials_min: 20,
    expected_min: 10.0,
    false_alarm: 1.0 / (365.0 * 24.0),
};

/// Shares of those at each step of a checkout who reach the next one.
const STEPS: [f64; 6] = [0.55, 0.4, 0.6, 0.75, 0.8, 0.9];

/// A shop that nothing happens to.
#[derive(Clone, Copy)]
struct Shop {
    /// Sessions in a mean hour.
    level: f64,
    /// Factor by which it grows in a week.
    growth: f64,
}

/// What is broken: for whom, from when on, and how much of the usual is left.
#[derive(Clone, Copy)]
struct Fault {
    subject: Subject,
    from: Hour,
    to: Hour,
    /// Factor on a share or on the traffic.
    left: f64,
}

fn step(step: u16) -> Subject {
    Subject::FunnelStep {
        funnel: Uuid::nil(),
        step,
    }
}

fn normal(dice: &mut impl Rng) -> f64 {
    let (radius, angle): (f64, f64) = (dice.random::<f64>(), dice.random::<f64>());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// Marsaglia and Tsang's method, ACM Transactions on Mathematical Software 26, 2000; `shape` at least 1.
fn gamma(dice: &mut impl Rng, shape: f64) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(dice);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && (1.0 - dice.random::<f64>()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// Exact in few steps: the time of the n-th arrival is a gamma value, and what came before it is binomial
/// (Ahrens and Dieter, Computing 12, 1974).
fn poisson(dice: &mut impl Rng, mean: f64) -> u64 {
    let (mut mean, mut sum) = (mean, 0);
    while mean > 20.0 {
        let arrivals = (mean * 0.875) as u64;
        let time = gamma(dice, arrivals as f64);
        if time > mean {
            return sum + binomial(dice, arrivals - 1, mean / time);
        }
        mean -= time;
        sum += arrivals;
    }
    let (limit, mut product) = ((-mean).exp(), dice.random::<f64>());
    while product > limit {
        sum += 1;
        product *= dice.random::<f64>();
    }
    sum
}

/// Exact in few steps: the middle one of sorted random numbers is a beta value, and halves what remains to be counted
/// (Ahrens and Dieter, as above).
fn binomial(dice: &mut impl Rng, trials: u64, share: f64) -> u64 {
    let (mut trials, mut share, mut sum) = (trials, share, 0);
    while trials > 30 {
        let below = trials / 2 + 1;
        let above = trials + 1 - below;
        let (a, b) = (gamma(dice, below as f64), gamma(dice, above as f64));
        let middle = a / (a + b);
        if middle >= share {
            trials = below - 1;
            share /= middle;
        } else {
            sum += below;
            trials = above - 1;
            share = (share - middle) / (1.0 - middle);
        }
    }
    sum + (0..trials).filter(|_| dice.random::<f64>() < share).count() as u64
}

/// Returns how busy an hour is: quiet nights, busy evenings, and weekends of their own; 1 in the mean.
fn shape(hour: Hour) -> f64 {
    let local = DateTime::from_timestamp(hour * 3600, 0)
        .unwrap()
        .with_timezone(&ZONE);
    let (hour_of_day, day) = (local.hour(), local.weekday().num_days_from_sunday());
    let daily = 1.0 + 0.85 * ((f64::from(hour_of_day) - 17.0) / 24.0 * std::f64::consts::TAU).cos();
    let weekly = [1.15, 0.95, 0.95, 0.95, 0.95, 0.95, 1.1][day as usize];
    daily * weekly
}

/// Makes up everything that is measured of a shop, for the weeks before and the month that is watched.
fn live(shop: Shop, seed: u64, fault: Option<Fault>) -> Vec<(Subject, Hourly)> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let end = BEGIN + WEEKS_BEFORE * 168 + MONTH + 48;
    let left = |subject, hour| match fault {
        Some(fault) if fault.subject == subject && (fault.from..fault.to).contains(&hour) => fault.left,
        _ => 1.0,
    };
    let mut subjects = vec![
        Subject::Traffic,
        Subject::NoData,
        Subject::ConversionRate,
        Subject::ErrorRate,
    ];
    subjects.extend((1..=STEPS.len() as u16).map(step));
    let mut series: Vec<(Subject, Hourly)> = subjects
        .into_iter()
        .map(|subject| (subject, Hourly::zeros(BEGIN, end)))
        .collect();
    // By day: how the traffic and each share stray from their usual.
    let mut moods = [0.0; 9];
    for hour in BEGIN..end {
        if (hour - BEGIN) % 24 == 0 {
            moods = std::array::from_fn(|_| 0.05 * normal(&mut dice));
        }
        let trend = shop.growth.powf((hour - BEGIN) as f64 / 168.0);
        let mean = shop.level * trend * shape(hour) * f64::exp(moods[0]) * left(Subject::Traffic, hour);
        // Gamma-distributed means make negative binomial counts, with a coefficient of variation of 10 %.
        let mean = mean * gamma(&mut dice, 100.0) / 100.0;
        let sessions = poisson(&mut dice, mean);
        let mut share = |usual: f64, mood: usize, subject, trials| {
            let share = usual * f64::exp(moods[mood]) * left(subject, hour);
            Count::new(trials, binomial(&mut dice, trials, share.min(0.99)))
        };
        let mut counts = vec![
            Count::new(sessions, 0),
            Count::new(sessions, sessions * 8),
            share(0.03, 1, Subject::ConversionRate, sessions),
            share(0.01, 2, Subject::ErrorRate, sessions),
        ];
        let mut arrived = sessions;
        for (place, usual) in STEPS.iter().enumerate() {
            let count = share(*usual, 3 + place, step(place as u16 + 1), arrived);
            arrived = count.successes;
            counts.push(count);
        }
        for ((_, hourly), count) in series.iter_mut().zip(counts) {
            hourly.add(hour, count);
        }
    }
    series
}

/// Something that happened to an alert.
#[derive(Debug)]
struct Happened {
    at: Hour,
    subject: Subject,
    step: Step,
}

/// Evaluates every hour of the month as the service does.
fn watch(series: &[(Subject, Hourly)]) -> Vec<Happened> {
    let begin = BEGIN + WEEKS_BEFORE * 168 + 2;
    let mut histories = vec![History::default(); series.len()];
    let mut happened = Vec::new();
    let mut earlier = Calendar::new(begin - 1, ZONE);
    for now in begin..begin + MONTH {
        let calendar = Calendar::new(now, ZONE);
        let measured: Vec<_> = series
            .iter()
            .filter_map(|(subject, hourly)| {
                let calendar = if subject.lag_hours() == 1 {
                    &earlier
                } else {
                    &calendar
                };
                measure(*subject, hourly, calendar, &THRESHOLDS).ok()
            })
            .collect();
        let alarms = judge(&measured, &THRESHOLDS);
        for ((subject, _), history) in series.iter().zip(&mut histories) {
            let (measured, alarm) = lifecycle::find(*subject, &measured, &alarms);
            let step = lifecycle::next(history, measured, alarm, now, 6, &THRESHOLDS);
            apply(history, step, now);
            if !matches!(step, Step::Nothing | Step::Confirm | Step::Calm(_)) {
                happened.push(Happened {
                    at: now,
                    subject: *subject,
                    step,
                });
            }
        }
        earlier = calendar;
    }
    happened
}

fn apply(history: &mut History, step: Step, now: Hour) {
    let opened = |alarm: Alarm| Open {
        severity: alarm.severity,
        window: alarm.evidence.window,
        effect: alarm.evidence.effect,
        quiet_evaluations: 0,
    };
    match step {
        Step::Open(alarm) | Step::Escalate(alarm) => history.open = Some(opened(alarm)),
        Step::Calm(quiet) => history
            .open
            .iter_mut()
            .for_each(|open| open.quiet_evaluations = quiet),
        Step::Confirm => history
            .open
            .iter_mut()
            .for_each(|open| open.quiet_evaluations = 0),
        Step::Resolve => {
            history.past = history.open.take().map(|open| Past {
                severity: open.severity,
                resolved: now,
            });
        }
        Step::Nothing => {}
    }
}

fn opened(happened: &[Happened]) -> Vec<&Happened> {
    happened
        .iter()
        .filter(|one| matches!(one.step, Step::Open(_)))
        .collect()
}

/// Counts the alerts of quiet months of a small, a middling and a large shop.
fn false_alarms(months: u64) -> Vec<(f64, usize)> {
    [20.0, 300.0, 3000.0]
        .into_iter()
        .map(|level| {
            let alerts = (0..months).map(|seed| {
                let growth = [1.0, 1.03, 0.98][seed as usize % 3];
                let series = live(Shop { level, growth }, seed, None);
                let happened = watch(&series);
                for one in opened(&happened) {
                    println!("level {level}, seed {seed}: {one:?}");
                }
                opened(&happened).len()
            });
            (level, alerts.sum())
        })
        .collect()
}

#[test]
fn quiet_months_stay_quiet() {
    let alarms = false_alarms(1);
    let total: usize = alarms.iter().map(|(_, alerts)| alerts).sum();
    assert!(total <= 1, "{alarms:?}");
}

/// The figures of `docs/analysis/alerts.md`.
#[test]
#[ignore = "takes minutes: `cargo test --lib alert::simulation -- --ignored --nocapture` prints the documented rate"]
fn false_alarms_of_many_quiet_months() {
    let months = 40;
    let alarms = false_alarms(months);
    let total: usize = alarms.iter().map(|(_, alerts)| alerts).sum();
    println!("{alarms:?}: {total} in {} months", 3 * months);
    assert!(total as u64 <= months, "{alarms:?}");
}

/// Tuesday of the second week that is watched, at nine by UTC.
const MORNING: Hour = BEGIN + (WEEKS_BEFORE + 1) * 168 + 2 * 24 + 9;

/// Returns when an alert about a fault opened, in hours since the fault began, and whether it resolved by itself after.
fn found(shop: Shop, fault: Fault, seed: u64) -> (Option<Hour>, Option<Hour>) {
    let happened = watch(&live(shop, seed, Some(fault)));
    let of_subject = |one: &&Happened| one.subject == fault.subject && one.at > fault.from;
    let opened = happened
        .iter()
        .filter(of_subject)
        .find(|one| matches!(one.step, Step::Open(_)))
        .map(|one| one.at - fault.from);
    let resolved = happened
        .iter()
        .filter(of_subject)
        .find(|one| one.step == Step::Resolve)
        .map(|one| one.at - fault.to);
    (opened, resolved)
}

#[test]
fn a_broken_mobile_checkout_is_found_within_six_hours_and_over_a_day_after_its_repair() {
    // Six in ten sessions are mobile, and of those nobody gets from payment to the order any more.
    let fault = Fault {
        subject: step(6),
        from: MORNING,
        to: MORNING + 72,
        left: 0.4,
    };
    for seed in 0..5 {
        let shop = Shop {
            level: 300.0,
            growth: 1.0,
        };
        let (opened, resolved) = found(shop, fault, seed);
        println!("seed {seed}: found after {opened:?} hours, over {resolved:?} hours after its repair");
        assert!(opened.is_some_and(|hours| hours <= 6), "{opened:?}");
        assert!(
            resolved.is_some_and(|hours| (1..=26).contains(&hours)),
            "{resolved:?}"
        );
    }
}

#[test]
fn a_slow_leak_is_found_within_a_day_and_a_half() {
    let fault = Fault {
        subject: step(4),
        from: MORNING,
        to: MORNING + 96,
        left: 0.7,
    };
    let shop = Shop {
        level: 300.0,
        growth: 1.0,
    };
    let (opened, _) = found(shop, fault, 1);
    println!("a leak of 30 % is found after {opened:?} hours");
    assert!(opened.is_some_and(|hours| hours <= 36), "{opened:?}");
}

#[test]
fn traffic_that_halves_is_found_within_six_hours_and_silence_within_two() {
    let half = Fault {
        subject: Subject::Traffic,
        from: MORNING,
        to: MORNING + 48,
        left: 0.5,
    };
    let shop = Shop {
        level: 300.0,
        growth: 1.02,
    };
    let (opened, _) = found(shop, half, 1);
    println!("half the traffic is missed after {opened:?} hours");
    assert!(opened.is_some_and(|hours| hours <= 6), "{opened:?}");
    let none = Fault { left: 0.0, ..half };
    let happened = watch(&live(shop, 2, Some(none)));
    let silent = happened
        .iter()
        .find(|one| one.subject == Subject::NoData && matches!(one.step, Step::Open(_)));
    assert!(silent.is_some_and(|one| one.at - MORNING <= 2), "{silent:?}");
}

#[test]
fn the_dice_have_the_moments_of_their_distributions() {
    let mut dice = ChaCha8Rng::seed_from_u64(7);
    let mut moments = |draw: &mut dyn FnMut(&mut ChaCha8Rng) -> f64| {
        let values: Vec<f64> = (0..20_000).map(|_| draw(&mut dice)).collect();
        let mean = values.iter().sum::<f64>() / 20_000.0;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 20_000.0;
        (mean, variance)
    };
    let near = |(mean, variance): (f64, f64), expected: (f64, f64)| {
        assert!((mean / expected.0 - 1.0).abs() < 0.02, "{mean} {expected:?}");
        assert!(
            (variance / expected.1 - 1.0).abs() < 0.05,
            "{variance} {expected:?}"
        );
    };
    near(moments(&mut |dice| poisson(dice, 130.0) as f64), (130.0, 130.0));
    near(moments(&mut |dice| poisson(dice, 4.0) as f64), (4.0, 4.0));
    near(
        moments(&mut |dice| binomial(dice, 400, 0.3) as f64),
        (120.0, 84.0),
    );
    near(moments(&mut |dice| gamma(dice, 100.0)), (100.0, 100.0));
}
