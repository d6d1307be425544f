//! What must be in a set, written last.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ops::nix::SriHash,
    store::{MIGRATOR, dump},
};

/// The form of sets that this release writes. A form it does not know, it refuses.
pub(super) const FORMAT: u32 = 1;

/// Its name in the set.
pub(super) const MANIFEST: &str = "manifest.json";

/// What a set holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The release that wrote it.
    pub release: String,
    pub created_at: DateTime<Utc>,
    /// The newest migration of the database.
    pub migration: i64,
    /// `timescale_community`, `timescale_apache` or `plain`: where it came from, not where it can go.
    pub storage: String,
    pub database: DatabaseCounts,
    /// `None` when events were committed directly.
    pub queue: Option<QueueState>,
    /// Last values of the sequences.
    pub sequences: BTreeMap<String, i64>,
    /// In the order in which tables are loaded.
    pub files: Vec<FileEntry>,
}

/// What people ask first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseCounts {
    pub events: u64,
    pub sessions: u64,
    pub customers: u64,
}

/// What lay in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// `None` when nothing ever was in it.
    pub epoch: Option<Uuid>,
    pub entries: u64,
    /// Events in these entries.
    pub events: u64,
    pub dead_letters: u64,
    /// By how many events the ledger was off; 0 unless something was lost before.
    pub ledger_difference: i64,
}

/// One file of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Below the set's folder, with `/` between names.
    pub path: String,
    pub bytes: u64,
    pub hash: SriHash,
    /// Lines it unpacks to, where lines are what it is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The table it holds, with its columns in their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableEntry>,
}

/// A table in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    pub name: String,
    pub columns: Vec<String>,
}

impl From<&TableEntry> for dump::Table {
    fn from(entry: &TableEntry) -> Self {
        Self {
            name: entry.name.clone(),
            columns: entry.columns.clone(),
        }
    }
}

impl Manifest {
    /// Reads a manifest, and refuses what this release cannot understand.
    ///
    /// # Errors
    /// When it is none, or of a form that only a newer release knows.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Form {
            format: u32,
            release: String,
        }
        let form: Form = serde_json::from_str(text).context("its manifest cannot be read")?;
        if form.format > FORMAT {
            bail!(
                "it was written by release {}, whose sets have form {}, and this is release {}, which knows form {FORMAT}: use {} or newer",
                form.release,
                form.format,
                env!("CARGO_PKG_VERSION"),
                form.release
            );
        }
        serde_json::from_str(text).context("its manifest cannot be read")
    }

    /// Refuses a set whose tables this release cannot load.
    ///
    /// # Errors
    /// When its database had migrations that this release does not have.
    pub fn must_be_loadable(&self) -> anyhow::Result<()> {
        if !MIGRATOR.version_exists(self.migration) {
            bail!(
                "the set was written by release {} from a database at migration {}, and this is release {}, which knows migrations up to {}: use release {} or newer",
                self.release,
                self.migration,
                env!("CARGO_PKG_VERSION"),
                dump::newest_migration(),
                self.release
            );
        }
        Ok(())
    }

    /// Returns the entry of a file.
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Returns the tables with their files, in the order to load them in.
    pub fn tables(&self) -> impl Iterator<Item = (&TableEntry, &FileEntry)> {
        self.files
            .iter()
            .filter_map(|file| Some((file.table.as_ref()?, file)))
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}
