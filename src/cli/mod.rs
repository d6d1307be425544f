//! Commands: a file each, which loads the configuration, calls the library and prints.
//!
//! A new command is a module with `Arguments` and `run`, a variant of [`Command`] and a line in
//! [`Command::run`].

mod backup;
mod backups;
mod bench;
mod config;
mod demo;
mod doctor;
mod export;
mod import;
mod keys;
mod migrate;
mod openapi;
mod person;
mod queue;
mod rebuild;
mod restore;
mod serve;
mod shell;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use customer_journey::{
    config::{FILE_VARIABLE, load},
    ops::{Clock, lifecycle::block_on},
};

/// Shows how people move through a web site, where they leave, and why.
#[derive(Parser)]
#[command(name = "customer-journey", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Configuration file (TOML) [default: /etc/customer-journey/config.toml if it exists]
    #[arg(long, global = true, value_name = "FILE", env = FILE_VARIABLE)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write everything into a backup set, and remove old sets
    Backup(backup::Arguments),
    /// List and verify backup sets
    Backups(backups::Arguments),
    /// Print what a shell needs to complete commands
    Completions(shell::CompletionsArguments),
    /// Check, show or explain the configuration
    Config(config::Arguments),
    /// Run a demo with data, PostgreSQL and Redis of its own
    Demo(demo::Arguments),
    /// Write events, sessions or customers to a file
    Export(export::Arguments),
    /// Read event logs of other systems, or exports of this one
    Import(import::Arguments),
    /// Write a manual page for each command
    Manual(shell::ManualArguments),
    /// Create, list, rotate and revoke API keys
    Keys(keys::KeysArguments),
    /// Print the description of the API, as the service serves it at /openapi.json
    Openapi,
    /// Export or erase a person, undo a merge
    Person(person::PersonArguments),
    /// Derive sessions again from their events
    Rebuild(rebuild::RebuildArguments),
    /// Put a backup set in the place of what the database holds
    Restore(restore::Arguments),
    /// Run the service
    Serve,
    /// Measure ingest on this machine, in a database of its own
    Bench(bench::Arguments),
    /// Bring the database into the form this release works with
    Migrate,
    /// Look at everything the service depends on, and say what to do
    Doctor(doctor::Arguments),
    /// See and mend the queue's dead letters
    Queue(queue::Arguments),
}

impl Command {
    fn run(self, config_path: Option<PathBuf>) -> anyhow::Result<ExitCode> {
        match self {
            Self::Backup(arguments) => backup::run(arguments, load(config_path.as_deref())?),
            Self::Backups(arguments) => backups::run(arguments, config_path.as_deref()),
            Self::Completions(arguments) => shell::complete(&arguments),
            Self::Manual(arguments) => shell::write_manual(&arguments),
            Self::Restore(arguments) => restore::run(arguments, load(config_path.as_deref())?),
            Self::Config(arguments) => config::run(arguments, config_path),
            Self::Demo(arguments) => demo::run(arguments),
            Self::Export(arguments) => {
                let config = load(config_path.as_deref())?;
                block_on(export::run(arguments, &config))
            }
            Self::Import(arguments) => {
                let config = load(config_path.as_deref())?;
                block_on(import::run(arguments, &config, Clock::system()))
            }
            Self::Keys(arguments) => {
                let config = load(config_path.as_deref())?;
                block_on(keys::run(arguments, &config, &Clock::system()))?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Openapi => openapi::run(),
            Self::Person(arguments) => {
                let config = load(config_path.as_deref())?;
                block_on(person::run(arguments, &config, &Clock::system()))?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Rebuild(arguments) => {
                let config = load(config_path.as_deref())?;
                block_on(rebuild::run(arguments, &config, &Clock::system()))
            }
            Self::Serve => serve::run(load(config_path.as_deref())?),
            Self::Bench(arguments) => bench::run(&arguments, load(config_path.as_deref())?),
            Self::Migrate => migrate::run(&load(config_path.as_deref())?),
            Self::Doctor(arguments) => doctor::run(&arguments, &load(config_path.as_deref())?),
            Self::Queue(arguments) => queue::run(arguments, &load(config_path.as_deref())?),
        }
    }
}

/// Runs the command of this process's arguments.
///
/// Ends with 0 when it did its work, 1 when it failed, 2 when it was called wrongly (by clap).
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli
        .command
        .run(cli.config.filter(|path| !path.as_os_str().is_empty()))
    {
        Ok(code) => code,
        // The reader, `head` for one, has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Ends a command that runs unattended: says what it did, or logs at `error` what went wrong and fails.
fn conclude(result: anyhow::Result<String>) -> anyhow::Result<ExitCode> {
    match result {
        Ok(done) => {
            writeln!(io::stdout(), "{done}.")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let text = sentence(&error);
            tracing::error!("{}", text.strip_prefix("error: ").unwrap_or(&text));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Writes an error and its causes as one sentence, leaving out a cause that the text before it already tells.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::from("error");
    let mut told = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let cause = cause.to_string();
        if told.contains(cause.trim()) {
            continue;
        }
        text += if depth == 0 { ": " } else { ": caused by " };
        text += cause.trim();
        told = cause;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn an_error_is_one_sentence_that_tells_each_cause_once() {
        let cause = Err::<(), _>(io::Error::other("no route to host"));
        let error = cause
            .context("no route to host")
            .context("Redis cannot be reached")
            .unwrap_err();
        assert_eq!(
            sentence(&error),
            "error: Redis cannot be reached: caused by no route to host"
        );
    }
}
