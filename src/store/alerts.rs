//! Alerts: raised, made graver, acknowledged, resolved.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::StoreError;

/// First half of the advisory lock that one evaluation holds: the letters `alrt` as a number.
const EVALUATION_LOCK: i64 = 0x616c_7274;

/// One alert as it is stored.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct AlertRow {
    pub id: Uuid,
    pub subject: String,
    pub severity: String,
    pub status: String,
    pub opened_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub acknowledged_at: Option<DateTime<Utc>>,
    pub acknowledged_by: Option<String>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub resolved_reason: Option<String>,
    pub expected: f64,
    pub observed: f64,
    pub effect: f64,
    pub p_value: f64,
    pub trials: Option<i64>,
    pub weeks: i16,
    pub window_kind: String,
    pub window_from: DateTime<Utc>,
    pub window_to: DateTime<Utc>,
    pub reasons: Value,
    pub quiet_evaluations: i16,
}

const COLUMNS: &str = "id, subject, severity, status, opened_at, updated_at, acknowledged_at, acknowledged_by, \
    resolved_at, resolved_reason, expected, observed, effect, p_value, trials, weeks, window_kind, window_from, \
    window_to, reasons, quiet_evaluations";

/// What an alert is raised or made graver with.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    pub severity: &'static str,
    pub expected: f64,
    pub observed: f64,
    pub effect: f64,
    pub p_value: f64,
    pub trials: Option<i64>,
    pub weeks: i16,
    pub window_kind: &'static str,
    pub window_from: DateTime<Utc>,
    pub window_to: DateTime<Utc>,
    pub reasons: Value,
}

/// Lets one evaluation at a time run, until the transaction ends.
pub async fn lock_evaluation(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(EVALUATION_LOCK)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.alerts.lock"))?;
    Ok(())
}

/// Returns of each subject the alert that was opened last.
pub async fn latest(connection: &mut PgConnection) -> Result<Vec<AlertRow>, StoreError> {
    let mut query = QueryBuilder::<Postgres>::new("SELECT DISTINCT ON (subject) ");
    query.push(COLUMNS);
    query.push(" FROM alerts ORDER BY subject, (status <> 'resolved') DESC, opened_at DESC, id DESC");
    query
        .build_query_as()
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.alerts.latest"))
}

/// Raises an alert; `None` when its subject has an open one.
pub async fn open(
    connection: &mut PgConnection,
    subject: &str,
    figures: &Figures,
    now: DateTime<Utc>,
) -> Result<Option<AlertRow>, StoreError> {
    let mut query = QueryBuilder::<Postgres>::new(
        "INSERT INTO alerts (id, subject, status, opened_at, updated_at, severity, expected, observed, effect, p_value, \
         trials, weeks, window_kind, window_from, window_to, reasons) VALUES (",
    );
    let mut values = query.separated(", ");
    values
        .push_bind(Uuid::now_v7())
        .push_bind(subject)
        .push("'open'")
        .push_bind(now)
        .push_bind(now);
    values
        .push_bind(figures.severity)
        .push_bind(figures.expected)
        .push_bind(figures.observed);
    values
        .push_bind(figures.effect)
        .push_bind(figures.p_value)
        .push_bind(figures.trials);
    values.push_bind(figures.weeks).push_bind(figures.window_kind);
    values
        .push_bind(figures.window_from)
        .push_bind(figures.window_to)
        .push_bind(&figures.reasons);
    query.push(") ON CONFLICT (subject) WHERE status <> 'resolved' DO NOTHING RETURNING ");
    query.push(COLUMNS);
    query
        .build_query_as()
        .fetch_optional(connection)
        .await
        .map_err(StoreError::during("store.alerts.open"))
}

/// Gives an alert that is not over graver figures. Who acknowledged it did not know these, so it is open again.
pub async fn escalate(
    connection: &mut PgConnection,
    id: Uuid,
    figures: &Figures,
    now: DateTime<Utc>,
) -> Result<Option<AlertRow>, StoreError> {
    let mut query = QueryBuilder::<Postgres>::new(
        "UPDATE alerts SET status = 'open', quiet_evaluations = 0, updated_at = ",
    );
    query.push_bind(now);
    query.push(", severity = ").push_bind(figures.severity);
    query.push(", expected = ").push_bind(figures.expected);
    query.push(", observed = ").push_bind(figures.observed);
    query.push(", effect = ").push_bind(figures.effect);
    query.push(", p_value = ").push_bind(figures.p_value);
    query.push(", trials = ").push_bind(figures.trials);
    query.push(", weeks = ").push_bind(figures.weeks);
    query.push(", window_kind = ").push_bind(figures.window_kind);
    query.push(", window_from = ").push_bind(figures.window_from);
    query.push(", window_to = ").push_bind(figures.window_to);
    query.push(", reasons = ").push_bind(&figures.reasons);
    query.push(" WHERE status <> 'resolved' AND id = ").push_bind(id);
    query.push(" RETURNING ").push(COLUMNS);
    query
        .build_query_as()
        .fetch_optional(connection)
        .await
        .map_err(StoreError::during("store.alerts.escalate"))
}

/// Notes that an evaluation looked at an alert, and how many in a row found its figure back.
pub async fn note_evaluation(
    connection: &mut PgConnection,
    id: Uuid,
    quiet_evaluations: i16,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE alerts SET quiet_evaluations = $2, updated_at = $3 WHERE id = $1 AND status <> 'resolved'",
    )
    .bind(id)
    .bind(quiet_evaluations)
    .bind(now)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.alerts.note_evaluation"))?;
    Ok(())
}

/// Acknowledges an open alert; `None` when there is none of this id that is open.
pub async fn acknowledge(
    connection: &mut PgConnection,
    id: Uuid,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Option<AlertRow>, StoreError> {
    let mut query =
        QueryBuilder::<Postgres>::new("UPDATE alerts SET status = 'acknowledged', acknowledged_at = ");
    query.push_bind(now).push(", updated_at = ").push_bind(now);
    query.push(", acknowledged_by = ").push_bind(by);
    query.push(" WHERE status = 'open' AND id = ").push_bind(id);
    query.push(" RETURNING ").push(COLUMNS);
    query
        .build_query_as()
        .fetch_optional(connection)
        .await
        .map_err(StoreError::during("store.alerts.acknowledge"))
}

/// Ends an alert; `None` when there is none of this id that is not over.
pub async fn resolve(
    connection: &mut PgConnection,
    id: Uuid,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Option<AlertRow>, StoreError> {
    let mut query = QueryBuilder::<Postgres>::new("UPDATE alerts SET status = 'resolved', resolved_at = ");
    query.push_bind(now).push(", updated_at = ").push_bind(now);
    query.push(", resolved_reason = ").push_bind(reason);
    query.push(" WHERE status <> 'resolved' AND id = ").push_bind(id);
    query.push(" RETURNING ").push(COLUMNS);
    query
        .build_query_as()
        .fetch_optional(connection)
        .await
        .map_err(StoreError::during("store.alerts.resolve"))
}

/// Removes alerts that were resolved before `before`, with the messages about them.
pub async fn prune_resolved(connection: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM alerts WHERE resolved_at < $1")
        .bind(before)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.alerts.prune_resolved"))?;
    Ok(done.rows_affected())
}

/// Returns one alert.
pub async fn find(connection: &mut PgConnection, id: Uuid) -> Result<Option<AlertRow>, StoreError> {
    let mut query = QueryBuilder::<Postgres>::new("SELECT ");
    query.push(COLUMNS).push(" FROM alerts WHERE id = ").push_bind(id);
    query
        .build_query_as()
        .fetch_optional(connection)
        .await
        .map_err(StoreError::during("store.alerts.find"))
}

/// Which alerts are listed; every condition must hold.
#[derive(Clone, Debug, Default)]
pub struct AlertFilter {
    pub status: Option<&'static str>,
    pub severity: Option<&'static str>,
    pub subject: Option<String>,
}

/// Lists alerts, newest first, after a position of the page before.
pub async fn list(
    connection: &mut PgConnection,
    filter: &AlertFilter,
    after: Option<(DateTime<Utc>, Uuid)>,
    rows_max: i64,
) -> sqlx::Result<Vec<AlertRow>> {
    let mut query = QueryBuilder::<Postgres>::new("SELECT ");
    query.push(COLUMNS).push(" FROM alerts WHERE true");
    if let Some(status) = filter.status {
        query.push(" AND status = ").push_bind(status);
    }
    if let Some(severity) = filter.severity {
        query.push(" AND severity = ").push_bind(severity);
    }
    if let Some(subject) = &filter.subject {
        query.push(" AND subject = ").push_bind(subject);
    }
    if let Some((opened_at, id)) = after {
        query
            .push(" AND (opened_at, id) < (")
            .push_bind(opened_at)
            .push(", ")
            .push_bind(id)
            .push(")");
    }
    query
        .push(" ORDER BY opened_at DESC, id DESC LIMIT ")
        .push_bind(rows_max);
    query.build_query_as().fetch_all(connection).await
}
