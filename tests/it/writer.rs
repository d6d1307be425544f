//! Which entries a writer takes over from others, and which of them count as poison.

use std::time::Duration;

use customer_journey::{config::Config, ingest::entry::Entry, ops::Clock};

use crate::support::{QueueKeys, queue_of, shared, unique};

const DELIVERIES_MAX: u64 = 4;

/// A silence that no test ever waits for.
const SILENCE_MS: u64 = 600_000;

async fn queue_with_entries(count: usize) -> (customer_journey::ingest::queue::Queue, QueueKeys) {
    let mut config = Config::default();
    config.redis.queue_url = shared("REDIS_URL");
    config.redis.key_prefix = unique("it");
    let queue = queue_of(&config).await;
    for _ in 0..count {
        let entry = Entry {
            received: 1,
            received_at: Clock::system().now(),
            key_id: 1,
            events: Vec::new(),
            rejected: Vec::new(),
        };
        queue.add(&entry).await.expect("Redis takes the entry");
    }
    (queue, QueueKeys::of(&config).await)
}

/// Plays writers that die whenever they hold the deadly entry, one after the other.
#[tokio::test]
async fn an_entry_that_kills_its_writers_takes_no_other_along() {
    let (queue, mut keys) = queue_with_entries(5).await;
    let ids = keys.deliver_to_the_dead().await;
    let deadly = &ids[1];
    let (mut settled, mut poison, mut deaths) = (Vec::new(), Vec::new(), 0);
    while settled.len() + poison.len() < ids.len() {
        let mut writer = queue
            .consumer(&unique("writer"), Duration::from_millis(10))
            .await
            .expect("Redis answers");
        loop {
            let claimed = writer.claim(0, 100, DELIVERIES_MAX).await.expect("Redis answers");
            let died = claimed
                .deliveries
                .iter()
                .any(|delivery| delivery.id.to_string() == *deadly);
            if died {
                deaths += 1;
                break;
            }
            let done: Vec<_> = claimed.deliveries.iter().chain(&claimed.poison).collect();
            if done.is_empty() {
                break;
            }
            let entries: Vec<_> = done
                .iter()
                .map(|delivery| (delivery.id, delivery.received))
                .collect();
            queue.acknowledge(&entries).await.expect("Redis answers");
            settled.extend(claimed.deliveries.iter().map(|delivery| delivery.id.to_string()));
            poison.extend(claimed.poison.iter().map(|delivery| delivery.id.to_string()));
        }
        assert!(deaths < 10, "the deadly entry is never recognised");
    }
    assert_eq!(poison, std::slice::from_ref(deadly));
    assert_eq!(settled.len(), 4);
    assert_eq!(
        deaths as u64,
        DELIVERIES_MAX - 1,
        "it was given every chance it is due"
    );
}

#[tokio::test]
async fn many_entries_that_outlived_two_writers_are_taken_over_in_a_few_steps() {
    let (queue, mut keys) = queue_with_entries(100).await;
    let ids = keys.deliver_to_the_dead().await;
    for id in &ids {
        keys.set_deliveries(id, 2).await;
    }
    let mut writer = queue
        .consumer("writer", Duration::from_millis(10))
        .await
        .expect("Redis answers");
    keys.fall_silent("dead-writer", 2 * SILENCE_MS).await;
    // The last delivery an entry is due is one of its own.
    let claimed = writer.claim(SILENCE_MS, 100, 3).await.expect("Redis answers");
    assert_eq!((claimed.deliveries.len(), claimed.suspect), (1, true));
    let mut taken: Vec<String> = Vec::new();
    let mut steps = 0;
    loop {
        let claimed = writer
            .claim(SILENCE_MS, 100, DELIVERIES_MAX)
            .await
            .expect("Redis answers");
        if claimed.deliveries.is_empty() {
            break;
        }
        assert!(claimed.suspect && claimed.poison.is_empty());
        taken.extend(claimed.deliveries.iter().map(|delivery| delivery.id.to_string()));
        steps += 1;
    }
    assert_eq!(taken, ids[1..], "each of the others once, oldest first");
    assert!(steps <= 10, "{steps} steps");
}

#[tokio::test]
async fn a_writer_that_shows_signs_of_life_keeps_its_entries() {
    let (queue, mut keys) = queue_with_entries(3).await;
    let block = Duration::from_millis(10);
    let mut holder = queue.consumer("holder", block).await.expect("Redis answers");
    let mut other = queue.consumer("other", block).await.expect("Redis answers");
    assert_eq!(holder.read(10, false).await.expect("Redis answers").len(), 3);
    keys.fall_silent("holder", 2 * SILENCE_MS).await;
    holder.keep_held().await.expect("Redis answers");
    let claimed = other
        .claim(SILENCE_MS, 10, DELIVERIES_MAX)
        .await
        .expect("Redis answers");
    assert!(
        claimed.deliveries.is_empty(),
        "the holder has just said that it lives"
    );
    keys.fall_silent("holder", 2 * SILENCE_MS).await;
    let claimed = other
        .claim(SILENCE_MS, 10, DELIVERIES_MAX)
        .await
        .expect("Redis answers");
    assert_eq!(claimed.deliveries.len(), 3, "it has been silent for too long");
    assert!(!claimed.suspect, "one death proves nothing");
}

#[tokio::test]
async fn a_writer_whose_connection_broke_finds_what_it_held() {
    let (queue, mut keys) = queue_with_entries(3).await;
    let block = Duration::from_millis(10);
    let mut before = queue.consumer("writer", block).await.expect("Redis answers");
    let held = before.read(10, false).await.expect("Redis answers");
    drop(before);
    let mut after = queue.consumer("writer", block).await.expect("Redis answers");
    after.absolve_held().await.expect("Redis answers");
    let first = after
        .read_held(Default::default(), 2)
        .await
        .expect("Redis answers");
    let second = after.read_held(first[1].id, 2).await.expect("Redis answers");
    let found: Vec<_> = first.iter().chain(&second).map(|delivery| delivery.id).collect();
    assert_eq!(found, held.iter().map(|delivery| delivery.id).collect::<Vec<_>>());
    assert!(
        after
            .read_held(second[0].id, 2)
            .await
            .expect("Redis answers")
            .is_empty()
    );
    let pending: redis::streams::StreamPendingCountReply = redis::cmd("XPENDING")
        .arg(&[&keys.stream, "writers", "-", "+", "10"])
        .query_async(&mut keys.connection)
        .await
        .expect("Redis answers");
    let times: Vec<usize> = pending.ids.iter().map(|entry| entry.times_delivered).collect();
    assert_eq!(times, [1, 1, 1], "a broken connection is no death");
}
