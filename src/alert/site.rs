//! The figures of the whole site, and where their changes sit.

use super::{
    evaluate::Series,
    judge::{Alarm, Window},
    subject::Subject,
};
use crate::{
    alert::baseline::{Calendar, WEEKS_MAX},
    analysis::{
        contrast::{Reason, reasons_of_fall, reasons_of_rate, segments},
        dimension::Dimension,
        series::{Count, Fates, HOUR, Hour, Hourly, site_series},
    },
    index::View,
};

/// Hours a baseline can look back, with one more week for its trend and one for clocks that change.
const HOURS_BACK: Hour = (WEEKS_MAX as Hour + 2) * 168;

/// Returns the site's series up to the hour `end`, which is not over.
pub fn series(view: &View, end: Hour) -> Vec<Series> {
    // The hour in which the index begins may be there in part only.
    let covered = view.covered_from.div_euclid(HOUR) + 1;
    let first = covered.max(end - HOURS_BACK);
    let counted = site_series(view, first, end);
    let arrivals = arrivals(&counted.conversions, &counted.events);
    vec![
        Series::new(Subject::Traffic, counted.conversions.clone()),
        Series::new(Subject::NoData, arrivals),
        Series::new(Subject::ConversionRate, counted.conversions),
        Series::new(Subject::ErrorRate, counted.errors),
    ]
}

/// Sessions as trials and events as successes, as a silence is judged by.
fn arrivals(sessions: &Hourly, events: &Hourly) -> Hourly {
    let first = sessions.first.min(events.first);
    let mut both = Hourly::zeros(first, sessions.end());
    for hour in first..both.end() {
        both.add(hour, Count::new(sessions.at(hour).trials, events.at(hour).trials));
    }
    both
}

/// Names the segments that an alarm about the site is concentrated in; none for an alarm about anything else.
pub fn reasons(view: &View, alarm: &Alarm, calendar: &Calendar) -> Vec<Reason> {
    let evidence = &alarm.evidence;
    let length = if evidence.window == Window::Day { 24 } else { 1 };
    let now = calendar.window(0, length, 0);
    let reference: Vec<Hour> = (1..=evidence.weeks)
        .flat_map(|week| calendar.window(week, length, 0))
        .copied()
        .collect();
    let fates = Fates::new(view);
    match alarm.subject {
        Subject::Traffic => {
            let segments = segments(view, now, &reference, |_| false);
            reasons_of_fall(&segments, evidence.expected)
        }
        Subject::ConversionRate => {
            let segments = segments(view, now, &reference, |session| fates.of(session).converted);
            reasons_of_rate(&segments)
        }
        Subject::ErrorRate => {
            let mut segments = segments(view, now, &reference, |session| fates.of(session).had_error);
            // That sessions with errors have errors explains nothing.
            segments.retain(|segment| segment.dimension != Dimension::ScriptErrors);
            reasons_of_rate(&segments)
        }
        Subject::NoData | Subject::FunnelStep { .. } => Vec::new(),
    }
}
