//! Properties of the derivation: equal to the reference, resumable anywhere, blind to the order of arrival.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rust_decimal::Decimal;
use sqlx::types::Json;
use std::collections::{BTreeMap, HashSet};

use super::model::{Life, OrderKey, Rules, Session, SessionEvent};
use super::timeline::{Derived, Timeline, derive};
use super::{StateError, fold, reference};

const DEVICE: &str = "device";

fn rules(length_max_hours: i64) -> Rules {
    Rules {
        inactivity: TimeDelta::minutes(30),
        length_max: TimeDelta::hours(length_max_hours),
        own_hosts: vec!["shop.test".into()],
        pass_through_hosts: vec!["pay.test".into()],
    }
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

fn event(seconds: i64, event_type: &str) -> SessionEvent {
    SessionEvent {
        timestamp: start() + TimeDelta::seconds(seconds),
        event_id: format!("{seconds:06}-{event_type}"),
        event_type: event_type.into(),
        device_type: "unknown".into(),
        ..SessionEvent::default()
    }
}

/// Some of a few texts, or none, so that equal ones meet often.
fn some_of(texts: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        2 => Just(None),
        1 => select(texts).prop_map(|text| Some(text.to_owned())),
    ]
}

fn money() -> impl Strategy<Value = Option<Decimal>> {
    proptest::option::of((0i64..100_000, 0u32..4).prop_map(|(value, scale)| Decimal::new(value, scale)))
}

fn any_type() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("page_view"),
        6 => select(vec![
            "page_leave", "scroll", "click", "rage_click", "dead_click", "form_error", "error", "search",
            "add_to_cart", "remove_from_cart", "checkout_start", "video_play", "other", "custom:x",
        ]),
        2 => Just("purchase"),
        1 => Just("logout"),
    ]
    .prop_map(str::to_owned)
}

fn fields() -> impl Strategy<Value = SessionEvent> {
    let who = (
        prop_oneof![5 => Just(None), 2 => select(vec!["ada", "bob"]).prop_map(|user| Some(user.to_owned()))],
        some_of(&["s1", "s2", "s3", ""]),
        some_of(&["/", "/cart", "/product"]),
        proptest::option::of(0i16..=100),
        proptest::option::of(select(vec![
            0.1,
            3.333,
            2.0005,
            9.9999,
            1e7,
            -4.0,
            f64::NAN,
            f64::INFINITY,
        ])),
    );
    let whence = (
        some_of(&["google.com", "blog.test", "shop.test", "sso.pay.test"]),
        some_of(&["google", "letter"]),
        some_of(&["cpc", "email"]),
        some_of(&["spring"]),
        some_of(&["gclid", "fbclid"]),
    );
    let what = (
        money(),
        money(),
        some_of(&["o1", "o2", "o3"]),
        some_of(&["EUR", "USD"]),
    );
    let with = (
        select(vec!["unknown", "mobile", "desktop"]),
        some_of(&["Firefox", "Safari"]),
        some_of(&["DE"]),
    );
    (any_type(), who, whence, what, with).prop_map(|(event_type, who, whence, what, with)| SessionEvent {
        event_type,
        user_id: who.0,
        session_id: who.1,
        page_host: Some("shop.test".into()),
        page_path: who.2,
        scroll_depth: who.3,
        time_on_page_seconds: who.4,
        referrer_host: whence.0,
        utm_source: whence.1,
        utm_medium: whence.2,
        utm_campaign: whence.3,
        click_id: whence.4,
        cart_total: what.0,
        order_total: what.1,
        order_id: what.2,
        currency: what.3,
        device_type: with.0.to_owned(),
        os: with.1.clone(),
        browser: with.1,
        country: with.2,
        ..SessionEvent::default()
    })
}

/// Events of one device, in no particular order, with ties in time and gaps just at the limits.
fn history() -> impl Strategy<Value = Vec<SessionEvent>> {
    let half_hour = 1_800_000_000i64;
    let gap = prop_oneof![
        6 => select(vec![0, 0, 1, 1_000_000, 20_000_000, 60_000_000, 60_000_001]),
        3 => select(vec![half_hour - 1, half_hour, half_hour]),
        1 => select(vec![half_hour + 1, 5 * half_hour]),
    ];
    let step = (gap, proptest::option::of(0i64..3), 0u8..4, fields());
    vec(step, 0..40).prop_map(|steps| {
        let mut timestamp = start();
        let mut events = Vec::new();
        for (place, (gap, seq, id, fields)) in steps.into_iter().enumerate() {
            timestamp += TimeDelta::microseconds(gap);
            events.push(SessionEvent {
                timestamp,
                seq,
                event_id: format!("{id}-{place}"),
                ..fields
            });
        }
        events
    })
}

/// The tables the writer keeps, for one device.
#[derive(Default)]
struct Stored {
    lives: BTreeMap<i32, Life>,
    sessions: BTreeMap<uuid::Uuid, Session>,
    cursor: Option<OrderKey>,
    logged_out: bool,
}

impl Stored {
    fn timeline(&self, events: &[SessionEvent]) -> Timeline {
        let Some(cursor) = self.cursor.clone() else {
            return Timeline::new(DEVICE);
        };
        let life = self.lives.values().next_back().cloned().unwrap();
        let last = self
            .sessions
            .values()
            .max_by_key(|session| (session.life, session.started_at))
            .cloned();
        let incoming: HashSet<_> = events
            .iter()
            .filter_map(|event| event.session_id.clone())
            .collect();
        let ids = self.sessions.values().map(|session| session.session_id.clone());
        let taken = ids.filter(|id| incoming.contains(id)).collect();
        Timeline::resume(DEVICE, cursor, self.logged_out, life, last, taken).unwrap()
    }

    fn apply(&mut self, derived: Derived) {
        if let Some(claim) = derived.claimed {
            for session in self
                .sessions
                .values_mut()
                .filter(|session| session.life == claim.life)
            {
                session.user_id = Some(claim.user_id.clone());
                session.customer_id = claim.customer_id;
            }
        }
        for session in derived.sessions {
            // Through text and back, as a jsonb column would have it.
            let state = Json(serde_json::from_str(&session.state.0.to_string()).unwrap());
            self.sessions.insert(session.id, Session { state, ..session });
        }
        self.lives
            .extend(derived.lives.into_iter().map(|life| (life.life, life)));
        self.cursor = derived.cursor;
        self.logged_out = derived.logged_out;
    }

    fn sessions_in_order(&self) -> Vec<Session> {
        let mut sessions: Vec<_> = self.sessions.values().cloned().collect();
        sessions.sort_by_key(|session| (session.life, session.started_at));
        sessions
    }
}

fn without_state(sessions: &[Session]) -> Vec<Session> {
    let blank = |session: &Session| Session {
        state: Json(serde_json::Value::Null),
        ..session.clone()
    };
    sessions.iter().map(blank).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_fold_equals_the_reference(events in history(), hours in select(vec![1i64, 2, 24])) {
        let (lives, sessions) = reference::rows(DEVICE, &events, &rules(hours));
        let derived = derive(DEVICE, events, &rules(hours));
        prop_assert_eq!(derived.lives, lives);
        prop_assert_eq!(without_state(&derived.sessions), sessions);
    }

    #[test]
    fn a_device_resumed_anywhere_ends_with_the_same_rows(
        mut events in history(),
        sizes in vec(1usize..8, 40),
        hours in select(vec![1i64, 2, 24]),
    ) {
        let whole = derive(DEVICE, events.clone(), &rules(hours));
        events.sort_by_key(SessionEvent::order_key);
        let mut stored = Stored::default();
        let mut rest = events.as_slice();
        for size in sizes {
            let (chunk, later) = rest.split_at(size.min(rest.len()));
            rest = later;
            let mut timeline = stored.timeline(chunk);
            for event in chunk {
                prop_assert!(timeline.follows(&event.order_key()));
                timeline.push(event, &rules(hours));
                prop_assert!(!timeline.follows(&event.order_key()));
            }
            stored.apply(timeline.finish());
        }
        prop_assert!(rest.is_empty());
        prop_assert_eq!(stored.sessions_in_order(), whole.sessions);
        prop_assert_eq!(stored.lives.into_values().collect::<Vec<_>>(), whole.lives);
        prop_assert_eq!(stored.cursor, whole.cursor);
        prop_assert_eq!(stored.logged_out, whole.logged_out);
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(
        (events, shuffled) in history().prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
    ) {
        prop_assert_eq!(derive(DEVICE, events, &rules(2)), derive(DEVICE, shuffled, &rules(2)));
    }

    #[test]
    fn ids_are_unique_within_a_device(events in history()) {
        let sessions = derive(DEVICE, events, &rules(1)).sessions;
        let ids: HashSet<_> = sessions.iter().map(|session| session.id).collect();
        let session_ids: HashSet<_> = sessions.iter().map(|session| &session.session_id).collect();
        prop_assert_eq!((ids.len(), session_ids.len()), (sessions.len(), sessions.len()));
    }
}

#[test]
fn a_session_is_cut_after_a_day_of_steady_use_and_not_at_midnight() {
    let events = (0..=96).map(|quarter| event(quarter * 900, "click")).collect();
    let counts: Vec<_> = derive(DEVICE, events, &rules(24))
        .sessions
        .iter()
        .map(|session| session.event_count)
        .collect();
    assert_eq!(counts, [96, 1]);
}

#[test]
fn a_resumed_device_reports_only_what_changed() {
    let mut stored = Stored::default();
    stored.apply(derive(DEVICE, vec![event(0, "click")], &rules(24)));

    let idle = stored.timeline(&[]).finish();
    assert_eq!((idle.lives.len(), idle.sessions.len()), (0, 0));
    assert_eq!(idle.cursor, stored.cursor);

    let identify = SessionEvent {
        user_id: Some("ada".into()),
        ..event(90_000, "identify")
    };
    let mut timeline = stored.timeline(std::slice::from_ref(&identify));
    timeline.push(&identify, &rules(24));
    let derived = timeline.finish();
    assert_eq!(
        derived.sessions.len(),
        1,
        "the session before the gap is not touched"
    );
    assert_eq!(
        derived.claimed.map(|claim| (claim.life, claim.user_id)),
        Some((0, "ada".to_owned()))
    );
    assert_eq!(derived.lives.len(), 1);
}

#[test]
fn a_device_whose_last_session_expired_goes_on_in_its_life() {
    let whole = derive(DEVICE, vec![event(0, "click")], &rules(24));
    let cursor = whole.cursor.unwrap();
    let life = whole.lives[0].clone();
    let mut timeline = Timeline::resume(
        DEVICE,
        cursor,
        false,
        life,
        None,
        HashSet::from(["s1".to_owned()]),
    )
    .unwrap();
    timeline.push(
        &SessionEvent {
            session_id: Some("s1".into()),
            ..event(90_000, "click")
        },
        &rules(24),
    );
    let derived = timeline.finish();
    assert_eq!(derived.lives, []);
    assert_eq!(derived.sessions[0].life, 0);
    assert_eq!(derived.sessions[0].customer_id, whole.lives[0].customer_id);
    assert_eq!(derived.sessions[0].client_session_id.as_deref(), Some("s1"));
    assert_ne!(
        derived.sessions[0].session_id, "s1",
        "an earlier session has that id"
    );
}

#[test]
fn a_state_of_another_release_is_refused() {
    let whole = derive(DEVICE, vec![event(0, "click")], &rules(24));
    let resume = |state: serde_json::Value| {
        let session = Session {
            state: Json(state),
            ..whole.sessions[0].clone()
        };
        let cursor = whole.cursor.clone().unwrap();
        Timeline::resume(
            DEVICE,
            cursor,
            false,
            whole.lives[0].clone(),
            Some(session),
            HashSet::new(),
        )
    };
    let version = serde_json::json!({"version": 99});
    assert!(matches!(
        resume(version),
        Err(StateError::Version { found: 99, .. })
    ));
    let partial = serde_json::json!({"version": 1});
    assert!(matches!(resume(partial), Err(StateError::Unreadable { .. })));
    assert!(matches!(
        resume(serde_json::Value::Null),
        Err(StateError::Unreadable { .. })
    ));
    assert!(resume(whole.sessions[0].state.0.clone()).is_ok());
}

#[test]
fn a_repeated_event_counts_once() {
    let derived = derive(DEVICE, vec![event(0, "click"), event(0, "click")], &rules(24));
    assert_eq!(derived.sessions[0].event_count, 1);
}

#[test]
fn the_session_keeps_its_id_when_a_later_event_brings_the_clients() {
    let named = SessionEvent {
        session_id: Some("s1".into()),
        ..event(1, "click")
    };
    let alone = derive(DEVICE, vec![event(0, "click")], &rules(24))
        .sessions
        .remove(0);
    let grown = derive(DEVICE, vec![event(0, "click"), named], &rules(24))
        .sessions
        .remove(0);
    assert_eq!((&grown.id, &grown.session_id), (&alone.id, &alone.id.to_string()));
    assert_eq!(grown.client_session_id.as_deref(), Some("s1"));
}

#[test]
fn lists_are_bounded_and_counts_go_on() {
    let mut events = Vec::new();
    for place in 0..1_200i64 {
        let path = Some(format!("/{place}"));
        events.push(SessionEvent {
            page_path: path,
            ..event(place * 10, "page_view")
        });
        events.push(event(place * 10 + 1, &format!("custom:{place}")));
        for (offset, order_total) in [(2, 1), (3, 100)] {
            let order_id = Some(format!("order {place}"));
            let order_total = Some(Decimal::from(order_total));
            events.push(SessionEvent {
                order_id,
                order_total,
                ..event(place * 10 + offset, "purchase")
            });
        }
    }
    let session = derive(DEVICE, events, &rules(24)).sessions.remove(0);
    assert_eq!(session.pages.len(), fold::PAGES_MAX);
    assert_eq!(session.exit_page.as_deref(), Some("/1199"));
    assert_eq!(session.order_ids.len(), fold::ORDERS_MAX);
    let known = (fold::ORDERS_MAX + fold::ORDERS_KNOWN_MAX) as i64;
    assert_eq!(
        session.conversion_value,
        Decimal::from(known + (1_200 - known) * 101)
    );
    assert_eq!(session.event_counts.0.len(), fold::TYPES_MAX + 1);
    assert_eq!(session.event_counts.0.values().sum::<i64>(), 4_800);
    assert_eq!(session.event_counts.0["purchase"], 2_400);
}

#[test]
fn absurd_amounts_do_not_overflow() {
    let purchase = |seconds| SessionEvent {
        order_total: Some(Decimal::MAX),
        ..event(seconds, "purchase")
    };
    let session = derive(DEVICE, vec![purchase(0), purchase(1)], &rules(24))
        .sessions
        .remove(0);
    assert_eq!(session.conversion_value, Decimal::MAX);
}

#[test]
fn an_error_a_minute_before_the_end_is_its_reason_and_an_earlier_one_is_not() {
    let reason = |seconds: i64| {
        let mut events = vec![event(0, "error")];
        events.extend((0..5).map(|place| event(seconds - place, "click")));
        derive(DEVICE, events, &rules(24))
            .sessions
            .remove(0)
            .drop_off_reason
            .unwrap()
    };
    assert_eq!(reason(60), "error");
    assert_eq!(reason(61), "bounce");
}

#[test]
fn people_around_an_erased_one_stay_apart() {
    let of = |seconds, user: Option<&str>| SessionEvent {
        user_id: user.map(str::to_owned),
        ..event(seconds, "click")
    };
    let erased_from = of(50, Some("bob")).order_key();
    let events = vec![of(0, Some("ann")), of(10, None), of(90, None)];

    let derived = Timeline::new(DEVICE)
        .with_breaks(vec![erased_from.clone()])
        .run(events.clone(), &rules(24));
    let users: Vec<_> = derived.lives.iter().map(|life| life.user_id.as_deref()).collect();
    assert_eq!(users, [Some("ann"), None]);
    assert_eq!(derived.sessions.len(), 2);

    // The same when the event arrives after the erasure, and also when nobody is left before it.
    let stored = derive(DEVICE, events[..2].to_vec(), &rules(24));
    let resumed = Timeline::resume(
        DEVICE,
        stored.cursor.unwrap(),
        false,
        stored.lives[0].clone(),
        Some(stored.sessions[0].clone()),
        HashSet::new(),
    )
    .unwrap()
    .with_breaks(vec![erased_from.clone()])
    .run(events[2..].to_vec(), &rules(24));
    assert_eq!(resumed.lives, derived.lives[1..]);
    let alone = Timeline::new(DEVICE)
        .with_breaks(vec![erased_from])
        .run(events[2..].to_vec(), &rules(24));
    assert_eq!(alone.lives[0].life, 0);
    assert_eq!(alone.lives[0].customer_id, derived.lives[1].customer_id);
}
