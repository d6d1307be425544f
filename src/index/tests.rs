//! The index against the store it is a copy of.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, TestRunner},
};
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    Index, View,
    feed::{Feed, Settings},
    load::time_of,
    names::path_of,
};
use crate::{
    event::Event,
    ingest::{
        order_tests::{any_case, cases},
        settle::Settler,
        testing::{self, event, event_of, settle},
    },
    rights::Rights,
    store::{index_changes, ledger::DIRECT},
};

fn settings() -> Settings {
    Settings {
        bytes_max: 100_000_000,
        poll: Duration::from_millis(10),
        events_days: None,
        file: None,
        save_every: TimeDelta::days(1),
    }
}

async fn open(settler: &Settler, settings: Settings) -> (Arc<Index>, Feed) {
    let index = Arc::new(Index::default());
    let feed = Feed::open(
        index.clone(),
        settler.pool.clone(),
        settler.clock.clone(),
        settings,
    )
    .await
    .unwrap();
    (index, feed)
}

/// Everything an index holds, in words, by person.
fn picture(view: &View) -> BTreeMap<Uuid, Vec<String>> {
    let names = view.names();
    let mut people = BTreeMap::new();
    for person in view.shards().iter().flat_map(|shard| shard.people()) {
        let mut lines = vec![format!("first seen {}", time_of(person.first_seen()))];
        for session in person.sessions() {
            let (client, source) = (
                names.clients.get(session.client()),
                names.sources.get(session.source()),
            );
            let order = session
                .order()
                .map(|order| (order.value, names.label(order.currency)));
            lines.push(format!(
                "{} {:?} {:?} {:b} {order:?}",
                time_of(session.start()),
                names.label(client.device_type),
                names.label(source.channel),
                session.flags(),
            ));
            for event in session.events().rows() {
                let event_type = names.types.get(event.event_type.into());
                lines.push(format!(
                    "  {} {event_type} {}",
                    time_of(event.time),
                    path_of(names.pages.get(event.page))
                ));
            }
        }
        people.insert(*names.people.get(person.number()), lines);
    }
    people
}

async fn rebuilt(settler: &Settler) -> BTreeMap<Uuid, Vec<String>> {
    let (index, _) = open(settler, settings()).await;
    picture(&index.view().unwrap())
}

/// Sessions as the store has them: whose, from when, how many events of which types.
async fn stored(pool: &PgPool) -> Vec<(Uuid, DateTime<Utc>, i64, i64)> {
    sqlx::query_as(
        "SELECT customer_id, started_at, event_count::bigint, page_views::bigint FROM sessions ORDER BY 1, 2, 3, 4",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

fn sessions_of(view: &View) -> Vec<(Uuid, DateTime<Utc>, i64, i64)> {
    let names = view.names();
    let page_view = names.types.find("page_view");
    let mut all: Vec<_> = view
        .shards()
        .iter()
        .flat_map(|shard| shard.people())
        .flat_map(|person| person.sessions().map(move |session| (person.number(), session)))
        .map(|(person, session)| {
            let views = session
                .events()
                .rows()
                .filter(|event| Some(event.event_type.into()) == page_view);
            (
                *names.people.get(person),
                time_of(session.start()),
                session.events().len() as i64,
                views.count() as i64,
            )
        })
        .collect();
    all.sort();
    all
}

#[sqlx::test(migrations = "./migrations")]
async fn whatever_arrives_in_whatever_order_the_fed_index_is_the_one_made_anew(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let strategy = any_case();
    let mut runner = TestRunner::new(Config::default());
    for number in 0..cases() {
        let case = strategy.new_tree(&mut runner).unwrap().current();
        testing::empty(&pool).await;
        let (index, mut feed) = open(&settler, settings()).await;
        for (at, batch) in case.batches().iter().enumerate() {
            settler.settle(DIRECT, batch).await.unwrap();
            // Sometimes one look takes in what several commits wrote.
            if !(at + number as usize).is_multiple_of(3) {
                feed.follow().await.unwrap();
            }
        }
        feed.follow().await.unwrap();
        let view = index.view().unwrap();
        let (fed, anew) = (picture(&view), rebuilt(&settler).await);
        for (customer, lines) in &anew {
            assert_eq!(fed.get(customer), Some(lines), "{customer} of {case:#?}");
        }
        assert_eq!(fed.len(), anew.len(), "{case:#?}");
        assert_eq!(sessions_of(&view), stored(&pool).await, "{case:#?}");
    }
}

/// Ann on two devices, Bob on one, somebody unknown.
fn visits() -> Vec<Event> {
    vec![
        event("a1", 0, "page_view"),
        event_of("a1", 1, "identify", "ann"),
        event("a2", 10, "page_view"),
        event_of("a2", 12, "login", "ann"),
        event_of("b1", 3, "purchase", "bob"),
        event("n1", 4, "page_view"),
        event("n1", 400, "page_view"),
    ]
}

fn rights(settler: &Settler) -> Rights {
    Rights {
        pool: settler.pool.clone(),
        situation: settler.situation,
        rules: settler.rules.clone(),
        hasher: settler.hasher.clone(),
        queue: None,
        clock: settler.clock.clone(),
        events_days: None,
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn a_merge_that_is_taken_back_and_an_erasure_reach_the_index(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let (index, mut feed) = open(&settler, settings()).await;
    settle(&settler, visits()).await;
    feed.follow().await.unwrap();
    assert_eq!(index.view().unwrap().size().people, 3);

    rights(&settler)
        .unmerge("ann", "a2", "wrong", "test")
        .await
        .unwrap();
    feed.follow().await.unwrap();
    assert_eq!(index.view().unwrap().size().people, 4);
    assert_eq!(picture(&index.view().unwrap()), rebuilt(&settler).await);

    rights(&settler).erase("n1", "test").await.unwrap();
    feed.follow().await.unwrap();
    let view = index.view().unwrap();
    assert_eq!(view.size().people, 3);
    assert_eq!(picture(&view), rebuilt(&settler).await);
}

#[sqlx::test(migrations = "./migrations")]
async fn after_an_erasure_even_the_names_of_pages_that_only_this_person_saw_are_forgotten(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("index.snapshot");
    let settings = Settings {
        file: Some(file.clone()),
        ..settings()
    };
    let (index, mut feed) = open(&settler, settings).await;
    let mut secret = event("n9", 7, "page_view");
    secret.page_path = Some("/secret-of-n9".into());
    settle(&settler, [visits(), vec![secret]].concat()).await;
    feed.follow().await.unwrap();
    feed.save();
    let has_secret = |bytes: &[u8]| bytes.windows(13).any(|window| window == b"/secret-of-n9");
    assert!(has_secret(&std::fs::read(&file).unwrap()));

    rights(&settler).erase("n9", "test").await.unwrap();
    feed.follow().await.unwrap();
    feed.tidy(settler.clock.now());
    feed.publish();
    feed.save();
    assert!(!has_secret(&std::fs::read(&file).unwrap()));
    let view = index.view().unwrap();
    assert!(view.names().pages.values().all(|page| !page.contains("secret")));
    assert_eq!(picture(&view), rebuilt(&settler).await);
}

#[sqlx::test(migrations = "./migrations")]
async fn a_start_from_a_file_takes_in_what_happened_since(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("index.snapshot");
    let settings = Settings {
        file: Some(file.clone()),
        ..settings()
    };
    settle(&settler, visits()).await;
    let (_, mut feed) = open(&settler, settings.clone()).await;
    feed.save();
    settle(
        &settler,
        vec![event("a1", 5, "click"), event("z1", 9, "page_view")],
    )
    .await;

    let (index, _) = open(&settler, settings.clone()).await;
    assert_eq!(picture(&index.view().unwrap()), rebuilt(&settler).await);

    // What the log no longer holds cannot be caught up with.
    let mut connection = pool.acquire().await.unwrap();
    index_changes::prune(&mut connection, 0.0).await.unwrap();
    let (index, _) = open(&settler, settings.clone()).await;
    assert_eq!(picture(&index.view().unwrap()), rebuilt(&settler).await);

    // Nor is a damaged file believed.
    let mut bytes = std::fs::read(&file).unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 97 + 1) {
        bytes[at] ^= 0x55;
        std::fs::write(&file, &bytes).unwrap();
        let (index, _) = open(&settler, settings.clone()).await;
        assert_eq!(
            picture(&index.view().unwrap()),
            rebuilt(&settler).await,
            "byte {at}"
        );
        bytes[at] ^= 0x55;
    }
    for length in [0, 10, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&file, &bytes[..length]).unwrap();
        let (index, _) = open(&settler, settings.clone()).await;
        assert_eq!(
            picture(&index.view().unwrap()),
            rebuilt(&settler).await,
            "{length} bytes"
        );
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn a_log_that_was_cut_under_a_running_index_is_no_loss(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let (index, mut feed) = open(&settler, settings()).await;
    settle(&settler, visits()).await;
    settle(&settler, vec![event("z1", 9, "page_view")]).await;
    let mut connection = pool.acquire().await.unwrap();
    index_changes::prune(&mut connection, 0.0).await.unwrap();
    feed.follow().await.unwrap();
    assert_eq!(picture(&index.view().unwrap()), rebuilt(&settler).await);
    assert_eq!(index.view().unwrap().size().events, 8);
    settle(&settler, vec![event("z1", 10, "click")]).await;
    feed.follow().await.unwrap();
    assert_eq!(index.view().unwrap().size().events, 9);
}

/// A crowd that leaves many pages behind, a day after the other.
async fn crowd(settler: &Settler, people: i64) {
    for day in 0..9 {
        let events = (0..people).flat_map(|person| {
            (0..10).map(move |step| event(&format!("p{person}"), day * 1440 + person + step, "page_view"))
        });
        settle(settler, events.collect()).await;
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn an_index_without_room_begins_later_and_says_so(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    crowd(&settler, 200).await;
    let (whole, _) = open(&settler, settings()).await;
    let bytes = whole.status().bytes;
    let small = Settings {
        bytes_max: bytes / 2,
        ..settings()
    };
    let (index, mut feed) = open(&settler, small.clone()).await;
    let status = index.status();
    assert!(
        status.bytes <= small.bytes_max,
        "{} of {}",
        status.bytes,
        small.bytes_max
    );
    assert!(status.is_cut_by_memory);
    assert!(status.size.events > 0 && status.size.events < whole.status().size.events);

    // What it still has is what the store has from then on.
    let view = index.view().unwrap();
    let oldest = view
        .shards()
        .iter()
        .flat_map(|shard| shard.people())
        .flat_map(|person| person.sessions());
    let from = oldest.map(|session| session.end()).min().unwrap();
    assert!(from >= view.covered_from);
    let recent: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE timestamp >= $1")
        .bind(time_of(view.covered_from))
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(view.size().events as i64 >= recent);

    // More of the present pushes out more of the past.
    let more = (0..3000).map(|step| event(&format!("q{step}"), 9 * 1440 + step % 60, "page_view"));
    settle(&settler, more.collect()).await;
    feed.follow().await.unwrap();
    feed.keep_house();
    assert!(index.status().bytes <= small.bytes_max);
    assert!(index.view().unwrap().covered_from > view.covered_from);
}

#[sqlx::test(migrations = "./migrations")]
async fn what_retention_takes_from_the_store_leaves_the_index_too(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    crowd(&settler, 5).await;
    let short = Settings {
        events_days: Some(6),
        ..settings()
    };
    let (index, mut feed) = open(&settler, short).await;
    let before = index.view().unwrap();
    let cut = settler.clock.now() - TimeDelta::days(6);
    assert_eq!(before.covered_from, cut.timestamp_micros());
    settler.clock.advance(TimeDelta::days(2));
    feed.keep_house();
    let after = index.view().unwrap();
    assert!(after.size().events < before.size().events);
    assert!(
        after
            .shards()
            .iter()
            .flat_map(|shard| shard.people())
            .flat_map(|person| person.sessions())
            .all(|session| session.end() >= after.covered_from)
    );
}

#[sqlx::test(migrations = "./migrations")]
async fn readers_see_whole_states_while_the_index_changes(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let (index, mut feed) = open(&settler, settings()).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (index, is_over) = (index.clone(), is_over.clone());
            std::thread::spawn(move || {
                let mut looks = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let view = index.view().unwrap();
                    let count =
                        |events: &mut usize, person: super::Person<'_>| *events += person.events().len();
                    let events = view.fold(|| 0, count, |all, part| *all += part);
                    assert_eq!(events, view.size().events);
                    // Each batch is one person's visit of ten events: a state never holds half of one.
                    assert_eq!(events % 10, 0);
                    looks += 1;
                }
                looks
            })
        })
        .collect();
    for batch in 0..120_i64 {
        let events = (0..10).map(|step| event(&format!("p{}", batch % 40), batch * 60 + step, "page_view"));
        settle(&settler, events.collect()).await;
        feed.follow().await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
    assert_eq!(index.view().unwrap().size().events, 1200);
}
