//! Writing a set.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    archive,
    check::check,
    database,
    manifest::{DatabaseCounts, FORMAT, FileEntry, MANIFEST, Manifest, QueueState},
    queue,
    set::{Draft, Set, prune},
};
use crate::{
    config::Config,
    ingest::{
        ledger::balance,
        queue::{Queue, QueueCounts, QueueError},
    },
    store::{dump, situation},
};

/// Where the salt lies in a set.
pub(super) const SALT: &str = "secrets/api-key-salt";

/// Where the tombstones lie in a set, as `person tombstones` prints them.
pub(super) const TOMBSTONES: &str = "tombstones.ndjson";

/// Where the settings lie in a set.
const SETTINGS: &str = "settings.toml";

/// A set that was written.
#[derive(Clone, Debug)]
pub struct Made {
    pub set: Set,
    /// Names of the old sets that were removed.
    pub removed: Vec<String>,
}

/// Writes a set into `directory`, then removes sets older than `backup.retention_days`.
///
/// # Errors
/// When any part of it cannot be read or written. All older sets are there then, and no new one is.
pub async fn create(
    config: &Config,
    directory: &Path,
    connection: &mut PgConnection,
    queue: Option<&Queue>,
    now: DateTime<Utc>,
) -> anyhow::Result<Made> {
    let draft = Draft::begin(directory, now)?;
    let mut files = Vec::new();
    // First of all, see the module's documentation.
    let waiting = match queue {
        Some(queue) => {
            let dumped = queue::dump(queue, &draft).await;
            let (file, state, counts) = dumped.map_err(explain)?;
            files.push(file);
            Some((state, counts))
        }
        None => None,
    };
    let manifest = dump_database(connection, &draft, files, waiting, now).await?;
    let manifest = add_rest(config, &draft, manifest)?;
    let mut text = serde_json::to_string_pretty(&manifest)?;
    text.push('\n');
    draft.write(MANIFEST, &text)?;
    draft.flush().context("the set cannot be flushed to disk")?;

    let written = Set::open(draft.folder())?;
    let wrong = check(&written)?;
    if !wrong.is_empty() || written.manifest != manifest {
        bail!("what was written does not read back: {}", wrong.join("; "));
    }
    let path: PathBuf = draft.publish()?;
    let removed = prune(directory, &path, config.backup.retention_days, now)?;
    Ok(Made {
        set: Set { path, manifest },
        removed,
    })
}

/// Says what an unreachable queue means; what cannot be written speaks for itself.
fn explain(error: anyhow::Error) -> anyhow::Error {
    if !error.is::<QueueError>() {
        return error;
    }
    error.context(
        "the queue cannot be read, and a backup without it would lack acknowledged events: is Redis running?",
    )
}

/// Writes all tables as they are at one moment, and the tombstones of the same moment.
async fn dump_database(
    connection: &mut PgConnection,
    draft: &Draft,
    mut files: Vec<FileEntry>,
    waiting: Option<(QueueState, QueueCounts)>,
    now: DateTime<Utc>,
) -> anyhow::Result<Manifest> {
    let tables = dump::list_copied(connection).await?;
    let migration = dump::migration_of(connection)
        .await?
        .context("the database is empty: there is nothing to back up")?;
    let storage = situation::detect(connection).await?;
    let mut reading = dump::begin_reading(connection).await?;
    let connection = &mut *reading;
    dump::lock_tables(connection, &tables).await?;
    let mut counts = DatabaseCounts::default();
    for table in &tables {
        let file = database::dump_table(connection, table, draft).await?;
        let rows = file.rows.unwrap_or(0);
        match table.name.as_str() {
            "events" => counts.events = rows,
            "sessions" => counts.sessions = rows,
            "customers" => counts.customers = rows,
            _ => {}
        }
        files.push(file);
    }
    let queue = match waiting {
        Some((mut state, counts)) => {
            if let Some(epoch) = counts.epoch {
                state.ledger_difference = balance(connection, epoch, &counts).await?.difference();
            }
            Some(state)
        }
        None => None,
    };
    let mut stones = String::new();
    for stone in dump::tombstones(connection).await? {
        stones += &serde_json::to_string(&stone)?;
        stones.push('\n');
    }
    files.push(draft.write(TOMBSTONES, &stones)?);
    let sequences = dump::sequences(connection).await?;
    reading.rollback().await?;
    Ok(Manifest {
        format: FORMAT,
        release: env!("CARGO_PKG_VERSION").into(),
        created_at: now,
        migration,
        storage: storage.as_str().into(),
        database: counts,
        queue,
        sequences,
        files,
    })
}

/// Writes what is not in a database.
fn add_rest(config: &Config, draft: &Draft, mut manifest: Manifest) -> anyhow::Result<Manifest> {
    let files = &mut manifest.files;
    files.push(draft.write(SETTINGS, &config.to_toml())?);
    files.push(draft.write(SALT, &format!("{}\n", config.secrets.api_key_salt))?);
    for path in &config.backup.include {
        let file = archive::pack(path, draft, files)?;
        files.push(file);
    }
    Ok(manifest)
}
