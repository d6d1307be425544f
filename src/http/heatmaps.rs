//! `GET /api/v1/heatmaps`: where on a page people click, and how far down they look.

use std::time::Instant;

use axum::{Json, extract::State};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::ReadAccess,
    extract::Query,
    insight::{self, Answer, Engine},
    list::RangeQuery,
    list_query::refuse_unknown_among,
    metrics_overview::ratio,
    period::{Chosen, bounded, choose},
    problem::{CommonProblems, MissingProblem, Problem},
    segments::people_of_segment,
    snapshot::begin_snapshot,
    state::AppState,
};
use crate::{
    analysis::{
        heatmap::{BAND_DEFAULT, BAND_MAX, COLUMNS_DEFAULT, COLUMNS_MAX, Grid, ScrollCurve},
        segment,
    },
    store::heatmap_read::{self, CellRecord, ClickKind, ElementRecord, PageFilter},
};

/// Cells in one answer: more than a screen has places to draw them.
const CELLS_MAX: i64 = 20_000;

const ELEMENTS_DEFAULT: i64 = 50;
const ELEMENTS_MAX: i64 = 500;

/// Characters of a page pattern at most.
const PAGE_LENGTH_MAX: usize = 2048;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct HeatmapIn {
    /// The page; `*` stands for any text. A pattern that begins with `/` is of the path, any other of host and path.
    #[param(example = "/cart")]
    page: String,
    /// What is shown.
    #[serde(default)]
    #[param(inline)]
    kind: Kind,
    /// One class of devices; a page looks different on each.
    #[param(inline)]
    device_type: Option<DeviceIn>,
    /// Only what the people of this segment did.
    segment: Option<Uuid>,
    /// Columns of the grid, 1 to 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    columns: Option<i64>,
    /// Height of a band of the grid in pixels, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 20)]
    band_px: Option<i64>,
    /// Elements listed, 1 to 500.
    #[param(minimum = 1, maximum = 500, default = 50)]
    elements: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Clicks,
    Rage,
    Dead,
    Scroll,
}

impl Kind {
    fn clicks(self) -> Option<ClickKind> {
        match self {
            Self::Clicks => Some(ClickKind::Any),
            Self::Rage => Some(ClickKind::Rage),
            Self::Dead => Some(ClickKind::Dead),
            Self::Scroll => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum DeviceIn {
    Desktop,
    Mobile,
    Tablet,
    Unknown,
}

impl DeviceIn {
    fn as_str(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
            Self::Tablet => "tablet",
            Self::Unknown => "unknown",
        }
    }
}

/// A heatmap of a page.
#[derive(Debug, Serialize, ToSchema)]
struct HeatmapOut {
    page: String,
    kind: Kind,
    device_type: Option<DeviceIn>,
    segment: Option<Uuid>,
    /// For the kinds of clicks.
    clicks: Option<ClicksOut>,
    /// For `scroll`.
    scroll: Option<ScrollCurve>,
}

/// Clicks on a page.
#[derive(Debug, Serialize, ToSchema)]
struct ClicksOut {
    clicks: i64,
    /// Devices that made them.
    devices: i64,
    /// Clicks in the cells. The others have no place, as those of a keyboard, or one outside the viewport's width.
    placed: i64,
    grid: Grid,
    /// Cells with clicks, the most clicked first.
    cells: Vec<CellRecord>,
    /// Whether there are more cells than are listed.
    cells_truncated: bool,
    /// Elements with clicks, the most clicked first.
    elements: Vec<ElementOut>,
    /// Whether there are more elements than are listed.
    elements_truncated: bool,
}

/// Clicks on an element.
#[derive(Debug, Serialize, ToSchema)]
struct ElementOut {
    #[serde(flatten)]
    element: ElementRecord,
    /// Of all clicks; absent below 30 devices.
    share: Option<f64>,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(heatmap))
}

/// Where on a page people click, and how far down they look.
///
/// Columns are equal parts of the viewport's width, bands are pixels from the top of the document. Depths are of page
/// views: the deepest place each of them told.
#[utoipa::path(get, path = "/api/v1/heatmaps", tag = "analysis", security(("secret_key" = [])),
    params(HeatmapIn, RangeQuery),
    responses((status = 200, description = "The heatmap.", body = Answer<HeatmapOut>), CommonProblems, MissingProblem))]
async fn heatmap(
    _: ReadAccess,
    State(state): State<AppState>,
    Query(pairs): Query<Vec<(String, String)>>,
    Query(range): Query<RangeQuery>,
    Query(input): Query<HeatmapIn>,
) -> Result<Json<Answer<HeatmapOut>>, Problem> {
    let asked_at = Instant::now();
    refuse_unknown_among(
        &pairs,
        [HeatmapIn::into_params(|| None), RangeQuery::into_params(|| None)],
    )?;
    let chosen = choose(&range, &state)?;
    let grid = Grid {
        columns: bounded("columns", input.columns, COLUMNS_DEFAULT, COLUMNS_MAX)?,
        band_px: bounded("band_px", input.band_px, BAND_DEFAULT, BAND_MAX)?,
    };
    let elements = bounded("elements", input.elements, ELEMENTS_DEFAULT, ELEMENTS_MAX)?;
    let filter = filter(&state, &input, &chosen).await?;
    let mut snapshot = begin_snapshot(&state).await?;
    let (mut clicks, mut scroll) = (None, None);
    match input.kind.clicks() {
        Some(kind) => clicks = Some(read_clicks(&mut snapshot, kind, &filter, grid, elements).await?),
        None => {
            scroll = Some(ScrollCurve::of(
                &heatmap_read::list_depths(&mut snapshot, &filter).await?,
            ))
        }
    }
    let data = HeatmapOut {
        page: input.page,
        kind: input.kind,
        device_type: input.device_type,
        segment: input.segment,
        clicks,
        scroll,
    };
    Ok(Json(Answer {
        data,
        engine: Engine::Sql,
        from: chosen.period.from,
        to: chosen.period.to,
        timezone: chosen.zone.name().to_owned(),
        covered_from: events_from(&state, &chosen),
        took_ms: asked_at.elapsed().as_secs_f64() * 1000.0,
    }))
}

async fn filter(state: &AppState, input: &HeatmapIn, chosen: &Chosen) -> Result<PageFilter, Problem> {
    if input.page.is_empty() || input.page.len() > PAGE_LENGTH_MAX {
        return Err(Problem::bad_request(
            "invalid_query",
            format!("page: has from 1 to {PAGE_LENGTH_MAX} characters"),
        ));
    }
    let people = match input.segment {
        None => None,
        Some(id) => {
            let view = insight::view(state)?;
            let people = people_of_segment(state, &view, id).await?;
            Some(segment::ids_of(&view, &people))
        }
    };
    Ok(PageFilter {
        from: chosen.period.from,
        to: chosen.period.to,
        page: input.page.clone(),
        device_type: input.device_type.map(|device| device.as_str().to_owned()),
        people,
    })
}

async fn read_clicks(
    connection: &mut PgConnection,
    kind: ClickKind,
    filter: &PageFilter,
    grid: Grid,
    elements_max: i64,
) -> Result<ClicksOut, Problem> {
    let totals = heatmap_read::click_totals(connection, kind, filter).await?;
    let Grid { columns, band_px } = grid;
    let cells = heatmap_read::list_cells(connection, kind, filter, columns, band_px, CELLS_MAX + 1).await?;
    let elements = heatmap_read::list_elements(connection, kind, filter, elements_max + 1).await?;
    let (cells, cells_truncated) = cut(cells, CELLS_MAX);
    let (elements, elements_truncated) = cut(elements, elements_max);
    let element_out = |element: ElementRecord| ElementOut {
        share: ratio(element.clicks, totals.clicks, totals.devices),
        element,
    };
    Ok(ClicksOut {
        clicks: totals.clicks,
        devices: totals.devices,
        placed: totals.placed,
        grid,
        cells,
        cells_truncated,
        elements: elements.into_iter().map(element_out).collect(),
        elements_truncated,
    })
}

/// Cuts rows that were read with one more than there may be.
fn cut<T>(mut rows: Vec<T>, rows_max: i64) -> (Vec<T>, bool) {
    let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
    let is_truncated = rows.len() > rows_max;
    rows.truncate(rows_max);
    (rows, is_truncated)
}

/// Returns where retention has cut the events, when that is inside of the period.
fn events_from(state: &AppState, chosen: &Chosen) -> Option<chrono::DateTime<chrono::Utc>> {
    let days = i64::from(state.config.retention.events_days);
    let cut = chosen.now - TimeDelta::days(days);
    (days > 0 && cut > chosen.period.from).then_some(cut)
}
