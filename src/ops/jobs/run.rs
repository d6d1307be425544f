//! One run of a job: locked, recorded, counted, and contained.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tracing::Instrument;

use super::{
    Job, JobContext, JobsError, leader,
    record::{self, Outcome},
};
use crate::ops::{
    metrics::{JOB_LAST_SUCCESS, JOB_RUNS, JOB_SECONDS_SPENT},
    telemetry::panic_message,
};

/// First half of the jobs' advisory locks, so that they meet no other ones: the letters `jobs` as a number. The
/// second half is the hash of the job's name.
const JOB_LOCKS: i32 = 0x6a6f_6273;

/// Runs `job` unless any process on the database does so now.
pub(super) async fn run(job: Job, context: JobContext) -> Result<String, JobsError> {
    let name = job.name;
    let unrecorded = |source| JobsError::Database { job: name, source };
    // The lock's connection serves nothing else, so no statement of the job can free it.
    let mut connection = leader::connect(&context.pool).await.map_err(unrecorded)?;
    if !try_lock(&mut connection, name).await.map_err(unrecorded)? {
        return Err(JobsError::Running(name));
    }
    let result = run_locked(job, context).await;
    // PostgreSQL frees the lock of a closed connection in its own time; asked to, it does so before it answers, and
    // the next run finds it free. A connection that is dead by now has no lock to free.
    let _ = unlock(&mut connection, name).await;
    let _ = connection.close().await;
    result
}

async fn run_locked(job: Job, context: JobContext) -> Result<String, JobsError> {
    let name = job.name;
    let unrecorded = |source| JobsError::Database { job: name, source };
    let (pool, clock) = (context.pool.clone(), context.clock.clone());
    record::start(&pool, name, clock.now())
        .await
        .map_err(unrecorded)?;
    let since = Instant::now();
    let result = contain(&job, context).await;
    let (outcome, detail) = summarise(&result);
    count(name, outcome, since.elapsed(), clock.now().timestamp());
    record::finish(&pool, name, clock.now(), outcome, &detail)
        .await
        .map_err(unrecorded)?;
    result
}

/// A task of its own catches a panic, and its end if the runtime goes away.
async fn contain(job: &Job, context: JobContext) -> Result<String, JobsError> {
    let name = job.name;
    let work = (job.work)(context).instrument(tracing::info_span!("job", job = name));
    match tokio::spawn(work).await {
        Ok(Ok(detail)) => Ok(detail),
        Ok(Err(source)) => Err(JobsError::Failed { job: name, source }),
        Err(error) => {
            let message = match error.try_into_panic() {
                Ok(payload) => panic_message(&*payload).to_owned(),
                Err(error) => error.to_string(),
            };
            Err(JobsError::Panicked { job: name, message })
        }
    }
}

fn summarise(result: &Result<String, JobsError>) -> (Outcome, String) {
    match result {
        Ok(detail) => (Outcome::Succeeded, detail.clone()),
        Err(JobsError::Failed { source, .. }) => (Outcome::Failed, format!("{source:#}")),
        Err(JobsError::Panicked { message, .. }) => (Outcome::Panicked, message.clone()),
        Err(error) => (Outcome::Failed, error.to_string()),
    }
}

fn count(name: &'static str, outcome: Outcome, spent: Duration, now: i64) {
    metrics::counter!(JOB_RUNS, "job" => name, "outcome" => outcome.name()).increment(1);
    metrics::histogram!(JOB_SECONDS_SPENT, "job" => name).record(spent);
    if outcome == Outcome::Succeeded {
        metrics::gauge!(JOB_LAST_SUCCESS, "job" => name).set(now as f64);
    }
    tracing::debug!(
        job = name,
        outcome = outcome.name(),
        "job {name} {}",
        outcome.name()
    );
}

async fn try_lock(connection: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    let lock = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, hashtext($2))");
    lock.bind(JOB_LOCKS).bind(name).fetch_one(connection).await
}

async fn unlock(connection: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    let lock = sqlx::query_scalar("SELECT pg_advisory_unlock($1, hashtext($2))");
    lock.bind(JOB_LOCKS).bind(name).fetch_one(connection).await
}
