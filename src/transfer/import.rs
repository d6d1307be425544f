//! The import itself: batches into the store, with a state file and a report.

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    TransferError,
    checkpoint::{self, Checkpoint, Position},
    event_names::EventNames,
    mapping::{Mapping, MappingError},
    prepare::{Batch, IdRule, Preparer, RefusedLine},
    reader::{Format, Input, Reader},
    report::Report,
    time_format::TimeFormat,
};
use crate::{
    event::Policy,
    ingest::{
        entry::{Entry, Rejected},
        settle::{Parcel, Settler, Tally},
    },
    ops::Clock,
    store::{Remedy, StoreError, ledger::DIRECT},
};

/// Batches that may wait for the database while the next is read.
const BATCHES_AHEAD: usize = 2;

/// Waits between two attempts at a commit; after the last one the import stops and can be resumed.
const PATIENCE: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// What decides what becomes of a line: a run can go on only under the same.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// `(target, column)`.
    pub map: Vec<(String, String)>,
    /// `(target, value)` where the file has none.
    pub set: Vec<(String, String)>,
    pub skip: Vec<String>,
    /// `(type in the file, type here)`.
    pub event_map: Vec<(String, String)>,
    /// As [`TimeFormat::new`] reads it; empty for `auto`.
    pub time_format: String,
    /// IANA name of the zone of times that say none.
    pub timezone: Option<String>,
    pub format: Option<Format>,
    pub delimiter: Option<u8>,
    pub ids: IdRule,
    /// Whether events older than the retention are kept.
    pub keep_old: bool,
    pub texts_only: bool,
}

impl Plan {
    fn mapping(&self) -> Result<Mapping, MappingError> {
        let form = match self.time_format.as_str() {
            "" => "auto",
            form => form,
        };
        let zone = self
            .timezone
            .as_deref()
            .map(|name| name.parse().map_err(|_| MappingError::TimeZone(name.to_owned())));
        let times = TimeFormat::new(form, zone.transpose()?)?;
        let names = EventNames::new(&self.event_map)?;
        Mapping::new(&self.map, &self.set, &self.skip, self.texts_only, times, names)
    }

    fn fingerprint(&self) -> String {
        let text = serde_json::to_vec(self).expect("a plan is always JSON");
        hex::encode(Sha256::digest(text))
    }
}

/// What to import, and how.
pub struct Import {
    pub input: Input,
    pub plan: Plan,
    /// Where the state lies; beside the file when nobody says otherwise. A named one stays after the end,
    /// so that the next run reads only what was added to the file.
    pub checkpoint: Option<PathBuf>,
    /// Begin again whatever the state says.
    pub restart: bool,
    /// Where refused lines are written to.
    pub refused: Option<PathBuf>,
}

/// What an import works with.
pub struct Means {
    /// How events are judged, from the configuration.
    pub policy: Policy,
    pub clock: Clock,
    /// The store; without it everything is judged and nothing is written.
    pub settler: Option<Settler>,
    /// Ends the import after the batch at hand.
    pub stop: CancellationToken,
}

/// How far an import is.
pub struct Progress<'a> {
    /// Packed bytes read.
    pub bytes: u64,
    pub size: Option<u64>,
    /// Whether lines of a former run are being passed over.
    pub is_resuming: bool,
    pub report: &'a Report,
}

/// How an import ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub report: Report,
    /// False when it was stopped; the next run goes on.
    pub is_complete: bool,
    /// The record a former run had come to.
    pub resumed_at: Option<u64>,
    /// Why no state is kept, when none could be written.
    pub stateless: Option<String>,
}

/// Imports a file or standard input.
///
/// # Errors
/// [`TransferError`]. What was committed before stays, and the next run goes on from there.
pub async fn run(
    import: Import,
    means: Means,
    mut tell: impl FnMut(&Progress<'_>),
) -> Result<Outcome, TransferError> {
    let mapping = import.plan.mapping()?;
    let reader = Reader::open(&import.input, import.plan.format, import.plan.delimiter, &mapping)?;
    let (bytes, size) = (reader.bytes_read(), reader.size());
    let mut state = State::open(&import, means.settler.is_some())?;
    let preparer = Preparer::new(
        reader,
        mapping,
        import.plan.ids.clone(),
        Arc::new(adapt(means.policy, import.plan.keep_old)),
        means.clock,
        state.resume.clone(),
        import.refused.is_some(),
    );
    let mut batches = start(preparer);
    let mut is_complete = true;
    while let Some(batch) = batches.recv().await {
        let batch = batch?;
        let is_resuming = batch.entry.received == 0;
        if !is_resuming {
            state.commit(batch, means.settler.as_ref()).await?;
        }
        tell(&Progress {
            bytes: bytes.load(Ordering::Relaxed),
            size,
            is_resuming,
            report: &state.report,
        });
        if means.stop.is_cancelled() {
            is_complete = false;
            break;
        }
    }
    state.finish(is_complete)
}

/// A live request brings its own address and day; an import must not make devices out of today's.
fn adapt(mut policy: Policy, keep_old: bool) -> Policy {
    policy.cookieless = false;
    if keep_old {
        policy.events_age_max = None;
    }
    policy
}

/// Reads and judges on a thread of its own, while the database works on the batch before.
fn start(mut preparer: Preparer) -> mpsc::Receiver<Result<Batch, TransferError>> {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    tokio::task::spawn_blocking(move || {
        loop {
            let Some(batch) = preparer.read_batch().transpose() else {
                return;
            };
            let failed = batch.is_err();
            if sender.blocking_send(batch).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// The report with the files that go along with it.
struct State {
    report: Report,
    resume: Option<Position>,
    /// Where the state lies, if it is kept.
    path: Option<PathBuf>,
    is_named: bool,
    plan: String,
    refused: Option<RefusedFile>,
    stateless: Option<String>,
}

impl State {
    fn open(import: &Import, writes: bool) -> Result<Self, TransferError> {
        let default = match &import.input {
            Input::File(path) => Some(checkpoint::default_path(path)),
            Input::StandardInput => None,
        };
        let path = import.checkpoint.clone().or(default).filter(|_| writes);
        let plan = import.plan.fingerprint();
        let found = match &path {
            Some(path) if !import.restart => Checkpoint::load(path, &plan)?,
            _ => None,
        };
        let length = found.as_ref().map_or(0, |found| found.refused_bytes);
        let refused = import.refused.as_deref();
        let (report, resume) = match found {
            Some(found) => (found.report, Some(found.position)),
            None => (Report::default(), None),
        };
        Ok(Self {
            report,
            resume,
            path,
            is_named: import.checkpoint.is_some(),
            plan,
            refused: refused.map(|path| RefusedFile::open(path, length)).transpose()?,
            stateless: None,
        })
    }

    async fn commit(&mut self, batch: Batch, settler: Option<&Settler>) -> Result<(), TransferError> {
        let Batch {
            entry,
            lines,
            refused,
            renamed,
            position,
        } = batch;
        let received = u64::from(entry.received);
        let rejected = refused.len() as u64;
        let mut unstorable = Vec::new();
        let tally = match settler {
            Some(settler) => settle(settler, entry, lines, &mut unstorable).await?,
            None => Tally::default(),
        };
        self.report.events += received;
        self.report.stored += tally.stored;
        self.report.duplicate += tally.duplicate;
        for ((from, to), count) in &renamed {
            self.report.rename(from, to, *count);
        }
        let erased = tally.rejected.saturating_sub(rejected + unstorable.len() as u64);
        self.report.refuse_erased(erased);
        let unstorable = unstorable.into_iter().map(RefusedLine::unstorable);
        for line in refused.into_iter().chain(unstorable) {
            self.report.refuse(&line.reason, line.line, || match &line.field {
                Some(field) => format!("{field}: {}", line.detail),
                None => line.detail.clone(),
            });
            if let Some(file) = &mut self.refused {
                file.write(&line)?;
            }
        }
        self.save(position)
    }

    /// Writes the state. A folder that cannot be written to is said once; ids make a second run harmless.
    fn save(&mut self, position: Position) -> Result<(), TransferError> {
        let refused_bytes = match &mut self.refused {
            Some(file) => file.flush()?,
            None => 0,
        };
        let Some(path) = &self.path else { return Ok(()) };
        let state = Checkpoint::new(&self.plan, position, refused_bytes, self.report.clone());
        match state.save(path) {
            Err(error) if !self.is_named => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                self.stateless = Some(format!("{error}: {}", cause.unwrap_or_default()));
                self.path = None;
                Ok(())
            }
            result => result,
        }
    }

    fn finish(mut self, is_complete: bool) -> Result<Outcome, TransferError> {
        if let Some(file) = &mut self.refused {
            file.flush()?;
        }
        if let Some(path) = &self.path
            && is_complete
            && !self.is_named
        {
            Checkpoint::remove(path)?;
        }
        Ok(Outcome {
            report: self.report,
            is_complete,
            resumed_at: self.resume.map(|position| position.records),
            stateless: self.stateless,
        })
    }
}

/// Settles an entry; when the data is at fault, its halves, so that only the guilty lines are refused.
async fn settle(
    settler: &Settler,
    entry: Entry,
    lines: Vec<u64>,
    unstorable: &mut Vec<u64>,
) -> Result<Tally, StoreError> {
    let mut total = Tally::default();
    let mut waiting = vec![(entry, lines)];
    while let Some((entry, lines)) = waiting.pop() {
        let mut parcel = [Parcel { id: None, entry }];
        let error = match settle_patiently(settler, &parcel).await {
            Ok(tally) => {
                total.stored += tally.stored;
                total.duplicate += tally.duplicate;
                total.rejected += tally.rejected;
                continue;
            }
            Err(error) => error,
        };
        let [Parcel { entry, .. }] = &mut parcel;
        if error.remedy() != Remedy::GiveUp || entry.events.is_empty() {
            return Err(error);
        }
        if entry.events.len() == 1 {
            entry.events.clear();
            entry.rejected.push(Rejected {
                reason: "unstorable".into(),
                count: 1,
                field: None,
                detail: "The database cannot hold this event.".into(),
                sample: serde_json::Value::Null,
            });
            unstorable.extend(&lines);
            waiting.push((entry.clone(), Vec::new()));
        } else {
            waiting.extend(halve(entry, lines));
        }
    }
    Ok(total)
}

/// Halves an entry by its events; the first half keeps what was refused.
fn halve(entry: &mut Entry, mut lines: Vec<u64>) -> [(Entry, Vec<u64>); 2] {
    let events = entry.events.split_off(entry.events.len() / 2);
    let second_lines = lines.split_off(entry.events.len());
    let second = Entry {
        received: events.len() as u32,
        events,
        rejected: Vec::new(),
        ..entry.clone()
    };
    let first = Entry {
        received: entry.received - second.received,
        ..entry.clone()
    };
    [(second, second_lines), (first, lines)]
}

async fn settle_patiently(settler: &Settler, parcel: &[Parcel]) -> Result<Tally, StoreError> {
    for wait in PATIENCE {
        match settler.settle(DIRECT, parcel).await {
            Err(error) if error.remedy() == Remedy::Retry => tokio::time::sleep(wait).await,
            result => return result,
        }
    }
    settler.settle(DIRECT, parcel).await
}

/// The file of refused lines: NDJSON, readable by its owner only, since the lines are people's data.
struct RefusedFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl RefusedFile {
    /// Opens the file and cuts it to `length`: what a killed run wrote after its last state comes again.
    fn open(path: &Path, length: u64) -> Result<Self, TransferError> {
        let open = || {
            let mut options = OpenOptions::new();
            options.create(true).write(true).truncate(false).mode(0o600);
            let mut file = options.open(path)?;
            file.set_len(length)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(TransferError::file(path, "written"))?;
        Ok(Self {
            path: path.into(),
            file: BufWriter::new(file),
        })
    }

    fn write(&mut self, line: &RefusedLine) -> Result<(), TransferError> {
        let text = serde_json::to_string(line).expect("a refused line is always JSON");
        writeln!(self.file, "{text}").map_err(TransferError::file(&self.path, "written"))
    }

    /// Brings everything to the disk; returns the length.
    fn flush(&mut self) -> Result<u64, TransferError> {
        let flush = |file: &mut BufWriter<File>| {
            file.flush()?;
            file.get_ref().sync_data()?;
            file.stream_position()
        };
        flush(&mut self.file).map_err(TransferError::file(&self.path, "written"))
    }
}
