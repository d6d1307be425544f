//! `GET /api/v1/retention`: how many people come back.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::ReadAccess,
    insight::{Answer, Asked, Engine, ScopeIn, run},
    list::RangeQuery,
    problem::{CommonProblems, MissingProblem, Problem},
    state::AppState,
};
use crate::analysis::{
    calendar::Interval,
    retention::{self, Entry, PERIODS_DEFAULT, PERIODS_MAX, Question, Retention, RetentionError, Return},
};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RetentionIn {
    /// How long a cohort and a period are. Days, weeks from Monday on and months are those of the time zone.
    #[param(inline)]
    interval: Option<CohortInterval>,
    /// What puts people into a cohort: the first time they were seen, or their first session with a purchase.
    #[param(inline)]
    cohort_by: Option<Entry>,
    /// What counts as coming back: any session, or one with a purchase.
    #[param(inline)]
    returned_by: Option<Return>,
    /// Periods after the first.
    #[param(minimum = 0, maximum = 100, default = 12)]
    periods: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum CohortInterval {
    Day,
    #[default]
    Week,
    Month,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(retain))
}

/// How many people come back.
///
/// Cohorts are of the time asked for, and what happened after it does not count. A filter on sessions is about the
/// session that puts somebody into a cohort; any session counts as coming back. `returned` is who came in that very
/// period, `returned_or_later` who came in it or after it.
#[utoipa::path(get, path = "/api/v1/retention", tag = "analysis", security(("secret_key" = [])),
    params(RetentionIn, RangeQuery, ScopeIn),
    responses((status = 200, description = "Cohorts with their periods.", body = Answer<Retention>), CommonProblems, MissingProblem))]
async fn retain(
    _: ReadAccess,
    State(state): State<AppState>,
    asked: Asked<RetentionIn>,
) -> Result<Json<Answer<Retention>>, Problem> {
    let periods = periods(asked.question.periods)?;
    let subject = asked.subject(&state).await?;
    let question = Question {
        interval: match asked.question.interval.unwrap_or_default() {
            CohortInterval::Day => Interval::Day,
            CohortInterval::Week => Interval::Week,
            CohortInterval::Month => Interval::Month,
        },
        zone: subject.range.tz,
        entry: asked.question.cohort_by.unwrap_or_default(),
        returned: asked.question.returned_by.unwrap_or_default(),
        periods,
        now: state.clock.now(),
    };
    let about = subject.clone();
    let found = run(move || retention::retain(&about.view, &about.scope, &question)).await?;
    let found = found.map_err(|error| {
        let code = match error {
            RetentionError::Periods => "invalid_query",
            RetentionError::Cohorts => "too_many_buckets",
        };
        Problem::bad_request(code, error.to_string())
    })?;
    Ok(Json(subject.answer(found, Engine::Index)))
}

fn periods(given: Option<i64>) -> Result<usize, Problem> {
    let periods = given.map_or(Ok(PERIODS_DEFAULT), usize::try_from);
    let refuse = || Problem::bad_request("invalid_query", RetentionError::Periods.to_string());
    periods
        .ok()
        .filter(|periods| *periods <= PERIODS_MAX)
        .ok_or_else(refuse)
}
