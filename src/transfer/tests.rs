//! Imports and exports against a real database.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::{
    TransferError,
    checkpoint::default_path,
    export::{self, Export, Output, Subject},
    import::{self, Import, Means, Outcome, Plan},
    prepare::IdRule,
    reader::{Format, Input},
};
use crate::{
    config::Config,
    ingest::{ledger, settle::Settler},
    ops::Clock,
    service,
    store::{export::Selection, situation},
};

fn config() -> Config {
    let mut config = Config::default();
    config.secrets.api_key_salt = "a salt of sixteen".into();
    config
}

fn now() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

async fn open(pool: &PgPool) -> Settler {
    let config = config();
    let mut connection = pool.acquire().await.unwrap();
    let situation = situation::prepare(&mut connection, &config.retention)
        .await
        .unwrap();
    let options = service::Options::new(Clock::fixed(now()));
    service::settler(&config, pool.clone(), situation, &options)
}

fn import_of(path: &Path, plan: Plan) -> Import {
    Import {
        input: Input::File(path.into()),
        plan,
        checkpoint: None,
        restart: false,
        refused: None,
    }
}

fn means(settler: Option<&Settler>, stop: &CancellationToken) -> Means {
    Means {
        policy: service::policy(&config()).unwrap(),
        clock: Clock::fixed(now()),
        settler: settler.cloned(),
        stop: stop.clone(),
    }
}

async fn run(import: Import, settler: Option<&Settler>) -> Result<Outcome, TransferError> {
    import::run(import, means(settler, &CancellationToken::new()), |_| {}).await
}

/// Stops after the first batch, as Ctrl-C does.
async fn run_one_batch(import: Import, settler: &Settler) -> Outcome {
    let stop = CancellationToken::new();
    let outcome = import::run(import, means(Some(settler), &stop), |progress| {
        if !progress.is_resuming {
            stop.cancel();
        }
    })
    .await;
    outcome.unwrap()
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn log(rows: usize) -> String {
    let mut text = String::from("visitor,action,at,amount,note\n");
    for row in 0..rows {
        let at = now() - TimeDelta::seconds((rows - row) as i64);
        let action = if row % 7 == 6 {
            "Order Completed"
        } else {
            "$pageview"
        };
        text += &format!(
            "u{},{action},{},{row},\"a \"\"note\"\"\nof two lines\"\n",
            row % 40,
            at.to_rfc3339()
        );
    }
    text
}

fn log_plan() -> Plan {
    let pair = |left: &str, right: &str| (left.to_owned(), right.to_owned());
    Plan {
        map: vec![
            pair("user_id", "visitor"),
            pair("event", "action"),
            pair("timestamp", "at"),
        ],
        ..Plan::default()
    }
}

/// All rows of a table as JSON, without the columns that say when and by which key they came.
async fn rows(pool: &PgPool, table: &'static str) -> Vec<Value> {
    let query = match table {
        "events" => {
            "SELECT to_jsonb(t) - 'received_at' - 'key_id' FROM events t ORDER BY timestamp, event_id"
        }
        "sessions" => "SELECT to_jsonb(t) FROM sessions t ORDER BY id",
        "customers" => "SELECT to_jsonb(t) FROM customers t ORDER BY id",
        "device_lives" => "SELECT to_jsonb(t) FROM device_lives t ORDER BY device_id, life",
        "attribute_facts" => {
            "SELECT to_jsonb(t) FROM attribute_facts t ORDER BY device_id, name, occurred_at"
        }
        "ingest_ledger" => {
            "SELECT to_jsonb(t) - 'epoch' - 'hour' FROM ingest_ledger t ORDER BY outcome, reason"
        }
        other => panic!("{other}"),
    };
    sqlx::query_scalar(query).fetch_all(pool).await.unwrap()
}

async fn count(pool: &PgPool, table: &'static str) -> usize {
    rows(pool, table).await.len()
}

async fn balances(pool: &PgPool) -> bool {
    let mut connection = pool.acquire().await.unwrap();
    ledger::audit(&mut connection, None).await.unwrap().balances()
}

#[sqlx::test(migrations = "./migrations")]
async fn a_file_imported_twice_is_stored_once(pool: PgPool) {
    let settler = open(&pool).await;
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "log.csv", log(300));
    let first = run(import_of(&path, log_plan()), Some(&settler)).await.unwrap();
    assert!(first.is_complete);
    assert_eq!((first.report.events, first.report.stored), (300, 300));
    assert_eq!(first.report.renamed["$pageview"].to, "page_view");
    assert_eq!(first.report.renamed["Order Completed"].count, 42);
    let before = (
        rows(&pool, "events").await,
        rows(&pool, "sessions").await,
        rows(&pool, "customers").await,
    );
    assert_eq!(before.2.len(), 40);
    assert_eq!(
        before.0[0]["properties"],
        json!({"amount": 0, "note": "a \"note\"\nof two lines"})
    );

    // From another path, packed.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(log(300).as_bytes()).unwrap();
    let other = write(folder.path(), "again.csv.gz", packed.finish().unwrap());
    let second = run(import_of(&other, log_plan()), Some(&settler)).await.unwrap();
    assert_eq!((second.report.stored, second.report.duplicate), (0, 300));
    let after = (
        rows(&pool, "events").await,
        rows(&pool, "sessions").await,
        rows(&pool, "customers").await,
    );
    assert_eq!(before, after);
    assert!(balances(&pool).await);
    assert!(!default_path(&path).exists() && !default_path(&other).exists());

    // Under another source they are other events.
    let mut plan = log_plan();
    plan.ids.source = "old shop".into();
    let third = run(import_of(&path, plan), Some(&settler)).await.unwrap();
    assert_eq!(third.report.stored, 300);
}

#[sqlx::test(migrations = "./migrations")]
async fn equal_lines_are_events_of_their_own(pool: PgPool) {
    let settler = open(&pool).await;
    let folder = tempfile::tempdir().unwrap();
    let line = "{\"user_id\":\"u\",\"event\":\"click\",\"time\":\"2026-03-01T10:00:00Z\"}\n";
    let path = write(folder.path(), "log.jsonl", line.repeat(3));
    for (stored, duplicate) in [(3, 0), (0, 3)] {
        let report = run(import_of(&path, Plan::default()), Some(&settler))
            .await
            .unwrap()
            .report;
        assert_eq!((report.stored, report.duplicate), (stored, duplicate));
    }
    let seq: Vec<i64> = sqlx::query_scalar("SELECT seq FROM events ORDER BY seq")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(seq, [1, 2, 3]);
}

#[sqlx::test(migrations = "./migrations")]
async fn a_stopped_import_goes_on_where_it_was(pool: PgPool) {
    let settler = open(&pool).await;
    let folder = tempfile::tempdir().unwrap();
    let mut text = log(5000);
    text += "u1,oops\n";
    let path = write(folder.path(), "log.csv", &text);
    let refused = folder.path().join("refused.ndjson");
    let import = || Import {
        refused: Some(refused.clone()),
        ..import_of(&path, log_plan())
    };
    let first = run_one_batch(import(), &settler).await;
    assert!(!first.is_complete);
    assert_eq!((first.report.stored, count(&pool, "events").await), (2000, 2000));

    // The state of one batch ago, as after a crash between commit and state.
    let state = default_path(&path);
    let old_state = fs::read(&state).unwrap();
    let second = run_one_batch(import(), &settler).await;
    assert_eq!((second.is_complete, second.report.stored), (false, 4000));
    fs::write(&state, &old_state).unwrap();
    fs::write(&refused, "written after the state\n").unwrap();
    let last = run(import(), Some(&settler)).await.unwrap();
    assert!(last.is_complete && !state.exists());
    assert_eq!(last.resumed_at, Some(2000));
    assert_eq!(last.report.events, 5001);
    assert_eq!(last.report.stored + last.report.duplicate, 5000);
    assert_eq!(last.report.refused["invalid_csv"].first_lines, [10_002]);
    assert_eq!(count(&pool, "events").await, 5000);
    let lines: Vec<Value> = fs::read_to_string(&refused)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["line"], &lines[0]["content"]),
        (&json!(10_002), &json!("u1,oops"))
    );
    assert!(balances(&pool).await);

    // A database that is older than the state: what is missing comes with --restart, and only that.
    sqlx::query("DELETE FROM event_keys")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("TRUNCATE events, sessions, customers, customer_scores, devices, device_lives")
        .execute(&pool)
        .await
        .unwrap();
    fs::write(&state, &old_state).unwrap();
    let again = Import {
        restart: true,
        ..import()
    };
    assert_eq!(run(again, Some(&settler)).await.unwrap().report.stored, 5000);
}

#[sqlx::test(migrations = "./migrations")]
async fn a_state_of_another_file_or_plan_is_refused_and_a_longer_file_goes_on(pool: PgPool) {
    let settler = open(&pool).await;
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "log.csv", log(10));
    let state = folder.path().join("state.json");
    let import = |plan| Import {
        checkpoint: Some(state.clone()),
        ..import_of(&path, plan)
    };
    run(import(log_plan()), Some(&settler)).await.unwrap();
    assert!(state.exists());

    let other = Plan {
        keep_old: true,
        ..log_plan()
    };
    let refused = run(import(other), Some(&settler)).await.unwrap_err();
    assert!(matches!(refused, TransferError::OtherState { .. }), "{refused}");

    let longer = format!(
        "{}u1,click,2026-03-01T11:59:59Z,1,new\n",
        fs::read_to_string(&path).unwrap()
    );
    fs::write(&path, &longer).unwrap();
    let report = run(import(log_plan()), Some(&settler)).await.unwrap().report;
    assert_eq!((report.events, report.stored, report.duplicate), (11, 11, 0));

    fs::write(&path, longer.replacen("u1,", "u2,", 1)).unwrap();
    let refused = run(import(log_plan()), Some(&settler)).await.unwrap_err();
    assert!(matches!(refused, TransferError::OtherFile), "{refused}");
    fs::write(&path, log(3)).unwrap();
    let refused = run(import(log_plan()), Some(&settler)).await.unwrap_err();
    assert!(matches!(refused, TransferError::OtherFile), "{refused}");
}

#[sqlx::test(migrations = "./migrations")]
async fn bad_lines_are_refused_by_name_and_the_good_ones_stored(pool: PgPool) {
    let settler = open(&pool).await;
    let folder = tempfile::tempdir().unwrap();
    let mut text = b"\xef\xbb\xbf".to_vec();
    for line in [
        &b"{\"user_id\":\"u\",\"event\":\"click\",\"time\":1772366400}"[..],
        b"{\"user_id\":\"u\",\"event\":\"click\",",
        b"",
        b"{\"user_id\":\"\xff\",\"event\":\"click\",\"time\":1772366400}",
        b"42",
        b"{\"user_id\":\"u\",\"event\":\"click\"}",
        b"{\"event\":\"click\",\"time\":1772366400}",
        b"{\"user_id\":\"u\",\"event\":\"Gr\xc3\xb6\xc3\x9fe!\",\"time\":1772366400}",
        b"{\"user_id\":\"u\",\"event\":\"click\",\"time\":1000000000}",
        b"{\"user_id\":\"u\",\"event\":\"click\",\"time\":1772366400,\"user_agent\":\"Googlebot/2.1\"}",
        b"{\"user_id\":\"u\",\"event\":\"click\",\"time\":\"soon\"}",
    ] {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text.extend(b"x".repeat(1_100_000));
    text.extend(b"\n{\"user_id\":\"u\",\"event\":\"click\",\"time\":1772366401}");
    let path = write(folder.path(), "log.ndjson", &text);

    let dry = run(import_of(&path, Plan::default()), None).await.unwrap().report;
    assert_eq!((dry.events, dry.stored, dry.refused_total()), (12, 0, 10));
    assert_eq!(count(&pool, "events").await, 0);
    assert!(!default_path(&path).exists());

    let report = run(import_of(&path, Plan::default()), Some(&settler))
        .await
        .unwrap()
        .report;
    assert_eq!(report.refused, dry.refused);
    let lines: BTreeMap<&str, &[u64]> = report
        .refused
        .iter()
        .map(|(reason, refused)| (reason.as_str(), refused.first_lines.as_slice()))
        .collect();
    let expected: BTreeMap<&str, &[u64]> = BTreeMap::from([
        ("bot", &[10][..]),
        ("invalid_event_type", &[8]),
        ("invalid_field", &[11]),
        ("invalid_json", &[2]),
        ("invalid_utf8", &[4]),
        ("line_too_long", &[12]),
        ("missing_identity", &[7]),
        ("missing_timestamp", &[6]),
        ("not_an_object", &[5]),
        ("too_old", &[9]),
    ]);
    assert_eq!(lines, expected);
    assert_eq!((report.stored, count(&pool, "events").await), (2, 2));
    let total: i64 = sqlx::query_scalar(
        "SELECT sum(count)::bigint FROM ingest_ledger WHERE outcome = 'rejected' AND key_id = 0",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(total, 10);
    assert!(balances(&pool).await);

    let keep_old = Plan {
        keep_old: true,
        ..Plan::default()
    };
    let report = run(import_of(&path, keep_old), Some(&settler))
        .await
        .unwrap()
        .report;
    assert_eq!((report.stored, report.duplicate), (1, 2));
}

#[tokio::test]
async fn what_cannot_be_imported_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let mut bad_target = log_plan();
    bad_target.map[0].0 = "usr_id".into();
    let mut bad_column = log_plan();
    bad_column.map[0].1 = "visitors".into();
    let plain = Plan::default;
    for (name, text, plan, says) in [
        ("empty.csv", &b""[..], plain(), "is empty"),
        ("blank.csv", b" \n\n", plain(), "is empty"),
        (
            "a.csv",
            b"visitor,action,at\n",
            bad_target,
            "did you mean `user_id`",
        ),
        (
            "a.csv",
            b"visitor,action,at\n",
            bad_column,
            "did you mean `visitor`",
        ),
        (
            "a.csv",
            b"user_id,time\n",
            plain(),
            "no column says what happened",
        ),
        ("a.json", b"[{\"a\":1}]", plain(), "one JSON array"),
        ("a.csv", b"\xff\xfea\0", plain(), "UTF-16"),
        (
            "torn.csv.gz",
            b"\x1f\x8b\x08\0",
            plain(),
            "torn.csv.gz cannot be read",
        ),
    ] {
        let path = write(folder.path(), name, text);
        let error = run(import_of(&path, plan), None).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let missing = folder.path().join("missing.csv");
    let error = run(import_of(&missing, plain()), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("missing.csv cannot be opened"), "{error}");
    let error = run(import_of(folder.path(), plain()), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("cannot be read"), "{error}");
}

#[sqlx::test(migrations = "./migrations")]
async fn ids_of_a_file_can_be_made_unique_to_the_source(pool: PgPool) {
    let settler = open(&pool).await;
    let folder = tempfile::tempdir().unwrap();
    let text = "event_id,event,time,user_id\n1,click,1772366400,u\n1,click,1772366400,u\n";
    let path = write(folder.path(), "log.csv", text);
    let plan = |source: &str, namespaced| Plan {
        ids: IdRule {
            source: source.into(),
            namespaced,
        },
        ..Plan::default()
    };
    for (plan, stored) in [
        (plan("", false), 1),
        (plan("b", false), 0),
        (plan("a", true), 1),
        (plan("b", true), 1),
        (plan("a", true), 0),
    ] {
        let report = run(import_of(&path, plan), Some(&settler)).await.unwrap().report;
        assert_eq!((report.stored, report.duplicate), (stored, 2 - stored));
    }
}

/// Standard output of a test.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn export_text(pool: &PgPool, subject: Subject, format: Format, selection: Selection) -> String {
    let export = Export {
        subject,
        selection,
        format,
        raw_cells: true,
    };
    let memory = Memory::default();
    let mut output = Output::stream(memory.clone());
    let mut connection = pool.acquire().await.unwrap();
    let stop = CancellationToken::new();
    export::run(&export, &mut connection, &mut output, &stop, |_| {})
        .await
        .unwrap();
    output.finish().unwrap();
    let bytes = memory.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

const EVERYTHING: &str = r##"{"event_id":"e1","event_type":"page_view","timestamp":"2026-02-28T10:00:00.123456Z","device_id":"d1","session_id":"s1","page_url":"https://shop.example/a b?utm_source=x&gclid=1&q=2#/r","page_title":"=A","referrer":"https://www.search.example/","user_agent":"Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1","viewport_size":[390,844],"screen_resolution":"390x844","page_load_time_ms":1200,"country":"no","ip":"1.2.3.4"}
{"event_id":"e2","event_type":"click","timestamp":"2026-02-28T10:00:01Z","device_id":"d1","seq":null,"coordinates":[3,4],"element_classes":["a","b"],"element_text":"TEXT","custom_properties":{"a":[1,{"b":null}],"price":"12.50","n":1.25,"big":12345678901234567890,"":"empty name"}}
{"event_id":"e3","event_type":"identify","timestamp":"2026-02-28T10:00:02Z","device_id":"d1","user_id":"ann@example.com","customer_attributes":{"plan":"pro","gone":null,"demographic":{"city":"Oslo"}}}
{"event_id":"e4","event_type":"purchase","timestamp":"2026-02-28T10:00:03Z","device_id":"d1","user_id":"ann@example.com","order_id":"o1","order_total":"19.90","currency":"eur","quantity":2,"total":"1"}
{"event_id":"e5","event_type":"pageview","timestamp":"2026-02-28T11:00:00Z","user_id":"bob","form_validation_errors":["a \"b\"","c,d"],"time_on_page_seconds":0.1,"scroll_depth":55}
{"event_id":"e6","event_type":"logout","timestamp":"2026-02-28T12:00:00Z","device_id":"d1"}
"##;

async fn wipe(pool: &PgPool) {
    sqlx::query(
        "TRUNCATE events, event_keys, sessions, customers, customer_scores, devices, device_lives, attribute_facts, identity_log",
    )
    .execute(pool)
    .await
    .unwrap();
}

#[sqlx::test(migrations = "./migrations")]
async fn what_was_exported_comes_back_as_the_same_rows(pool: PgPool) {
    let settler = open(&pool).await;
    let folder = tempfile::tempdir().unwrap();
    let text = EVERYTHING.replace("TEXT", &"long ".repeat(100));
    let path = write(folder.path(), "in.ndjson", text);
    // A custom type that happens to be called like another system's name of ours.
    let plan = Plan {
        event_map: vec![("pageview".into(), "pageview".into())],
        ..Plan::default()
    };
    let report = run(import_of(&path, plan), Some(&settler)).await.unwrap().report;
    assert_eq!(report.stored, 6, "{report}");
    // What only a live request leaves: the client's own clock, and no time of its own at all.
    sqlx::query("UPDATE events SET client_timestamp = timestamp - interval '5 s' WHERE event_id = 'e1'")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("UPDATE events SET client_timestamp = NULL WHERE event_id = 'e4'")
        .execute(&pool)
        .await
        .unwrap();

    let tables = [
        "events",
        "sessions",
        "customers",
        "device_lives",
        "attribute_facts",
    ];
    let mut before = Vec::new();
    for table in tables {
        before.push(rows(&pool, table).await);
    }
    assert!(
        before[0]
            .iter()
            .any(|event| event["truncated"] == json!(["element_text"]))
    );
    assert!(
        before[0]
            .iter()
            .any(|event| event["ip_hash"].is_string() && event["country"] == "NO")
    );
    for format in [Format::Ndjson, Format::Csv] {
        let text = export_text(&pool, Subject::Events, format, Selection::default()).await;
        wipe(&pool).await;
        let path = write(folder.path(), "out", text);
        let report = run(import_of(&path, Plan::default()), Some(&settler))
            .await
            .unwrap()
            .report;
        assert_eq!((report.stored, report.refused_total()), (6, 0), "{report}");
        for (table, expected) in tables.into_iter().zip(&before) {
            assert_eq!(&rows(&pool, table).await, expected, "{table} {format:?}");
        }
    }
}

#[sqlx::test(migrations = "./migrations")]
async fn exports_hold_what_was_asked_for(pool: PgPool) {
    let settler = open(&pool).await;
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "in.ndjson", EVERYTHING);
    run(import_of(&path, Plan::default()), Some(&settler))
        .await
        .unwrap();
    let at = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
    let all = Selection::default();
    let of_device = Selection {
        device_id: Some("d1".into()),
        ..all.clone()
    };
    let of_user = Selection {
        user_id: Some("bob".into()),
        ..all.clone()
    };
    let of_type = Selection {
        event_type: Some("click".into()),
        ..all.clone()
    };
    let of_time = Selection {
        from: at("2026-02-28T10:00:01Z"),
        to: at("2026-02-28T10:00:03Z"),
        ..all.clone()
    };
    for (selection, events, sessions, customers) in [
        (&all, 6, 3, 2),
        (&of_device, 5, 2, 1),
        (&of_user, 1, 1, 1),
        (&of_type, 1, 1, 1),
        (&of_time, 2, 0, 1),
    ] {
        for (subject, expected) in [
            (Subject::Events, events),
            (Subject::Sessions, sessions),
            (Subject::Customers, customers),
        ] {
            let ndjson = export_text(&pool, subject, Format::Ndjson, selection.clone()).await;
            let lines: Vec<Value> = ndjson
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            assert_eq!(lines.len(), expected, "{subject:?} {selection:?}");
            let text = export_text(&pool, subject, Format::Csv, selection.clone()).await;
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            assert_eq!(reader.headers().unwrap(), subject.columns());
            assert_eq!(reader.records().map(Result::unwrap).count(), expected);
            for line in &lines {
                let names = line.as_object().unwrap().keys();
                assert!(
                    names
                        .into_iter()
                        .all(|name| subject.columns().contains(&name.as_str()))
                );
            }
        }
    }
}

/// One event in both forms.
#[derive(Clone, Debug)]
struct Made {
    user: String,
    kind: &'static str,
    seconds: i64,
    note: String,
    number: i32,
    flag: bool,
}

fn made() -> impl Strategy<Value = Made> {
    (
        "[a-z]{1,8}",
        prop_oneof![
            Just("$pageview"),
            Just("Product Added"),
            Just("click"),
            Just("own.type")
        ],
        0..5_000_000_i64,
        "[a-z ,;\"'\nöß|\t]{0,20}x",
        any::<i32>(),
        any::<bool>(),
    )
        .prop_map(|(user, kind, seconds, note, number, flag)| Made {
            user,
            kind,
            seconds,
            note,
            number,
            flag,
        })
}

async fn stored_without_ids(pool: &PgPool) -> Vec<Value> {
    sqlx::query_scalar(
        "SELECT to_jsonb(t) - 'event_id' - 'seq' FROM events t
         ORDER BY timestamp, user_id, event_type, properties::text",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

#[sqlx::test(migrations = "./migrations")]
async fn csv_and_ndjson_of_the_same_data_are_the_same_events(pool: PgPool) {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let settler = open(&pool).await;
    let folder = tempfile::tempdir().unwrap();
    let mut runner = TestRunner::deterministic();
    let strategy = proptest::collection::vec(made(), 1..30);
    for _ in 0..12 {
        let events = strategy.new_tree(&mut runner).unwrap().current();
        let (mut lines, mut table) = (
            String::new(),
            csv::WriterBuilder::new().delimiter(b';').from_writer(Vec::new()),
        );
        table
            .write_record(["user_id", "event", "time", "note", "number", "flag"])
            .unwrap();
        for event in &events {
            let time = 1_767_600_000 + event.seconds % 4_000_000;
            let number = i64::from(event.number);
            let json = json!({
                "user_id": event.user, "event": event.kind, "time": time, "note": event.note,
                "number": number, "flag": event.flag,
            });
            lines += &format!("{json}\n");
            let (time, number, flag) = (time.to_string(), number.to_string(), event.flag.to_string());
            let cells = [&event.user, event.kind, &time, &event.note, &number, &flag];
            table.write_record(cells.map(str::to_owned)).unwrap();
        }
        let files = [
            write(folder.path(), "a.ndjson", lines),
            write(folder.path(), "b.csv", table.into_inner().unwrap()),
        ];
        let mut seen = Vec::new();
        for path in files {
            wipe(&pool).await;
            let report = run(import_of(&path, Plan::default()), Some(&settler))
                .await
                .unwrap()
                .report;
            assert_eq!(report.stored, events.len() as u64, "{report}");
            seen.push(stored_without_ids(&pool).await);
        }
        assert_eq!(seen[0], seen[1]);
    }
}
