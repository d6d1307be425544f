//! Gauges that somebody has to look at: queue, ledger, connections, and jobs that other processes ran.

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    ingest::{
        ledger::{AuditError, audit},
        queue::Queue,
    },
    ops::{
        Clock,
        jobs::{Outcome, last_runs},
        metrics as metric,
    },
    store::{StoreError, ledger},
};

/// Often enough for an alert within a minute, seldom enough to cost nothing.
const EVERY: Duration = Duration::from_secs(5);

/// Looks around every few seconds until `stop`.
pub(super) async fn run(pool: PgPool, queue: Option<Arc<Queue>>, clock: Clock, stop: CancellationToken) {
    loop {
        sample(&pool, queue.as_deref(), &clock).await;
        if stop
            .run_until_cancelled(tokio::time::sleep(EVERY))
            .await
            .is_none()
        {
            return;
        }
    }
}

async fn sample(pool: &PgPool, queue: Option<&Queue>, clock: &Clock) {
    let idle = pool.num_idle() as f64;
    metrics::gauge!(metric::DATABASE_CONNECTIONS, "state" => "idle").set(idle);
    metrics::gauge!(metric::DATABASE_CONNECTIONS, "state" => "used").set(f64::from(pool.size()) - idle);
    sample_jobs(pool).await;
    if let Some(queue) = queue {
        let counts = queue.counts().await;
        metrics::gauge!(metric::QUEUE_REACHABLE).set(if counts.is_ok() { 1.0 } else { 0.0 });
        let Ok(counts) = counts else { return };
        metrics::gauge!(metric::QUEUE_ENTRIES).set(counts.entries as f64);
        metrics::gauge!(metric::QUEUE_EVENTS).set(counts.unacknowledged as f64);
        metrics::gauge!(metric::QUEUE_PENDING).set(counts.pending.len() as f64);
        metrics::gauge!(metric::QUEUE_DEAD_LETTERS).set(counts.dead_letters as f64);
        let waiting_since = counts.oldest.entry_ms;
        let lag = if counts.entries > 0 {
            clock.now().timestamp_millis() - waiting_since
        } else {
            0
        };
        metrics::gauge!(metric::WRITER_LAG_SECONDS).set(lag.max(0) as f64 / 1000.0);
        if let Some(epoch) = counts.epoch
            && let Ok(mut connection) = pool.acquire().await
            && let Err(error) = ledger::note_epoch(&mut connection, epoch, counts.received, clock.now()).await
        {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the queue's count was not noted"
            );
        }
    }
    match check(pool, queue).await {
        Ok(difference) => metrics::gauge!(metric::LEDGER_DIFFERENCE).set(difference as f64),
        Err(error) => {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the ledger cannot be read now"
            );
        }
    }
}

/// Shows the last run of each job, also of those that are commands of their own, such as a backup.
async fn sample_jobs(pool: &PgPool) {
    let Ok(runs) = last_runs(pool).await else { return };
    for run in runs {
        let failed = matches!(run.outcome, Some(Outcome::Failed | Outcome::Panicked));
        metrics::gauge!(metric::JOB_LAST_FAILED, "job" => run.job.clone()).set(f64::from(u8::from(failed)));
        if let Some(at) = run.succeeded_at {
            metrics::gauge!(metric::JOB_LAST_SUCCESS, "job" => run.job).set(at.timestamp() as f64);
        }
    }
}

async fn check(pool: &PgPool, queue: Option<&Queue>) -> Result<i64, AuditError> {
    let mut connection = pool
        .acquire()
        .await
        .map_err(StoreError::during("reading the ledger"))?;
    Ok(audit(&mut connection, queue).await?.difference)
}
