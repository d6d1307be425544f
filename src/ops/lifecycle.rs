//! The service's life as systemd sees it: ready, alive, stopping.
//!
//! Outside systemd (`NOTIFY_SOCKET` unset) every message is a no-op.

use std::{future::Future, io, process, time::Duration};

use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

/// Runs a command's work on a runtime of its own.
///
/// # Errors
/// Those of the work, and when the machine has no room for the runtime's threads.
pub fn block_on<Output>(work: impl Future<Output = anyhow::Result<Output>>) -> anyhow::Result<Output> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// Tells systemd that the service does its work now.
pub fn notify_ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// Tells what the service does at the moment, as `systemctl status` shows it.
pub fn notify_status(status: &str) {
    notify(&[NotifyState::Status(&one_line(status))]);
}

/// Tells systemd that the service is on its way out.
pub fn notify_stopping(status: &str) {
    notify(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
}

/// A line break would begin a new assignment of the protocol.
fn one_line(status: &str) -> String {
    status.replace(['\r', '\n'], " ")
}

/// A manager that does not listen is no reason to stop working.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told: {error}");
    }
}

/// Pings systemd's watchdog at half its time for as long as `healthy` says so, until `stop`.
///
/// Give a `stop` of the process's end, not the one that begins the graceful stop: draining may take longer than
/// the watchdog's time. `None` when systemd watches nothing (`WATCHDOG_USEC` unset or for another process).
pub fn spawn_watchdog(
    healthy: impl Fn() -> bool + Send + 'static,
    stop: CancellationToken,
) -> Option<JoinHandle<()>> {
    let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())?;
    Some(tokio::spawn(async move {
        stop.run_until_cancelled(keep_alive(limit / 2, healthy)).await;
    }))
}

async fn keep_alive(interval: Duration, healthy: impl Fn() -> bool) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_healthy = true;
    loop {
        ticks.tick().await;
        let is_healthy = healthy();
        if is_healthy {
            notify(&[NotifyState::Watchdog]);
        } else if was_healthy {
            tracing::error!("the service makes no progress; systemd will restart it unless it recovers");
        }
        was_healthy = is_healthy;
    }
}

/// Returns a token that SIGTERM or SIGINT cancels. A second signal ends the process at once with code 1.
///
/// # Errors
/// When the signals cannot be listened for.
pub fn stop_on_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        let name = next_signal(&mut terminate, &mut interrupt).await;
        tracing::info!("{name} received: finishing the work at hand; a second signal stops at once");
        token.cancel();
        let name = next_signal(&mut terminate, &mut interrupt).await;
        tracing::warn!("{name} received again: stopping at once");
        process::exit(1);
    });
    Ok(stop)
}

async fn next_signal(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// The environment and the signals belong to a whole process, so these tests start this test program again as
/// the service and play systemd themselves.
#[cfg(test)]
mod tests {
    use std::{
        os::unix::net::UnixDatagram,
        path::Path,
        process::{Child, Command, Stdio},
        time::Instant,
    };

    use super::*;

    const WATCHDOG: Duration = Duration::from_millis(200);

    /// The service: ready, alive while the file `healthy` exists, and draining until the file `drained` does.
    #[tokio::test]
    #[ignore = "runs only as the child of the tests below"]
    async fn service() {
        let Ok(folder) = std::env::var("LIFECYCLE_FOLDER") else {
            return; // Started by a person's `--include-ignored`, not by a test below.
        };
        let (healthy, drained) = (
            Path::new(&folder).join("healthy"),
            Path::new(&folder).join("drained"),
        );
        let stop = stop_on_signal().unwrap();
        let watchdog = spawn_watchdog(move || healthy.exists(), CancellationToken::new());
        assert_eq!(watchdog.is_some(), std::env::var_os("WATCHDOG_USEC").is_some());
        notify_ready("one\ntwo");
        stop.cancelled().await;
        notify_stopping("draining");
        while !drained.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    struct Service {
        folder: tempfile::TempDir,
        socket: UnixDatagram,
        child: Child,
    }

    impl Service {
        fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
            socket.set_read_timeout(Some(WATCHDOG * 5)).unwrap();
            std::fs::write(folder.path().join("healthy"), "").unwrap();
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "ops::lifecycle::tests::service"])
                .env("LIFECYCLE_FOLDER", folder.path())
                .env("NOTIFY_SOCKET", folder.path().join("notify"))
                .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
                .env_remove("WATCHDOG_PID")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            Self {
                folder,
                socket,
                child,
            }
        }

        fn message(&self) -> Option<String> {
            let mut buffer = [0; 256];
            let length = self.socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).trim_end().into())
        }

        fn wait_for(&self, expected: &str) {
            let since = Instant::now();
            while since.elapsed() < Duration::from_secs(20) {
                if self.message().as_deref() == Some(expected) {
                    return;
                }
            }
            panic!("{expected:?} was never sent");
        }

        fn signal(&self, name: &str) {
            let process = self.child.id().to_string();
            assert!(
                Command::new("kill")
                    .args([name, &process])
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }

    impl Drop for Service {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    #[test]
    fn systemd_hears_ready_alive_and_stopping() {
        let mut service = Service::start();
        service.wait_for("READY=1\nSTATUS=one two");
        service.wait_for("WATCHDOG=1");
        service.signal("-TERM");
        service.wait_for("STOPPING=1\nSTATUS=draining");
        // The watchdog is still served while the service drains.
        service.wait_for("WATCHDOG=1");
        std::fs::write(service.folder.path().join("drained"), "").unwrap();
        assert!(service.child.wait().unwrap().success());
    }

    #[test]
    fn the_watchdog_hears_nothing_while_the_service_is_not_healthy() {
        let service = Service::start();
        service.wait_for("WATCHDOG=1");
        std::fs::remove_file(service.folder.path().join("healthy")).unwrap();
        // At most the pings already sent arrive, then silence for longer than the watchdog waits.
        let heard = std::iter::from_fn(|| service.message()).take(100).count();
        assert!(heard < 100, "the pings go on");
        std::fs::write(service.folder.path().join("healthy"), "").unwrap();
        service.wait_for("WATCHDOG=1");
    }

    #[test]
    fn a_second_signal_ends_the_process_at_once() {
        let mut service = Service::start();
        service.wait_for("READY=1\nSTATUS=one two");
        service.signal("-INT");
        service.wait_for("STOPPING=1\nSTATUS=draining");
        service.signal("-TERM");
        assert_eq!(service.child.wait().unwrap().code(), Some(1));
    }

    #[tokio::test]
    async fn without_systemd_nothing_is_sent_and_nothing_is_watched() {
        assert!(
            std::env::var_os("NOTIFY_SOCKET").is_none(),
            "this test expects no systemd"
        );
        notify_ready("ready");
        assert!(spawn_watchdog(|| true, CancellationToken::new()).is_none());
    }
}
