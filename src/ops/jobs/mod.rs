//! Scheduled work: every process keeps the schedule, the one that leads does the work.
//!
//! - One leader at a time: see [`leader`]. A process that loses its lead tells the jobs it runs to stop.
//! - A job never overlaps itself, not even when two processes start it by hand: see [`run`].
//! - Each run is written to `job_runs` and counted; a panic fails the run, not the process.

mod leader;
mod record;
mod run;

use std::{future::Future, pin::Pin, sync::Arc};

use sqlx::PgPool;
use tokio_cron_scheduler::JobScheduler;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Clock;
use leader::Leadership;
pub(crate) use leader::try_lock as try_lead;
pub use record::{LastRun, Outcome, last_runs};

/// What a job gets to work with.
#[derive(Clone)]
pub struct JobContext {
    pub pool: PgPool,
    pub clock: Clock,
    /// Cancelled when the service stops or another process leads; a long job looks at it between steps.
    pub stop: CancellationToken,
}

type JobFuture = Pin<Box<dyn Future<Output = anyhow::Result<String>> + Send>>;
type JobWork = dyn Fn(JobContext) -> JobFuture + Send + Sync;

/// Work that is done again and again.
#[derive(Clone)]
pub struct Job {
    /// Stable name in `job_runs`, metrics and `run_now`.
    pub name: &'static str,
    /// Cron with seconds, in UTC.
    pub schedule: String,
    work: Arc<JobWork>,
}

impl Job {
    /// Describes a job; `work` returns a sentence about what it did.
    pub fn new<Work, Running>(name: &'static str, schedule: impl Into<String>, work: Work) -> Self
    where
        Work: Fn(JobContext) -> Running + Send + Sync + 'static,
        Running: Future<Output = anyhow::Result<String>> + Send + 'static,
    {
        Self {
            name,
            schedule: schedule.into(),
            work: Arc::new(move |context| Box::pin(work(context))),
        }
    }
}

/// Why a job did not run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    #[error("there is no job {0:?}")]
    Unknown(String),
    #[error("the job {0} runs already")]
    Running(&'static str),
    #[error("the job {job} cannot be scheduled at {schedule:?}")]
    Schedule {
        job: &'static str,
        schedule: String,
        #[source]
        source: tokio_cron_scheduler::JobSchedulerError,
    },
    #[error("the schedule cannot be kept")]
    Scheduler(#[source] tokio_cron_scheduler::JobSchedulerError),
    #[error("the run of job {job} cannot be recorded")]
    Database {
        job: &'static str,
        #[source]
        source: sqlx::Error,
    },
    /// The job's own error.
    #[error("the job {job} failed")]
    Failed {
        job: &'static str,
        #[source]
        source: anyhow::Error,
    },
    #[error("the job {job} panicked: {message}")]
    Panicked { job: &'static str, message: String },
}

/// The jobs of this process.
#[derive(Clone)]
pub struct Jobs {
    shared: Arc<Shared>,
}

struct Shared {
    jobs: Vec<Job>,
    pool: PgPool,
    clock: Clock,
    leadership: Leadership,
    stop: CancellationToken,
    running: TaskTracker,
}

impl Jobs {
    /// Collects jobs; `stop` ends schedule, leadership and running jobs.
    pub fn new(pool: PgPool, clock: Clock, stop: CancellationToken, jobs: Vec<Job>) -> Self {
        let leadership = Leadership::new(stop.clone());
        let shared = Shared {
            jobs,
            pool,
            clock,
            leadership,
            stop,
            running: TaskTracker::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Keeps the schedule and stands for leader until `stop`. Once per value.
    ///
    /// # Errors
    /// [`JobsError::Schedule`] for an expression that is not cron.
    pub async fn start(&self) -> Result<(), JobsError> {
        let mut scheduler = JobScheduler::new().await.map_err(JobsError::Scheduler)?;
        for job in &self.shared.jobs {
            let scheduled = self.scheduled(job)?;
            scheduler.add(scheduled).await.map_err(JobsError::Scheduler)?;
        }
        scheduler.start().await.map_err(JobsError::Scheduler)?;
        let shared = self.shared.clone();
        self.shared.running.spawn(async move {
            shared.leadership.hold(&shared.pool).await;
            if let Err(error) = scheduler.shutdown().await {
                tracing::warn!(%error, "the schedule did not stop in order: {error}");
            }
        });
        Ok(())
    }

    fn scheduled(&self, job: &Job) -> Result<tokio_cron_scheduler::Job, JobsError> {
        let (jobs, name) = (self.clone(), job.name);
        let tick = move |_, _| -> Pin<Box<dyn Future<Output = ()> + Send>> {
            let jobs = jobs.clone();
            Box::pin(async move { jobs.run_scheduled(name).await })
        };
        tokio_cron_scheduler::Job::new_async(&job.schedule, tick).map_err(|source| JobsError::Schedule {
            job: job.name,
            schedule: job.schedule.clone(),
            source,
        })
    }

    async fn run_scheduled(&self, name: &'static str) {
        let Some(lead) = self.shared.leadership.current() else {
            return;
        };
        match self.run_until(name, lead).await {
            Ok(_) => {}
            Err(JobsError::Running(_)) => tracing::debug!(job = name, "job {name} is still at its last run"),
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::error!(job = name, error = format!("{error:#}"), "{error:#}");
            }
        }
    }

    /// Runs a job at once, whoever leads, and returns its sentence.
    ///
    /// # Errors
    /// [`JobsError::Unknown`], [`JobsError::Running`] when any process runs it now, or what went wrong with it.
    pub async fn run_now(&self, name: &str) -> Result<String, JobsError> {
        self.run_until(name, self.shared.stop.child_token()).await
    }

    async fn run_until(&self, name: &str, stop: CancellationToken) -> Result<String, JobsError> {
        let job = self.shared.jobs.iter().find(|job| job.name == name);
        let job = job.ok_or_else(|| JobsError::Unknown(name.into()))?.clone();
        let context = JobContext {
            pool: self.shared.pool.clone(),
            clock: self.shared.clock.clone(),
            stop,
        };
        let name = job.name;
        // On a task of its own the run ends in order even when nobody waits for it any more, as when the client
        // of a request goes away; else its lock would be freed while its work goes on.
        let run = self.shared.running.spawn(run::run(job, context));
        run.await.unwrap_or_else(|error| {
            let message = error.to_string();
            Err(JobsError::Panicked { job: name, message })
        })
    }

    /// Whether this process leads.
    pub fn is_leader(&self) -> bool {
        self.shared.leadership.current().is_some()
    }

    /// Waits after `stop` until no job runs any more and the lead is given up.
    pub async fn wait_until_stopped(&self) {
        self.shared.running.close();
        self.shared.running.wait().await;
    }
}

#[cfg(test)]
mod tests;
