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
    alarm.severity > past.severity && !is_old_news || now - past.resolved >= cool_down && !is_old_news
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
