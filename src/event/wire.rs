//! From the bytes of a request to a batch of raw events.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::error::BodyError;
use super::time;

/// The raw events of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub events: Vec<Value>,
    /// The client's clock when it sent the request. `None` also when it could not be read: a bad clock must
    /// not cost the events.
    pub sent_at: Option<DateTime<Utc>>,
}

impl Batch {
    /// Refuses a batch of more than `max` events.
    ///
    /// # Errors
    /// [`BodyError::TooManyEvents`].
    pub fn check_size(&self, max: usize) -> Result<(), BodyError> {
        let count = self.events.len();
        if count > max {
            return Err(BodyError::TooManyEvents { count, max });
        }
        Ok(())
    }
}

/// Reads a body: one event, an array of events, or `{"events": […], "sent_at": …}`.
///
/// An object with both `events` and `event_type` is one event. A leading byte order mark is skipped. A lone
/// surrogate escape, as a browser writes when it cuts a text inside an emoji, is read as U+FFFD.
///
/// # Errors
/// [`BodyError`]; the number of events is for [`Batch::check_size`] to judge.
pub fn parse_body(bytes: &[u8]) -> Result<Batch, BodyError> {
    let text = std::str::from_utf8(bytes).map_err(BodyError::InvalidUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let batch = match parse_json(text)? {
        Value::Array(events) => Batch {
            events,
            sent_at: None,
        },
        Value::Object(object) => read_object(object)?,
        _ => return Err(BodyError::NotEvents),
    };
    if batch.events.is_empty() {
        return Err(BodyError::EmptyBatch);
    }
    Ok(batch)
}

fn read_object(mut object: Map<String, Value>) -> Result<Batch, BodyError> {
    let sent_at = object
        .remove("sent_at")
        .and_then(|value| time::read_time(&value).ok().flatten());
    if object.contains_key("event_type") {
        return Ok(Batch {
            events: vec![Value::Object(object)],
            sent_at,
        });
    }
    match object.remove("events") {
        Some(Value::Array(events)) => Ok(Batch { events, sent_at }),
        Some(_) => Err(BodyError::NotEvents),
        // Without a type it is still an event, to be refused by name.
        None => Ok(Batch {
            events: vec![Value::Object(object)],
            sent_at,
        }),
    }
}

fn parse_json(text: &str) -> Result<Value, BodyError> {
    serde_json::from_str(text)
        .or_else(|error| match mend_surrogates(text) {
            Some(mended) => serde_json::from_str(&mended),
            None => Err(error),
        })
        .map_err(classify)
}

/// serde_json has no public kind for its depth limit, only the text.
fn classify(error: serde_json::Error) -> BodyError {
    if error.to_string().starts_with("recursion limit exceeded") {
        return BodyError::NestingTooDeep;
    }
    BodyError::InvalidJson(error)
}

/// Replaces escapes of surrogates that have no partner by `\ufffd`; `None` when there are none.
fn mend_surrogates(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut mended = String::new();
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        let width = match (surrogate(bytes, at), surrogate(bytes, at + 6)) {
            (Some(Half::Leading), Some(Half::Trailing)) => 12,
            (Some(_), _) => {
                mended.push_str(&text[copied..at]);
                mended.push_str("\\ufffd");
                copied = at + 6;
                6
            }
            (None, _) => 2,
        };
        at += width;
    }
    if copied == 0 {
        return None;
    }
    mended.push_str(&text[copied..]);
    Some(mended)
}

enum Half {
    Leading,
    Trailing,
}

/// Reads the escape `\uD800` to `\uDFFF` at `at`.
fn surrogate(bytes: &[u8], at: usize) -> Option<Half> {
    let escape = bytes.get(at..at + 6)?;
    if escape[0] != b'\\'
        || escape[1] != b'u'
        || !escape[2].eq_ignore_ascii_case(&b'd')
        || !escape[4..].iter().all(u8::is_ascii_hexdigit)
    {
        return None;
    }
    match escape[3].to_ascii_lowercase() {
        b'8' | b'9' | b'a' | b'b' => Some(Half::Leading),
        b'c'..=b'f' => Some(Half::Trailing),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn code(body: &[u8]) -> &'static str {
        parse_body(body).expect_err("the body is refused").code()
    }

    #[test]
    fn the_three_shapes_are_read() {
        let sent_at = DateTime::from_timestamp(1_700_000_000, 0);
        let one = parse_body(br#"{"event_type":"click","sent_at":1700000000000}"#).unwrap();
        assert_eq!(one.events, vec![json!({"event_type": "click"})]);
        assert_eq!(one.sent_at, sent_at);
        let envelope = parse_body(br#"{"events":[{"a":1},2],"sent_at":"2023-11-14T22:13:20Z"}"#).unwrap();
        assert_eq!(envelope.events, vec![json!({"a": 1}), json!(2)]);
        assert_eq!(envelope.sent_at, sent_at);
        let array = parse_body(b"\xef\xbb\xbf [{\"a\":1}]").unwrap();
        assert_eq!(
            array,
            Batch {
                events: vec![json!({"a": 1})],
                sent_at: None
            }
        );
        let both = parse_body(br#"{"event_type":"x","events":[1,2]}"#).unwrap();
        assert_eq!(both.events.len(), 1);
        assert_eq!(parse_body(br#"{"hello":1}"#).unwrap().events.len(), 1);
    }

    #[test]
    fn an_unreadable_sent_at_costs_nothing() {
        let batch = parse_body(br#"{"events":[{}],"sent_at":"yesterday"}"#).unwrap();
        assert_eq!(batch.sent_at, None);
    }

    #[test]
    fn broken_bodies_have_their_codes() {
        assert_eq!(code(b""), "invalid_json");
        assert_eq!(code(b"{\"events\":["), "invalid_json");
        assert_eq!(code(b"[1e999]"), "invalid_json");
        assert_eq!(code(b"\xff\xfe{}"), "invalid_utf8");
        assert_eq!(code(b"42"), "not_events");
        assert_eq!(code(br#"{"events":{}}"#), "not_events");
        assert_eq!(code(b"[]"), "empty_batch");
        assert_eq!(code(br#"{"events":[]}"#), "empty_batch");
        assert_eq!(code("[".repeat(100_000).as_bytes()), "nesting_too_deep");
    }

    #[test]
    fn a_batch_over_the_limit_is_refused() {
        let batch = parse_body(b"[1,2,3]").unwrap();
        assert!(batch.check_size(3).is_ok());
        assert_eq!(batch.check_size(2).unwrap_err().code(), "too_many_events");
    }

    #[test]
    fn lone_surrogates_are_replaced_and_pairs_kept() {
        let body =
            br#"[{"a":"\ud83d","b":"\ud83d\ude00","c":"\uDE00x","d":"\\ud83d","e":"\ud83d\ud83d\ude00"}]"#;
        let event = parse_body(body).unwrap().events.remove(0);
        assert_eq!(event["a"], "\u{fffd}");
        assert_eq!(event["b"], "😀");
        assert_eq!(event["c"], "\u{fffd}x");
        assert_eq!(event["d"], "\\ud83d");
        assert_eq!(event["e"], "\u{fffd}😀");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_body(&bytes);
        }

        #[test]
        fn mending_never_breaks_a_text(text in r#"["\\ud8Dc0x😀]{0,40}"#) {
            let _ = mend_surrogates(&text);
        }
    }
}
