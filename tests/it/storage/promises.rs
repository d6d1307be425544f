//! What holds in every situation.

use chrono::TimeDelta;
use customer_journey::store::situation::{self, Situation};

use super::store::{Store, event, history};
use crate::support::assert_sessions_follow_events;

/// What a start leaves in the database besides rows, as text.
async fn shape(store: &Store) -> Vec<String> {
    let mut shape = store
        .texts(
            "SELECT concat_ws(' ', table_name, column_name, data_type) FROM information_schema.columns
             WHERE table_schema = current_schema()",
        )
        .await;
    if store.settler.situation.has_hypertables() {
        for sql in [
            "SELECT concat_ws(' ', hypertable_name, num_dimensions, compression_enabled)
             FROM timescaledb_information.hypertables",
            "SELECT concat_ws(' ', job_id, proc_name, schedule_interval, hypertable_name, config)
             FROM timescaledb_information.jobs WHERE proc_name LIKE 'policy%'",
        ] {
            shape.extend(store.texts(sql).await);
        }
    }
    shape
}

/// A second start changes nothing.
pub async fn preparing_twice_is_preparing_once(store: &mut Store, expected: Situation) {
    assert_eq!(store.settler.situation, expected);
    let once = shape(store).await;
    assert_eq!(store.prepare().await, expected);
    assert_eq!(shape(store).await, once);
}

/// Repeated, late and mixed-up events end as the same rows.
pub async fn events_are_stored_once_and_sessions_follow(store: &Store) {
    let now = store.now();
    let hour = TimeDelta::hours(1);
    let first: Vec<_> = (0..40)
        .map(|n| event(&format!("e{n}"), "device", now - hour * n))
        .collect();
    assert_eq!(store.settle(first.clone()).await.stored, 40);

    // The same ids under another time, as after a corrected clock, and in another chunk.
    let again = first.iter().map(|event| {
        let mut again = event.clone();
        again.timestamp -= TimeDelta::days(20);
        again
    });
    let tally = store.settle(again.collect()).await;
    assert_eq!((tally.stored, tally.duplicate), (0, 40));

    // Late: between two events that were an hour apart, so that two sessions become one.
    let sessions = store.number("SELECT count(*) FROM sessions").await;
    let late = (1..4).map(|n| {
        event(
            &format!("late{n}"),
            "device",
            now - hour + TimeDelta::minutes(15 * n),
        )
    });
    assert_eq!(store.settle(late.collect()).await.stored, 3);
    assert_eq!(store.number("SELECT count(*) FROM sessions").await, sessions - 1);
    assert_eq!(store.number("SELECT count(*) FROM events").await, 43);
    assert_eq!(
        store.number("SELECT sum(events)::bigint FROM customers").await,
        43
    );
    assert_sessions_follow_events(&mut *store.connection().await).await;
    store.assert_rollup_counts_every_event().await;
}

/// What one way of writing stores, the other way stores as well, in every column.
pub async fn rows_read_back_as_they_were_written(store: &Store) {
    let mut wide = event("wide", "reader", store.now());
    wide.page_title = Some("tab\t, newline\n, \\N, 'quoted' and \"quoted\"".into());
    wide.seq = Some(i64::MAX);
    wide.scroll_depth = Some(100);
    wide.time_on_page_seconds = Some(12.25);
    wide.product_price = Some("1234567.890123".parse().expect("it is a number"));
    wide.truncated = vec!["page_title".into()];
    store.settle(vec![wide.clone()]).await;
    let row: serde_json::Value =
        sqlx::query_scalar("SELECT to_jsonb(e) FROM events e WHERE event_id = 'wide'")
            .fetch_one(&mut *store.connection().await)
            .await
            .expect("it is stored");
    let sent = serde_json::to_value(&wide).expect("an event is JSON");
    for (name, value) in sent.as_object().expect("an event is an object") {
        match name.as_str() {
            "attributes" => {}
            "timestamp" | "received_at" => {
                let time = |value: &serde_json::Value| {
                    let text = value.as_str().expect("a time is a text");
                    chrono::DateTime::parse_from_rfc3339(text).expect("it is RFC 3339")
                };
                assert_eq!(time(&row[name]), time(value), "{name}");
            }
            // Decimals travel as text, and are numbers in the table.
            "product_price" | "order_total" => {
                assert_eq!(row[name].to_string(), value.as_str().unwrap_or_default())
            }
            _ => assert_eq!(&row[name], value, "{name}"),
        }
    }
}

/// Old events go; what is younger stays, and so does the count of what is gone where rows keep it.
pub async fn retention_removes_old_events_only(store: &Store) {
    let now = store.now();
    store.settle(history(now - TimeDelta::days(60), 30)).await;
    store
        .settle(history(now, 1).into_iter().map(renamed).collect())
        .await;
    let young = "SELECT count(*) FROM events WHERE timestamp > now() - interval '30 days'";
    let (before_young, before) = (store.number(young).await, now - TimeDelta::days(40));
    situation::drop_events_before(&mut *store.connection().await, store.settler.situation, before)
        .await
        .expect("old events can be dropped");
    assert_eq!(store.number(young).await, before_young);
    // A chunk goes when all of it is too old.
    let oldest = "SELECT count(*) FROM events WHERE timestamp < now() - interval '48 days'";
    assert_eq!(store.number(oldest).await, 0);
}

fn renamed(mut event: customer_journey::event::Event) -> customer_journey::event::Event {
    event.event_id = format!("young {}", event.event_id);
    event
}
