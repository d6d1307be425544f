//! `customer-journey serve`: run the service until a signal.

use std::process::ExitCode;

use customer_journey::{
    config::Config,
    ops::{Clock, lifecycle, metrics, telemetry},
    service::{Options, Service},
};

pub fn run(config: Config) -> anyhow::Result<ExitCode> {
    telemetry::install(&config.telemetry)?;
    let handle = metrics::install()?;
    lifecycle::block_on(async move {
        let stop = lifecycle::stop_on_signal()?;
        let options = Options {
            metrics: Some(handle),
            ..Options::new(Clock::system())
        };
        let Some(starting) = stop.run_until_cancelled(Service::start(config, options)).await else {
            return Ok(ExitCode::SUCCESS);
        };
        let service = starting?;
        service.run_until(stop).await?;
        Ok(ExitCode::SUCCESS)
    })
}
