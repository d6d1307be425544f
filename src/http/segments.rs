//! Segments: `/api/v1/segments`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::{AdminAccess, ReadAccess},
    extract::{self, Path, Query},
    insight,
    list::{Page, PageQuery, encode_cursor},
    metrics_overview::ratio,
    problem::{BodyProblems, CommonProblems, MissingProblem, Problem},
    reference::as_kept,
    snapshot::begin_snapshot,
    state::AppState,
};
use crate::{
    analysis::{
        scope::PeopleSet,
        segment::{self, Rule},
    },
    index::{View, load::time_of},
    store::{
        StoreError,
        customers_read::{self, CustomerRecord},
        segments::{self, SegmentRow, SegmentSize, Written},
    },
};

/// Name of the list in its cursors.
const LIST: &str = "segments";

/// Characters of a name and of a description at most.
const NAME_MAX: usize = 100;
const DESCRIPTION_MAX: usize = 1000;

/// A segment to keep.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SegmentIn {
    /// 1 to 100 characters that no other segment has.
    #[schema(min_length = 1, max_length = 100, example = "Left a cart")]
    name: String,
    #[schema(max_length = 1000)]
    description: Option<String>,
    definition: Rule,
}

/// A segment.
#[derive(Debug, Serialize, ToSchema)]
struct SegmentOut {
    id: Uuid,
    name: String,
    description: Option<String>,
    definition: Rule,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<SegmentRow> for SegmentOut {
    type Error = Problem;

    fn try_from(row: SegmentRow) -> Result<Self, Problem> {
        Ok(Self {
            definition: rule_of(&row)?,
            id: row.id,
            name: row.name,
            description: row.description,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Rules to try.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PreviewIn {
    definition: Rule,
}

/// How many people rules choose.
#[derive(Debug, Serialize, ToSchema)]
struct PreviewOut {
    people: usize,
    /// Everybody the index covers.
    everybody: usize,
    /// Absent below 30 people in the index.
    share: Option<f64>,
    /// What people did before is not looked at: retention, or the index's memory, took it.
    covered_from: DateTime<Utc>,
    /// The moment that `within_days` counts back from.
    as_of: DateTime<Utc>,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_segments, create_segment))
        .routes(routes!(preview_segment))
        .routes(routes!(show_segment, replace_segment, delete_segment))
        .routes(routes!(list_people_of_segment))
        .routes(routes!(list_sizes))
}

/// Segments, by name.
#[utoipa::path(get, path = "/api/v1/segments", tag = "analysis", security(("secret_key" = [])), params(PageQuery),
    responses((status = 200, description = "A page of segments.", body = Page<SegmentOut>), CommonProblems))]
async fn list_segments(
    _: ReadAccess,
    State(state): State<AppState>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<SegmentOut>>, Problem> {
    let limit = page.limit()?;
    let after: Option<String> = page.position(&state.hasher, LIST)?;
    let mut snapshot = begin_snapshot(&state).await?;
    let rows = segments::list(&mut snapshot, after.as_deref(), limit + 1).await?;
    let page = Page::cut(rows, limit, &state.hasher, LIST, |row| row.name.clone());
    Ok(Json(Page {
        items: page
            .items
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_, _>>()?,
        next_cursor: page.next_cursor,
    }))
}

/// Keep a segment
///
/// Only the rules are kept: who belongs is worked out each time it is asked, as of that moment. Needs the scope `admin`.
#[utoipa::path(post, path = "/api/v1/segments", tag = "analysis", security(("secret_key" = []), ("bearer" = [])), request_body = SegmentIn,
    responses((status = 201, description = "The segment.", body = SegmentOut),
              (status = 409, description = "`segment_name_taken`.", body = super::problem::ProblemDocument,
               content_type = "application/problem+json"),
              CommonProblems, BodyProblems))]
async fn create_segment(
    _: AdminAccess,
    State(state): State<AppState>,
    extract::Json(wish): extract::Json<SegmentIn>,
) -> Result<(StatusCode, Json<SegmentOut>), Problem> {
    let wish = checked(&state, wish)?;
    let now = state.clock.now();
    let row = SegmentRow {
        id: Uuid::now_v7(),
        name: wish.name,
        description: wish.description,
        definition: definition_of(&wish.definition),
        created_at: now,
        updated_at: now,
    };
    let written = segments::insert(&mut *connect(&state).await?, &row).await?;
    Ok((StatusCode::CREATED, Json(written_out(written)?)))
}

/// How many people rules choose
///
/// Nothing is kept.
#[utoipa::path(post, path = "/api/v1/segments/preview", tag = "analysis", security(("secret_key" = [])),
    request_body = PreviewIn,
    responses((status = 200, description = "The size.", body = PreviewOut), CommonProblems, BodyProblems))]
async fn preview_segment(
    _: ReadAccess,
    State(state): State<AppState>,
    extract::Json(wish): extract::Json<PreviewIn>,
) -> Result<Json<PreviewOut>, Problem> {
    let definition = checked_rule(&state, wish.definition, Vec::new())?;
    let view = insight::view(&state)?;
    let now = state.clock.now();
    let people = segment::people_of(&state.pool, &view, &definition, now)
        .await?
        .len();
    let everybody = view.size().people;
    Ok(Json(PreviewOut {
        people,
        everybody,
        share: ratio(people as i64, everybody as i64, everybody as i64),
        covered_from: time_of(view.covered_from),
        as_of: now,
    }))
}

/// One segment.
#[utoipa::path(get, path = "/api/v1/segments/{id}", tag = "analysis", security(("secret_key" = [])),
    params(("id" = Uuid, Path, description = "Id of the segment.")),
    responses((status = 200, description = "The segment.", body = SegmentOut), CommonProblems, MissingProblem))]
async fn show_segment(
    _: ReadAccess,
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
) -> Result<Json<SegmentOut>, Problem> {
    Ok(Json(find(&state, id).await?.try_into()?))
}

/// Replace a segment
///
/// Its sizes up to now stay: they say what it was then. Needs the scope `admin`.
#[utoipa::path(put, path = "/api/v1/segments/{id}", tag = "analysis", security(("secret_key" = []), ("bearer" = [])),
    params(("id" = Uuid, Path, description = "Id of the segment.")), request_body = SegmentIn,
    responses((status = 200, description = "The segment.", body = SegmentOut),
              (status = 409, description = "`segment_name_taken`.", body = super::problem::ProblemDocument,
               content_type = "application/problem+json"),
              CommonProblems, MissingProblem, BodyProblems))]
async fn replace_segment(
    _: AdminAccess,
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
    extract::Json(wish): extract::Json<SegmentIn>,
) -> Result<Json<SegmentOut>, Problem> {
    let wish = checked(&state, wish)?;
    let definition = definition_of(&wish.definition);
    let written = segments::update(
        &mut *connect(&state).await?,
        id,
        &wish.name,
        wish.description.as_deref(),
        &definition,
        state.clock.now(),
    )
    .await?;
    Ok(Json(written_out(written)?))
}

/// Remove a segment
///
/// Needs the scope `admin`.
#[utoipa::path(delete, path = "/api/v1/segments/{id}", tag = "analysis", security(("secret_key" = []), ("bearer" = [])),
    params(("id" = Uuid, Path, description = "Id of the segment.")),
    responses((status = 204, description = "It is gone, with its sizes."), CommonProblems, MissingProblem))]
async fn delete_segment(
    _: AdminAccess,
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    if segments::delete(&mut *connect(&state).await?, id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("The segment"))
    }
}

/// The people of a segment, by id.
///
/// Worked out anew for each page: who joins or leaves meanwhile neither repeats nor hides another one.
#[utoipa::path(get, path = "/api/v1/segments/{id}/people", tag = "analysis", security(("secret_key" = [])),
    params(("id" = Uuid, Path, description = "Id of the segment."), PageQuery),
    responses((status = 200, description = "A page of customers.", body = Page<CustomerRecord>),
              CommonProblems, MissingProblem))]
async fn list_people_of_segment(
    _: ReadAccess,
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<CustomerRecord>>, Problem> {
    let limit = usize::try_from(page.limit()?).unwrap_or(0);
    let list = format!("segment:{id}");
    let after: Option<Uuid> = page.position(&state.hasher, &list)?;
    let view = insight::view(&state)?;
    let people = people_of_segment(&state, &view, id).await?;
    let ids = segment::ids_of(&view, &people);
    let begin = after.map_or(0, |after| ids.partition_point(|id| *id <= after));
    let rest = &ids[begin..];
    let shown = &rest[..limit.min(rest.len())];
    let mut snapshot = begin_snapshot(&state).await?;
    let last = shown.last().filter(|_| rest.len() > shown.len());
    Ok(Json(Page {
        items: customers_read::list_of_ids(&mut snapshot, shown).await?,
        next_cursor: last.map(|last| encode_cursor(&state.hasher, &list, last)),
    }))
}

/// How many people a segment had, the newest day first.
///
/// Noted once an hour; of each day of the site's time zone the last note stays.
#[utoipa::path(get, path = "/api/v1/segments/{id}/sizes", tag = "analysis", security(("secret_key" = [])),
    params(("id" = Uuid, Path, description = "Id of the segment."), PageQuery),
    responses((status = 200, description = "A page of days.", body = Page<SegmentSize>), CommonProblems, MissingProblem))]
async fn list_sizes(
    _: ReadAccess,
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<SegmentSize>>, Problem> {
    let limit = page.limit()?;
    let list = format!("segment_sizes:{id}");
    let before: Option<NaiveDate> = page.position(&state.hasher, &list)?;
    find(&state, id).await?;
    let mut snapshot = begin_snapshot(&state).await?;
    let rows = segments::list_sizes(&mut snapshot, id, before, limit + 1).await?;
    Ok(Json(Page::cut(rows, limit, &state.hasher, &list, |size| {
        size.day
    })))
}

/// Returns the people of a kept segment as of now, by their numbers in `view`: what a question is narrowed to.
///
/// # Errors
/// 404 `not_found` when there is no such segment; that of the store when it cannot be asked.
pub(super) async fn people_of_segment(
    state: &AppState,
    view: &Arc<View>,
    id: Uuid,
) -> Result<PeopleSet, Problem> {
    let rule = rule_of(&find(state, id).await?)?;
    Ok(segment::people_of(&state.pool, view, &rule, state.clock.now()).await?)
}

async fn connect(state: &AppState) -> Result<sqlx::pool::PoolConnection<sqlx::Postgres>, StoreError> {
    let connection = state.pool.acquire().await;
    connection.map_err(StoreError::during("connecting to PostgreSQL"))
}

async fn find(state: &AppState, id: Uuid) -> Result<SegmentRow, Problem> {
    let found = segments::find(&mut *connect(state).await?, id).await?;
    found.ok_or_else(|| Problem::not_found("The segment"))
}

fn rule_of(row: &SegmentRow) -> Result<Rule, Problem> {
    Rule::deserialize(&row.definition).map_err(Problem::internal)
}

fn definition_of(rule: &Rule) -> serde_json::Value {
    serde_json::to_value(rule).expect("a rule is always JSON")
}

fn written_out(written: Written) -> Result<SegmentOut, Problem> {
    match written {
        Written::Done(row) => row.try_into(),
        Written::Missing => Err(Problem::not_found("The segment")),
        Written::NameTaken => Err(Problem::conflict(
            "segment_name_taken",
            "Another segment has this name: choose another one.",
        )),
    }
}

/// Checks name, description and rules; 422 `invalid_segment` tells all problems.
fn checked(state: &AppState, wish: SegmentIn) -> Result<SegmentIn, Problem> {
    let mut problems = Vec::new();
    let name = wish.name.trim().to_owned();
    let is_text = |text: &str, characters_max| text.chars().count() <= characters_max && !text.contains('\0');
    if name.is_empty() || !is_text(&name, NAME_MAX) {
        problems.push(format!(
            "name: has from 1 to {NAME_MAX} characters and no NUL among them."
        ));
    }
    if wish
        .description
        .as_deref()
        .is_some_and(|text| !is_text(text, DESCRIPTION_MAX))
    {
        problems.push(format!(
            "description: has at most {DESCRIPTION_MAX} characters and no NUL among them."
        ));
    }
    Ok(SegmentIn {
        definition: checked_rule(state, wish.definition, problems)?,
        name,
        description: wish.description,
    })
}

/// Checks rules; those that compare with an e-mail address compare with what is kept of it from here on.
fn checked_rule(state: &AppState, mut rule: Rule, mut problems: Vec<String>) -> Result<Rule, Problem> {
    problems.extend(rule.problems());
    if problems.is_empty() {
        rule.change_attribute_values(&|value| as_kept(state, value));
        return Ok(rule);
    }
    let sentence = problems.join(" ");
    Err(Problem::unprocessable("invalid_segment", sentence).with_member("errors", problems))
}
