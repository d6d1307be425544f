//! `doctor`: looks at everything the service depends on, and says what to do about what it finds.

mod alerts;
mod backup;

use std::{path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Connection as _, PgConnection, PgPool, migrate::Migrate as _};

use crate::{
    config::{Config, QueueMode},
    event::CountryDatabase,
    http::problem::chain,
    ingest::{
        ledger::audit,
        queue::{Queue, QueueError},
    },
    ops::{Clock, jobs::last_runs, web},
    store::{
        MIGRATOR, StoreError,
        situation::{self, Situation},
    },
};

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    Good,
    /// Works, but not as well or as safely as it could.
    Warning,
    /// Something does not work, or data is at risk.
    Failure,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at, as in `queue durability`.
    pub subject: &'static str,
    pub grade: Grade,
    /// What was found.
    pub detail: String,
    /// What to do about it; `None` when it is good.
    pub remedy: Option<String>,
}

impl Finding {
    fn good(subject: &'static str, detail: impl Into<String>) -> Self {
        Self {
            subject,
            grade: Grade::Good,
            detail: detail.into(),
            remedy: None,
        }
    }

    fn warning(subject: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            subject,
            grade: Grade::Warning,
            detail: detail.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn failure(subject: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            subject,
            grade: Grade::Failure,
            detail: detail.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// A clock that is off by more than this shifts sessions and reports.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5);

/// An entry that waits longer than this means that no writer keeps up.
const QUEUE_AGE_MAX_MS: i64 = 60_000;

/// Looks at everything; never changes anything.
pub async fn examine(config: &Config, clock: &Clock) -> Vec<Finding> {
    let mut findings = vec![Finding::good("configuration", "every setting is valid")];
    findings.extend(country_database(config));
    let queue = match config.ingest.queue {
        QueueMode::Direct => {
            findings.push(Finding::good(
                "queue",
                "not used: events are committed to PostgreSQL directly",
            ));
            None
        }
        QueueMode::Redis => examine_queue(config, clock, &mut findings).await,
    };
    match PgConnection::connect(&config.database.url).await {
        Ok(mut connection) => {
            findings.extend(examine_store(&mut connection, config, clock, queue.as_deref()).await);
            drop(connection);
            findings.extend(examine_jobs(config, clock).await);
            findings.extend(alerts::examine(config, clock).await);
            findings.extend(backup::examine(config, clock).await);
        }
        Err(error) => findings.push(Finding::failure(
            "postgresql",
            format!("cannot be reached: {error}"),
            "start PostgreSQL, or correct database.url",
        )),
    }
    findings.push(examine_service(config).await);
    findings
}

fn country_database(config: &Config) -> Option<Finding> {
    let file = &config.privacy.country_database;
    if file.is_empty() {
        return None;
    }
    Some(match CountryDatabase::open(Path::new(file)) {
        Ok(_) => Finding::good("country database", format!("{file} can be read")),
        Err(error) => Finding::failure(
            "country database",
            format!("{file}: {}", chain(&error)),
            "give the path of a MaxMind country database in privacy.country_database, or leave it empty",
        ),
    })
}

async fn examine_queue(config: &Config, clock: &Clock, findings: &mut Vec<Finding>) -> Option<Arc<Queue>> {
    let unreachable = |error: &QueueError| {
        Finding::failure(
            "queue",
            format!("Redis cannot be reached: {}", chain(error)),
            "start Redis or correct redis.queue_url; until then events are committed directly, which is safe but slower",
        )
    };
    let queue = match Queue::open(&config.redis, config.ingest.queue_entries_max).await {
        Ok(queue) => Arc::new(queue),
        Err(error) => {
            findings.push(unreachable(&error));
            return None;
        }
    };
    let counts = match queue.counts().await {
        Ok(counts) => counts,
        Err(error) => {
            findings.push(unreachable(&error));
            return None;
        }
    };
    let age_ms = clock.now().timestamp_millis() - counts.oldest.entry_ms;
    let depth = format!(
        "{} entries with {} events wait",
        counts.entries, counts.unacknowledged
    );
    findings.push(if counts.entries > 0 && age_ms > QUEUE_AGE_MAX_MS {
        Finding::failure(
            "queue",
            format!("{depth}, the oldest for {} s", age_ms / 1000),
            "see whether the service runs with writer.workers above 0, and what it logs about the store",
        )
    } else {
        Finding::good("queue", depth)
    });
    if counts.dead_letters > 0 {
        findings.push(Finding::failure(
            "dead letters",
            format!("{} entries could not be stored", counts.dead_letters),
            "see why with `customer-journey queue dead`, then `queue retry` or `queue discard` them",
        ));
    }
    match queue.weaknesses().await {
        Ok(weaknesses) if weaknesses.is_empty() => {
            findings.push(Finding::good(
                "queue durability",
                "Redis writes to disk before it answers",
            ));
        }
        Ok(weaknesses) => findings.extend(weaknesses.into_iter().map(|weakness| {
            Finding::warning(
                "queue durability",
                "acknowledged events may be lost in a crash",
                weakness,
            )
        })),
        Err(error) => findings.push(Finding::warning(
            "queue durability",
            format!("cannot be judged: {}", chain(&error)),
            "allow the command CONFIG GET to the service's Redis user",
        )),
    }
    Some(queue)
}

async fn examine_store(
    connection: &mut PgConnection,
    config: &Config,
    clock: &Clock,
    queue: Option<&Queue>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let migrated = migrations(connection).await;
    let is_migrated = migrated.grade == Grade::Good;
    findings.push(migrated);
    findings.push(
        storage(connection, is_migrated)
            .await
            .unwrap_or_else(|error| unreadable("storage", &error)),
    );
    findings.extend(
        server_settings(connection)
            .await
            .unwrap_or_else(|error| vec![unreadable("postgresql", &error)]),
    );
    findings.push(
        clocks(connection, clock.now())
            .await
            .unwrap_or_else(|error| unreadable("clock", &error)),
    );
    findings.push(
        timezone(connection, config)
            .await
            .unwrap_or_else(|error| unreadable("time zone", &error)),
    );
    if is_migrated {
        findings.extend(ledger(connection, queue).await);
        findings.push(
            keys(connection)
                .await
                .unwrap_or_else(|error| unreadable("keys", &error)),
        );
    }
    findings
}

fn unreadable(subject: &'static str, error: &StoreError) -> Finding {
    Finding::failure(
        subject,
        format!("cannot be read: {}", chain(error)),
        "give the service's role the rights on its database",
    )
}

async fn migrations(connection: &mut PgConnection) -> Finding {
    let subject = "migrations";
    let remedy = "run `customer-journey migrate`";
    let applied = match connection.list_applied_migrations("_sqlx_migrations").await {
        Ok(applied) => applied,
        Err(error) => return Finding::failure(subject, format!("the database is empty: {error}"), remedy),
    };
    let known: Vec<_> = MIGRATOR
        .iter()
        .filter(|one| one.migration_type.is_up_migration())
        .collect();
    let missing = known
        .iter()
        .filter(|one| applied.iter().all(|done| done.version != one.version))
        .count();
    let changed = known
        .iter()
        .filter(|one| {
            applied
                .iter()
                .any(|done| done.version == one.version && done.checksum != one.checksum)
        })
        .count();
    let newer = applied
        .iter()
        .filter(|done| known.iter().all(|one| one.version != done.version))
        .count();
    if changed > 0 {
        return Finding::failure(
            subject,
            format!("{changed} applied migrations differ from those of this program"),
            "use the program the database was made with, or restore a backup",
        );
    }
    if missing > 0 {
        return Finding::failure(subject, format!("{missing} are not applied"), remedy);
    }
    if newer > 0 {
        return Finding::warning(
            subject,
            format!("{newer} come from a newer release"),
            "an older release runs on a newer schema, but go back to the newer one soon",
        );
    }
    Finding::good(subject, format!("all {} are applied", known.len()))
}

async fn storage(connection: &mut PgConnection, is_migrated: bool) -> Result<Finding, StoreError> {
    let situation = situation::detect(connection).await?;
    let version = situation::timescale_version(connection).await?;
    let text = match (situation, version) {
        (Situation::TimescaleCommunity, Some(version)) => {
            format!(
                "TimescaleDB {version}, community edition: hypertable, roll-up, compression and retention are its work"
            )
        }
        (Situation::TimescaleApache, Some(version)) => {
            format!(
                "TimescaleDB {version}, Apache edition: hypertable; roll-up and retention are the scheduler's work"
            )
        }
        _ => "plain PostgreSQL: native tables; roll-up and retention are the scheduler's work".to_owned(),
    };
    if is_migrated && situation.has_hypertables() && !situation::is_hypertable(connection).await? {
        return Ok(Finding::warning(
            "storage",
            format!("{text}; but `events` is an ordinary table still"),
            "start the service once, or run `customer-journey migrate`",
        ));
    }
    Ok(Finding::good("storage", text))
}

async fn server_settings(connection: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    let (version, fsync, pages, commit): (String, String, String, String) = sqlx::query_as(
        "SELECT current_setting('server_version'), current_setting('fsync'),
                current_setting('full_page_writes'), current_setting('synchronous_commit')",
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::during("doctor.server_settings"))?;
    let mut findings = vec![Finding::good("postgresql", format!("version {version} answers"))];
    for (name, value, is_safe) in [
        ("fsync", &fsync, fsync == "on"),
        ("full_page_writes", &pages, pages == "on"),
        ("synchronous_commit", &commit, commit != "off"),
    ] {
        if !is_safe {
            findings.push(Finding::failure(
                "postgresql durability",
                format!("`{name}` is `{value}`: a crash can lose stored events"),
                format!("set `{name} = on` in postgresql.conf"),
            ));
        }
    }
    Ok(findings)
}

async fn clocks(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Finding, StoreError> {
    let theirs: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(connection)
        .await
        .map_err(StoreError::during("doctor.clocks"))?;
    let skew = (theirs - now).abs().to_std().unwrap_or_default();
    Ok(if skew > CLOCK_SKEW_MAX {
        Finding::warning(
            "clock",
            format!("this machine and the database's differ by {} s", skew.as_secs()),
            "switch on time synchronisation on both",
        )
    } else {
        Finding::good("clock", "this machine and the database's agree")
    })
}

async fn timezone(connection: &mut PgConnection, config: &Config) -> Result<Finding, StoreError> {
    let zone = &config.site.timezone;
    let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_timezone_names WHERE name = $1)")
        .bind(zone)
        .fetch_one(connection)
        .await
        .map_err(StoreError::during("doctor.timezone"))?;
    Ok(if known {
        Finding::good("time zone", format!("days are those of {zone}"))
    } else {
        Finding::failure(
            "time zone",
            format!("PostgreSQL does not know {zone}"),
            "install the server's time zone data, or set site.timezone to another name",
        )
    })
}

async fn ledger(connection: &mut PgConnection, queue: Option<&Queue>) -> Vec<Finding> {
    let subject = "ledger";
    let audit = match audit(connection, queue).await {
        Ok(audit) => audit,
        Err(error) => {
            return vec![Finding::failure(
                subject,
                chain(&error),
                "see the findings about queue and store",
            )];
        }
    };
    let total = audit.total;
    let sums = format!(
        "{} received = {} stored + {} duplicate + {} rejected + {} queued",
        total.received, total.stored, total.duplicate, total.rejected, total.queued
    );
    let mut findings = Vec::new();
    if audit.difference == 0 && audit.entries_missing == 0 {
        findings.push(Finding::good(subject, sums));
    } else {
        findings.push(Finding::failure(
            subject,
            format!(
                "{sums} is off by {}; {} queue entries are missing",
                audit.difference, audit.entries_missing
            ),
            "something outside the service changed the queue or the ledger's tables: see who else has access",
        ));
    }
    for lost in audit.lost_queues {
        findings.push(Finding::failure(
            subject,
            format!(
                "the queue {} is not read any more, and {} of its events were not stored (last seen {})",
                lost.epoch,
                lost.received_seen - lost.settled,
                lost.seen_at.format("%Y-%m-%d %H:%M:%S UTC")
            ),
            "if ingest.queue was changed to direct, start once with redis to drain it; if Redis came back empty, \
             find out why, and start it on its old data directory if that still exists",
        ));
    }
    findings
}

async fn keys(connection: &mut PgConnection) -> Result<Finding, StoreError> {
    let (write, open): (i64, i64) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE origins = '{}') FROM api_keys
         WHERE kind = 'write' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())",
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::during("doctor.keys"))?;
    Ok(match (write, open) {
        (0, _) => Finding::warning(
            "keys",
            "there is no write key: no page can send events",
            "make one with `customer-journey keys create --kind write --name shop --origin https://…`",
        ),
        (_, 0) => Finding::good("keys", format!("{write} write keys, each bound to its origins")),
        _ => Finding::warning(
            "keys",
            format!("{open} of {write} write keys may be used from any origin"),
            "rotate them to keys with --origin, unless servers use them",
        ),
    })
}

async fn examine_jobs(config: &Config, clock: &Clock) -> Option<Finding> {
    let subject = "jobs";
    let pool = PgPool::connect(&config.database.url).await.ok()?;
    let runs = last_runs(&pool).await.ok()?;
    pool.close().await;
    let failed: Vec<String> = runs
        .iter()
        .filter(|run| run.outcome.is_some_and(|outcome| outcome.name() != "succeeded"))
        .map(|run| format!("{}: {}", run.job, run.detail.as_deref().unwrap_or("no detail")))
        .collect();
    if !failed.is_empty() {
        return Some(Finding::failure(
            subject,
            failed.join("; "),
            "see the log of the service",
        ));
    }
    let newest = runs.iter().map(|run| run.started_at).max();
    Some(match newest {
        None if config.jobs.enabled => Finding::warning(
            subject,
            "none has ever run",
            "start the service; the first job runs within a minute",
        ),
        Some(at) if config.jobs.enabled && clock.now() - at > chrono::TimeDelta::minutes(30) => {
            Finding::warning(
                subject,
                format!("none has run since {}", at.format("%Y-%m-%d %H:%M UTC")),
                "see whether the service runs and leads: the metric customer_journey_jobs_leader",
            )
        }
        _ => Finding::good(
            subject,
            format!("{} jobs, the last run of each succeeded", runs.len()),
        ),
    })
}

async fn examine_service(config: &Config) -> Finding {
    let subject = "service";
    let address = config
        .server
        .listen
        .replace("0.0.0.0", "127.0.0.1")
        .replace("[::]", "[::1]");
    let url = format!("http://{address}/ready");
    let answer = async {
        let client = web::client().timeout(Duration::from_secs(5)).build()?;
        client.get(&url).send().await
    };
    match answer.await {
        Ok(answer) if answer.status().is_success() => Finding::good(subject, format!("ready on {address}")),
        Ok(answer) => Finding::failure(
            subject,
            format!("answers {} on {url}", answer.status()),
            format!("see what is not ready: curl {url}"),
        ),
        Err(_) => Finding::warning(
            subject,
            format!("does not answer on {address}"),
            "start it, unless it is stopped on purpose",
        ),
    }
}
