//! `/api/v1/alerts`: what deviates, who knows, and whether it is over.

use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::{AdminAccess, ReadAccess},
    extract::Path,
    list::Page,
    list_query::{FormatIn, ListQuery, Listing, answer},
    problem::{CommonProblems, MissingProblem, Problem, ProblemDocument},
    snapshot::begin_snapshot,
    state::AppState,
};
use crate::{
    alert::{
        evaluate::{Settings, tell},
        judge::{Severity, Window},
        message::Event,
        notify::TestResult,
        subject::Subject,
    },
    analysis::contrast::Reason,
    store::{
        alerts::{self, AlertFilter, AlertRow},
        deliveries::{self, DeliveryRow},
    },
};

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Open,
    Acknowledged,
    Resolved,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

/// An alert.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Alert)]
struct AlertOut {
    id: Uuid,
    /// `traffic`, `conversion_rate`, `error_rate`, `no_data` or `funnel:<id>:step:<number>`.
    #[schema(example = "conversion_rate")]
    subject: String,
    #[schema(value_type = Severity)]
    severity: String,
    #[schema(value_type = Status)]
    status: String,
    opened_at: DateTime<Utc>,
    /// When an evaluation last found it, or somebody changed it.
    updated_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged_at: Option<DateTime<Utc>>,
    /// Name of the key it was acknowledged with.
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_at: Option<DateTime<Utc>>,
    /// `manual` or `recovered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_reason: Option<String>,
    /// What earlier weeks let expect: a share from 0 to 1, or a number.
    expected: f64,
    observed: f64,
    /// `observed / expected − 1`.
    #[schema(example = -0.6)]
    effect: f64,
    /// How likely chance alone brings as bad a figure.
    p_value: f64,
    /// What a share is of; absent of a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    trials: Option<i64>,
    /// Earlier weeks it was compared with.
    weeks: i16,
    #[schema(value_type = Window)]
    window: String,
    /// Inclusive.
    window_from: DateTime<Utc>,
    /// Exclusive.
    window_to: DateTime<Utc>,
    /// Segments that the deviation is concentrated in, the largest part first.
    #[schema(value_type = Vec<Reason>)]
    reasons: Value,
}

/// The members of [`AlertOut`] in order: the columns of an export.
const COLUMNS: &[&str] = &[
    "id",
    "subject",
    "severity",
    "status",
    "opened_at",
    "updated_at",
    "acknowledged_at",
    "acknowledged_by",
    "resolved_at",
    "resolved_reason",
    "expected",
    "observed",
    "effect",
    "p_value",
    "trials",
    "weeks",
    "window",
    "window_from",
    "window_to",
    "reasons",
];

impl From<AlertRow> for AlertOut {
    fn from(row: AlertRow) -> Self {
        Self {
            id: row.id,
            subject: row.subject,
            severity: row.severity,
            status: row.status,
            opened_at: row.opened_at,
            updated_at: row.updated_at,
            acknowledged_at: row.acknowledged_at,
            acknowledged_by: row.acknowledged_by,
            resolved_at: row.resolved_at,
            resolved_reason: row.resolved_reason,
            expected: row.expected,
            observed: row.observed,
            effect: row.effect,
            p_value: row.p_value,
            trials: row.trials,
            weeks: row.weeks,
            window: row.window_kind,
            window_from: row.window_from,
            window_to: row.window_to,
            reasons: row.reasons,
        }
    }
}

/// A message about an alert.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AlertDelivery)]
struct DeliveryOut {
    /// The same in every attempt; receivers get it as `Idempotency-Key`, or in the id of a mail.
    id: Uuid,
    /// `slack`, `webhook` or `email`.
    channel: String,
    /// `opened`, `escalated` or `resolved`.
    event: String,
    /// `pending`, `delivered`, or `failed`: given up.
    state: String,
    attempts: i32,
    created_at: DateTime<Utc>,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<DateTime<Utc>>,
    /// When it arrived or was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<DateTime<Utc>>,
    /// Why the last attempt that failed did.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

impl From<DeliveryRow> for DeliveryOut {
    fn from(row: DeliveryRow) -> Self {
        Self {
            next_attempt_at: Some(row.next_attempt_at).filter(|_| row.state == "pending"),
            id: row.id,
            channel: row.channel,
            event: row.event,
            state: row.state,
            attempts: row.attempts,
            created_at: row.created_at,
            finished_at: row.finished_at,
            last_error: row.last_error,
        }
    }
}

/// An alert with the messages about it.
#[derive(Debug, Serialize, ToSchema)]
struct AlertDetailOut {
    #[serde(flatten)]
    alert: AlertOut,
    /// Oldest first.
    deliveries: Vec<DeliveryOut>,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_alerts))
        .routes(routes!(test_channels))
        .routes(routes!(show_alert))
        .routes(routes!(acknowledge_alert))
        .routes(routes!(resolve_alert))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AlertsIn {
    #[param(inline)]
    status: Option<Status>,
    #[param(inline)]
    severity: Option<Severity>,
    /// `traffic`, `conversion_rate`, `error_rate`, `no_data` or `funnel:<id>:step:<number>`.
    subject: Option<String>,
}

impl AlertsIn {
    fn into_filter(self) -> Result<AlertFilter, Problem> {
        if let Some(Err(error)) = self.subject.as_deref().map(str::parse::<Subject>) {
            return Err(Problem::bad_request(
                "invalid_query",
                format!("subject: {error}."),
            ));
        }
        Ok(AlertFilter {
            status: self.status.map(Status::as_str),
            severity: self.severity.map(Severity::as_str),
            subject: self.subject,
        })
    }
}

#[derive(Clone)]
struct Alerts(AlertFilter);

impl Listing for Alerts {
    type Row = AlertOut;
    type Position = (DateTime<Utc>, Uuid);
    const FILE: &'static str = "alerts";
    const COLUMNS: &'static [&'static str] = COLUMNS;

    fn name(&self) -> String {
        "alerts".to_owned()
    }

    fn position(row: &AlertOut) -> Self::Position {
        (row.opened_at, row.id)
    }

    async fn read(
        &self,
        state: &AppState,
        after: Option<Self::Position>,
        rows_max: i64,
    ) -> sqlx::Result<Vec<AlertOut>> {
        let mut snapshot = begin_snapshot(state).await?;
        let rows = alerts::list(&mut snapshot, &self.0, after, rows_max).await?;
        Ok(rows.into_iter().map(AlertOut::from).collect())
    }
}

/// Alerts, newest first.
///
/// Filters are joined by "and".
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", security(("secret_key" = []), ("bearer" = [])),
    params(AlertsIn, super::list::PageQuery, FormatIn),
    responses((status = 200, description = "One page, or all rows as CSV or NDJSON.",
               content((Page<AlertOut> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
              CommonProblems))]
async fn list_alerts(
    _: ReadAccess,
    State(state): State<AppState>,
    query: ListQuery<AlertsIn>,
) -> Result<Response, Problem> {
    let listing = Alerts(query.filter.into_filter()?);
    answer(listing, state, &query.page, query.format).await
}

/// One alert
///
/// With the messages about it, delivered, waiting and given up.
#[utoipa::path(get, path = "/api/v1/alerts/{id}", tag = "alerts", security(("secret_key" = []), ("bearer" = [])),
    params(("id" = Uuid, Path, description = "Id of the alert.")),
    responses((status = 200, description = "The alert.", body = AlertDetailOut), CommonProblems, MissingProblem))]
async fn show_alert(
    _: ReadAccess,
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
) -> Result<Json<AlertDetailOut>, Problem> {
    let mut snapshot = begin_snapshot(&state).await?;
    let alert = alerts::find(&mut snapshot, id).await?;
    let alert = alert.ok_or_else(|| Problem::not_found("The alert"))?;
    detailed(&mut snapshot, alert).await
}

async fn detailed(connection: &mut PgConnection, alert: AlertRow) -> Result<Json<AlertDetailOut>, Problem> {
    let deliveries = deliveries::of_alert(connection, alert.id).await?;
    Ok(Json(AlertDetailOut {
        alert: alert.into(),
        deliveries: deliveries.into_iter().map(DeliveryOut::from).collect(),
    }))
}

/// Acknowledge an alert
///
/// Somebody takes care of it. It stays open until it is resolved; should it get graver, it has to be acknowledged again.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/acknowledge", tag = "alerts",
    security(("secret_key" = []), ("bearer" = [])), params(("id" = Uuid, Path, description = "Id of the alert.")),
    responses((status = 200, description = "The alert.", body = AlertDetailOut),
              (status = 409, description = "`already_acknowledged` or `already_resolved`.", body = ProblemDocument,
               content_type = "application/problem+json"),
              CommonProblems, MissingProblem))]
async fn acknowledge_alert(
    access: AdminAccess,
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
) -> Result<Json<AlertDetailOut>, Problem> {
    let mut transaction = state.pool.begin().await?;
    let now = state.clock.now();
    match alerts::acknowledge(&mut transaction, id, &access.key.name, now).await? {
        None => Err(conflict(&mut transaction, id).await?),
        Some(alert) => {
            let answer = detailed(&mut transaction, alert).await?;
            transaction.commit().await?;
            Ok(answer)
        }
    }
}

/// Resolve an alert
///
/// By hand: an alert whose figure comes back resolves by itself.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/resolve", tag = "alerts",
    security(("secret_key" = []), ("bearer" = [])), params(("id" = Uuid, Path, description = "Id of the alert.")),
    responses((status = 200, description = "The alert.", body = AlertDetailOut),
              (status = 409, description = "`already_resolved`.", body = ProblemDocument,
               content_type = "application/problem+json"),
              CommonProblems, MissingProblem))]
async fn resolve_alert(
    _: AdminAccess,
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
) -> Result<Json<AlertDetailOut>, Problem> {
    let mut transaction = state.pool.begin().await?;
    let now = state.clock.now();
    let Some(alert) = alerts::resolve(&mut transaction, id, "manual", now).await? else {
        return Err(conflict(&mut transaction, id).await?);
    };
    tell(
        &mut transaction,
        &Settings::new(&state.config),
        Event::Resolved,
        &alert,
        now,
    )
    .await?;
    let answer = detailed(&mut transaction, alert).await?;
    transaction.commit().await?;
    if let Some(notifier) = &state.notifier {
        notifier.wake();
    }
    Ok(answer)
}

/// Says why an alert could not be changed.
async fn conflict(connection: &mut PgConnection, id: Uuid) -> Result<Problem, Problem> {
    let alert = alerts::find(connection, id).await?;
    let Some(alert) = alert else {
        return Ok(Problem::not_found("The alert"));
    };
    let day = |time: Option<DateTime<Utc>>| {
        time.map_or_else(String::new, |time| {
            format!(" on {}", time.format("%Y-%m-%d at %H:%M UTC"))
        })
    };
    Ok(if alert.status == Status::Resolved.as_str() {
        let sentence = format!("The alert was already resolved{}.", day(alert.resolved_at));
        Problem::conflict("already_resolved", sentence)
    } else {
        let by = alert
            .acknowledged_by
            .map_or_else(String::new, |name| format!(" by {name}"));
        let sentence = format!(
            "The alert was already acknowledged{by}{}.",
            day(alert.acknowledged_at)
        );
        Problem::conflict("already_acknowledged", sentence)
    })
}

/// How a test message fared.
#[derive(Debug, Serialize, ToSchema)]
struct TestOut {
    channels: Vec<TestResult>,
}

/// Send a test message
///
/// Through every channel that is set up, once and at once. 200 also when none arrived: the answer says how each fared.
#[utoipa::path(post, path = "/api/v1/alerts/test", tag = "alerts", security(("secret_key" = []), ("bearer" = [])),
    responses((status = 200, description = "How it fared on each channel.", body = TestOut),
              (status = 409, description = "`no_channel`: none is set up.", body = ProblemDocument,
               content_type = "application/problem+json"),
              CommonProblems))]
async fn test_channels(_: AdminAccess, State(state): State<AppState>) -> Result<Json<TestOut>, Problem> {
    let channels = match &state.notifier {
        Some(notifier) => notifier.test().await,
        None => Vec::new(),
    };
    if channels.is_empty() {
        return Err(Problem::conflict(
            "no_channel",
            "No channel is set up: set alerts.slack_webhook_url, alerts.webhook_url or alerts.smtp_host.",
        ));
    }
    Ok(Json(TestOut { channels }))
}
