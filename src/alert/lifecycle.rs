//! From an alarm of this hour to an alert with a life: opened once, made worse, and over when the figure is back.

use super::{
    judge::{Alarm, Measured, Severity, Thresholds, Window, is_back},
    subject::Subject,
};
use crate::analysis::series::Hour;

/// Evaluations in a row that must find the figure back before an alert resolves by itself.
pub const QUIET_EVALUATIONS: u16 = 2;

/// The open alert of a subject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Open {
    pub severity: Severity,
    pub window: Window,
    /// The relative deviation it was opened or made worse with.
    pub effect: f64,
    /// Evaluations in a row that found the figure back.
    pub quiet_evaluations: u16,
}

/// The last alert of a subject that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Past {
    pub severity: Severity,
    /// The hour it was resolved in.
    pub resolved: Hour,
}

/// What a subject's alerts were like before an evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct History {
    pub open: Option<Open>,
    pub past: Option<Past>,
}

/// What an evaluation does to a subject's alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Nothing,
    Open(Alarm),
    /// The alert is graver than before.
    Escalate(Alarm),
    /// It goes on.
    Confirm,
    /// So many evaluations in a row found the figure back.
    Calm(u16),
    Resolve,
}

/// Decides what becomes of a subject's alert at the evaluation in the hour `now`.
///
/// `measured` is `None` when nothing could be said: then an open alert stays as it is. For `cool_down` hours after
/// an alert only a graver one opens, and a day that began before the last alert was over opens none, since it holds
/// what that one told.
pub fn next(
    history: &History,
    measured: Option<&Measured>,
    alarm: Option<&Alarm>,
    now: Hour,
    cool_down: Hour,
    thresholds: &Thresholds,
) -> Step {
    match &history.open {
        Some(open) => continued(open, measured, alarm, thresholds),
        None => match alarm {
            Some(alarm) if may_open(history.past.as_ref(), alarm, now, cool_down) => Step::Open(*alarm),
            _ => Step::Nothing,
        },
    }
}

fn may_open(past: Option<&Past>, alarm: &Alarm, now: Hour, cool_down: Hour) -> bool {
    let Some(past) = past else { return true };
    let evidence = &alarm.evidence;
    let is_old_news = evidence.window == Window::Day && evidence.from < past.resolved;
    let has_cooled_down = now - past.resolved >= cool_down;
    !is_old_news && (has_cooled_down || alarm.severity > past.severity)
}

fn continued(
    open: &Open,
    measured: Option<&Measured>,
    alarm: Option<&Alarm>,
    thresholds: &Thresholds,
) -> Step {
    let Some(measured) = measured else {
        return Step::Nothing;
    };
    // A day still holds the bad hours when the last one shows that they are over.
    if is_back(measured, open.window, open.effect, thresholds) {
        let quiet = open.quiet_evaluations + 1;
        return if quiet >= QUIET_EVALUATIONS {
            Step::Resolve
        } else {
            Step::Calm(quiet)
        };
    }
    match alarm {
        Some(alarm) if alarm.severity > open.severity => Step::Escalate(*alarm),
        Some(_) => Step::Confirm,
        None if open.quiet_evaluations > 0 => Step::Calm(0),
        None => Step::Nothing,
    }
}

/// Returns what an evaluation sees of one subject.
pub fn find<'a>(
    subject: Subject,
    measured: &'a [Measured],
    alarms: &'a [Alarm],
) -> (Option<&'a Measured>, Option<&'a Alarm>) {
    (
        measured.iter().find(|one| one.subject == subject),
        alarms.iter().find(|one| one.subject == subject),
    )
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::{
        alert::{
            baseline::Calendar,
            judge::{judge, measure},
        },
        analysis::series::{Count, Hourly},
    };

    const THRESHOLDS: Thresholds = Thresholds {
        weeks_min: 3,
        rate_fall_min: 0.2,
        traffic_fall_min: 0.3,
        error_rise_min: 0.5,
        trials_min: 20,
        expected_min: 10.0,
        false_alarm: 1.0 / 8760.0,
    };

    const NOW: Hour = 500_000;

    /// Judges a conversion rate of 10 % of 1000 in earlier weeks, and these successes in the last hours.
    fn judged(last: &[u64]) -> (Option<Measured>, Option<Alarm>) {
        let mut series = Hourly::zeros(NOW - 6 * 168, NOW);
        series.counts.fill(Count::new(1000, 100));
        let hours = series.counts.len();
        for (place, successes) in last.iter().rev().enumerate() {
            series.counts[hours - 1 - place].successes = *successes;
        }
        let calendar = Calendar::new(NOW, Tz::UTC);
        let measured = measure(Subject::ConversionRate, &series, &calendar, &THRESHOLDS).unwrap();
        let alarms = judge(std::slice::from_ref(&measured), &THRESHOLDS);
        (Some(measured), alarms.first().copied())
    }

    fn step(history: &History, last: &[u64]) -> Step {
        let (measured, alarm) = judged(last);
        next(history, measured.as_ref(), alarm.as_ref(), NOW, 6, &THRESHOLDS)
    }

    fn open(severity: Severity, quiet_evaluations: u16) -> History {
        let open = Open {
            severity,
            window: Window::Hour,
            effect: -0.6,
            quiet_evaluations,
        };
        History {
            open: Some(open),
            past: None,
        }
    }

    fn past(severity: Severity, hours_ago: Hour) -> History {
        History {
            open: None,
            past: Some(Past {
                severity,
                resolved: NOW - hours_ago,
            }),
        }
    }

    #[test]
    fn an_alarm_opens_once_and_goes_on_until_it_is_graver() {
        assert!(
            matches!(step(&History::default(), &[40]), Step::Open(alarm) if alarm.severity == Severity::High)
        );
        assert_eq!(step(&open(Severity::High, 0), &[40]), Step::Confirm);
        assert!(matches!(
            step(&open(Severity::Medium, 0), &[40]),
            Step::Escalate(_)
        ));
        assert_eq!(step(&History::default(), &[97]), Step::Nothing);
    }

    #[test]
    fn an_alert_is_over_when_its_figure_is_back_twice_in_a_row() {
        assert_eq!(step(&open(Severity::High, 0), &[97]), Step::Calm(1));
        assert_eq!(step(&open(Severity::High, 1), &[97]), Step::Resolve);
        assert_eq!(step(&open(Severity::High, 1), &[40]), Step::Confirm);
        // Neither bad enough for an alarm nor good enough for the end.
        assert_eq!(step(&open(Severity::High, 1), &[85]), Step::Calm(0));
        assert_eq!(step(&open(Severity::High, 0), &[85]), Step::Nothing);
    }

    #[test]
    fn an_hour_that_is_back_ends_an_alert_while_its_day_is_still_bad() {
        let mut day = vec![40; 20];
        day.push(99);
        assert_eq!(
            judged(&day).1.map(|alarm| alarm.evidence.window),
            Some(Window::Day)
        );
        assert_eq!(step(&open(Severity::High, 1), &day), Step::Resolve);
        // That day then opens no alert of its own.
        assert_eq!(step(&past(Severity::Low, 6), &day), Step::Nothing);
        assert!(matches!(step(&past(Severity::Low, 24), &day), Step::Open(_)));
    }

    #[test]
    fn after_an_alert_only_a_graver_one_opens_until_it_has_cooled_down() {
        assert_eq!(step(&past(Severity::High, 5), &[40]), Step::Nothing);
        assert!(matches!(step(&past(Severity::High, 6), &[40]), Step::Open(_)));
        assert!(matches!(step(&past(Severity::Medium, 1), &[40]), Step::Open(_)));
    }

    #[test]
    fn without_data_an_open_alert_stays_as_it_is() {
        let step = next(&open(Severity::High, 1), None, None, NOW, 6, &THRESHOLDS);
        assert_eq!(step, Step::Nothing);
    }
}
