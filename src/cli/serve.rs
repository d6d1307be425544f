//! `customer-journey serve`: run the service until a signal.

use std::{pin::pin, process::ExitCode, time::Duration};

use customer_journey::{
    config::Config,
    ops::{Clock, lifecycle, metrics, telemetry},
    service::{Options, Service},
};
use tokio::time::timeout;

/// How long a stop waits for a start that is under way, so that it can be stopped in order.
const START_PATIENCE: Duration = Duration::from_secs(3);

pub fn run(config: Config) -> anyhow::Result<ExitCode> {
    telemetry::install(&config.telemetry)?;
    let handle = metrics::install()?;
    lifecycle::block_on(async move {
        let stop = lifecycle::stop_on_signal()?;
        let options = Options {
            metrics: Some(handle),
            ..Options::new(Clock::system())
        };
        let mut starting = pin!(Service::start(config, options));
        let service = tokio::select! {
            started = &mut starting => started?,
            // A start that takes longer waits for PostgreSQL, and has taken nothing in that it must keep.
            () = stop.cancelled() => match timeout(START_PATIENCE, starting).await {
                Ok(started) => started?,
                Err(_) => return Ok(ExitCode::SUCCESS),
            },
        };
        service.run_until(stop).await?;
        Ok(ExitCode::SUCCESS)
    })
}
