//! Typed readers of JSON values: lenient where there is one reading, strict where there are two.
//!
//! Each returns `None` for `null` and for the empty text, and a sentence when the value cannot be read.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use rust_decimal::Decimal;
use serde_json::Value;

pub(crate) type Read<T> = Result<Option<T>, &'static str>;

/// Digits of an amount, before and after the point together; what [`Decimal`] holds exactly.
const AMOUNT_DIGITS_MAX: usize = 28;
/// Texts of an array beyond these are cut off.
const TEXTS_MAX: usize = 50;
/// Beyond this an f64 no longer counts whole numbers one by one (2^53).
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

const NOT_WHOLE: &str = "The value must be a whole number.";
const NOT_NUMBER: &str = "The value must be a number.";
const OUT_OF_RANGE: &str = "The number is out of range.";
const NOT_TEXT: &str = "The value must be a text.";
const NOT_TEXTS: &str = "The value must be an array of texts.";
const NOT_AMOUNT: &str = "The value must be an amount: a decimal number of at most 28 digits, not negative, with a point and without separators.";
const NOT_PAIR: &str = "The value must be an array of two numbers.";

/// Reads a text; a number is taken as it is written.
pub(crate) fn text(value: &Value) -> Read<Cow<'_, str>> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => Ok(Some(Cow::Borrowed(text))),
        Value::Number(number) => Ok(Some(Cow::Owned(number.to_string()))),
        _ => Err(NOT_TEXT),
    }
}

/// Reads an array of texts, or one text as an array of one. `true` when there were too many.
pub(crate) fn texts(value: &Value) -> Result<(Vec<String>, bool), &'static str> {
    let Value::Array(values) = value else {
        let text = text(value).map_err(|_| NOT_TEXTS)?;
        return Ok((text.into_iter().map(Cow::into_owned).collect(), false));
    };
    let mut texts = Vec::with_capacity(values.len().min(TEXTS_MAX));
    for value in values {
        texts.extend(text(value).map_err(|_| NOT_TEXTS)?.map(Cow::into_owned));
    }
    let too_many = texts.len() > TEXTS_MAX;
    texts.truncate(TEXTS_MAX);
    Ok((texts, too_many))
}

/// How a number with a fraction becomes a whole one.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fraction {
    /// Measures: pixels, percent, milliseconds.
    Rounded,
    /// Counts: a fraction makes no sense.
    Refused,
}

/// Reads a whole number within `range`.
pub(crate) fn whole<T>(value: &Value, fraction: Fraction, range: RangeInclusive<T>) -> Read<T>
where
    T: TryFrom<i64> + PartialOrd,
{
    let Some(number) = integer(value, fraction)? else {
        return Ok(None);
    };
    let number = T::try_from(number).map_err(|_| OUT_OF_RANGE)?;
    if range.contains(&number) {
        Ok(Some(number))
    } else {
        Err(OUT_OF_RANGE)
    }
}

fn integer(value: &Value, fraction: Fraction) -> Read<i64> {
    if let Some(number) = value.as_i64() {
        return Ok(Some(number));
    }
    if let Some(number) = value.as_str().and_then(|text| text.trim().parse().ok()) {
        return Ok(Some(number));
    }
    let Some(number) = float(value).map_err(|_| NOT_WHOLE)? else {
        return Ok(None);
    };
    if fraction == Fraction::Refused && number.fract() != 0.0 {
        return Err(NOT_WHOLE);
    }
    if number.abs() > WHOLE_MAX {
        return Err(OUT_OF_RANGE);
    }
    Ok(Some(number.round() as i64))
}

/// Reads a finite number within `range`.
pub(crate) fn number(value: &Value, range: RangeInclusive<f64>) -> Read<f64> {
    match float(value)? {
        Some(number) if !range.contains(&number) => Err(OUT_OF_RANGE),
        // Adding zero turns -0 into 0.
        number => Ok(number.map(|number| number + 0.0)),
    }
}

fn float(value: &Value) -> Read<f64> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => number.as_f64().map(Some).ok_or(NOT_NUMBER),
        Value::String(text) => {
            let text = text.trim();
            if text.is_empty() {
                return Ok(None);
            }
            // Keeps out "inf", "nan" and the like, which the parser would take.
            let numeric = text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
            let number = text
                .parse::<f64>()
                .ok()
                .filter(|number| numeric && number.is_finite());
            number.map(Some).ok_or(NOT_NUMBER)
        }
        _ => Err(NOT_NUMBER),
    }
}

/// Reads an amount of money exactly, never negative.
///
/// A JSON number with a fraction has gone through an f64 by the time it gets here. It was rounded correctly
/// (serde_json's `float_roundtrip`), so the shortest decimal text of the f64 is what the client wrote, as long
/// as that had at most 15 significant digits, and 9 999 999 999 999.99 has no more. Longer amounts come
/// exactly as text.
pub(crate) fn amount(value: &Value) -> Read<Decimal> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => {
            if let Some(whole) = number.as_u64() {
                return Ok(Some(Decimal::from(whole)));
            }
            // Unlike the text of the number, this one has no exponent.
            let text = number.as_f64().map(|float| float.to_string()).ok_or(NOT_AMOUNT)?;
            parse_amount(&text).map(Some)
        }
        Value::String(text) if text.trim().is_empty() => Ok(None),
        Value::String(text) => parse_amount(text.trim()).map(Some),
        _ => Err(NOT_AMOUNT),
    }
}

fn parse_amount(text: &str) -> Result<Decimal, &'static str> {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
    if !plain || digits == 0 || digits > AMOUNT_DIGITS_MAX {
        return Err(NOT_AMOUNT);
    }
    let amount = Decimal::from_str_exact(text).map_err(|_| NOT_AMOUNT)?;
    if amount.is_sign_negative() && !amount.is_zero() {
        return Err(NOT_AMOUNT);
    }
    Ok(amount.abs())
}

/// Reads `[a, b]`, an object with these two names, or (sizes only) `"1920x1080"`.
pub(crate) fn pair<T>(value: &Value, names: [&str; 2], range: RangeInclusive<T>) -> Read<(T, T)>
where
    T: TryFrom<i64> + PartialOrd + Clone,
{
    let halves = match value {
        Value::Null => return Ok(None),
        Value::Array(values) if values.len() == 2 => [values[0].clone(), values[1].clone()],
        Value::Object(object) => names.map(|name| object.get(name).cloned().unwrap_or_default()),
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => match text.split_once(['x', 'X', '×']) {
            Some((first, second)) => [first.into(), second.into()],
            None => return Err(NOT_PAIR),
        },
        _ => return Err(NOT_PAIR),
    };
    let [first, second] = halves.map(|half| whole(&half, Fraction::Rounded, range.clone()));
    match (first?, second?) {
        (Some(first), Some(second)) => Ok(Some((first, second))),
        _ => Err(NOT_PAIR),
    }
}

/// Reads an ISO 4217 code in any case.
pub(crate) fn currency(value: &Value) -> Read<String> {
    let Some(code) = text(value)? else {
        return Ok(None);
    };
    let code = code.trim();
    if code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Ok(Some(code.to_ascii_uppercase()));
    }
    Err("The currency must be an ISO 4217 code of three letters.")
}

/// Cuts a text to `max` characters; says whether it did.
pub(crate) fn cut(text: &mut String, max: usize) -> bool {
    if text.len() <= max {
        return false;
    }
    match text.char_indices().nth(max) {
        Some((end, _)) => {
            text.truncate(end);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_are_read() {
        let read = |value| whole::<i32>(&value, Fraction::Rounded, 0..=100);
        assert_eq!(read(json!(45)), Ok(Some(45)));
        assert_eq!(read(json!(45.6)), Ok(Some(46)));
        assert_eq!(read(json!(" 45 ")), Ok(Some(45)));
        assert_eq!(read(json!("4.5e1")), Ok(Some(45)));
        assert_eq!(read(json!(null)), Ok(None));
        assert_eq!(read(json!("")), Ok(None));
        for value in [
            json!("abc"),
            json!(true),
            json!([1]),
            json!({}),
            json!("NaN"),
            json!("inf"),
        ] {
            assert_eq!(read(value.clone()), Err(NOT_WHOLE), "{value}");
        }
        for value in [
            json!(101),
            json!(-1),
            json!(u64::MAX),
            json!(1e300),
            json!("99999999999999999999"),
        ] {
            assert_eq!(read(value.clone()), Err(OUT_OF_RANGE), "{value}");
        }
        assert_eq!(whole::<i32>(&json!(2.0), Fraction::Refused, 0..=9), Ok(Some(2)));
        assert_eq!(
            whole::<i32>(&json!(2.5), Fraction::Refused, 0..=9),
            Err(NOT_WHOLE)
        );
        assert_eq!(
            whole(&json!(i64::MAX), Fraction::Refused, i64::MIN..=i64::MAX),
            Ok(Some(i64::MAX))
        );
    }

    #[test]
    fn amounts_are_exact() {
        for (value, expected) in [
            (json!(19.99), "19.99"),
            (json!(0.1), "0.1"),
            (json!(100.0), "100"),
            (json!(9_999_999_999_999.99), "9999999999999.99"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(-0.0), "0"),
            (json!("19.90"), "19.90"),
            (json!(" 7 "), "7"),
            (
                json!("123456789012345678901234.5678"),
                "123456789012345678901234.5678",
            ),
        ] {
            let amount = amount(&value).unwrap().unwrap();
            assert_eq!(amount.to_string(), expected, "{value}");
        }
        for value in [
            json!(-1),
            json!(-0.01),
            json!("-1"),
            json!("1,299.00"),
            json!("$5"),
            json!("1e3"),
            json!("1_000"),
            json!("."),
            json!("1.2.3"),
            json!("--1"),
            json!(1e300),
            json!(1e-300),
            json!("1".repeat(29)),
            json!(true),
            json!([1]),
        ] {
            assert_eq!(amount(&value), Err(NOT_AMOUNT), "{value}");
        }
        assert_eq!(amount(&json!(" ")), Ok(None));
    }

    #[test]
    fn pairs_are_read_in_every_form() {
        let read = |value| pair::<i32>(&value, ["width", "height"], 0..=10_000);
        for value in [
            json!([1920, 1080.2]),
            json!(["1920", 1080]),
            json!({"width": 1920, "height": 1080}),
            json!("1920x1080"),
        ] {
            assert_eq!(read(value.clone()), Ok(Some((1920, 1080))), "{value}");
        }
        assert_eq!(read(json!(null)), Ok(None));
        for value in [
            json!([1, 2, 3]),
            json!([1]),
            json!([1, null]),
            json!({"x": 1, "y": 2}),
            json!("big"),
            json!(5),
        ] {
            assert!(read(value.clone()).is_err(), "{value}");
        }
        assert_eq!(read(json!([-1, 5])), Err(OUT_OF_RANGE));
    }

    #[test]
    fn texts_and_currencies_are_read() {
        assert_eq!(text(&json!("a")), Ok(Some("a".into())));
        assert_eq!(text(&json!(12)), Ok(Some("12".into())));
        assert_eq!(text(&json!("")), Ok(None));
        assert!(text(&json!(true)).is_err());
        assert_eq!(
            texts(&json!(["a", null, 1])),
            Ok((vec!["a".into(), "1".into()], false))
        );
        assert_eq!(texts(&json!("a")), Ok((vec!["a".into()], false)));
        assert_eq!(
            texts(&json!(vec!["a"; 60])).unwrap(),
            (vec!["a".to_owned(); 50], true)
        );
        assert!(texts(&json!([{"field": "a"}])).is_err());
        assert_eq!(currency(&json!(" eur")), Ok(Some("EUR".into())));
        assert!(currency(&json!("euro")).is_err());
        assert!(currency(&json!("€€€")).is_err());
        assert_eq!(number(&json!("1.5"), 0.0..=2.0), Ok(Some(1.5)));
        assert_eq!(number(&json!(-1), 0.0..=2.0), Err(OUT_OF_RANGE));
    }

    proptest! {
        #[test]
        fn cutting_ends_at_a_character(source in ".{0,40}", max in 0_usize..50) {
            let mut text = source.clone();
            let was_cut = cut(&mut text, max);
            prop_assert!(source.starts_with(&text));
            prop_assert_eq!(was_cut, source.chars().count() > max);
            prop_assert_eq!(text.chars().count(), source.chars().count().min(max));
        }

        #[test]
        fn an_amount_of_cents_survives_json(cents in 0_u64..100_000_000_000_000) {
            let text = format!("{}.{:02}", cents / 100, cents % 100);
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(amount(&value).unwrap().unwrap(), Decimal::from_str_exact(&text).unwrap());
        }
    }
}
