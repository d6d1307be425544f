//! The HTTP interface: router, keys, problem documents, OpenAPI, static files.
//!
//! A resource is a file with `pub(crate) fn routes() -> OpenApiRouter<AppState>`, merged in [`resources`].

pub mod address;
mod assets;
pub mod auth;
pub mod cors;
mod customers;
mod event_in;
mod events;
pub mod extract;
pub mod ingest;
mod insight;
mod journey;
mod key_cache;
pub mod keys;
mod ledger;
pub mod list;
mod list_query;
mod metrics_overview;
pub mod observe;
pub mod openapi;
mod pages;
mod period;
pub mod problem;
#[cfg(test)]
mod read_tests;
mod reference;
pub mod rights;
mod sdk_files;
mod sessions;
mod snapshot;
pub mod state;
pub mod system;
mod timeseries;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, header},
    middleware,
};
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer, set_header::SetResponseHeaderLayer,
};
use utoipa_axum::router::OpenApiRouter;

pub use problem::Problem;
pub use state::{AppState, Parts};

/// Returns every documented route.
fn resources() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::frame())
        .merge(system::routes())
        .merge(sessions::routes())
        .merge(customers::routes())
        .merge(journey::routes())
        .merge(events::routes())
        .merge(metrics_overview::routes())
        .merge(timeseries::routes())
        .merge(ledger::routes())
        .merge(keys::routes())
        .merge(ingest::routes())
        .merge(rights::routes())
        .merge(sdk_files::routes())
}

/// Returns the OpenAPI document of the service.
pub fn document() -> utoipa::openapi::OpenApi {
    resources().into_openapi()
}

/// Returns the whole interface, ready to be served.
///
/// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, or client addresses stay unknown.
pub fn router(state: AppState) -> Router {
    let (routes, document) = resources().split_for_parts();
    let routes = routes
        .merge(openapi::routes(&document))
        .merge(pages::routes(&state));
    finish(routes, state)
}

/// Puts around the routes what every request passes, the last layer first: id and span, panics, the SDK's own
/// rule, CORS, compression, time limit, body limit.
fn finish(routes: Router<AppState>, state: AppState) -> Router {
    routes
        .fallback(problem::route_not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(state.config.ingest.body_bytes_max))
        .layer(middleware::from_fn_with_state(state.clone(), observe::limit_time))
        .layer(CompressionLayer::new())
        .layer(cors::layer(state.clone()))
        .layer(middleware::from_fn(sdk_files::open_to_every_page))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(CatchPanicLayer::custom(problem::response_for_panic))
        .layer(middleware::from_fn(observe::observe))
        .with_state(state)
}

#[cfg(test)]
mod tests;
