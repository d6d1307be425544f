//! Time ranges of reports, in the days of a time zone.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{analysis::calendar::day_start, http::Problem};

/// Length of a range whose begin is not said.
const DAYS_DEFAULT: i64 = 30;

/// Which time a report is about.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RangeQuery {
    /// Begin, inclusive: RFC 3339, or a date for the begin of that day in the zone. 30 days before `to`
    /// when absent.
    #[param(example = "2026-03-01")]
    pub from: Option<String>,
    /// End: RFC 3339 (exclusive), or a date for the end of that day in the zone. Now when absent.
    #[param(example = "2026-03-31")]
    pub to: Option<String>,
    /// IANA name of the zone in which days begin; the site's when absent.
    #[param(example = "Europe/Vienna")]
    pub tz: Option<String>,
}

/// A half-open stretch of time, and the zone its days are cut in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeRange {
    /// Inclusive.
    pub from: DateTime<Utc>,
    /// Exclusive.
    pub to: DateTime<Utc>,
    pub tz: Tz,
}

impl RangeQuery {
    /// Works out the range.
    ///
    /// # Errors
    /// 400 `invalid_time` or `invalid_timezone` names the parameter; `invalid_range` when it is empty.
    pub fn resolve(&self, site_timezone: &str, now: DateTime<Utc>) -> Result<TimeRange, Problem> {
        let tz = parse_zone(self.tz.as_deref().unwrap_or(site_timezone))?;
        let to = match self.to.as_deref() {
            Some(text) => parse_time("to", text, tz, DayEdge::End)?,
            None => now,
        };
        let from = match self.from.as_deref() {
            Some(text) => parse_time("from", text, tz, DayEdge::Begin)?,
            None => to - TimeDelta::days(DAYS_DEFAULT),
        };
        if from >= to {
            return Err(Problem::bad_request("invalid_range", "from: must be before to"));
        }
        Ok(TimeRange { from, to, tz })
    }
}

/// Which end of a day a plain date means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayEdge {
    Begin,
    /// The begin of the next day.
    End,
}

/// Returns the zone of an IANA name.
///
/// # Errors
/// 400 `invalid_timezone`.
pub fn parse_zone(name: &str) -> Result<Tz, Problem> {
    name.parse().map_err(|_| {
        Problem::bad_request(
            "invalid_timezone",
            "tz: must be an IANA time zone such as Europe/Vienna",
        )
    })
}

/// Reads a time of a parameter: RFC 3339, or a date in the zone. Years 1 to 9999.
///
/// # Errors
/// 400 `invalid_time`, which names the parameter.
pub fn parse_time(parameter: &str, text: &str, tz: Tz, edge: DayEdge) -> Result<DateTime<Utc>, Problem> {
    // An unescaped + of an offset arrives as a space.
    let time = DateTime::parse_from_rfc3339(&text.replacen(' ', "+", 1))
        .ok()
        .map(|time| time.to_utc())
        .or_else(|| {
            let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            match edge {
                DayEdge::Begin => day_start(date, tz),
                DayEdge::End => day_start(date.succ_opt()?, tz),
            }
        });
    time.filter(|time| (1..=9999).contains(&time.year()))
        .ok_or_else(|| {
            Problem::bad_request(
                "invalid_time",
                format!("{parameter}: must be RFC 3339 (2026-03-01T12:00:00Z) or a date (2026-03-01)"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn resolve(from: &str, to: &str, tz: &str) -> Result<TimeRange, Problem> {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        RangeQuery {
            from: given(from),
            to: given(to),
            tz: given(tz),
        }
        .resolve("UTC", utc("2026-03-15T10:00:00Z"))
    }

    #[test]
    fn without_parameters_it_is_the_last_thirty_days() {
        let range = resolve("", "", "").unwrap();
        assert_eq!(range.from, utc("2026-02-13T10:00:00Z"));
        assert_eq!(range.to, utc("2026-03-15T10:00:00Z"));
    }

    #[test]
    fn dates_are_whole_days_of_the_zone() {
        let range = resolve("2026-01-05", "2026-01-05", "Europe/Vienna").unwrap();
        assert_eq!(range.from, utc("2026-01-04T23:00:00Z"));
        assert_eq!(range.to, utc("2026-01-05T23:00:00Z"));
    }

    #[test]
    fn a_day_of_a_clock_change_has_23_or_25_hours() {
        for (day, hours) in [("2026-03-29", 23), ("2026-10-25", 25)] {
            let range = resolve(day, day, "Europe/Vienna").unwrap();
            assert_eq!(range.to - range.from, TimeDelta::hours(hours), "{day}");
        }
    }

    #[test]
    fn an_offset_whose_plus_became_a_space_is_understood() {
        let range = resolve("2026-03-01T00:00:00 02:00", "2026-03-02T00:00:00Z", "").unwrap();
        assert_eq!(range.from, utc("2026-02-28T22:00:00Z"));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (from, to, tz, code) in [
            ("yesterday", "", "", "invalid_time"),
            ("2026-02-30", "", "", "invalid_time"),
            ("+262142-01-01", "", "", "invalid_time"),
            ("", "9999-12-31", "Pacific/Honolulu", "invalid_time"),
            ("", "", "Mars/Olympus", "invalid_timezone"),
            ("2026-03-02", "2026-03-01", "", "invalid_range"),
            (
                "2026-03-02T00:00:00Z",
                "2026-03-02T00:00:00Z",
                "",
                "invalid_range",
            ),
        ] {
            assert_eq!(
                resolve(from, to, tz).unwrap_err().code(),
                code,
                "{from} {to} {tz}"
            );
        }
    }
}
