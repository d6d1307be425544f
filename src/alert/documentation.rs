//! Holds `docs/analysis/alerts.md` to what the code computes.

use chrono_tz::Tz;

use super::{
    baseline::{CountBaseline, without_odd_weeks},
    judge::{Measured, Thresholds, Window, chance_of_rate, evidence_of_count, judge},
    subject::{Direction, Subject},
};
use crate::{
    alert::evaluate::Settings,
    analysis::{
        numeric::{median, successes_at_most, two_proportions},
        series::Count,
    },
    config::Config,
};

const PAGE: &str = include_str!("../../docs/analysis/alerts.md");

/// Line breaks of the page are nobody's business.
fn assert_said(sentence: &str) {
    let page = PAGE.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        page.contains(sentence),
        "docs/analysis/alerts.md does not say: {sentence}"
    );
}

fn thresholds() -> Thresholds {
    Settings::new(&Config::default()).thresholds
}

#[test]
fn the_example_of_a_share_is_computed() {
    let weeks = [100, 96, 104, 99, 101, 98, 102, 20].map(|bought| Count::new(1000, bought));
    let reference = without_odd_weeks(&weeks);
    assert_eq!(reference, Count::new(7000, 700));
    let now = Count::new(1000, 40);
    let z = two_proportions(now, reference, 1.0);
    let tail = successes_at_most(35.0, 875.0, 0.1);
    let p = crate::analysis::numeric::normal_tail(-z);
    assert_eq!(chance_of_rate(Direction::Down, now, reference, 1.0), p.max(tail));
    assert_said(&format!("With φ = 1, z = {z:.2} and p = {p:.1e};"));
    assert_said(&format!(
        "the binomial tail of 35 of 875 trials is {tail:.1e}, and the larger counts."
    ));
    assert_said(&format!(
        "With 7 windows judged, a / 7 is {:.1e}",
        thresholds().false_alarm / 7.0
    ));
}

#[test]
fn the_example_of_a_number_is_computed() {
    let mut weeks = [480.0, 510.0, 495.0, 505.0, 490.0, 500.0, 505.0, 120.0];
    let expected = median(&mut weeks).unwrap();
    let baseline = CountBaseline {
        observed: 240,
        expected,
        dispersion: 0.01,
        weeks: 8,
    };
    let evidence = evidence_of_count(Window::Hour, baseline, 0, 1);
    let measured = Measured {
        subject: Subject::Traffic,
        evidence: vec![evidence; 7],
    };
    let severity = judge(&[measured], &thresholds())[0].severity.as_str();
    assert_said(&format!("the median is **{expected}**."));
    assert_said(&format!(
        "α = 0.01 the variance is {:.0}.",
        baseline.variance(expected)
    ));
    let effect = (evidence.effect * 100.0).round().abs();
    assert_said(&format!(
        "the effect is **−{effect} %**, p = {:.1e}, and the severity **{severity}**.",
        evidence.p_value
    ));
}

#[test]
fn the_defaults_are_those_of_the_page() {
    let alerts = Config::default().alerts;
    assert_said(&format!("`alerts.weeks_min` ({})", alerts.weeks_min));
    assert_said(&format!(
        "`alerts.rate_fall_percent_min` | −{} %",
        alerts.rate_fall_percent_min
    ));
    assert_said(&format!(
        "`alerts.traffic_fall_percent_min` | −{} %",
        alerts.traffic_fall_percent_min
    ));
    assert_said(&format!(
        "`alerts.error_rise_percent_min` | +{} %",
        alerts.error_rise_percent_min
    ));
    assert_said(&format!(
        "`alerts.false_alarm_days` ({})",
        alerts.false_alarm_days
    ));
    assert_said(&format!("`alerts.sessions_min` ({})", alerts.sessions_min));
    assert_said(&format!("`alerts.expected_min` ({})", alerts.expected_min));
    assert_said(&format!("`alerts.cool_down_hours` ({})", alerts.cool_down_hours));
    assert_said(&format!(
        "`alerts.delivery_attempts_max` ({})",
        alerts.delivery_attempts_max
    ));
    assert_eq!(Settings::new(&Config::default()).zone, Tz::UTC);
}

/// The documented rate of false alarms is that of the default settings.
#[test]
fn what_is_simulated_is_what_is_shipped() {
    assert_eq!(super::simulation::THRESHOLDS, thresholds());
}
