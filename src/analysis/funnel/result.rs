//! Answers in numbers: steps, rates, times.

use serde::Serialize;
use utoipa::ToSchema;

use super::{tally::Tally, validation::Funnel};
use crate::{
    analysis::statistics::{TwoByTwo, quantile, rate},
    index::Micros,
};

/// Microseconds of a second.
const SECOND: f64 = 1e6;

/// Where buckets of the histogram begin, in seconds: about as even in the logarithm as round numbers are.
const BUCKETS: [i64; 18] = [
    0,
    10,
    30,
    60,
    2 * 60,
    5 * 60,
    10 * 60,
    30 * 60,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    4 * DAY,
    7 * DAY,
    30 * DAY,
    90 * DAY,
];
const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;

/// A funnel of one period.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FunnelOut {
    /// Who entered: people, or sessions if those are counted.
    pub entered: u64,
    /// Who reached the last step.
    pub converted: u64,
    /// `converted` by `entered`; absent below 30 people.
    pub conversion_rate: Option<f64>,
    /// Who was removed because of an exclusion; they are in no other number.
    pub removed: u64,
    pub steps: Vec<StepOut>,
    pub time_to_convert: TimeToConvert,
    /// The step that most people who did it did not leave for a later one; absent below 30 people.
    pub worst_step: Option<WorstStep>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct StepOut {
    pub number: usize,
    pub name: String,
    pub optional: bool,
    /// Who did the step.
    pub entered: u64,
    /// Who did a later one, too; at the last step, who did it.
    pub completed: u64,
    /// Who did no later one.
    pub abandoned: u64,
    /// `entered` by that of the first step; absent below 30 people there.
    pub rate_of_first: Option<f64>,
    /// `entered` by that of the step before, optional ones passed over; absent below 30 people there, and at the first.
    pub rate_of_previous: Option<f64>,
    /// From this step to the next one that was done; absent when nobody went on.
    pub seconds_to_next: Option<Seconds>,
}

/// How long something took, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Seconds {
    pub mean: f64,
    pub median: f64,
    pub p90: f64,
}

/// From the entry to the last step.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TimeToConvert {
    /// Absent when nobody converted.
    pub seconds: Option<Seconds>,
    pub histogram: Vec<Bucket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Bucket {
    /// Inclusive.
    pub from_seconds: i64,
    /// Exclusive, but for the last bucket, which ends with the window.
    pub to_seconds: i64,
    pub count: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct WorstStep {
    pub number: usize,
    pub name: String,
    pub abandoned: u64,
    /// `abandoned` by who did the step.
    pub rate: f64,
}

/// The same funnel in the period of equal length just before.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Comparison {
    pub previous: FunnelOut,
    /// Conversion rate now less that before, in percentage points; absent below 30 people in either.
    pub change_points: Option<f64>,
    /// How probable a difference at least as large is if nothing changed (likelihood-ratio test, or Fisher's exact test
    /// where few are expected); absent below 30 people in either.
    pub p_value: Option<f64>,
}

impl FunnelOut {
    pub fn new(funnel: &Funnel, tally: Tally, removed: u64) -> Self {
        let (entered, converted) = (tally.entered(), tally.converted());
        let people = tally.steps.first().map_or(0, |step| step.people);
        let worst_step = worst_step(funnel, &tally);
        let Tally {
            steps,
            mut to_convert,
        } = tally;
        let mut out = Vec::new();
        let mut previous: Option<(u64, u64)> = None;
        for (at, mut step) in steps.into_iter().enumerate() {
            let optional = funnel.rules.optional >> at & 1 == 1;
            out.push(StepOut {
                number: at + 1,
                name: funnel.names[at].clone(),
                optional,
                entered: step.entered,
                completed: step.entered - step.stopped,
                abandoned: step.stopped,
                rate_of_first: rate(step.entered, entered, people),
                rate_of_previous: previous.and_then(|(whole, people)| rate(step.entered, whole, people)),
                seconds_to_next: seconds(&mut step.stays),
            });
            if !optional {
                previous = Some((step.entered, step.people));
            }
        }
        Self {
            entered,
            converted,
            conversion_rate: rate(converted, entered, people),
            removed,
            steps: out,
            time_to_convert: TimeToConvert {
                histogram: histogram(&to_convert, funnel.rules.window),
                seconds: seconds(&mut to_convert),
            },
            worst_step,
        }
    }
}

impl Comparison {
    pub fn new(now: &FunnelOut, previous: FunnelOut) -> Self {
        let both = now.conversion_rate.zip(previous.conversion_rate);
        let table = TwoByTwo {
            a: now.converted,
            b: previous.converted,
            c: now.entered - now.converted,
            d: previous.entered - previous.converted,
        };
        Self {
            change_points: both.map(|(now, before)| (now - before) * 100.0),
            p_value: both.map(|_| table.p_value()),
            previous,
        }
    }
}

fn worst_step(funnel: &Funnel, tally: &Tally) -> Option<WorstStep> {
    let mut worst: Option<WorstStep> = None;
    for (at, step) in tally.steps.iter().enumerate() {
        let Some(rate) = rate(step.stopped, step.entered, step.people) else {
            continue;
        };
        if step.stopped > 0 && worst.as_ref().is_none_or(|worst| worst.rate < rate) {
            worst = Some(WorstStep {
                number: at + 1,
                name: funnel.names[at].clone(),
                abandoned: step.stopped,
                rate,
            });
        }
    }
    worst
}

/// Sums up how long something took; `None` when it never happened.
pub(super) fn seconds(values: &mut [Micros]) -> Option<Seconds> {
    // A sum of whole numbers does not depend on their order.
    let sum: i128 = values.iter().copied().map(i128::from).sum();
    let count = values.len() as f64;
    Some(Seconds {
        median: quantile(values, 0.5)? / SECOND,
        p90: quantile(values, 0.9)? / SECOND,
        mean: sum as f64 / count / SECOND,
    })
}

fn histogram(values: &[Micros], window: Micros) -> Vec<Bucket> {
    let window_seconds = window / SECOND as i64;
    let starts = BUCKETS.iter().filter(|start| **start < window_seconds.max(1));
    let mut buckets: Vec<Bucket> = starts
        .map(|start| Bucket {
            from_seconds: *start,
            to_seconds: window_seconds,
            count: 0,
        })
        .collect();
    for at in 1..buckets.len() {
        buckets[at - 1].to_seconds = buckets[at].from_seconds;
    }
    for value in values {
        let seconds = value / SECOND as i64;
        let after = buckets.partition_point(|bucket| bucket.from_seconds <= seconds);
        buckets[after.saturating_sub(1)].count += 1;
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_fill_the_window_and_hold_everybody() {
        let minute = 60_000_000;
        let buckets = histogram(&[0, 9_999_999, 10_000_000, 45_000_000, minute], minute);
        let found: Vec<_> = buckets
            .iter()
            .map(|bucket| (bucket.from_seconds, bucket.to_seconds, bucket.count))
            .collect();
        assert_eq!(found, [(0, 10, 2), (10, 30, 1), (30, 60, 2)]);
    }

    #[test]
    fn times_are_in_seconds() {
        let expected = Seconds {
            mean: 3.0,
            median: 2.0,
            p90: 5.2,
        };
        assert_eq!(seconds(&mut [6_000_000, 1_000_000, 2_000_000]), Some(expected));
        assert_eq!(seconds(&mut []), None);
    }
}
