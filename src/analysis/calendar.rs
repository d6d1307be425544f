//! The calendar: days, weeks and months of an IANA time zone as instants. Pure.
//!
//! A day lasts from one local midnight to the next, so it has 23 or 25 hours where the clock changes. Weeks
//! start on Monday.

use chrono::{
    DateTime, Datelike, Days, LocalResult, Months, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta,
    TimeZone, Utc,
};
use chrono_tz::Tz;

/// How long one bucket of a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    Hour,
    Day,
    Week,
    Month,
}

/// One stretch of the calendar: `start` inclusive, `end` exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

/// Returns the buckets that `from..to` touches, in order and without a hole between them.
///
/// The first one starts at or before `from`, the last one ends at or after `to`. `None` when there would be
/// more than `buckets_max` of them, or when the range leaves the years a calendar can express.
pub fn buckets(
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    interval: Interval,
    zone: Tz,
    buckets_max: usize,
) -> Option<Vec<Bucket>> {
    let mut found = Vec::new();
    let mut start = floor(from, interval, zone)?;
    while start < to {
        if found.len() == buckets_max {
            return None;
        }
        let end = next(start, interval, zone)?;
        found.push(Bucket { start, end });
        start = end;
    }
    Some(found)
}

/// Returns the start of the bucket that holds `instant`.
pub fn floor(instant: DateTime<Utc>, interval: Interval, zone: Tz) -> Option<DateTime<Utc>> {
    let local = local(instant, zone)?;
    let day = local.date();
    match interval {
        Interval::Hour => instant.checked_sub_signed(past_the_hour(local)),
        Interval::Day => day_start(day, zone),
        Interval::Week => {
            let since_monday = u64::from(day.weekday().num_days_from_monday());
            day_start(day.checked_sub_days(Days::new(since_monday))?, zone)
        }
        Interval::Month => day_start(day.with_day(1)?, zone),
    }
}

/// Returns the range of the same length right before `from..to`.
///
/// A range of whole local days is moved by days, so that it stays one across a change of the clock.
pub fn previous(from: DateTime<Utc>, to: DateTime<Utc>, zone: Tz) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let first_day = local(from, zone)?.date();
    let end_day = local(to, zone)?.date();
    let whole_days = day_start(first_day, zone) == Some(from) && day_start(end_day, zone) == Some(to);
    let start = if whole_days {
        day_start(first_day.checked_sub_signed(end_day - first_day)?, zone)?
    } else {
        from.checked_sub_signed(to - from)?
    };
    // Years before 1 are none that the store knows.
    (start.year() >= 1).then_some((start, from))
}

/// Returns when a day begins in the zone: its first moment that exists.
///
/// Midnight happens twice where clocks go back over it (the earlier one counts) and not at all where they
/// go forward over it; one day was even left out as a whole (Samoa, 2011-12-30), and begins with the next.
/// `None` only at the ends of the calendar.
pub fn day_start(date: NaiveDate, tz: Tz) -> Option<DateTime<Utc>> {
    let midnight = date.and_time(NaiveTime::MIN);
    // No zone ever jumped by more than a day.
    (0..=25 * 60)
        .find_map(|minutes| {
            let local = midnight.checked_add_signed(TimeDelta::minutes(minutes))?;
            match tz.from_local_datetime(&local) {
                LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Some(time),
                LocalResult::None => None,
            }
        })
        .map(|time| time.to_utc())
}

/// Returns the start of the bucket after the one that starts at `start`.
fn next(start: DateTime<Utc>, interval: Interval, zone: Tz) -> Option<DateTime<Utc>> {
    let day = local(start, zone)?.date();
    let mut following = match interval {
        Interval::Hour => return next_hour(start, zone),
        Interval::Day => day.checked_add_days(Days::new(1))?,
        Interval::Week => day.checked_add_days(Days::new(7))?,
        Interval::Month => day.with_day(1)?.checked_add_months(Months::new(1))?,
    };
    // A zone that jumped over the date line skipped a whole date: that date has no bucket of its own.
    loop {
        let end = day_start(following, zone)?;
        if end > start {
            return Some(end);
        }
        following = following.checked_add_days(Days::new(1))?;
    }
}

/// Returns the next instant at which a local clock shows a full hour.
///
/// Most clocks change by whole hours, which leaves every bucket 60 minutes long; around a change by half an
/// hour one bucket has 90.
fn next_hour(start: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    let candidate = start.checked_add_signed(TimeDelta::hours(1))?;
    let past = past_the_hour(local(candidate, zone)?);
    if past.is_zero() {
        return Some(candidate);
    }
    candidate.checked_add_signed(TimeDelta::hours(1) - past)
}

fn past_the_hour(local: NaiveDateTime) -> TimeDelta {
    let since_midnight = local.time() - NaiveTime::MIN;
    since_midnight - TimeDelta::hours(since_midnight.num_hours())
}

fn local(instant: DateTime<Utc>, zone: Tz) -> Option<NaiveDateTime> {
    let offset = zone.offset_from_utc_datetime(&instant.naive_utc()).fix();
    instant.naive_utc().checked_add_offset(offset)
}

#[cfg(test)]
mod tests {
    use chrono_tz::{America, Asia, Australia, Europe, Pacific};

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn hours(buckets: &[Bucket]) -> Vec<i64> {
        buckets
            .iter()
            .map(|bucket| (bucket.end - bucket.start).num_hours())
            .collect()
    }

    fn days(from: &str, to: &str, zone: Tz) -> Vec<Bucket> {
        buckets(at(from), at(to), Interval::Day, zone, 100).expect("few enough")
    }

    #[test]
    fn days_have_23_and_25_hours_where_the_clock_changes() {
        let spring = days("2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z", Europe::Berlin);
        assert_eq!(hours(&spring), [24, 23, 24]);
        let autumn = days("2026-10-23T22:00:00Z", "2026-10-26T23:00:00Z", Europe::Berlin);
        assert_eq!(hours(&autumn), [24, 25, 24]);
        assert_eq!(autumn[1].start, at("2026-10-24T22:00:00Z"));
        assert_eq!(autumn[2].start, at("2026-10-25T23:00:00Z"));
    }

    #[test]
    fn the_hour_that_comes_twice_is_two_buckets() {
        let found = buckets(
            at("2026-10-25T00:00:00Z"),
            at("2026-10-25T03:00:00Z"),
            Interval::Hour,
            Europe::Berlin,
            100,
        )
        .unwrap();
        assert_eq!(hours(&found), [1, 1, 1]);
    }

    #[test]
    fn hours_of_a_half_hour_zone_start_on_its_own_full_hours() {
        let found = buckets(
            at("2026-05-01T10:10:00Z"),
            at("2026-05-01T11:00:00Z"),
            Interval::Hour,
            Asia::Kolkata,
            9,
        )
        .unwrap();
        assert_eq!(found[0].start, at("2026-05-01T09:30:00Z"));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_clock_change_of_half_an_hour_keeps_later_hours_full() {
        let found = buckets(
            at("2026-04-04T13:00:00Z"),
            at("2026-04-04T18:00:00Z"),
            Interval::Hour,
            Australia::Lord_Howe,
            20,
        )
        .unwrap();
        let minutes: Vec<i64> = found
            .iter()
            .map(|bucket| (bucket.end - bucket.start).num_minutes())
            .collect();
        assert_eq!(minutes, [60, 90, 60, 60, 60]);
        assert_eq!(found[2].start, at("2026-04-04T15:30:00Z"));
    }

    #[test]
    fn weeks_start_on_monday_and_months_on_the_first() {
        let weeks = buckets(
            at("2026-03-25T12:00:00Z"),
            at("2026-04-01T12:00:00Z"),
            Interval::Week,
            Europe::Berlin,
            100,
        )
        .unwrap();
        assert_eq!(weeks[0].start, at("2026-03-22T23:00:00Z"));
        assert_eq!(hours(&weeks), [167, 168]);
        let months = buckets(
            at("2026-02-10T00:00:00Z"),
            at("2026-03-31T22:00:00Z"),
            Interval::Month,
            Europe::Berlin,
            100,
        )
        .unwrap();
        assert_eq!(months[0].start, at("2026-01-31T23:00:00Z"));
        assert_eq!(months[1].end, at("2026-03-31T22:00:00Z"));
        assert_eq!(months.len(), 2);
    }

    #[test]
    fn a_day_without_midnight_starts_after_the_jump() {
        let found = days("2018-11-04T02:00:00Z", "2018-11-04T04:00:00Z", America::Sao_Paulo);
        assert_eq!(found[1].start, at("2018-11-04T03:00:00Z"));
        assert_eq!(hours(&found), [24, 23]);
    }

    #[test]
    fn a_day_without_midnight_begins_when_its_first_hour_does() {
        let date = NaiveDate::from_ymd_opt(2024, 3, 31).unwrap();
        assert_eq!(
            day_start(date, Tz::Asia__Beirut).unwrap(),
            at("2024-03-30T22:00:00Z")
        );
        let date = NaiveDate::from_ymd_opt(2018, 11, 4).unwrap();
        assert_eq!(
            day_start(date, Tz::America__Sao_Paulo).unwrap(),
            at("2018-11-04T03:00:00Z")
        );
    }

    #[test]
    fn a_midnight_that_happens_twice_is_the_first_one() {
        let date = NaiveDate::from_ymd_opt(2024, 11, 3).unwrap();
        assert_eq!(
            day_start(date, Tz::America__Havana).unwrap(),
            at("2024-11-03T04:00:00Z")
        );
    }

    #[test]
    fn a_day_that_was_left_out_begins_with_the_next() {
        let left_out = NaiveDate::from_ymd_opt(2011, 12, 30).unwrap();
        let next = NaiveDate::from_ymd_opt(2011, 12, 31).unwrap();
        assert_eq!(
            day_start(left_out, Tz::Pacific__Apia),
            day_start(next, Tz::Pacific__Apia)
        );
    }

    #[test]
    fn a_date_that_never_was_has_no_bucket() {
        let found = days("2011-12-29T12:00:00Z", "2011-12-31T09:00:00Z", Pacific::Apia);
        assert_eq!(hours(&found), [24, 24]);
    }

    #[test]
    fn too_many_buckets_are_refused() {
        let (from, to) = (at("2020-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
        assert_eq!(buckets(from, to, Interval::Hour, Tz::UTC, 1000), None);
        assert_eq!(
            buckets(
                DateTime::<Utc>::MIN_UTC,
                DateTime::<Utc>::MAX_UTC,
                Interval::Month,
                Tz::UTC,
                10
            ),
            None
        );
    }

    #[test]
    fn the_previous_period_keeps_whole_days_across_a_change() {
        let (start, end) = previous(
            at("2026-03-29T22:00:00Z"),
            at("2026-03-30T22:00:00Z"),
            Europe::Berlin,
        )
        .unwrap();
        assert_eq!(
            (start, end),
            (at("2026-03-28T23:00:00Z"), at("2026-03-29T22:00:00Z"))
        );
        let (start, _) = previous(at("2026-03-29T22:30:00Z"), at("2026-03-30T22:00:00Z"), Tz::UTC).unwrap();
        assert_eq!(start, at("2026-03-28T23:00:00Z"));
    }
}
