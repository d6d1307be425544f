//! Ingest over HTTP: how long an answer takes, and how many events a second end up stored.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use super::{
    BenchOptions, LatencyFigures, SustainedFigures,
    client::{Connection, request},
    visitors::{EVENTS_PER_REQUEST, Visitors},
};
use crate::{
    config::Config,
    event::Hasher,
    ingest::ledger::{Audit, audit},
    ops::Clock,
    service::{Options, Service},
    store::keys::{KeyKind, NewKey, create_key},
};

/// Connections that share the fixed rate: enough that none waits for an answer of the one before.
const RATE_CONNECTIONS: u32 = 20;

/// The queue drains within this or the run is a failure.
const DRAIN_PATIENCE: Duration = Duration::from_secs(300);

struct Target {
    service: Service,
    key: String,
}

impl Target {
    async fn start(config: Config) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let salt = config.secrets.api_key_salt.clone();
        let service = Service::start(config, Options::new(clock.clone())).await?;
        let new = NewKey::checked(KeyKind::Write, "bench", &[], &[], None)?;
        let mut connection = service.state.pool.acquire().await?;
        let issued = create_key(&mut connection, &Hasher::new(&salt), &new, clock.now()).await?;
        drop(connection);
        Ok(Self {
            key: issued.key,
            service,
        })
    }

    async fn audit(&self) -> anyhow::Result<Audit> {
        let mut connection = self.service.state.pool.acquire().await?;
        let queue = self
            .service
            .state
            .reception
            .as_ref()
            .and_then(|reception| reception.intake.queue());
        Ok(audit(&mut connection, queue.map(std::convert::AsRef::as_ref)).await?)
    }

    /// Waits until nothing is queued any more.
    async fn drained(&self) -> anyhow::Result<Audit> {
        let deadline = Instant::now() + DRAIN_PATIENCE;
        loop {
            let audit = self.audit().await?;
            if audit.total.queued == 0 {
                return Ok(audit);
            }
            anyhow::ensure!(Instant::now() < deadline, "the queue does not drain");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn requests(address: SocketAddr, key: &str, number: u64, devices: usize, count: usize) -> Vec<Vec<u8>> {
    let mut visitors = Visitors::new(Clock::system().now(), number, devices, count);
    (0..count)
        .map(|_| {
            let events = visitors.next_request();
            request(address, key, &json!({ "events": events }).to_string())
        })
        .collect()
}

/// Sends at a fixed rate whatever the answers do, and counts from when each request was due: a slow answer
/// cannot hide those that had to wait behind it.
pub(super) async fn latency(config: Config, options: &BenchOptions) -> anyhow::Result<LatencyFigures> {
    let target = Target::start(config).await?;
    let address = target.service.address;
    let total = (f64::from(options.rate) * options.duration.as_secs_f64()) as usize;
    let each = total / RATE_CONNECTIONS as usize;
    let interval = Duration::from_secs_f64(f64::from(RATE_CONNECTIONS) / f64::from(options.rate));
    let mut load = JoinSet::new();
    let mut work = Vec::new();
    for number in 0..RATE_CONNECTIONS {
        let devices = options.devices / RATE_CONNECTIONS as usize;
        work.push(requests(address, &target.key, u64::from(number), devices, each));
    }
    let start = Instant::now() + Duration::from_millis(500);
    for (number, requests) in work.into_iter().enumerate() {
        let first = start + interval.mul_f64(number as f64 / f64::from(RATE_CONNECTIONS));
        load.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut times = Vec::with_capacity(requests.len());
            for (place, request) in requests.iter().enumerate() {
                let due = first + interval.mul_f64(place as f64);
                tokio::time::sleep_until(due).await;
                let status = connection.send(request).await?;
                anyhow::ensure!(status == 202, "a request was answered {status}");
                times.push(due.elapsed().as_secs_f64() * 1000.0);
            }
            Ok(times)
        });
    }
    let mut times = Vec::with_capacity(total);
    while let Some(done) = load.join_next().await {
        times.extend(done.context("a connection panicked")??);
    }
    target.drained().await?;
    target.service.stop().await?;
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    Ok(LatencyFigures {
        requests_per_second: options.rate,
        events_per_request: EVENTS_PER_REQUEST,
        requests: times.len(),
        p50_ms: at(0.5),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
        max_ms: at(1.0),
    })
}

/// Sends as fast as answers come back, then waits for the queue to drain; both count.
pub(super) async fn sustained(
    config: Config,
    options: &BenchOptions,
    copy_rows_per_second: f64,
) -> anyhow::Result<SustainedFigures> {
    let target = Target::start(config).await?;
    let address = target.service.address;
    let before = target.drained().await?.total.stored;
    // Made beforehand, so that making them takes nothing from the machine while it is measured. More than
    // the machine can take: the load ends with the time.
    let each = (copy_rows_per_second * options.duration.as_secs_f64()) as usize
        / EVENTS_PER_REQUEST
        / options.connections;
    let mut work = Vec::new();
    for number in 0..options.connections {
        let devices = options.devices / options.connections;
        work.push(requests(
            address,
            &target.key,
            1000 + number as u64,
            devices,
            each,
        ));
    }
    let start = Instant::now();
    let end = start + options.duration;
    let mut load: JoinSet<anyhow::Result<u64>> = JoinSet::new();
    for requests in work {
        load.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut turned_away = 0;
            for request in &requests {
                if Instant::now() > end {
                    break;
                }
                match connection.send(request).await? {
                    202 => {}
                    503 => {
                        turned_away += 1;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    status => anyhow::bail!("a request was answered {status}"),
                }
            }
            Ok(turned_away)
        });
    }
    let mut requests_turned_away = 0;
    while let Some(done) = load.join_next().await {
        requests_turned_away += done.context("a connection panicked")??;
    }
    let after = target.drained().await?;
    let seconds = start.elapsed().as_secs_f64();
    target.service.stop().await?;
    let events_stored = u64::try_from(after.total.stored - before)?;
    let events_per_second = events_stored as f64 / seconds;
    Ok(SustainedFigures {
        seconds,
        events_stored,
        events_per_second,
        to_copy: events_per_second / copy_rows_per_second,
        requests_turned_away,
        ledger_difference: after.difference,
    })
}
