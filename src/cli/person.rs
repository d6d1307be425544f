//! `customer-journey person`: people's rights from the command line.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use customer_journey::{
    config::Config,
    ops::Clock,
    rights::{Erasure, Removed, Rights, RightsError},
    service::{self, Options},
    store::{self, erasure::Tombstone, situation},
};

/// Who acted, in the audit log.
const ACTOR: &str = "cli";

/// People's rights: export, erase, unmerge.
#[derive(Debug, Args)]
pub struct PersonArguments {
    #[command(subcommand)]
    command: PersonCommand,
}

#[derive(Debug, Subcommand)]
enum PersonCommand {
    /// Print everything about a person as one JSON document
    Export {
        /// Customer id, user id (an e-mail address is hashed first) or device id
        reference: String,
    },
    /// Erase a person everywhere, after showing what would go
    Erase {
        /// Customer id, user id (an e-mail address is hashed first) or device id
        reference: String,
        /// Only show what would go
        #[arg(long)]
        preview: bool,
        /// Do not ask
        #[arg(long, conflicts_with = "preview")]
        yes: bool,
    },
    /// Undo a merge: the device is not the user's
    Unmerge {
        /// Customer id or user id
        reference: String,
        /// The device to take away
        #[arg(long, value_name = "DEVICE")]
        device: String,
        /// Why, for the merge log
        #[arg(long)]
        reason: String,
    },
    /// Print the tombstones of all erasures: keep them beside a backup
    Tombstones,
    /// After the restore of a backup: erase again whom it brought back
    ReplayTombstones {
        /// Tombstones kept beside the backup, as `person tombstones` printed them
        #[arg(long, value_name = "FILE")]
        tombstones: Option<PathBuf>,
    },
}

/// Runs the command against database and queue of the configuration.
///
/// # Errors
/// When one of them cannot be reached, or the person is not known.
pub async fn run(arguments: PersonArguments, config: &Config, clock: &Clock) -> Result<()> {
    let rights = open(config, clock).await?;
    let output = &mut io::stdout();
    match arguments.command {
        PersonCommand::Export { reference } => export(&rights, &reference, output).await,
        PersonCommand::Erase {
            reference,
            preview,
            yes,
        } => {
            if !yes {
                let erasure = rights.preview(&reference).await.map_err(explain)?;
                print_erasure(output, &erasure)?;
                if preview || !confirmed(output)? {
                    return Ok(());
                }
            }
            let erasure = rights.erase(&reference, ACTOR).await.map_err(explain)?;
            print_erasure(output, &erasure)
        }
        PersonCommand::Unmerge {
            reference,
            device,
            reason,
        } => {
            let unmerged = rights
                .unmerge(&reference, &device, &reason, ACTOR)
                .await
                .map_err(explain)?;
            let now: Vec<String> = unmerged.customers.iter().map(ToString::to_string).collect();
            writeln!(
                output,
                "The device is no longer of customer {}.",
                unmerged.customer_id
            )?;
            writeln!(output, "It is now of: {}", now.join(", "))?;
            Ok(())
        }
        PersonCommand::Tombstones => {
            for stone in rights.tombstones_kept().await? {
                writeln!(output, "{}", serde_json::to_string(&stone)?)?;
            }
            Ok(())
        }
        PersonCommand::ReplayTombstones { tombstones } => {
            let more = tombstones
                .map(|file| read_tombstones(&file))
                .transpose()?
                .unwrap_or_default();
            let replay = rights.replay_tombstones(&more, ACTOR).await?;
            writeln!(
                output,
                "{} tombstones, {} of them had data to erase again:",
                replay.tombstones, replay.subjects
            )?;
            print_rows(output, &replay.rows)
        }
    }
}

async fn open(config: &Config, clock: &Clock) -> Result<Rights> {
    let pool = store::connect(&config.database).context("database.url cannot be read")?;
    let mut connection = pool
        .acquire()
        .await
        .context("the database cannot be reached: is it running, and is database.url right?")?;
    let situation = situation::detect(&mut connection).await?;
    drop(connection);
    let settler = service::settler(config, pool, situation, &Options::new(clock.clone()));
    let queue = service::open_queue(config).await?;
    Ok(service::rights(config, &settler, queue))
}

async fn export(rights: &Rights, reference: &str, output: &mut impl Write) -> Result<()> {
    let mut chunks = rights.export(reference).await.map_err(explain)?;
    while let Some(chunk) = chunks.recv().await {
        output.write_all(&chunk?)?;
    }
    output.flush()?;
    Ok(())
}

/// Adds to an error what to do about it.
fn explain(error: RightsError) -> anyhow::Error {
    if let RightsError::Ambiguous(people) = &error {
        let people: Vec<String> = people.iter().map(ToString::to_string).collect();
        let people = people.join(", ");
        return anyhow::Error::from(error).context(format!("several people used the device: {people}"));
    }
    error.into()
}

fn read_tombstones(file: &std::path::Path) -> Result<Vec<Tombstone>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} has a line that is no tombstone", file.display()))
}

fn confirmed(output: &mut impl Write) -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("nobody is there to confirm this: add --yes to erase, or --preview to look only");
    }
    write!(output, "\nErase all of this for good? Type yes: ")?;
    output.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

fn print_erasure(output: &mut impl Write, erasure: &Erasure) -> Result<()> {
    match erasure.erasure_id {
        None => writeln!(output, "Of customer {} would go:", erasure.customer_id)?,
        Some(id) => writeln!(output, "Erased, as {id} in the audit log:")?,
    }
    print_rows(output, &erasure.rows)?;
    let queue = &erasure.queue;
    for (count, what) in [
        (erasure.rollup_hours, "hours of the roll-up, computed again"),
        (
            queue.waiting,
            "events in the queue, refused when their turn comes",
        ),
        (queue.dead_letters, "events in dead letters"),
        (
            queue.dead_letters_unreadable,
            "dead letters that nobody can read stay: discard them",
        ),
        (erasure.tombstones, "tombstones stay, to refuse what comes back"),
    ] {
        writeln!(output, "{count:>10}  {what}")?;
    }
    Ok(())
}

fn print_rows(output: &mut impl Write, rows: &Removed) -> Result<()> {
    for (count, table) in [
        (rows.events, "events"),
        (rows.event_keys, "event_keys"),
        (rows.sessions, "sessions"),
        (rows.attribute_facts, "attribute_facts"),
        (rows.identity_log, "identity_log"),
        (rows.device_lives, "device_lives"),
        (rows.devices, "devices"),
        (rows.customers, "customers"),
        (rows.customer_scores, "customer_scores"),
    ] {
        writeln!(output, "{count:>10}  {table}")?;
    }
    Ok(())
}
