//! How many people come back.
//!
//! People who came, or bought, for the first time in the same day, week or month are a cohort; of each, how many did
//! something again so many days, weeks or months later. The definitions are in docs/analysis/retention.md.

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    calendar::{self, Bucket, Interval},
    counted::Counted,
    scope::Scope,
};
use crate::index::{Micros, Person, Session, View, rows::flag};

/// Cohorts at most: a year of days, and a little.
pub const COHORTS_MAX: usize = 400;
/// Periods after the first at most.
pub const PERIODS_MAX: usize = 100;
/// Periods after the first when nothing is said.
pub const PERIODS_DEFAULT: usize = 12;
/// Below this many people no share is claimed.
pub const PEOPLE_MIN: u64 = 30;

/// What puts somebody into a cohort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// When the person was first seen.
    #[default]
    FirstVisit,
    /// When the first session with a purchase began.
    FirstPurchase,
}

/// What counts as coming back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Return {
    /// A session begins.
    #[default]
    Visit,
    /// A session with a purchase begins.
    Purchase,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// How long a cohort and a period are.
    pub interval: Interval,
    pub zone: Tz,
    pub entry: Entry,
    pub returned: Return,
    /// Periods after the first.
    pub periods: usize,
    pub now: DateTime<Utc>,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetentionError {
    #[error("periods: must be from 0 to {PERIODS_MAX}")]
    Periods,
    #[error("The period has more than {COHORTS_MAX} cohorts: choose a longer interval or a shorter period.")]
    Cohorts,
}

/// One period of a cohort.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Cell {
    /// Days, weeks or months after that of the cohort.
    pub period: usize,
    /// False when the time asked for, or the present, ends before the period does: its figures may still grow.
    pub complete: bool,
    /// People who came back in it.
    pub returned: u64,
    /// People who came back in it or later.
    pub returned_or_later: u64,
    /// Of the cohort. `null` below 30 people.
    pub share: Option<f64>,
    /// Of the cohort. `null` below 30 people.
    pub share_or_later: Option<f64>,
}

/// People who began in the same day, week or month.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Cohort {
    /// Inclusive.
    pub start: DateTime<Utc>,
    /// Exclusive.
    pub end: DateTime<Utc>,
    /// False when the time asked for, or the present, begins or ends inside of it.
    pub complete: bool,
    /// False when it begins before what the index covers: people of whom nothing is left are missing.
    pub covered: bool,
    pub size: u64,
    /// As many as there are until the end of the time asked for.
    pub periods: Vec<Cell>,
}

/// One period of all cohorts for which it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Overall {
    pub period: usize,
    /// Size of these cohorts.
    pub people: u64,
    pub returned: u64,
    pub returned_or_later: u64,
    /// `null` below 30 people.
    pub share: Option<f64>,
    /// `null` below 30 people.
    pub share_or_later: Option<f64>,
}

/// How many people come back.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Retention {
    /// One for each day, week or month that the time asked for touches, also those without people.
    pub cohorts: Vec<Cohort>,
    /// Empty when no cohort is complete.
    pub overall: Vec<Overall>,
}

/// Returns how many people of each cohort come back.
///
/// # Errors
/// [`RetentionError`] names the bound that is not kept.
pub fn retain(view: &View, scope: &Scope, question: &Question) -> Result<Retention, RetentionError> {
    if question.periods > PERIODS_MAX {
        return Err(RetentionError::Periods);
    }
    let buckets = buckets(scope, question).ok_or(RetentionError::Cohorts)?;
    let starts: Vec<Micros> = buckets
        .iter()
        .map(|bucket| bucket.start.timestamp_micros())
        .collect();
    let counted = Counted::new(view, scope);
    let walk = Walk {
        scope,
        counted: &counted,
        starts: &starts,
        question,
    };
    let tally = view.fold(
        || Tally::new(starts.len(), question.periods),
        |tally, person| walk.add(tally, person),
        Tally::merge,
    );
    let cohorts = tally.cohorts(view, scope, question, &buckets);
    let overall = overall(&cohorts);
    Ok(Retention { cohorts, overall })
}

fn buckets(scope: &Scope, question: &Question) -> Option<Vec<Bucket>> {
    let from = DateTime::from_timestamp_micros(scope.from)?;
    let to = DateTime::from_timestamp_micros(scope.to)?;
    calendar::buckets(from, to, question.interval, question.zone, COHORTS_MAX)
}

struct Walk<'a> {
    scope: &'a Scope,
    counted: &'a Counted<'a>,
    /// Begins of the cohorts.
    starts: &'a [Micros],
    question: &'a Question,
}

impl Walk<'_> {
    fn add(&self, tally: &mut Tally, person: Person<'_>) {
        if !self.counted.has_person(person) {
            return;
        }
        let Some((time, first)) = self.entry(person) else {
            return;
        };
        if !self.scope.contains(time) || !self.counted.meets(first) {
            return;
        }
        let cohort = self.bucket(time);
        tally.sizes[cohort] += 1;
        let mut latest = None;
        for session in person.sessions().filter(|session| self.is_return(*session, time)) {
            let period = Some(self.bucket(session.start()) - cohort);
            // Sessions come in the order they began, and so do their periods.
            if period > latest {
                latest = period;
                tally.add_return(cohort, period);
            }
        }
        tally.add_latest(cohort, latest);
    }

    /// Returns when the person enters a cohort, and the session with which.
    fn entry<'p>(&self, person: Person<'p>) -> Option<(Micros, Session<'p>)> {
        let mut sessions = person.sessions();
        match self.question.entry {
            Entry::FirstVisit => sessions.next().map(|session| (person.first_seen(), session)),
            Entry::FirstPurchase => sessions
                .find(|session| session.has(flag::CONVERTED))
                .map(|session| (session.start(), session)),
        }
    }

    fn is_return(&self, session: Session<'_>, since: Micros) -> bool {
        let is_wanted = match self.question.returned {
            Return::Visit => true,
            Return::Purchase => session.has(flag::CONVERTED),
        };
        is_wanted && session.start() >= since && self.scope.contains(session.start())
    }

    /// Returns the place of the bucket that holds a time of the scope.
    fn bucket(&self, time: Micros) -> usize {
        self.starts.partition_point(|start| *start <= time) - 1
    }
}

/// People by cohort, and by cohort and period.
#[derive(Debug)]
struct Tally {
    sizes: Vec<u64>,
    /// Periods of a cohort.
    width: usize,
    returned: Vec<u32>,
    /// By the latest period in which somebody came back.
    latest: Vec<u32>,
}

impl Tally {
    fn new(cohorts: usize, periods: usize) -> Self {
        let width = periods + 1;
        Self {
            sizes: vec![0; cohorts],
            width,
            returned: vec![0; cohorts * width],
            latest: vec![0; cohorts * width],
        }
    }

    fn add_return(&mut self, cohort: usize, period: Option<usize>) {
        if let Some(period) = period.filter(|period| *period < self.width) {
            self.returned[cohort * self.width + period] += 1;
        }
    }

    fn add_latest(&mut self, cohort: usize, period: Option<usize>) {
        if let Some(period) = period {
            self.latest[cohort * self.width + period.min(self.width - 1)] += 1;
        }
    }

    fn merge(&mut self, other: Self) {
        let sizes = self.sizes.iter_mut().zip(other.sizes);
        sizes.for_each(|(sum, count)| *sum += count);
        let cells = self.returned.iter_mut().chain(&mut self.latest);
        let others = other.returned.into_iter().chain(other.latest);
        cells.zip(others).for_each(|(sum, count)| *sum += count);
    }

    fn cohorts(&self, view: &View, scope: &Scope, question: &Question, buckets: &[Bucket]) -> Vec<Cohort> {
        let end = scope.to.min(question.now.timestamp_micros());
        let is_over = |bucket: &Bucket| bucket.end.timestamp_micros() <= end;
        let cohort = |(place, bucket): (usize, &Bucket)| {
            let start = bucket.start.timestamp_micros();
            let complete: Vec<bool> = buckets[place..].iter().map(is_over).collect();
            Cohort {
                start: bucket.start,
                end: bucket.end,
                complete: start >= scope.from && complete[0],
                covered: start >= view.covered_from,
                size: self.sizes[place],
                periods: self.cells(place, &complete),
            }
        };
        buckets.iter().enumerate().map(cohort).collect()
    }

    fn cells(&self, cohort: usize, complete: &[bool]) -> Vec<Cell> {
        let row = |cells: &[u32]| -> Vec<u64> {
            let cells = &cells[cohort * self.width..(cohort + 1) * self.width];
            cells.iter().map(|count| u64::from(*count)).collect()
        };
        let size = self.sizes[cohort];
        let (returned, latest) = (row(&self.returned), row(&self.latest));
        let cell = |(period, complete): (usize, &bool)| {
            let returned_or_later = latest[period..].iter().sum();
            Cell {
                period,
                complete: *complete,
                returned: returned[period],
                returned_or_later,
                share: share(returned[period], size),
                share_or_later: share(returned_or_later, size),
            }
        };
        complete.iter().enumerate().take(self.width).map(cell).collect()
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole >= PEOPLE_MIN).then(|| part as f64 / whole as f64)
}

fn overall(cohorts: &[Cohort]) -> Vec<Overall> {
    let mut periods: Vec<Overall> = Vec::new();
    for cohort in cohorts.iter().filter(|cohort| cohort.complete) {
        for cell in cohort.periods.iter().filter(|cell| cell.complete) {
            if periods.len() == cell.period {
                periods.push(Overall {
                    period: cell.period,
                    people: 0,
                    returned: 0,
                    returned_or_later: 0,
                    share: None,
                    share_or_later: None,
                });
            }
            let sum = &mut periods[cell.period];
            sum.people += cohort.size;
            sum.returned += cell.returned;
            sum.returned_or_later += cell.returned_or_later;
        }
    }
    for sum in &mut periods {
        sum.share = share(sum.returned, sum.people);
        sum.share_or_later = share(sum.returned_or_later, sum.people);
    }
    periods
}
