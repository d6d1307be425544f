//! How long the index takes to be there at a start, from the store and from its snapshot, and the memory it takes.
//!
//!     DATABASE_URL=… cargo bench --bench start -- --events 1000000
//!
//! Works in a scratch database of its own, and measures each start in a process of its own, so that the memory is that
//! of one start. Run as a test it only looks whether both starts give the same.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use chrono::TimeDelta;
use clap::Parser;
use customer_journey::{
    index::{
        Index,
        feed::{Feed, Settings},
    },
    ops::Clock,
    store::MIGRATOR,
};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// As the service has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Longer than the allocator waits before it returns memory to the system.
const SETTLING: Duration = Duration::from_secs(1);

#[derive(Parser)]
struct Arguments {
    /// Events of the site, one measurement for each size
    #[arg(long, value_delimiter = ',', default_value = "1000000")]
    events: Vec<u64>,
    /// Starts of each kind; the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    #[arg(long, env = "DATABASE_URL")]
    url: String,
    /// Opens the index with this file once and says what that took
    #[arg(long, hide = true)]
    open: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long)]
    bench: bool,
}

/// What one start took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Start {
    seconds: f64,
    /// Processor time of this process; the rest is the store's, or waiting.
    cpu_seconds: f64,
    people: usize,
    sessions: usize,
    events: usize,
    /// Of the index, as it counts them itself.
    bytes: usize,
    /// Resident memory that came with it, and the most there was on the way.
    resident_bytes: u64,
    peak_bytes: u64,
    /// Resident memory once the allocator has had time to give back what it does not need.
    settled_bytes: u64,
    /// To write the snapshot, when there was something to write.
    save_seconds: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    if has("--list") {
        // What a runner of tests wants to know; nothing is ignored.
        if !has("--ignored") {
            println!("both_starts_give_the_same: test");
        }
        return Ok(());
    }
    if !has("--bench") {
        let url = std::env::var("DATABASE_URL").context("DATABASE_URL is needed")?;
        return both_starts_give_the_same(&url).await;
    }
    let arguments = Arguments::parse();
    if let Some(file) = &arguments.open {
        println!("{}", serde_json::to_string(&open(&arguments.url, file).await?)?);
        return Ok(());
    }
    for events in &arguments.events {
        let scratch = Scratch::create(&arguments.url, *events).await?;
        let measured = measure(&scratch.url, arguments.runs.max(1));
        scratch.drop_database().await?;
        measured?;
    }
    Ok(())
}

/// Opens the index, leaves a snapshot, and says what that took.
async fn open(url: &str, file: &Path) -> anyhow::Result<Start> {
    let pool = PgPool::connect(url).await?;
    let settings = Settings {
        bytes_max: 16 << 30,
        poll: Duration::from_secs(1),
        events_days: None,
        file: Some(file.to_owned()),
        save_every: TimeDelta::hours(1),
    };
    let before = memory("VmRSS:");
    let index = Arc::<Index>::default();
    let started = Instant::now();
    let feed = Feed::open(index.clone(), pool, Clock::system(), settings).await?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_seconds = processor_seconds();
    let status = index.status();
    let (resident_bytes, peak_bytes) = (memory("VmRSS:") - before, memory("VmHWM:") - before);
    let started = Instant::now();
    let stop = CancellationToken::new();
    stop.cancel();
    feed.run(Arc::new(Notify::new()), stop).await;
    let save_seconds = started.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLING).await;
    Ok(Start {
        seconds,
        cpu_seconds,
        people: status.size.people,
        sessions: status.size.sessions,
        events: status.size.events,
        bytes: status.bytes,
        resident_bytes,
        peak_bytes,
        settled_bytes: memory("VmRSS:") - before,
        save_seconds,
    })
}

fn measure(url: &str, runs: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("index");
    let mut from_store = Vec::new();
    for _ in 0..runs {
        drop(std::fs::remove_file(&file));
        from_store.push(open_in_process(url, &file)?);
    }
    let file_bytes = std::fs::metadata(&file)?.len();
    let from_file: Vec<Start> = (0..runs)
        .map(|_| open_in_process(url, &file))
        .collect::<anyhow::Result<_>>()?;
    for (name, mut starts) in [("from the store", from_store), ("from a snapshot", from_file)] {
        starts.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        let start = &starts[starts.len() / 2];
        let each = |bytes: u64| bytes as f64 / start.events as f64;
        println!(
            "{name}: {} events of {} people in {:.2} s, {:.2} s of them own processor time; {:.1} bytes an event, {:.1} \
             resident, {:.1} at most, {:.1} after a while",
            start.events,
            start.people,
            start.seconds,
            start.cpu_seconds,
            each(start.bytes as u64),
            each(start.resident_bytes),
            each(start.peak_bytes),
            each(start.settled_bytes),
        );
        if name == "from the store" {
            println!(
                "snapshot: {file_bytes} bytes written in {:.2} s",
                start.save_seconds
            );
        }
        println!("{}", serde_json::to_string(&starts)?);
    }
    Ok(())
}

fn open_in_process(url: &str, file: &Path) -> anyhow::Result<Start> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--bench", "--url", url, "--open"])
        .arg(file)
        .output()?;
    anyhow::ensure!(
        output.status.success(),
        "a start failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Returns a figure of this process in bytes, 0 where the system does not tell.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// Returns the processor time of all threads so far, 0 where the system does not tell.
fn processor_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let told = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        told.split_whitespace().next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}

/// A filled database that lives as long as the measurement.
struct Scratch {
    url: String,
    name: String,
    server: PgConnection,
}

impl Scratch {
    async fn create(server_url: &str, events: u64) -> anyhow::Result<Self> {
        let mut server = PgConnection::connect(server_url)
            .await
            .context("the database cannot be reached")?;
        let name = format!("customer_journey_start_{}", Uuid::now_v7().simple());
        // The name is made of constants and hexadecimal digits.
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut server)
            .await?;
        let mut url = url::Url::parse(server_url)?;
        url.set_path(&name);
        let scratch = Self {
            url: url.to_string(),
            name,
            server,
        };
        let filled = fill(&scratch.url, events).await;
        if filled.is_err() {
            scratch.drop_database().await?;
            filled?;
            unreachable!("the error was returned");
        }
        Ok(scratch)
    }

    async fn drop_database(mut self) -> anyhow::Result<()> {
        sqlx::query(AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.name)))
            .execute(&mut self.server)
            .await?;
        Ok(())
    }
}

async fn fill(url: &str, events: u64) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    MIGRATOR.run(&mut connection).await?;
    sqlx::query("SELECT set_config('bench.events', $1, false), set_config('bench.until', $2, false)")
        .bind(events.to_string())
        .bind(Clock::system().now().to_rfc3339())
        .execute(&mut connection)
        .await?;
    let started = Instant::now();
    sqlx::raw_sql(include_str!("fill.sql"))
        .execute(&mut connection)
        .await?;
    let bytes: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())")
        .fetch_one(&mut connection)
        .await?;
    println!(
        "filled with {events} events in {:.0} s: {} MB on disk",
        started.elapsed().as_secs_f64(),
        bytes / 1_000_000
    );
    Ok(())
}

async fn both_starts_give_the_same(url: &str) -> anyhow::Result<()> {
    let scratch = Scratch::create(url, 2000).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("index");
    let from_store = open(&scratch.url, &file).await;
    let saved = file.exists();
    let from_file = open(&scratch.url, &file).await;
    scratch.drop_database().await?;
    let (from_store, from_file) = (from_store?, from_file?);
    let size = |start: &Start| (start.people, start.sessions, start.events);
    assert!(saved, "the first start leaves a snapshot");
    assert_eq!(size(&from_store), (83, 200, 2000));
    assert_eq!(size(&from_file), size(&from_store));
    println!("both starts give the same: ok");
    Ok(())
}
