//! The wiring: one process of the service, from its configuration to its answers.
//!
//! Start and stop have an order. Starting: store, queue, writers, HTTP, so that nothing is accepted that
//! could not be kept. Stopping: HTTP, counters, writers, direct commits, so that everything accepted is
//! either in the store or safe in the queue when the process ends.

mod alerting;
mod follow;
pub mod jobs;
mod readiness;
#[cfg(test)]
mod retention_tests;
mod sampler;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use chrono::TimeDelta;
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::alerting::Alerting;
use crate::{
    alert::{evaluate::Settings, notify::Notifier},
    config::{Config, IpPolicy, QueueMode},
    event::{CountryDatabase, Hasher, Policy},
    http::{self, AppState, Parts, ingest::Reception},
    index::Index,
    ingest::{
        Intake,
        direct::Direct,
        queue::Queue,
        refusals::Refusals,
        settle::Settler,
        writer::{self, Progress},
    },
    ops::{Clock, jobs::Jobs, lifecycle, metrics},
    rights::Rights,
    session::Rules,
    store::{
        self, MIGRATOR,
        events::Load,
        situation::{self, Situation},
    },
};

/// How long a start waits for PostgreSQL before it gives up; a machine that boots starts both at once.
const DATABASE_PATIENCE: Duration = Duration::from_secs(60);

/// A writer that shows no sign of life for this long is stuck, and systemd may restart the service.
const PROGRESS_PATIENCE: TimeDelta = TimeDelta::seconds(60);

/// How long the end waits for database connections to be given back; everything is stored by then.
const POOL_PATIENCE: Duration = Duration::from_secs(2);

/// How long the end waits for the index to be saved: a few hundred megabytes to the disk.
const INDEX_PATIENCE: Duration = Duration::from_secs(10);

/// How long a writer that panicked stays away.
const WRITER_PAUSE: Duration = Duration::from_secs(1);

/// What a start may be given besides the configuration.
pub struct Options {
    pub clock: Clock,
    pub metrics: Option<PrometheusHandle>,
    /// Write key of the demo shop; with it `/demo/` is served.
    pub demo_key: Option<String>,
    /// How rows get into the store.
    pub load: Load,
}

impl Options {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            metrics: None,
            demo_key: None,
            load: Load::Copy,
        }
    }
}

/// A running service.
pub struct Service {
    /// Where it listens; with port 0 in the configuration, the one the system chose.
    pub address: SocketAddr,
    pub state: AppState,
    pub settler: Settler,
    config: Arc<Config>,
    /// Ends the HTTP server.
    closing: CancellationToken,
    /// Ends writers and helpers, after HTTP.
    draining: CancellationToken,
    /// Ends what must live until the very end.
    ending: CancellationToken,
    http: JoinHandle<std::io::Result<()>>,
    counting: Vec<JoinHandle<()>>,
    writers: Vec<JoinHandle<()>>,
    committing: JoinHandle<()>,
    /// Ends the follower of the index, after everybody who stores.
    indexing: CancellationToken,
    follower: Option<JoinHandle<()>>,
    jobs: Jobs,
}

impl Service {
    /// Starts everything; returns when requests are answered.
    ///
    /// # Errors
    /// When PostgreSQL stays away, a migration fails, a file of the configuration cannot be read, or the
    /// address cannot be listened on.
    pub async fn start(config: Config, options: Options) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let pool = store::connect(&config.database).context("database.url cannot be read")?;
        let situation = open_store(&pool, &config).await?;
        let settler = settler(&config, pool.clone(), situation, &options);
        let queue = open_queue(&config).await?;
        let (direct, committing) = Direct::start(settler.clone(), config.writer.batch_events);
        let intake = Intake::new(queue.clone(), direct);
        let (closing, draining, ending) = (
            CancellationToken::new(),
            CancellationToken::new(),
            CancellationToken::new(),
        );

        let progress = Arc::new(Progress::default());
        let writers = start_writers(queue.as_ref(), &settler, &config, &progress, &draining);
        let reception = Arc::new(Reception {
            intake: intake.clone(),
            policy: policy(&config)?,
            refusals: Refusals::default(),
        });
        let mut counting = vec![
            tokio::spawn(flush_refusals(
                reception.clone(),
                options.clock.clone(),
                draining.clone(),
            )),
            tokio::spawn(sampler::run(
                pool.clone(),
                queue.clone(),
                options.clock.clone(),
                draining.clone(),
            )),
        ];
        if let Some(handle) = &options.metrics {
            counting.push(metrics::spawn_upkeep(handle.clone(), draining.clone()));
        }

        let index = config.index.enabled.then(Arc::<Index>::default);
        let indexing = CancellationToken::new();
        let follower = index.clone().map(|index| {
            let settings = follow::settings(&config);
            tokio::spawn(follow::run(index, settler.clone(), settings, indexing.clone()))
        });

        let mut parts = Parts::new(pool.clone(), config.clone(), options.clock.clone());
        parts.metrics = options.metrics;
        parts.demo_key = options.demo_key;
        parts.reception = Some(reception);
        parts.rights = Some(rights(&config, &settler, queue.clone()));
        parts.readiness = readiness::checks(&pool, queue.as_ref(), index.as_ref());
        parts.system = readiness::information(&pool, queue.as_ref(), index.as_ref(), situation);
        parts.index = index.clone();
        // A node that runs no jobs raises no alert, and need not have the secrets of their channels.
        let notifier = (config.jobs.enabled && config.alerts.enabled)
            .then(|| Notifier::new(pool.clone(), options.clock.clone(), &config))
            .transpose()
            .context("messages about alerts cannot be sent")?;
        parts.notifier = notifier.clone();
        let state = AppState::from(parts);

        let listener = TcpListener::bind(&config.server.listen).await.with_context(|| {
            format!(
                "{} cannot be listened on: is it in use? Set server.listen to another",
                config.server.listen
            )
        })?;
        let address = listener.local_addr()?;
        let jobs = jobs::jobs(
            pool.clone(),
            queue.clone(),
            situation,
            index.zip(notifier.clone()).map(|(index, notifier)| Alerting {
                index,
                queue: queue.clone(),
                settings: Settings::new(&config),
                notifier,
            }),
            &config,
            options.clock.clone(),
            closing.clone(),
        );
        if config.jobs.enabled {
            counting.extend(notifier.map(|notifier| tokio::spawn(notifier.run(draining.clone()))));
            jobs.start()
                .await
                .context("the scheduled jobs cannot be started")?;
        }
        let app = http::router(state.clone()).into_make_service_with_connect_info::<SocketAddr>();
        let stop = closing.clone();
        let http = tokio::spawn(async move {
            axum::serve(listener, app)
                .with_graceful_shutdown(stop.cancelled_owned())
                .await
        });

        watch(&config, progress, options.clock, ending.clone());
        tracing::info!(%address, storage = situation.as_str(), "ready on http://{address}");
        lifecycle::notify_ready(&format!("listening on {address}"));
        Ok(Self {
            address,
            state,
            settler,
            config,
            closing,
            draining,
            ending,
            http,
            counting,
            writers,
            committing,
            indexing,
            follower,
            jobs,
        })
    }

    /// Serves until `stop`, then stops in order.
    ///
    /// # Errors
    /// When the HTTP server fails.
    pub async fn run_until(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = stop.cancelled() => {}
            ended = &mut self.http => {
                ended.context("the HTTP server panicked")?.context("the HTTP server failed")?;
            }
        }
        self.stop().await
    }

    /// Stops in order: no new requests, open ones answered, the queue drained, direct commits finished.
    ///
    /// What the queue still holds after `server.shutdown_timeout_seconds` stays there for the next start.
    ///
    /// # Errors
    /// When the HTTP server fails.
    pub async fn stop(self) -> anyhow::Result<()> {
        lifecycle::notify_stopping("finishing open requests");
        let patience = Duration::from_secs(self.config.server.shutdown_timeout_seconds);
        let deadline = tokio::time::Instant::now() + patience;
        // What never ends, such as a request that stays incomplete, must not take the writers' time as well.
        let half_time = tokio::time::Instant::now() + patience / 2;
        self.closing.cancel();
        let mut http = self.http;
        if !http.is_finished() {
            match tokio::time::timeout_at(half_time, &mut http).await {
                Ok(ended) => ended
                    .context("the HTTP server panicked")?
                    .context("the HTTP server failed")?,
                Err(_) => {
                    http.abort();
                    tracing::warn!("some requests took too long and were cut off");
                }
            }
        }
        if self.config.jobs.enabled
            && tokio::time::timeout_at(half_time, self.jobs.wait_until_stopped())
                .await
                .is_err()
        {
            tracing::warn!("a scheduled job took too long and was cut off");
        }
        lifecycle::notify_status("draining the queue");
        self.draining.cancel();
        for task in self.counting.into_iter().chain(self.writers) {
            let abort = task.abort_handle();
            if tokio::time::timeout_at(deadline, task).await.is_err() {
                abort.abort();
                tracing::warn!("the queue was not drained in time; its entries wait for the next start");
            }
        }
        // The handles on the direct way live in the state; the task ends when they are gone.
        drop(self.state);
        let abort = self.committing.abort_handle();
        if tokio::time::timeout(Duration::from_secs(1), self.committing)
            .await
            .is_err()
        {
            abort.abort();
        }
        self.indexing.cancel();
        if let Some(follower) = self.follower
            && tokio::time::timeout(INDEX_PATIENCE, follower).await.is_err()
        {
            tracing::warn!("the index was not saved in time; the next start fills it from the store");
        }
        self.ending.cancel();
        // Somebody who stopped reading an export may still hold a connection.
        if tokio::time::timeout(POOL_PATIENCE, self.settler.pool.close())
            .await
            .is_err()
        {
            tracing::warn!("some database connections were still in use");
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Waits for PostgreSQL, migrates, and brings the store into the form its situation allows.
///
/// # Errors
/// When PostgreSQL stays away or a migration fails.
pub async fn open_store(pool: &PgPool, config: &Config) -> anyhow::Result<Situation> {
    let deadline = tokio::time::Instant::now() + DATABASE_PATIENCE;
    let mut connection = loop {
        match pool.acquire().await {
            Ok(connection) => break connection,
            Err(error) if tokio::time::Instant::now() < deadline && is_worth_waiting(&error) => {
                tracing::warn!(%error, "waiting for PostgreSQL");
                lifecycle::notify_status("waiting for PostgreSQL");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => {
                return Err(error).context("PostgreSQL cannot be used: check database.url and that it runs");
            }
        }
    };
    if config.database.migrate_on_start {
        MIGRATOR
            .run(&mut *connection)
            .await
            .context("the database cannot be migrated")?;
    }
    Ok(situation::prepare(&mut connection, &config.retention).await?)
}

/// A server that refuses the name or the password will do so again.
fn is_worth_waiting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        // 57P03: the database system is starting up.
        sqlx::Error::Database(error) => error.code().as_deref() == Some("57P03"),
        _ => false,
    }
}

/// Opens the queue of the configuration; `None` when events are committed directly.
///
/// # Errors
/// When `redis.queue_url` is no address.
pub async fn open_queue(config: &Config) -> anyhow::Result<Option<Arc<Queue>>> {
    if config.ingest.queue == QueueMode::Direct {
        return Ok(None);
    }
    let queue = Queue::open(&config.redis, config.ingest.queue_entries_max)
        .await
        .context("redis.queue_url cannot be read")?;
    match queue.weaknesses().await {
        Ok(weaknesses) => {
            for weakness in weaknesses {
                tracing::warn!("the queue may lose acknowledged events: {weakness}");
            }
        }
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "Redis cannot be reached; events are committed directly until it can"
        ),
    }
    Ok(Some(Arc::new(queue)))
}

/// Returns what settling needs, from the configuration.
pub fn settler(config: &Config, pool: PgPool, situation: Situation, options: &Options) -> Settler {
    Settler {
        pool,
        load: options.load,
        situation,
        rules: Arc::new(rules(config)),
        hasher: Hasher::new(&config.secrets.api_key_salt),
        clock: options.clock.clone(),
        committed: Arc::default(),
    }
}

/// Returns what answers for people's rights, over the same store and queue.
pub fn rights(config: &Config, settler: &Settler, queue: Option<Arc<Queue>>) -> Rights {
    Rights {
        pool: settler.pool.clone(),
        situation: settler.situation,
        rules: settler.rules.clone(),
        hasher: settler.hasher.clone(),
        queue,
        clock: settler.clock.clone(),
        events_days: situation::drop_after_days(&config.retention),
    }
}

/// Returns where sessions end, from the configuration.
pub fn rules(config: &Config) -> Rules {
    Rules {
        inactivity: TimeDelta::minutes(i64::from(config.session.timeout_minutes)),
        length_max: TimeDelta::hours(i64::from(config.session.length_max_hours)),
        own_hosts: config.site.own_hosts.clone(),
        pass_through_hosts: config.site.pass_through_hosts.clone(),
    }
}

/// Returns how events are judged, from the configuration.
///
/// # Errors
/// When `privacy.country_database` cannot be read.
pub fn policy(config: &Config) -> anyhow::Result<Policy> {
    let file = &config.privacy.country_database;
    let countries = (!file.is_empty())
        .then(|| CountryDatabase::open(Path::new(file)))
        .transpose()
        .with_context(|| format!("privacy.country_database: {file} cannot be read"))?;
    Ok(Policy {
        hasher: Hasher::new(&config.secrets.api_key_salt),
        ip_hash: config.privacy.ip == IpPolicy::Hash,
        hash_emails: config.privacy.hash_emails,
        honour_dnt: config.privacy.honour_dnt,
        honour_gpc: config.privacy.honour_gpc,
        cookieless: config.privacy.cookieless,
        url_parameters_allowed: config.privacy.url_parameters_allowed.clone(),
        own_hosts: config.site.own_hosts.clone(),
        filter_bots: config.ingest.filter_bots,
        events_age_max: (config.retention.events_days > 0)
            .then(|| TimeDelta::days(i64::from(config.retention.events_days))),
        batch_events_max: config.ingest.batch_events_max,
        countries,
    })
}

fn start_writers(
    queue: Option<&Arc<Queue>>,
    settler: &Settler,
    config: &Config,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let Some(queue) = queue else { return Vec::new() };
    (0..config.writer.workers)
        .map(|_| {
            let (queue, settler) = (queue.clone(), settler.clone());
            let (config, progress, stop) = (config.writer.clone(), progress.clone(), stop.clone());
            tokio::spawn(supervise(move || {
                writer::run(
                    queue.clone(),
                    settler.clone(),
                    config.clone(),
                    progress.clone(),
                    stop.clone(),
                )
            }))
        })
        .collect()
}

/// Runs a writer until it ends by itself. One that panics is started again: its entries are still pending,
/// and one that makes every writer panic ends among the dead letters.
async fn supervise<Running>(start: impl Fn() -> Running)
where
    Running: Future<Output = ()> + Send + 'static,
{
    loop {
        match AbortOnDropHandle::new(tokio::spawn(start())).await {
            Err(error) if error.is_panic() => {
                tracing::error!("a writer panicked and is started again");
                tokio::time::sleep(WRITER_PAUSE).await;
            }
            _ => return,
        }
    }
}

async fn flush_refusals(reception: Arc<Reception>, clock: Clock, stop: CancellationToken) {
    reception
        .refusals
        .flush_until(&reception.intake, &clock, stop)
        .await;
}

/// Keeps systemd's watchdog fed while the writers show signs of life.
fn watch(config: &Config, progress: Arc<Progress>, clock: Clock, stop: CancellationToken) {
    let has_writers = config.ingest.queue == QueueMode::Redis && config.writer.workers > 0;
    let healthy = move || {
        let silent = clock.now().timestamp_millis() - progress.last_ms();
        !has_writers || progress.last_ms() == 0 || silent < PROGRESS_PATIENCE.num_milliseconds()
    };
    lifecycle::spawn_watchdog(healthy, stop);
}
