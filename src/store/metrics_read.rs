//! Sums over periods: the overview and the time series.
//!
//! A session counts in the period that holds its first event, with everything that happened in it.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

/// A period: `from` inclusive, `to` exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
}

/// Sums over the sessions that start in a period.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Totals {
    pub(crate) sessions: i64,
    pub(crate) visitors: i64,
    /// Visitors first seen in the period.
    pub(crate) new_visitors: i64,
    pub(crate) page_views: i64,
    pub(crate) events: i64,
    pub(crate) engaged: i64,
    pub(crate) converted: i64,
    pub(crate) abandoned_carts: i64,
    pub(crate) errors: i64,
    pub(crate) form_errors: i64,
    pub(crate) rage_clicks: i64,
    pub(crate) mean_duration_seconds: Option<f64>,
    pub(crate) median_duration_seconds: Option<f64>,
}

/// Sums over a period.
pub(crate) async fn totals(connection: &mut PgConnection, period: Period) -> sqlx::Result<Totals> {
    sqlx::query_as(
        "SELECT coalesce(sum(p.sessions), 0)::bigint AS sessions, count(*) AS visitors, \
           count(*) FILTER (WHERE c.first_seen >= $1) AS new_visitors, \
           coalesce(sum(p.page_views), 0)::bigint AS page_views, coalesce(sum(p.events), 0)::bigint AS events, \
           coalesce(sum(p.engaged), 0)::bigint AS engaged, coalesce(sum(p.converted), 0)::bigint AS converted, \
           coalesce(sum(p.abandoned), 0)::bigint AS abandoned_carts, coalesce(sum(p.errors), 0)::bigint AS errors, \
           coalesce(sum(p.form_errors), 0)::bigint AS form_errors, \
           coalesce(sum(p.rage_clicks), 0)::bigint AS rage_clicks, \
           sum(p.duration_seconds) / nullif(sum(p.sessions), 0)::double precision AS mean_duration_seconds, \
           (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY d.duration_seconds) FROM sessions d \
             WHERE d.started_at >= $1 AND d.started_at < $2) AS median_duration_seconds \
         FROM (SELECT s.customer_id, count(*) AS sessions, sum(s.page_views) AS page_views, \
             sum(s.event_count) AS events, count(*) FILTER (WHERE s.engaged) AS engaged, \
             count(*) FILTER (WHERE s.converted) AS converted, count(*) FILTER (WHERE s.abandoned) AS abandoned, \
             sum(s.errors) AS errors, sum(s.form_errors) AS form_errors, sum(s.rage_clicks) AS rage_clicks, \
             sum(s.duration_seconds) AS duration_seconds \
           FROM sessions s WHERE s.started_at >= $1 AND s.started_at < $2 GROUP BY s.customer_id) p \
         LEFT JOIN customers c ON c.id = p.customer_id",
    )
    .bind(period.from)
    .bind(period.to)
    .fetch_one(connection)
    .await
}

/// Revenue in one currency.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow, Serialize, ToSchema)]
pub(crate) struct RevenueRecord {
    /// ISO 4217; absent when the shop named none.
    pub(crate) currency: Option<String>,
    /// Exact decimal.
    pub(crate) amount: Decimal,
    /// Sessions that brought it.
    pub(crate) sessions: i64,
}

/// Sums revenue by currency, the greatest first.
pub(crate) async fn revenue(
    connection: &mut PgConnection,
    period: Period,
) -> sqlx::Result<Vec<RevenueRecord>> {
    sqlx::query_as(
        "SELECT s.currency, sum(s.conversion_value) AS amount, count(*) AS sessions FROM sessions s \
         WHERE s.started_at >= $1 AND s.started_at < $2 AND s.converted \
         GROUP BY s.currency ORDER BY amount DESC, s.currency",
    )
    .bind(period.from)
    .bind(period.to)
    .fetch_all(connection)
    .await
}

/// What the overview ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ranking {
    Page,
    EntryPage,
    ExitPage,
    Source,
    Channel,
    Campaign,
    Country,
    DeviceType,
}

/// One value of a ranking.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow, Serialize, ToSchema)]
pub(crate) struct RankRecord {
    /// Absent where it is not known.
    pub(crate) value: Option<String>,
    pub(crate) visitors: i64,
    pub(crate) sessions: i64,
    /// Sessions that converted.
    pub(crate) conversions: i64,
}

/// Counts by person first: hashing people is far cheaper than sorting them for `count(DISTINCT …)`.
macro_rules! ranked {
    ($value:literal, $tables:literal, $condition:literal) => {
        concat!(
            "SELECT p.value, count(*) AS visitors, sum(p.sessions)::bigint AS sessions, \
               sum(p.conversions)::bigint AS conversions \
             FROM (SELECT ",
            $value,
            " AS value, s.customer_id, count(*) AS sessions, count(*) FILTER (WHERE s.converted) AS conversions FROM ",
            $tables,
            " WHERE s.started_at >= $1 AND s.started_at < $2",
            $condition,
            " GROUP BY 1, 2) p GROUP BY p.value ORDER BY sessions DESC, p.value LIMIT $3"
        )
    };
}

/// Lists the most frequent values in a period by sessions.
pub(crate) async fn rank(
    connection: &mut PgConnection,
    ranking: Ranking,
    period: Period,
    rows_max: i64,
) -> sqlx::Result<Vec<RankRecord>> {
    let text = match ranking {
        Ranking::Page => ranked!(
            "page",
            "sessions s CROSS JOIN LATERAL (SELECT DISTINCT unnest(s.pages) AS page) pages",
            ""
        ),
        Ranking::EntryPage => ranked!("s.entry_page", "sessions s", " AND s.entry_page IS NOT NULL"),
        Ranking::ExitPage => ranked!("s.exit_page", "sessions s", " AND s.exit_page IS NOT NULL"),
        Ranking::Source => ranked!("s.source", "sessions s", ""),
        Ranking::Channel => ranked!("s.channel", "sessions s", ""),
        Ranking::Campaign => ranked!("s.campaign", "sessions s", " AND s.campaign IS NOT NULL"),
        Ranking::Country => ranked!("s.country", "sessions s", ""),
        Ranking::DeviceType => ranked!("s.device_type", "sessions s", ""),
    };
    sqlx::query_as(text)
        .bind(period.from)
        .bind(period.to)
        .bind(rows_max)
        .fetch_all(connection)
        .await
}

/// What a time series counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    Visitors,
    Sessions,
    PageViews,
    Conversions,
    Errors,
    Revenue,
    /// Sessions without engagement; [`Cell::sessions`] is what to divide by.
    Bounces,
    /// Events in the hourly roll-up.
    EventsHourly,
    /// Events one by one.
    EventsRaw,
}

/// What a time series is split by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dimension {
    Channel,
    Source,
    DeviceType,
    Country,
    EventType,
}

/// One value of a time series.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub(crate) struct Cell {
    /// Index into the bucket starts that were asked for.
    pub(crate) bucket: i32,
    /// Absent where the dimension is not known, or without a dimension.
    pub(crate) value: Option<String>,
    /// The sum of all values beyond the most frequent ones.
    pub(crate) other: bool,
    pub(crate) currency: Option<String>,
    pub(crate) amount: Decimal,
    /// Rows that were counted.
    pub(crate) sessions: i64,
    pub(crate) visitors: i64,
}

/// Which values of a dimension have a series of their own.
#[derive(Clone, Debug, Default)]
struct TopValues {
    known: Vec<String>,
    /// Whether the unknown value is one of them.
    has_unknown: bool,
}

/// Computes a time series over the buckets that start at `starts`; buckets without a row are left out.
///
/// With a dimension, the `values_max` most frequent values stand for themselves and all others are one.
/// The buckets are those of the caller's calendar, so the database's own zone tables play no part.
pub(crate) async fn series(
    connection: &mut PgConnection,
    measure: Measure,
    dimension: Option<Dimension>,
    period: Period,
    starts: &[DateTime<Utc>],
    values_max: i64,
) -> sqlx::Result<Vec<Cell>> {
    let top = match dimension {
        None => TopValues {
            known: Vec::new(),
            has_unknown: true,
        },
        Some(dimension) => {
            let mut query = top_query(measure, dimension, period, values_max);
            let values: Vec<Option<String>> = query.build_query_scalar().fetch_all(&mut *connection).await?;
            let has_unknown = values.iter().any(Option::is_none);
            TopValues {
                known: values.into_iter().flatten().collect(),
                has_unknown,
            }
        }
    };
    series_query(measure, dimension, period, starts, &top)
        .build_query_as()
        .fetch_all(connection)
        .await
}

/// Every piece is one of a few literals; values are bound.
fn top_query(
    measure: Measure,
    dimension: Dimension,
    period: Period,
    values_max: i64,
) -> QueryBuilder<Postgres> {
    let table = table_of(measure);
    let mut query = QueryBuilder::new("SELECT ");
    query.push(column_of(dimension)).push(" AS value");
    push_rows(&mut query, &table, measure, period);
    query
        .push(" GROUP BY 1 ORDER BY ")
        .push(table.weight)
        .push(" DESC, 1 LIMIT ")
        .push_bind(values_max);
    query
}

/// Every piece is one of a few literals; values are bound.
fn series_query(
    measure: Measure,
    dimension: Option<Dimension>,
    period: Period,
    starts: &[DateTime<Utc>],
    top: &TopValues,
) -> QueryBuilder<Postgres> {
    let table = table_of(measure);
    let mut query = QueryBuilder::new("SELECT width_bucket(r.at, ");
    query
        .push_bind(starts.to_vec())
        .push(") - 1 AS bucket, CASE WHEN NOT r.other THEN r.value END AS value, ");
    query
        .push("r.other, ")
        .push(table.currency)
        .push(" AS currency, ")
        .push(amount_of(measure));
    query
        .push("::numeric AS amount, count(*) AS sessions, ")
        .push(people_of(measure))
        .push(" AS visitors");
    query
        .push(" FROM (SELECT q.*, CASE WHEN q.value IS NULL THEN NOT ")
        .push_bind(top.has_unknown);
    query
        .push("::boolean ELSE q.value <> ALL (")
        .push_bind(top.known.clone())
        .push(") END AS other FROM (SELECT ");
    query
        .push(dimension.map_or("NULL::text", column_of))
        .push(" AS value, ")
        .push(table.columns);
    push_rows(&mut query, &table, measure, period);
    query.push(") q) r GROUP BY 1, 2, 3, 4 ORDER BY 1, 3, 2, 4");
    query
}

fn push_rows(query: &mut QueryBuilder<Postgres>, table: &Table, measure: Measure, period: Period) {
    query
        .push(" FROM ")
        .push(table.name)
        .push(" r WHERE ")
        .push(table.time)
        .push(" >= ");
    query
        .push_bind(period.from)
        .push(" AND ")
        .push(table.time)
        .push(" < ")
        .push_bind(period.to);
    if measure == Measure::Revenue {
        query.push(" AND r.converted");
    }
}

struct Table {
    name: &'static str,
    /// What is read of each row; its time is called `at`.
    columns: &'static str,
    time: &'static str,
    /// What makes a value frequent.
    weight: &'static str,
    currency: &'static str,
}

fn table_of(measure: Measure) -> Table {
    let sessions = Table {
        name: "sessions",
        columns: "r.started_at AS at, r.customer_id, r.page_views, r.errors, r.converted, r.conversion_value, \
                  r.currency, r.engaged",
        time: "r.started_at",
        weight: "count(*)",
        currency: "NULL::text",
    };
    match measure {
        Measure::EventsHourly => Table {
            name: "events_hourly",
            columns: "r.hour AS at, r.events",
            time: "r.hour",
            weight: "sum(r.events)",
            ..sessions
        },
        Measure::EventsRaw => Table {
            name: "events",
            columns: "r.timestamp AS at",
            time: "r.timestamp",
            ..sessions
        },
        Measure::Revenue => Table {
            currency: "r.currency",
            ..sessions
        },
        _ => sessions,
    }
}

/// People are counted where the answer depends on them.
fn people_of(measure: Measure) -> &'static str {
    match measure {
        Measure::Visitors | Measure::Bounces => "count(DISTINCT r.customer_id)",
        _ => "0::bigint",
    }
}

fn amount_of(measure: Measure) -> &'static str {
    match measure {
        Measure::Visitors => "count(DISTINCT r.customer_id)",
        Measure::Sessions | Measure::EventsRaw => "count(*)",
        Measure::PageViews => "sum(r.page_views)",
        Measure::Conversions => "count(*) FILTER (WHERE r.converted)",
        Measure::Errors => "sum(r.errors)",
        Measure::Revenue => "sum(r.conversion_value)",
        Measure::Bounces => "count(*) FILTER (WHERE NOT r.engaged)",
        Measure::EventsHourly => "sum(r.events)",
    }
}

fn column_of(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Channel => "r.channel",
        Dimension::Source => "r.source",
        Dimension::DeviceType => "r.device_type",
        Dimension::Country => "r.country",
        Dimension::EventType => "r.event_type",
    }
}
