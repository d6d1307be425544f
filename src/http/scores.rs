//! `GET /api/v1/scores/calibration`: what the estimates about customers rest on, and how well they do.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::ReadAccess,
    problem::{CommonProblems, Problem},
    snapshot::begin_snapshot,
    state::AppState,
};
use crate::{
    customer::{HORIZON, SEEN_WITHIN, estimate, estimate::Calibration, rfm::BUYERS_MIN},
    store::scores,
};

/// What the estimates rest on.
#[derive(Debug, Serialize, ToSchema)]
struct CalibrationOut {
    /// When it was measured; absent, as are the estimates, before the first time.
    computed_at: Option<DateTime<Utc>>,
    /// How far estimates look ahead; they rest on people as they stood so long before `computed_at`.
    horizon_days: i64,
    /// Who was not seen for longer has no estimates.
    seen_within_days: i64,
    /// People that the overall rate counts for in each group.
    prior_people: f64,
    churn_risk: Option<Calibration>,
    conversion_probability: Option<Calibration>,
    rfm: RfmOut,
}

/// Among whom buyers are ranked.
#[derive(Debug, Serialize, ToSchema)]
struct RfmOut {
    /// Absent where there are fewer than `buyers_min`.
    buyers: Option<usize>,
    buyers_min: usize,
    /// The currency that revenue is ranked in.
    currency: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show_calibration))
}

/// How well the estimates do.
///
/// The Brier score and the lines of reliability are of people that the estimates were not made of: five folds, each
/// estimated from the other four. Where `quality` is absent, so are the estimates.
#[utoipa::path(get, path = "/api/v1/scores/calibration", tag = "analysis", security(("secret_key" = [])),
    responses((status = 200, description = "What the estimates rest on.", body = CalibrationOut), CommonProblems))]
async fn show_calibration(
    _: ReadAccess,
    State(state): State<AppState>,
) -> Result<Json<CalibrationOut>, Problem> {
    let mut snapshot = begin_snapshot(&state).await?;
    let found = scores::find_calibrations(&mut snapshot).await?;
    let thresholds = scores::find_models(&mut snapshot).await?.rfm;
    let (computed_at, calibrations) = found.unzip();
    let (churn, conversion) = calibrations.map(|both| (both.churn, both.conversion)).unzip();
    Ok(Json(CalibrationOut {
        computed_at,
        horizon_days: HORIZON.num_days(),
        seen_within_days: SEEN_WITHIN.num_days(),
        prior_people: estimate::PRIOR_PEOPLE,
        churn_risk: churn,
        conversion_probability: conversion,
        rfm: RfmOut {
            buyers: thresholds.as_ref().map(|thresholds| thresholds.buyers),
            buyers_min: BUYERS_MIN,
            currency: thresholds.map(|thresholds| thresholds.currency),
        },
    }))
}
