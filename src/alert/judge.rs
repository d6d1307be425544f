//! Whether a deviation is worth waking somebody: large enough, and not by chance.
//!
//! Both are asked of every window. The effect alone would alarm about every quiet night, the evidence alone about every
//! trifle of a large site.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    baseline::{Calendar, CountBaseline, RateBaseline},
    subject::{Direction, Measure, Subject},
};
use crate::analysis::{
    numeric::{count_at_most, normal_tail, successes_at_most, two_proportions},
    series::{Count, Hour, Hourly},
};

/// How grave an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Returns the word for it in the store and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Relative falls from which an alert is medium, high and critical.
const FALLS: [f64; 3] = [0.35, 0.5, 0.8];

/// Relative rises from which an alert is medium, high and critical: the falls seen from below, as half is to double.
const RISES: [f64; 3] = [1.0, 2.0, 4.0];

/// How many times less likely than asked for chance must be for a high and for a critical alert.
const EVIDENCE: [f64; 2] = [10.0, 1000.0];

/// Standard errors by which a figure must differ from that of the alert before it counts as recovered: 1 % by chance.
const RECOVERY: f64 = 2.326;

/// Lengths of a silence that are judged, in hours: those that divide a week evenly.
const SILENCES: [usize; 8] = [24, 12, 8, 6, 4, 3, 2, 1];

/// What must hold before anything is claimed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Complete earlier weeks.
    pub weeks_min: usize,
    /// Relative fall of a share.
    pub rate_fall_min: f64,
    /// Relative fall of traffic.
    pub traffic_fall_min: f64,
    /// Relative rise of the share of sessions with errors.
    pub error_rise_min: f64,
    /// Trials of a share, now and before.
    pub trials_min: u64,
    /// Successes or things that are expected.
    pub expected_min: f64,
    /// Probability of any false alarm in one evaluation of all subjects.
    pub false_alarm: f64,
}

impl Thresholds {
    /// Returns the least relative deviation of a subject that is worth an alert.
    pub fn effect_min(&self, subject: Subject) -> f64 {
        match subject.direction() {
            Direction::Up => self.error_rise_min,
            Direction::Down if subject.measure() == Measure::Rate => self.rate_fall_min,
            Direction::Down => self.traffic_fall_min,
        }
    }
}

/// Which hours were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The last complete hour.
    Hour,
    /// The last 24 complete hours.
    Day,
    /// The hours since something last came.
    Silence,
}

impl Window {
    /// Returns the word for it in the store and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Silence => "silence",
        }
    }
}

/// How far figures stray from their mean.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Spread {
    Count(CountBaseline),
    Rate { trials: f64, dispersion: f64 },
    None,
}

/// What one window says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    pub window: Window,
    /// First hour.
    pub from: Hour,
    /// The hour after the last one.
    pub to: Hour,
    /// A number, or a share in `0.0..=1.0`.
    pub expected: f64,
    pub observed: f64,
    /// What the share is of; `None` of a number.
    pub trials: Option<u64>,
    /// `observed / expected − 1`.
    pub effect: f64,
    /// How likely chance alone brings as bad a figure.
    pub p_value: f64,
    /// Earlier weeks it was compared with.
    pub weeks: usize,
    spread: Spread,
}

impl Evidence {
    /// Returns how bad the deviation is: above 0 when it goes the bad way.
    pub fn harm(&self, subject: Subject) -> f64 {
        match subject.direction() {
            Direction::Down => -self.effect,
            Direction::Up => self.effect,
        }
    }

    /// Whether the figure is better than one with the relative deviation `effect`, beyond doubt.
    fn rules_out(&self, subject: Subject, effect: f64) -> bool {
        let level = self.expected * (1.0 + effect);
        let variance = match self.spread {
            Spread::Count(baseline) => baseline.variance(level),
            Spread::Rate { trials, dispersion } => dispersion * level * (1.0 - level).max(0.0) / trials,
            Spread::None => 0.0,
        };
        let better = match subject.direction() {
            Direction::Down => self.observed - level,
            Direction::Up => level - self.observed,
        };
        better > RECOVERY * variance.sqrt()
    }
}

/// Why nothing can be said about a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLittle {
    #[error("there are {0} complete earlier weeks")]
    Weeks(usize),
    #[error("there are too few sessions at these hours")]
    Numbers,
}

/// What all windows say about a subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub subject: Subject,
    /// At least one.
    pub evidence: Vec<Evidence>,
}

/// Looks at a subject's windows before `calendar`'s end.
///
/// # Errors
/// [`TooLittle`] when none of them can be judged.
pub fn measure(
    subject: Subject,
    series: &Hourly,
    calendar: &Calendar,
    thresholds: &Thresholds,
) -> Result<Measured, TooLittle> {
    let weeks = calendar.complete_weeks(series);
    if weeks < thresholds.weeks_min.max(2) {
        return Err(TooLittle::Weeks(weeks));
    }
    let evidence: Vec<Evidence> = match subject.measure() {
        Measure::Silence => vec![silence(series, calendar, weeks)],
        Measure::Count => [Window::Hour, Window::Day]
            .into_iter()
            .filter_map(|window| count(window, series, calendar, weeks, thresholds))
            .collect(),
        Measure::Rate => [Window::Hour, Window::Day]
            .into_iter()
            .filter_map(|window| rate(subject, window, series, calendar, weeks, thresholds))
            .collect(),
    };
    if evidence.is_empty() {
        return Err(TooLittle::Numbers);
    }
    Ok(Measured { subject, evidence })
}

fn length(window: Window) -> usize {
    if window == Window::Day { 24 } else { 1 }
}

fn count(
    window: Window,
    series: &Hourly,
    calendar: &Calendar,
    weeks: usize,
    thresholds: &Thresholds,
) -> Option<Evidence> {
    let length = length(window);
    let baseline = CountBaseline::of(series, calendar, length, weeks);
    if baseline.expected < thresholds.expected_min {
        return None;
    }
    Some(evidence_of_count(window, baseline, calendar.end(), length))
}

pub(super) fn evidence_of_count(
    window: Window,
    baseline: CountBaseline,
    end: Hour,
    length: usize,
) -> Evidence {
    let expected = baseline.expected;
    Evidence {
        window,
        from: end - length as Hour,
        to: end,
        expected,
        observed: baseline.observed as f64,
        trials: None,
        effect: baseline.observed as f64 / expected - 1.0,
        p_value: count_at_most(baseline.observed, expected, baseline.variance(expected)),
        weeks: baseline.weeks,
        spread: Spread::Count(baseline),
    }
}

/// Judges how long nothing has come. Its series counts sessions as trials and events as successes: sessions come
/// independently of each other, which makes a silence's probability known, but an event of an old one ends it too.
fn silence(series: &Hourly, calendar: &Calendar, weeks: usize) -> Evidence {
    let end = calendar.end();
    let is_silent = |hour: &Hour| series.at(*hour).trials == 0 && series.at(*hour).successes == 0;
    let silent = (series.first..end).rev().take_while(is_silent).count();
    let judged = SILENCES.into_iter().find(|length| *length <= silent);
    if let Some(length) = judged {
        let baseline = CountBaseline::of(series, calendar, length, weeks);
        if baseline.expected > 0.0 {
            let from = end - silent as Hour;
            return Evidence {
                from,
                ..evidence_of_count(Window::Silence, baseline, end, length)
            };
        }
    }
    // A silence at hours that are always silent says nothing either way.
    let events = series.at(end - 1).successes as f64;
    Evidence {
        window: Window::Silence,
        from: end - 1,
        to: end,
        expected: events,
        observed: events,
        trials: None,
        effect: 0.0,
        p_value: 1.0,
        weeks,
        spread: Spread::None,
    }
}

fn rate(
    subject: Subject,
    window: Window,
    series: &Hourly,
    calendar: &Calendar,
    weeks: usize,
    thresholds: &Thresholds,
) -> Option<Evidence> {
    let length = length(window);
    let RateBaseline {
        observed,
        reference,
        dispersion,
        ..
    } = RateBaseline::of(series, calendar, length, weeks);
    let trials = observed.trials as f64;
    let expected = reference.rate();
    let successes = match subject.direction() {
        Direction::Down => trials * expected,
        Direction::Up => observed.successes as f64,
    };
    let is_enough = observed.trials.min(reference.trials) >= thresholds.trials_min;
    if !is_enough || expected <= 0.0 || successes < thresholds.expected_min {
        return None;
    }
    Some(Evidence {
        window,
        from: calendar.end() - length as Hour,
        to: calendar.end(),
        expected,
        observed: observed.rate(),
        trials: Some(observed.trials),
        effect: observed.rate() / expected - 1.0,
        p_value: chance_of_rate(subject.direction(), observed, reference, dispersion),
        weeks,
        spread: Spread::Rate { trials, dispersion },
    })
}

/// Returns how likely chance alone makes a share as bad.
///
/// The two-proportion z test takes shares to be normal. Of few trials those near 0 or 1 are not, so the binomial tail
/// must agree, of as many trials as would stray as much: fewer when weeks differ, and when the reference is itself
/// known from few.
pub(super) fn chance_of_rate(
    direction: Direction,
    observed: Count,
    reference: Count,
    dispersion: f64,
) -> f64 {
    let z = two_proportions(observed, reference, dispersion);
    let ratio = observed.trials as f64 / reference.trials as f64;
    let worth = 1.0 / (dispersion * (1.0 + ratio));
    let (trials, successes) = (observed.trials as f64 * worth, observed.successes as f64 * worth);
    match direction {
        Direction::Down => normal_tail(-z).max(successes_at_most(successes, trials, reference.rate())),
        // As many successes or more are as many failures or fewer.
        Direction::Up => normal_tail(z).max(successes_at_most(
            trials - successes,
            trials,
            1.0 - reference.rate(),
        )),
    }
}

/// A deviation worth an alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alarm {
    pub subject: Subject,
    pub severity: Severity,
    pub evidence: Evidence,
}

/// Returns an alarm for each subject whose deviation is large and not by chance.
///
/// All windows of all subjects together raise a false alarm with probability [`Thresholds::false_alarm`] at most, by
/// Holm's method: the smallest of `m` p-values must be below that probability divided by `m`, the next by `m − 1`, and
/// so on up to the first that is not (S. Holm, Scandinavian Journal of Statistics 6, 1979).
pub fn judge(measured: &[Measured], thresholds: &Thresholds) -> Vec<Alarm> {
    let mut all: Vec<(Subject, Evidence)> = measured
        .iter()
        .flat_map(|one| one.evidence.iter().map(|evidence| (one.subject, *evidence)))
        .collect();
    all.sort_by(|a, b| a.1.p_value.total_cmp(&b.1.p_value));
    let tests = all.len();
    let mut alarms: Vec<Alarm> = Vec::new();
    for (rank, (subject, evidence)) in all.into_iter().enumerate() {
        let asked = thresholds.false_alarm / (tests - rank) as f64;
        if evidence.p_value > asked {
            break;
        }
        if evidence.harm(subject) < thresholds.effect_min(subject) {
            continue;
        }
        let alarm = Alarm {
            subject,
            severity: severity(subject, &evidence, asked),
            evidence,
        };
        match alarms.iter_mut().find(|known| known.subject == subject) {
            Some(known) if known.severity < alarm.severity => *known = alarm,
            Some(_) => {}
            None => alarms.push(alarm),
        }
    }
    alarms
}

/// The lesser of what effect and evidence allow.
fn severity(subject: Subject, evidence: &Evidence, asked: f64) -> Severity {
    let harm = evidence.harm(subject);
    let steps = match subject.direction() {
        Direction::Down => FALLS,
        Direction::Up => RISES,
    };
    let reached = steps.iter().filter(|step| harm >= **step).count();
    let by_effect = Severity::ALL[reached];
    let surer = EVIDENCE
        .iter()
        .filter(|times| evidence.p_value <= asked / **times)
        .count();
    by_effect.min(Severity::ALL[1 + surer])
}

/// Whether a subject is back to what is expected after an alarm with the relative deviation `effect` in `window`.
///
/// The last hour or the alarm's own window must deviate by less than half of what makes an alarm, and differ from the
/// alarm's level beyond doubt: few sessions look like anything.
pub fn is_back(measured: &Measured, window: Window, effect: f64, thresholds: &Thresholds) -> bool {
    let subject = measured.subject;
    let near = thresholds.effect_min(subject) / 2.0;
    measured
        .evidence
        .iter()
        .filter(|evidence| evidence.window == Window::Hour || evidence.window == window)
        .any(|evidence| evidence.harm(subject) < near && evidence.rules_out(subject, effect))
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;
    pub(super) const THRESHOLDS: Thresholds = Thresholds {
        weeks_min: 3,
        rate_fall_min: 0.2,
        traffic_fall_min: 0.3,
        error_rise_min: 0.5,
        trials_min: 50,
        expected_min: 10.0,
        false_alarm: 1.0 / 1440.0,
    };

    const END: Hour = 500_000;

    /// Five weeks of the same count each hour, then `now` in the last hour.
    fn series(usual: Count, now: Count) -> Hourly {
        let mut series = Hourly::zeros(END - 6 * 168, END);
        series.counts.fill(usual);
        *series.counts.last_mut().unwrap() = now;
        series
    }

    fn alarms(subject: Subject, series: &Hourly) -> Vec<Alarm> {
        let measured = measure(subject, series, &Calendar::new(END, Tz::UTC), &THRESHOLDS).unwrap();
        judge(&[measured], &THRESHOLDS)
    }

    #[test]
    fn a_large_fall_with_evidence_is_an_alarm() {
        let found = alarms(
            Subject::ConversionRate,
            &series(Count::new(1000, 100), Count::new(1000, 40)),
        );
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, Severity::High);
        assert_eq!(found[0].evidence.window, Window::Hour);
        assert!((found[0].evidence.effect + 0.6).abs() < 1e-12);
    }

    #[test]
    fn effect_without_evidence_and_evidence_without_effect_are_none() {
        // Half the rate, but of 200 sessions only; a tenth less of a hundred thousand.
        let few = series(Count::new(200, 20), Count::new(200, 10));
        assert_eq!(alarms(Subject::ConversionRate, &few), []);
        let many = series(Count::new(100_000, 10_000), Count::new(100_000, 9000));
        let measured = measure(
            Subject::ConversionRate,
            &many,
            &Calendar::new(END, Tz::UTC),
            &THRESHOLDS,
        )
        .unwrap();
        assert!(measured.evidence[0].p_value < 1e-9);
        assert_eq!(judge(&[measured], &THRESHOLDS), []);
    }

    #[test]
    fn errors_alarm_when_they_rise_and_not_when_they_fall() {
        let rise = series(Count::new(1000, 20), Count::new(1000, 120));
        assert_eq!(alarms(Subject::ErrorRate, &rise)[0].severity, Severity::Critical);
        assert_eq!(
            alarms(
                Subject::ErrorRate,
                &series(Count::new(1000, 120), Count::new(1000, 20))
            ),
            []
        );
    }

    #[test]
    fn nothing_is_claimed_of_small_numbers_or_few_weeks() {
        let calendar = Calendar::new(END, Tz::UTC);
        let small = series(Count::new(2, 1), Count::new(2, 0));
        let answer = measure(Subject::ConversionRate, &small, &calendar, &THRESHOLDS);
        assert_eq!(answer, Err(TooLittle::Numbers));
        let mut young = series(Count::new(1000, 100), Count::new(1000, 0));
        young.counts.drain(..3 * 168);
        young.first += 3 * 168;
        let answer = measure(Subject::ConversionRate, &young, &calendar, &THRESHOLDS);
        assert_eq!(answer, Err(TooLittle::Weeks(2)));
    }

    #[test]
    fn silence_is_judged_by_what_comes_at_these_hours() {
        let busy = series(Count::new(30, 300), Count::default());
        let found = alarms(Subject::NoData, &busy);
        assert_eq!(found[0].severity, Severity::Critical);
        assert_eq!((found[0].evidence.from, found[0].evidence.to), (END - 1, END));
        // One session an hour: an hour without any is nothing, a day without any is.
        let mut quiet = series(Count::new(1, 10), Count::default());
        assert_eq!(alarms(Subject::NoData, &quiet), []);
        let hours = quiet.counts.len();
        quiet.counts[hours - 30..].fill(Count::default());
        let found = alarms(Subject::NoData, &quiet);
        assert_eq!(found[0].evidence.from, END - 30);
    }

    #[test]
    fn an_event_of_an_old_session_ends_a_silence() {
        let lively = series(Count::new(30, 300), Count::new(0, 1));
        assert_eq!(alarms(Subject::NoData, &lively), []);
    }

    #[test]
    fn the_more_subjects_are_watched_the_more_evidence_each_needs() {
        // z = −4.1 alone: p = 2e-5.
        let suspicious = series(Count::new(1000, 100), Count::new(1000, 60));
        let calendar = Calendar::new(END, Tz::UTC);
        let one = measure(Subject::ConversionRate, &suspicious, &calendar, &THRESHOLDS).unwrap();
        assert_eq!(judge(std::slice::from_ref(&one), &THRESHOLDS).len(), 1);
        let usual = series(Count::new(1000, 100), Count::new(1000, 100));
        let other = measure(Subject::ConversionRate, &usual, &calendar, &THRESHOLDS).unwrap();
        let mut many = vec![other; 100];
        many.push(one);
        assert_eq!(judge(&many, &THRESHOLDS), []);
    }

    #[test]
    fn a_figure_is_back_when_it_is_near_and_no_accident_of_few() {
        let back = |now| {
            let series = series(Count::new(1000, 100), now);
            let measured = measure(
                Subject::ConversionRate,
                &series,
                &Calendar::new(END, Tz::UTC),
                &THRESHOLDS,
            )
            .unwrap();
            let hour: Vec<Evidence> = measured
                .evidence
                .into_iter()
                .filter(|one| one.window == Window::Hour)
                .collect();
            is_back(
                &Measured {
                    subject: Subject::ConversionRate,
                    evidence: hour,
                },
                Window::Hour,
                -0.4,
                &THRESHOLDS,
            )
        };
        assert!(back(Count::new(1000, 95)));
        assert!(!back(Count::new(1000, 80)));
        assert!(
            !back(Count::new(100, 10)),
            "a hundred sessions may show ten by luck"
        );
    }

    /// Evidence of this probability, with an effect that is bad enough for any subject.
    fn certain(p_value: f64) -> Evidence {
        Evidence {
            window: Window::Hour,
            from: END - 1,
            to: END,
            expected: 100.0,
            observed: 0.0,
            trials: None,
            effect: -1.0,
            p_value,
            weeks: 8,
            spread: Spread::None,
        }
    }

    proptest! {
        /// Holm's method as it is told: again and again the smallest is taken away while it is small enough.
        #[test]
        fn alarms_are_those_of_holms_method(exponents in prop::collection::vec(1.0_f64..9.0, 1..30)) {
            let step = |number: usize| Subject::FunnelStep { funnel: uuid::Uuid::nil(), step: number as u16 + 1 };
            let measured: Vec<Measured> = exponents
                .iter()
                .enumerate()
                .map(|(number, exponent)| Measured {
                    subject: step(number),
                    evidence: vec![certain(10.0_f64.powf(-exponent))],
                })
                .collect();
            let mut left: Vec<(usize, f64)> = exponents.iter().map(|exponent| 10.0_f64.powf(-exponent)).enumerate().collect();
            let mut expected = Vec::new();
            while let Some(place) = (0..left.len()).min_by(|a, b| left[*a].1.total_cmp(&left[*b].1)) {
                if left[place].1 > THRESHOLDS.false_alarm / left.len() as f64 {
                    break;
                }
                expected.push(step(left.remove(place).0));
            }
            let found: Vec<Subject> = judge(&measured, &THRESHOLDS).iter().map(|alarm| alarm.subject).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn a_worse_figure_is_never_less_evidence(trials in 50_u64..2000, usual in 0.05_f64..0.95, a in 0.0_f64..1.0, b in 0.0_f64..1.0) {
            let reference = Count::new(trials * 8, (trials as f64 * 8.0 * usual) as u64);
            let p = |share: f64| {
                let now = Count::new(trials, (trials as f64 * share) as u64);
                chance_of_rate(Direction::Down, now, reference, 1.2)
            };
            let (worse, better) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(p(worse) <= p(better) + 1e-9, "{} {}", p(worse), p(better));
        }
    }
}
