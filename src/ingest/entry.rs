//! What one accepted request puts on the queue.

use std::cell::RefCell;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::Event;

/// Everything one request brought: the accepted events, and what was refused and why.
///
/// `received` is counted where the request is taken apart, before anything is judged. It is what the rest
/// must add up to, and nothing computes it from the other two fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub received: u32,
    pub received_at: DateTime<Utc>,
    pub key_id: i32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejected>,
}

/// Events that were refused for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    pub reason: String,
    pub count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    #[serde(default)]
    pub detail: String,
    /// A redacted copy of one of them.
    #[serde(default)]
    pub sample: Value,
}

/// A payload that this release cannot read.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    #[error("the payload has version {0}, which this release does not know")]
    UnknownVersion(String),
    #[error("the payload cannot be decompressed")]
    Compression(#[source] std::io::Error),
    #[error("the payload is not the JSON of an entry")]
    Json(#[source] serde_json::Error),
}

/// The version this release writes: JSON, compressed with zstd.
pub const VERSION: &str = "1";

/// Speed over size: level 1 already makes a batch of browser events about five times smaller.
const COMPRESSION_LEVEL: i32 = 1;

/// A compressed payload never unpacks to more than this; our own never come near it.
const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;

// Making these costs more than using them for an entry of ten events.
thread_local! {
    static COMPRESSOR: RefCell<zstd::bulk::Compressor<'static>> = RefCell::new(
        zstd::bulk::Compressor::new(COMPRESSION_LEVEL).expect("the level is one that zstd has"),
    );
    static DECOMPRESSOR: RefCell<zstd::bulk::Decompressor<'static>> =
        RefCell::new(zstd::bulk::Decompressor::new().expect("a decompressor needs nothing but memory"));
}

impl Entry {
    /// Returns the payload as it lies on the stream, in [`VERSION`].
    pub fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("an entry is always JSON");
        COMPRESSOR
            .with_borrow_mut(|compressor| compressor.compress(&json))
            .expect("memory can be compressed into memory")
    }

    /// Reads a payload of any version this release knows.
    ///
    /// # Errors
    /// [`EntryError`] says which step failed; the entry then belongs to the dead letters.
    pub fn decode(version: &str, payload: &[u8]) -> Result<Self, EntryError> {
        if version != VERSION {
            return Err(EntryError::UnknownVersion(version.to_owned()));
        }
        // What `encode` writes says how large it was; anything else is not ours, and never unpacked past the limit.
        let size = zstd::bulk::Decompressor::upper_bound(payload).unwrap_or(UNPACKED_BYTES_MAX);
        let json = DECOMPRESSOR
            .with_borrow_mut(|decompressor| decompressor.decompress(payload, size.min(UNPACKED_BYTES_MAX)))
            .map_err(EntryError::Compression)?;
        serde_json::from_slice(&json).map_err(EntryError::Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            received: 3,
            received_at: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            key_id: 7,
            events: vec![Event {
                event_id: "a".into(),
                event_type: "click".into(),
                ..Event::default()
            }],
            rejected: vec![Rejected {
                reason: "bot".into(),
                count: 2,
                field: None,
                detail: String::new(),
                sample: Value::Null,
            }],
        }
    }

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        let entry = entry();
        assert_eq!(Entry::decode(VERSION, &entry.encode()).unwrap(), entry);
    }

    #[test]
    fn a_payload_of_an_unknown_version_is_named_as_such() {
        let error = Entry::decode("99", &entry().encode()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the payload has version 99, which this release does not know"
        );
    }

    #[test]
    fn a_torn_payload_is_an_error_not_a_panic() {
        let bytes = entry().encode();
        assert!(matches!(
            Entry::decode(VERSION, &bytes[..bytes.len() / 2]),
            Err(EntryError::Compression(_))
        ));
        let nonsense = zstd::bulk::compress(b"{\"received\":", 1).unwrap();
        assert!(matches!(
            Entry::decode(VERSION, &nonsense),
            Err(EntryError::Json(_))
        ));
    }
}
