//! `GET /api/v1/ledger`: what became of the events that arrived.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
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
    timeseries::{IntervalIn, cut},
};
use crate::{
    ingest::ledger::{Audit, AuditError, audit},
    store::ledger_read::{self, DropSampleRecord, LedgerCell},
};

const SAMPLES_DEFAULT: i64 = 20;
const SAMPLES_MAX: i64 = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LedgerIn {
    /// How long a bucket is. A day of a zone whose offset is no whole hour holds the hours that start in it.
    #[serde(default)]
    #[param(inline)]
    interval: IntervalIn,
    /// Only what this API key brought.
    key_id: Option<i32>,
    /// Newest examples of refused events, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 20)]
    samples: Option<i64>,
}

/// Sums of the drop ledger.
#[derive(Debug, Serialize, ToSchema)]
struct LedgerOut {
    /// Inclusive, by the hour of receipt.
    from: DateTime<Utc>,
    /// Exclusive.
    to: DateTime<Utc>,
    timezone: String,
    /// Sums over the period by outcome, and within it by reason; the reason is empty where none is needed.
    totals: BTreeMap<String, BTreeMap<String, i64>>,
    rows: Vec<LedgerRowOut>,
    /// The newest refused events, redacted, whatever the period.
    samples: Vec<DropSampleRecord>,
}

/// One sum.
#[derive(Debug, Serialize, ToSchema)]
struct LedgerRowOut {
    /// Start of the bucket.
    start: DateTime<Utc>,
    key_id: i32,
    /// `stored`, `duplicate`, `rejected`; `received` only for events that took the direct way, since the
    /// queue counts its own.
    outcome: String,
    reason: String,
    count: i64,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(ledger))
        .routes(routes!(balance))
}

/// Whether every event is accounted for.
///
/// `received = stored + duplicate + rejected + queued`, compared at one moment while events keep coming.
#[utoipa::path(get, path = "/api/v1/ledger/balance", tag = "operations", operation_id = "getLedgerBalance",
    security(("secret_key" = []), ("bearer" = [])),
    responses((status = 200, description = "Both sides of the equation; `difference` is 0 when nothing vanished.",
               body = Audit), CommonProblems))]
async fn balance(_: ReadAccess, State(state): State<AppState>) -> Result<Json<Audit>, Problem> {
    let queue = state
        .reception
        .as_ref()
        .and_then(|reception| reception.intake.queue().cloned());
    let mut connection = state.pool.acquire().await?;
    match audit(&mut connection, queue.as_deref()).await {
        Ok(audit) => Ok(Json(audit)),
        Err(AuditError::Store(error)) => Err(error.into()),
        Err(error @ AuditError::Queue(_)) => Err(Problem::unavailable(
            "queue_unavailable",
            "Redis does not answer, so its side of the equation cannot be read.",
            state.config.ingest.retry_after_seconds,
        )
        .with_source(error)),
    }
}

/// What became of the events that arrived.
///
/// A period whose `from` is not given begins with a whole day.
#[utoipa::path(get, path = "/api/v1/ledger", tag = "operations", security(("secret_key" = [])),
    params(RangeQuery, LedgerIn),
    responses((status = 200, description = "Events by outcome, reason, key and time of receipt.",
               body = LedgerOut), CommonProblems))]
async fn ledger(
    _: ReadAccess,
    State(state): State<AppState>,
    Query(range): Query<RangeQuery>,
    Query(input): Query<LedgerIn>,
) -> Result<Json<LedgerOut>, Problem> {
    let chosen = choose(&range, &state)?;
    let samples_max = bounded("samples", input.samples, SAMPLES_DEFAULT, SAMPLES_MAX)?;
    let starts: Vec<_> = cut(&chosen, input.interval)?
        .iter()
        .map(|bucket| bucket.start)
        .collect();
    let mut snapshot = begin_snapshot(&state).await?;
    let cells = ledger_read::sums(&mut snapshot, chosen.period, &starts, input.key_id).await?;
    Ok(Json(LedgerOut {
        from: chosen.period.from,
        to: chosen.period.to,
        timezone: chosen.zone.name().to_owned(),
        totals: totals(&cells),
        rows: cells.into_iter().filter_map(|cell| row(cell, &starts)).collect(),
        samples: ledger_read::list_samples(&mut snapshot, input.key_id, samples_max).await?,
    }))
}

fn totals(cells: &[LedgerCell]) -> BTreeMap<String, BTreeMap<String, i64>> {
    let mut totals: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for cell in cells {
        *totals
            .entry(cell.outcome.clone())
            .or_default()
            .entry(cell.reason.clone())
            .or_default() += cell.count;
    }
    totals
}

fn row(cell: LedgerCell, starts: &[DateTime<Utc>]) -> Option<LedgerRowOut> {
    let start = *starts.get(usize::try_from(cell.bucket).ok()?)?;
    Some(LedgerRowOut {
        start,
        key_id: cell.key_id,
        outcome: cell.outcome,
        reason: cell.reason,
        count: cell.count,
    })
}
