//! How long analyses take on a synthetic site, and what the index of it takes.
//!
//!     cargo bench --bench journeys -- --events 1000000,9000000 [--runs 20] [--export FOLDER]
//!
//! `--export` writes, for each size, the same events as columns and the answers with their times as `ours.json`, for
//! `benches/engines.py` to hold other engines against. Run as a test it only looks whether it all works.

mod export;
mod fill;
mod questions;
mod site;

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;

use self::questions::{Answers, Figure};

/// As the service has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Arguments {
    /// Events of the site, one measurement for each size
    #[arg(long, value_delimiter = ',', default_value = "1000000")]
    events: Vec<u64>,
    /// How often each question is asked
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// Folder for the events and answers
    #[arg(long)]
    export: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    if has("--bench") {
        let arguments = Arguments::parse();
        for events in &arguments.events {
            measure(*events, &arguments)?;
        }
    } else if has("--list") {
        // What a runner of tests wants to know; nothing is ignored.
        if !has("--ignored") {
            println!("a_small_site_is_answered: test");
        }
    } else {
        a_small_site_is_answered();
    }
    Ok(())
}

fn measure(events: u64, arguments: &Arguments) -> anyhow::Result<()> {
    let filled = fill::fill(events);
    let size = filled.view.size();
    let bytes_per_event = filled.bytes as f64 / size.events as f64;
    println!(
        "{} events, {} sessions, {} people; {bytes_per_event:.1} bytes an event",
        size.events, size.sessions, size.people
    );
    let (figures, answers) = questions::measure(&filled.view, arguments.runs.max(1));
    for Figure {
        name,
        median_ms,
        p95_ms,
        cpu_ms,
        ..
    } in &figures
    {
        println!("  {name:24} median {median_ms:8.2} ms   p95 {p95_ms:8.2} ms   processor {cpu_ms:8.2} ms");
    }
    let report = json!({
        "events": size.events,
        "sessions": size.sessions,
        "people": size.people,
        "bytes": filled.bytes,
        "bytes_per_event": bytes_per_event,
        "threads": rayon::current_num_threads(),
        "figures": figures,
    });
    println!("{report}");
    if let Some(folder) = &arguments.export {
        let folder = folder.join(events.to_string());
        export::write(&folder, filled.people_made)
            .with_context(|| format!("{} cannot be written", folder.display()))?;
        let ours = json!({ "report": report, "answers": answers });
        fs::write(folder.join("ours.json"), serde_json::to_string(&ours)?)?;
    }
    Ok(())
}

fn a_small_site_is_answered() {
    let filled = fill::fill(20_000);
    let size = filled.view.size();
    assert!(size.events >= 20_000 && size.people > 500);
    let (figures, answers) = questions::measure(&filled.view, 1);
    assert_eq!(figures.len(), 6);
    let Answers {
        funnel,
        paths,
        retention,
        attribution,
    } = answers;
    let reached: Vec<u64> = funnel.funnel.steps.iter().map(|step| step.entered).collect();
    assert!(reached.is_sorted_by(|one, next| one > next), "{reached:?}");
    assert!(funnel.funnel.converted > 0);
    assert_eq!(paths.considered, size.sessions as u64);
    let entered: u64 = retention.cohorts.iter().map(|cohort| cohort.size).sum();
    assert_eq!(entered, size.people as u64);
    assert!(attribution.conversions >= funnel.funnel.converted);
    let folder = tempfile::tempdir().expect("a temporary folder");
    export::write(folder.path(), filled.people_made).expect("the columns are written");
    let exported = fs::metadata(folder.path().join("events/type.u8")).expect("there is a column of types");
    assert_eq!(exported.len(), size.events as u64);
    println!("a small site is answered: ok");
}
