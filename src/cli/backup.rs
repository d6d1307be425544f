//! `customer-journey backup`: write a set.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use customer_journey::{
    backup::run_backup,
    config::Config,
    ops::{Clock, lifecycle::block_on, telemetry},
};

use super::conclude;

#[derive(Args)]
pub struct Arguments {
    /// Folder that holds the sets [default: backup.directory]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Ends with 1, and leaves all older sets as they are, when the set could not be written.
pub fn run(arguments: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    telemetry::install(&config.telemetry)?;
    let directory = arguments
        .directory
        .unwrap_or_else(|| PathBuf::from(&config.backup.directory));
    conclude(block_on(run_backup(config, directory, Clock::system())))
}
