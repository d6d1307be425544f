//! `customer-journey rebuild`: derive again what follows from the events.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use customer_journey::{
    config::Config,
    ingest::rebuild::{Mode, Rebuilt, rebuild},
    ops::Clock,
    service, store,
};

#[derive(Debug, Args)]
pub struct RebuildArguments {
    #[command(subcommand)]
    command: RebuildCommand,
}

#[derive(Debug, Subcommand)]
enum RebuildCommand {
    /// Derive sessions and lives of all devices again; writers may run meanwhile
    Sessions {
        /// Change nothing, and end with 1 if any row differs from what the events say
        #[arg(long)]
        check: bool,
    },
}

/// Runs the command against the database of the configuration.
///
/// # Errors
/// When the database cannot be reached or fails.
pub async fn run(arguments: RebuildArguments, config: &Config, clock: &Clock) -> Result<ExitCode> {
    let RebuildCommand::Sessions { check } = arguments.command;
    let pool = store::connect(&config.database).context("database.url cannot be read")?;
    let devices: i64 = sqlx::query_scalar("SELECT count(*) FROM devices")
        .fetch_one(&pool)
        .await
        .context("the database cannot be read: is it running, migrated, and is database.url right?")?;
    let bar = ProgressBar::new(devices.unsigned_abs()).with_style(
        ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} devices, {eta} left; {msg}")
            .expect("the template is a constant"),
    );
    bar.enable_steady_tick(Duration::from_millis(500));
    let mode = if check { Mode::Check } else { Mode::Repair };
    let rules = service::rules(config);
    let rebuilt = rebuild(
        &pool,
        &rules,
        || clock.now(),
        mode,
        |so_far| {
            bar.set_position(so_far.devices);
            bar.set_message(format!("{} differed", so_far.devices_different));
        },
    )
    .await?;
    bar.finish_and_clear();
    print(&mut io::stdout(), &rebuilt, mode)?;
    let failed = check && !rebuilt.is_clean();
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print(output: &mut impl Write, rebuilt: &Rebuilt, mode: Mode) -> io::Result<()> {
    if rebuilt.is_clean() {
        return writeln!(
            output,
            "{} devices: every session and life is what the events say.",
            rebuilt.devices
        );
    }
    let done = match mode {
        Mode::Check => "nothing was changed",
        Mode::Repair => "now they are what the events say",
    };
    writeln!(
        output,
        "{} of {} devices differed ({} sessions and {} lives to write, {} sessions to remove); {done}.",
        rebuilt.devices_different,
        rebuilt.devices,
        rebuilt.sessions_written,
        rebuilt.lives_written,
        rebuilt.sessions_deleted
    )
}
