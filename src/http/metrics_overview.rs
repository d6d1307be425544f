//! `GET /api/v1/metrics/overview`: the figures of a period on one page.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::ReadAccess,
    extract::Query,
    list::RangeQuery,
    period::{bounded, choose},
    problem::{CommonProblems, Problem},
    snapshot::begin_snapshot,
    state::AppState,
};
use crate::{
    analysis::calendar,
    store::metrics_read::{self, Period, RankRecord, Ranking, RevenueRecord, Totals},
};

/// Below this many people no percentage is claimed.
pub(super) const PEOPLE_MIN: i64 = 30;

const RANKS_DEFAULT: i64 = 10;
const RANKS_MAX: i64 = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct OverviewIn {
    /// `previous` adds the period of the same length right before.
    #[param(inline)]
    compare: Option<Compare>,
    /// Entries in each ranking, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 10)]
    limit: Option<i64>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Compare {
    Previous,
}

/// Figures of a period.
#[derive(Debug, Serialize, ToSchema)]
struct OverviewOut {
    /// Inclusive.
    from: DateTime<Utc>,
    /// Exclusive.
    to: DateTime<Utc>,
    timezone: String,
    totals: TotalsOut,
    revenue: Vec<RevenueRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<PreviousOut>,
    top: TopOut,
}

/// The period before, and how the figures changed since.
#[derive(Debug, Serialize, ToSchema)]
struct PreviousOut {
    /// Inclusive.
    from: DateTime<Utc>,
    /// Exclusive.
    to: DateTime<Utc>,
    totals: TotalsOut,
    revenue: Vec<RevenueRecord>,
    change: ChangeOut,
}

/// Change against the period before as a ratio: 0.1 is 10 % more. Absent below 30 people in either period.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct ChangeOut {
    visitors: Option<f64>,
    sessions: Option<f64>,
    page_views: Option<f64>,
    conversions: Option<f64>,
}

/// Sums over the sessions that start in a period.
#[derive(Debug, Serialize, ToSchema)]
struct TotalsOut {
    /// People, each counted once.
    visitors: i64,
    /// Visitors first seen in the period.
    new_visitors: i64,
    returning_visitors: i64,
    sessions: i64,
    page_views: i64,
    events: i64,
    /// Sessions that converted.
    conversions: i64,
    /// Share of sessions that converted, 0 to 1. Absent below 30 people.
    conversion_rate: Option<f64>,
    /// Share of sessions without engagement, 0 to 1. Absent below 30 people.
    bounce_rate: Option<f64>,
    mean_duration_seconds: Option<f64>,
    median_duration_seconds: Option<f64>,
    abandoned_carts: i64,
    errors: i64,
    form_errors: i64,
    rage_clicks: i64,
}

/// The most frequent values, by sessions.
#[derive(Debug, Serialize, ToSchema)]
struct TopOut {
    /// Pages that were part of a session.
    pages: Vec<RankRecord>,
    entry_pages: Vec<RankRecord>,
    exit_pages: Vec<RankRecord>,
    sources: Vec<RankRecord>,
    channels: Vec<RankRecord>,
    campaigns: Vec<RankRecord>,
    countries: Vec<RankRecord>,
    device_types: Vec<RankRecord>,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(overview))
}

/// The figures of a period on one page.
///
/// A session counts in the period that holds its first event. All figures are read at one moment, so they
/// agree with each other.
/// A period whose `from` is not given begins with a whole day.
#[utoipa::path(get, path = "/api/v1/metrics/overview", tag = "metrics", security(("secret_key" = [])),
    params(RangeQuery, OverviewIn),
    responses((status = 200, description = "Figures of the period.", body = OverviewOut), CommonProblems))]
async fn overview(
    _: ReadAccess,
    State(state): State<AppState>,
    Query(range): Query<RangeQuery>,
    Query(input): Query<OverviewIn>,
) -> Result<Json<OverviewOut>, Problem> {
    let chosen = choose(&range, &state)?;
    let ranks = bounded("limit", input.limit, RANKS_DEFAULT, RANKS_MAX)?;
    let mut snapshot = begin_snapshot(&state).await?;
    let totals = metrics_read::totals(&mut snapshot, chosen.period).await?;
    let previous = match input.compare {
        Some(Compare::Previous) => {
            let (from, to) = calendar::previous(chosen.period.from, chosen.period.to, chosen.zone)
                .ok_or_else(no_previous)?;
            Some(read_previous(&mut snapshot, Period { from, to }, &totals).await?)
        }
        None => None,
    };
    Ok(Json(OverviewOut {
        from: chosen.period.from,
        to: chosen.period.to,
        timezone: chosen.zone.name().to_owned(),
        revenue: metrics_read::revenue(&mut snapshot, chosen.period).await?,
        top: read_top(&mut snapshot, chosen.period, ranks).await?,
        totals: totals.into(),
        previous,
    }))
}

fn no_previous() -> Problem {
    Problem::bad_request("invalid_range", "The period before this one leaves the calendar.")
}

async fn read_previous(
    connection: &mut PgConnection,
    period: Period,
    current: &Totals,
) -> Result<PreviousOut, Problem> {
    let totals = metrics_read::totals(connection, period).await?;
    Ok(PreviousOut {
        from: period.from,
        to: period.to,
        revenue: metrics_read::revenue(connection, period).await?,
        change: change(current, &totals),
        totals: totals.into(),
    })
}

async fn read_top(connection: &mut PgConnection, period: Period, ranks: i64) -> sqlx::Result<TopOut> {
    let mut rank = async |ranking| metrics_read::rank(connection, ranking, period, ranks).await;
    Ok(TopOut {
        pages: rank(Ranking::Page).await?,
        entry_pages: rank(Ranking::EntryPage).await?,
        exit_pages: rank(Ranking::ExitPage).await?,
        sources: rank(Ranking::Source).await?,
        channels: rank(Ranking::Channel).await?,
        campaigns: rank(Ranking::Campaign).await?,
        countries: rank(Ranking::Country).await?,
        device_types: rank(Ranking::DeviceType).await?,
    })
}

/// Returns `part / whole`, unless too few people stand behind it.
pub(super) fn ratio(part: i64, whole: i64, people: i64) -> Option<f64> {
    (people >= PEOPLE_MIN && whole > 0).then(|| part as f64 / whole as f64)
}

fn change(current: &Totals, previous: &Totals) -> ChangeOut {
    let people = current.visitors.min(previous.visitors);
    let of = |now: i64, before: i64| ratio(now - before, before, people);
    ChangeOut {
        visitors: of(current.visitors, previous.visitors),
        sessions: of(current.sessions, previous.sessions),
        page_views: of(current.page_views, previous.page_views),
        conversions: of(current.converted, previous.converted),
    }
}

impl From<Totals> for TotalsOut {
    fn from(totals: Totals) -> Self {
        Self {
            visitors: totals.visitors,
            new_visitors: totals.new_visitors,
            returning_visitors: totals.visitors - totals.new_visitors,
            sessions: totals.sessions,
            page_views: totals.page_views,
            events: totals.events,
            conversions: totals.converted,
            conversion_rate: ratio(totals.converted, totals.sessions, totals.visitors),
            bounce_rate: ratio(totals.sessions - totals.engaged, totals.sessions, totals.visitors),
            mean_duration_seconds: totals.mean_duration_seconds,
            median_duration_seconds: totals.median_duration_seconds,
            abandoned_carts: totals.abandoned_carts,
            errors: totals.errors,
            form_errors: totals.form_errors,
            rage_clicks: totals.rage_clicks,
        }
    }
}
