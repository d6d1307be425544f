//! What must hold for every request body, whatever its bytes.
//!
//! Shared by the fuzz target, which makes up bodies, and by `tests/fuzz_corpus.rs`, which runs the committed
//! ones on stable Rust. The first byte of an input is the content encoding ([`encoding_of`]), the second
//! the circumstances ([`Circumstances`]), the rest the body.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use chrono::{DateTime, TimeDelta, Utc};
use customer_journey::{
    event::{
        Event, Hasher, Policy, Rejection, RequestContext, Verdict, email_token, judge_batch, kind, parse_body,
    },
    ingest::{
        body::{BodyEncodingError, decompress},
        entry::{Entry, Rejected, VERSION},
    },
    session::{Rules, SessionEvent, derive},
};
use serde_json::Value;

/// Small, so that bombs are cheap: bytes a body may unpack to.
const UNPACKED_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a host name (RFC 1035, section 2.3.4, as text).
const HOST_BYTES_MAX: usize = 253;
/// Bytes of the picture that is kept of a refused event.
const SAMPLE_BYTES_MAX: usize = 1024;

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without input and output always starts")
});

/// Runs one input through everything between the socket and the store.
///
/// # Panics
/// When a promise of the ingest does not hold.
pub fn check(input: &[u8]) {
    let [encoding, circumstances, body @ ..] = input else {
        return;
    };
    let Some(body) = unpack(body, encoding_of(*encoding)) else {
        return;
    };
    let Ok(batch) = parse_body(&body) else { return };
    let count = batch.events.len();
    let Circumstances { context, policy } = Circumstances::of(*circumstances);
    let verdicts = judge_batch(batch, &context, &policy);
    assert_eq!(verdicts.len(), count, "one verdict for each event");

    let mut entry = Entry {
        received: u32::try_from(count).expect("64 KiB hold fewer events"),
        received_at: context.received_at,
        key_id: context.key_id,
        events: Vec::new(),
        rejected: Vec::new(),
    };
    for verdict in verdicts {
        match verdict {
            Verdict::Accepted(event) => {
                check_event(&event, &policy);
                entry.events.push(*event);
            }
            Verdict::Rejected(rejection) => entry.rejected.push(checked_rejection(rejection)),
        }
    }
    let read_back = Entry::decode(VERSION, &entry.encode()).expect("the queue's payload can be read");
    assert_eq!(read_back, entry, "the queue changes nothing");
    check_sessions(&entry.events);
}

/// `-` none, `g` gzip, `d` deflate, `b` br, `z` zstd, `?` an unknown one; any other byte is none as well, so
/// that most made-up inputs are plain.
fn encoding_of(byte: u8) -> Option<&'static str> {
    match byte {
        b'g' => Some("gzip"),
        b'd' => Some("deflate"),
        b'b' => Some("br"),
        b'z' => Some("zstd"),
        b'?' => Some("snappy"),
        _ => None,
    }
}

fn unpack<'a>(body: &'a [u8], encoding: Option<&str>) -> Option<std::borrow::Cow<'a, [u8]>> {
    match RUNTIME.block_on(decompress(body, encoding, UNPACKED_BYTES_MAX)) {
        Ok(unpacked) => {
            assert!(unpacked.len() <= UNPACKED_BYTES_MAX, "never a byte too many");
            Some(unpacked)
        }
        Err(BodyEncodingError::Unsupported(_)) => {
            assert_eq!(encoding, Some("snappy"), "all others are supported");
            None
        }
        Err(_) => None,
    }
}

/// What comes from elsewhere than the body. The low four bits of the second byte choose, so that the digits
/// `0` to `9` and `:` to `?` are all sixteen: 1 keeps e-mail addresses, 2 makes device ids without cookies,
/// 4 lets bots through and leaves the header out, 8 sends Do-Not-Track and Global Privacy Control.
struct Circumstances {
    context: RequestContext,
    policy: Policy,
}

impl Circumstances {
    fn of(byte: u8) -> Self {
        let has = |bit: u8| byte & bit != 0;
        Self {
            context: RequestContext {
                received_at: received_at(),
                key_id: 7,
                client_ip: Some([203, 0, 113, 7].into()),
                user_agent: (!has(4)).then(|| "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0".to_owned()),
                dnt: has(8),
                gpc: has(8),
            },
            policy: Policy {
                hasher: Hasher::new("sixteen bytes of salt"),
                ip_hash: true,
                hash_emails: !has(1),
                honour_dnt: true,
                honour_gpc: true,
                cookieless: has(2),
                url_parameters_allowed: vec!["q".to_owned()],
                own_hosts: vec!["shop.example".to_owned()],
                filter_bots: !has(4),
                events_age_max: Some(TimeDelta::days(365)),
                batch_events_max: 100,
                countries: None,
            },
        }
    }
}

/// 2026-03-01 12:00:00.123456789 UTC: finer than what is kept, as a real clock is.
fn received_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_366_400, 123_456_789).expect("the time exists")
}

fn check_event(event: &Event, policy: &Policy) {
    let json = serde_json::to_value(event).expect("an event is JSON");
    let text = serde_json::to_string(event).expect("an event is JSON");
    let read_back: Event = serde_json::from_str(&text).expect("an event can be read back");
    assert_eq!(&read_back, event, "an event survives its JSON: {text}");
    for_each_text(&json, &mut |part| {
        assert!(!part.contains('\0'), "a NUL is left in {text}");
        assert!(
            !policy.hash_emails || email_token(&policy.hasher, part).is_none(),
            "the e-mail address {part:?} is left in {text}"
        );
    });

    assert!(kind::is_valid(&event.event_type), "{text}");
    assert!(event.timestamp <= event.received_at, "{text}");
    for time in [
        Some(event.timestamp),
        Some(event.received_at),
        event.client_timestamp,
    ] {
        let finer = time.map_or(0, |time| time.timestamp_subsec_nanos() % 1000);
        assert_eq!(finer, 0, "PostgreSQL holds microseconds: {text}");
    }
    check_lengths(event, &json, &text);
}

fn check_lengths(event: &Event, json: &Value, text: &str) {
    let device_id = event.device_id.strip_prefix("user:").unwrap_or(&event.device_id);
    for (id, max) in [
        (Some(event.event_id.as_str()), 64),
        (Some(device_id), 128),
        (event.user_id.as_deref(), 128),
        (event.session_id.as_deref(), 128),
        (event.product_id.as_deref(), 128),
        (event.order_id.as_deref(), 128),
        (event.form_id.as_deref(), 128),
    ] {
        let Some(id) = id else { continue };
        assert!((1..=max).contains(&id.chars().count()), "an id of {max}: {text}");
    }
    for host in [&event.page_host, &event.referrer_host].into_iter().flatten() {
        assert!(
            host.len() <= HOST_BYTES_MAX,
            "a host name of {} bytes",
            host.len()
        );
    }
    for (name, value) in json.as_object().expect("an event is an object") {
        let max = match name.as_str() {
            "page_url" | "page_path" | "referrer" => 2048,
            "error_message" => 1024,
            "error_stack" => 8192,
            _ => 512,
        };
        if let Value::String(part) = value {
            assert!(
                part.chars().count() <= max,
                "{name} has more than {max} characters"
            );
        }
    }
}

/// Checks a refusal, which is kept for the operator, and returns it as the ledger gets it.
fn checked_rejection(rejection: Rejection) -> Rejected {
    let json = serde_json::to_value(&rejection).expect("a refusal is JSON");
    for_each_text(&json, &mut |part| {
        assert!(!part.contains('\0'), "a NUL is left in {json}")
    });
    let bytes = rejection.sample.to_string().len();
    assert!(bytes <= SAMPLE_BYTES_MAX, "a sample of {bytes} bytes");
    let field = rejection.field.as_deref().unwrap_or_default();
    assert!(field.len() <= 64, "the name of a field has {} bytes", field.len());
    assert!(!rejection.detail.is_empty());
    Rejected {
        reason: rejection.reason.as_str().to_owned(),
        count: 1,
        field: rejection.field,
        detail: rejection.detail,
        sample: rejection.sample,
    }
}

/// Every event is in exactly one session, however often it was sent.
fn check_sessions(events: &[Event]) {
    let rules = Rules {
        inactivity: TimeDelta::minutes(30),
        length_max: TimeDelta::hours(24),
        own_hosts: vec!["shop.example".to_owned()],
        pass_through_hosts: vec!["pay.example".to_owned()],
    };
    let mut devices: BTreeMap<&str, Vec<SessionEvent>> = BTreeMap::new();
    for event in events {
        devices.entry(&event.device_id).or_default().push(event.into());
    }
    for (device_id, events) in devices {
        let distinct: BTreeSet<_> = events.iter().map(SessionEvent::order_key).collect();
        let derived = derive(device_id, events, &rules);
        let counted: usize = derived
            .sessions
            .iter()
            .map(|session| session.event_count as usize)
            .sum();
        assert_eq!(counted, distinct.len(), "sessions of {device_id:?}");
        assert_eq!(
            derived.cursor.as_ref(),
            distinct.last(),
            "cursor of {device_id:?}"
        );
        for session in &derived.sessions {
            assert!(session.started_at <= session.ended_at);
            assert!(derived.lives.iter().any(|life| life.life == session.life));
        }
    }
}

/// Visits every text of a value, the names of its members too.
fn for_each_text(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(values) => values.iter().for_each(|value| for_each_text(value, visit)),
        Value::Object(object) => {
            for (name, value) in object {
                visit(name);
                for_each_text(value, visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
