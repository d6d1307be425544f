//! Rows into judged events, in batches that are ready to be settled.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    NO_KEY, TransferError,
    checkpoint::Position,
    mapping::{Mapped, Mapping, RowRefusal},
    reader::{Reader, Row},
};
use crate::{
    event::{Event, Policy, RequestContext, judge},
    ingest::entry::{Entry, Rejected},
    ops::Clock,
};

/// Rows settled in one transaction.
pub const BATCH_ROWS: usize = 2000;
/// Bytes of rows in one transaction, so that long lines do not make it large.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Rows passed over between two signs of life.
const SKIPPED_ROWS: u64 = 20_000;
/// Longest names of browsers and systems, in characters.
const KEPT_TEXT_MAX: usize = 64;

/// Where the ids of events come from.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IdRule {
    /// Goes into every id that is made here: the same line under another source is another event.
    pub source: String,
    /// Whether ids of the file are made unique to the source, too.
    pub namespaced: bool,
}

/// A line that did not become an event.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedLine {
    pub line: u64,
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    pub detail: String,
    /// The line itself; what is not UTF-8 in it is replaced.
    pub content: String,
    #[serde(skip)]
    sample: Value,
}

/// Rows that are settled together, with the place in the file after them.
pub struct Batch {
    pub entry: Entry,
    /// The line of each event of the entry.
    pub lines: Vec<u64>,
    pub refused: Vec<RefusedLine>,
    /// By name in the file and here.
    pub renamed: BTreeMap<(String, String), u64>,
    pub position: Position,
}

/// Makes batches of a reader's rows.
pub struct Preparer {
    reader: Reader,
    mapping: Mapping,
    ids: IdRule,
    policy: Arc<Policy>,
    clock: Clock,
    /// How often each line without an id has come, by 64 bits of its hash: about 20 bytes a line.
    occurrences: HashMap<u64, u32>,
    /// What all ids of this file and source begin with.
    prefix: Sha256,
    position: Position,
    digest: [u8; 32],
    /// The place a former run has come to.
    resume: Option<Position>,
    keeps_content: bool,
}

impl Preparer {
    /// `resume` is where a former run stopped; `keeps_content` says whether refused lines are wanted whole.
    pub fn new(
        reader: Reader,
        mapping: Mapping,
        ids: IdRule,
        policy: Arc<Policy>,
        clock: Clock,
        resume: Option<Position>,
        keeps_content: bool,
    ) -> Self {
        let mut prefix = Sha256::new();
        prefix.update(b"customer-journey import\n");
        prefix.update((ids.source.len() as u64).to_be_bytes());
        prefix.update(&ids.source);
        prefix.update((reader.header.len() as u64).to_be_bytes());
        prefix.update(&reader.header);
        let digest = prefix.clone().finalize().into();
        Self {
            reader,
            mapping,
            ids,
            policy,
            clock,
            occurrences: HashMap::new(),
            prefix,
            position: Position::default(),
            digest,
            resume: resume.filter(|position| position.records > 0),
            keeps_content,
        }
    }

    /// Returns the next batch, `None` at the end.
    ///
    /// While the rows of a former run are passed over, batches are empty. Those rows are read all the same:
    /// ids of equal lines are counted, and the digest shows whether it is the same file.
    ///
    /// # Errors
    /// [`TransferError`] when the file cannot be read on or is not the one of the former run.
    pub fn read_batch(&mut self) -> Result<Option<Batch>, TransferError> {
        if self.resume.is_some() {
            return self.pass_over().map(Some);
        }
        let mut batch = self.empty_batch();
        let context = self.context();
        let mut bytes = 0;
        while batch.entry.received < BATCH_ROWS as u32 && bytes < BATCH_BYTES {
            let Some(row) = self.reader.read_row()? else { break };
            bytes += row.bytes.len();
            batch.entry.received += 1;
            self.take(row, &context, &mut batch);
        }
        if batch.entry.received == 0 {
            return Ok(None);
        }
        batch.entry.rejected = summarise(&batch.refused);
        batch.position = self.place();
        Ok(Some(batch))
    }

    fn pass_over(&mut self) -> Result<Batch, TransferError> {
        let goal = self.resume.as_ref().map_or(0, |position| position.records);
        let end = goal.min(self.position.records + SKIPPED_ROWS);
        while self.position.records < end {
            let row = self.reader.read_row()?.ok_or(TransferError::OtherFile)?;
            let digest = self.follow(&row);
            if let Ok(mapped) = row
                .cells
                .and_then(|cells| self.mapping.map(cells, self.reader.origin()))
                && lacks_id(&mapped.wire)
            {
                self.line_id(digest);
            }
        }
        let mut batch = self.empty_batch();
        batch.position = self.place();
        if self.position.records == goal
            && let Some(former) = self.resume.take()
            && former.digest != batch.position.digest
        {
            return Err(TransferError::OtherFile);
        }
        Ok(batch)
    }

    fn take(&mut self, row: Row, context: &RequestContext, batch: &mut Batch) {
        let digest = self.follow(&row);
        let mapped = row
            .cells
            .and_then(|cells| self.mapping.map(cells, self.reader.origin()));
        let judged = mapped
            .map_err(|refusal| Box::new(RefusedLine::from(refusal)))
            .and_then(|mapped| {
                let renamed = mapped.renamed_from.clone();
                let event = self.judge(mapped, row.line, digest, context)?;
                Ok((event, renamed))
            });
        match judged {
            Ok((event, renamed)) => {
                if let Some(from) = renamed {
                    *batch.renamed.entry((from, event.event_type.clone())).or_default() += 1;
                }
                batch.entry.events.push(event);
                batch.lines.push(row.line);
            }
            Err(mut refused) => {
                refused.line = row.line;
                if self.keeps_content {
                    refused.content = String::from_utf8_lossy(&row.bytes).into_owned();
                }
                batch.refused.push(*refused);
            }
        }
    }

    fn judge(
        &mut self,
        mapped: Mapped,
        line: u64,
        digest: [u8; 32],
        context: &RequestContext,
    ) -> Result<Event, Box<RefusedLine>> {
        let Mapped {
            mut wire,
            kept,
            address,
            is_ours,
            ..
        } = mapped;
        if lacks_id(&wire) {
            wire.insert("event_id".into(), self.line_id(digest).to_string().into());
        } else if self.ids.namespaced
            && let Some(id) = wire.get("event_id").map(text_of)
        {
            wire.insert("event_id".into(), self.namespaced_id(&id).to_string().into());
        }
        // Lines of equal times happened in the order of the file.
        wire.entry("seq").or_insert_with(|| line.into());
        let context = RequestContext {
            client_ip: address,
            ..context.clone()
        };
        let mut event = judge(Value::Object(wire), None, &context, &self.policy)
            .map_err(|rejection| Box::new(RefusedLine::from(rejection)))?;
        restore(&mut event, kept, is_ours);
        Ok(event)
    }

    /// Goes one record on; returns the hash of the line that its id is made of.
    fn follow(&mut self, row: &Row) -> [u8; 32] {
        let line: [u8; 32] = self.prefix.clone().chain_update(&row.bytes).finalize().into();
        self.digest = Sha256::new()
            .chain_update(self.digest)
            .chain_update(line)
            .finalize()
            .into();
        self.position.records += 1;
        self.position.line = row.line;
        line
    }

    fn place(&mut self) -> Position {
        self.position.offset = self.reader.offset();
        self.position.digest = hex::encode(self.digest);
        self.position.clone()
    }

    /// Makes the id of a line: the same for the same line, and another for each time it comes in the file.
    fn line_id(&mut self, line: [u8; 32]) -> Uuid {
        let mut short = [0; 8];
        short.copy_from_slice(&line[..8]);
        let count = self.occurrences.entry(u64::from_be_bytes(short)).or_default();
        let digest = Sha256::new()
            .chain_update(line)
            .chain_update(count.to_be_bytes())
            .finalize();
        *count += 1;
        uuid_of(&digest)
    }

    fn namespaced_id(&self, id: &str) -> Uuid {
        let digest = Sha256::new()
            .chain_update(b"customer-journey import id\n")
            .chain_update((self.ids.source.len() as u64).to_be_bytes())
            .chain_update(&self.ids.source)
            .chain_update(id)
            .finalize();
        uuid_of(&digest)
    }

    fn context(&self) -> RequestContext {
        RequestContext {
            received_at: self.clock.now(),
            key_id: NO_KEY,
            client_ip: None,
            user_agent: None,
            dnt: false,
            gpc: false,
        }
    }

    fn empty_batch(&self) -> Batch {
        Batch {
            entry: Entry {
                received: 0,
                received_at: self.clock.now(),
                key_id: NO_KEY,
                events: Vec::new(),
                rejected: Vec::new(),
            },
            lines: Vec::new(),
            refused: Vec::new(),
            renamed: BTreeMap::new(),
            position: Position::default(),
        }
    }
}

impl RefusedLine {
    /// Makes the record of a line that the database cannot hold.
    pub fn unstorable(line: u64) -> Self {
        Self {
            line,
            reason: "unstorable".into(),
            field: None,
            detail: "The database cannot hold this event.".into(),
            content: String::new(),
            sample: Value::Null,
        }
    }
}

impl From<RowRefusal> for RefusedLine {
    fn from(refusal: RowRefusal) -> Self {
        Self {
            line: 0,
            reason: refusal.reason.to_owned(),
            field: refusal.field.map(str::to_owned),
            detail: refusal.detail.to_owned(),
            content: String::new(),
            sample: Value::Null,
        }
    }
}

impl From<crate::event::Rejection> for RefusedLine {
    fn from(rejection: crate::event::Rejection) -> Self {
        Self {
            line: 0,
            reason: rejection.reason.as_str().to_owned(),
            field: rejection.field,
            detail: rejection.detail.to_string(),
            content: String::new(),
            sample: rejection.sample,
        }
    }
}

/// Returns what the ledger is told: each reason with its count and one example.
pub fn summarise(refused: &[RefusedLine]) -> Vec<Rejected> {
    let mut by_reason: BTreeMap<&str, Rejected> = BTreeMap::new();
    for line in refused {
        let summary = by_reason.entry(&line.reason).or_insert_with(|| Rejected {
            reason: line.reason.clone(),
            count: 0,
            field: line.field.clone(),
            detail: line.detail.clone(),
            sample: line.sample.clone(),
        });
        summary.count += 1;
    }
    by_reason.into_values().collect()
}

fn uuid_of(digest: &[u8]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::new_v8(bytes)
}

fn lacks_id(wire: &Map<String, Value>) -> bool {
    match wire.get("event_id") {
        None | Some(Value::Null) => true,
        Some(Value::String(id)) => id.trim().is_empty(),
        Some(_) => false,
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    }
}

/// Gives an event back what it said before it was exported, or what another system found out about it.
fn restore(event: &mut Event, mut kept: Map<String, Value>, is_ours: bool) {
    let mut text = |name| {
        let text = text_of(&kept.remove(name)?).replace('\0', "");
        let text: String = text.chars().take(KEPT_TEXT_MAX).collect();
        (!text.is_empty()).then_some(text)
    };
    event.browser = text("browser").or(event.browser.take());
    event.os = text("os").or(event.os.take());
    let country = text("country").map(|code| code.to_ascii_uppercase());
    event.country = country.or(event.country.take());
    if is_ours {
        event.ip_hash = text("ip_hash");
        let time = text("client_timestamp").and_then(|time| time.parse().ok());
        event.client_timestamp = time;
        let names = kept.remove("truncated");
        event.truncated = names
            .and_then(|names| serde_json::from_value(names).ok())
            .unwrap_or_default();
    }
}
