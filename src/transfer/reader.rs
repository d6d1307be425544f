//! A file or standard input, unpacked, as rows.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::read::MultiGzDecoder;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    TransferError,
    mapping::{Mapping, Origin, RowRefusal},
    records::{Record, RecordProblem, Records, detect_delimiter, split_fields},
};

const BUFFER_BYTES: usize = 256 * 1024;

/// What an import reads.
#[derive(Clone, Debug)]
pub enum Input {
    File(PathBuf),
    StandardInput,
}

impl Input {
    /// How messages call it.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::StandardInput => "standard input".to_owned(),
        }
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(self.name())
    }
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Csv,
    Ndjson,
}

/// One record of the file, as a row or as the reason why it is none.
pub struct Row {
    pub line: u64,
    pub bytes: Vec<u8>,
    pub cells: Result<Map<String, Value>, RowRefusal>,
}

/// Reads rows one by one.
pub struct Reader {
    records: Records<BufReader<Box<dyn Read + Send>>>,
    pub format: Format,
    /// The header's own bytes; none for NDJSON.
    pub header: Vec<u8>,
    columns: Vec<String>,
    input: Input,
    bytes_read: Arc<AtomicU64>,
    size: Option<u64>,
}

impl Reader {
    /// Opens the input; form and delimiter are recognised when they are not given.
    ///
    /// gzip is recognised by its first bytes, CSV and NDJSON by the name, else by the first character.
    ///
    /// # Errors
    /// [`TransferError`] when there is nothing to read, or nothing that can be.
    pub fn open(
        input: &Input,
        format: Option<Format>,
        delimiter: Option<u8>,
        mapping: &Mapping,
    ) -> Result<Self, TransferError> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let failed = |action| TransferError::file(input.path(), action);
        let (source, size): (Box<dyn Read + Send>, _) = match input {
            Input::File(path) => {
                let file = File::open(path).map_err(failed("opened"))?;
                let metadata = file.metadata().map_err(failed("opened"))?;
                if metadata.is_dir() {
                    return Err(failed("read")(io::Error::other("it is a folder")));
                }
                (Box::new(file), metadata.is_file().then_some(metadata.len()))
            }
            Input::StandardInput => (Box::new(io::stdin()), None),
        };
        let counted = Counted {
            inner: source,
            bytes: bytes_read.clone(),
        };
        let unpacked = unpack(counted).map_err(failed("read"))?;
        let records = Records::new(BufReader::with_capacity(BUFFER_BYTES, unpacked));
        let mut reader = Self {
            records,
            format: Format::Ndjson,
            header: Vec::new(),
            columns: Vec::new(),
            input: input.clone(),
            bytes_read,
            size,
        };
        reader.begin(format, delimiter, mapping)?;
        Ok(reader)
    }

    fn begin(
        &mut self,
        format: Option<Format>,
        delimiter: Option<u8>,
        mapping: &Mapping,
    ) -> Result<(), TransferError> {
        let start = self.records.peek(4).map_err(self.failed())?;
        if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
            return Err(TransferError::Utf16(self.input.name()));
        }
        if start.starts_with("\u{feff}".as_bytes()) {
            self.records.skip(3);
        }
        let start = self.records.peek(BUFFER_BYTES).map_err(self.failed())?;
        let Some(first) = start.iter().find(|byte| !byte.is_ascii_whitespace()) else {
            return Err(TransferError::Empty(self.input.name()));
        };
        self.format = format.unwrap_or_else(|| recognise(&self.input, *first));
        if self.format == Format::Ndjson {
            return match first {
                b'[' => Err(TransferError::JsonArray(self.input.name())),
                _ => Ok(()),
            };
        }
        let line = start.trim_ascii_start().split(|byte| *byte == b'\n').next();
        let detected = || detect_delimiter(line.unwrap_or_default());
        let delimiter = delimiter.unwrap_or_else(detected);
        self.records.delimiter = Some(delimiter);
        let header = self.records.read_record().map_err(self.failed())?;
        let Some(header) = header else {
            return Err(TransferError::Empty(self.input.name()));
        };
        let text = String::from_utf8_lossy(&header.bytes);
        let named = split_fields(&text, delimiter).into_iter().enumerate();
        let named = named.map(|(index, name)| match name.trim() {
            "" => format!("column_{}", index + 1),
            name => name.to_owned(),
        });
        self.columns = named.collect();
        self.header = header.bytes;
        mapping.check_header(&self.columns)?;
        Ok(())
    }

    /// Returns the next row, `None` at the end.
    ///
    /// # Errors
    /// [`TransferError::File`] when the file cannot be read on, as with a torn archive.
    pub fn read_row(&mut self) -> Result<Option<Row>, TransferError> {
        let Some(record) = self.records.read_record().map_err(self.failed())? else {
            return Ok(None);
        };
        Ok(Some(Row {
            line: record.line,
            cells: self.cells(&record),
            bytes: record.bytes,
        }))
    }

    fn cells(&self, record: &Record) -> Result<Map<String, Value>, RowRefusal> {
        match record.problem {
            Some(RecordProblem::TooLong) => {
                return Err(refusal("line_too_long", "The line is longer than 1 MiB."));
            }
            Some(RecordProblem::UnclosedQuote) => {
                return Err(refusal("invalid_csv", "A quote of the line is never closed."));
            }
            None => {}
        }
        let text = std::str::from_utf8(&record.bytes)
            .map_err(|_| refusal("invalid_utf8", "The line is not UTF-8."))?;
        match self.records.delimiter {
            Some(delimiter) => {
                let fields = split_fields(text, delimiter);
                if fields.len() != self.columns.len() {
                    return Err(refusal(
                        "invalid_csv",
                        "The line has more or fewer fields than the header.",
                    ));
                }
                let cells = self.columns.iter().cloned();
                Ok(cells.zip(fields.into_iter().map(Value::from)).collect())
            }
            None => match serde_json::from_str(text) {
                Ok(Value::Object(object)) => Ok(object),
                Ok(_) => Err(refusal("not_an_object", "An event must be a JSON object.")),
                Err(_) => Err(refusal("invalid_json", "The line is not JSON.")),
            },
        }
    }

    /// How the values of a row are written.
    pub fn origin(&self) -> Origin {
        match self.format {
            Format::Csv => Origin::Csv,
            Format::Ndjson => Origin::Ndjson,
        }
    }

    /// Returns how many unpacked bytes the rows so far have taken.
    pub fn offset(&self) -> u64 {
        self.records.offset()
    }

    /// The count of packed bytes read, which goes up to [`Self::size`].
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        self.bytes_read.clone()
    }

    /// Bytes of the file; `None` for what is no file.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> TransferError + use<> {
        TransferError::file(self.input.path(), "read")
    }
}

fn refusal(reason: &'static str, detail: &'static str) -> RowRefusal {
    RowRefusal {
        reason,
        field: None,
        detail,
    }
}

fn recognise(input: &Input, first: u8) -> Format {
    let by_name = match input {
        Input::File(path) => by_name(path),
        Input::StandardInput => None,
    };
    by_name.unwrap_or(if matches!(first, b'{' | b'[') {
        Format::Ndjson
    } else {
        Format::Csv
    })
}

fn by_name(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    match name.rsplit_once('.')?.1 {
        "csv" | "tsv" => Some(Format::Csv),
        "ndjson" | "jsonl" | "json" => Some(Format::Ndjson),
        _ => None,
    }
}

fn unpack(mut source: Counted) -> io::Result<Box<dyn Read + Send>> {
    let mut start = Vec::new();
    source.by_ref().take(2).read_to_end(&mut start)?;
    let is_gzip = start == [0x1f, 0x8b];
    let whole = Cursor::new(start).chain(source);
    if is_gzip {
        let buffered = BufReader::with_capacity(BUFFER_BYTES, whole);
        return Ok(Box::new(MultiGzDecoder::new(buffered)));
    }
    Ok(Box::new(whole))
}

/// Counts the bytes that go through.
struct Counted {
    inner: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
