//! Times as other systems write them.

use chrono::{
    DateTime, NaiveDateTime, NaiveTime, TimeZone as _, Utc,
    format::{Fixed, Item, Numeric, Parsed, StrftimeItems, parse},
};
use chrono_tz::Tz;
use serde_json::Value;

use super::mapping::MappingError;

/// Numbers from here on are microseconds, and from the second on nanoseconds: in milliseconds the first is
/// the year 5138, in microseconds it is 1973.
const MICROSECONDS_FROM: f64 = 1e14;
const NANOSECONDS_FROM: f64 = 1e17;
const SECONDS_BELOW: f64 = 1e11;

/// Forms without a zone that are recognised when a zone is given.
const LOCAL_FORMS: [&str; 4] = [
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
];

const NO_TIME: &str = "The time is not of the form the import expects: see --time-format.";
const NO_ZONE: &str = "The time says no zone: give --timezone.";
const SKIPPED: &str = "The clock of the time zone skipped this time.";
const ABSURD: &str = "The time must lie between the years 1900 and 9999.";

/// How the times of a file are read.
#[derive(Clone, Debug)]
pub struct TimeFormat {
    form: Form,
    zone: Option<Tz>,
}

#[derive(Clone, Debug)]
enum Form {
    Auto,
    Rfc3339,
    /// A number of units since 1970, with how many microseconds a unit has.
    Epoch(f64),
    Pattern(String),
}

impl TimeFormat {
    /// Reads `auto`, `rfc3339`, `epoch-s`, `epoch-ms`, `epoch-us`, `epoch-ns` or a pattern of strftime.
    ///
    /// # Errors
    /// [`MappingError`] for other words, patterns with unknown parts, and patterns that leave the zone open
    /// when `zone` does not name it.
    pub fn new(text: &str, zone: Option<Tz>) -> Result<Self, MappingError> {
        let form = match text {
            "auto" => Form::Auto,
            "rfc3339" => Form::Rfc3339,
            "epoch-s" => Form::Epoch(1e6),
            "epoch-ms" => Form::Epoch(1e3),
            "epoch-us" => Form::Epoch(1.0),
            "epoch-ns" => Form::Epoch(1e-3),
            pattern if pattern.contains('%') => {
                check_pattern(pattern, zone.is_some())?;
                Form::Pattern(pattern.to_owned())
            }
            other => return Err(MappingError::TimeFormat(other.to_owned())),
        };
        Ok(Self { form, zone })
    }

    /// Reads a time; `None` for null and the empty text.
    ///
    /// # Errors
    /// A sentence.
    pub fn read(&self, value: &Value) -> Result<Option<DateTime<Utc>>, &'static str> {
        let text = match value {
            Value::Null => return Ok(None),
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return Err(NO_TIME),
        };
        if text.is_empty() {
            return Ok(None);
        }
        let time = match &self.form {
            Form::Auto => self.read_any(&text)?,
            Form::Rfc3339 => read_rfc3339(&text).ok_or(NO_TIME)?,
            Form::Epoch(scale) => from_epoch(&text, *scale)?,
            Form::Pattern(pattern) => self.read_pattern(pattern, &text)?,
        };
        let year = chrono::Datelike::year(&time);
        if (1900..=9999).contains(&year) {
            Ok(Some(time))
        } else {
            Err(ABSURD)
        }
    }

    fn read_any(&self, text: &str) -> Result<DateTime<Utc>, &'static str> {
        if let Some(time) = read_rfc3339(text) {
            return Ok(time);
        }
        if let Some(number) = number(text) {
            let scale = match number.abs() {
                size if size < SECONDS_BELOW => 1e6,
                size if size < MICROSECONDS_FROM => 1e3,
                size if size < NANOSECONDS_FROM => 1.0,
                _ => 1e-3,
            };
            return from_epoch(text, scale);
        }
        let utc = text.strip_suffix(" UTC").or_else(|| text.strip_suffix('Z'));
        let local = LOCAL_FORMS
            .iter()
            .find_map(|form| self.read_pattern_in(form, utc.unwrap_or(text)));
        match (local, utc, self.zone) {
            (None, ..) => Err(NO_TIME),
            (Some(local), Some(_), _) => Ok(local.and_utc()),
            (Some(local), None, Some(zone)) => in_zone(local, zone),
            (Some(_), None, None) => Err(NO_ZONE),
        }
    }

    fn read_pattern_in(&self, pattern: &str, text: &str) -> Option<NaiveDateTime> {
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, StrftimeItems::new(pattern)).ok()?;
        naive(&parsed)
    }

    fn read_pattern(&self, pattern: &str, text: &str) -> Result<DateTime<Utc>, &'static str> {
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, StrftimeItems::new(pattern)).map_err(|_| NO_TIME)?;
        if let Ok(time) = parsed.to_datetime() {
            return Ok(time.to_utc());
        }
        let local = naive(&parsed).ok_or(NO_TIME)?;
        match self.zone {
            // Seconds since 1970 are of no zone.
            _ if parsed.timestamp().is_some() => Ok(local.and_utc()),
            Some(zone) => in_zone(local, zone),
            None => Err(NO_ZONE),
        }
    }
}

fn naive(parsed: &Parsed) -> Option<NaiveDateTime> {
    let offset = parsed.offset().unwrap_or(0);
    parsed
        .to_naive_datetime_with_offset(offset)
        .ok()
        .or_else(|| Some(parsed.to_naive_date().ok()?.and_time(NaiveTime::MIN)))
}

/// An hour that comes twice in autumn is taken as the first one.
fn in_zone(local: NaiveDateTime, zone: Tz) -> Result<DateTime<Utc>, &'static str> {
    let time = zone.from_local_datetime(&local).earliest().ok_or(SKIPPED)?;
    Ok(time.to_utc())
}

fn read_rfc3339(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

fn number(text: &str) -> Option<f64> {
    let numeric = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-'));
    text.parse().ok().filter(|_| numeric)
}

fn from_epoch(text: &str, scale: f64) -> Result<DateTime<Utc>, &'static str> {
    let microseconds = match text.parse::<i64>() {
        // Whole numbers stay whole: an f64 of nanoseconds would lose the microseconds.
        Ok(whole) if scale >= 1.0 => whole.checked_mul(scale as i64).ok_or(ABSURD)?,
        Ok(whole) => whole / (1.0 / scale).round() as i64,
        Err(_) => (number(text).ok_or(NO_TIME)? * scale).round() as i64,
    };
    DateTime::from_timestamp_micros(microseconds).ok_or(ABSURD)
}

fn check_pattern(pattern: &str, has_zone: bool) -> Result<(), MappingError> {
    let mut says_zone = false;
    for item in StrftimeItems::new(pattern) {
        match item {
            Item::Error => return Err(MappingError::TimePattern(pattern.to_owned())),
            Item::Numeric(Numeric::Timestamp, _)
            | Item::Fixed(
                Fixed::TimezoneOffset
                | Fixed::TimezoneOffsetColon
                | Fixed::TimezoneOffsetDoubleColon
                | Fixed::TimezoneOffsetTripleColon
                | Fixed::TimezoneOffsetColonZ
                | Fixed::TimezoneOffsetZ
                | Fixed::RFC2822
                | Fixed::RFC3339,
            ) => says_zone = true,
            // `%#z`, the lenient offset, is of a kind chrono keeps to itself.
            Item::Fixed(Fixed::Internal(_)) if pattern.contains("%#z") => says_zone = true,
            _ => {}
        }
    }
    if says_zone || has_zone {
        Ok(())
    } else {
        Err(MappingError::TimeZoneMissing(pattern.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(format: &str, zone: Option<&str>, value: Value) -> Result<String, &'static str> {
        let zone = zone.map(|zone| zone.parse().unwrap());
        let time = TimeFormat::new(format, zone).unwrap().read(&value)?;
        Ok(time.map_or_else(String::new, |time| time.to_rfc3339()))
    }

    #[test]
    fn every_usual_form_is_recognised() {
        for value in [
            json!("2023-11-14T22:13:20Z"),
            json!("2023-11-14T23:13:20+01:00"),
            json!(1_700_000_000),
            json!("1700000000"),
            json!(1_700_000_000_000_i64),
            json!(1_700_000_000_000_000_i64),
            json!("1700000000000000000"),
            json!(" 1700000000.0 "),
            json!("2023-11-14 22:13:20 UTC"),
        ] {
            let expected = Ok("2023-11-14T22:13:20+00:00".to_owned());
            assert_eq!(read("auto", None, value.clone()), expected, "{value}");
        }
        assert_eq!(read("auto", None, json!("")), Ok(String::new()));
    }

    #[test]
    fn a_time_without_a_zone_needs_one() {
        let time = json!("2026-07-01 12:00:00.25");
        assert_eq!(read("auto", None, time.clone()), Err(NO_ZONE));
        let oslo = Some("Europe/Oslo");
        assert_eq!(read("auto", oslo, time).unwrap(), "2026-07-01T10:00:00.250+00:00");
        assert!(matches!(
            TimeFormat::new("%d.%m.%Y %H:%M", None),
            Err(MappingError::TimeZoneMissing(_))
        ));
        let local = json!("01.07.2026 12:00");
        assert_eq!(
            read("%d.%m.%Y %H:%M", oslo, local).unwrap(),
            "2026-07-01T10:00:00+00:00"
        );
        assert_eq!(
            read("%d.%m.%Y", oslo, json!("01.07.2026")).unwrap(),
            "2026-06-30T22:00:00+00:00"
        );
        let log = json!("01/Jul/2026:12:00:00 +0200");
        assert_eq!(
            read("%d/%b/%Y:%H:%M:%S %z", None, log).unwrap(),
            "2026-07-01T10:00:00+00:00"
        );
        assert_eq!(
            read("%s", None, json!("1700000000")).unwrap(),
            "2023-11-14T22:13:20+00:00"
        );
    }

    #[test]
    fn the_changes_of_the_clock_are_known() {
        let oslo = Some("Europe/Oslo");
        assert_eq!(read("auto", oslo, json!("2026-03-29 02:30:00")), Err(SKIPPED));
        // The first of the two.
        assert_eq!(
            read("auto", oslo, json!("2026-10-25 02:30:00")).unwrap(),
            "2026-10-25T00:30:00+00:00"
        );
    }

    #[test]
    fn what_is_no_time_and_no_format_is_refused() {
        for value in [json!("yesterday"), json!(true), json!("12:00"), json!("NaN")] {
            assert_eq!(read("auto", None, value.clone()), Err(NO_TIME), "{value}");
        }
        assert_eq!(read("epoch-s", None, json!("99999999999999")), Err(ABSURD));
        assert_eq!(read("epoch-ms", None, json!(i64::MAX)), Err(ABSURD));
        assert_eq!(read("rfc3339", None, json!(1_700_000_000)), Err(NO_TIME));
        assert!(matches!(
            TimeFormat::new("iso", None),
            Err(MappingError::TimeFormat(_))
        ));
        assert!(matches!(
            TimeFormat::new("%Y-%Q", None),
            Err(MappingError::TimePattern(_))
        ));
    }
}
