//! Heatmaps against the same events counted one by one.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::heatmap_read::{
    CellRecord, ClickKind, ClickTotals, ElementRecord, PageFilter, click_totals, list_cells, list_depths,
    list_elements,
};

const TYPES: [&str; 7] = [
    "click",
    "file_download",
    "rage_click",
    "dead_click",
    "page_view",
    "scroll",
    "page_leave",
];
const PATHS: [&str; 3] = ["/", "/cart", "/cart/pay"];
const DEVICE_TYPES: [&str; 2] = ["desktop", "mobile"];

#[derive(Clone, Debug)]
struct Told {
    device: usize,
    second: i64,
    event_type: &'static str,
    path: &'static str,
    place: Option<(i32, i32)>,
    width: Option<i32>,
    depth: Option<i16>,
    selector: Option<&'static str>,
}

fn origin() -> DateTime<Utc> {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn told() -> impl Strategy<Value = Told> {
    let place = prop::option::of((-5i32..450, -5i32..3000));
    let width = prop::option::of(prop::sample::select(vec![0i32, 320, 400]));
    let selector = prop::option::of(prop::sample::select(vec!["#buy", "a.nav"]));
    (
        (0usize..4, 0i64..500),
        prop::sample::select(TYPES.to_vec()),
        prop::sample::select(PATHS.to_vec()),
        place,
        width,
        prop::option::of(0i16..=100),
        selector,
    )
        .prop_map(
            |((device, second), event_type, path, place, width, depth, selector)| Told {
                device,
                second,
                event_type,
                path,
                place,
                width,
                depth,
                selector,
            },
        )
}

impl Told {
    fn row(&self, number: usize) -> Value {
        let time = origin() + TimeDelta::seconds(self.second);
        json!({
            "timestamp": time, "received_at": time, "event_id": format!("{number:05}"), "key_id": 1,
            "event_type": self.event_type, "device_id": format!("d{}", self.device),
            "device_type": DEVICE_TYPES[self.device % 2], "page_host": "shop.example", "page_path": self.path,
            "x": self.place.map(|place| place.0), "y": self.place.map(|place| place.1),
            "viewport_width": self.width, "scroll_depth": self.depth, "element_selector": self.selector,
            "element_text": self.selector.map(|selector| format!("{selector}{}", number % 3)),
        })
    }

    fn cell(&self, columns: i64, band_px: i64) -> Option<(i64, i64)> {
        let ((x, y), width) = (self.place?, self.width?);
        let is_inside = x >= 0 && y >= 0 && x < width;
        is_inside.then(|| (i64::from(x) * columns / i64::from(width), i64::from(y) / band_px))
    }
}

async fn random_events(pool: &PgPool) -> Vec<Told> {
    let mut runner = TestRunner::deterministic();
    let mut events = vec(told(), 600).new_tree(&mut runner).unwrap().current();
    events.sort_by_key(|told| told.second);
    let rows: Vec<Value> = events
        .iter()
        .enumerate()
        .map(|(number, told)| told.row(number))
        .collect();
    sqlx::query("INSERT INTO events SELECT * FROM jsonb_populate_recordset(NULL::events, $1)")
        .bind(Value::Array(rows))
        .execute(pool)
        .await
        .unwrap();
    events
}

fn filter(page: &str, device_type: Option<&str>) -> PageFilter {
    PageFilter {
        from: origin() + TimeDelta::seconds(50),
        to: origin() + TimeDelta::seconds(450),
        page: page.into(),
        device_type: device_type.map(Into::into),
        people: None,
    }
}

fn is_asked(told: &Told, filter: &PageFilter) -> bool {
    let is_page = match filter.page.as_str() {
        "/cart*" => told.path.starts_with("/cart"),
        "shop.example/*" => true,
        exact => told.path == exact,
    };
    let device_type = filter.device_type.as_deref();
    is_page
        && (50..450).contains(&told.second)
        && device_type.is_none_or(|wanted| wanted == DEVICE_TYPES[told.device % 2])
}

/// Clicks and the devices that made them, by what `key` says.
fn count<K: Ord + Clone>(
    clicks: &[(usize, &Told)],
    key: impl Fn(&Told) -> Option<K>,
) -> BTreeMap<K, (i64, BTreeSet<usize>)> {
    let mut counts: BTreeMap<K, (i64, BTreeSet<usize>)> = BTreeMap::new();
    for (_, told) in clicks {
        if let Some(key) = key(told) {
            let (clicks, devices) = counts.entry(key).or_default();
            *clicks += 1;
            devices.insert(told.device);
        }
    }
    counts
}

async fn assert_clicks(
    connection: &mut PgConnection,
    events: &[Told],
    kind: (ClickKind, &[&str]),
    filter: &PageFilter,
    grid: (i64, i64),
) {
    let (kind, types) = kind;
    let clicks: Vec<(usize, &Told)> = events
        .iter()
        .enumerate()
        .filter(|(_, told)| is_asked(told, filter) && types.contains(&told.event_type))
        .collect();
    let devices: BTreeSet<usize> = clicks.iter().map(|(_, told)| told.device).collect();
    let cells = count(&clicks, |told| told.cell(grid.0, grid.1));
    let expected = ClickTotals {
        clicks: clicks.len() as i64,
        devices: devices.len() as i64,
        placed: cells.values().map(|(clicks, _)| clicks).sum(),
    };
    assert_eq!(click_totals(connection, kind, filter).await.unwrap(), expected);

    let mut expected: Vec<CellRecord> = cells
        .into_iter()
        .map(|((column, band), (clicks, devices))| CellRecord {
            column,
            band,
            clicks,
            devices: devices.len() as i64,
        })
        .collect();
    expected.sort_by_key(|cell| (-cell.clicks, cell.band, cell.column));
    let found = list_cells(connection, kind, filter, grid.0, grid.1, 10_000)
        .await
        .unwrap();
    assert_eq!(found, expected);

    let first_text = |selector: Option<&str>| {
        let own = clicks.iter().filter(|(_, told)| told.selector == selector);
        own.filter_map(|(number, told)| Some(format!("{}{}", told.selector?, number % 3)))
            .min()
    };
    let mut expected: Vec<ElementRecord> = count(&clicks, |told| Some(told.selector))
        .into_iter()
        .map(|(selector, (clicks, devices))| ElementRecord {
            selector: selector.map(str::to_owned),
            text: first_text(selector),
            clicks,
            devices: devices.len() as i64,
        })
        .collect();
    expected.sort_by_key(|element| {
        (
            -element.clicks,
            element.selector.is_none(),
            element.selector.clone(),
        )
    });
    let found = list_elements(connection, kind, filter, 100).await.unwrap();
    assert_eq!(found, expected);
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn clicks_are_where_counting_one_by_one_finds_them(pool: PgPool) {
    let events = random_events(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    for kind in [
        (ClickKind::Any, &["click", "file_download"][..]),
        (ClickKind::Rage, &["rage_click"]),
        (ClickKind::Dead, &["dead_click"]),
    ] {
        for (page, device_type) in [
            ("/cart", None),
            ("/cart*", Some("mobile")),
            ("shop.example/*", None),
        ] {
            for grid in [(50, 20), (10, 1000), (7, 33)] {
                assert_clicks(&mut connection, &events, kind, &filter(page, device_type), grid).await;
            }
        }
    }
}

/// The deepest place of each view, walking over what each device did on each page.
fn depths(events: &[Told], filter: &PageFilter) -> BTreeMap<Option<i16>, i64> {
    let mut open: BTreeMap<(usize, &str), Option<i16>> = BTreeMap::new();
    let mut closed = Vec::new();
    for told in events.iter().filter(|told| is_asked(told, filter)) {
        let key = (told.device, told.path);
        match told.event_type {
            "page_view" => closed.extend(open.insert(key, told.depth)),
            "scroll" | "page_leave" => {
                if let Some(deepest) = open.get_mut(&key) {
                    *deepest = told.depth.max(*deepest);
                }
            }
            _ => {}
        }
    }
    closed.extend(open.into_values());
    let mut counts = BTreeMap::new();
    for depth in closed {
        *counts.entry(depth).or_default() += 1;
    }
    counts
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn depths_are_those_of_each_view_by_itself(pool: PgPool) {
    let events = random_events(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    for (page, device_type) in [
        ("/cart", None),
        ("/cart*", Some("desktop")),
        ("shop.example/*", None),
    ] {
        let filter = filter(page, device_type);
        let found = list_depths(&mut connection, &filter).await.unwrap();
        let expected = depths(&events, &filter);
        assert!(expected.len() > 10, "the events have views of many depths");
        assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), expected);
    }
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn only_what_the_people_asked_for_did_counts(pool: PgPool) {
    let events = random_events(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    let own = Uuid::from_u128(1);
    sqlx::query(
        "INSERT INTO sessions SELECT * FROM jsonb_populate_record(NULL::sessions, $1)",
    )
    .bind(json!({
        "id": own, "session_id": "s", "device_id": "d1", "life": 0, "customer_id": own, "started_at": origin(),
        "ended_at": origin() + TimeDelta::seconds(200), "duration_seconds": 200, "event_count": 1, "page_views": 0,
        "clicks": 0, "rage_clicks": 0, "dead_clicks": 0, "form_errors": 0, "errors": 0, "searches": 0,
        "event_counts": {}, "pages": [], "source": "", "channel": "", "device_type": "mobile", "converted": false,
        "conversion_value": 0, "order_ids": [], "abandoned": false, "visible_seconds": 0, "engagement": 0,
        "engaged": false, "state": {},
    }))
    .execute(&mut *connection)
    .await
    .unwrap();
    let filter = PageFilter {
        people: Some(vec![own]),
        ..filter("/*", None)
    };
    let expected = events
        .iter()
        .filter(|told| told.device == 1 && (50..=200).contains(&told.second))
        .filter(|told| ["click", "file_download"].contains(&told.event_type))
        .count();
    let totals = click_totals(&mut connection, ClickKind::Any, &filter)
        .await
        .unwrap();
    assert_eq!((totals.clicks, totals.devices), (expected as i64, 1));
    assert!(expected > 0);
}
