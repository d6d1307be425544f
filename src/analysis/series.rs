//! The site's figures by hour.
//!
//! A session belongs to the hour it began in. What happened in it counts when it came within an hour of its beginning
//! ([`MATURITY`]), so that a number never changes once two hours have passed, and the newest hour can be held against
//! one of last month.

use std::ops::AddAssign;

use crate::index::{Events, Micros, Session, View, rows::flag};

/// An hour.
pub const HOUR: Micros = 3_600_000_000;

/// How long after its beginning a session's purchase or error counts for its hour.
pub const MATURITY: Micros = HOUR;

/// Number of an hour since 1970 in UTC.
pub type Hour = i64;

/// Returns the hour a time lies in.
pub fn hour_of(time: Micros) -> Hour {
    time.div_euclid(HOUR)
}

/// How often something was tried, and how often it succeeded. Of what is only counted, the number of it is `trials`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub trials: u64,
    pub successes: u64,
}

impl Count {
    pub fn new(trials: u64, successes: u64) -> Self {
        Self { trials, successes }
    }

    /// Returns the share that succeeded; 0 without trials.
    pub fn rate(self) -> f64 {
        if self.trials == 0 {
            return 0.0;
        }
        self.successes as f64 / self.trials as f64
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.trials += other.trials;
        self.successes += other.successes;
    }
}

/// Counts of hours without a gap between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hourly {
    pub first: Hour,
    pub counts: Vec<Count>,
}

impl Hourly {
    /// Returns zeros for the hours from `first` to before `end`.
    pub fn zeros(first: Hour, end: Hour) -> Self {
        let hours = usize::try_from(end - first).unwrap_or(0);
        Self {
            first,
            counts: vec![Count::default(); hours],
        }
    }

    /// Returns the hour after the last one.
    pub fn end(&self) -> Hour {
        self.first + self.counts.len() as Hour
    }

    /// Returns the counts of an hour; nothing happened in those outside.
    pub fn at(&self, hour: Hour) -> Count {
        let place = usize::try_from(hour - self.first).ok();
        place
            .and_then(|place| self.counts.get(place))
            .copied()
            .unwrap_or_default()
    }

    /// Adds to an hour; passes over those outside.
    pub fn add(&mut self, hour: Hour, count: Count) {
        let place = usize::try_from(hour - self.first).ok();
        if let Some(known) = place.and_then(|place| self.counts.get_mut(place)) {
            *known += count;
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (known, more) in self.counts.iter_mut().zip(other.counts) {
            *known += more;
        }
    }

    /// Drops the hours before the first in which anything happened: the site was not measured then.
    pub(super) fn trim(mut self) -> Self {
        let empty = self.counts.iter().take_while(|count| count.trials == 0).count();
        self.counts.drain(..empty);
        self.first += empty as Hour;
        self
    }
}

/// The figures of the whole site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteSeries {
    /// Sessions by the hour they began in; those with a purchase are the successes.
    pub conversions: Hourly,
    /// The same sessions; those with a JavaScript error are the successes.
    pub errors: Hourly,
    /// Events by their own hour.
    pub events: Hourly,
}

/// What a session counts for among the site's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    pub converted: bool,
    pub had_error: bool,
}

/// Tells what became of sessions within [`MATURITY`].
#[derive(Clone, Copy, Debug)]
pub struct Fates {
    purchase: Option<u16>,
    error: Option<u16>,
}

impl Fates {
    pub fn new(view: &View) -> Self {
        let names = view.names();
        let find = |event_type| names.types.find(event_type).map(|found| found as u16);
        Self {
            purchase: find("purchase"),
            error: find("error"),
        }
    }

    pub fn of(self, session: Session<'_>) -> Fate {
        // The flag spares the walk over the events of nearly all sessions.
        let happened = |flag, event_type| {
            session.has(flag) && happened_soon(session.events(), session.start() + MATURITY, event_type)
        };
        Fate {
            converted: happened(flag::CONVERTED, self.purchase),
            had_error: happened(flag::SCRIPT_ERRORS, self.error),
        }
    }
}

fn happened_soon(events: Events<'_>, until: Micros, event_type: Option<u16>) -> bool {
    (0..events.len())
        .take_while(|at| events.time(*at) < until)
        .any(|at| Some(events.event_type(at)) == event_type)
}

/// Counts the site's figures for the hours from `first` to before `end`, without those before anything happened.
pub fn site_series(view: &View, first: Hour, end: Hour) -> SiteSeries {
    let fates = Fates::new(view);
    let start = || SiteSeries {
        conversions: Hourly::zeros(first, end),
        errors: Hourly::zeros(first, end),
        events: Hourly::zeros(first, end),
    };
    let counted = view.fold(
        start,
        |sum, person| {
            for session in person.sessions() {
                if hour_of(session.end()) < first || hour_of(session.start()) >= end {
                    continue;
                }
                let (hour, fate) = (hour_of(session.start()), fates.of(session));
                sum.conversions.add(hour, Count::new(1, fate.converted.into()));
                sum.errors.add(hour, Count::new(1, fate.had_error.into()));
                let events = session.events();
                for at in 0..events.len() {
                    sum.events.add(hour_of(events.time(at)), Count::new(1, 0));
                }
            }
        },
        |total, part| {
            total.conversions.merge(part.conversions);
            total.errors.merge(part.errors);
            total.events.merge(part.events);
        },
    );
    SiteSeries {
        conversions: counted.conversions.trim(),
        errors: counted.errors.trim(),
        events: counted.events.trim(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::testing::{Story, Visit};

    #[test]
    fn a_session_counts_in_its_first_hour_and_an_event_in_its_own() {
        let mut story = Story::default();
        let buyer = Visit {
            flags: flag::CONVERTED,
            ..Visit::default()
        };
        story.visit_as(
            1,
            buyer,
            &[(HOUR * 5 + 3, "page_view", "/"), (HOUR * 6 + 2, "purchase", "/")],
        );
        let late = Visit {
            flags: flag::CONVERTED | flag::SCRIPT_ERRORS,
            ..Visit::default()
        };
        story.visit_as(2, late, &[(HOUR * 6, "error", "/"), (HOUR * 7, "purchase", "/")]);
        let series = site_series(&story.view(), 0, 8);
        assert_eq!(series.conversions.first, 5);
        assert_eq!(
            series.conversions.counts,
            [(1, 1), (1, 0), (0, 0)].map(|(all, of)| Count::new(all, of))
        );
        assert_eq!(series.errors.at(6), Count::new(1, 1));
        assert_eq!(series.events.at(6), Count::new(2, 0));
        assert_eq!(series.events.at(7), Count::new(1, 0));
        assert_eq!(series.events.end(), 8);
    }

    proptest! {
        #[test]
        fn every_session_and_event_is_counted_once(visits in prop::collection::vec((0..40_u128, 0..HOUR * 30, 0..HOUR * 3, any::<bool>()), 1..60)) {
            let mut story = Story::default();
            for (person, start, length, buys) in &visits {
                let flags = if *buys { flag::CONVERTED } else { 0 };
                let last = if *buys { "purchase" } else { "click" };
                story.visit_as(*person, Visit { flags, ..Visit::default() }, &[(*start, "page_view", "/"), (start + length, last, "/")]);
            }
            let series = site_series(&story.view(), 4, 20);
            for hour in 4..20 {
                let begun = visits.iter().filter(|visit| visit.1 / HOUR == hour);
                let bought = begun.clone().filter(|visit| visit.3 && visit.2 < MATURITY).count() as u64;
                prop_assert_eq!(series.conversions.at(hour), Count::new(begun.count() as u64, bought));
                let times = visits.iter().flat_map(|visit| [visit.1, visit.1 + visit.2]);
                let events = times.filter(|time| time / HOUR == hour).count() as u64;
                prop_assert_eq!(series.events.at(hour).trials, events);
            }
        }
    }
}
