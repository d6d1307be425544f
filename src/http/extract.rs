//! Extractors that answer a bad request with a problem document.
//!
//! They carry the names of axum's own, so that handlers read as usual and the OpenAPI macros see what they
//! extract.

use axum::{
    extract::{
        FromRequest, FromRequestParts, Request,
        rejection::{JsonRejection, PathRejection},
    },
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The query string. 400 `invalid_query` when it does not fit.
///
/// A handler may take several of them, one for each group of parameters.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        refuse_nul(query, "invalid_query")?;
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection| Problem::bad_request("invalid_query", innermost(&rejection)))
    }
}

/// The variable parts of the path. 400 `invalid_path` when they do not fit.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        refuse_nul(parts.uri.path(), "invalid_path")?;
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|rejection| match rejection {
                PathRejection::FailedToDeserializePathParams(_) => {
                    Problem::bad_request("invalid_path", innermost(&rejection))
                }
                _ => Problem::internal(rejection),
            })
    }
}

/// A JSON body: 400 `invalid_json`, 413 `body_too_large`, 415 `unsupported_media_type`, 422 `invalid_body`.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        axum::Json::from_request(request, state)
            .await
            .map(|axum::Json(value)| Self(value))
            .map_err(json_problem)
    }
}

fn json_problem(rejection: JsonRejection) -> Problem {
    let sentence = innermost(&rejection);
    match rejection {
        JsonRejection::JsonDataError(_) => Problem::unprocessable("invalid_body", sentence),
        JsonRejection::JsonSyntaxError(_) => Problem::bad_request("invalid_json", sentence),
        JsonRejection::MissingJsonContentType(_) => Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Send the body as JSON, with the header Content-Type: application/json.",
        ),
        other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => body_too_large(),
        other => Problem::bad_request("unreadable_body", "The body could not be read.").with_source(other),
    }
}

/// 413, also for endpoints that read their body themselves.
pub fn body_too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        "The body is larger than this service takes.",
    )
}

/// PostgreSQL text cannot hold NUL, so it is refused before any query.
fn refuse_nul(encoded: &str, code: &'static str) -> Result<(), Problem> {
    if encoded.contains("%00") || encoded.contains('\0') {
        return Err(Problem::bad_request(
            code,
            "The address contains a NUL character.",
        ));
    }
    Ok(())
}

/// The innermost cause is what names the field; the outer ones speak of extractors.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| (*error).source())
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}
