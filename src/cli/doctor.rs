//! `customer-journey doctor`: what is wrong, and what to do about it.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Args;
use customer_journey::{
    config::Config,
    doctor::{Grade, examine},
    ops::{Clock, lifecycle::block_on},
};

#[derive(Args)]
pub struct Arguments {
    /// Print a JSON list of findings
    #[arg(long)]
    json: bool,
}

/// Ends with 1 when something failed; warnings alone end with 0.
pub fn run(arguments: &Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let findings = block_on(async { Ok(examine(config, &Clock::system()).await) })?;
    let mut output = io::stdout().lock();
    if arguments.json {
        writeln!(output, "{}", serde_json::to_string_pretty(&findings)?)?;
    } else {
        for finding in &findings {
            let mark = match finding.grade {
                Grade::Good => "ok   ",
                Grade::Warning => "warn ",
                Grade::Failure => "FAIL ",
            };
            writeln!(output, "{mark} {}: {}", finding.subject, finding.detail)?;
            if let Some(remedy) = &finding.remedy {
                writeln!(output, "      → {remedy}")?;
            }
        }
    }
    let failed = findings.iter().any(|finding| finding.grade == Grade::Failure);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
