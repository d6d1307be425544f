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
pub(super) const HOURS_BACK: Hour = (WEEKS_MAX as Hour + 2) * 168;

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

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::{
        alert::{
            evaluate::{Findings, examine},
            judge::{Severity, Thresholds},
        },
        analysis::contrast::Change,
        index::{
            rows::flag,
            testing::{Story, Visit},
        },
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

    /// An hour early enough for the times of a story, which begin in 1970.
    const NOW: Hour = 20_000;

    /// What is wrong in the last day.
    #[derive(Clone, Copy, PartialEq)]
    enum Trouble {
        None,
        /// Nobody with a mobile buys.
        MobileCheckout,
        /// A campaign brings as many visitors again, who do not buy.
        Campaign,
        /// Every session of one browser has an error.
        Errors,
        /// Nothing comes.
        Silence,
    }

    /// Five weeks of a shop with 60 sessions an hour, half of them mobile, a fifth with a purchase.
    fn shop(trouble: Trouble) -> View {
        let mut story = Story::default();
        let mut person = 0;
        for hour in NOW - 5 * 168..NOW {
            let is_now = hour >= NOW - 24;
            if is_now && trouble == Trouble::Silence {
                continue;
            }
            let sessions = if is_now && trouble == Trouble::Campaign {
                120
            } else {
                60
            };
            for number in 0..sessions {
                person += 1;
                let is_mobile = number % 2 == 0;
                let is_campaign = number >= 60;
                let lost = is_campaign || is_now && trouble == Trouble::MobileCheckout && is_mobile;
                let buys = number % 10 < 2 && !lost;
                let browser = if number % 4 == 1 { "Safari" } else { "Firefox" };
                let fails = if is_now && trouble == Trouble::Errors && browser == "Safari" {
                    2
                } else {
                    30
                };
                let fails = number / 2 % fails == 0;
                let visit = Visit {
                    device_type: if is_mobile { "mobile" } else { "desktop" },
                    browser,
                    campaign: is_campaign.then_some("spring"),
                    flags: if buys { flag::CONVERTED } else { 0 }
                        | if fails { flag::SCRIPT_ERRORS } else { 0 },
                    ..Visit::default()
                };
                let start = hour * HOUR + number * 50_000_000 % HOUR;
                let event = if fails { "error" } else { "click" };
                let last = if buys { "purchase" } else { "click" };
                story.visit_as(
                    person,
                    visit,
                    &[
                        (start, "page_view", "/"),
                        (start + 1, event, "/"),
                        (start + 2, last, "/"),
                    ],
                );
            }
        }
        story.view()
    }

    fn look(view: &View) -> Findings {
        examine(&series(view, NOW), NOW, Tz::UTC, &THRESHOLDS)
    }

    /// An alarm with the first of its reasons.
    type Told = (Subject, Severity, Option<(Dimension, String, Change)>);

    fn told(trouble: Trouble) -> Vec<Told> {
        let view = shop(trouble);
        let findings = look(&view);
        let told = findings.alarms.iter().map(|alarm| {
            let reasons = reasons(&view, alarm, findings.calendar(alarm));
            let first = reasons.into_iter().next();
            let first =
                first.map(|reason| (reason.dimension, reason.value.unwrap_or_default(), reason.change));
            (alarm.subject, alarm.severity, first)
        });
        told.collect()
    }

    #[test]
    fn a_shop_without_trouble_has_no_alarm() {
        let findings = look(&shop(Trouble::None));
        assert_eq!(findings.measured.len(), 4);
        assert_eq!(findings.alarms, []);
    }

    #[test]
    fn a_broken_mobile_checkout_is_told_with_its_device() {
        let mobile = (Dimension::DeviceType, "mobile".to_owned(), Change::Rate);
        let told = told(Trouble::MobileCheckout);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(
            (told[0].0, told[0].2.clone()),
            (Subject::ConversionRate, Some(mobile))
        );
    }

    #[test]
    fn a_campaign_that_brings_nobody_who_buys_is_told_by_name() {
        let campaign = (Dimension::Campaign, "spring".to_owned(), Change::Mix);
        let told = told(Trouble::Campaign);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(
            (told[0].0, told[0].2.clone()),
            (Subject::ConversionRate, Some(campaign))
        );
    }

    #[test]
    fn errors_of_one_browser_are_told_with_it() {
        let browser = (Dimension::Browser, "Safari".to_owned(), Change::Rate);
        let told = told(Trouble::Errors);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(
            (told[0].0, told[0].2.clone()),
            (Subject::ErrorRate, Some(browser))
        );
    }

    #[test]
    fn silence_is_told_as_traffic_and_as_missing_data() {
        let told = told(Trouble::Silence);
        let subjects: Vec<_> = told
            .iter()
            .map(|(subject, severity, _)| (*subject, *severity))
            .collect();
        assert!(
            subjects.contains(&(Subject::NoData, Severity::Critical)),
            "{subjects:?}"
        );
        assert!(
            subjects.contains(&(Subject::Traffic, Severity::Critical)),
            "{subjects:?}"
        );
    }
}
