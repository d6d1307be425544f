//! Any order of arrival gives the same rows.
//!
//! The cases are generated and made smaller by hand, since the work under test is asynchronous and needs a
//! database, which proptest's own runner knows nothing about.

use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::json;
use sqlx::{Connection, PgPool};

use super::{
    derive,
    settle::{Parcel, Settler},
    testing,
};
use crate::{event::Event, store::devices};

/// Histories tried unless `PROPTEST_CASES` says otherwise. Each one is settled twice and derived once more,
/// some 100 ms in all.
const CASES: u32 = 60;

/// Returns how many histories to try.
pub(crate) fn cases() -> u32 {
    let wished = std::env::var("PROPTEST_CASES").ok();
    wished.and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

/// One history and one way it may arrive.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub events: Vec<Event>,
    /// Requests in the order of their arrival, as places in `events`; a place may come up again.
    requests: Vec<Vec<usize>>,
    /// How many requests are settled together, over and over.
    together: usize,
}

impl Case {
    /// Returns what arrives, in pieces that are settled together.
    pub(crate) fn batches(&self) -> Vec<Vec<Parcel>> {
        let parcel = |request: &Vec<usize>| Parcel {
            id: None,
            entry: testing::entry(request.iter().map(|place| self.events[*place].clone()).collect()),
        };
        let batches = self.requests.chunks(self.together);
        batches.map(|batch| batch.iter().map(parcel).collect()).collect()
    }
}

fn some_of(texts: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        2 => Just(None),
        1 => select(texts).prop_map(|text| Some(text.to_owned())),
    ]
}

fn any_attributes() -> impl Strategy<Value = serde_json::Map<String, serde_json::Value>> {
    let value = select(vec![json!("a"), json!(2), json!(null), json!({"deep": [1.5]})]);
    prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec((select(vec!["plan", "city", "demographic"]), value), 1..3),
    ]
    .prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    })
}

/// Minutes are few, so that times often tie; gaps are long enough to end sessions.
fn any_event() -> impl Strategy<Value = Event> {
    let place = (
        select(vec!["d1", "d2", "user:ann"]),
        0i64..4,
        0i64..4,
        prop::option::of(0i64..3),
    );
    let kind = prop_oneof![
        3 => Just("page_view"),
        2 => select(vec!["click", "add_to_cart", "page_leave", "error", "search"]),
        2 => Just("logout"),
        2 => Just("identify"),
        1 => Just("purchase"),
    ];
    let texts = (
        some_of(&["ann", "bob"]),
        some_of(&["s1", "s2"]),
        some_of(&["/", "/cart"]),
        some_of(&["newsletter", "ad"]),
        some_of(&["EUR", "USD"]),
    );
    (place, kind, texts, any_attributes(), 0i64..500).prop_map(
        |((device, block, minute, seq), kind, (user, session, page, source, currency), attributes, cents)| {
            let is_purchase = kind == "purchase";
            Event {
                seq,
                user_id: user,
                session_id: session,
                page_path: page,
                utm_source: source,
                currency,
                order_id: (is_purchase && cents % 2 == 0).then(|| format!("o{}", cents % 5)),
                order_total: is_purchase.then(|| rust_decimal::Decimal::new(cents, 2)),
                time_on_page_seconds: (kind == "page_leave").then_some(cents as f64 / 7.0),
                attributes,
                ..testing::event(device, block * 45 + minute, kind)
            }
        },
    )
}

pub(crate) fn any_case() -> impl Strategy<Value = Case> {
    prop::collection::vec(any_event(), 1..24)
        .prop_flat_map(|events| {
            let count = events.len();
            let order = Just((0..count).collect::<Vec<_>>()).prop_shuffle();
            let repeats = prop::collection::vec(0..count, 0..4);
            let names = Just((0..count).collect::<Vec<_>>()).prop_shuffle();
            (Just(events), order, repeats, names, 1usize..6, 1usize..4)
        })
        .prop_map(|(mut events, mut order, repeats, names, size, together)| {
            // Names in no order of time, so that they break ties either way.
            for (event, name) in events.iter_mut().zip(names) {
                event.event_id = format!("e{name:02}");
            }
            order.extend(repeats);
            let requests = order.chunks(size).map(<[usize]>::to_vec).collect();
            Case {
                events,
                requests,
                together,
            }
        })
}

/// Compares the rows of both ways; an error says which table differs.
async fn check(settler: &Settler, case: &Case) -> Result<(), String> {
    let pool = &settler.pool;
    testing::empty(pool).await;
    let mut in_time = case.events.clone();
    in_time.sort_by(|a, b| (a.timestamp, a.seq, &a.event_id).cmp(&(b.timestamp, b.seq, &b.event_id)));
    testing::settle(settler, in_time).await;
    let expected = testing::rows(pool, &testing::DERIVED).await;

    testing::empty(pool).await;
    for batch in case.batches() {
        settler
            .settle(crate::store::ledger::DIRECT, &batch)
            .await
            .map_err(|error| format!("{error:?}"))?;
    }
    compare(&expected, pool, "arrived").await?;
    let changed = derive_all(settler).await;
    if changed != 0 {
        return Err(format!("deriving again changed {changed} rows"));
    }
    compare(&expected, pool, "derived again").await
}

async fn compare(
    expected: &std::collections::BTreeMap<&'static str, Vec<serde_json::Value>>,
    pool: &PgPool,
    when: &str,
) -> Result<(), String> {
    let found = testing::rows(pool, &testing::DERIVED).await;
    for (table, rows) in expected {
        if found[table] != *rows {
            return Err(format!(
                "{when}: {table}\n  expected {:#?}\n  found {:#?}",
                rows, found[table]
            ));
        }
    }
    Ok(())
}

async fn derive_all(settler: &Settler) -> usize {
    let mut connection = settler.pool.acquire().await.unwrap();
    let mut changed = 0;
    for device in devices::ids_after(&mut connection, "", 100).await.unwrap() {
        let mut transaction = connection.begin().await.unwrap();
        devices::lock(&mut transaction, &[&device], testing::now())
            .await
            .unwrap();
        let changes = derive::rederive(&mut transaction, &device, &settler.rules, testing::now())
            .await
            .unwrap();
        derive::recompute(&mut transaction, &changes).await.unwrap();
        changed += changes.sessions_written + changes.sessions_deleted + changes.lives_written;
        transaction.commit().await.unwrap();
    }
    changed
}

#[sqlx::test(migrations = "./migrations")]
async fn any_order_of_arrival_gives_the_same_rows(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let strategy = any_case();
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..cases() {
        let mut tree = strategy.new_tree(&mut runner).unwrap();
        let Err(mut reason) = check(&settler, &tree.current()).await else {
            continue;
        };
        let mut smallest = tree.current();
        let mut steps = 0;
        while steps < 300 && tree.simplify() {
            steps += 1;
            loop {
                match check(&settler, &tree.current()).await {
                    Err(found) => {
                        (reason, smallest) = (found, tree.current());
                        break;
                    }
                    Ok(()) if steps < 300 && tree.complicate() => steps += 1,
                    Ok(()) => {
                        steps = 300;
                        break;
                    }
                }
            }
        }
        panic!("{smallest:#?}\n{reason}");
    }
}
