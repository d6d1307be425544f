//! What `/ready` asks and what `/api/v1/system` tells of queue and store.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    http::{
        problem::chain,
        system::{ReadinessCheck, SystemInformation},
    },
    index::{Index, load::time_of},
    ingest::{ledger::audit, queue::Queue},
    store::situation::Situation,
};

/// Returns the checks of this process, PostgreSQL first.
pub(super) fn checks(
    pool: &PgPool,
    queue: Option<&Arc<Queue>>,
    index: Option<&Arc<Index>>,
) -> Vec<Arc<dyn ReadinessCheck>> {
    let mut checks: Vec<Arc<dyn ReadinessCheck>> = vec![Arc::new(Postgres { pool: pool.clone() })];
    if let Some(queue) = queue {
        checks.push(Arc::new(QueueCheck { queue: queue.clone() }));
    }
    if let Some(index) = index {
        checks.push(Arc::new(IndexCheck(index.clone())));
    }
    checks
}

/// Returns the sections about storage, queue and ledger.
pub(super) fn information(
    pool: &PgPool,
    queue: Option<&Arc<Queue>>,
    index: Option<&Arc<Index>>,
    situation: Situation,
) -> Vec<Arc<dyn SystemInformation>> {
    vec![
        Arc::new(IndexState(index.cloned())),
        Arc::new(Storage {
            pool: pool.clone(),
            situation,
        }),
        Arc::new(QueueDepth {
            queue: queue.cloned(),
        }),
        Arc::new(Ledger {
            pool: pool.clone(),
            queue: queue.cloned(),
        }),
    ]
}

struct Postgres {
    pool: PgPool,
}

impl ReadinessCheck for Postgres {
    fn name(&self) -> &'static str {
        "postgresql"
    }

    fn check(&self) -> BoxFuture<'_, Result<String, String>> {
        async {
            let version: String = sqlx::query_scalar("SELECT current_setting('server_version')")
                .fetch_one(&self.pool)
                .await
                .map_err(|_| "it does not answer".to_owned())?;
            Ok(format!("PostgreSQL {version}"))
        }
        .boxed()
    }
}

/// The service is ready without its queue: events then take the direct way. The detail says so.
struct QueueCheck {
    queue: Arc<Queue>,
}

impl ReadinessCheck for QueueCheck {
    fn name(&self) -> &'static str {
        "queue"
    }

    fn check(&self) -> BoxFuture<'_, Result<String, String>> {
        async {
            Ok(match self.queue.counts().await {
                Ok(counts) => format!("{} entries wait", counts.entries),
                Err(_) => "Redis does not answer; events are committed directly".to_owned(),
            })
        }
        .boxed()
    }
}

/// The service is ready without its index: events are taken in, analyses are asked to come again.
struct IndexCheck(Arc<Index>);

impl ReadinessCheck for IndexCheck {
    fn name(&self) -> &'static str {
        "index"
    }

    fn check(&self) -> BoxFuture<'_, Result<String, String>> {
        let status = self.0.status();
        let said = match (status.loading, status.trouble) {
            (Some(progress), _) => format!("{:.0} % filled", progress.share * 100.0),
            (None, Some(_)) => "it cannot follow the store and answers from what it knows".to_owned(),
            (None, None) => format!("{} events of {} people", status.size.events, status.size.people),
        };
        std::future::ready(Ok(said)).boxed()
    }
}

struct IndexState(Option<Arc<Index>>);

impl SystemInformation for IndexState {
    fn name(&self) -> &'static str {
        "index"
    }

    fn collect(&self) -> BoxFuture<'_, Result<Value, String>> {
        let Some(index) = &self.0 else {
            return std::future::ready(Ok(json!({ "enabled": false }))).boxed();
        };
        let status = index.status();
        let answer = json!({
            "enabled": true,
            "loading": status.loading.map(|progress| progress.share),
            "people": status.size.people,
            "sessions": status.size.sessions,
            "events": status.size.events,
            "bytes": status.bytes,
            "covered_from": status.covered_from.map(time_of),
            "is_cut_by_memory": status.is_cut_by_memory,
            "fresh_at": status.fresh_at,
            "trouble": status.trouble,
        });
        std::future::ready(Ok(answer)).boxed()
    }
}

struct Storage {
    pool: PgPool,
    situation: Situation,
}

impl SystemInformation for Storage {
    fn name(&self) -> &'static str {
        "storage"
    }

    fn collect(&self) -> BoxFuture<'_, Result<Value, String>> {
        async {
            let (version, bytes): (String, i64) = sqlx::query_as(
                "SELECT current_setting('server_version'), pg_database_size(current_database())",
            )
            .fetch_one(&self.pool)
            .await
            .map_err(|error| error.to_string())?;
            Ok(json!({
                "situation": self.situation.as_str(),
                "postgresql": version,
                "database_bytes": bytes,
            }))
        }
        .boxed()
    }
}

struct QueueDepth {
    queue: Option<Arc<Queue>>,
}

impl SystemInformation for QueueDepth {
    fn name(&self) -> &'static str {
        "queue"
    }

    fn collect(&self) -> BoxFuture<'_, Result<Value, String>> {
        async {
            let Some(queue) = &self.queue else {
                return Ok(json!({ "mode": "direct" }));
            };
            let counts = queue.counts().await.map_err(|error| chain(&error))?;
            Ok(json!({
                "mode": "redis",
                "entries": counts.entries,
                "events": counts.unacknowledged,
                "pending": counts.pending.len(),
                "dead_letters": counts.dead_letters,
            }))
        }
        .boxed()
    }
}

struct Ledger {
    pool: PgPool,
    queue: Option<Arc<Queue>>,
}

impl SystemInformation for Ledger {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn collect(&self) -> BoxFuture<'_, Result<Value, String>> {
        async {
            let mut connection = self.pool.acquire().await.map_err(|error| error.to_string())?;
            let audit = audit(&mut connection, self.queue.as_deref())
                .await
                .map_err(|error| chain(&error))?;
            serde_json::to_value(&audit).map_err(|error| error.to_string())
        }
        .boxed()
    }
}
