//! Rights against a real database (and Redis, where the queue is concerned).

use std::collections::BTreeMap;

use chrono::TimeDelta;
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};

use super::*;
use crate::{
    event::Event,
    ingest::{
        order_tests::{any_case, cases},
        rebuild::{Mode, rebuild},
        settle::Settler,
        testing::{self, event, event_of, rows, settle},
    },
    session::customer_id_of_user,
};

/// Everything that could hold something of a person.
const ALL: [&str; 10] = [
    "events",
    "event_keys",
    "devices",
    "device_lives",
    "sessions",
    "customers",
    "attribute_facts",
    "identity_log",
    "drop_samples",
    "audit_log",
];

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

fn with_attribute(mut event: Event, name: &str, value: Value) -> Event {
    event.attributes.insert(name.into(), value);
    event
}

/// Ann with two devices, the second one anonymous until she identifies late.
fn ann() -> Vec<Event> {
    vec![
        event("a1", 0, "page_view"),
        with_attribute(event_of("a1", 1, "identify", "ann"), "plan", json!("pro")),
        event("a1", 200, "page_view"),
        event("a2", 10, "page_view"),
        event_of("a2", 500, "login", "ann"),
    ]
}

fn others() -> Vec<Event> {
    vec![
        event("c1", 2, "page_view"),
        with_attribute(event_of("c1", 3, "identify", "cid"), "plan", json!("free")),
        event("n1", 4, "page_view"),
    ]
}

async fn rollup(pool: &PgPool) -> Vec<Value> {
    sqlx::query_scalar("SELECT to_jsonb(h) FROM events_hourly h ORDER BY to_jsonb(h)::text")
        .fetch_all(pool)
        .await
        .unwrap()
}

async fn is_clean(settler: &Settler) -> bool {
    rebuild(&settler.pool, &settler.rules, testing::now, Mode::Check, |_| ())
        .await
        .unwrap()
        .is_clean()
}

async fn exported(rights: &Rights, reference: &str) -> Value {
    let mut chunks = rights.export(reference).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    serde_json::from_slice(&bytes).unwrap()
}

#[sqlx::test(migrations = "./migrations")]
async fn an_erased_person_leaves_no_trace_and_nobody_else_changes(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    settle(&settler, others()).await;
    let (without, rollup_without) = (rows(&pool, &ALL).await, rollup(&pool).await);
    settle(&settler, ann()).await;
    let with = rows(&pool, &ALL).await;

    let preview = rights.preview("ann").await.unwrap();
    assert_eq!(rows(&pool, &ALL).await, with);
    let erasure = rights.erase("a2", "key:7").await.unwrap();
    assert_eq!(erasure.rows, preview.rows);
    assert_eq!(erasure.rollup_hours, preview.rollup_hours);
    let expected = Removed {
        events: 5,
        event_keys: 5,
        sessions: 4,
        attribute_facts: 1,
        identity_log: 2,
        device_lives: 2,
        devices: 2,
        customers: 1,
        customer_scores: 0,
    };
    assert_eq!(erasure.rows, expected);

    let mut after = rows(&pool, &ALL).await;
    let audit = after.remove("audit_log").unwrap();
    let mut without = without;
    without.remove("audit_log");
    assert_eq!(after, without);
    assert_eq!(rollup(&pool).await, rollup_without);
    assert_eq!(audit.len(), 1);
    let id = customer_id_of_user("ann").to_string();
    let line = audit[0].to_string();
    assert!(line.contains("key:7") && line.contains(&erasure.erasure_id.unwrap().to_string()));
    for word in ["ann", "a1", "a2", id.as_str()] {
        assert!(!line.contains(&format!("\"{word}\"")), "{word} in {line}");
    }
    assert!(matches!(rights.preview("ann").await, Err(RightsError::Unknown)));
    assert!(is_clean(&settler).await);
}

#[sqlx::test(migrations = "./migrations")]
async fn what_comes_late_of_an_erased_person_is_refused_and_what_is_new_is_not(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    settle(&settler, ann()).await;
    let erasure = rights.erase("ann", "test").await.unwrap();
    assert_eq!(erasure.erased_at, testing::now());

    settle(&settler, ann()).await;
    settle(
        &settler,
        vec![event("a1", 7, "click"), event_of("a9", 7, "click", "ann")],
    )
    .await;
    let after = rows(&pool, &ALL).await;
    assert!(after["events"].is_empty() && after["customers"].is_empty());

    let mut new = event("a1", 0, "page_view");
    new.timestamp = testing::now() + TimeDelta::seconds(1);
    settle(&settler, vec![new]).await;
    assert_eq!(rows(&pool, &ALL).await["events"].len(), 1);
    let refused: i64 =
        sqlx::query_scalar("SELECT sum(count)::bigint FROM ingest_ledger WHERE reason = 'erased'")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(refused, 7);
}

/// Ann, then Bob, then nobody in particular, on one device.
fn shared() -> Vec<Event> {
    vec![
        event_of("d", 0, "identify", "ann"),
        event("d", 1, "page_view"),
        event_of("d", 10, "identify", "bob"),
        with_attribute(event("d", 11, "page_view"), "plan", json!("bob's")),
        event("d", 12, "logout"),
        event("d", 20, "page_view"),
    ]
}

type Owned = BTreeMap<String, Value>;

/// Whose life starts at which event.
async fn owners(pool: &PgPool) -> Owned {
    rows(pool, &["device_lives"]).await["device_lives"]
        .iter()
        .map(|life| {
            (
                life["start_event"].as_str().unwrap().to_owned(),
                life["customer_id"].clone(),
            )
        })
        .collect()
}

#[sqlx::test(migrations = "./migrations")]
async fn erasing_one_of_several_people_on_a_device_leaves_the_others_as_they_were(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    settle(&settler, shared()).await;
    let mut before = owners(&pool).await;
    let ann = before["d/00000/identify"].clone();
    let nobody = before["d/00020/page_view"].clone();
    assert!(matches!(rights.preview("d").await, Err(RightsError::Ambiguous(people)) if people.len() == 3));

    let erasure = rights.erase("bob", "test").await.unwrap();
    assert_eq!((erasure.rows.events, erasure.rows.devices), (3, 0));
    before.remove("d/00010/identify");
    assert_eq!(owners(&pool).await, before);
    assert!(is_clean(&settler).await);

    // Late events: Ann's come in, and those of Bob's stretch do not, although they name nobody.
    let late = vec![
        event("d", 2, "click"),
        event("d", 11, "click"),
        event("d", 21, "click"),
    ];
    settle(&settler, late).await;
    let events = rows(&pool, &["events"]).await;
    let ids: Vec<&str> = events["events"]
        .iter()
        .map(|row| row["event_id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&"d/00002/click") && ids.contains(&"d/00021/click"));
    assert!(!ids.contains(&"d/00011/click"));
    assert_eq!(owners(&pool).await, before);
    let of = |id: &Value| {
        format!(
            "SELECT count(*) FROM sessions WHERE customer_id = {}",
            id.to_string().replace('"', "'")
        )
    };
    for person in [&ann, &nobody] {
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(of(person)))
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(count, 1);
    }
    assert!(is_clean(&settler).await);
}

#[sqlx::test(migrations = "./migrations")]
async fn what_a_device_sends_after_its_last_user_was_erased_is_not_the_one_befores(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    settle(&settler, shared()[..4].to_vec()).await;
    rights.erase("bob", "test").await.unwrap();
    let ann = owners(&pool).await;
    assert_eq!(ann.len(), 1);

    let mut new = event("d", 0, "click");
    new.event_id = "new".into();
    new.timestamp = testing::now() + TimeDelta::seconds(1);
    settle(&settler, vec![new]).await;
    let after = owners(&pool).await;
    assert_eq!(after.len(), 2);
    assert_ne!(after["new"], ann["d/00000/identify"]);
    assert!(is_clean(&settler).await);
}

#[sqlx::test(migrations = "./migrations")]
async fn tombstones_erase_again_what_an_older_backup_brings_back(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    settle(&settler, [ann(), others(), shared()].concat()).await;
    let tables = &ALL[..9];
    let backup: Vec<String> = tables
        .iter()
        .map(|table| format!("CREATE TABLE backup_{table} AS TABLE {table}"))
        .collect();
    sqlx::raw_sql(AssertSqlSafe(backup.join(";")))
        .execute(&pool)
        .await
        .unwrap();
    rights.erase("ann", "test").await.unwrap();
    rights.erase("bob", "test").await.unwrap();
    let erased = rows(&pool, tables).await;
    let rollup_erased = rollup(&pool).await;
    let kept = rights.tombstones_kept().await.unwrap();

    // The backup is older than the tombstones, too.
    sqlx::query("DELETE FROM erasure_tombstones")
        .execute(&pool)
        .await
        .unwrap();
    for table in tables {
        let columns: Vec<String> = sqlx::query_scalar(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND attidentity = ''",
        )
        .bind(table)
        .fetch_all(&pool)
        .await
        .unwrap();
        let columns = columns.join(",");
        let restore = format!(
            "DELETE FROM {table}; INSERT INTO {table} ({columns}) SELECT {columns} FROM backup_{table}"
        );
        sqlx::raw_sql(AssertSqlSafe(restore))
            .execute(&pool)
            .await
            .unwrap();
    }
    assert!(rights.preview("ann").await.is_ok());

    let replay = rights.replay_tombstones(&kept, "test").await.unwrap();
    assert_eq!(
        replay.subjects, 5,
        "the devices a1, a2 and d, and both users, of whom the merge log is left then"
    );
    let mut replayed = rows(&pool, tables).await;
    let mut erased = erased;
    for rows in [&mut replayed, &mut erased] {
        for row in rows.get_mut("identity_log").unwrap() {
            row["id"] = Value::Null;
        }
    }
    assert_eq!(replayed, erased);
    assert_eq!(rollup(&pool).await, rollup_erased);
    assert!(is_clean(&settler).await);
    let again = rights.replay_tombstones(&[], "test").await.unwrap();
    assert_eq!(again.rows, Removed::default());
}

#[sqlx::test(migrations = "./migrations")]
async fn an_export_has_everything_of_the_person_and_nothing_of_others(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    let mut rich = event_of("a1", 300, "search", "ann");
    rich.properties.insert("empty".into(), Value::Null);
    rich.search_query = Some("blue socks".into());
    settle(&settler, [ann(), others(), shared(), vec![rich]].concat()).await;

    let document = exported(&rights, &customer_id_of_user("ann").to_string()).await;
    assert_eq!(document["person"]["user_id"], "ann");
    assert_eq!(document["customer"][0]["attributes"], json!({"plan": "pro"}));
    let count = |member: &str| document[member].as_array().unwrap().len();
    assert_eq!((count("lives"), count("sessions"), count("events")), (3, 6, 8));
    assert_eq!((count("attribute_facts"), count("identity_log")), (1, 3));
    let rich = document["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["event_type"] == "search")
        .unwrap();
    assert_eq!(rich["properties"], json!({"empty": null}));
    assert_eq!(rich["search_query"], "blue socks");
    assert!(rich.get("order_id").is_none());
    let text = document.to_string();
    for foreign in ["bob", "cid", "c1/", "n1/", "d/00020"] {
        assert!(!text.contains(foreign), "{foreign} in {text}");
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn an_export_of_many_events_has_each_once(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let many: Vec<Event> = (0..1203)
        .map(|minute| event("m", minute / 5 * 3, "click"))
        .enumerate()
        .map(|(index, event)| Event {
            event_id: format!("e{index}"),
            ..event
        })
        .collect();
    settle(&settler, many).await;
    let document = exported(&rights(&settler), "m").await;
    let ids: std::collections::BTreeSet<&str> = document["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["event_id"].as_str().unwrap())
        .collect();
    assert_eq!(
        (document["events"].as_array().unwrap().len(), ids.len()),
        (1203, 1203)
    );
}

#[sqlx::test(migrations = "./migrations")]
async fn an_unmerge_restores_what_was_before_and_a_later_claim_counts(pool: PgPool) {
    let tables = [
        "sessions",
        "customers",
        "device_lives",
        "attribute_facts",
        "devices",
    ];
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    // As it would be had the device's events never named anybody.
    let unnamed: Vec<Event> = ann()
        .into_iter()
        .map(|event| match event.device_id.as_str() {
            "a2" => Event {
                user_id: None,
                ..event
            },
            _ => event,
        })
        .collect();
    settle(&settler, unnamed).await;
    let before = rows(&pool, &tables).await;
    testing::empty(&pool).await;
    settle(&settler, ann()).await;
    assert_ne!(rows(&pool, &tables).await, before);

    settler.clock.advance(TimeDelta::seconds(1));
    let unmerged = rights
        .unmerge("ann", "a2", "a friend's tablet", "test")
        .await
        .unwrap();
    assert_eq!(
        unmerged.customers,
        [crate::session::customer_id_of_life("a2", 0, "")]
    );
    assert_eq!(rows(&pool, &tables).await, before);
    assert!(is_clean(&settler).await);
    assert!(matches!(
        rights.unmerge("ann", "a2", "again", "test").await,
        Err(RightsError::NotLinked)
    ));
    assert!(matches!(
        rights.unmerge("a2", "a2", "nobody", "test").await,
        Err(RightsError::NotMerged)
    ));

    // The same claim sent before the unmerge and arriving after it stays undone; a new one links again.
    settle(&settler, vec![event_of("a2", 501, "click", "ann")]).await;
    assert_eq!(
        owners(&pool).await["a2/00010/page_view"],
        json!(unmerged.customers[0])
    );
    let mut later = event_of("a2", 502, "identify", "ann");
    later.received_at = settler.clock.now() + TimeDelta::seconds(1);
    settle(&settler, vec![later]).await;
    assert_eq!(
        owners(&pool).await["a2/00010/page_view"],
        json!(customer_id_of_user("ann"))
    );
    let log: Vec<String> =
        sqlx::query_scalar("SELECT action FROM identity_log WHERE device_id = 'a2' ORDER BY id")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(log, ["link", "unlink", "link"]);
}

#[sqlx::test(migrations = "./migrations")]
async fn erasing_a_user_takes_the_name_from_devices_that_were_unmerged(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    settle(&settler, ann()).await;
    settler.clock.advance(TimeDelta::seconds(1));
    rights.unmerge("ann", "a2", "not hers", "test").await.unwrap();
    rights.erase("ann", "test").await.unwrap();
    let left = rows(&pool, &ALL).await;
    assert_eq!(left["events"].len(), 1);
    assert_eq!(left["events"][0]["device_id"], "a2");
    assert!(left["identity_log"].is_empty());
    assert!(is_clean(&settler).await);
}

/// Has PostgreSQL take back the first `times` transactions that write to the audit log.
async fn take_back(pool: &PgPool, times: i32) {
    let statements = format!(
        "CREATE SEQUENCE attempts;
         CREATE FUNCTION take_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('attempts') <= {times} THEN RAISE 'met another' USING ERRCODE = '40P01'; END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER take_back BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION take_back()"
    );
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(pool)
        .await
        .unwrap();
}

#[sqlx::test(migrations = "./migrations")]
async fn an_erasure_that_meets_a_deadlock_is_tried_again(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    settle(&settler, ann()).await;
    take_back(&pool, 3).await;
    let erasure = rights(&settler).erase("ann", "test").await.unwrap();
    assert_eq!(erasure.rows.events, 5);
    let left = rows(&pool, &ALL).await;
    assert_eq!((left["events"].len(), left["audit_log"].len()), (0, 1));
}

#[sqlx::test(migrations = "./migrations")]
async fn an_erasure_that_meets_nothing_but_deadlocks_fails_and_changes_nothing(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    settle(&settler, ann()).await;
    let before = rows(&pool, &ALL).await;
    take_back(&pool, 4).await;
    let failed = rights(&settler).erase("ann", "test").await;
    assert!(matches!(failed, Err(RightsError::Store(_))));
    assert_eq!(rows(&pool, &ALL).await, before);
}

/// Every word that only events naming Ann on the device had.
fn assert_no_trace(left: &BTreeMap<&'static str, Vec<Value>>, words: &[&str]) {
    let text = format!("{left:?}");
    for word in words {
        assert!(!text.contains(word), "{word} in {left:#?}");
    }
}

/// Events that all name Ann, with an order of hers; the device was taken from her before the erasure.
fn named() -> Vec<Event> {
    let mut order = event_of("a2", 3, "purchase", "ann");
    order.order_id = Some("order-of-ann".into());
    order.page_path = Some("/page-of-ann".into());
    let mut landing = event_of("a2", 0, "identify", "ann");
    landing.page_path = Some("/landing-of-ann".into());
    vec![landing, order]
}

const NAMED_WORDS: [&str; 6] = [
    "order-of-ann",
    "/page-of-ann",
    "/landing-of-ann",
    "a2/00000",
    "a2/00003",
    "\"ann\"",
];

async fn unmerged_and_erased(settler: &Settler, rights: &Rights) -> BTreeMap<&'static str, Vec<Value>> {
    settler.clock.advance(TimeDelta::seconds(1));
    rights.unmerge("ann", "a2", "not hers", "test").await.unwrap();
    let preview = rights.preview("ann").await.unwrap();
    let erasure = rights.erase("ann", "test").await.unwrap();
    assert_eq!(erasure.rows, preview.rows);
    rows(&settler.pool, &ALL).await
}

#[sqlx::test(migrations = "./migrations")]
async fn erasing_a_user_whose_event_began_an_unmerged_device_leaves_none_of_its_sessions(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    let rest = vec![event("a2", 10, "page_view"), event("a2", 300, "page_view")];
    settle(&settler, rest.clone()).await;
    let tables = ["sessions", "customers", "device_lives", "devices"];
    let without = rows(&pool, &tables).await;
    testing::empty(&pool).await;

    settle(&settler, [named(), rest].concat()).await;
    let left = unmerged_and_erased(&settler, &rights).await;
    assert_no_trace(&left, &NAMED_WORDS);
    assert_eq!(rows(&pool, &tables).await, without);
    assert!(is_clean(&settler).await);
}

#[sqlx::test(migrations = "./migrations")]
async fn erasing_a_user_who_sent_all_of_an_unmerged_device_removes_the_device(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    settle(&settler, named()).await;
    let mut left = unmerged_and_erased(&settler, &rights).await;
    assert_eq!(left.remove("audit_log").unwrap().len(), 2);
    assert!(left.values().all(Vec::is_empty), "{left:#?}");
    assert!(is_clean(&settler).await);
}

#[sqlx::test(migrations = "./migrations")]
async fn erasing_a_user_from_an_unmerged_device_spares_what_retention_left_of_before(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    let mut old = event("a2", -3000, "page_view");
    old.page_path = Some("/dropped".into());
    let mut logout = event("a2", 4, "logout");
    logout.user_id = Some("ann".into());
    let rest = vec![
        logout,
        event("a2", 10, "page_view"),
        event("a2", 300, "page_view"),
    ];
    settle(&settler, [vec![old], named(), rest].concat()).await;
    sqlx::query("DELETE FROM events WHERE page_path = '/dropped'")
        .execute(&pool)
        .await
        .unwrap();
    let before = owners(&pool).await;
    assert_eq!(before.len(), 2);
    let left = unmerged_and_erased(&settler, &rights).await;
    assert_no_trace(&left, &NAMED_WORDS);
    let paths: Vec<&Value> = left["sessions"].iter().map(|row| &row["landing_page"]).collect();
    assert_eq!(paths.len(), 3, "{paths:?}");
    assert_eq!(
        owners(&pool).await["a2/00010/page_view"],
        before["a2/00010/page_view"],
        "the logout that went still parts the two lives"
    );
    assert_eq!(owners(&pool).await.len(), 2);
    assert!(is_clean(&settler).await);
}

#[sqlx::test(migrations = "./migrations")]
async fn erasing_all_that_retention_left_of_an_unmerged_device_leaves_what_was_before(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    settle(
        &settler,
        [vec![event("a2", -3000, "page_view")], named()].concat(),
    )
    .await;
    sqlx::query("DELETE FROM events WHERE user_id IS NULL")
        .execute(&pool)
        .await
        .unwrap();
    let left = unmerged_and_erased(&settler, &rights).await;
    assert_no_trace(&left, &NAMED_WORDS);
    assert_eq!((left["events"].len(), left["sessions"].len()), (0, 1));
    assert!(is_clean(&settler).await);
}

#[sqlx::test(migrations = "./migrations")]
async fn an_unmerge_undoes_a_claim_whose_events_retention_has_dropped(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    settle(&settler, ann()).await;
    sqlx::query("DELETE FROM events WHERE device_id = 'a2'")
        .execute(&pool)
        .await
        .unwrap();
    rights.unmerge("ann", "a2", "not hers", "test").await.unwrap();
    let nobody = json!(crate::session::customer_id_of_life("a2", 0, ""));
    assert_eq!(owners(&pool).await["a2/00010/page_view"], nobody);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM customers")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(left, 2);
}

#[sqlx::test(migrations = "./migrations")]
async fn a_rebuild_finds_and_mends_a_row_that_is_not_what_the_events_say(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    settle(&settler, [ann(), shared()].concat()).await;
    let right = rows(&pool, &testing::DERIVED).await;
    sqlx::query("UPDATE sessions SET page_views = page_views + 1 WHERE device_id = 'a1' AND life = 0")
        .execute(&pool)
        .await
        .unwrap();
    let wrong = rows(&pool, &testing::DERIVED).await;
    assert!(!is_clean(&settler).await);
    assert_eq!(rows(&pool, &testing::DERIVED).await, wrong);
    let mended = rebuild(&pool, &settler.rules, testing::now, Mode::Repair, |_| ())
        .await
        .unwrap();
    assert_eq!((mended.devices, mended.devices_different), (3, 1));
    assert_eq!(rows(&pool, &testing::DERIVED).await, right);
}

/// Whatever the history: nothing names the erased user, the rows are what the events say, and everybody
/// else's lives start where they did and belong to whom they did.
#[sqlx::test(migrations = "./migrations")]
async fn any_erasure_leaves_everybody_else_where_they_were(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    let strategy = any_case().prop_map(|case| case.events);
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..cases() {
        let events = strategy.new_tree(&mut runner).unwrap().current();
        testing::empty(&settler.pool).await;
        settle(&settler, events.clone()).await;
        let before = owners(&pool).await;
        match rights.erase("bob", "test").await {
            Ok(_) => {}
            Err(RightsError::Unknown) => continue,
            Err(error) => panic!("{error:?}\n{events:#?}"),
        }
        let bob = json!(customer_id_of_user("bob"));
        let expected: Owned = before.into_iter().filter(|(_, owner)| *owner != bob).collect();
        assert_eq!(owners(&pool).await, expected, "{events:#?}");
        let left = rows(&pool, &ALL).await;
        assert!(!format!("{left:?}").contains("bob"), "{left:#?}");
        assert!(is_clean(&settler).await, "{events:#?}");
        settle(&settler, events.clone()).await;
        assert_eq!(owners(&pool).await, expected, "sent again: {events:#?}");
    }
}

/// A queue of this test's own on the Redis that tests are given.
async fn own_queue() -> Arc<Queue> {
    let config = crate::config::Redis {
        queue_url: std::env::var("REDIS_URL").expect("REDIS_URL names the Redis for tests"),
        key_prefix: format!("test-{}", Uuid::now_v7()),
        ..crate::config::Redis::default()
    };
    Arc::new(Queue::open(&config, 1000).await.unwrap())
}

async fn bury(queue: &Queue, payload: Vec<u8>, received: u32) {
    let delivery = crate::ingest::queue::Delivery {
        id: crate::store::ledger::EntryId::default(),
        version: crate::ingest::entry::VERSION.into(),
        received,
        payload,
    };
    queue.bury(&delivery, "poison").await.unwrap();
}

#[sqlx::test(migrations = "./migrations")]
async fn the_queue_and_its_dead_letters_are_searched_too(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let queue = own_queue().await;
    let rights = Rights {
        queue: Some(queue.clone()),
        ..rights(&settler)
    };
    settle(&settler, ann()).await;
    // Of a device that only the queue knows, what came before it named Ann is hers as well.
    let waiting = vec![
        event("a1", 600, "click"),
        event("a7", 600, "click"),
        event_of("a7", 601, "identify", "ann"),
        event("n1", 600, "click"),
    ];
    queue.add(&testing::entry(waiting)).await.unwrap();
    bury(
        &queue,
        testing::entry(vec![event("a2", 700, "click")]).encode(),
        1,
    )
    .await;
    let mixed = vec![event("a1", 701, "click"), event("n1", 701, "click")];
    bury(&queue, testing::entry(mixed).encode(), 2).await;
    bury(&queue, b"torn".to_vec(), 1).await;

    let document = exported(&rights, "ann").await;
    let count = |member: &str| document[member].as_array().unwrap().len();
    assert_eq!((count("queued_events"), count("dead_letter_events")), (3, 2));
    let expected = QueueErasure {
        waiting: 3,
        dead_letters: 2,
        dead_letters_unreadable: 1,
    };
    assert_eq!(rights.preview("ann").await.unwrap().queue, expected);
    assert_eq!(queue.dead_letters(10).await.unwrap().len(), 3);
    assert_eq!(rights.erase("ann", "test").await.unwrap().queue, expected);

    let letters = queue.dead_letters(10).await.unwrap();
    let left: Vec<(u32, Option<usize>)> = letters
        .iter()
        .map(|letter| {
            let entry = crate::ingest::entry::Entry::decode("1", &letter.delivery.payload).ok();
            (letter.delivery.received, entry.map(|entry| entry.events.len()))
        })
        .collect();
    assert_eq!(left, [(1, None), (1, Some(1))]);
    let peeked = queue
        .peek(crate::store::ledger::EntryId::default(), 10)
        .await
        .unwrap();
    let entry = crate::ingest::entry::Entry::decode("1", &peeked[0].payload).unwrap();
    settle(&settler, entry.events).await;
    let stored = rows(&pool, &["events"]).await;
    assert_eq!(stored["events"].len(), 1);
    assert_eq!(stored["events"][0]["device_id"], "n1");
}

/// TimescaleDB's community edition, on the one connection its build for tests allows.
async fn timescale() -> Settler {
    let url = std::env::var("TIMESCALEDB_URL").expect("TIMESCALEDB_URL names the TimescaleDB for tests");
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .connect_lazy_with(options.database(&format!("once_{}", Uuid::now_v7().simple())));
    crate::store::MIGRATOR.run(&pool).await.unwrap();
    let settler = testing::settler_on(pool).await;
    assert_eq!(settler.situation, Situation::TimescaleCommunity);
    Settler {
        load: crate::store::events::Load::Insert,
        ..settler
    }
}

#[tokio::test]
async fn compressed_chunks_and_the_continuous_aggregate_lose_the_person() {
    let settler = timescale().await;
    let pool = &settler.pool;
    let rights = rights(&settler);
    settle(&settler, others()).await;
    let rollup_without = rollup(pool).await;
    settle(&settler, [ann(), shared()].concat()).await;
    let compressed: i64 = sqlx::query_scalar("SELECT count(compress_chunk(c)) FROM show_chunks('events') c")
        .fetch_one(pool)
        .await
        .unwrap();
    assert!(compressed > 0);
    sqlx::raw_sql("CALL refresh_continuous_aggregate('events_hourly', NULL, NULL)")
        .execute(pool)
        .await
        .unwrap();
    assert_ne!(rollup(pool).await, rollup_without);

    let preview = rights.preview("ann").await.unwrap();
    assert_eq!(preview.rows.events, 7);
    assert_eq!(rights.erase("ann", "test").await.unwrap().rows, preview.rows);
    rights.erase("bob", "test").await.unwrap();
    let nobody = rows(pool, &["device_lives"]).await["device_lives"]
        .iter()
        .find(|life| life["device_id"] == "d")
        .map(|life| life["customer_id"].as_str().unwrap().to_owned());
    rights.erase(&nobody.unwrap(), "test").await.unwrap();
    // What is materialised, without what a real-time aggregate adds to it from the events.
    sqlx::raw_sql("ALTER MATERIALIZED VIEW events_hourly SET (timescaledb.materialized_only = true)")
        .execute(pool)
        .await
        .unwrap();
    assert_eq!(rollup(pool).await, rollup_without);
    assert_eq!(rows(pool, &["events"]).await["events"].len(), others().len());
    assert!(is_clean(&settler).await);
}

#[sqlx::test(migrations = "./migrations")]
async fn scores_are_shown_to_the_person_and_go_with_them(pool: PgPool) {
    let settler = testing::settler(&pool).await;
    let rights = rights(&settler);
    settle(&settler, ann()).await;
    settle(&settler, others()).await;
    sqlx::query(
        "INSERT INTO customer_scores (customer_id, computed_at, engagement, loyalty_tier, why)
         SELECT id, last_seen, 42, 'visitor', '{}' FROM customers",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert_eq!(exported(&rights, "ann").await["scores"][0]["engagement"], 42);
    let before = rows(&pool, &["customer_scores"]).await["customer_scores"].len();
    assert_eq!(rights.erase("ann", "test").await.unwrap().rows.customer_scores, 1);
    let left = rows(&pool, &["customer_scores"]).await;
    assert_eq!(left["customer_scores"].len(), before - 1);
    let id = customer_id_of_user("ann").to_string();
    assert!(
        left["customer_scores"]
            .iter()
            .all(|row| row["customer_id"] != id.as_str())
    );
}
