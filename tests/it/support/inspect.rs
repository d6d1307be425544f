//! What must be true in the end.

use std::collections::{BTreeMap, BTreeSet};

use customer_journey::{
    config::{Config, QueueMode},
    ingest::{
        ledger::{Audit, audit},
        queue::Queue,
    },
};
use sqlx::PgConnection;

use super::{eventually, redis::queue_of};

/// Reads the ledger's equation as the service does, over connections of the test's own.
pub async fn audit_of(connection: &mut PgConnection, config: &Config) -> Audit {
    let queue: Option<Queue> = match config.ingest.queue {
        QueueMode::Redis => Some(queue_of(config).await),
        QueueMode::Direct => None,
    };
    audit(connection, queue.as_ref())
        .await
        .expect("the ledger can be read")
}

/// Waits until nothing is queued any more, and returns the equation, which must balance.
pub async fn drained(connection: &mut PgConnection, config: &Config) -> Audit {
    let audit = eventually("the queue is drained", async || {
        let audit = audit_of(connection, config).await;
        (audit.total.queued == 0).then_some(audit)
    })
    .await;
    assert!(audit.balances(), "{audit:?}");
    audit
}

/// Returns how often each event id is stored.
pub async fn stored(connection: &mut PgConnection) -> BTreeMap<String, i64> {
    let rows: Vec<(String, i64)> = sqlx::query_as("SELECT event_id, count(*) FROM events GROUP BY 1")
        .fetch_all(connection)
        .await
        .expect("the events can be read");
    rows.into_iter().collect()
}

/// Holds that every acknowledged event is stored, none twice, and that the ledger counts them.
pub async fn assert_each_stored_once(connection: &mut PgConnection, acknowledged: &[String], audit: &Audit) {
    let stored = stored(connection).await;
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|id| !stored.contains_key(*id))
        .collect();
    assert!(
        lost.is_empty(),
        "{} acknowledged events are lost: {lost:?}",
        lost.len()
    );
    let twice: Vec<_> = stored.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "stored more than once: {twice:?}");
    assert_eq!(
        audit.total.stored,
        stored.len() as i64,
        "the ledger counts what is stored"
    );
    assert_sessions_follow_events(connection).await;
}

/// Holds that sessions were derived from exactly the events that are stored.
pub async fn assert_sessions_follow_events(connection: &mut PgConnection) {
    let count = "SELECT device_id, count(*)::bigint FROM events GROUP BY 1 ORDER BY 1";
    let sums = "SELECT device_id, sum(event_count)::bigint FROM sessions GROUP BY 1 ORDER BY 1";
    let mut sides = Vec::new();
    for sql in [count, sums] {
        let rows: BTreeSet<(String, i64)> = sqlx::query_as(sql)
            .fetch_all(&mut *connection)
            .await
            .expect("the store can be read")
            .into_iter()
            .collect();
        sides.push(rows);
    }
    assert_eq!(sides[0], sides[1], "sessions and events of each device differ");
}
