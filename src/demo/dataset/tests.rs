//! The promises of the data set, checked by counting what it yields.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use chrono::TimeDelta;

use super::*;

const ORIGIN: &str = "http://127.0.0.1:8030";
const KNOWN_TYPES: [&str; 23] = [
    "page_view",
    "page_leave",
    "click",
    "rage_click",
    "dead_click",
    "scroll",
    "form_input",
    "form_submit",
    "form_error",
    "form_abandon",
    "add_to_cart",
    "remove_from_cart",
    "checkout_start",
    "purchase",
    "signup",
    "login",
    "logout",
    "identify",
    "search",
    "error",
    "web_vital",
    "consent",
    "wishlist_add",
];

fn end() -> DateTime<Utc> {
    "2026-09-14T10:20:30Z".parse().expect("a valid time")
}

fn small(seed: u64) -> DatasetOptions {
    DatasetOptions {
        seed,
        people: 150,
        days: 60,
        ..DatasetOptions::demo(end(), ORIGIN)
    }
}

fn bytes(options: &DatasetOptions) -> Vec<u8> {
    visits(options)
        .flat_map(|visit| serde_json::to_vec(&(visit.user_agent, visit.events)).expect("JSON"))
        .collect()
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or("")
}

fn time(event: &Value) -> DateTime<Utc> {
    text(event, "timestamp").parse().expect("RFC 3339")
}

/// What the tests need to know of a visit of the full data set, which itself would not fit in memory.
struct Facts {
    start: DateTime<Utc>,
    phone: bool,
    spring_deal: bool,
    page_views: usize,
    events: usize,
    types: HashSet<String>,
    /// Load times of the slow story's page, in milliseconds, and whether the visit ended there.
    slow_page_loads: Vec<i64>,
    ended_on_slow_page: bool,
    empty_search: bool,
    person: Option<String>,
    device: String,
}

impl Facts {
    fn new(visit: &Visit) -> Self {
        let events = &visit.events;
        let views: Vec<&Value> = events
            .iter()
            .filter(|event| text(event, "event_type") == "page_view")
            .collect();
        let slow = |event: &Value| text(event, "page_url").contains("sku=FF-401");
        Self {
            start: time(&events[0]),
            phone: visit.user_agent.contains("Mobile"),
            spring_deal: text(&events[0], "page_url").contains("utm_campaign=spring-deal"),
            page_views: views.len(),
            events: events.len(),
            types: events
                .iter()
                .map(|event| text(event, "event_type").to_owned())
                .collect(),
            slow_page_loads: views
                .iter()
                .filter(|event| slow(event))
                .filter_map(|event| event["page_load_time_ms"].as_i64())
                .collect(),
            ended_on_slow_page: views.last().is_some_and(|event| slow(event)),
            empty_search: events.iter().any(|event| event["search_results_count"] == 0),
            person: events
                .iter()
                .find_map(|event| event["user_id"].as_str().map(Into::into)),
            device: text(&events[0], "device_id").to_owned(),
        }
    }

    fn has(&self, event_type: &str) -> bool {
        self.types.contains(event_type)
    }

    fn days_before_end(&self) -> f64 {
        (end() - self.start).num_minutes() as f64 / 1_440.0
    }
}

static DEMO: LazyLock<Vec<Facts>> = LazyLock::new(|| {
    visits(&DatasetOptions::demo(end(), ORIGIN))
        .map(|visit| Facts::new(&visit))
        .collect()
});

fn count(fits: impl Fn(&Facts) -> bool) -> f64 {
    DEMO.iter().filter(|facts| fits(facts)).count() as f64
}

fn assert_share(name: &str, share: f64, band: std::ops::Range<f64>) {
    assert!(band.contains(&share), "{name}: {share:.4} is outside {band:?}");
}

#[test]
fn the_same_seed_and_end_give_the_same_bytes_and_another_seed_does_not() {
    let first = bytes(&small(1));
    assert!(first == bytes(&small(1)));
    assert!(first != bytes(&small(2)));
    let later = DatasetOptions {
        end: end() + TimeDelta::hours(1),
        ..small(1)
    };
    assert!(first != bytes(&later));
}

#[test]
fn the_count_of_visits_is_known_beforehand() {
    let options = small(3);
    assert_eq!(visits(&options).count() as u64, visit_count(&options));
}

#[test]
fn every_event_keeps_the_rules_of_the_wire() {
    let options = small(4);
    let mut ids = HashSet::new();
    let mut last_start = options.end - TimeDelta::days(i64::from(options.days));
    for visit in visits(&options) {
        assert!(!visit.events.is_empty());
        let start = time(&visit.events[0]);
        assert!(start >= last_start, "visits are in the order of their starts");
        last_start = start;
        for event in &visit.events {
            assert!(ids.insert(text(event, "event_id").to_owned()), "an id repeats");
            check_event(event, &options);
        }
    }
    assert!(ids.len() > 3_000, "{}", ids.len());
}

fn check_event(event: &Value, options: &DatasetOptions) {
    let id = uuid::Uuid::parse_str(text(event, "event_id")).expect("a UUID");
    let (seconds, nanos) = id.get_timestamp().expect("version 7").to_unix();
    let millis = seconds as i64 * 1_000 + i64::from(nanos / 1_000_000);
    assert_eq!(millis, time(event).timestamp_millis());
    assert!(time(event) <= options.end);
    assert!(KNOWN_TYPES.contains(&text(event, "event_type")), "{event}");
    assert!(uuid::Uuid::parse_str(text(event, "device_id")).is_ok());
    assert!(uuid::Uuid::parse_str(text(event, "session_id")).is_ok());
    let url = url::Url::parse(text(event, "page_url")).expect("an address");
    assert!(url.path().starts_with("/demo/"));
    assert!(
        event["scroll_depth"].is_null() || event["scroll_depth"].as_i64().is_some_and(|depth| depth <= 100)
    );
    for pair in ["coordinates", "screen_resolution", "viewport_size"] {
        let value = &event[pair];
        let two = value
            .as_array()
            .is_some_and(|pair| pair.len() == 2 && pair.iter().all(|side| side.as_u64().is_some()));
        assert!(value.is_null() || two, "{pair}: {value}");
    }
    for money in ["product_price", "cart_total", "order_total"] {
        let value = &event[money];
        assert!(
            value.is_null() || text(event, money).parse::<rust_decimal::Decimal>().is_ok(),
            "{value}"
        );
    }
    assert!(event.to_string().len() < 4_000);
}

#[test]
fn every_client_is_in_order_and_its_visits_do_not_overlap() {
    let mut last: HashMap<String, (u64, DateTime<Utc>, String)> = HashMap::new();
    for visit in visits(&small(5)) {
        for event in &visit.events {
            let (seq, at) = (event["seq"].as_u64().expect("a number"), time(event));
            let session = text(event, "session_id").to_owned();
            if let Some((last_seq, last_at, last_session)) = last.get(text(event, "device_id")) {
                assert_eq!(seq, last_seq + 1);
                assert!(at >= *last_at);
                let pause = at - *last_at;
                let limit = TimeDelta::minutes(30);
                assert_eq!(
                    pause > limit,
                    session != *last_session,
                    "a session ends with 30 idle minutes: {pause}"
                );
            } else {
                assert_eq!(seq, 1);
            }
            last.insert(text(event, "device_id").to_owned(), (seq, at, session));
        }
    }
}

#[test]
fn the_demo_has_the_size_and_the_shares_of_a_real_shop() {
    let events: usize = DEMO.iter().map(|facts| facts.events).sum();
    assert!((150_000..250_000).contains(&events), "{events} events");
    // Visits of the campaign are judged by their own story.
    let all = count(|facts| !facts.spring_deal);
    let share = |event_type: &str| count(|facts| !facts.spring_deal && facts.has(event_type)) / all;
    assert_share(
        "one page",
        count(|facts| !facts.spring_deal && facts.page_views == 1) / all,
        0.30..0.48,
    );
    assert_share("cart", share("add_to_cart"), 0.10..0.22);
    assert_share("checkout", share("checkout_start"), 0.05..0.14);
    assert_share("purchase", share("purchase"), 0.025..0.07);
    assert_share("search", share("search"), 0.10..0.45);
    assert_share(
        "phones",
        count(|facts| facts.phone) / DEMO.len() as f64,
        0.45..0.68,
    );
    let abandoned = count(|facts| facts.has("add_to_cart") && !facts.has("purchase"));
    assert_share(
        "abandoned carts",
        abandoned / count(|facts| facts.has("add_to_cart")),
        0.62..0.80,
    );
    assert!(count(|facts| facts.empty_search) > 100.0);
    for event_type in KNOWN_TYPES {
        assert!(
            count(|facts| facts.has(event_type)) > 5.0,
            "{event_type} hardly happens"
        );
    }
}

#[test]
fn a_few_people_come_often_and_some_use_several_devices() {
    let mut visits_of: HashMap<&str, u32> = HashMap::new();
    let mut devices_of: HashMap<&str, HashSet<&str>> = HashMap::new();
    for facts in DEMO.iter() {
        *visits_of.entry(&facts.device).or_default() += 1;
        if let Some(person) = &facts.person {
            devices_of.entry(person).or_default().insert(&facts.device);
        }
    }
    let once = visits_of.values().filter(|visits| **visits == 1).count() as f64 / visits_of.len() as f64;
    assert_share("devices seen once", once, 0.40..0.70);
    assert!(visits_of.values().any(|visits| *visits >= 20));
    assert!(devices_of.values().filter(|devices| devices.len() > 1).count() > 50);
}

#[test]
fn evenings_and_sundays_are_busy_in_the_sites_zone() {
    use chrono::{Datelike, Timelike, Weekday};
    let local = |facts: &Facts| facts.start.with_timezone(&traffic::SITE_ZONE);
    let evening = count(|facts| (19..22).contains(&local(facts).hour()));
    let night = count(|facts| (2..5).contains(&local(facts).hour()));
    assert!(
        evening > 10.0 * night,
        "{evening} in the evening, {night} at night"
    );
    let sunday = count(|facts| local(facts).weekday() == Weekday::Sun);
    let friday = count(|facts| local(facts).weekday() == Weekday::Fri);
    assert!(sunday > 1.15 * friday, "{sunday} on Sundays, {friday} on Fridays");
}

#[test]
fn story_one_phones_hardly_finish_a_checkout_for_four_days() {
    let broken = |facts: &Facts| (19.0..23.0).contains(&facts.days_before_end());
    let completion = |phone: bool, in_story: bool| {
        let starts =
            |facts: &Facts| facts.phone == phone && broken(facts) == in_story && facts.has("checkout_start");
        assert!(count(starts) >= 10.0, "too few checkouts to speak of");
        count(|facts| starts(facts) && facts.has("purchase")) / count(starts)
    };
    assert!(completion(true, true) < completion(true, false) / 3.0);
    assert!(
        completion(false, true) > completion(false, false) / 2.0,
        "other devices go on"
    );
    let errors = |in_story| {
        count(|facts| {
            facts.phone && broken(facts) == in_story && facts.has("checkout_start") && facts.has("error")
        })
    };
    assert!(errors(true) > 5.0);
    assert!(errors(true) / 4.0 > 10.0 * errors(false) / 86.0, "errors a day");
}

#[test]
fn story_two_the_campaign_brings_many_who_do_not_buy() {
    let during = |facts: &Facts| (35.0..45.0).contains(&facts.days_before_end());
    let campaign = count(|facts| facts.spring_deal);
    assert_eq!(campaign, count(|facts| facts.spring_deal && during(facts)));
    assert_share("of its days' visits", campaign / count(during), 0.15..0.60);
    assert_eq!(count(|facts| facts.spring_deal && facts.has("purchase")), 0.0);
    assert_share(
        "bounces",
        count(|facts| facts.spring_deal && facts.page_views == 1) / campaign,
        0.60..0.80,
    );
}

#[test]
fn story_three_a_slow_page_loses_its_readers() {
    let loads = |slow: bool| -> (f64, f64) {
        let seen =
            |facts: &&Facts| (facts.days_before_end() <= 14.0) == slow && !facts.slow_page_loads.is_empty();
        let times: Vec<i64> = DEMO
            .iter()
            .filter(seen)
            .flat_map(|facts| facts.slow_page_loads.clone())
            .collect();
        let readers = DEMO.iter().filter(seen).count() as f64;
        let exits = DEMO
            .iter()
            .filter(seen)
            .filter(|facts| facts.ended_on_slow_page)
            .count() as f64;
        (
            times.iter().sum::<i64>() as f64 / times.len() as f64,
            exits / readers,
        )
    };
    let (usual_ms, usual_exits) = loads(false);
    let (slow_ms, slow_exits) = loads(true);
    assert!(slow_ms > 4.0 * usual_ms, "{slow_ms} ms against {usual_ms} ms");
    assert!(
        slow_exits > usual_exits + 0.2,
        "{slow_exits} against {usual_exits}"
    );
}

#[test]
fn load_test_batches_are_new_events_of_one_device_each() {
    let mut stream = SdkStream::new(1, 0, 40, ORIGIN, end());
    let mut ids = HashSet::new();
    let mut devices = HashSet::new();
    let mut bytes = 0;
    for round in 0..100 {
        let now = end() + TimeDelta::seconds(round);
        let batch = stream.batch(now, 10);
        assert_eq!((batch.len(), time(&batch[9])), (10, now));
        assert!(
            batch
                .windows(2)
                .all(|pair| time(&pair[0]) < time(&pair[1]) && pair[0]["device_id"] == pair[1]["device_id"])
        );
        devices.insert(text(&batch[0], "device_id").to_owned());
        for event in &batch {
            assert!(ids.insert(text(event, "event_id").to_owned()));
            bytes += event.to_string().len();
        }
    }
    assert_eq!(devices.len(), 40);
    assert!(
        (700..900).contains(&(bytes / 1_000)),
        "{} bytes an event",
        bytes / 1_000
    );
}
