//! `customer-journey backups`: what sets there are, and whether one is whole.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use customer_journey::{
    backup::{find, list, run_verification},
    config::load,
    ops::{Clock, lifecycle::block_on, telemetry},
};
use serde_json::json;

use super::conclude;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the sets, oldest first
    List {
        /// Folder that holds the sets [default: backup.directory]
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
        /// Print a JSON list
        #[arg(long)]
        json: bool,
    },
    /// Read every byte of a set and compare it with its manifest
    Verify {
        /// Name or path of the set [default: the newest]
        set: Option<String>,
        /// Folder that holds the sets [default: backup.directory]
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
        /// Restore it into a database of its own on the same server, count its rows, and drop it (needs CREATEDB)
        #[arg(long)]
        restore: bool,
    },
}

pub fn run(arguments: Arguments, config_path: Option<&Path>) -> anyhow::Result<ExitCode> {
    let config = load(config_path)?;
    let chosen = |directory: Option<PathBuf>| directory.unwrap_or_else(|| (&config.backup.directory).into());
    match arguments.action {
        Action::List { directory, json } => print(&chosen(directory), json),
        Action::Verify {
            set,
            directory,
            restore,
        } => {
            telemetry::install(&config.telemetry)?;
            let set = find(&chosen(directory), set.as_deref());
            conclude(set.and_then(|set| block_on(run_verification(config, set, restore, Clock::system()))))
        }
    }
}

/// A set that cannot be used is listed, too, with the reason.
fn print(directory: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let sets = list(directory)?;
    let mut output = io::stdout().lock();
    if json {
        let sets: Vec<_> = sets
            .iter()
            .map(|(path, set)| match set {
                Ok(set) => json!({ "path": path, "name": set.name(), "bytes": set.manifest.bytes(),
                    "created_at": set.manifest.created_at, "release": set.manifest.release,
                    "migration": set.manifest.migration, "storage": set.manifest.storage,
                    "database": set.manifest.database, "queue": set.manifest.queue }),
                Err(error) => json!({ "path": path, "error": format!("{error:#}") }),
            })
            .collect();
        writeln!(output, "{}", serde_json::to_string_pretty(&sets)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if sets.is_empty() {
        writeln!(output, "There is no backup in {}.", directory.display())?;
    }
    for (path, set) in sets {
        match set {
            Ok(set) => writeln!(
                output,
                "{}  {:>9.1} MB  {:>10} events  {:>9} sessions  {:>9} customers  release {}",
                set.name(),
                set.manifest.bytes() as f64 / 1e6,
                set.manifest.database.events,
                set.manifest.database.sessions,
                set.manifest.database.customers,
                set.manifest.release
            )?,
            Err(error) => writeln!(output, "{}  {error:#}", path.display())?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
