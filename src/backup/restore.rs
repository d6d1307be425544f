//! Making a set the present.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::json;
use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, migrate::Migrate as _, postgres::PgConnectOptions,
};

use super::{
    check::check,
    create::{SALT, TOMBSTONES},
    database,
    queue::{self, PutBack},
    set::Set,
};
use crate::{
    config::Config,
    event::Hasher,
    ingest::{queue::Queue, settle::Settler},
    ops::{Clock, jobs::try_lead},
    rights::RightsError,
    service::{self, Options},
    store::{
        self, MIGRATOR,
        dump::{self, Content},
        erasure::{self, Tombstone},
        ledger,
        situation::{self, Situation},
    },
};

/// Who acted, in the audit log.
const ACTOR: &str = "restore";

/// How long a service that was told to stop may take to leave the database.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// What a restore is told.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Whether data that is there may go.
    pub replace: bool,
    /// Where the set's salt is to be written when another one is there.
    pub salt_file: Option<PathBuf>,
}

/// What a restore did.
#[derive(Clone, Debug)]
pub struct Restored {
    pub situation: Situation,
    pub queue: PutBack,
    pub tombstones: u64,
    /// Rows that the tombstones erased again.
    pub erased_rows: u64,
    /// Whether the salt file was written.
    pub salt_written: bool,
    /// Whether the configuration has another salt than the set.
    pub salt_differs: bool,
}

impl Restored {
    fn nothing(situation: Situation) -> Self {
        Self {
            situation,
            queue: PutBack::default(),
            tombstones: 0,
            erased_rows: 0,
            salt_written: false,
            salt_differs: false,
        }
    }
}

/// Checks a set and loads it in place of what the database of the configuration holds.
///
/// The database changes all at once or not at all. What follows (migrations, erasures, queue, salt) can be repeated
/// by restoring again with `replace`.
///
/// # Errors
/// When the set is damaged or of a newer release, the database holds data and `replace` is not said, the service
/// runs, or a server cannot be reached.
pub async fn restore(config: &Config, set: &Set, order: &Order, clock: &Clock) -> anyhow::Result<Restored> {
    set.manifest.must_be_loadable()?;
    let wrong = check(set)?;
    if !wrong.is_empty() {
        bail!(
            "the set is damaged, and nothing was changed: {}",
            wrong.join("; ")
        );
    }
    let salt = set.read_text(SALT)?.trim_end_matches(['\r', '\n']).to_owned();
    let queue = service::open_queue(config).await?;
    if let Some(queue) = &queue {
        queue.counts().await.context(
            "the queue cannot be reached: start Redis, which takes back what the set's queue held",
        )?;
    }
    let mut connection = connect(config).await?;
    must_be_alone(&mut connection).await?;
    let kept = must_be_free(&mut connection, order.replace).await?;
    // A service that starts meanwhile waits for these, the first thing before it migrates.
    connection.lock().await?;
    situation::lock(&mut connection).await?;

    tracing::info!("loading {}", set.path.display());
    database::load(&mut connection, set, &config.retention)
        .await
        .context("nothing was restored, and the database is as it was")?;
    MIGRATOR
        .run_direct(None, &mut connection, false)
        .await
        .context("the set is loaded, but its database cannot be migrated")?;
    let situation = situation::prepare(&mut connection, &config.retention).await?;
    let settled = queue::settled_among(&mut connection, set).await?;
    book(&mut connection, set, clock).await?;
    dump::analyze(&mut connection).await?;

    connection.close().await?;

    tracing::info!(
        "the set is loaded; erasing again whom tombstones name, and giving the queue its entries back"
    );
    let pool = store::connect(&config.database)?;
    let mut settler = service::settler(config, pool, situation, &Options::new(clock.clone()));
    settler.hasher = Hasher::new(&salt);
    let mut restored = Restored::nothing(situation);
    restored.salt_differs = salt != config.secrets.api_key_salt;
    let stones = [kept, tombstones_of(set)?].concat();
    erase_again(config, &settler, queue.clone(), &salt, &stones, &mut restored)
        .await
        .context("the set is loaded, but people who were erased may be in it again: run `person replay-tombstones` before the service starts")?;
    restored.queue = queue::put_back(set, &settled, queue.as_deref(), &settler)
        .await
        .context("the database is restored, but not all of the queue: restore again with --replace")?;
    settler.pool.close().await;
    if let Some(file) = &order.salt_file {
        restored.salt_written =
            write_salt(file, &salt).context("the set is restored, but its salt is not written")?;
    }
    Ok(restored)
}

/// Not under the service's own name, by which others are recognised.
async fn connect(config: &Config) -> anyhow::Result<PgConnection> {
    let options: PgConnectOptions = config
        .database
        .url
        .parse()
        .context("database.url cannot be read")?;
    options
        .application_name("customer-journey-restore")
        .disable_statement_logging()
        .options([("timezone", "UTC"), ("jit", "off")])
        .connect()
        .await
        .context("the database cannot be reached: is it running, and is database.url right?")
}

/// Refuses to work beside the service, and keeps the lead, so that none does scheduled work meanwhile.
async fn must_be_alone(connection: &mut PgConnection) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + LEAVE_PATIENCE;
    loop {
        let others = dump::other_sessions(connection).await?;
        if others == 0 && try_lead(connection).await? {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            bail!(
                "the service is connected to this database: stop it on every machine (systemctl stop customer-journey), then restore again"
            );
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Refuses to overwrite data; returns the tombstones that must outlive it.
async fn must_be_free(connection: &mut PgConnection, replace: bool) -> anyhow::Result<Vec<Tombstone>> {
    match dump::look_at(connection).await? {
        Content::Nothing => Ok(Vec::new()),
        Content::Foreign => bail!(
            "the database holds tables that are not of Customer Journey: name an empty database in database.url"
        ),
        Content::Ours { migration, .. } if migration > dump::newest_migration() => bail!(
            "the database was made by a newer release (migration {migration}): use that release to restore into it"
        ),
        Content::Ours { has_data: true, .. } if !replace => bail!(
            "the database holds data: say --replace to put the set in its place, for good (back it up first), or name an empty one in database.url"
        ),
        Content::Ours { .. } => Ok(dump::tombstones(connection).await?),
    }
}

/// Notes the restore, and that the set's queue is no more.
async fn book(connection: &mut PgConnection, set: &Set, clock: &Clock) -> anyhow::Result<()> {
    let manifest = &set.manifest;
    let mut transaction = connection.begin().await?;
    if let Some(state) = &manifest.queue
        && let Some(epoch) = state.epoch
    {
        ledger::fold_epoch(&mut transaction, epoch, state.ledger_difference).await?;
    }
    let details =
        json!({ "set": set.name(), "created_at": manifest.created_at, "release": manifest.release });
    erasure::append_audit(&mut transaction, clock.now(), ACTOR, "restore", &details).await?;
    Ok(transaction.commit().await?)
}

/// Erases again whom these tombstones name.
///
/// Those that were made under another salt than the set's are recognised under that one only.
async fn erase_again(
    config: &Config,
    settler: &Settler,
    queue: Option<Arc<Queue>>,
    salt: &str,
    stones: &[Tombstone],
    restored: &mut Restored,
) -> Result<(), RightsError> {
    if stones.is_empty() {
        return Ok(());
    }
    let mut salts = vec![salt];
    if restored.salt_differs {
        salts.push(&config.secrets.api_key_salt);
    }
    for salt in salts {
        let mut rights = service::rights(config, settler, queue.clone());
        rights.hasher = Hasher::new(salt);
        let replay = rights.replay_tombstones(stones, ACTOR).await?;
        restored.tombstones = replay.tombstones;
        restored.erased_rows += replay.rows.total();
    }
    Ok(())
}

fn tombstones_of(set: &Set) -> anyhow::Result<Vec<Tombstone>> {
    set.read_text(TOMBSTONES)?
        .lines()
        .map(|line| serde_json::from_str(line).context("a tombstone of the set cannot be read"))
        .collect()
}

/// Writes the salt unless the file holds it; returns whether it was written.
fn write_salt(file: &Path, salt: &str) -> anyhow::Result<bool> {
    let present = fs::read_to_string(file).unwrap_or_default();
    if present.trim_end_matches(['\r', '\n']) == salt {
        return Ok(false);
    }
    let shown = file.display();
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = file
        .file_name()
        .with_context(|| format!("{shown} names no file"))?;
    let partial = folder.join(format!(".{}.partial", name.to_string_lossy()));
    let write = || {
        let _ = fs::remove_file(&partial);
        let mut new = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(&partial)?;
        new.write_all(format!("{salt}\n").as_bytes())?;
        new.sync_all()?;
        fs::rename(&partial, file)?;
        fs::File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("{shown} cannot be written"))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_salt_file_is_written_only_when_it_holds_another_salt() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("salt");
        assert!(write_salt(&file, "the salt of the set").unwrap());
        assert!(!write_salt(&file, "the salt of the set").unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "the salt of the set\n");
        assert!(write_salt(&file, "another salt of a set").unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "another salt of a set\n");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
