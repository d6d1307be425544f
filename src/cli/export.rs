//! `customer-journey export`: events, sessions or customers into a file.

use std::{
    io::{IsTerminal as _, Write as _, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use clap::{Args, ValueEnum};
use customer_journey::{
    config::Config,
    http::list::{DayEdge, parse_time},
    ops::lifecycle,
    store::export::Selection,
    transfer::export::{self, Export, Output, Subject},
};
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::{Connection, PgConnection};

use super::import::FileFormat;

#[derive(Debug, Args)]
pub struct Arguments {
    /// What to export
    #[arg(value_enum)]
    subject: Table,
    /// Beginning of the time, inclusive: RFC 3339, or a day of the site's time zone
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// End of the time: RFC 3339 and exclusive, or a day of the site's time zone and inclusive
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only what belongs to this device
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Only what belongs to this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only events of this type, and sessions and customers with one
    #[arg(long, value_name = "TYPE")]
    event_type: Option<String>,
    /// Form of the file [default: csv when its name says so, else ndjson]
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// File to write; it appears when it is complete, packed when its name ends in .gz [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave texts of CSV that a spreadsheet would run as formulas as they are
    #[arg(long)]
    raw_cells: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Table {
    Events,
    Sessions,
    Customers,
}

impl From<Table> for Subject {
    fn from(table: Table) -> Self {
        match table {
            Table::Events => Self::Events,
            Table::Sessions => Self::Sessions,
            Table::Customers => Self::Customers,
        }
    }
}

/// Runs the export and says how many rows were written.
///
/// # Errors
/// When the database cannot be reached or the file not be written.
pub async fn run(arguments: Arguments, config: &Config) -> Result<ExitCode> {
    let zone = config
        .site
        .timezone
        .parse()
        .context("site.timezone is no time zone")?;
    let time = |name, text, edge| read_time(name, text, zone, edge);
    let export = Export {
        subject: arguments.subject.into(),
        selection: Selection {
            from: time("--from", arguments.from.as_deref(), DayEdge::Begin)?,
            to: time("--to", arguments.to.as_deref(), DayEdge::End)?,
            device_id: arguments.device,
            user_id: arguments.user,
            event_type: arguments.event_type,
        },
        format: arguments
            .format
            .unwrap_or_else(|| by_name(arguments.output.as_ref()))
            .into(),
        raw_cells: arguments.raw_cells,
    };
    let mut connection = PgConnection::connect(&config.database.url)
        .await
        .context("the database cannot be reached: is it running, and is database.url right?")?;
    let stop = lifecycle::stop_on_signal()?;
    let file = arguments.output.filter(|path| path.as_os_str() != "-");
    let mut output = match &file {
        Some(path) => Output::file(path)?,
        None => Output::stream(stdout()),
    };
    let bar = if file.is_some() && stderr().is_terminal() {
        let style = ProgressStyle::with_template("{spinner} {human_pos} rows, {per_sec}");
        ProgressBar::new_spinner().with_style(style.expect("the template is right"))
    } else {
        ProgressBar::hidden()
    };
    let rows = export::run(&export, &mut connection, &mut output, &stop, |rows| {
        bar.set_position(rows)
    })
    .await;
    bar.finish_and_clear();
    let rows = rows?;
    output.finish()?;
    if let Some(path) = file {
        writeln!(stderr(), "{rows} rows written to {}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read_time(name: &str, text: Option<&str>, zone: Tz, edge: DayEdge) -> Result<Option<DateTime<Utc>>> {
    let Some(text) = text else { return Ok(None) };
    match parse_time(name, text, zone, edge) {
        Ok(time) => Ok(Some(time)),
        Err(_) => bail!("{name} {text}: write RFC 3339 (2026-03-01T12:00:00Z) or a day (2026-03-01)"),
    }
}

fn by_name(path: Option<&PathBuf>) -> FileFormat {
    let name = path
        .and_then(|path| path.to_str())
        .unwrap_or_default()
        .to_ascii_lowercase();
    if name.strip_suffix(".gz").unwrap_or(&name).ends_with(".csv") {
        FileFormat::Csv
    } else {
        FileFormat::Ndjson
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_site() {
        let zone: Tz = "Europe/Oslo".parse().unwrap();
        let read = |text, edge| read_time("--to", Some(text), zone, edge).unwrap().unwrap();
        assert_eq!(
            read("2026-03-29", DayEdge::Begin).to_rfc3339(),
            "2026-03-28T23:00:00+00:00"
        );
        assert_eq!(
            read("2026-03-29", DayEdge::End).to_rfc3339(),
            "2026-03-29T22:00:00+00:00"
        );
        assert_eq!(read_time("--to", None, zone, DayEdge::End).unwrap(), None);
        let error = read_time("--to", Some("soon"), zone, DayEdge::End).unwrap_err();
        assert!(error.to_string().starts_with("--to soon: write RFC 3339"));
    }

    #[test]
    fn the_name_of_the_file_says_its_form() {
        for (name, is_csv) in [
            ("a.csv", true),
            ("a.CSV.gz", true),
            ("a.ndjson.gz", false),
            ("csv", false),
        ] {
            let format = by_name(Some(&PathBuf::from(name)));
            assert_eq!(matches!(format, FileFormat::Csv), is_csv, "{name}");
        }
    }
}
