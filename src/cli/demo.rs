//! `customer-journey demo`: the service with servers and data of its own, until a signal.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use customer_journey::{
    config::{LogFormat, Telemetry},
    demo::{self, DemoOptions},
    ops::{Clock, lifecycle, metrics, telemetry},
};

#[derive(Args)]
pub struct Arguments {
    /// Folder that everything is kept in
    #[arg(long, value_name = "FOLDER")]
    state_dir: PathBuf,
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8030)]
    port: u16,
    /// People of the data set, at the first start [default: 4000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    people: Option<u32>,
    /// Days of the data set, at the first start [default: 90]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=730))]
    days: Option<u32>,
    /// Another number makes other data, at the first start [default: 2026]
    #[arg(long)]
    seed: Option<u64>,
    /// Delete everything of an earlier start first
    #[arg(long)]
    reset: bool,
    /// Store events of crawlers and driven browsers, too, for tests of the shop
    #[arg(long)]
    allow_bots: bool,
    /// Show what the service logs
    #[arg(long)]
    verbose: bool,
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // A start of a large data set has slow statements, which sqlx warns of.
    let filter = if arguments.verbose {
        "info"
    } else {
        "warn,sqlx=error"
    };
    telemetry::install(&Telemetry {
        log_format: LogFormat::Text,
        log_filter: filter.into(),
    })?;
    let handle = metrics::install()?;
    let options = DemoOptions {
        state_dir: arguments.state_dir,
        port: arguments.port,
        people: arguments.people,
        days: arguments.days,
        seed: arguments.seed,
        reset: arguments.reset,
        allow_bots: arguments.allow_bots,
    };
    lifecycle::block_on(async {
        let stop = lifecycle::stop_on_signal()?;
        demo::run(options, Clock::system(), Some(handle), stop).await?;
        Ok(ExitCode::SUCCESS)
    })
}
