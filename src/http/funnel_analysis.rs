//! Funnels answered: kept ones, those of the moment, and the people behind a number.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::ReadAccess,
    extract::{self, Path},
    funnels::{checked, find},
    insight::{Answer, Asked, Engine, ScopeIn, Subject, run},
    list::{Page, PageQuery, RangeQuery},
    problem::{BodyProblems, CommonProblems, MissingProblem, Problem},
    snapshot::begin_snapshot,
    state::AppState,
};
use crate::{
    analysis::{
        dimension::Dimension,
        funnel::{Funnel, FunnelAnswer, FunnelDefinition, Options, Plan, StepOutcome, analyze, find_people},
        scope::{PeopleSet, Scope},
    },
    index::{
        View,
        question::{QuestionError, read_for_question},
    },
};

/// What to answer besides the steps.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AnalysisIn {
    /// The funnel by a property of the session in which it was entered.
    #[param(inline)]
    breakdown: Option<Dimension>,
    /// `previous` adds the period of equal length just before.
    #[param(inline)]
    compare: Option<Compare>,
    /// Whether to say what those who stopped at a step have in common.
    #[serde(default)]
    reasons: bool,
    /// Whether to say where those who stopped at a step went instead.
    #[serde(default)]
    elsewhere: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Compare {
    Previous,
}

impl AnalysisIn {
    fn options(&self) -> Options {
        Options {
            breakdown: self.breakdown,
            compare: self.compare.is_some(),
            reasons: self.reasons,
            elsewhere: self.elsewhere,
        }
    }
}

/// Which people of a funnel.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PeopleIn {
    /// Number of the step.
    #[param(minimum = 1, maximum = 20)]
    step: usize,
    /// What came of them there.
    #[serde(default)]
    #[param(inline)]
    outcome: StepOutcome,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Somebody behind a number of a funnel.
#[derive(Debug, Serialize, ToSchema)]
struct FunnelPerson {
    customer_id: Uuid,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(analyze_saved))
        .routes(routes!(analyze_given))
        .routes(routes!(list_people_of_funnel))
}

/// Answer a funnel that is kept
///
/// Chains are booked on the time they were entered, which lies from `from` to before `to`; their later steps may come
/// after `to`, as far as the window reaches. The exact rules are in the documentation, with examples.
#[utoipa::path(get, path = "/api/v1/funnels/{id}/analysis", tag = "analysis", security(("secret_key" = [])),
    params(("id" = Uuid, Path, description = "Id of the funnel."), AnalysisIn, RangeQuery, ScopeIn),
    responses((status = 200, description = "The answer.", body = Answer<FunnelAnswer>), CommonProblems, MissingProblem))]
async fn analyze_saved(
    _: ReadAccess,
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
    asked: Asked<AnalysisIn>,
) -> Result<Json<Answer<FunnelAnswer>>, Problem> {
    let funnel = find(&state, id).await?;
    answer(&state, funnel, asked).await
}

/// Answer a funnel of the moment
///
/// The same as of one that is kept, and nothing is kept.
#[utoipa::path(post, path = "/api/v1/funnels/analyze", tag = "analysis", security(("secret_key" = [])),
    params(AnalysisIn, RangeQuery, ScopeIn), request_body = FunnelDefinition,
    responses((status = 200, description = "The answer.", body = Answer<FunnelAnswer>), CommonProblems, MissingProblem, BodyProblems))]
async fn analyze_given(
    _: ReadAccess,
    State(state): State<AppState>,
    asked: Asked<AnalysisIn>,
    extract::Json(definition): extract::Json<FunnelDefinition>,
) -> Result<Json<Answer<FunnelAnswer>>, Problem> {
    let funnel = checked(&definition)?;
    answer(&state, funnel, asked).await
}

async fn answer(
    state: &AppState,
    funnel: Funnel,
    asked: Asked<AnalysisIn>,
) -> Result<Json<Answer<FunnelAnswer>>, Problem> {
    let options = asked.question.options();
    let subject = asked.subject(state).await?;
    let (view, scope, engine) = view_for(state, &funnel, &subject, options.compare).await?;
    let data = run(move || analyze(&view, &funnel, &scope, options)).await?;
    Ok(Json(subject.answer(data, engine)))
}

/// Returns what answers a funnel, and the scope in its numbers: the index, or one read for this question alone when
/// there are conditions that only the store can judge.
async fn view_for(
    state: &AppState,
    funnel: &Funnel,
    subject: &Subject,
    compare: bool,
) -> Result<(Arc<View>, Scope, Engine), Problem> {
    let scope = subject.scope.clone();
    let groups = funnel.event_conditions();
    if groups.is_empty() {
        return Ok((Arc::clone(&subject.view), scope, Engine::Index));
    }
    let from = if compare {
        scope.from - (scope.to - scope.from)
    } else {
        scope.from
    };
    let to = scope.to.saturating_add(funnel.rules.window);
    let mut snapshot = begin_snapshot(state).await?;
    let view = match read_for_question(&mut snapshot, from, to, &groups).await {
        Ok(view) => view,
        Err(QuestionError::Store(error)) => return Err(error.into()),
        Err(QuestionError::TooLarge) => {
            return Err(Problem::unprocessable(
                "question_too_large",
                "Conditions on properties are answered by the database, and this time holds too many events for it. Ask \
                 about less time, or without these conditions.",
            ));
        }
    };
    let people = scope.people.as_deref().map(|people| {
        let (own, others) = (subject.view.names(), view.names());
        let found = people
            .iter()
            .filter_map(|person| others.people.find(*own.people.get(person)));
        Arc::new(found.collect::<PeopleSet>())
    });
    Ok((Arc::new(view), Scope { people, ..scope }, Engine::Sql))
}

/// List the people behind a number of a funnel
///
/// In the order of their ids. In a funnel that counts sessions, whoever had such a session. Pages are of the moment each
/// is read: who comes or goes between them may be missing or twice.
#[utoipa::path(get, path = "/api/v1/funnels/{id}/people", tag = "analysis", security(("secret_key" = [])),
    params(("id" = Uuid, Path, description = "Id of the funnel."), PeopleIn, RangeQuery, ScopeIn),
    responses((status = 200, description = "A page of people.", body = Page<FunnelPerson>), CommonProblems, MissingProblem))]
async fn list_people_of_funnel(
    _: ReadAccess,
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
    asked: Asked<PeopleIn>,
) -> Result<Json<Page<FunnelPerson>>, Problem> {
    let PeopleIn { step, outcome, .. } = asked.question;
    let page = PageQuery {
        limit: asked.question.limit,
        cursor: asked.question.cursor.clone(),
    };
    let limit = page.limit()?;
    let list = format!("funnel_people:{id}:{step}:{outcome:?}");
    let after: Option<Uuid> = page.position(&state.hasher, &list)?;
    let funnel = find(&state, id).await?;
    if !(1..=funnel.steps.len()).contains(&step) {
        return Err(Problem::bad_request(
            "invalid_query",
            format!("step: this funnel has the steps 1 to {}", funnel.steps.len()),
        ));
    }
    let subject = asked.subject(&state).await?;
    let (view, scope, _) = view_for(&state, &funnel, &subject, false).await?;
    let mut found = run(move || {
        let plan = Plan::new(&funnel, &scope, &view.names());
        let people = find_people(&view, &plan, step - 1, outcome);
        let names = view.names();
        let ids = people.iter().map(|person| *names.people.get(person));
        ids.filter(|id| after.is_none_or(|after| *id > after))
            .collect::<Vec<Uuid>>()
    })
    .await?;
    found.sort_unstable();
    found.truncate(usize::try_from(limit + 1).unwrap_or(usize::MAX));
    let page = Page::cut(found, limit, &state.hasher, &list, |id| *id);
    Ok(Json(Page {
        items: page
            .items
            .into_iter()
            .map(|customer_id| FunnelPerson { customer_id })
            .collect(),
        next_cursor: page.next_cursor,
    }))
}
