//! `customer-journey completions` and `manual`: what packages put beside the program.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use super::Cli;

#[derive(Args)]
pub struct CompletionsArguments {
    #[arg(value_enum)]
    shell: KnownShell,
}

#[derive(Clone, Copy, ValueEnum)]
enum KnownShell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Args)]
pub struct ManualArguments {
    /// Folder for the pages; made if need be
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Prints the completions of one shell.
pub fn complete(arguments: &CompletionsArguments) -> anyhow::Result<ExitCode> {
    let shell = match arguments.shell {
        KnownShell::Bash => Shell::Bash,
        KnownShell::Zsh => Shell::Zsh,
        KnownShell::Fish => Shell::Fish,
    };
    // Into memory first: the generator panics when the reader goes away.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "customer-journey", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for the program and each of its commands.
pub fn write_manual(arguments: &ManualArguments) -> anyhow::Result<ExitCode> {
    let shown = arguments.directory.display();
    fs::create_dir_all(&arguments.directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &arguments.directory))
        .with_context(|| format!("the manual cannot be written to {shown}"))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("man1");
        write_manual(&ManualArguments {
            directory: directory.clone(),
        })
        .unwrap();
        for command in Cli::command().get_subcommands() {
            let page = directory.join(format!("customer-journey-{}.1", command.get_name()));
            let text = fs::read_to_string(&page).unwrap();
            assert!(text.contains(".SH NAME"), "{}", page.display());
        }
        assert!(directory.join("customer-journey.1").exists());
    }

    #[test]
    fn completions_know_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "customer-journey", &mut script);
            let script = String::from_utf8(script).unwrap();
            for name in ["backup", "restore", "serve"] {
                assert!(script.contains(name), "{shell}: {name}");
            }
        }
    }
}
