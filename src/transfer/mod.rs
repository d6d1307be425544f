//! Events in from files of other systems, and everything out into files.
//!
//! An import reads records ([`reader`]), gives their columns the names of the wire form ([`mapping`]), has
//! each judged like any event that comes over HTTP ([`prepare`]), and settles them in batches the direct way
//! ([`import`]): deduplication, sessions, customers and the ledger are the same as live. In the ledger its
//! events have the key 0, «no key».
//!
//! Nothing is stored twice, however often a file is imported: an event without an id gets one made of its
//! line. A [`checkpoint`] only saves the work of doing it again.

pub mod checkpoint;
pub mod event_names;
pub mod export;
pub mod import;
pub mod mapping;
pub mod prepare;
pub mod reader;
pub mod records;
pub mod report;
pub mod targets;
pub mod time_format;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use mapping::MappingError;

/// The key of imported events in the ledger and in `events.key_id`: none.
pub const NO_KEY: i32 = 0;

/// Why an import or export cannot be done. What is wrong with single lines is in the report instead.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("{} cannot be {action}", path.display())]
    File {
        path: PathBuf,
        action: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("{0} is empty: there is nothing to import")]
    Empty(String),
    #[error("{0} is UTF-16: convert it to UTF-8 first, as with `iconv -f UTF-16 -t UTF-8`")]
    Utf16(String),
    #[error(
        "{0} holds one JSON array: write one object on each line, as with `jq -c '.[]'`, and import that"
    )]
    JsonArray(String),
    #[error(transparent)]
    Mapping(#[from] MappingError),
    #[error("the import state {} was written for {reason}: go on with --restart to begin again (what is \
             stored already is not stored twice)", path.display())]
    OtherState { path: PathBuf, reason: &'static str },
    #[error(
        "what was imported of this file before is no longer in it: go on with --restart to begin again \
             (what is stored already is not stored twice)"
    )]
    OtherFile,
    #[error("the import state {} cannot be understood: delete it, or go on with --restart", path.display())]
    BrokenState {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

impl TransferError {
    /// Names file and action for an error of the system.
    pub(crate) fn file(
        path: impl Into<PathBuf>,
        action: &'static str,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, action, source }
    }
}
