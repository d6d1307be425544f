//! When an event happened: reading times and correcting a wrong clock.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

/// Numbers below this are seconds, others milliseconds: 1e11 s is the year 5138, 1e11 ms is 1973.
const SECONDS_BELOW: f64 = 1e11;

/// 1900-01-01 and the end of 9999, in microseconds since 1970. Outside of it nothing was ever tracked, and
/// inside of it no later sum can leave what PostgreSQL and RFC 3339 can hold.
const EARLIEST_US: i64 = -2_208_988_800_000_000;
const LATEST_US: i64 = 253_402_300_799_999_999;

/// A clock further off than this (ten years, in days) is not a clock but a placeholder such as 0, and
/// "correcting" by it would move good times; such a `sent_at` is ignored.
const OFFSET_DAYS_MAX: i64 = 3_653;

/// A request received up to this long after the client's clock says it was sent (5 s) was under way, which says
/// nothing about the clock. Taking that for an error would move the events of a slow request behind those of the
/// fast one after it; an unnoticed error of a few seconds moves all of a client's events alike.
const UNDER_WAY_MAX: TimeDelta = TimeDelta::seconds(5);

const UNREADABLE: &str =
    "The time must be RFC 3339 with a zone, as in 2026-01-31T12:00:00Z, or milliseconds since 1970.";
const ABSURD: &str = "The time must lie between the years 1900 and 9999.";

/// Reads RFC 3339 or a number (also as text) of milliseconds or seconds since 1970.
///
/// Whole microseconds, the precision of PostgreSQL; a leap second is the second after it. `None` for `null`
/// and the empty text.
pub(crate) fn read_time(value: &Value) -> Result<Option<DateTime<Utc>>, &'static str> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => {
            if let Some(whole) = number.as_i64() {
                return from_whole(whole).map(Some);
            }
            from_fraction(number.as_f64().ok_or(UNREADABLE)?).map(Some)
        }
        Value::String(text) => read_text(text.trim()),
        _ => Err(UNREADABLE),
    }
}

fn read_text(text: &str) -> Result<Option<DateTime<Utc>>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return from_microseconds(time.timestamp_micros()).map(Some);
    }
    if let Ok(whole) = text.parse::<i64>() {
        return from_whole(whole).map(Some);
    }
    let numeric = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-'));
    let fraction = text.parse::<f64>().ok().filter(|_| numeric).ok_or(UNREADABLE)?;
    from_fraction(fraction).map(Some)
}

fn from_whole(number: i64) -> Result<DateTime<Utc>, &'static str> {
    let scale = if (number.unsigned_abs() as f64) < SECONDS_BELOW {
        1_000_000
    } else {
        1_000
    };
    from_microseconds(number.checked_mul(scale).ok_or(ABSURD)?)
}

fn from_fraction(number: f64) -> Result<DateTime<Utc>, &'static str> {
    let scale = if number.abs() < SECONDS_BELOW { 1e6 } else { 1e3 };
    // The cast saturates, and the ends of i64 are refused as absurd.
    from_microseconds((number * scale).round() as i64)
}

fn from_microseconds(microseconds: i64) -> Result<DateTime<Utc>, &'static str> {
    if !(EARLIEST_US..=LATEST_US).contains(&microseconds) {
        return Err(ABSURD);
    }
    DateTime::from_timestamp_micros(microseconds).ok_or(ABSURD)
}

/// Cuts a time to the whole microseconds that PostgreSQL can hold.
pub(crate) fn truncate(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
}

/// Returns what must be added to the client's times to get the server's, one value for a whole request so
/// that the order of its events cannot change.
///
/// `None` without `sent_at`, with one that only the way here explains, or with one more than ten years off: the
/// times are then taken as they are.
pub(crate) fn clock_offset(received_at: DateTime<Utc>, sent_at: Option<DateTime<Utc>>) -> Option<TimeDelta> {
    let offset = truncate(received_at).signed_duration_since(truncate(sent_at?));
    let under_way = (TimeDelta::zero()..=UNDER_WAY_MAX).contains(&offset);
    (!under_way && offset.abs() <= TimeDelta::days(OFFSET_DAYS_MAX)).then_some(offset)
}

/// Returns the server's time of what the client's clock calls `time`; the future is clamped to the receipt.
pub(crate) fn correct(
    time: DateTime<Utc>,
    offset: Option<TimeDelta>,
    received_at: DateTime<Utc>,
) -> DateTime<Utc> {
    let corrected = match offset {
        Some(offset) => time.checked_add_signed(offset).unwrap_or(received_at),
        None => time,
    };
    truncate(corrected.min(received_at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn times_are_read_in_every_form() {
        let expected = at("2023-11-14T22:13:20Z");
        for value in [
            json!("2023-11-14T22:13:20Z"),
            json!(" 2023-11-14T23:13:20.0000009+01:00 "),
            json!(1_700_000_000_000_i64),
            json!("1700000000000"),
            json!(1_700_000_000),
            json!(1_700_000_000.0),
            json!("1700000000.0"),
        ] {
            assert_eq!(read_time(&value), Ok(Some(expected)), "{value}");
        }
        let half = Ok(Some(at("2023-11-14T22:13:20.5Z")));
        assert_eq!(read_time(&json!(1_700_000_000.5)), half);
        assert_eq!(read_time(&json!(1_700_000_000_500.0)), half);
        let leap = read_time(&json!("2016-12-31T23:59:60.5Z"));
        assert_eq!(leap, Ok(Some(at("2017-01-01T00:00:00.5Z"))));
        assert_eq!(read_time(&Value::Null), Ok(None));
        assert_eq!(read_time(&json!("  ")), Ok(None));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for value in [
            json!("yesterday"),
            json!("2023-11-14T22:13:20"),
            json!("2023-13-40T00:00:00Z"),
            json!("inf"),
            json!("NaN"),
            json!(true),
            json!([1_700_000_000]),
            json!(i64::MAX),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1e300),
            json!(-1e300),
            json!("0000-01-01T00:00:00Z"),
            json!("9".repeat(400)),
        ] {
            assert!(read_time(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_slow_request_does_not_overtake_the_next_one() {
        let arrive = |clicked: &str, sent: &str, received: &str| {
            let received = at(received);
            correct(at(clicked), clock_offset(received, Some(at(sent))), received)
        };
        let slow = arrive(
            "2026-01-01T12:00:00.1Z",
            "2026-01-01T12:00:00.2Z",
            "2026-01-01T12:00:04Z",
        );
        let fast = arrive(
            "2026-01-01T12:00:00.3Z",
            "2026-01-01T12:00:00.4Z",
            "2026-01-01T12:00:00.5Z",
        );
        assert!(slow < fast, "{slow} {fast}");
    }

    #[test]
    fn only_what_the_way_cannot_explain_is_an_error_of_the_clock() {
        let received = at("2026-01-01T12:00:00Z");
        for (ahead_us, corrected) in [(1, true), (0, false), (-5_000_000, false), (-5_000_001, true)] {
            let sent = received + TimeDelta::microseconds(ahead_us);
            let offset = clock_offset(received, Some(sent));
            assert_eq!(offset.is_some(), corrected, "{ahead_us}");
        }
    }

    #[test]
    fn one_offset_corrects_a_wrong_clock() {
        let received = at("2026-01-01T12:00:00Z");
        let offset = clock_offset(received, Some(at("2026-01-01T13:00:00.0000005Z")));
        assert_eq!(offset, Some(TimeDelta::hours(-1)));
        let corrected = correct(at("2026-01-01T12:59:58.25Z"), offset, received);
        assert_eq!(corrected, at("2026-01-01T11:59:58.25Z"));
        assert_eq!(correct(at("9999-12-31T23:59:59Z"), offset, received), received);
        assert_eq!(clock_offset(received, Some(DateTime::UNIX_EPOCH)), None);
        assert_eq!(clock_offset(received, None), None);
        let last = DateTime::<Utc>::MAX_UTC;
        assert_eq!(correct(last, Some(TimeDelta::days(3_000)), received), received);
    }

    proptest! {
        #[test]
        fn correction_keeps_the_order(
            first in EARLIEST_US..LATEST_US, second in EARLIEST_US..LATEST_US,
            sent in EARLIEST_US..LATEST_US, received in EARLIEST_US..LATEST_US,
        ) {
            let [first, second, sent, received] =
                [first, second, sent, received].map(|us| DateTime::from_timestamp_micros(us).unwrap());
            let offset = clock_offset(received, Some(sent));
            let [one, two] = [first, second].map(|time| correct(time, offset, received));
            let in_order = if first <= second { one <= two } else { two <= one };
            prop_assert!(in_order);
            prop_assert!(one <= received);
        }
    }
}
