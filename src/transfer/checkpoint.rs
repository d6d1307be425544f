//! How far an import has come, so that the next run goes on from there.
//!
//! It is written after each commit. One that is older than the database, after a crash or a restore, does no
//! harm: the lines after it come again under the same ids and count as duplicates.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{TransferError, report::Report};

const VERSION: u32 = 1;

/// A place between two records of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Records before it, without header and blank lines.
    pub records: u64,
    /// Number of the last line that was read.
    pub line: u64,
    /// Unpacked bytes before it.
    pub offset: u64,
    /// SHA-256 over all records before it, in hexadecimal: whether this is still the same file.
    pub digest: String,
}

/// The content of an import's state file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    version: u32,
    /// SHA-256 of the options that decide what becomes of a line.
    plan: String,
    pub position: Position,
    /// Length of the file of refused lines.
    pub refused_bytes: u64,
    pub report: Report,
}

impl Checkpoint {
    pub fn new(plan: &str, position: Position, refused_bytes: u64, report: Report) -> Self {
        Self {
            version: VERSION,
            plan: plan.to_owned(),
            position,
            refused_bytes,
            report,
        }
    }

    /// Reads the state of an import with these options; `None` when there is none.
    ///
    /// # Errors
    /// [`TransferError::OtherState`] when it was begun with other options, [`TransferError::BrokenState`]
    /// when it is not one of ours.
    pub fn load(path: &Path, plan: &str) -> Result<Option<Self>, TransferError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TransferError::file(path, "read")(error)),
        };
        let found: Self = serde_json::from_slice(&text).map_err(|source| TransferError::BrokenState {
            path: path.into(),
            source,
        })?;
        let reason = if found.version != VERSION {
            "another release"
        } else if found.plan != plan {
            "other options"
        } else {
            return Ok(Some(found));
        };
        Err(TransferError::OtherState {
            path: path.into(),
            reason,
        })
    }

    /// Replaces the state file as a whole.
    ///
    /// # Errors
    /// [`TransferError::File`].
    pub fn save(&self, path: &Path) -> Result<(), TransferError> {
        let text = serde_json::to_vec_pretty(self).expect("a checkpoint is always JSON");
        let new = beside(path);
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, path)
        };
        write().map_err(TransferError::file(path, "written"))
    }

    /// Removes the state file, if there is one.
    ///
    /// # Errors
    /// [`TransferError::File`].
    pub fn remove(path: &Path) -> Result<(), TransferError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(TransferError::file(path, "removed")(error))
            }
            _ => Ok(()),
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Returns where the state of a file's import lies when nobody says otherwise: beside the file.
pub fn default_path(input: &Path) -> PathBuf {
    let mut name = input.as_os_str().to_owned();
    name.push(".import-state");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_and_only_for_the_same_options() {
        let folder = tempfile::tempdir().unwrap();
        let path = default_path(&folder.path().join("log.csv"));
        assert!(path.ends_with("log.csv.import-state"));
        assert!(Checkpoint::load(&path, "a").unwrap().is_none());
        let position = Position {
            records: 7,
            line: 8,
            offset: 99,
            digest: "d".into(),
        };
        Checkpoint::new("a", position.clone(), 5, Report::default())
            .save(&path)
            .unwrap();
        let found = Checkpoint::load(&path, "a").unwrap().unwrap();
        assert_eq!((found.position, found.refused_bytes), (position, 5));
        let other = Checkpoint::load(&path, "b").unwrap_err().to_string();
        assert!(
            other.contains("other options") && other.contains("--restart"),
            "{other}"
        );
        fs::write(&path, "{").unwrap();
        let broken = Checkpoint::load(&path, "a");
        assert!(matches!(broken, Err(TransferError::BrokenState { .. })));
        Checkpoint::remove(&path).unwrap();
        Checkpoint::remove(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
