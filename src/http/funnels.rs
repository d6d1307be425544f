//! Funnels that somebody keeps: list, create, show, replace, delete.

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{Postgres, pool::PoolConnection};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::{AdminAccess, ReadAccess},
    extract::{self, Path, Query},
    list::{Page, PageQuery},
    problem::{BodyProblems, CommonProblems, MissingProblem, Problem, ProblemDocument},
    state::AppState,
};
use crate::{
    analysis::funnel::{Flaw, Funnel, FunnelDefinition},
    store::{
        StoreError,
        funnels::{self, FunnelRecord, Kept},
    },
};

/// Characters of a funnel's name at most.
const NAME_MAX: usize = 100;

/// Name of the list in its cursors.
const LIST: &str = "funnels";

/// A funnel to keep.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunnelIn {
    /// 1 to 100 characters; no two funnels have the same.
    #[schema(min_length = 1, max_length = 100, example = "Checkout")]
    name: String,
    definition: FunnelDefinition,
}

/// A funnel that is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SavedFunnel {
    id: Uuid,
    name: String,
    #[schema(value_type = FunnelDefinition)]
    definition: Value,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<FunnelRecord> for SavedFunnel {
    fn from(record: FunnelRecord) -> Self {
        Self {
            id: record.id,
            name: record.name,
            definition: record.definition,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_funnels, create_funnel))
        .routes(routes!(show_funnel, replace_funnel, delete_funnel))
}

pub(super) async fn connect(state: &AppState) -> Result<PoolConnection<Postgres>, StoreError> {
    state
        .pool
        .acquire()
        .await
        .map_err(StoreError::during("connecting to PostgreSQL"))
}

/// Returns the funnel of a definition.
///
/// # Errors
/// 422 `invalid_funnel` with all that is wrong with it.
pub(super) fn checked(definition: &FunnelDefinition) -> Result<Funnel, Problem> {
    definition.check().map_err(invalid)
}

fn invalid(flaws: Vec<Flaw>) -> Problem {
    let sentences: Vec<String> = flaws
        .iter()
        .map(|flaw| format!("{}: {}", flaw.field, flaw.detail))
        .collect();
    let errors = serde_json::to_value(flaws).unwrap_or_default();
    Problem::unprocessable("invalid_funnel", sentences.join(" ")).with_member("errors", errors)
}

/// Returns a funnel that is kept.
///
/// # Errors
/// 404; 409 `funnel_not_understood` when another release of the service wrote it.
pub(super) async fn find(state: &AppState, id: Uuid) -> Result<Funnel, Problem> {
    let record = funnels::find_funnel(&mut *connect(state).await?, id)
        .await?
        .ok_or_else(|| Problem::not_found("The funnel"))?;
    let understood = serde_json::from_value::<FunnelDefinition>(record.definition);
    understood
        .ok()
        .and_then(|definition| definition.check().ok())
        .ok_or_else(|| {
            Problem::conflict(
                "funnel_not_understood",
                "Another release of the service wrote this funnel, and this one does not understand it. Write it anew.",
            )
        })
}

/// Checks all of a wish, and returns its name and what is kept of it.
fn wanted(wish: &FunnelIn) -> Result<(String, Value), Problem> {
    let name = wish.name.trim();
    let mut flaws = Vec::new();
    if !(1..=NAME_MAX).contains(&name.chars().count()) || name.contains('\0') {
        flaws.push(Flaw {
            field: "name".to_owned(),
            detail: format!("A funnel's name has 1 to {NAME_MAX} characters."),
        });
    }
    let inner = wish.definition.check().err().unwrap_or_default();
    flaws.extend(inner.into_iter().map(|flaw| Flaw {
        field: format!("definition.{}", flaw.field),
        ..flaw
    }));
    if !flaws.is_empty() {
        return Err(invalid(flaws));
    }
    let definition = serde_json::to_value(&wish.definition).map_err(Problem::internal)?;
    Ok((name.to_owned(), definition))
}

fn saved(kept: Kept) -> Result<Json<SavedFunnel>, Problem> {
    match kept {
        Kept::Funnel(record) => Ok(Json(record.into())),
        Kept::Missing => Err(Problem::not_found("The funnel")),
        Kept::NameTaken => Err(Problem::conflict(
            "funnel_name_taken",
            "Another funnel has this name: choose a different one, or change that funnel.",
        )),
    }
}

/// List the funnels
///
/// In the order they were made.
#[utoipa::path(get, path = "/api/v1/funnels", tag = "analysis", security(("secret_key" = [])), params(PageQuery),
    responses((status = 200, description = "A page of funnels.", body = Page<SavedFunnel>), CommonProblems))]
async fn list_funnels(
    _: ReadAccess,
    State(state): State<AppState>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<SavedFunnel>>, Problem> {
    let limit = page.limit()?;
    let after: Option<Uuid> = page.position(&state.hasher, LIST)?;
    let rows = funnels::list_funnels(&mut *connect(&state).await?, after, limit + 1).await?;
    let page = Page::cut(rows, limit, &state.hasher, LIST, |record| record.id);
    Ok(Json(Page {
        items: page.items.into_iter().map(SavedFunnel::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// Keep a funnel
///
/// With the scope `admin`: everybody who may read sees it.
#[utoipa::path(post, path = "/api/v1/funnels", tag = "analysis", security(("secret_key" = []), ("bearer" = [])),
    request_body = FunnelIn,
    responses((status = 201, description = "The funnel.", body = SavedFunnel),
              (status = 409, description = "`funnel_name_taken`: another funnel has this name.",
               body = ProblemDocument, content_type = "application/problem+json"),
              CommonProblems, BodyProblems))]
async fn create_funnel(
    _: AdminAccess,
    State(state): State<AppState>,
    extract::Json(wish): extract::Json<FunnelIn>,
) -> Result<(StatusCode, Json<SavedFunnel>), Problem> {
    let (name, definition) = wanted(&wish)?;
    let now = state.clock.now();
    let connection = &mut *connect(&state).await?;
    let kept = funnels::create_funnel(connection, Uuid::now_v7(), &name, &definition, now).await?;
    Ok((StatusCode::CREATED, saved(kept)?))
}

/// Show a funnel
#[utoipa::path(get, path = "/api/v1/funnels/{id}", tag = "analysis", security(("secret_key" = [])),
    params(("id" = Uuid, Path, description = "Id of the funnel.")),
    responses((status = 200, description = "The funnel.", body = SavedFunnel), CommonProblems, MissingProblem))]
async fn show_funnel(
    _: ReadAccess,
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
) -> Result<Json<SavedFunnel>, Problem> {
    let found = funnels::find_funnel(&mut *connect(&state).await?, id).await?;
    saved(found.map_or(Kept::Missing, Kept::Funnel))
}

/// Replace a funnel
///
/// With the scope `admin`. Analyses from then on follow the new definition, also of the past.
#[utoipa::path(put, path = "/api/v1/funnels/{id}", tag = "analysis", security(("secret_key" = []), ("bearer" = [])),
    params(("id" = Uuid, Path, description = "Id of the funnel.")), request_body = FunnelIn,
    responses((status = 200, description = "The funnel as it is now.", body = SavedFunnel),
              (status = 409, description = "`funnel_name_taken`: another funnel has this name.",
               body = ProblemDocument, content_type = "application/problem+json"),
              CommonProblems, MissingProblem, BodyProblems))]
async fn replace_funnel(
    _: AdminAccess,
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
    extract::Json(wish): extract::Json<FunnelIn>,
) -> Result<Json<SavedFunnel>, Problem> {
    let (name, definition) = wanted(&wish)?;
    let now = state.clock.now();
    saved(funnels::replace_funnel(&mut *connect(&state).await?, id, &name, &definition, now).await?)
}

/// Delete a funnel
///
/// With the scope `admin`. What it was made of stays.
#[utoipa::path(delete, path = "/api/v1/funnels/{id}", tag = "analysis", security(("secret_key" = []), ("bearer" = [])),
    params(("id" = Uuid, Path, description = "Id of the funnel.")),
    responses((status = 204, description = "It is gone."), CommonProblems, MissingProblem))]
async fn delete_funnel(
    _: AdminAccess,
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    match funnels::delete_funnel(&mut *connect(&state).await?, id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found("The funnel")),
    }
}
