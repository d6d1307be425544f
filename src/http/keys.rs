//! API keys: list, create, rotate, revoke.

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Postgres, pool::PoolConnection};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::AdminAccess,
    extract::{self, Path, Query},
    list::{Page, PageQuery},
    problem::{BodyProblems, CommonProblems, MissingProblem, Problem},
    state::AppState,
};
use crate::store::{
    StoreError,
    keys::{self, IssuedKey, KeyKind, KeyRecord, NewKey, Scope},
};

/// How long a rotated key goes on working when the request does not say: a day to roll out the new one.
const GRACE_SECONDS_DEFAULT: i64 = 24 * 60 * 60;

/// At most 30 days.
const GRACE_SECONDS_MAX: i64 = 30 * 24 * 60 * 60;

/// Name of the list in its cursors.
const LIST: &str = "keys";

/// A key, without the key itself.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({
    "id": 1, "kind": "write", "name": "Shop", "prefix": "pk_V7rM2xQa", "origins": ["https://shop.example"],
    "scopes": [], "status": "active", "created_at": "2026-03-01T12:00:00Z"
}))]
pub struct KeyOut {
    pub id: i32,
    pub kind: KeyKind,
    pub name: String,
    /// The first characters of the key, to recognise it by.
    pub prefix: String,
    /// Origins a write key may be used from; empty means any.
    pub origins: Vec<String>,
    /// What a secret key may do.
    pub scopes: Vec<Scope>,
    /// `active`, `expired` or `revoked`.
    pub status: &'static str,
    pub created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
    /// The key this one replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_from: Option<i32>,
}

impl KeyOut {
    /// Describes a key as of `now`.
    pub fn new(record: KeyRecord, now: DateTime<Utc>) -> Self {
        let status = if record.revoked_at.is_some() {
            "revoked"
        } else if record.is_expired(now) {
            "expired"
        } else {
            "active"
        };
        Self {
            id: record.id,
            kind: record.kind,
            name: record.name,
            prefix: record.prefix,
            origins: record.origins,
            scopes: record.scopes,
            status,
            created_at: record.created_at,
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
            rotated_from: record.rotated_from,
        }
    }
}

/// A key just made.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct IssuedKeyOut {
    /// The key itself: shown this once, never again.
    #[schema(example = "pk_V7rM2xQaT0b9JcK4hE8sYd1Nw6ZpLu3GfRiAoXmB")]
    pub key: String,
    #[serde(flatten)]
    pub record: KeyOut,
}

impl IssuedKeyOut {
    /// Describes a key that was made at `now`.
    pub fn new(issued: IssuedKey, now: DateTime<Utc>) -> Self {
        Self {
            key: issued.key,
            record: KeyOut::new(issued.record, now),
        }
    }
}

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"kind": "write", "name": "Shop", "origins": ["https://shop.example"]}))]
pub(crate) struct KeyIn {
    kind: KeyKind,
    /// 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Of a write key: origins it may be used from; empty means any.
    #[serde(default)]
    #[schema(max_items = 100)]
    origins: Vec<String>,
    /// Of a secret key: what it may do, at least one.
    #[serde(default)]
    scopes: Vec<Scope>,
    /// When it ends; never when absent.
    expires_at: Option<DateTime<Utc>>,
}

/// How to rotate a key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"grace_seconds": 3600}))]
pub(crate) struct RotationIn {
    /// Seconds the old key goes on working.
    #[serde(default = "default_grace_seconds")]
    #[schema(minimum = 0, maximum = 2_592_000, default = 86_400)]
    grace_seconds: i64,
}

fn default_grace_seconds() -> i64 {
    GRACE_SECONDS_DEFAULT
}

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_keys, create_key))
        .routes(routes!(revoke_key))
        .routes(routes!(rotate_key))
}

async fn connect(state: &AppState) -> Result<PoolConnection<Postgres>, StoreError> {
    state
        .pool
        .acquire()
        .await
        .map_err(StoreError::during("connecting to PostgreSQL"))
}

/// List the keys
///
/// By ascending id, revoked and expired ones too.
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", security(("secret_key" = []), ("bearer" = [])), params(PageQuery),
    responses((status = 200, description = "A page of keys.", body = Page<KeyOut>), CommonProblems))]
async fn list_keys(
    _: AdminAccess,
    State(state): State<AppState>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<KeyOut>>, Problem> {
    let limit = page.limit()?;
    let after_id: i32 = page.position(&state.hasher, LIST)?.unwrap_or(0);
    let rows = keys::list_keys(&mut *connect(&state).await?, after_id, limit + 1).await?;
    let page = Page::cut(rows, limit, &state.hasher, LIST, |record| record.id);
    let now = state.clock.now();
    Ok(Json(Page {
        items: page
            .items
            .into_iter()
            .map(|record| KeyOut::new(record, now))
            .collect(),
        next_cursor: page.next_cursor,
    }))
}

/// Create a key
///
/// The answer is the only place the key itself is ever shown.
#[utoipa::path(post, path = "/api/v1/keys", tag = "keys", security(("secret_key" = []), ("bearer" = [])),
    request_body = KeyIn,
    responses((status = 201, description = "The key.", body = IssuedKeyOut), CommonProblems, BodyProblems))]
async fn create_key(
    _: AdminAccess,
    State(state): State<AppState>,
    extract::Json(wish): extract::Json<KeyIn>,
) -> Result<(StatusCode, Json<IssuedKeyOut>), Problem> {
    let now = state.clock.now();
    if wish.expires_at.is_some_and(|end| end <= now) {
        return Err(Problem::unprocessable(
            "invalid_key_request",
            "expires_at: must be in the future",
        ));
    }
    let new = NewKey::checked(
        wish.kind,
        &wish.name,
        &wish.origins,
        &wish.scopes,
        wish.expires_at,
    )?;
    let issued = keys::create_key(&mut *connect(&state).await?, &state.hasher, &new, now).await?;
    state.keys.clear();
    Ok((StatusCode::CREATED, Json(IssuedKeyOut::new(issued, now))))
}

/// Replace a key by a new one
///
/// The new key has the same rights and no end; the old one works until the grace is over.
#[utoipa::path(post, path = "/api/v1/keys/{id}/rotate", tag = "keys", security(("secret_key" = []), ("bearer" = [])),
    params(("id" = i32, Path, description = "Id of the key to replace.")), request_body = RotationIn,
    responses((status = 201, description = "The new key.", body = IssuedKeyOut), CommonProblems, MissingProblem, BodyProblems))]
async fn rotate_key(
    _: AdminAccess,
    State(state): State<AppState>,
    Path(id): Path<i32>,
    extract::Json(rotation): extract::Json<RotationIn>,
) -> Result<(StatusCode, Json<IssuedKeyOut>), Problem> {
    if !(0..=GRACE_SECONDS_MAX).contains(&rotation.grace_seconds) {
        return Err(Problem::unprocessable(
            "invalid_grace",
            format!("grace_seconds: must be from 0 to {GRACE_SECONDS_MAX}"),
        ));
    }
    let grace = TimeDelta::seconds(rotation.grace_seconds);
    let now = state.clock.now();
    let mut transaction = state.pool.begin().await?;
    let issued = keys::rotate_key(&mut transaction, &state.hasher, id, grace, now)
        .await?
        .ok_or_else(|| Problem::not_found("A usable key with this id"))?;
    transaction.commit().await?;
    state.keys.clear();
    Ok((StatusCode::CREATED, Json(IssuedKeyOut::new(issued, now))))
}

/// Revoke a key
///
/// At once in this process, within five seconds in others. Revoking it again changes nothing.
#[utoipa::path(delete, path = "/api/v1/keys/{id}", tag = "keys", security(("secret_key" = []), ("bearer" = [])),
    params(("id" = i32, Path, description = "Id of the key.")),
    responses((status = 200, description = "The revoked key.", body = KeyOut), CommonProblems, MissingProblem))]
async fn revoke_key(
    _: AdminAccess,
    State(state): State<AppState>,
    Path(id): Path<i32>,
) -> Result<Json<KeyOut>, Problem> {
    let now = state.clock.now();
    let connection: &mut PgConnection = &mut *connect(&state).await?;
    let record = keys::revoke_key(connection, id, now)
        .await?
        .ok_or_else(|| Problem::not_found("The key"))?;
    state.keys.clear();
    Ok(Json(KeyOut::new(record, now)))
}
