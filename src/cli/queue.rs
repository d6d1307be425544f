//! `customer-journey queue`: see and mend the dead letters.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use customer_journey::{
    config::Config,
    ingest::{
        entry::Entry,
        queue::{DeadLetter, Queue},
    },
    ops::lifecycle::block_on,
};

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print how many entries wait, are under way, or are dead
    Status,
    /// List the dead letters with their reasons
    Dead,
    /// Put all dead letters back on the queue
    Retry,
    /// Drop all dead letters for good; they stay counted as rejected
    Discard {
        /// Do it without asking back
        #[arg(long)]
        yes: bool,
    },
}

/// Dead letters handled at once.
const PIECE: usize = 1000;

pub fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    block_on(async move {
        let queue = Queue::open(&config.redis, config.ingest.queue_entries_max)
            .await
            .context("redis.queue_url cannot be read")?;
        match arguments.action {
            Action::Status => status(&queue).await,
            Action::Dead => list(&queue).await,
            Action::Retry => retry(&queue).await,
            Action::Discard { yes } => discard(&queue, yes).await,
        }
    })
}

async fn status(queue: &Queue) -> anyhow::Result<ExitCode> {
    let counts = queue.counts().await?;
    writeln!(
        io::stdout(),
        "{} entries with {} events wait, {} of them are being stored; {} dead letters",
        counts.entries,
        counts.unacknowledged,
        counts.pending.len(),
        counts.dead_letters
    )?;
    Ok(ExitCode::SUCCESS)
}

async fn list(queue: &Queue) -> anyhow::Result<ExitCode> {
    let mut output = io::stdout().lock();
    for letter in queue.dead_letters(PIECE).await? {
        let content = match Entry::decode(&letter.delivery.version, &letter.delivery.payload) {
            Ok(entry) => format!(
                "{} events received {}",
                entry.received,
                entry.received_at.to_rfc3339()
            ),
            Err(error) => format!("{} events, {error}", letter.delivery.received),
        };
        writeln!(output, "{}  {content}\n      {}", letter.place, letter.reason)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn retry(queue: &Queue) -> anyhow::Result<ExitCode> {
    let letters = each(queue).await?;
    for letter in &letters {
        queue.revive(letter).await?;
    }
    writeln!(
        io::stdout(),
        "{} dead letters are back on the queue.",
        letters.len()
    )?;
    Ok(ExitCode::SUCCESS)
}

async fn discard(queue: &Queue, yes: bool) -> anyhow::Result<ExitCode> {
    let letters = each(queue).await?;
    if !yes {
        writeln!(
            io::stdout(),
            "This drops {} dead letters for good. Say --yes to do it.",
            letters.len()
        )?;
        return Ok(ExitCode::FAILURE);
    }
    for letter in &letters {
        queue.discard(letter).await?;
    }
    writeln!(io::stdout(), "{} dead letters are gone.", letters.len())?;
    Ok(ExitCode::SUCCESS)
}

/// Those that are dead now; what dies meanwhile waits for the next call.
async fn each(queue: &Queue) -> anyhow::Result<Vec<DeadLetter>> {
    let dead = usize::try_from(queue.counts().await?.dead_letters)?;
    Ok(queue.dead_letters(dead.max(1)).await?)
}
