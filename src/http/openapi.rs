//! The OpenAPI document: what is not said beside the handlers.

use axum::{Router, http::header, routing::get};
use bytes::Bytes;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
};

use super::{live, problem, state::AppState};
use crate::analysis::segment::rule;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Customer Journey",
        description = "How people move through a web site, where they leave, and why.\n\n\
            Times are RFC 3339. Errors are problem documents (RFC 9457) with a stable `code`. Lists are read \
            page by page: pass `next_cursor` of one answer as `cursor` of the next request.",
    ),
    servers((url = "/", description = "This installation")),
    tags(
        (name = "ingest", description = "Send events, with a write key."),
        (name = "journeys", description = "Sessions, customers, events and journeys, with the scope `read`."),
        (name = "analysis", description = "Funnels, paths, attribution, retention and what else is asked of journeys, with the scope `read`."),
        (name = "metrics", description = "Figures over time, with the scope `read`."),
        (name = "alerts", description = "What deviates from earlier weeks; reading needs the scope `read`, changing `admin`."),
        (name = "rights", description = "People's rights: export and erasure, with scopes of their own."),
        (name = "keys", description = "API keys, with the scope `admin`."),
        (name = "operations", description = "How the service is doing.")
    ),
    // A rule may hold rules, and of what refers to itself the derivation gathers no parts.
    components(schemas(
        problem::ProblemDocument, live::LiveOut,
        rule::TextRule,
        rule::NumberRule,
        rule::RevenueRule,
        rule::TimeRule,
        rule::AttributeRule,
        rule::DidRule,
        rule::VisitedRule
    )),
    modifiers(&SecuritySchemes)
)]
struct Frame;

struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        for (name, header_name, description) in [
            (
                "write_key",
                "X-API-Key",
                "A write key (`pk_…`), or a secret key with the scope `ingest`.",
            ),
            (
                "secret_key",
                "X-API-Key",
                "A secret key (`sk_…`) with the scope the endpoint needs.",
            ),
        ] {
            let value = ApiKeyValue::with_description(header_name, description);
            components.add_security_scheme(name, SecurityScheme::ApiKey(ApiKey::Header(value)));
        }
        components.add_security_scheme(
            "write_key_query",
            SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::with_description(
                "key",
                "A write key in the address, for `sendBeacon`. Secret keys are refused here.",
            ))),
        );
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description = Some("The same keys, as `Authorization: Bearer …`.".into());
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// Returns the document without paths; the router adds them.
pub(super) fn frame() -> utoipa::openapi::OpenApi {
    Frame::openapi()
}

/// Serves the document, serialised once.
pub(super) fn routes(document: &utoipa::openapi::OpenApi) -> Router<AppState> {
    let text = Bytes::from(serde_json::to_vec(document).expect("the OpenAPI document is plain data"));
    let answer = move || async move {
        (
            [
                (header::CONTENT_TYPE, "application/json"),
                (header::CACHE_CONTROL, "no-cache"),
            ],
            text,
        )
    };
    Router::new().route("/openapi.json", get(answer))
}

/// Returns the document as text to read and to compare, for programs that make types from it.
pub fn document_text() -> String {
    let mut text =
        serde_json::to_string_pretty(&super::document()).expect("the OpenAPI document is plain data");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The SDK's types are made from the committed one, without building the service.
    #[test]
    fn the_committed_document_is_the_printed_one() {
        let committed = include_str!("../../docs/openapi.json");
        assert!(
            committed == document_text(),
            "docs/openapi.json is out of date: cargo run -- openapi > docs/openapi.json"
        );
    }
}
