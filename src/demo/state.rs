//! The state folder: what the demo remembers from one start to the next.
//!
//! One file, `state.json`, holds the salt, both keys and how far the data set is loaded; only its owner may read
//! it. A lock beside it keeps a second demo away. The system drops the lock with the process that holds it, so a
//! killed demo leaves none behind.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};

use super::dataset::DatasetOptions;

/// Format of `state.json`; another release may write another one.
const VERSION: u32 = 1;

/// Random characters of the salt: 40 of 62 possible ones are 238 bits.
const SALT_LENGTH: usize = 40;

/// The state folder, locked for this process.
#[derive(Debug)]
pub(super) struct StateFolder {
    path: PathBuf,
    pub(super) record: Record,
    _lock: File,
}

/// The content of `state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// `secrets.api_key_salt` of the demo's service.
    pub(super) salt: String,
    pub(super) write_key: Option<String>,
    pub(super) secret_key: Option<String>,
    /// `None` until the loading has begun.
    pub(super) data_set: Option<DataSet>,
}

/// The data set that is, or is being, loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DataSet {
    pub(super) seed: u64,
    pub(super) people: u32,
    pub(super) days: u32,
    /// Its newest moment: that of the first start.
    pub(super) end: DateTime<Utc>,
    pub(super) origin: String,
    /// Visits whose events are committed; a start goes on from here.
    pub(super) visits_stored: u64,
    /// Everything is stored, rolled up and analysed.
    pub(super) complete: bool,
}

impl DataSet {
    pub(super) fn options(&self) -> DatasetOptions {
        DatasetOptions {
            seed: self.seed,
            end: self.end,
            days: self.days,
            people: self.people,
            origin: self.origin.clone(),
        }
    }
}

impl Record {
    fn new() -> Self {
        Self {
            version: VERSION,
            salt: Alphanumeric.sample_string(&mut rand::rng(), SALT_LENGTH),
            write_key: None,
            secret_key: None,
            data_set: None,
        }
    }
}

impl StateFolder {
    /// Opens the folder, making it when there is none, and locks it.
    ///
    /// With `anew` the record is a new one, whatever release wrote the one that is there. Nothing is written before
    /// the first [`StateFolder::save`].
    ///
    /// # Errors
    /// When another demo has it, it cannot be written, or its content cannot be read; each says what to do.
    pub(super) fn open(path: &Path, anew: bool) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| {
                format!(
                    "the state folder {} cannot be made: choose another",
                    path.display()
                )
            })?;
        let path = path
            .canonicalize()
            .with_context(|| format!("the state folder {} cannot be entered", path.display()))?;
        let lock = lock(&path)?;
        let known = if anew {
            None
        } else {
            read_record(&path.join("state.json"))?
        };
        Ok(Self {
            record: known.unwrap_or_else(Record::new),
            path,
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the record so that a crash leaves either the old one or the new one.
    ///
    /// # Errors
    /// When the disk is full or the folder cannot be written.
    pub(super) fn save(&self) -> Result<()> {
        let (file, fresh) = (self.path.join("state.json"), self.path.join("state.json.new"));
        let write = || -> io::Result<()> {
            let mut output = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&fresh)?;
            serde_json::to_writer_pretty(&mut output, &self.record)?;
            output.write_all(b"\n")?;
            output.sync_all()?;
            fs::rename(&fresh, &file)
        };
        write().with_context(|| format!("{} cannot be written", file.display()))
    }
}

/// Takes the lock; the file tells who has it.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| {
            format!(
                "{} cannot be written: was it made by another user? Start the demo as that user or remove it",
                path.display()
            )
        })?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            bail!(
                "a demo already runs on {} (process {}): stop it with Ctrl-C, or use another --state-dir and --port",
                folder.display(),
                holder.trim()
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
        }
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(file)
}

fn read_record(path: &Path) -> Result<Option<Record>> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let remedy = "run `make demo-reset`, or start with --reset, to begin with fresh data";
    match serde_json::from_str::<Version>(&text) {
        Ok(Version { version: VERSION }) => {}
        Ok(Version { version }) => bail!(
            "{} was written by another release (version {version}): {remedy}",
            path.display()
        ),
        Err(_) => bail!("{} is damaged: {remedy}", path.display()),
    }
    let record =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged: {remedy}", path.display()))?;
    Ok(Some(record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_saved_is_there_at_the_next_start_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/demo");
        let mut state = StateFolder::open(&path, false).unwrap();
        assert_eq!(state.record.salt.len(), SALT_LENGTH);
        state.record.write_key = Some("pk_x".into());
        state.save().unwrap();
        let saved = state.record.clone();
        drop(state);
        assert_eq!(StateFolder::open(&path, false).unwrap().record, saved);
        let mode = fs::metadata(path.join("state.json"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_second_demo_on_the_folder_is_refused_and_nothing_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path(), false).unwrap();
        state.save().unwrap();
        for error in [
            StateFolder::open(folder.path(), false).unwrap_err(),
            StateFolder::open(folder.path(), true).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.contains("already runs"), "{text}");
            assert!(
                text.contains(&format!("process {})", std::process::id())),
                "{text}"
            );
        }
        let record = state.record.clone();
        drop(state);
        assert_eq!(StateFolder::open(folder.path(), false).unwrap().record, record);
    }

    #[test]
    fn the_state_of_another_release_is_refused_with_the_remedy_and_can_be_started_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.json");
        for (text, says) in [
            (r#"{"version": 99, "new": true}"#, "another release (version 99)"),
            ("{", "is damaged"),
            (r#"{"version": 1}"#, "is damaged"),
        ] {
            fs::write(&file, text).unwrap();
            let error = StateFolder::open(folder.path(), false).unwrap_err().to_string();
            assert!(
                error.contains(says) && error.contains("make demo-reset"),
                "{error}"
            );
        }
        let state = StateFolder::open(folder.path(), true).unwrap();
        assert_eq!(state.record.data_set, None);
    }
}
