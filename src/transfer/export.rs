//! Tables into files: NDJSON to be imported again, CSV to be looked at.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use futures_util::{StreamExt as _, pin_mut};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::{TransferError, reader::Format};
use crate::store::{
    customers_read,
    export::{self, CUSTOMERS, EVENTS, SESSIONS, Selection},
    sessions_read,
};

/// Rows between two calls of the progress.
const ROWS_TOLD: u64 = 1000;

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Events,
    Sessions,
    Customers,
}

impl Subject {
    fn query(self) -> &'static str {
        match self {
            Self::Events => EVENTS,
            Self::Sessions => SESSIONS,
            Self::Customers => CUSTOMERS,
        }
    }

    /// Returns the columns of CSV, in their order; NDJSON has the same members.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Events => &EVENT_COLUMNS,
            Self::Sessions => sessions_read::COLUMNS,
            Self::Customers => customers_read::COLUMNS,
        }
    }
}

const EVENT_COLUMNS: [&str; 53] = [
    "journey_export",
    "event_id",
    "event_type",
    "timestamp",
    "client_timestamp",
    "seq",
    "device_id",
    "user_id",
    "session_id",
    "page_url",
    "page_title",
    "referrer",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "click_id",
    "element_selector",
    "element_text",
    "element_id",
    "element_classes",
    "coordinates",
    "scroll_depth",
    "form_id",
    "form_field_name",
    "form_field_type",
    "form_validation_errors",
    "product_id",
    "product_name",
    "product_category",
    "product_price",
    "quantity",
    "cart_total",
    "order_id",
    "order_total",
    "currency",
    "search_query",
    "search_results_count",
    "error_message",
    "error_stack",
    "device_type",
    "browser",
    "os",
    "country",
    "ip_hash",
    "screen_resolution",
    "viewport_size",
    "page_load_time_ms",
    "time_on_page_seconds",
    "truncated",
    "custom_properties",
    "customer_attributes",
];

/// What to export, and how.
pub struct Export {
    pub subject: Subject,
    pub selection: Selection,
    pub format: Format,
    /// Whether texts of CSV that a spreadsheet would run as formulas stay as they are.
    pub raw_cells: bool,
}

/// Writes the rows; returns how many. `stop` breaks off with an error, so that nobody takes half for the whole.
///
/// # Errors
/// [`TransferError::Store`], and [`TransferError::File`] for `output`.
pub async fn run(
    export: &Export,
    connection: &mut PgConnection,
    output: &mut Output,
    stop: &CancellationToken,
    mut tell: impl FnMut(u64),
) -> Result<u64, TransferError> {
    if export.format == Format::Csv {
        output.write(&csv_line(export.subject.columns())?)?;
    }
    let rows = export::stream(connection, export.subject.query(), &export.selection);
    pin_mut!(rows);
    let mut count = 0;
    while let Some(row) = rows.next().await {
        let mut line = format_row(export, &row?)?;
        line.push(b'\n');
        output.write(&line)?;
        count += 1;
        if count % ROWS_TOLD == 0 {
            tell(count);
            if stop.is_cancelled() {
                return Err(output.failed()(io::Error::other("it was interrupted")));
            }
        }
    }
    tell(count);
    Ok(count)
}

fn format_row(export: &Export, json: &str) -> Result<Vec<u8>, TransferError> {
    let mut row: Map<String, Value> = serde_json::from_str(json).expect("PostgreSQL writes JSON");
    let columns = export.subject.columns();
    if export.format == Format::Ndjson {
        // An explicit null says that there is no counter; without the member, an import would make one.
        row.retain(|name, value| columns.contains(&name.as_str()) && (!value.is_null() || name == "seq"));
        return Ok(serde_json::to_vec(&row).expect("a row is always JSON"));
    }
    let cells: Vec<String> = columns
        .iter()
        .map(|column| cell(row.get(*column), export.raw_cells))
        .collect();
    let mut line = csv_line(&cells)?;
    line.pop();
    Ok(line)
}

fn csv_line(cells: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, TransferError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).expect("memory takes every row");
    Ok(writer.into_inner().expect("memory takes every row"))
}

/// A value as the text of a cell: nothing for null, JSON for lists and objects.
fn cell(value: Option<&Value>, raw: bool) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if !raw => crate::http::list::disarm(text),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Where an export goes: a file that appears as a whole or not at all, or standard output.
pub struct Output {
    /// `None` for standard output.
    paths: Option<Paths>,
    writer: Option<Writer>,
}

struct Paths {
    wanted: PathBuf,
    partial: PathBuf,
}

enum Writer {
    Plain(BufWriter<Box<dyn Write + Send>>),
    Gzip(GzEncoder<BufWriter<Box<dyn Write + Send>>>),
}

impl Output {
    /// Opens a file beside the one that is wanted; its name decides about gzip.
    ///
    /// # Errors
    /// [`TransferError::File`].
    pub fn file(path: &Path) -> Result<Self, TransferError> {
        let Some(name) = path.file_name() else {
            let error = io::Error::other("it is not the name of a file");
            return Err(TransferError::file(path, "written")(error));
        };
        let mut partial = std::ffi::OsString::from(".");
        partial.push(name);
        partial.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(partial);
        let mut options = OpenOptions::new();
        // People's data: for the owner only, until the owner says otherwise.
        options.create(true).write(true).truncate(true).mode(0o600);
        let file = options
            .open(&partial)
            .map_err(TransferError::file(path, "written"))?;
        let buffered = BufWriter::new(Box::new(file) as Box<dyn Write + Send>);
        let is_gzip = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
        Ok(Self {
            paths: Some(Paths {
                wanted: path.into(),
                partial,
            }),
            writer: Some(if is_gzip {
                Writer::Gzip(GzEncoder::new(buffered, Compression::default()))
            } else {
                Writer::Plain(buffered)
            }),
        })
    }

    /// Takes standard output, or whatever stands for it.
    pub fn stream(writer: impl Write + Send + 'static) -> Self {
        Self {
            paths: None,
            writer: Some(Writer::Plain(BufWriter::new(Box::new(writer)))),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        let result = match &mut self.writer {
            Some(Writer::Plain(writer)) => writer.write_all(bytes),
            Some(Writer::Gzip(writer)) => writer.write_all(bytes),
            None => Err(io::Error::other("it is finished")),
        };
        result.map_err(self.failed())
    }

    /// Brings everything to the disk and gives the file its name.
    ///
    /// # Errors
    /// [`TransferError::File`]; the file that was there before is still there.
    pub fn finish(mut self) -> Result<(), TransferError> {
        let result = self.close();
        result.map_err(self.failed())
    }

    fn close(&mut self) -> io::Result<()> {
        let mut buffered = match self.writer.take() {
            Some(Writer::Plain(writer)) => writer,
            Some(Writer::Gzip(writer)) => writer.finish()?,
            None => return Ok(()),
        };
        buffered.flush()?;
        drop(buffered);
        if let Some(paths) = &self.paths {
            File::open(&paths.partial)?.sync_all()?;
            fs::rename(&paths.partial, &paths.wanted)?;
            self.paths = None;
        }
        Ok(())
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> TransferError + use<> {
        let path = match &self.paths {
            Some(paths) => paths.wanted.clone(),
            None => "standard output".into(),
        };
        TransferError::file(path, "written")
    }
}

impl Drop for Output {
    /// What was not finished is nobody's export.
    fn drop(&mut self) {
        self.writer = None;
        if let Some(paths) = &self.paths {
            let _ = fs::remove_file(&paths.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        fs::write(&path, "before").unwrap();
        let mut output = Output::file(&path).unwrap();
        output.write(b"half").unwrap();
        drop(output);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        let mut output = Output::file(&path).unwrap();
        output.write(b"whole").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        let nowhere = Output::file(&folder.path().join("no/where.csv"));
        let error = nowhere.err().unwrap().to_string();
        assert!(error.ends_with("no/where.csv cannot be written"), "{error}");
    }

    #[test]
    fn cells_are_disarmed_unless_they_are_wanted_raw() {
        let text = Value::from("=1+1");
        assert_eq!(cell(Some(&text), false), "'=1+1");
        assert_eq!(cell(Some(&text), true), "=1+1");
        assert_eq!(cell(Some(&Value::Null), false), "");
        assert_eq!(cell(Some(&serde_json::json!([1, "=2"])), false), "[1,\"=2\"]");
    }
}
