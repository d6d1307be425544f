//! `GET /api/v1/metrics/timeseries`: one figure over time.

use axum::{Json, extract::State};
use chrono::{DateTime, TimeDelta, Timelike, Utc};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr, Schema,
        schema::{SchemaType, Type},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::ReadAccess,
    extract::Query,
    list::RangeQuery,
    metrics_overview::ratio,
    period::{Chosen, bounded, choose},
    problem::{CommonProblems, Problem},
    snapshot::begin_snapshot,
    state::AppState,
};
use crate::{
    analysis::calendar::{self, Bucket, Interval},
    store::metrics_read::{self, Cell, Dimension, Measure, Period},
};

/// A year of hours, and a little.
pub(super) const BUCKETS_MAX: usize = 10_000;

/// Lines of a chart that can still be told apart; what remains is one more line.
const VALUES_DEFAULT: i64 = 10;
const VALUES_MAX: i64 = 50;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SeriesIn {
    /// What is counted.
    #[param(inline)]
    metric: Metric,
    /// How long a bucket is.
    #[serde(default)]
    #[param(inline)]
    interval: IntervalIn,
    /// What the figure is split by. `event_type` only with the metric `events`, which in turn knows neither
    /// `channel` nor `source`.
    #[param(inline)]
    by: Option<By>,
    /// Values with a series of their own, 1 to 50; all others share one.
    #[param(minimum = 1, maximum = 50, default = 10)]
    limit: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Metric {
    Visitors,
    Sessions,
    PageViews,
    Events,
    Conversions,
    Revenue,
    BounceRate,
    Errors,
}

/// Buckets are those of the time zone: a day has 23 or 25 hours where the clock changes, a week starts on Monday.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum IntervalIn {
    Hour,
    #[default]
    Day,
    Week,
    Month,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum By {
    Channel,
    DeviceType,
    Country,
    Source,
    EventType,
}

/// One figure over time.
#[derive(Debug, Serialize, ToSchema)]
struct SeriesOut {
    metric: Metric,
    interval: IntervalIn,
    timezone: String,
    /// Inclusive.
    from: DateTime<Utc>,
    /// Exclusive.
    to: DateTime<Utc>,
    /// What answered: `sessions`, `events_hourly` or `events`.
    answered_from: &'static str,
    buckets: Vec<BucketOut>,
    /// One for each value and currency; without `by` and `revenue` exactly one.
    series: Vec<LineOut>,
}

/// A bucket of the calendar.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BucketOut {
    /// Inclusive.
    pub(super) start: DateTime<Utc>,
    /// Exclusive.
    pub(super) end: DateTime<Utc>,
    /// False when the period, or the present, ends inside the bucket.
    pub(super) complete: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct LineOut {
    /// Value of the dimension; absent where it is not known, and without `by`.
    value: Option<String>,
    /// The sum of all values that have no series of their own.
    other: bool,
    /// ISO 4217, for revenue.
    currency: Option<String>,
    /// One figure for each bucket, in the same order.
    values: Vec<FigureOut>,
}

/// A count, a ratio, or an amount of money as decimal text. A ratio of fewer than 30 people is `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum FigureOut {
    Count(i64),
    Ratio(Option<f64>),
    Amount(Decimal),
}

/// By hand: derived, it would be "exactly one of" three types, and a count is both an integer and a number.
impl PartialSchema for FigureOut {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::Number, Type::String, Type::Null]))
            .description(Some(
                "A count, a ratio, or an amount of money as decimal text. A ratio of fewer than 30 people is `null`.",
            ))
            .into()
    }
}

impl ToSchema for FigureOut {}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(timeseries))
}

/// One figure over time.
///
/// Every bucket the period touches is listed, also those in which nothing happened. Sessions, with all that
/// happened in them, count in the bucket of their first event; `events` count in that of their own time.
/// A period whose `from` is not given begins with a whole day.
#[utoipa::path(get, path = "/api/v1/metrics/timeseries", tag = "metrics", security(("secret_key" = [])),
    params(RangeQuery, SeriesIn),
    responses((status = 200, description = "The figure in each bucket.", body = SeriesOut), CommonProblems))]
async fn timeseries(
    _: ReadAccess,
    State(state): State<AppState>,
    Query(range): Query<RangeQuery>,
    Query(input): Query<SeriesIn>,
) -> Result<Json<SeriesOut>, Problem> {
    let chosen = choose(&range, &state)?;
    let dimension = dimension(input.metric, input.by)?;
    let values_max = bounded("limit", input.limit, VALUES_DEFAULT, VALUES_MAX)?;
    let buckets = cut(&chosen, input.interval)?;
    let starts: Vec<_> = buckets.iter().map(|bucket| bucket.start).collect();
    let (measure, period) = measure(input.metric, &chosen, &starts);
    let mut snapshot = begin_snapshot(&state).await?;
    let cells = metrics_read::series(&mut snapshot, measure, dimension, period, &starts, values_max).await?;
    Ok(Json(SeriesOut {
        metric: input.metric,
        interval: input.interval,
        timezone: chosen.zone.name().to_owned(),
        from: chosen.period.from,
        to: chosen.period.to,
        answered_from: match measure {
            Measure::EventsHourly => "events_hourly",
            Measure::EventsRaw => "events",
            _ => "sessions",
        },
        series: lines(input.metric, input.by.is_none(), cells, buckets.len()),
        buckets: bucket_outs(&buckets, &chosen),
    }))
}

/// Cuts the period into buckets. 400 `too_many_buckets` beyond 10 000.
pub(super) fn cut(chosen: &Chosen, interval: IntervalIn) -> Result<Vec<Bucket>, Problem> {
    let interval = match interval {
        IntervalIn::Hour => Interval::Hour,
        IntervalIn::Day => Interval::Day,
        IntervalIn::Week => Interval::Week,
        IntervalIn::Month => Interval::Month,
    };
    let Period { from, to } = chosen.period;
    calendar::buckets(from, to, interval, chosen.zone, BUCKETS_MAX).ok_or_else(|| {
        Problem::bad_request(
            "too_many_buckets",
            format!("The period has more than {BUCKETS_MAX} buckets: choose a longer interval or a shorter period."),
        )
    })
}

pub(super) fn bucket_outs(buckets: &[Bucket], chosen: &Chosen) -> Vec<BucketOut> {
    let end = chosen.period.to.min(chosen.now);
    buckets
        .iter()
        .map(|bucket| BucketOut {
            start: bucket.start,
            end: bucket.end,
            complete: bucket.start >= chosen.period.from && bucket.end <= end,
        })
        .collect()
}

fn dimension(metric: Metric, by: Option<By>) -> Result<Option<Dimension>, Problem> {
    let is_of_events = metric == Metric::Events;
    let dimension = match by {
        None => return Ok(None),
        Some(By::DeviceType) => Dimension::DeviceType,
        Some(By::Country) => Dimension::Country,
        Some(By::EventType) if is_of_events => Dimension::EventType,
        Some(By::Channel) if !is_of_events => Dimension::Channel,
        Some(By::Source) if !is_of_events => Dimension::Source,
        Some(_) => {
            return Err(Problem::bad_request(
                "unsupported_dimension",
                "by: this metric cannot be split by that. Events have event_type, device_type and country; \
                 everything else has channel, source, device_type and country.",
            ));
        }
    };
    Ok(Some(dimension))
}

/// Chooses what answers. The roll-up does where every edge lies on a full hour of UTC.
fn measure(metric: Metric, chosen: &Chosen, starts: &[DateTime<Utc>]) -> (Measure, Period) {
    let measure = match metric {
        Metric::Visitors => Measure::Visitors,
        Metric::Sessions => Measure::Sessions,
        Metric::PageViews => Measure::PageViews,
        Metric::Conversions => Measure::Conversions,
        Metric::Revenue => Measure::Revenue,
        Metric::BounceRate => Measure::Bounces,
        Metric::Errors => Measure::Errors,
        Metric::Events => {
            let period = rollup_period(chosen);
            let edges = [period.from, period.to];
            let is_hourly = edges.iter().chain(starts).all(|edge| is_full_hour(*edge));
            return if is_hourly {
                (Measure::EventsHourly, period)
            } else {
                (Measure::EventsRaw, chosen.period)
            };
        }
    };
    (measure, chosen.period)
}

/// Nothing happens after the present, so a period that reaches it may as well end with the hour.
fn rollup_period(chosen: &Chosen) -> Period {
    let Period { from, to } = chosen.period;
    if to < chosen.now || is_full_hour(to) {
        return chosen.period;
    }
    let past_the_hour = TimeDelta::seconds(i64::from(to.minute() * 60 + to.second()))
        + TimeDelta::nanoseconds(i64::from(to.nanosecond()));
    Period {
        from,
        to: to - past_the_hour + TimeDelta::hours(1),
    }
}

fn is_full_hour(at: DateTime<Utc>) -> bool {
    at.minute() == 0 && at.second() == 0 && at.nanosecond() == 0
}

/// Turns cells into lines of equal length, the most frequent value first and the rest last.
fn lines(metric: Metric, always_one: bool, cells: Vec<Cell>, length: usize) -> Vec<LineOut> {
    let empty = figure(metric, Decimal::ZERO, 0, 0);
    let blank = |value, other, currency| LineOut {
        value,
        other,
        currency,
        values: vec![empty.clone(); length],
    };
    let mut weighted: Vec<(i64, LineOut)> = Vec::new();
    for cell in cells {
        let found = weighted.iter().position(|(_, line)| {
            line.value == cell.value && line.other == cell.other && line.currency == cell.currency
        });
        let place = found.unwrap_or_else(|| {
            weighted.push((0, blank(cell.value, cell.other, cell.currency)));
            weighted.len() - 1
        });
        let (weight, line) = &mut weighted[place];
        *weight += cell.sessions;
        let index = usize::try_from(cell.bucket).ok();
        if let Some(figure_at) = index.and_then(|index| line.values.get_mut(index)) {
            *figure_at = figure(metric, cell.amount, cell.sessions, cell.visitors);
        }
    }
    if weighted.is_empty() && always_one && metric != Metric::Revenue {
        weighted.push((0, blank(None, false, None)));
    }
    weighted.sort_by_key(|(weight, line)| (line.other, std::cmp::Reverse(*weight)));
    weighted.into_iter().map(|(_, line)| line).collect()
}

fn figure(metric: Metric, amount: Decimal, sessions: i64, visitors: i64) -> FigureOut {
    let count = amount.to_i64().unwrap_or(i64::MAX);
    match metric {
        Metric::Revenue => FigureOut::Amount(amount),
        Metric::BounceRate => FigureOut::Ratio(ratio(count, sessions, visitors)),
        _ => FigureOut::Count(count),
    }
}
