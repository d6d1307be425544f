//! The rules once more, as declarations over complete lists: slow, and written apart from the fold, so that
//! a mistake in one of them shows.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use sqlx::types::Json;
use std::collections::BTreeMap;

use super::identity::{customer_id_of_life, customer_id_of_user, id_of_assigned_session, id_of_kept_session};
use super::model::{Life, Rules, Session, SessionEvent};
use super::source::arrival_of;

/// Returns the lives and sessions of a device, with an empty `state`.
pub(super) fn rows(device: &str, events: &[SessionEvent], rules: &Rules) -> (Vec<Life>, Vec<Session>) {
    let mut events = events.to_vec();
    events.sort_by(|left, right| {
        let by_time = left.timestamp.cmp(&right.timestamp);
        let by_seq = left.seq.unwrap_or(i64::MIN).cmp(&right.seq.unwrap_or(i64::MIN));
        by_time.then(by_seq).then(left.event_id.cmp(&right.event_id))
    });
    let mut lives = Vec::new();
    let mut sessions: Vec<Session> = Vec::new();
    for (number, events) in split(&events, &starts_life).into_iter().enumerate() {
        let life = life(device, number as i32, events);
        for events in split(events, &|before, event| starts_session(before, event, rules)) {
            let session = session(device, &life, events, &sessions, rules);
            sessions.push(session);
        }
        lives.push(life);
    }
    (lives, sessions)
}

/// Cuts a list wherever an event starts a new part, judged by the part before it.
fn split<'a>(
    events: &'a [SessionEvent],
    starts: &dyn Fn(&[SessionEvent], &SessionEvent) -> bool,
) -> Vec<&'a [SessionEvent]> {
    if events.is_empty() {
        return Vec::new();
    }
    let end = (1..events.len())
        .find(|&end| starts(&events[..end], &events[end]))
        .unwrap_or(events.len());
    let mut parts = vec![&events[..end]];
    parts.extend(split(&events[end..], starts));
    parts
}

fn starts_life(before: &[SessionEvent], event: &SessionEvent) -> bool {
    let users: Vec<_> = before.iter().filter_map(|event| event.user_id.as_ref()).collect();
    let another_user =
        event.user_id.is_some() && users.iter().any(|user| Some(*user) != event.user_id.as_ref());
    before.last().is_some_and(|event| event.event_type == "logout") || another_user
}

fn starts_session(before: &[SessionEvent], event: &SessionEvent, rules: &Rules) -> bool {
    let gap = event.timestamp - before[before.len() - 1].timestamp;
    let length = event.timestamp - before[0].timestamp;
    gap > rules.inactivity || length >= rules.length_max
}

fn life(device: &str, number: i32, events: &[SessionEvent]) -> Life {
    let user_id = events.iter().find_map(|event| event.user_id.clone());
    let customer_id = user_id.as_deref().map_or_else(
        || customer_id_of_life(device, number, &events[0].event_id),
        customer_id_of_user,
    );
    Life {
        life: number,
        started_at: events[0].timestamp,
        start_seq: events[0].seq,
        start_event: events[0].event_id.clone(),
        user_id,
        customer_id,
    }
}

fn session(
    device: &str,
    life: &Life,
    events: &[SessionEvent],
    earlier: &[Session],
    rules: &Rules,
) -> Session {
    let first = &events[0];
    let last = &events[events.len() - 1];
    let of_type = |name: &str| {
        events
            .iter()
            .filter(|event| event.event_type == name)
            .collect::<Vec<_>>()
    };
    let count = |name: &str| of_type(name).len() as i32;

    let kept = first.session_id.clone().filter(|id| !id.is_empty());
    let kept = kept.filter(|id| earlier.iter().all(|session| session.session_id != *id));
    let id = match &kept {
        Some(id) => id_of_kept_session(device, id),
        None => id_of_assigned_session(device, first.timestamp, &first.event_id),
    };

    let mut pages: Vec<_> = of_type("page_view")
        .iter()
        .filter_map(|event| event.page_path.clone())
        .collect();
    pages.dedup();
    let entry_page = pages.first().cloned();
    let exit_page = pages.last().cloned();
    pages.truncate(200);

    let first_page_view = of_type("page_view")
        .first()
        .and_then(|event| arrival_of(event, rules));
    let arrival = first_page_view.or_else(|| arrival_of(first, rules));

    let purchases = of_type("purchase");
    let converted = !purchases.is_empty();
    let currency = purchases.iter().find_map(|event| event.currency.clone());
    let mut order_ids: Vec<String> = Vec::new();
    let mut conversion_value = Decimal::ZERO;
    for (place, event) in purchases.iter().enumerate() {
        let order_id = event.order_id.as_ref();
        if order_id.is_some()
            && purchases[..place]
                .iter()
                .any(|event| event.order_id.as_ref() == order_id)
        {
            continue;
        }
        order_ids.extend(order_id.cloned());
        if event.currency.is_none() || event.currency == currency {
            conversion_value += event.order_total.unwrap_or_default();
        }
    }

    let carts = ["add_to_cart", "remove_from_cart", "checkout_start"];
    let in_cart = |event: &&SessionEvent| carts.contains(&event.event_type.as_str());
    let cart_value = events
        .iter()
        .filter(in_cart)
        .filter_map(|event| event.cart_total)
        .next_back();
    let since_purchase: Vec<_> = events
        .iter()
        .rev()
        .take_while(|event| event.event_type != "purchase")
        .collect();
    let left = |name: &str| since_purchase.iter().any(|event| event.event_type == name);
    let abandoned = left("add_to_cart") || left("checkout_start");

    let visible_ms: i64 = of_type("page_leave").iter().map(|event| visible_ms(event)).sum();
    let depths = depths(events);
    let page_views = count("page_view");
    let engaged = visible_ms >= 10_000 || converted || page_views >= 2;

    let shortly_before_end = |name: &str| {
        let last_five = events.iter().rev().take(5).any(|event| event.event_type == name);
        let minute = of_type(name)
            .iter()
            .any(|event| last.timestamp - event.timestamp <= TimeDelta::seconds(60));
        last_five || minute
    };
    let drop_off_reason = if !abandoned && engaged {
        None
    } else if let Some(trouble) = ["error", "form_error", "rage_click"]
        .into_iter()
        .find(|name| shortly_before_end(name))
    {
        Some(trouble)
    } else if left("checkout_start") {
        Some("checkout_abandoned")
    } else if left("add_to_cart") {
        Some("cart_abandoned")
    } else {
        Some("bounce")
    };

    let acts = "click form_input form_submit add_to_cart remove_from_cart checkout_start signup login search \
                video_play file_download";
    let acts: i64 = acts.split_whitespace().map(|name| i64::from(count(name))).sum();
    let depth_points = depths.iter().sum::<i64>() * 15 / (depths.len().max(1) as i64 * 100);
    let engagement = (visible_ms / 6_000).min(30)
        + (i64::from(page_views) * 2).min(20)
        + acts.min(15)
        + depth_points
        + if converted { 20 } else { 0 };

    let mut event_counts = BTreeMap::new();
    for event in events {
        event_counts.insert(event.event_type.clone(), i64::from(count(&event.event_type)));
    }
    let known_device = |event: &&SessionEvent| event.device_type != "unknown";

    Session {
        id,
        session_id: kept.unwrap_or_else(|| id.to_string()),
        client_session_id: events
            .iter()
            .filter_map(|event| event.session_id.clone())
            .find(|id| !id.is_empty()),
        device_id: device.to_owned(),
        life: life.life,
        customer_id: life.customer_id,
        user_id: life.user_id.clone(),
        started_at: first.timestamp,
        ended_at: last.timestamp,
        duration_seconds: seconds_between(first.timestamp, last.timestamp),
        event_count: events.len() as i32,
        page_views,
        clicks: count("click"),
        rage_clicks: count("rage_click"),
        dead_clicks: count("dead_click"),
        form_errors: count("form_error"),
        errors: count("error"),
        searches: count("search"),
        event_counts: Json(event_counts),
        pages,
        entry_page,
        drop_off_page: if drop_off_reason.is_some() {
            exit_page.clone()
        } else {
            None
        },
        exit_page,
        source: arrival
            .as_ref()
            .map_or("(direct)".to_owned(), |arrival| arrival.source.clone()),
        medium: arrival.as_ref().and_then(|arrival| arrival.medium.clone()),
        campaign: arrival.as_ref().and_then(|arrival| arrival.campaign.clone()),
        channel: arrival
            .as_ref()
            .map_or("Direct", |arrival| arrival.channel())
            .to_owned(),
        referrer_host: arrival.and_then(|arrival| arrival.referrer_host),
        device_type: events
            .iter()
            .find(known_device)
            .map_or("unknown".to_owned(), |it| it.device_type.clone()),
        browser: events.iter().find_map(|event| event.browser.clone()),
        os: events.iter().find_map(|event| event.os.clone()),
        country: events.iter().find_map(|event| event.country.clone()),
        converted,
        conversion_value,
        currency,
        order_ids,
        cart_value,
        abandoned,
        drop_off_reason: drop_off_reason.map(str::to_owned),
        mean_scroll_depth: match depths.len() {
            0 => None,
            pages => Some(depths.iter().sum::<i64>() as f64 / pages as f64),
        },
        visible_seconds: visible_ms as f64 / 1000.0,
        engagement: engagement as i16,
        engaged,
        state: Json(serde_json::Value::Null),
    }
}

fn visible_ms(event: &SessionEvent) -> i64 {
    match event.time_on_page_seconds {
        Some(seconds) if seconds >= 86_400.0 => 86_400_000,
        Some(seconds) if seconds > 0.0 => (seconds * 1000.0).round() as i64,
        _ => 0,
    }
}

/// Returns the deepest scroll of each visit of a page that reported one.
fn depths(events: &[SessionEvent]) -> Vec<i64> {
    let page_at = |place: usize| {
        events[..=place]
            .iter()
            .rev()
            .find_map(|event| event.page_path.as_ref())
    };
    let places: Vec<usize> = (0..events.len()).collect();
    places
        .chunk_by(|&left, &right| page_at(left) == page_at(right))
        .filter_map(|visit| visit.iter().filter_map(|&place| events[place].scroll_depth).max())
        .map(i64::from)
        .collect()
}

fn seconds_between(start: DateTime<Utc>, end: DateTime<Utc>) -> f64 {
    (end.timestamp_micros() - start.timestamp_micros()) as f64 / 1_000_000.0
}
