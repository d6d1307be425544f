//! The table `job_runs`: the last run of each job, so that any process can see when it was and how it went.

use chrono::{DateTime, Utc};
use sqlx::{PgPool, Row};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Succeeded,
    Failed,
    Panicked,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Panicked];

    /// The word for it in the table and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
        }
    }
}

/// A row of `job_runs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRun {
    pub job: String,
    pub started_at: DateTime<Utc>,
    /// `None` while it runs, or when its process died.
    pub finished_at: Option<DateTime<Utc>>,
    pub outcome: Option<Outcome>,
    /// What it did, or why it failed.
    pub detail: Option<String>,
    /// When a run last succeeded, this one or one before.
    pub succeeded_at: Option<DateTime<Utc>>,
}

/// Returns the last run of each job that ever ran, by name.
///
/// # Errors
/// Those of the database.
pub async fn last_runs(pool: &PgPool) -> Result<Vec<LastRun>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT job, started_at, finished_at, outcome, detail, succeeded_at FROM job_runs ORDER BY job",
    )
    .fetch_all(pool)
    .await?;
    let runs = rows.iter().map(|row| {
        let outcome: Option<String> = row.try_get("outcome")?;
        Ok(LastRun {
            job: row.try_get("job")?,
            started_at: row.try_get("started_at")?,
            finished_at: row.try_get("finished_at")?,
            outcome: Outcome::ALL
                .into_iter()
                .find(|known| Some(known.name()) == outcome.as_deref()),
            detail: row.try_get("detail")?,
            succeeded_at: row.try_get("succeeded_at")?,
        })
    });
    runs.collect()
}

pub(super) async fn start(pool: &PgPool, job: &str, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO job_runs (job, started_at) VALUES ($1, $2)
         ON CONFLICT (job) DO UPDATE SET started_at = $2, finished_at = NULL, outcome = NULL, detail = NULL",
    )
    .bind(job)
    .bind(now)
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn finish(
    pool: &PgPool,
    job: &str,
    now: DateTime<Utc>,
    outcome: Outcome,
    detail: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE job_runs SET finished_at = $2, outcome = $3, detail = $4,
             succeeded_at = CASE WHEN $3 = 'succeeded' THEN $2 ELSE succeeded_at END
         WHERE job = $1",
    )
    .bind(job)
    .bind(now)
    .bind(outcome.name())
    .bind(detail)
    .execute(pool)
    .await?;
    Ok(())
}
