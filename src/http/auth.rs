//! Who may do what: API keys in requests, and their cache.

use std::{marker::PhantomData, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use thiserror::Error;

pub use super::key_cache::KeyCache;
use super::{problem::Problem, state::AppState};
use crate::store::{
    StoreError,
    keys::{KeyKind, KeyRecord, Scope, hash_key, normalise_origin},
};

/// Header that carries a key.
pub const API_KEY_HEADER: &str = "x-api-key";

/// Why a request is not let through.
#[derive(Debug, Error)]
pub enum AuthError {
    #[error("This needs a key: send it in the header X-API-Key, or as Authorization: Bearer <key>")]
    Missing,
    #[error("This key is not known here: check the header X-API-Key or Authorization: Bearer <key>")]
    Unknown,
    #[error("This key was revoked: ask for a new one and send it in the header X-API-Key")]
    Revoked,
    #[error("This key has expired: ask for a new one and send it in the header X-API-Key")]
    Expired,
    #[error(
        "A secret key (sk_…) was sent in the address, where logs and histories keep it: revoke it, and send \
         the next one in the header X-API-Key"
    )]
    SecretInQuery,
    #[error("This needs a key with the scope {}, which the given one does not have", .0.as_str())]
    Scope(Scope),
    #[error("This key may not be used from the page's origin")]
    Origin,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Lets through who may send events: a write key from one of its origins, or a secret key with `ingest`.
///
/// Taken from `X-API-Key`, `Authorization: Bearer`, or (write keys only) `?key=`.
#[derive(Clone, Debug)]
pub struct WriteKey(pub Arc<KeyRecord>);

impl FromRequestParts<AppState> for WriteKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        authorize_ingest(parts, state).await.map(Self).map_err(refusal)
    }
}

async fn authorize_ingest(parts: &Parts, state: &AppState) -> Result<Arc<KeyRecord>, AuthError> {
    // Ingest must survive a restart of PostgreSQL, so a key seen lately is good enough while it is away.
    let key = find_key(parts, state, Staleness::WhileStoreIsAway).await?;
    match key.kind {
        KeyKind::Secret if !key.scopes.contains(&Scope::Ingest) => Err(AuthError::Scope(Scope::Ingest)),
        KeyKind::Secret => Ok(key),
        KeyKind::Write if is_origin_allowed(&key, &parts.headers) => Ok(key),
        KeyKind::Write => Err(AuthError::Origin),
    }
}

/// Servers send no `Origin` and are let through; a page sends its own, which must then be listed.
fn is_origin_allowed(key: &KeyRecord, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    key.origins.is_empty()
        || origin
            .to_str()
            .ok()
            .and_then(normalise_origin)
            .is_some_and(|origin| key.origins.contains(&origin))
}

/// A scope as a type, so that a handler's arguments say what it needs.
pub trait RequiredScope: Send + Sync {
    const SCOPE: Scope;
}

macro_rules! scopes {
    ($($(#[$doc:meta])* $marker:ident, $access:ident => $scope:ident;)*) => {$(
        #[derive(Clone, Copy, Debug)]
        pub struct $marker;

        impl RequiredScope for $marker {
            const SCOPE: Scope = Scope::$scope;
        }

        $(#[$doc])*
        pub type $access = Scoped<$marker>;
    )*};
}

scopes! {
    /// A secret key that may read.
    ReadScope, ReadAccess => Read;
    /// A secret key that may export everything about one person.
    ExportScope, ExportAccess => Export;
    /// A secret key that may erase a person.
    EraseScope, ErasureAccess => Erase;
    /// A secret key that may manage keys and see the system.
    AdminScope, AdminAccess => Admin;
}

/// Lets through a secret key that has the scope `S`.
#[derive(Clone, Debug)]
pub struct Scoped<S> {
    pub key: Arc<KeyRecord>,
    scope: PhantomData<S>,
}

impl<S: RequiredScope> FromRequestParts<AppState> for Scoped<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let key = find_key(parts, state, Staleness::Never).await.map_err(refusal)?;
        if key.kind != KeyKind::Secret || !key.scopes.contains(&S::SCOPE) {
            return Err(refusal(AuthError::Scope(S::SCOPE)));
        }
        Ok(Self {
            key,
            scope: PhantomData,
        })
    }
}

/// Whether a key may be older than the cache's time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Staleness {
    Never,
    WhileStoreIsAway,
}

/// Finds the key of a request and checks that it is alive.
///
/// No comparison in constant time is needed: a key is looked up by its HMAC, and how long that takes says
/// nothing about the key to someone who does not know the salt.
async fn find_key(
    parts: &Parts,
    state: &AppState,
    staleness: Staleness,
) -> Result<Arc<KeyRecord>, AuthError> {
    let presented = presented_key(parts)?;
    let hash = hash_key(&state.hasher, &presented).ok_or(AuthError::Unknown)?;
    let now = state.clock.now();
    let key = state
        .keys
        .find(&state.pool, &hash, now, staleness)
        .await?
        .ok_or(AuthError::Unknown)?;
    if key.revoked_at.is_some() {
        return Err(AuthError::Revoked);
    }
    if key.is_expired(now) {
        return Err(AuthError::Expired);
    }
    Ok(key)
}

fn presented_key(parts: &Parts) -> Result<String, AuthError> {
    let in_query = parts.uri.query().and_then(|query| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "key")
            .map(|(_, value)| value.into_owned())
    });
    if in_query.as_ref().is_some_and(|key| key.starts_with("sk_")) {
        return Err(AuthError::SecretInQuery);
    }
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let in_header = text(API_KEY_HEADER).or_else(|| {
        let (scheme, key) = text(header::AUTHORIZATION.as_str())?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key)
    });
    in_header
        .map(|key| key.trim().to_owned())
        .or(in_query)
        .filter(|key| !key.is_empty())
        .ok_or(AuthError::Missing)
}

fn refusal(error: AuthError) -> Problem {
    let problem = Problem::from(error);
    metrics::counter!("auth_refused_total", "code" => problem.code()).increment(1);
    problem
}
