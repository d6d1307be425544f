//! Backups and their checks as jobs: one at a time, recorded, so that the running service shows when one last
//! succeeded.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use sqlx::{ConnectOptions as _, PgConnection};
use tokio_util::sync::CancellationToken;

use super::{Made, Set, check, create, rehearse};
use crate::{
    config::Config,
    ops::{
        Clock,
        jobs::{Job, JobContext, Jobs, JobsError},
    },
    service,
    store::{self, dump},
};

/// The job's name in `job_runs` and metrics.
pub const BACKUP: &str = "backup";
/// See [`BACKUP`].
pub const VERIFY: &str = "backup_verify";

/// Writes a set into `directory` and returns a sentence about it.
///
/// # Errors
/// As [`create`], and when another backup of this database runs now.
pub async fn run_backup(config: Config, directory: PathBuf, clock: Clock) -> anyhow::Result<String> {
    let config = Arc::new(config);
    recorded(config.clone(), clock, BACKUP, move |context| {
        let (config, directory) = (config.clone(), directory.clone());
        async move {
            let mut connection = context.pool.connect_options().connect().await?;
            let queue = service::open_queue(&config).await?;
            let now = context.clock.now();
            let made = create(&config, &directory, &mut connection, queue.as_deref(), now).await?;
            Ok(tell(&made))
        }
    })
    .await
}

/// Reads every byte of a set, with `restore` loads it as well, and returns a sentence about it.
///
/// Where the database cannot be reached the set is read all the same, and nothing is recorded.
///
/// # Errors
/// When the set is not what its manifest says.
pub async fn run_verification(
    config: Config,
    set: Set,
    restore: bool,
    clock: Clock,
) -> anyhow::Result<String> {
    if !restore && reach(&config).await.is_err() {
        return verify(&config, &set, restore, &clock).await;
    }
    let config = Arc::new(config);
    recorded(config.clone(), clock, VERIFY, move |context| {
        let (config, set) = (config.clone(), set.clone());
        async move { verify(&config, &set, restore, &context.clock).await }
    })
    .await
}

async fn verify(config: &Config, set: &Set, restore: bool, clock: &Clock) -> anyhow::Result<String> {
    let wrong = check(set)?;
    anyhow::ensure!(
        wrong.is_empty(),
        "the set {} is damaged: {}",
        set.path.display(),
        wrong.join("; ")
    );
    let rows: u64 = set.manifest.tables().filter_map(|(_, file)| file.rows).sum();
    let how = if restore {
        rehearse(config, set, clock.now())
            .await
            .with_context(|| format!("the set {} cannot be restored", set.path.display()))?;
        "is whole, and was restored into a database of its own"
    } else {
        "is whole"
    };
    Ok(format!(
        "{} {how}: {} files, {rows} rows of {} tables",
        set.path.display(),
        set.manifest.files.len(),
        set.manifest.tables().count()
    ))
}

fn tell(made: &Made) -> String {
    let manifest = &made.set.manifest;
    let waiting = match &manifest.queue {
        Some(queue) => format!(
            ", {} queue entries and {} dead letters",
            queue.entries, queue.dead_letters
        ),
        None => String::new(),
    };
    let removed = match made.removed.as_slice() {
        [] => String::new(),
        removed => format!("; removed {}", removed.join(", ")),
    };
    format!(
        "{} holds {} events, {} sessions and {} customers{waiting} in {:.1} MB{removed}",
        made.set.path.display(),
        manifest.database.events,
        manifest.database.sessions,
        manifest.database.customers,
        manifest.bytes() as f64 / 1e6
    )
}

async fn reach(config: &Config) -> anyhow::Result<PgConnection> {
    let pool = store::connect(&config.database).context("database.url cannot be read")?;
    let connection = pool.connect_options().connect().await;
    connection.context("the database cannot be reached: is it running, and is database.url right?")
}

/// Runs work as a job of this name, unless another process does so now.
async fn recorded<Work, Running>(
    config: Arc<Config>,
    clock: Clock,
    name: &'static str,
    work: Work,
) -> anyhow::Result<String>
where
    Work: Fn(JobContext) -> Running + Send + Sync + 'static,
    Running: Future<Output = anyhow::Result<String>> + Send + 'static,
{
    let mut connection = reach(&config).await?;
    anyhow::ensure!(
        dump::migration_of(&mut connection).await? >= Some(dump::newest_migration()),
        "the database is not at the migration of this release: run `customer-journey migrate`"
    );
    drop(connection);
    let pool = store::connect(&config.database)?;
    let jobs = Jobs::new(
        pool.clone(),
        clock,
        CancellationToken::new(),
        vec![Job::new(name, "", work)],
    );
    let result = jobs.run_now(name).await;
    pool.close().await;
    result.map_err(|error| match error {
        JobsError::Failed { source, .. } => source,
        other => other.into(),
    })
}
