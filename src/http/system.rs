//! How the service is doing: liveness, readiness, metrics, and what is installed.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{future::BoxFuture, future::join_all};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::AdminAccess,
    problem::{CommonProblems, Problem},
    state::AppState,
};

/// A check that takes longer counts as failed: probes of load balancers give up after a few seconds.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// One dependency that `/ready` asks.
pub trait ReadinessCheck: Send + Sync {
    /// One word, as in `postgresql`.
    fn name(&self) -> &'static str;

    /// Says how it is: `Ok` with a short detail, `Err` with what is wrong. Neither may hold secrets: the
    /// endpoint is open.
    fn check(&self) -> BoxFuture<'_, Result<String, String>>;
}

/// One section of `/api/v1/system`, such as the queue or the storage.
pub trait SystemInformation: Send + Sync {
    /// The member's name, as in `queue`.
    fn name(&self) -> &'static str;

    /// Collects the section; an error is shown in its place as `{"error": …}`.
    fn collect(&self) -> BoxFuture<'_, Result<Value, String>>;
}

/// Answer of `/health`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "healthy"}))]
pub(crate) struct HealthOut {
    /// Always `healthy`: a process that answers is alive.
    status: &'static str,
}

/// Answer of `/ready`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "status": "ready",
    "checks": [{"name": "postgresql", "status": "ok", "detail": "PostgreSQL 17.5", "elapsed_ms": 0.8}]
}))]
pub(crate) struct ReadyOut {
    /// `ready` or `not_ready`.
    status: &'static str,
    checks: Vec<CheckOut>,
}

/// One dependency.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckOut {
    name: &'static str,
    /// `ok` or `failed`.
    status: &'static str,
    detail: String,
    elapsed_ms: f64,
}

/// Answer of `/api/v1/system`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "version": "0.1.0",
    "store_path": "/nix/store/q3xy3mkmdzdlzg3sjqnl4hy4mp1h3kdf-customer-journey-0.1.0",
    "nixos_generation": 42,
    "time": "2026-03-01T12:00:00Z",
    "timezone": "Europe/Vienna",
    "queue": {"mode": "redis", "depth": 0}
}))]
pub(crate) struct SystemOut {
    /// Version of the program.
    version: &'static str,
    /// Nix store path of the running program, when it lies in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_path: Option<String>,
    /// Generation of the running NixOS, when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    nixos_generation: Option<u64>,
    /// The service's clock.
    time: chrono::DateTime<chrono::Utc>,
    /// Zone that reports are cut in.
    timezone: String,
    /// Further sections: storage, queue and others.
    #[serde(flatten)]
    sections: BTreeMap<&'static str, Value>,
}

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(metrics))
        .routes(routes!(system))
}

/// Is the process alive?
///
/// Asks no dependency: restarting the service would not bring back a database.
#[utoipa::path(get, path = "/health", tag = "operations", security(()),
    responses((status = 200, description = "The process answers.", body = HealthOut)))]
async fn health() -> Json<HealthOut> {
    Json(HealthOut { status: "healthy" })
}

/// Can the service do its work?
///
/// Asks every dependency at the same time, each for at most three seconds.
#[utoipa::path(get, path = "/ready", tag = "operations", security(()),
    responses((status = 200, description = "Every dependency answers.", body = ReadyOut),
              (status = 503, description = "At least one dependency does not answer.", body = ReadyOut)))]
async fn ready(State(state): State<AppState>) -> (StatusCode, Json<ReadyOut>) {
    let checks = join_all(
        state
            .readiness
            .iter()
            .map(|check| run_check(check.as_ref(), CHECK_TIMEOUT)),
    )
    .await;
    let is_ready = checks.iter().all(|check| check.status == "ok");
    let (code, status) = if is_ready {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    (code, Json(ReadyOut { status, checks }))
}

async fn run_check(check: &dyn ReadinessCheck, limit: Duration) -> CheckOut {
    let started = std::time::Instant::now();
    let answer = tokio::time::timeout(limit, check.check())
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} seconds", limit.as_secs_f64())));
    let (status, detail) = match answer {
        Ok(detail) => ("ok", detail),
        Err(detail) => ("failed", detail),
    };
    CheckOut {
        name: check.name(),
        status,
        detail,
        elapsed_ms: started.elapsed().as_secs_f64() * 1000.0,
    }
}

/// Metrics in the text format of Prometheus.
///
/// Open to who can reach the service; the appliance's proxy does not pass it on.
#[utoipa::path(get, path = "/metrics", tag = "operations", security(()),
    responses((status = 200, description = "All metrics.", content_type = "text/plain", body = String,
               example = "http_requests_total{method=\"GET\",route=\"/health\",status=\"200\"} 1"),
              (status = 404, description = "This process records no metrics.",
               content_type = "application/problem+json", body = super::problem::ProblemDocument)))]
async fn metrics(State(state): State<AppState>) -> Result<Response, Problem> {
    let handle = state
        .metrics
        .as_ref()
        .ok_or_else(|| Problem::not_found("The list of metrics"))?;
    let text_format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, text_format)], handle.render()).into_response())
}

/// What is installed, and how it is doing.
#[utoipa::path(get, path = "/api/v1/system", tag = "operations", security(("secret_key" = []), ("bearer" = [])),
    responses((status = 200, description = "Version, installation, and a section for each part.",
               body = SystemOut), CommonProblems))]
async fn system(_: AdminAccess, State(state): State<AppState>) -> Json<SystemOut> {
    let sections = join_all(state.system.iter().map(async |section| {
        let value = section
            .collect()
            .await
            .unwrap_or_else(|error| serde_json::json!({ "error": error }));
        (section.name(), value)
    }));
    Json(SystemOut {
        version: env!("CARGO_PKG_VERSION"),
        store_path: std::env::current_exe().ok().and_then(|path| store_path_of(&path)),
        nixos_generation: nixos_generation().await,
        time: state.clock.now(),
        timezone: state.config.site.timezone.clone(),
        sections: sections.await.into_iter().collect(),
    })
}

/// Returns the store path a file lies in: `/nix/store/<hash>-<name>`.
fn store_path_of(path: &std::path::Path) -> Option<String> {
    let mut parts = path.strip_prefix("/nix/store").ok()?.components();
    let name = parts.next()?.as_os_str().to_str()?;
    Some(format!("/nix/store/{name}"))
}

/// Returns the generation the system profile points to: `/nix/var/nix/profiles/system` is a link to
/// `system-<generation>-link`.
async fn nixos_generation() -> Option<u64> {
    let link: PathBuf = tokio::fs::read_link("/nix/var/nix/profiles/system").await.ok()?;
    generation_of(link.file_name()?.to_str()?)
}

fn generation_of(link: &str) -> Option<u64> {
    link.strip_prefix("system-")?.strip_suffix("-link")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Silent;

    impl ReadinessCheck for Silent {
        fn name(&self) -> &'static str {
            "silent"
        }

        fn check(&self) -> BoxFuture<'_, Result<String, String>> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn a_check_that_never_answers_has_failed() {
        let answer = run_check(&Silent, Duration::from_millis(5)).await;
        assert_eq!(answer.status, "failed");
        assert_eq!(answer.detail, "no answer within 0.005 seconds");
    }

    #[test]
    fn store_path_and_generation_are_read_from_their_names() {
        let path = |text: &str| store_path_of(std::path::Path::new(text));
        assert_eq!(
            path("/nix/store/abc-customer-journey-0.1.0/bin/customer-journey").unwrap(),
            "/nix/store/abc-customer-journey-0.1.0"
        );
        assert_eq!(path("/usr/bin/customer-journey"), None);
        assert_eq!(generation_of("system-42-link"), Some(42));
        assert_eq!(generation_of("system"), None);
        assert_eq!(generation_of("system-x-link"), None);
    }
}
