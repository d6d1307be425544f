//! What was said about a person, and when it changed.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::person::{in_span, spans_of_customer};

/// A change of one attribute. Saying again what was known is no change.
#[derive(Clone, Debug, sqlx::FromRow, Serialize, ToSchema)]
pub(crate) struct AttributeChangeRecord {
    pub(crate) name: String,
    /// `demographic`, `behavioural`, `transactional`, `acquisition`, `engagement`, `device` or `custom`.
    pub(crate) category: String,
    /// The value before; absent where none is known.
    pub(crate) old: Option<Value>,
    pub(crate) new: Value,
    pub(crate) at: DateTime<Utc>,
    /// `event:<type>`: what made the service record it.
    pub(crate) reason: String,
    pub(crate) device_id: String,
    pub(crate) event_id: String,
}

/// The facts of customer `$1` over all lives, each with the value said before it.
macro_rules! changes_of_customer {
    () => {
        concat!(
            "(SELECT f.name, f.category, f.value AS new, f.occurred_at AS at, f.seq, f.reason, f.device_id, \
               f.event_id, lag(f.value) OVER (PARTITION BY f.name ORDER BY f.occurred_at, f.seq NULLS FIRST, \
               f.event_id COLLATE \"C\", f.device_id COLLATE \"C\") AS old \
             FROM ",
            spans_of_customer!(),
            " span JOIN attribute_facts f ON ",
            in_span!("f", "occurred_at"),
            ")"
        )
    };
}

/// Lists the changes of a customer's attributes in `from..to` in the order they happened.
///
/// `from` is inclusive, `to` exclusive; an absent end is open. What a change replaced is found even when it
/// was said before `from`.
pub(crate) async fn list_changes(
    connection: &mut PgConnection,
    customer: Uuid,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    rows_max: i64,
) -> sqlx::Result<Vec<AttributeChangeRecord>> {
    sqlx::query_as(concat!(
        "SELECT c.name, c.category, c.old, c.new, c.at, c.reason, c.device_id, c.event_id FROM ",
        changes_of_customer!(),
        " c WHERE c.new IS DISTINCT FROM c.old \
            AND c.at >= coalesce($2, '-infinity') AND c.at < coalesce($3, 'infinity') \
          ORDER BY c.at, c.seq NULLS FIRST, c.event_id COLLATE \"C\", c.name LIMIT $4"
    ))
    .bind(customer)
    .bind(from)
    .bind(to)
    .bind(rows_max)
    .fetch_all(connection)
    .await
}

/// Lists the latest change of each attribute of a customer, by name.
pub(crate) async fn list_latest_changes(
    connection: &mut PgConnection,
    customer: Uuid,
) -> sqlx::Result<Vec<AttributeChangeRecord>> {
    sqlx::query_as(concat!(
        "SELECT DISTINCT ON (c.name) c.name, c.category, c.old, c.new, c.at, c.reason, c.device_id, c.event_id FROM ",
        changes_of_customer!(),
        " c WHERE c.new IS DISTINCT FROM c.old \
          ORDER BY c.name, c.at DESC, c.seq DESC NULLS LAST, c.event_id COLLATE \"C\" DESC"
    ))
    .bind(customer)
    .fetch_all(connection)
    .await
}

/// Counts the changes of a customer's attributes.
pub(crate) async fn count_changes(connection: &mut PgConnection, customer: Uuid) -> sqlx::Result<i64> {
    sqlx::query_scalar(concat!(
        "SELECT count(*) FROM ",
        changes_of_customer!(),
        " c WHERE c.new IS DISTINCT FROM c.old"
    ))
    .bind(customer)
    .fetch_one(connection)
    .await
}
