//! Every number the service shows to Prometheus, named in one table.
//!
//! The other modules emit with the constants (`metrics::counter!(EVENTS_RECEIVED).increment(1)`), never with a
//! name of their own, so each metric has a help text and a unit.

use metrics::Unit;
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counted into buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    pub unit: Unit,
    pub help: &'static str,
}

/// Upper bounds of request durations in seconds: fine around the 5 ms that a request may take, up to the
/// default request timeout.
const REQUEST_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Upper bounds of a writer's transaction in seconds.
const BATCH_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// Upper bounds of the events in one transaction, around the default of 5000.
const BATCH_EVENTS: &[f64] = &[
    1.0, 10.0, 100.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0, 25_000.0,
];

/// Upper bounds of a job's duration in seconds, up to an hour.
const JOB_SECONDS: &[f64] = &[0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

/// Declares a constant with each metric's name, and the table of them all.
macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:expr, $unit:ident, $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $constant: &str = concat!("customer_journey_", $name);
        )+

        /// Every metric of the service.
        pub const METRICS: &[Metric] = &[
            $(Metric { name: $constant, kind: $kind, unit: Unit::$unit, help: $help },)+
        ];
    };
}

metrics! {
    BUILD_INFO = "build_info", MetricKind::Gauge, Count, "Always 1; the label `version` says what runs.";
    EVENTS_RECEIVED = "events_received_total", MetricKind::Counter, Count, "Events that arrived, whatever became of them.";
    EVENTS_ACCEPTED = "events_accepted_total", MetricKind::Counter, Count, "Events answered with 202.";
    EVENTS_REJECTED = "events_rejected_total", MetricKind::Counter, Count, "Events refused or left out, by `reason`.";
    EVENTS_STORED = "events_stored_total", MetricKind::Counter, Count, "Events committed to the store.";
    EVENTS_DUPLICATE = "events_duplicate_total", MetricKind::Counter, Count, "Events the store already had.";
    HTTP_REQUESTS = "http_requests_total", MetricKind::Counter, Count, "Requests answered, by `route`, `method` and `status`.";
    HTTP_REQUEST_SECONDS = "http_request_duration_seconds", MetricKind::Histogram(REQUEST_SECONDS), Seconds, "Time to answer a request, by `route`.";
    HTTP_REQUESTS_OPEN = "http_requests_open", MetricKind::Gauge, Count, "Requests being answered now.";
    QUEUE_ENTRIES = "queue_entries", MetricKind::Gauge, Count, "Accepted requests on the queue.";
    QUEUE_EVENTS = "queue_events", MetricKind::Gauge, Count, "Events on the queue that are not stored yet.";
    QUEUE_PENDING = "queue_pending", MetricKind::Gauge, Count, "Entries delivered to a writer and not acknowledged yet.";
    QUEUE_DEAD_LETTERS = "queue_dead_letters", MetricKind::Gauge, Count, "Entries given up after too many deliveries.";
    QUEUE_REACHABLE = "queue_reachable", MetricKind::Gauge, Count, "1 while Redis answers; events take the direct way otherwise.";
    REQUESTS_TURNED_AWAY = "requests_turned_away_total", MetricKind::Counter, Count, "Requests with events answered with 503, because neither queue nor store had room.";
    QUEUE_FALLBACKS = "queue_fallbacks_total", MetricKind::Counter, Count, "Requests stored directly because the queue did not answer.";
    WRITER_LAG_SECONDS = "writer_lag_seconds", MetricKind::Gauge, Seconds, "Age of the oldest entry that is not stored yet.";
    WRITER_BATCH_EVENTS = "writer_batch_events", MetricKind::Histogram(BATCH_EVENTS), Count, "Events in one transaction of a writer.";
    WRITER_BATCH_SECONDS = "writer_batch_seconds", MetricKind::Histogram(BATCH_SECONDS), Seconds, "Time of one transaction of a writer.";
    WRITER_FAILURES = "writer_failures_total", MetricKind::Counter, Count, "Transactions of a writer that failed and are tried again.";
    LEDGER_DIFFERENCE = "ledger_difference", MetricKind::Gauge, Count, "Received minus stored, duplicate, rejected and queued events; anything but 0 is a defect.";
    INDEX_EVENTS = "index_events", MetricKind::Gauge, Count, "Events in the journey index.";
    INDEX_BYTES = "index_bytes", MetricKind::Gauge, Bytes, "Memory of the journey index.";
    INDEX_LAG_SECONDS = "index_lag_seconds", MetricKind::Gauge, Seconds, "Age of what the journey index knows: how long its last look at the store took, or how long ago the last good one was.";
    SESSIONS_UPDATED = "sessions_updated_total", MetricKind::Counter, Count, "Sessions written again because events came.";
    DATABASE_CONNECTIONS = "database_connections", MetricKind::Gauge, Count, "Connections to PostgreSQL, by `state` (idle or used).";
    ALERTS = "alerts_total", MetricKind::Counter, Count, "What happened to alerts, by `event` (opened, escalated, resolved) and `severity`.";
    ALERT_DELIVERIES = "alert_deliveries_total", MetricKind::Counter, Count, "Attempts to deliver a message about an alert, by `channel` and `outcome` (delivered, retried, failed: given up).";
    JOB_RUNS = "job_runs_total", MetricKind::Counter, Count, "Runs of scheduled jobs, by `job` and `outcome`.";
    JOB_SECONDS_SPENT = "job_duration_seconds", MetricKind::Histogram(JOB_SECONDS), Seconds, "Time of a scheduled job's run, by `job`.";
    JOB_LAST_SUCCESS = "job_last_success_timestamp_seconds", MetricKind::Gauge, Seconds, "When a job last succeeded, as seconds since 1970, by `job`.";
    JOB_LAST_FAILED = "job_last_failed", MetricKind::Gauge, Count, "1 while the last run of a job, in whatever process, is one that failed, by `job`.";
    JOBS_LEADER = "jobs_leader", MetricKind::Gauge, Count, "1 in the process that runs the scheduled jobs.";
}

/// Upkeep empties histograms into their buckets; undrained samples cost memory until the next scrape.
const UPKEEP_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);

/// Makes this process's metrics readable through the handle. Once per process.
///
/// # Errors
/// [`BuildError`] when a recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let recorder = recorder()?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    describe();
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// Keeps the recorder tidy until `stop`.
pub fn spawn_upkeep(handle: PrometheusHandle, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        while stop
            .run_until_cancelled(tokio::time::sleep(UPKEEP_INTERVAL))
            .await
            .is_some()
        {
            handle.run_upkeep();
        }
    })
}

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let MetricKind::Histogram(bounds) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), bounds)?;
        }
    }
    Ok(builder.build_recorder())
}

fn describe() {
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.help),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
            MetricKind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_shown_with_its_help_type_and_name() {
        let recorder = recorder().unwrap();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            for metric in METRICS {
                match metric.kind {
                    MetricKind::Counter => metrics::counter!(metric.name).increment(1),
                    MetricKind::Gauge => metrics::gauge!(metric.name).set(1.0),
                    MetricKind::Histogram(_) => metrics::histogram!(metric.name).record(1.0),
                }
            }
        });
        let page = handle.render();
        for metric in METRICS {
            assert!(
                page.contains(&format!("# HELP {} {}", metric.name, metric.help)),
                "{}\n{page}",
                metric.name
            );
            let kind = match metric.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram(_) => "histogram",
            };
            assert!(
                page.contains(&format!("# TYPE {} {kind}\n", metric.name)),
                "{}\n{page}",
                metric.name
            );
        }
    }

    #[test]
    fn durations_fall_into_buckets_of_seconds() {
        let recorder = recorder().unwrap();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!(HTTP_REQUEST_SECONDS, "route" => "/health").record(0.004);
        });
        let page = handle.render();
        let bucket =
            |bound: &str| format!("{HTTP_REQUEST_SECONDS}_bucket{{route=\"/health\",le=\"{bound}\"}}");
        assert!(page.contains(&format!("{} 0", bucket("0.0025"))), "{page}");
        assert!(page.contains(&format!("{} 1", bucket("0.005"))), "{page}");
    }

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        for metric in METRICS {
            let counts = metric.kind == MetricKind::Counter;
            assert_eq!(counts, metric.name.ends_with("_total"), "{}", metric.name);
            assert_eq!(
                metric.unit == Unit::Seconds,
                metric.name.ends_with("_seconds"),
                "{}",
                metric.name
            );
            if let MetricKind::Histogram(bounds) = metric.kind {
                assert!(bounds.is_sorted_by(|left, right| left < right), "{}", metric.name);
            }
        }
    }
}
