//! `GET /api/v1/attribution`: which channels conversions are owed to.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::ReadAccess,
    insight::{Answer, Asked, Engine, ScopeIn, run},
    list::RangeQuery,
    period::bounded,
    problem::{CommonProblems, MissingProblem, Problem},
    state::AppState,
};
use crate::{
    analysis::{
        attribution::{
            self, Attribution, LIMIT_DEFAULT, LIMIT_MAX, LOOK_BACK_DAYS_DEFAULT, LOOK_BACK_DAYS_MAX, MODELS,
            Model, PATHS_DEFAULT, PATHS_MAX, Question,
        },
        dimension::Dimension,
    },
    index::Micros,
};

const DAY: Micros = 86_400_000_000;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AttributionIn {
    /// What gets the credit.
    #[param(inline)]
    dimension: Option<By>,
    /// One model; all when absent.
    #[param(inline)]
    model: Option<Model>,
    /// How long before a conversion a session may have begun to be a touch of it.
    #[param(minimum = 1, maximum = 365, default = 30)]
    look_back_days: Option<i64>,
    /// Values with a line of their own; the rest share one.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// Ways to a conversion that are listed.
    #[param(minimum = 1, maximum = 100, default = 10)]
    paths: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum By {
    #[default]
    Channel,
    Source,
    Medium,
    Campaign,
    ReferrerHost,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(attribute))
}

/// Which channels conversions are owed to.
///
/// A conversion is a session with a purchase that begins in the time asked for; a filter on sessions is about those.
/// Its touches are the person's sessions, of any kind, that began within the look-back before the purchase, it included.
/// Credits of a model add up to all conversions, and to all revenue in each currency, exactly.
#[utoipa::path(get, path = "/api/v1/attribution", tag = "analysis", security(("secret_key" = [])),
    params(AttributionIn, RangeQuery, ScopeIn),
    responses((status = 200, description = "Credits by value and model.", body = Answer<Attribution>), CommonProblems, MissingProblem))]
async fn attribute(
    _: ReadAccess,
    State(state): State<AppState>,
    asked: Asked<AttributionIn>,
) -> Result<Json<Answer<Attribution>>, Problem> {
    let question = question(&asked.question)?;
    let subject = asked.subject(&state).await?;
    let about = subject.clone();
    let found = run(move || attribution::attribute(&about.view, &about.scope, &question)).await?;
    Ok(Json(subject.answer(found, Engine::Index)))
}

fn question(input: &AttributionIn) -> Result<Question, Problem> {
    let days = bounded(
        "look_back_days",
        input.look_back_days,
        LOOK_BACK_DAYS_DEFAULT,
        LOOK_BACK_DAYS_MAX,
    )?;
    let question = Question {
        dimension: match input.dimension.unwrap_or_default() {
            By::Channel => Dimension::Channel,
            By::Source => Dimension::Source,
            By::Medium => Dimension::Medium,
            By::Campaign => Dimension::Campaign,
            By::ReferrerHost => Dimension::ReferrerHost,
        },
        models: input.model.map_or_else(|| MODELS.to_vec(), |model| vec![model]),
        look_back: days * DAY,
        limit: bounded("limit", input.limit, LIMIT_DEFAULT as i64, LIMIT_MAX as i64)? as usize,
        paths: bounded("paths", input.paths, PATHS_DEFAULT as i64, PATHS_MAX as i64)? as usize,
    };
    question
        .check()
        .map_err(|error| Problem::bad_request("invalid_query", error.to_string()))?;
    Ok(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_the_default() {
        let question = question(&AttributionIn::default()).unwrap();
        assert_eq!(
            (question.dimension, question.models.len()),
            (Dimension::Channel, 7)
        );
        assert_eq!(question.look_back, 30 * DAY);
        let input = AttributionIn {
            model: Some(Model::Linear),
            ..AttributionIn::default()
        };
        assert_eq!(super::question(&input).unwrap().models, [Model::Linear]);
    }

    #[test]
    fn a_number_out_of_its_bounds_is_refused_by_name() {
        let none = AttributionIn::default;
        for (input, name) in [
            (
                AttributionIn {
                    look_back_days: Some(366),
                    ..none()
                },
                "look_back_days",
            ),
            (
                AttributionIn {
                    limit: Some(201),
                    ..none()
                },
                "limit",
            ),
            (
                AttributionIn {
                    paths: Some(0),
                    ..none()
                },
                "paths",
            ),
        ] {
            let problem = question(&input).unwrap_err();
            assert_eq!(problem.code(), "invalid_query");
            assert!(problem.detail().starts_with(name), "{}", problem.detail());
        }
    }
}
