//! What a window is held against: the same hours of earlier weeks.
//!
//! "The same" is meant as people live: Tuesday at nine by the site's clock, summer and winter. Everything here stands
//! one odd week, since a sale or an outage last month must not be what this month is measured by.

use chrono::{DateTime, Days, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;

use crate::{
    analysis::{
        numeric::{median, two_proportions},
        series::{Count, Hour, Hourly},
    },
    config::BASELINE_WEEKS_MAX,
};

/// Earlier weeks that are looked at.
pub const WEEKS_MAX: usize = BASELINE_WEEKS_MAX as usize;

/// Hours of a week.
const WEEK: usize = 168;

/// Complete weeks before a trend is believed: of fewer, one odd week would make it.
const TREND_WEEKS_MIN: usize = 4;

/// Most that traffic is taken to grow or shrink by in a week.
const TREND_MAX: f64 = 1.25;

/// Standard errors by which a week's rate differs from the other weeks' when it is left out.
const ODD_WEEK: f64 = 3.0;

/// The hours of a week up to a moment, and the same hours of earlier weeks.
#[derive(Clone, Debug)]
pub struct Calendar {
    end: Hour,
    /// By number of weeks ago, 0 being this one; each from the newest hour to the oldest.
    weeks: Vec<Vec<Hour>>,
}

impl Calendar {
    /// Lays out the weeks before `end`, the first hour that is not looked at.
    pub fn new(end: Hour, zone: Tz) -> Self {
        let now: Vec<Hour> = (1..=WEEK as Hour).map(|back| end - back).collect();
        let local: Vec<NaiveDateTime> = now.iter().map(|hour| local_time(*hour, zone)).collect();
        let earlier = (1..=WEEKS_MAX as u64).map(|week| {
            let hours = local
                .iter()
                .map(|time| hour_at(*time - Days::new(7 * week), zone));
            hours.collect()
        });
        Self {
            end,
            weeks: std::iter::once(now.clone()).chain(earlier).collect(),
        }
    }

    /// Returns the first hour that is not looked at.
    pub fn end(&self) -> Hour {
        self.end
    }

    /// Returns how many earlier weeks a series covers whole.
    pub fn complete_weeks(&self, series: &Hourly) -> usize {
        let covers = |week: &&Vec<Hour>| week.last().is_some_and(|oldest| *oldest >= series.first);
        self.weeks[1..].iter().take_while(covers).count()
    }

    /// Returns the hours of a window that ends `skipped` windows before the end, some weeks ago.
    pub fn window(&self, week: usize, length: usize, skipped: usize) -> &[Hour] {
        &self.weeks[week][skipped * length..(skipped + 1) * length]
    }

    fn sum(&self, series: &Hourly, week: usize, length: usize, skipped: usize) -> Count {
        let mut sum = Count::default();
        for hour in self.window(week, length, skipped) {
            sum += series.at(*hour);
        }
        sum
    }
}

fn local_time(hour: Hour, zone: Tz) -> NaiveDateTime {
    let time = DateTime::from_timestamp(hour * 3600, 0).unwrap_or_default();
    time.with_timezone(&zone).naive_local()
}

/// Where a clock is put forward a time may not exist: then the hour after it stands for it.
fn hour_at(local: NaiveDateTime, zone: Tz) -> Hour {
    let found = zone.from_local_datetime(&local).earliest().or_else(|| {
        zone.from_local_datetime(&(local + chrono::TimeDelta::hours(1)))
            .earliest()
    });
    let time = found.map_or_else(|| local.and_utc(), |time| time.with_timezone(&Utc));
    time.timestamp().div_euclid(3600)
}

/// What a number of things is expected to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CountBaseline {
    pub observed: u64,
    /// Median of the earlier weeks, each brought to today's level.
    pub expected: f64,
    /// By how much counts vary beyond chance: their variance is `mean + dispersion · mean²`.
    pub dispersion: f64,
    pub weeks: usize,
}

impl CountBaseline {
    /// Compares the last `length` hours with the same hours of `weeks` earlier weeks.
    ///
    /// `length` must divide a week.
    pub fn of(series: &Hourly, calendar: &Calendar, length: usize, weeks: usize) -> Self {
        let growth = weekly_growth(series, calendar, weeks);
        let adjusted = |week: usize, skipped: usize| {
            let count = calendar.sum(series, week, length, skipped).trials as f64;
            count * growth.powi(week as i32)
        };
        let centre = |skipped: usize| {
            let mut values: Vec<f64> = (1..=weeks).map(|week| adjusted(week, skipped)).collect();
            median(&mut values).unwrap_or(0.0)
        };
        let centres: Vec<f64> = (0..WEEK / length).map(centre).collect();
        let mut by_week: Vec<f64> = (1..=weeks)
            .map(|week| {
                let (mut excess, mut squares) = (0.0, 0.0);
                for (skipped, centre) in centres.iter().enumerate() {
                    // Bringing a count to another level scales its chance by the same factor.
                    let chance = centre * growth.powi(week as i32);
                    excess += (adjusted(week, skipped) - centre).powi(2) * unbiased(weeks) - chance;
                    squares += centre * centre;
                }
                if squares > 0.0 { excess / squares } else { 0.0 }
            })
            .collect();
        Self {
            observed: calendar.sum(series, 0, length, 0).trials,
            expected: centres[0],
            dispersion: median(&mut by_week).unwrap_or(0.0).max(0.0),
            weeks,
        }
    }

    /// Returns the variance of a window with this mean, when the mean itself is known from few weeks only.
    pub fn variance(&self, mean: f64) -> f64 {
        (mean + self.dispersion * mean * mean) * known_from(self.weeks)
    }
}

/// Deviations from a centre that was taken from the same values are too small by this factor.
fn unbiased(weeks: usize) -> f64 {
    weeks as f64 / (weeks as f64 - 1.0).max(1.0)
}

/// A median of `n` normal values has π/2n of their variance, which comes on top of the window's own.
fn known_from(weeks: usize) -> f64 {
    1.0 + std::f64::consts::FRAC_PI_2 / weeks as f64
}

/// Returns by what factor the site's level changes in a week: the Theil–Sen slope of the logarithms of whole weeks, the
/// median over all pairs of weeks, which a few odd ones do not move.
fn weekly_growth(series: &Hourly, calendar: &Calendar, weeks: usize) -> f64 {
    if weeks < TREND_WEEKS_MIN {
        return 1.0;
    }
    let total = |week| calendar.sum(series, week, WEEK, 0).trials;
    let levels: Vec<f64> = (1..=weeks).map(|week| (total(week).max(1) as f64).ln()).collect();
    let mut slopes = Vec::new();
    for (near, level) in levels.iter().enumerate() {
        for (far, earlier) in levels.iter().enumerate().skip(near + 1) {
            slopes.push((level - earlier) / (far - near) as f64);
        }
    }
    let slope = median(&mut slopes).unwrap_or(0.0);
    slope.exp().clamp(1.0 / TREND_MAX, TREND_MAX)
}

/// What a share is expected to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateBaseline {
    pub observed: Count,
    /// The earlier weeks together, without odd ones.
    pub reference: Count,
    /// How many times larger than by chance alone the variance between weeks is; at least 1.
    pub dispersion: f64,
    pub weeks: usize,
}

impl RateBaseline {
    /// Compares the last `length` hours with the same hours of `weeks` earlier weeks.
    ///
    /// `length` must divide a week.
    pub fn of(series: &Hourly, calendar: &Calendar, length: usize, weeks: usize) -> Self {
        let windows: Vec<Vec<Count>> = (0..WEEK / length)
            .map(|skipped| {
                (1..=weeks)
                    .map(|week| calendar.sum(series, week, length, skipped))
                    .collect()
            })
            .collect();
        let references: Vec<Count> = windows.iter().map(|weeks| without_odd_weeks(weeks)).collect();
        let mut by_week: Vec<f64> = (0..weeks)
            .map(|week| {
                let (mut deviations, mut chances) = (0.0, 0.0);
                for (window, reference) in windows.iter().zip(&references) {
                    let (count, rate) = (window[week], reference.rate());
                    let trials = count.trials as f64;
                    deviations += (count.successes as f64 - trials * rate).powi(2);
                    chances += trials * rate * (1.0 - rate);
                }
                if chances > 0.0 {
                    deviations / chances * unbiased(weeks)
                } else {
                    1.0
                }
            })
            .collect();
        Self {
            observed: calendar.sum(series, 0, length, 0),
            reference: references[0],
            dispersion: median(&mut by_week).unwrap_or(1.0).max(1.0),
            weeks,
        }
    }
}

/// Adds up weeks, leaving out the one that differs most from the others while it differs too much and more than half of
/// the weeks remain.
pub(super) fn without_odd_weeks(weeks: &[Count]) -> Count {
    let mut kept: Vec<Count> = weeks.to_vec();
    while kept.len() > 2 && kept.len() - 1 > weeks.len() / 2 {
        let total = sum(&kept);
        let oddness = |count: &Count| {
            let others = Count::new(total.trials - count.trials, total.successes - count.successes);
            two_proportions(*count, others, 1.0).abs()
        };
        let odd = kept
            .iter()
            .map(oddness)
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(&b.1));
        match odd {
            Some((place, oddness)) if oddness > ODD_WEEK => {
                kept.remove(place);
            }
            _ => break,
        }
    }
    sum(&kept)
}

fn sum(counts: &[Count]) -> Count {
    let mut sum = Count::default();
    counts.iter().for_each(|count| sum += *count);
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hour(time: &str) -> Hour {
        time.parse::<DateTime<Utc>>().unwrap().timestamp() / 3600
    }

    #[test]
    fn the_same_hour_is_meant_by_the_clock_on_the_wall() {
        // Vienna's clock was put forward on 29 March 2026: nine is 7:00 UTC after it and 8:00 before.
        let calendar = Calendar::new(hour("2026-03-31T08:00:00Z"), chrono_tz::Europe::Vienna);
        assert_eq!(calendar.window(0, 1, 0), [hour("2026-03-31T07:00:00Z")]);
        assert_eq!(calendar.window(1, 1, 0), [hour("2026-03-24T08:00:00Z")]);
        assert_eq!(calendar.window(8, 1, 0), [hour("2026-02-03T08:00:00Z")]);
    }

    #[test]
    fn an_hour_that_a_clock_skips_is_stood_for_by_the_next() {
        // A week before 5 April 02:30 Vienna time, that time did not exist.
        let calendar = Calendar::new(hour("2026-04-05T01:00:00Z"), chrono_tz::Europe::Vienna);
        assert_eq!(calendar.window(1, 1, 0), [hour("2026-03-29T01:00:00Z")]);
    }

    #[test]
    fn only_whole_weeks_count() {
        let end = hour("2026-06-15T00:00:00Z");
        let calendar = Calendar::new(end, Tz::UTC);
        let weeks = |first| calendar.complete_weeks(&Hourly::zeros(first, end));
        assert_eq!(weeks(end - 3 * 168), 2);
        assert_eq!(weeks(end - 3 * 168 + 1), 1);
        assert_eq!(weeks(end - 100 * 168), WEEKS_MAX);
        assert_eq!(weeks(end), 0);
    }

    /// Ten weeks of an even number each hour, times `level` of the week (0 = this one).
    fn steady(end: Hour, level: impl Fn(usize) -> f64) -> Hourly {
        let mut series = Hourly::zeros(end - 10 * 168, end);
        for hour in series.first..end {
            let week = ((end - 1 - hour) / 168) as usize;
            let trials = (100.0 * level(week)).round() as u64;
            series.add(hour, Count::new(trials, trials / 10));
        }
        series
    }

    #[test]
    fn one_odd_week_moves_neither_expectation_nor_spread() {
        let end = hour("2026-06-15T12:00:00Z");
        let calendar = Calendar::new(end, Tz::UTC);
        for odd in 1..=8 {
            let series = steady(end, |week| if week == odd { 0.1 } else { 1.0 });
            for length in [1, 24] {
                let count = CountBaseline::of(&series, &calendar, length, 8);
                assert_eq!(count.expected, 100.0 * length as f64);
                assert!(count.dispersion < 1e-9);
            }
        }
    }

    #[test]
    fn a_growing_site_is_expected_to_go_on_growing() {
        let end = hour("2026-06-15T12:00:00Z");
        let calendar = Calendar::new(end, Tz::UTC);
        let series = steady(end, |week| 1.05_f64.powi(-(week as i32)));
        let count = CountBaseline::of(&series, &calendar, 24, 8);
        assert_eq!(count.observed, 2400);
        assert!((count.expected - 2400.0).abs() < 24.0, "{}", count.expected);
    }

    #[test]
    fn a_week_with_another_rate_is_left_out_of_the_baseline() {
        let usual = Count::new(1000, 100);
        let broken = Count::new(1000, 5);
        assert_eq!(
            without_odd_weeks(&[usual, broken, usual, usual]),
            Count::new(3000, 300)
        );
        assert_eq!(without_odd_weeks(&[usual; 3]), Count::new(3000, 300));
        // Of two weeks nobody can say which is the odd one.
        assert_eq!(without_odd_weeks(&[usual, broken]), Count::new(2000, 105));
    }

    /// The hours of a window some weeks ago, one date after the other.
    fn slowly(end: Hour, length: i64, week: u64, zone: Tz) -> Vec<Hour> {
        let hours = (1..=length).map(|back| {
            let now = DateTime::from_timestamp((end - back) * 3600, 0).unwrap();
            let then = now.with_timezone(&zone).checked_sub_days(Days::new(7 * week));
            then.unwrap().timestamp() / 3600
        });
        hours.collect()
    }

    proptest! {
        /// Of three weeks there is no trend, and a median is the middle one.
        #[test]
        fn the_expected_number_is_the_middle_of_the_weeks(
            noise in prop::collection::vec(0_u64..200, 168 * 5),
            end in 491_000_i64..492_000,
            length in prop::sample::select(vec![1_usize, 24]),
        ) {
            // Times of the winter only, in which every local time exists once.
            let zone = chrono_tz::Europe::Vienna;
            let series = Hourly {
                first: end - 168 * 5,
                counts: noise.iter().map(|trials| Count::new(*trials, trials / 3)).collect(),
            };
            let calendar = Calendar::new(end, zone);
            let mut weeks: Vec<u64> = (1..=3)
                .map(|week| slowly(end, length as i64, week, zone).iter().map(|hour| series.at(*hour).trials).sum())
                .collect();
            weeks.sort_unstable();
            let baseline = CountBaseline::of(&series, &calendar, length, 3);
            prop_assert_eq!(baseline.expected, weeks[1] as f64);
            let now: u64 = slowly(end, length as i64, 0, zone).iter().map(|hour| series.at(*hour).trials).sum();
            prop_assert_eq!(baseline.observed, now);
            prop_assert!(baseline.dispersion >= 0.0);
        }

        /// Doubling what is observed of a share's baseline changes no share.
        #[test]
        fn a_share_does_not_depend_on_how_busy_the_site_is(
            noise in prop::collection::vec((1_u64..200, 0.0_f64..1.0), 168 * 5),
        ) {
            let end = 493_000;
            let counts = |times: u64| Hourly {
                first: end - 168 * 5,
                counts: noise.iter().map(|(trials, share)| {
                    let successes = (*trials as f64 * share) as u64;
                    Count::new(trials * times, successes * times)
                }).collect(),
            };
            let calendar = Calendar::new(end, Tz::UTC);
            // Two weeks: none is ever left out as odd.
            let (one, two) = (
                RateBaseline::of(&counts(1), &calendar, 24, 2),
                RateBaseline::of(&counts(2), &calendar, 24, 2),
            );
            prop_assert!((one.reference.rate() - two.reference.rate()).abs() < 1e-12);
            prop_assert!(one.dispersion >= 1.0 && two.dispersion >= one.dispersion - 1e-9);
        }
    }
}
