//! `customer-journey config`: check, show or explain the configuration.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use customer_journey::config::{ConfigError, Sources, reference};

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Check a file with the code that reads it, or, without FILE, everything the service would read
    Check {
        /// File to check alone: without environment and without its secrets
        file: Option<PathBuf>,
    },
    /// Print each setting in force and the layer it came from; secrets are masked
    Show,
    /// Print the reference of all settings as Markdown
    Reference,
}

pub fn run(arguments: Arguments, config_path: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    match arguments.action {
        Action::Check { file } => check(file.as_deref(), config_path.as_deref()),
        Action::Show => show(config_path.as_deref()),
        Action::Reference => {
            io::stdout().write_all(reference().as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(file: Option<&Path>, config_path: Option<&Path>) -> anyhow::Result<ExitCode> {
    match file {
        Some(file) => {
            Sources::of_file(file).load()?;
            writeln!(
                io::stdout(),
                "{} is in order; its secrets were not looked at.",
                file.display()
            )?;
        }
        None => {
            Sources::of_process(config_path).load()?;
            writeln!(io::stdout(), "The configuration is in order.")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows the settings also when something is wrong, since that is when people look for where one came from.
fn show(config_path: Option<&Path>) -> anyhow::Result<ExitCode> {
    let gathered = Sources::of_process(config_path).gather()?;
    let settings = gathered.settings();
    let width = settings
        .iter()
        .map(|(key, ..)| key.len())
        .max()
        .unwrap_or_default();
    let mut output = io::stdout().lock();
    for (key, value, origin) in &settings {
        writeln!(output, "{key:width$} = {value}  # {origin}")?;
    }
    if gathered.problems.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(ConfigError::Invalid(gathered.problems).into())
    }
}
