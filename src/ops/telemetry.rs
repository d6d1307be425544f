//! Where log lines go: journald with fields, JSON lines, or readable text.
//!
//! Panics are logged the same way, so that a failed task leaves one line with its place instead of a trace that
//! no log reader understands.

use std::{
    any::Any,
    io,
    os::unix::fs::MetadataExt,
    panic::{Location, PanicHookInfo},
};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::config::{LogFormat, Telemetry};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("telemetry.log_filter is not a filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    #[error("journald cannot be reached; set telemetry.log_format to text or json")]
    Journald(#[source] io::Error),
    #[error("log lines already go elsewhere")]
    Installed(#[source] tracing_subscriber::util::TryInitError),
}

/// Libraries that tell at `info` what only their authors want to know. The configured filter may name them again.
const QUIET: &str = "tokio_cron_scheduler=warn,sqlx=warn";

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Sends the log lines and panics of this process where the configuration says. Once per process.
///
/// # Errors
/// [`TelemetryError`] when the filter cannot be read, journald was asked for by name and is not there, or a
/// subscriber is installed already.
pub fn install(config: &Telemetry) -> Result<(), TelemetryError> {
    let layer = match config.log_format {
        LogFormat::Text => text_layer(io::stderr),
        LogFormat::Json => json_layer(io::stderr),
        LogFormat::Journald => journald_layer().map_err(TelemetryError::Journald)?,
        LogFormat::Auto if writes_to_journal() => journald_layer().unwrap_or_else(|_| text_layer(io::stderr)),
        LogFormat::Auto => text_layer(io::stderr),
    };
    subscriber(layer, &config.log_filter)?
        .try_init()
        .map_err(TelemetryError::Installed)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn subscriber(
    layer: BoxedLayer,
    filter: &str,
) -> Result<impl Subscriber + Send + Sync + 'static, TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(format!("{QUIET},{filter}"))
        .map_err(TelemetryError::Filter)?;
    // Not a filter of the layer: after sqlx has asked whether anybody wants its lines, that one would also swallow the
    // next line of the same thread (tokio-rs/tracing, issue 2519).
    Ok(tracing_subscriber::registry().with(layer).with(filter))
}

fn text_layer<Writer>(writer: Writer) -> BoxedLayer
where
    Writer: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    use io::IsTerminal;
    fmt::layer()
        .with_writer(writer)
        .with_ansi(io::stderr().is_terminal())
        .boxed()
}

fn json_layer<Writer>(writer: Writer) -> BoxedLayer
where
    Writer: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().json().flatten_event(true).with_current_span(true);
    layer.with_span_list(false).with_writer(writer).boxed()
}

fn journald_layer() -> io::Result<BoxedLayer> {
    let layer = tracing_journald::layer()?.with_syslog_identifier("customer-journey".into());
    Ok(layer.boxed())
}

/// Whether standard error is the journal's stream: systemd names it by device and inode in `JOURNAL_STREAM`.
///
/// The variable alone is not enough, for it is inherited by shells whose output goes elsewhere
/// (source: systemd.exec(5), `$JOURNAL_STREAM`).
fn writes_to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|file| is_stream(&stream, file.dev(), file.ino()))
}

fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    stream == format!("{device}:{inode}")
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    report_panic(panic_message(panic.payload()), panic.location());
}

fn report_panic(message: &str, location: Option<&Location<'_>>) {
    let place = location.map_or_else(|| "an unknown place".into(), Location::to_string);
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    tracing::error!(panic_place = %place, panic_thread = thread, "a task panicked at {place}: {message}");
}

/// Returns what a panic said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (_, Some(message)) => message,
        (None, None) => "no message",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn record(layer: fn(Buffer) -> BoxedLayer, filter: &str, work: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        tracing::subscriber::with_default(subscriber(layer(buffer.clone()), filter).unwrap(), work);
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    fn json(buffer: Buffer) -> BoxedLayer {
        json_layer(move || buffer.clone())
    }

    fn text(buffer: Buffer) -> BoxedLayer {
        text_layer(move || buffer.clone())
    }

    #[test]
    fn json_lines_carry_message_and_fields_at_the_top() {
        let log = record(json, "info", || tracing::info!(entries = 3, "the queue was read"));
        let line: serde_json::Value = serde_json::from_str(log.trim()).unwrap();
        assert_eq!(line["message"], "the queue was read");
        assert_eq!(line["entries"], 3);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn a_line_is_written_after_somebody_asked_for_another_that_nobody_wants() {
        let log = record(text, "info", || {
            // As sqlx asks before it writes of a query.
            let span = tracing::debug_span!("query");
            let query = span.metadata().expect("a span knows what it is");
            let is_wanted = tracing::dispatcher::get_default(|dispatch| dispatch.enabled(query));
            assert!(!is_wanted);
            tracing::info!("ready");
        });
        assert!(log.contains("ready"), "{log:?}");
    }

    #[test]
    fn the_filter_decides_by_target_and_level() {
        let log = record(text, "customer_journey=debug,warn", || {
            tracing::debug!("ours");
            tracing::info!(target: "other", "hidden");
            tracing::warn!(target: "other", "theirs");
        });
        assert!(
            log.contains("ours") && log.contains("theirs") && !log.contains("hidden"),
            "{log}"
        );
        assert!(matches!(
            subscriber(text(Buffer::default()), "a=loud"),
            Err(TelemetryError::Filter(_))
        ));
    }

    #[test]
    fn chatty_libraries_are_quiet_unless_they_are_named() {
        let chat = || tracing::info!(target: "tokio_cron_scheduler", "Uninited");
        assert_eq!(record(text, "info", chat), "");
        assert!(record(text, "info,tokio_cron_scheduler=info", chat).contains("Uninited"));
    }

    #[test]
    fn a_panic_is_one_error_line_with_its_place() {
        let log = record(json, "info", || {
            report_panic("out of luck", Some(Location::caller()))
        });
        assert_eq!(log.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(log.trim()).unwrap();
        assert_eq!(line["level"], "ERROR");
        assert!(line["message"].as_str().unwrap().ends_with("out of luck"));
        assert!(line["panic_place"].as_str().unwrap().contains("telemetry.rs"));
    }

    #[test]
    fn panics_speak_in_both_kinds_of_text() {
        assert_eq!(panic_message(&"borrowed"), "borrowed");
        assert_eq!(panic_message(&String::from("owned")), "owned");
        assert_eq!(panic_message(&7), "no message");
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode_together() {
        assert!(is_stream("8:4711", 8, 4711));
        assert!(!is_stream("8:4712", 8, 4711));
        assert!(!is_stream("8", 8, 4711));
    }
}
