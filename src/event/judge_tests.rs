use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::json;

use super::*;
use crate::event::country::tests::half_germany;
use crate::event::{email_token, parse_body};

const SALT: &str = "a salt of sixteen";
const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
const BOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

fn context() -> RequestContext {
    RequestContext {
        received_at: "2026-03-01T12:00:00.123456789Z".parse().unwrap(),
        key_id: 7,
        client_ip: Some(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3))),
        user_agent: None,
        dnt: false,
        gpc: false,
    }
}

fn policy() -> Policy {
    Policy {
        hasher: Hasher::new(SALT),
        ip_hash: true,
        hash_emails: true,
        honour_dnt: true,
        honour_gpc: true,
        cookieless: false,
        url_parameters_allowed: Vec::new(),
        own_hosts: Vec::new(),
        filter_bots: true,
        events_age_max: Some(TimeDelta::days(90)),
        batch_events_max: 100,
        countries: None,
    }
}

/// The least event there is, with these fields besides.
fn event_with(fields: Value) -> Value {
    let mut event = json!({"event_type": "click", "device_id": "d1"});
    event
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    event
}

fn judged(value: Value) -> Result<Event, Rejection> {
    judge(value, None, &context(), &policy())
}

fn accepted(fields: Value) -> Event {
    let value = event_with(fields);
    judged(value.clone()).unwrap_or_else(|rejection| panic!("{value}: {rejection:?}"))
}

fn refused(fields: Value) -> (RejectReason, Option<String>) {
    let value = event_with(fields);
    match judged(value.clone()) {
        Ok(event) => panic!("{value} was accepted: {event:?}"),
        Err(rejection) => (rejection.reason, rejection.field),
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn every_field_finds_its_place() {
    let event = accepted(json!({
        "event_id": "e1", "user_id": 42, "session_id": "s1", "seq": "5",
        "page_url": "https://Shop.example/cart?utm_source=news&token=x", "page_title": "Cart",
        "referrer": "https://www.google.com/search?q=x",
        "element_selector": "#buy", "element_text": "Buy", "element_id": "buy", "element_classes": ["btn", "big"],
        "coordinates": [10.4, "20"], "scroll_depth": "49.6",
        "form_id": "f", "form_field_name": "zip", "form_field_type": "text", "form_validation_errors": ["Required"],
        "product_id": 17, "product_name": "Cup", "product_category": "Kitchen", "product_price": 19.99,
        "quantity": 2.0, "cart_total": "39.98", "order_id": "o1", "order_total": 40, "currency": "eur",
        "search_query": "cup", "search_results_count": 3, "error_message": "boom", "error_stack": "at x",
        "screen_resolution": [1920, 1080], "viewport_size": "800x600",
        "page_load_time_ms": 812.6, "time_on_page_seconds": 3.5, "user_agent": PHONE,
        "custom_properties": {"colour": "red"}, "customer_attributes": {"plan": "pro"}, "shop": "north",
    }));
    let expected = Event {
        event_id: "e1".into(),
        event_type: "click".into(),
        timestamp: "2026-03-01T12:00:00.123456Z".parse().unwrap(),
        client_timestamp: None,
        received_at: "2026-03-01T12:00:00.123456Z".parse().unwrap(),
        seq: Some(5),
        device_id: "d1".into(),
        user_id: some("42"),
        session_id: some("s1"),
        key_id: 7,
        page_url: some("https://shop.example/cart?utm_source=news"),
        page_host: some("shop.example"),
        page_path: some("/cart"),
        page_title: some("Cart"),
        referrer: some("https://www.google.com/search"),
        referrer_host: some("google.com"),
        utm_source: some("news"),
        utm_medium: None,
        utm_campaign: None,
        utm_term: None,
        utm_content: None,
        click_id: None,
        element_selector: some("#buy"),
        element_text: some("Buy"),
        element_id: some("buy"),
        element_classes: some("btn big"),
        x: Some(10),
        y: Some(20),
        scroll_depth: Some(50),
        form_id: some("f"),
        form_field_name: some("zip"),
        form_field_type: some("text"),
        form_validation_errors: vec!["Required".into()],
        product_id: some("17"),
        product_name: some("Cup"),
        product_category: some("Kitchen"),
        product_price: Some(Decimal::new(1999, 2)),
        quantity: Some(2),
        cart_total: Some(Decimal::new(3998, 2)),
        order_id: some("o1"),
        order_total: Some(Decimal::from(40)),
        currency: some("EUR"),
        search_query: some("cup"),
        search_results_count: Some(3),
        error_message: some("boom"),
        error_stack: some("at x"),
        device_type: "mobile".into(),
        browser: some("Safari"),
        os: some("iOS"),
        country: None,
        ip_hash: Some(Hasher::new(SALT).token("ip", "10.1.2.3")),
        screen_width: Some(1920),
        screen_height: Some(1080),
        viewport_width: Some(800),
        viewport_height: Some(600),
        page_load_time_ms: Some(813),
        time_on_page_seconds: Some(3.5),
        properties: json!({"colour": "red", "shop": "north"})
            .as_object()
            .unwrap()
            .clone(),
        attributes: json!({"plan": "pro"}).as_object().unwrap().clone(),
        truncated: Vec::new(),
    };
    assert_eq!(event, expected);
}

#[test]
fn null_and_empty_fields_are_absent() {
    let names = [
        "event_id",
        "user_id",
        "session_id",
        "seq",
        "timestamp",
        "page_url",
        "page_title",
        "referrer",
        "utm_source",
        "click_id",
        "element_classes",
        "coordinates",
        "scroll_depth",
        "form_validation_errors",
        "product_id",
        "product_price",
        "quantity",
        "currency",
        "device_type",
        "screen_resolution",
        "time_on_page_seconds",
        "user_agent",
    ];
    let bare = Event {
        event_id: String::new(),
        ..accepted(json!({}))
    };
    for name in names {
        for empty in [json!(null), json!("")] {
            let event = accepted(json!({ name: empty }));
            assert_eq!(
                Event {
                    event_id: String::new(),
                    ..event
                },
                bare,
                "{name}"
            );
        }
    }
    assert_eq!(
        accepted(json!({"custom_properties": null, "customer_attributes": null}))
            .properties
            .len(),
        0
    );
}

#[test]
fn a_wrong_field_is_named() {
    for (name, value) in [
        ("event_id", json!("x".repeat(65))),
        ("event_id", json!(true)),
        ("device_id", json!("x".repeat(129))),
        ("device_id", json!("user:ann")),
        ("device_id", json!(" user:ann")),
        ("device_id", json!("\u{0}user:ann")),
        ("user_id", json!(["ann"])),
        ("user_id", json!("é".repeat(129))),
        ("session_id", json!("x".repeat(129))),
        ("order_id", json!("x".repeat(129))),
        ("seq", json!(1.5)),
        ("timestamp", json!("yesterday")),
        ("timestamp", json!("+262142-01-01T00:00:00Z")),
        ("page_url", json!("/cart")),
        ("page_url", json!("javascript:alert(1)")),
        ("page_url", json!({})),
        ("referrer", json!([])),
        ("page_title", json!(false)),
        ("click_id", json!("EAIaIQobChMI")),
        ("coordinates", json!([1, 2, 3])),
        ("coordinates", json!([1, 1e12])),
        ("scroll_depth", json!("abc")),
        ("scroll_depth", json!(101)),
        ("form_validation_errors", json!([{}])),
        ("product_price", json!(-1)),
        ("cart_total", json!("12,50")),
        ("order_total", json!({"amount": 1})),
        ("quantity", json!(2.5)),
        ("quantity", json!(4_294_967_296_i64)),
        ("search_results_count", json!(-1)),
        ("currency", json!("euro")),
        ("device_type", json!("fridge")),
        ("screen_resolution", json!([1920])),
        ("viewport_size", json!([-1, 5])),
        ("page_load_time_ms", json!(1e10)),
        ("time_on_page_seconds", json!(1e300)),
        ("user_agent", json!({})),
        ("custom_properties", json!([])),
        ("customer_attributes", json!("vip")),
        ("customer_attributes", json!({"x".repeat(65): 1})),
        ("customer_attributes", json!({"custom": {"x".repeat(65): 1}})),
    ] {
        let expected = (RejectReason::InvalidField, some(name));
        assert_eq!(
            refused(json!({ name: value.clone() })),
            expected,
            "{name}: {value}"
        );
    }
}

#[test]
fn the_type_is_required_and_checked() {
    for (value, reason) in [
        (json!(null), RejectReason::MissingEventType),
        (json!(""), RejectReason::MissingEventType),
        (json!("Page View"), RejectReason::InvalidEventType),
        (json!("x".repeat(65)), RejectReason::InvalidEventType),
        (json!(5), RejectReason::InvalidEventType),
        (json!({"a": 1}), RejectReason::InvalidEventType),
    ] {
        assert_eq!(
            refused(json!({"event_type": value})),
            (reason, some("event_type"))
        );
    }
    assert_eq!(
        judged(json!({"device_id": "d"})).unwrap_err().reason,
        RejectReason::MissingEventType
    );
    assert_eq!(
        accepted(json!({"event_type": "shop:newsletter.signup-2"})).event_type,
        "shop:newsletter.signup-2"
    );
    for value in [json!(1), json!("x"), json!(null), json!([])] {
        assert_eq!(judged(value).unwrap_err().reason, RejectReason::NotAnObject);
    }
}

#[test]
fn a_user_alone_is_a_device_of_its_own() {
    let event = judged(json!({"event_type": "purchase", "user_id": " Ann@Example.com "})).unwrap();
    let token = email_token(&Hasher::new(SALT), "ann@example.com").unwrap();
    assert_eq!(event.user_id.as_ref(), Some(&token));
    assert_eq!(event.device_id, format!("user:{token}"));
    let nobody = judged(json!({"event_type": "click", "device_id": " ", "user_id": null})).unwrap_err();
    assert_eq!(nobody.reason, RejectReason::MissingIdentity);
}

#[test]
fn without_cookies_a_device_lasts_a_day() {
    let policy = Policy {
        cookieless: true,
        ..policy()
    };
    let device = |context: &RequestContext| {
        judge(json!({"event_type": "click"}), None, context, &policy).map(|event| event.device_id)
    };
    let noon = RequestContext {
        user_agent: some(PHONE),
        ..context()
    };
    let id = device(&noon).unwrap();
    assert!(id.starts_with("day_") && id.len() == 36, "{id}");
    let late = RequestContext {
        received_at: "2026-03-01T23:59:59Z".parse().unwrap(),
        ..noon.clone()
    };
    assert_eq!(device(&late).unwrap(), id);
    let mapped = RequestContext {
        client_ip: "::ffff:10.1.2.3".parse().ok(),
        ..noon.clone()
    };
    assert_eq!(device(&mapped).unwrap(), id);
    for other in [
        RequestContext {
            received_at: "2026-03-02T00:00:00Z".parse().unwrap(),
            ..noon.clone()
        },
        RequestContext {
            client_ip: "10.1.2.4".parse().ok(),
            ..noon.clone()
        },
        RequestContext {
            user_agent: None,
            ..noon.clone()
        },
    ] {
        assert_ne!(device(&other).unwrap(), id);
    }
    let hidden = RequestContext {
        client_ip: None,
        ..noon
    };
    let rejection = device(&hidden).unwrap_err();
    assert_eq!(rejection.reason, RejectReason::MissingIdentity);
    assert!(rejection.detail.contains("server.trusted_proxy_hops"));
    let rejection = judged(json!({"event_type": "click"})).unwrap_err();
    assert_eq!(rejection.reason, RejectReason::MissingIdentity);
    assert!(rejection.detail.contains("`privacy.cookieless = true`"));
}

#[test]
fn an_event_without_id_gets_a_rising_uuid() {
    let (first, second) = (accepted(json!({})), accepted(json!({})));
    assert_eq!(key::event_key(&first.event_id).get_version_num(), 7);
    assert!(first.event_id < second.event_id);
}

#[test]
fn times_are_corrected_clamped_and_refused_when_too_old() {
    let batch = parse_body(
        br#"{"sent_at":"2026-03-01T11:00:00.123456Z","events":[
            {"event_type":"click","device_id":"d","timestamp":"2026-03-01T10:59:59Z"},
            {"event_type":"click","device_id":"d","timestamp":"2026-03-01T11:30:00Z"},
            {"event_type":"click","device_id":"d","timestamp":"2025-12-01T10:59:59Z"},
            {"event_type":"click","device_id":"d"}]}"#,
    );
    let verdicts = judge_batch(batch.unwrap(), &context(), &policy());
    let times: Vec<_> = verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::Accepted(event) => event.timestamp.to_rfc3339(),
            Verdict::Rejected(rejection) => rejection.reason.to_string(),
        })
        .collect();
    let received = "2026-03-01T12:00:00.123456+00:00";
    assert_eq!(
        times,
        ["2026-03-01T11:59:59+00:00", received, "too_old", received]
    );
    let Verdict::Accepted(first) = &verdicts[0] else {
        panic!("{verdicts:?}")
    };
    assert_eq!(first.client_timestamp, "2026-03-01T10:59:59Z".parse().ok());
    let keeps_all = Policy {
        events_age_max: None,
        ..policy()
    };
    let old = event_with(json!({"timestamp": "1999-01-01T00:00:00Z"}));
    assert!(judge(old, None, &context(), &keeps_all).is_ok());
}

#[test]
fn who_asks_not_to_be_tracked_leaves_no_trace() {
    let verdict = |context: &RequestContext, policy: &Policy| {
        let batch = Batch {
            events: vec![event_with(json!({})), json!(5)],
            sent_at: None,
        };
        judge_batch(batch, context, policy)
    };
    let (dnt, gpc) = (
        RequestContext {
            dnt: true,
            ..context()
        },
        RequestContext {
            gpc: true,
            ..context()
        },
    );
    for (context, reason) in [
        (&dnt, RejectReason::DoNotTrack),
        (&gpc, RejectReason::GlobalPrivacyControl),
    ] {
        for verdict in verdict(context, &policy()) {
            let Verdict::Rejected(rejection) = verdict else {
                panic!("{verdict:?}")
            };
            assert_eq!((rejection.reason, rejection.sample), (reason, Value::Null));
        }
        let ignoring = Policy {
            honour_dnt: false,
            honour_gpc: false,
            ..policy()
        };
        assert!(matches!(verdict(context, &ignoring)[0], Verdict::Accepted(_)));
    }
}

#[test]
fn bots_are_refused_by_the_agent_that_counts() {
    let judge_with = |header: Option<&str>, field: Value, filter_bots: bool| {
        let context = RequestContext {
            user_agent: header.map(str::to_owned),
            ..context()
        };
        let policy = Policy {
            filter_bots,
            ..policy()
        };
        judge(
            event_with(json!({ "user_agent": field })),
            None,
            &context,
            &policy,
        )
        .map_err(|rejection| rejection.reason)
    };
    assert_eq!(
        judge_with(Some(BOT), json!(null), true).unwrap_err(),
        RejectReason::Bot
    );
    assert_eq!(
        judge_with(Some(PHONE), json!(BOT), true).unwrap_err(),
        RejectReason::Bot
    );
    assert_eq!(
        judge_with(Some(BOT), json!(PHONE), true).unwrap().device_type,
        "mobile"
    );
    assert!(judge_with(Some(BOT), json!(null), false).is_ok());
    assert_eq!(
        judge_with(Some("curl/8.5.0"), json!(null), true)
            .unwrap()
            .device_type,
        "unknown"
    );
    assert_eq!(
        accepted(json!({"user_agent": PHONE, "device_type": "Tablet"})).device_type,
        "tablet"
    );
}

#[test]
fn the_address_of_the_client_is_hashed_or_dropped() {
    let policy = Policy {
        ip_hash: false,
        countries: Some(half_germany()),
        ..policy()
    };
    let event = judge(event_with(json!({})), None, &context(), &policy).unwrap();
    assert_eq!((event.ip_hash, event.country.as_deref()), (None, Some("DE")));
}

#[test]
fn e_mail_addresses_become_one_token_everywhere() {
    let token = email_token(&Hasher::new(SALT), "ann@example.com").unwrap();
    let fields = json!({
        "user_id": "ann@example.com", "device_id": "Ann@example.com", "session_id": "ANN@EXAMPLE.COM",
        "search_query": " ann@example.com", "element_text": "ann@example.com",
        "page_url": "https://a.example/u/ann@example.com?utm_content=ann%40example.com",
        "form_validation_errors": ["ann@example.com"], "mail": "ann@example.com",
        "custom_properties": {"a": [{"b": "Ann@Example.com"}], "product_name": "ann@example.com"},
        "customer_attributes": {"email": "ann@example.com"},
    });
    let event = accepted(fields.clone());
    let kept = serde_json::to_string(&event).unwrap();
    assert!(!kept.to_lowercase().contains("example.com"), "{kept}");
    assert_eq!(kept.matches(&token).count(), 14, "{kept}");
    let open = Policy {
        hash_emails: false,
        ..policy()
    };
    let event = judge(event_with(fields), None, &context(), &open).unwrap();
    assert_eq!(event.user_id, some("ann@example.com"));
    assert_eq!(event.attributes["email"], "ann@example.com");
}

#[test]
fn the_campaign_of_the_event_comes_before_that_of_the_address() {
    let event = accepted(json!({
        "page_url": "https://a.example/?utm_source=address&utm_medium=mail&fbclid=secret",
        "utm_source": "field", "gclid": "secret",
    }));
    assert_eq!(event.utm_source, some("field"));
    assert_eq!(event.utm_medium, some("mail"));
    assert_eq!(event.click_id, some("fbclid"));
    assert!(!serde_json::to_string(&event).unwrap().contains("secret"));
    assert_eq!(accepted(json!({"gclid": "secret"})).click_id, some("gclid"));
    assert_eq!(accepted(json!({"click_id": "GCLID"})).click_id, some("gclid"));
    let lifted = accepted(json!({"custom_properties": {"msclkid": "secret"}}));
    assert_eq!((lifted.click_id, lifted.properties.len()), (some("msclkid"), 0));
    assert_eq!(accepted(json!({"referrer": "nonsense"})).referrer, None);
}

#[test]
fn known_properties_are_lifted_when_they_fit() {
    let event = accepted(json!({
        "event_type": "purchase", "quantity": 5,
        "custom_properties": {
            "product_id": 17, "price": "19.99", "quantity": 2, "total": 39.98, "currency": "EUR",
            "order_id": "x".repeat(129), "product_name": "y".repeat(300), "cart_total": -1,
            "search_results_count": null, "colour": "red",
        },
    }));
    assert_eq!(event.product_id, some("17"));
    assert_eq!(event.product_price, Some(Decimal::new(1999, 2)));
    assert_eq!(event.order_total, Some(Decimal::new(3998, 2)));
    assert_eq!(event.currency, some("EUR"));
    assert_eq!(event.quantity, Some(5));
    assert_eq!(
        (event.order_id, event.product_name, event.cart_total),
        (None, None, None)
    );
    let left: Vec<_> = event.properties.keys().map(String::as_str).collect();
    assert_eq!(
        left,
        [
            "cart_total",
            "colour",
            "order_id",
            "product_name",
            "quantity",
            "search_results_count"
        ]
    );
    assert!(event.truncated.is_empty());

    let both = accepted(json!({"custom_properties": {"price": 1, "product_price": 2}}));
    assert_eq!(both.product_price, Some(Decimal::from(2)));
    assert_eq!(both.properties["price"], 1);
    for (event_type, cart, kept) in [("add_to_cart", Some(Decimal::from(9)), 0), ("search", None, 1)] {
        let event = accepted(json!({"event_type": event_type, "custom_properties": {"total": 9}}));
        assert_eq!((event.cart_total, event.order_total), (cart, None));
        assert_eq!(event.properties.len(), kept);
    }
}

#[test]
fn every_liftable_property_is_lifted() {
    let texts = [
        "product_id",
        "product_name",
        "product_category",
        "order_id",
        "search_query",
        "form_id",
        "form_field_name",
        "form_field_type",
        "error_message",
        "error_stack",
    ];
    let numbers = [
        "product_price",
        "quantity",
        "cart_total",
        "order_total",
        "search_results_count",
        "scroll_depth",
        "page_load_time_ms",
        "time_on_page_seconds",
    ];
    let cases = texts
        .map(|name| (name, json!("a")))
        .into_iter()
        .chain(numbers.map(|name| (name, json!(7))));
    for (name, value) in cases {
        let lifted = accepted(json!({"event_id": "e", "custom_properties": { name: value.clone() }}));
        assert_eq!(lifted, accepted(json!({"event_id": "e", name: value})), "{name}");
    }
}

#[test]
fn unknown_fields_are_kept_unless_the_name_is_taken() {
    let event = accepted(
        json!({"shop": "field", "mood": null, "n\u{0}ame": [1.5], "custom_properties": {"shop": "own"}}),
    );
    let expected = json!({"shop": "own", "mood": null, "name": [1.5]});
    assert_eq!(Value::Object(event.properties), expected);
}

#[test]
fn a_refusal_repeats_only_plain_names() {
    let deep = (0..40).fold(Value::Null, |inner, _| json!([inner]));
    assert_eq!(
        refused(json!({"odd.field": deep})),
        (RejectReason::InvalidField, some("odd.field"))
    );
    for name in ["a\u{0}b".to_owned(), "ann@example.com".to_owned(), "x".repeat(65)] {
        let found = refused(json!({ name.clone(): deep }));
        assert_eq!(found, (RejectReason::InvalidField, None), "{name}");
    }
}

#[test]
fn large_and_deep_objects_are_refused() {
    let text = "x".repeat(16 * 1024 - 8);
    assert!(judged(event_with(json!({"custom_properties": {"a": &text[..]}}))).is_ok());
    let too_large = Some(RejectReason::PropertiesTooLarge);
    let reason = |fields| judged(event_with(fields)).err().map(|rejection| rejection.reason);
    assert_eq!(reason(json!({"custom_properties": {"ab": &text[..]}})), too_large);
    assert_eq!(
        reason(json!({"custom_properties": {"a": &text[..9000]}, "b": &text[..9000]})),
        too_large
    );
    let too_large = Some(RejectReason::AttributesTooLarge);
    assert_eq!(
        reason(json!({"customer_attributes": {"ab": &text[..]}})),
        too_large
    );

    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    for name in ["custom_properties", "customer_attributes"] {
        assert!(judged(event_with(json!({ name: {"a": nested(32)} }))).is_ok());
        assert_eq!(
            refused(json!({ name: {"a": nested(33)} })),
            (RejectReason::InvalidField, some(name))
        );
    }
    assert_eq!(
        refused(json!({"odd": nested(33)})),
        (RejectReason::InvalidField, some("odd"))
    );
}

#[test]
fn long_texts_are_cut_and_named() {
    for (name, max) in [
        ("page_title", 512),
        ("element_selector", 512),
        ("element_text", 256),
        ("element_id", 128),
        ("element_classes", 512),
        ("form_field_name", 128),
        ("product_name", 256),
        ("search_query", 256),
        ("error_message", 1024),
        ("error_stack", 8192),
        ("utm_source", 256),
    ] {
        let fits = accepted(json!({ name: "é".repeat(max) }));
        assert!(fits.truncated.is_empty(), "{name}");
        let event = accepted(json!({ name: "é".repeat(max + 1) }));
        assert_eq!(event.truncated, [name]);
        let kept = serde_json::to_value(event).unwrap();
        assert_eq!(kept[name].as_str().unwrap().chars().count(), max, "{name}");
    }
    let event = accepted(json!({
        "page_url": format!("https://a.example/{}?utm_term={}", "a".repeat(3000), "t".repeat(300)),
        "form_validation_errors": vec!["e"; 51],
        "referrer": format!("https://b.example/{}", "b".repeat(3000)),
    }));
    assert_eq!(
        event.truncated,
        [
            "form_validation_errors",
            "page_url",
            "page_path",
            "referrer",
            "utm_term"
        ]
    );
    assert_eq!(event.page_url.unwrap().len(), 2048);
    assert_eq!(event.form_validation_errors.len(), 50);
}

#[test]
fn a_rejection_repeats_no_value() {
    let value = event_with(json!({"user_id": "ann", "page_url": "ann-secret", "seq": "ann-number"}));
    let rejection = judged(value).unwrap_err();
    let text = serde_json::to_string(&rejection).unwrap();
    assert!(!text.contains("ann"), "{text}");
    assert_eq!(rejection.sample["fields"]["user_id"], "text(3)");
    assert_eq!(serde_json::from_str::<Rejection>(&text).unwrap(), rejection);
}

/// Names the service knows.
fn known_name() -> impl Strategy<Value = String> {
    let names = [&crate::event::FIELDS[..], &["gclid", "price", "total"]].concat();
    proptest::sample::select(names).prop_map(str::to_owned)
}

/// Any JSON, with names and values that come near what the service knows.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        ".{0,40}",
        Just("page_view".to_owned()),
        Just("a@b.de".to_owned()),
        Just("https://a@b.example/x?utm_source=%00y&gclid=1#/z".to_owned()),
        Just("2026-02-01T00:00:00Z".to_owned()),
        Just("19.99".to_owned()),
        "[0-9.eE+-]{0,20}",
        "(\u{0}|é|😀){0,300}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-5_i64..200).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 8, move |inner| {
        let name = prop_oneof![known_name(), ".{0,8}"];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            any_object(name, inner, 8),
        ]
    })
}

fn any_object(
    name: impl Strategy<Value = String>,
    value: impl Strategy<Value = Value>,
    size_max: usize,
) -> impl Strategy<Value = Value> {
    proptest::collection::btree_map(name, value, 0..size_max)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

/// Events most of which are good, with properties of every kind.
fn any_event() -> impl Strategy<Value = Value> {
    let name = || prop_oneof![1 => known_name(), 3 => ".{0,8}"];
    let properties = any_object(name(), any_json(), 6);
    let attributes = any_object(name(), any_json(), 3);
    (any_object(name(), any_json(), 5), properties, attributes).prop_map(
        |(mut event, properties, attributes)| {
            event["event_type"] = "purchase".into();
            event["device_id"] = "d".into();
            event["custom_properties"] = properties;
            event["customer_attributes"] = attributes;
            event
        },
    )
}

/// Says whether any text or name within holds a NUL.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(object) => object
            .iter()
            .any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

proptest! {
    #[test]
    fn any_json_ends_in_one_verdict_and_what_is_kept_survives_the_queue(
        events in proptest::collection::vec(prop_oneof![1 => any_json(), 3 => any_event()], 1..4),
        sent_at in proptest::option::of(-62_000_000_000_000_000_i64..250_000_000_000_000_000),
    ) {
        let count = events.len();
        let sent_at = sent_at.and_then(DateTime::from_timestamp_micros);
        let verdicts = judge_batch(Batch { events, sent_at }, &context(), &policy());
        prop_assert_eq!(verdicts.len(), count);
        for verdict in &verdicts {
            match verdict {
                Verdict::Accepted(event) => {
                    let text = serde_json::to_string(event).unwrap();
                    prop_assert!(!has_nul(&serde_json::to_value(event).unwrap()), "{}", text);
                    prop_assert_eq!(&serde_json::from_str::<Event>(&text).unwrap(), &**event);
                    prop_assert!(event.timestamp <= event.received_at);
                }
                Verdict::Rejected(rejection) => {
                    prop_assert!(serde_json::to_vec(&rejection.sample).unwrap().len() <= 1024);
                }
            }
        }
    }

    #[test]
    fn an_event_judged_twice_is_the_same(event in any_event()) {
        let once = judged(event.clone()).map(|event| Event { event_id: String::new(), ..event });
        let again = judged(event).map(|event| Event { event_id: String::new(), ..event });
        prop_assert_eq!(once, again);
    }
}
