//! `bench`: what this machine makes of the service, as ratios against named baselines of the same run.
//!
//! Everything happens in a database of its own, which is dropped at the end, and under a Redis prefix of its
//! own. The events are those of `demo::dataset`'s endless stream: about 800 bytes of JSON each, ten to a
//! request, of many devices in turn.

mod client;
mod ingest;
mod rows;
mod visitors;

use std::{str::FromStr, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

use crate::config::Config;

/// What to measure, and for how long.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Rows of the comparison with a bare `COPY`.
    pub rows: usize,
    /// Time of the sustained load.
    pub duration: Duration,
    /// Connections of the sustained load.
    pub connections: usize,
    /// Requests a second of the latency measurement.
    pub rate: u32,
    /// Devices that take turns in the latency measurement and the sustained load.
    pub devices: usize,
}

/// Rows a second of the three ways into the table, on the same rows.
#[derive(Clone, Debug, Serialize)]
pub struct RowFigures {
    pub rows: usize,
    /// A bare `COPY` of the rows into the same table, with its indexes, committed every 5000 rows.
    pub copy_rows_per_second: f64,
    /// The settling transaction: the rows, their ids, sessions, customers and the ledger.
    pub settle_rows_per_second: f64,
    /// The second as a share of the first.
    pub settle_to_copy: f64,
}

/// Sustained ingest from HTTP request to committed row.
#[derive(Clone, Debug, Serialize)]
pub struct SustainedFigures {
    pub seconds: f64,
    pub events_stored: u64,
    /// Events stored a second, the time to drain the queue included.
    pub events_per_second: f64,
    /// Against the bare `COPY` of the same run.
    pub to_copy: f64,
    pub requests_turned_away: u64,
    /// The ledger's difference afterwards; anything but 0 is a defect.
    pub ledger_difference: i64,
}

/// Times to answer at a fixed rate, in milliseconds, from when the request was due.
#[derive(Clone, Debug, Serialize)]
pub struct LatencyFigures {
    pub requests_per_second: u32,
    pub events_per_request: usize,
    pub requests: usize,
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// All figures of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub storage: &'static str,
    pub rows: RowFigures,
    pub sustained: SustainedFigures,
    pub latency: LatencyFigures,
    /// Resident memory of this process at the end, in bytes; it holds service and load generator.
    pub resident_bytes: u64,
}

/// Measures; `say` is told what is going on.
///
/// # Errors
/// When PostgreSQL or Redis of the configuration cannot be used.
pub async fn run(mut config: Config, options: &BenchOptions, say: impl Fn(&str)) -> anyhow::Result<Report> {
    let scratch = Scratch::create(&config.database.url).await?;
    config.database.url.clone_from(&scratch.url);
    config.redis.key_prefix = format!("customer-journey-bench-{}", Uuid::now_v7().simple());
    config.server.listen = "127.0.0.1:0".into();
    config.jobs.enabled = false;
    let result = measure(config, options, say).await;
    scratch.drop_database().await?;
    result
}

async fn measure(config: Config, options: &BenchOptions, say: impl Fn(&str)) -> anyhow::Result<Report> {
    say("rows: bare COPY against the settling transaction");
    let (storage, rows) = rows::measure(&config, options).await?;
    say("latency at a fixed rate");
    let latency = ingest::latency(config.clone(), options).await?;
    say("sustained ingest");
    let sustained = ingest::sustained(config, options, rows.copy_rows_per_second).await?;
    Ok(Report {
        storage,
        rows,
        sustained,
        latency,
        resident_bytes: resident_bytes(),
    })
}

/// A database that lives as long as the measurement.
struct Scratch {
    url: String,
    name: String,
    server: PgConnectOptions,
}

impl Scratch {
    async fn create(url: &str) -> anyhow::Result<Self> {
        let server = PgConnectOptions::from_str(url).context("database.url cannot be read")?;
        let name = format!("customer_journey_bench_{}", Uuid::now_v7().simple());
        let mut connection = PgConnection::connect_with(&server)
            .await
            .context("the database cannot be reached: is it running, and is database.url right?")?;
        // The name is made of constants and hexadecimal digits.
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut connection)
            .await
            .context("the role may not create the scratch database")?;
        let mut parsed = url::Url::parse(url).context("database.url must be a URL here")?;
        parsed.set_path(&name);
        Ok(Self {
            url: parsed.to_string(),
            name,
            server,
        })
    }

    async fn drop_database(self) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect_with(&self.server).await?;
        sqlx::query(AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.name)))
            .execute(&mut connection)
            .await?;
        Ok(())
    }
}

/// Resident memory of this process (`VmRSS`), 0 where the system does not tell.
fn resident_bytes() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(0, |kibibytes| kibibytes * 1024)
}
