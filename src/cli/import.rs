//! `customer-journey import`: event logs of other systems into the store.

use std::{
    io::{IsTerminal as _, Write as _, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use customer_journey::{
    config::Config,
    ops::{Clock, lifecycle},
    service, store,
    transfer::{
        import::{self, Import, Means, Outcome, Plan, Progress},
        prepare::IdRule,
        reader::{Format, Input},
    },
};
use indicatif::{ProgressBar, ProgressStyle};

/// Time between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The code of a command that a signal ended.
const INTERRUPTED: u8 = 130;

#[derive(Debug, Args)]
pub struct Arguments {
    /// File to import (CSV or NDJSON, also packed with gzip); - or nothing for standard input
    file: Option<PathBuf>,
    /// Which column becomes which field; columns named like a field need none. NDJSON may name paths: a.b.c
    #[arg(long, value_name = "FIELD=COLUMN", value_parser = pair, value_delimiter = ',')]
    map: Vec<(String, String)>,
    /// Value of a field where the file has none
    #[arg(long, value_name = "FIELD=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Columns to leave out; all others become properties
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    skip: Vec<String>,
    /// What a type of event is called here, as in "Order Completed=purchase"
    #[arg(long, value_name = "THERE=HERE", value_parser = pair)]
    event_map: Vec<(String, String)>,
    /// How times are written: auto, rfc3339, epoch-s, epoch-ms, epoch-us, epoch-ns or a strftime pattern
    #[arg(long, default_value = "auto", allow_hyphen_values = true)]
    time_format: String,
    /// IANA zone of times that say none
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// Form of the file; recognised when absent
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// Delimiter of CSV, one character or `tab`; recognised when absent
    #[arg(long, value_parser = delimiter, allow_hyphen_values = true)]
    delimiter: Option<u8>,
    /// Goes into the ids made here: the same line of another source is another event
    #[arg(long, default_value = "")]
    source: String,
    /// Make the file's own event ids unique to the source
    #[arg(long, requires = "source")]
    namespace_ids: bool,
    /// Take events older than the retention, too; it drops them when it next runs
    #[arg(long)]
    keep_old: bool,
    /// Keep properties from CSV as texts, even if they look like numbers
    #[arg(long)]
    text_properties: bool,
    /// Judge every line and report, but write nothing; needs no database
    #[arg(long)]
    dry_run: bool,
    /// Where the state of the import lies [default: FILE.import-state until the import is complete]
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Begin at the first line whatever the state says
    #[arg(long)]
    restart: bool,
    /// Write refused lines with their reasons to this file (NDJSON; it holds people's data)
    #[arg(long, value_name = "FILE")]
    refused: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FileFormat {
    Csv,
    Ndjson,
}

impl From<FileFormat> for Format {
    fn from(format: FileFormat) -> Self {
        match format {
            FileFormat::Csv => Self::Csv,
            FileFormat::Ndjson => Self::Ndjson,
        }
    }
}

/// Runs the import and prints its report.
///
/// # Errors
/// When options, file or database do not allow it.
pub async fn run(arguments: Arguments, config: &Config, clock: Clock) -> Result<ExitCode> {
    let is_dry = arguments.dry_run;
    let as_json = arguments.json;
    let means = Means {
        policy: service::policy(config)?,
        settler: match is_dry {
            true => None,
            false => Some(open_settler(config, &clock).await?),
        },
        clock,
        stop: lifecycle::stop_on_signal()?,
    };
    let mut display = Display::new();
    let outcome = import::run(import_of(arguments), means, |progress| display.show(progress)).await;
    display.end();
    let outcome = outcome?;
    print(&outcome, is_dry, as_json)?;
    Ok(exit_code(&outcome))
}

fn exit_code(outcome: &Outcome) -> ExitCode {
    let report = &outcome.report;
    if !outcome.is_complete {
        ExitCode::from(INTERRUPTED)
    } else if report.events > 0 && report.refused_total() == report.events {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn import_of(arguments: Arguments) -> Import {
    let file = arguments.file.filter(|path| path.as_os_str() != "-");
    Import {
        input: file.map_or(Input::StandardInput, Input::File),
        plan: Plan {
            map: arguments.map,
            set: arguments.set,
            skip: arguments.skip,
            event_map: arguments.event_map,
            time_format: arguments.time_format,
            timezone: arguments.timezone,
            format: arguments.format.map(Format::from),
            delimiter: arguments.delimiter,
            ids: IdRule {
                source: arguments.source,
                namespaced: arguments.namespace_ids,
            },
            keep_old: arguments.keep_old,
            texts_only: arguments.text_properties,
        },
        checkpoint: arguments.checkpoint,
        restart: arguments.restart,
        refused: arguments.refused,
    }
}

async fn open_settler(config: &Config, clock: &Clock) -> Result<customer_journey::ingest::settle::Settler> {
    let pool = store::connect(&config.database).context("database.url cannot be read")?;
    let reached = pool.acquire().await;
    drop(reached.context("PostgreSQL cannot be used: check database.url and that it runs")?);
    let situation = service::open_store(&pool, config).await?;
    let options = service::Options::new(clock.clone());
    Ok(service::settler(config, pool, situation, &options))
}

fn print(outcome: &Outcome, is_dry: bool, as_json: bool) -> Result<()> {
    let mut output = stdout().lock();
    if as_json {
        serde_json::to_writer_pretty(&mut output, &outcome.report)?;
        writeln!(output)?;
    } else {
        write!(output, "{}", outcome.report)?;
    }
    let mut notes = stderr().lock();
    if let Some(records) = outcome.resumed_at {
        writeln!(
            notes,
            "The import went on after event {records}; the figures are those of all its runs."
        )?;
    }
    if let Some(cause) = &outcome.stateless {
        writeln!(
            notes,
            "No state was kept ({cause}); a second run counts what is stored as duplicates."
        )?;
    }
    if is_dry {
        writeln!(
            notes,
            "Nothing was written; whether events are duplicates shows when they are stored."
        )?;
    }
    if !outcome.is_complete {
        writeln!(notes, "Interrupted. The same command goes on from here.")?;
    }
    Ok(())
}

/// A bar on a terminal, else a line now and then; both on standard error.
struct Display {
    bar: Option<ProgressBar>,
    begun: Instant,
    told: Instant,
}

impl Display {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            bar: stderr().is_terminal().then(ProgressBar::no_length),
            begun: now,
            told: now,
        }
    }

    fn show(&mut self, progress: &Progress<'_>) {
        let message = message(progress, self.begun.elapsed());
        if let Some(bar) = &self.bar {
            if let (None, Some(size)) = (bar.length(), progress.size) {
                bar.set_length(size);
                let style = "{wide_bar} {bytes}/{total_bytes} {eta} {msg}";
                bar.set_style(ProgressStyle::with_template(style).expect("the template is right"));
            }
            bar.set_position(progress.bytes);
            bar.set_message(message);
        } else if self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            let percent = progress
                .size
                .filter(|size| *size > 0)
                .map_or_else(String::new, |size| format!("{} %, ", progress.bytes * 100 / size));
            let _ = writeln!(stderr(), "{percent}{message}");
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn message(progress: &Progress<'_>, elapsed: Duration) -> String {
    if progress.is_resuming {
        return "passing over what a former run has done".to_owned();
    }
    let events = progress.report.events;
    let seconds = elapsed.as_secs_f64().max(0.001);
    format!(
        "{events} events, {} refused, {:.0} a second",
        progress.report.refused_total(),
        events as f64 / seconds
    )
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((left, right)) if !left.trim().is_empty() && !right.is_empty() => {
            Ok((left.trim().to_owned(), right.to_owned()))
        }
        _ => Err(format!("{text:?} is not of the form NAME=VALUE")),
    }
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => Err("the delimiter is one ASCII character other than a quote, or `tab`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        import: Arguments,
    }

    fn parse(words: &[&str]) -> Result<Import, clap::Error> {
        let words = std::iter::once(&"import").chain(words);
        Ok(import_of(Program::try_parse_from(words)?.import))
    }

    #[test]
    fn the_command_line_becomes_an_import() {
        let import = parse(&[
            "log.csv",
            "--map",
            "user_id=visitor,event=action,timestamp=at",
            "--event-map",
            "Order, Completed=purchase",
            "--set",
            "page_title=a,b=c",
            "--delimiter",
            "tab",
        ])
        .unwrap();
        assert_eq!(import.plan.map.len(), 3);
        assert_eq!(import.plan.map[1], ("event".to_owned(), "action".to_owned()));
        assert_eq!(import.plan.event_map[0].0, "Order, Completed");
        assert_eq!(import.plan.set[0].1, "a,b=c");
        assert_eq!(import.plan.delimiter, Some(b'\t'));
        assert!(matches!(import.input, Input::File(_)));
        assert!(matches!(parse(&["-"]).unwrap().input, Input::StandardInput));
        for wrong in [
            &["x", "--map", "user_id"][..],
            &["x", "--delimiter", "::"],
            &["x", "--format", "xml"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
