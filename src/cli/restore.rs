//! `customer-journey restore`: put a set in the place of what the database holds.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use customer_journey::{
    backup::{Order, Restored, Set, find, restore},
    config::Config,
    ops::{Clock, lifecycle::block_on, telemetry},
};

use super::conclude;

#[derive(Args)]
pub struct Arguments {
    /// Name or path of the set
    set: String,
    /// Folder that holds the sets, for a name [default: backup.directory]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Put the set in the place of data that is there, for good; its tombstones stay
    #[arg(long)]
    replace: bool,
    /// Write the set's salt into this file, when another one is in it
    #[arg(long, value_name = "FILE")]
    salt_file: Option<PathBuf>,
}

pub fn run(arguments: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    telemetry::install(&config.telemetry)?;
    let directory = arguments
        .directory
        .unwrap_or_else(|| PathBuf::from(&config.backup.directory));
    let order = Order {
        replace: arguments.replace,
        salt_file: arguments.salt_file,
    };
    let work = async {
        let set = find(&directory, Some(&arguments.set))?;
        let restored = restore(&config, &set, &order, &Clock::system()).await?;
        Ok(tell(&set, &restored, &order))
    };
    conclude(block_on(work))
}

fn tell(set: &Set, restored: &Restored, order: &Order) -> String {
    let counts = &set.manifest.database;
    let mut lines = vec![format!(
        "{} is restored: {} events, {} sessions, {} customers; storage: {}",
        set.path.display(),
        counts.events,
        counts.sessions,
        counts.customers,
        restored.situation.as_str()
    )];
    lines.push(format!(
        "{} queue entries and {} dead letters are back",
        restored.queue.entries, restored.queue.dead_letters
    ));
    if restored.queue.unreadable > 0 {
        lines.push(format!(
            "{} lines of the set's queue have no place without a queue, and stay in the set",
            restored.queue.unreadable
        ));
    }
    lines.push(format!(
        "{} tombstones were replayed and erased {} rows again",
        restored.tombstones, restored.erased_rows
    ));
    match &order.salt_file {
        Some(file) if restored.salt_written => lines.push(format!("{} holds the set's salt now", file.display())),
        None if restored.salt_differs => lines.push(format!(
            "the configuration has another salt than the set: give the service the one in {}/secrets/api-key-salt, or its API keys do not work",
            set.path.display()
        )),
        _ => {}
    }
    lines.join(".\n")
}
