//! `customer-journey bench`: what this machine makes of the service.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use customer_journey::{
    bench::{self, BenchOptions, Report},
    config::Config,
    ops::lifecycle::block_on,
};

#[derive(Args)]
pub struct Arguments {
    /// Rows of the comparison with a bare COPY
    #[arg(long, default_value_t = 200_000)]
    rows: usize,
    /// Seconds of the latency measurement and of the sustained load, each
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Connections of the sustained load
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Requests a second of the latency measurement, ten events each
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Devices that take turns in the latency measurement and the sustained load
    #[arg(long, default_value_t = 6000)]
    devices: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments, config: Config) -> anyhow::Result<ExitCode> {
    let options = BenchOptions {
        rows: arguments.rows,
        duration: Duration::from_secs(arguments.seconds),
        connections: arguments.connections.max(1),
        rate: arguments.rate.max(1),
        devices: arguments.devices,
    };
    let say = |text: &str| drop(writeln!(io::stderr(), "{text} …"));
    let report = block_on(bench::run(config, &options, say))?;
    let mut output = io::stdout().lock();
    if arguments.json {
        writeln!(output, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        print(&mut output, &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(output: &mut impl io::Write, report: &Report) -> io::Result<()> {
    let Report {
        rows,
        sustained,
        latency,
        ..
    } = report;
    writeln!(output, "storage                      {}", report.storage)?;
    writeln!(
        output,
        "bare COPY                    {:>10.0} rows/s",
        rows.copy_rows_per_second
    )?;
    writeln!(
        output,
        "settling transaction         {:>10.0} rows/s   {:.2} × bare COPY",
        rows.settle_rows_per_second, rows.settle_to_copy
    )?;
    writeln!(
        output,
        "sustained ingest over HTTP   {:>10.0} events/s {:.2} × bare COPY ({} events in {:.1} s, {} turned away)",
        sustained.events_per_second,
        sustained.to_copy,
        sustained.events_stored,
        sustained.seconds,
        sustained.requests_turned_away
    )?;
    writeln!(
        output,
        "latency at {} requests/s of {} events: p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        latency.requests_per_second,
        latency.events_per_request,
        latency.p50_ms,
        latency.p95_ms,
        latency.p99_ms,
        latency.max_ms
    )?;
    writeln!(
        output,
        "ledger difference            {:>10}",
        sustained.ledger_difference
    )?;
    writeln!(
        output,
        "resident memory              {:>10.0} MB",
        report.resident_bytes as f64 / 1e6
    )
}
