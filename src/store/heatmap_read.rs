//! Questions about places on pages: clicks on a grid, clicks by element, and depths of scrolling.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::filter::Conditions;

/// What kind of click is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClickKind {
    /// Any click, downloads of files included.
    Any,
    Rage,
    Dead,
}

impl ClickKind {
    fn event_types(self) -> &'static [&'static str] {
        match self {
            Self::Any => &["click", "file_download"],
            Self::Rage => &["rage_click"],
            Self::Dead => &["dead_click"],
        }
    }
}

/// Which page, by whom, and when.
#[derive(Clone, Debug)]
pub(crate) struct PageFilter {
    /// Inclusive.
    pub(crate) from: DateTime<Utc>,
    /// Exclusive.
    pub(crate) to: DateTime<Utc>,
    /// `*` stands for any text. Of the path when it begins with `/`, else of host and path.
    pub(crate) page: String,
    pub(crate) device_type: Option<String>,
    /// Only what these customers did.
    pub(crate) people: Option<Vec<Uuid>>,
}

/// Counts over all clicks that are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct ClickTotals {
    pub(crate) clicks: i64,
    pub(crate) devices: i64,
    /// Clicks with a place inside the viewport's width.
    pub(crate) placed: i64,
}

/// Clicks in one cell of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow, Serialize, ToSchema)]
pub(crate) struct CellRecord {
    /// From the left, beginning with 0.
    #[sqlx(rename = "grid_column")]
    pub(crate) column: i64,
    /// From the top, beginning with 0.
    #[sqlx(rename = "grid_band")]
    pub(crate) band: i64,
    pub(crate) clicks: i64,
    pub(crate) devices: i64,
}

/// Clicks on one element.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize, ToSchema)]
pub(crate) struct ElementRecord {
    /// CSS selector; absent where the client named none.
    pub(crate) selector: Option<String>,
    /// A text the element had; the first one by the alphabet.
    pub(crate) text: Option<String>,
    pub(crate) clicks: i64,
    pub(crate) devices: i64,
}

/// The place of a click counts when the viewport's width is known and the click inside of it.
macro_rules! is_placed {
    () => {
        "e.x >= 0 AND e.y >= 0 AND e.viewport_width > 0 AND e.x < e.viewport_width"
    };
}

/// Adds up the clicks.
pub(crate) async fn click_totals(
    connection: &mut PgConnection,
    kind: ClickKind,
    filter: &PageFilter,
) -> sqlx::Result<ClickTotals> {
    let conditions = Conditions::new(concat!(
        "SELECT count(*) AS clicks, count(DISTINCT e.device_id) AS devices, count(*) FILTER (WHERE ",
        is_placed!(),
        ") AS placed FROM events e"
    ));
    narrowed(conditions, kind.event_types(), filter)
        .finish("", 1)
        .build_query_as()
        .fetch_one(connection)
        .await
}

/// Counts clicks by cell, the most clicked first.
pub(crate) async fn list_cells(
    connection: &mut PgConnection,
    kind: ClickKind,
    filter: &PageFilter,
    columns: i64,
    band_px: i64,
    rows_max: i64,
) -> sqlx::Result<Vec<CellRecord>> {
    let conditions = Conditions::with_two(
        "SELECT e.x * ",
        columns,
        " / e.viewport_width AS grid_column, e.y / ",
        band_px,
        concat!(
            " AS grid_band, count(*) AS clicks, count(DISTINCT e.device_id) AS devices FROM events e WHERE ",
            is_placed!()
        ),
    );
    narrowed(conditions, kind.event_types(), filter)
        .finish(" GROUP BY 1, 2 ORDER BY clicks DESC, 2, 1", rows_max)
        .build_query_as()
        .fetch_all(connection)
        .await
}

/// Counts clicks by element, the most clicked first.
pub(crate) async fn list_elements(
    connection: &mut PgConnection,
    kind: ClickKind,
    filter: &PageFilter,
    rows_max: i64,
) -> sqlx::Result<Vec<ElementRecord>> {
    let conditions = Conditions::new(
        "SELECT e.element_selector AS selector, min(e.element_text COLLATE \"C\") AS text, count(*) AS clicks, \
         count(DISTINCT e.device_id) AS devices FROM events e",
    );
    narrowed(conditions, kind.event_types(), filter)
        .finish(" GROUP BY 1 ORDER BY clicks DESC, 1", rows_max)
        .build_query_as()
        .fetch_all(connection)
        .await
}

/// Counts page views by the deepest place they told, `None` for those that told none.
///
/// What a device says of a page between one view of it and the next belongs to the first; what comes before any view
/// of the period belongs to none of them.
pub(crate) async fn list_depths(
    connection: &mut PgConnection,
    filter: &PageFilter,
) -> sqlx::Result<Vec<(Option<i16>, i64)>> {
    let conditions = Conditions::new(
        "SELECT d.depth, count(*) FROM (SELECT max(v.scroll_depth) AS depth \
           FROM (SELECT e.device_id, e.page_host, e.page_path, e.scroll_depth, \
               count(*) FILTER (WHERE e.event_type = 'page_view') OVER (PARTITION BY e.device_id, e.page_host, \
                 e.page_path ORDER BY e.timestamp, e.seq NULLS FIRST, e.event_id COLLATE \"C\") AS number \
             FROM events e",
    );
    let types = ["page_view", "scroll", "page_leave"];
    narrowed(conditions, &types, filter)
        .finish(
            ") v WHERE v.number > 0 GROUP BY v.device_id, v.page_host, v.page_path, v.number) d \
             GROUP BY d.depth ORDER BY d.depth",
            102,
        )
        .build_query_as()
        .fetch_all(connection)
        .await
}

fn narrowed(mut conditions: Conditions, event_types: &[&str], filter: &PageFilter) -> Conditions {
    conditions
        .range(
            ("e.timestamp >= ", Some(filter.from)),
            ("e.timestamp < ", Some(filter.to)),
        )
        .compare("e.event_type = ANY(", event_types, ")");
    if filter.page.starts_with('/') {
        conditions.glob("e.page_path LIKE ", Some(&filter.page));
    } else {
        conditions.glob(
            "coalesce(e.page_host, '') || e.page_path LIKE ",
            Some(&filter.page),
        );
    }
    conditions.compare_some("e.device_type = ", filter.device_type.as_deref());
    if let Some(people) = &filter.people {
        // Sessions of a device touch at one moment at most, where one person follows another.
        conditions.compare(
            "EXISTS (SELECT 1 FROM sessions s WHERE s.device_id = e.device_id \
             AND e.timestamp BETWEEN s.started_at AND s.ended_at AND s.customer_id = ANY(",
            &people[..],
            "))",
        );
    }
    conditions
}
