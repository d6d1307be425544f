//! The demo's own servers as processes: started, watched, stopped, and found again after the demo was killed.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// How long a server may take to end before it is ended the hard way.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A log larger than this starts afresh.
const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bytes at the end of a log that are searched for what went wrong.
const LOG_TAIL_BYTES: u64 = 4096;

/// Names of the processes that the demo starts, as `/proc/PID/comm` has them.
const PROCESS_NAMES: [&str; 3] = ["postgres", "redis-server", "valkey-server"];

/// A server of the demo. Dropping it asks it to stop, without waiting.
pub(super) struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
    stop_signal: Signal,
}

impl Server {
    /// Starts a server whose output goes to `log`.
    ///
    /// It is the leader of a process group of its own: Ctrl-C must not reach it before the service has written
    /// what it accepted. Must be called from a thread that lives as long as the process, for its end is what the
    /// server takes as its own signal to stop.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(super) fn start(
        name: &'static str,
        mut command: Command,
        log: PathBuf,
        stop_signal: Signal,
    ) -> Result<Self> {
        let output = open_log(&log).with_context(|| format!("{} cannot be written", log.display()))?;
        command
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let child = spawn_tied(&mut command, stop_signal)
            .with_context(|| format!("{name} cannot be started: the demo needs the right to do so"))?;
        Ok(Self {
            name,
            child,
            log,
            stop_signal,
        })
    }

    /// Waits until `answers` finds nothing wrong.
    ///
    /// # Errors
    /// When the server ends first or `patience` does, with the last words of its log.
    pub(super) async fn wait_until_ready(
        &mut self,
        patience: Duration,
        answers: impl AsyncFn() -> Result<()>,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let Err(error) = answers().await else {
                return Ok(());
            };
            if self.child.try_wait()?.is_some() {
                bail!("{} does not start: {}", self.name, explain_log(&self.log));
            }
            if Instant::now() > deadline {
                let (name, log) = (self.name, self.log.display());
                return Err(error).with_context(|| {
                    format!(
                        "{name} does not answer within {} s (more in {log})",
                        patience.as_secs()
                    )
                });
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the server ends by itself, which it should not, and says so.
    pub(super) async fn ended(&mut self) -> String {
        let status = self
            .child
            .wait()
            .await
            .ok()
            .and_then(|status: ExitStatus| status.code());
        let code = status.map_or_else(|| "by a signal".to_owned(), |code| format!("with code {code}"));
        format!("{} ended {code}: {}", self.name, explain_log(&self.log))
    }

    /// Stops the server and waits for its end.
    pub(super) async fn stop(mut self) {
        self.signal(self.stop_signal);
        if timeout(STOP_PATIENCE, self.child.wait()).await.is_err() {
            self.signal(Signal::QUIT);
            if timeout(STOP_PATIENCE, self.child.wait()).await.is_err() {
                let _ = self.child.kill().await;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        // No id: it has ended and was waited for.
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(self.stop_signal);
    }
}

/// Starts a process that gets `signal` when this one dies, however that happens.
pub(super) fn spawn_tied(command: &mut Command, signal: Signal) -> std::io::Result<Child> {
    // SAFETY: between fork and exec only this runs, one system call that neither allocates nor locks. It runs
    // after the change of user, which would undo it.
    unsafe {
        command.pre_exec(move || Ok(set_parent_process_death_signal(Some(signal))?));
    }
    command.spawn()
}

fn open_log(path: &Path) -> std::io::Result<File> {
    if fs::metadata(path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        fs::remove_file(path)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// Returns the last complaint of a log, as a part of a sentence.
pub(super) fn explain_log(log: &Path) -> String {
    let tail = read_tail(log).unwrap_or_default();
    format!("{} (more in {})", explain(&tail), log.display())
}

fn read_tail(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let start = file.metadata()?.len().saturating_sub(LOG_TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Picks the line that tells most from what a server wrote before it ended.
pub(super) fn explain(output: &str) -> String {
    if output.contains("No space left on device") {
        return "the disk is full, make room and start again".to_owned();
    }
    let marks = ["FATAL:", "PANIC:", "error:", "ERROR:", "# "];
    let lines = || {
        output
            .lines()
            .rev()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let line = lines()
        .find(|line| marks.iter().any(|mark| line.contains(mark)))
        .or_else(|| lines().next());
    line.map_or_else(
        || "it said nothing".to_owned(),
        |line| format!("it said \"{line}\""),
    )
}

/// Ends servers that a killed demo left in `root`, and removes what would keep new ones from starting.
///
/// The caller holds the lock of the state folder, so none of them belongs to a running demo.
///
/// # Errors
/// When one does not end.
pub(super) async fn end_left_over(root: &Path) -> Result<()> {
    for (signal, patience_seconds) in [(Signal::INT, 15), (Signal::KILL, 5)] {
        let deadline = Instant::now() + Duration::from_secs(patience_seconds);
        for pid in processes_in(root) {
            let _ = kill_process(pid, signal);
        }
        while !processes_in(root).is_empty() && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
        }
    }
    if !processes_in(root).is_empty() {
        bail!(
            "servers of an earlier demo still run in {} and do not end",
            root.display()
        );
    }
    // It may name a process id that something else has by now, which PostgreSQL would take for itself.
    let _ = fs::remove_file(root.join("postgres/postmaster.pid"));
    Ok(())
}

/// Finds servers by the folder they work in; PostgreSQL and Redis both go into that of their data.
fn processes_in(root: &Path) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter(|entry| {
            fs::read_link(entry.path().join("cwd")).is_ok_and(|folder| folder.starts_with(root))
                && fs::read_to_string(entry.path().join("comm"))
                    .is_ok_and(|name| PROCESS_NAMES.contains(&name.trim_end()))
        })
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// Finds a program in the `PATH`, and where Debian keeps those of administrators.
pub(super) fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(["/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin"].map(PathBuf::from))
        .collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
}

/// Refuses to begin where the data would not fit.
///
/// # Errors
/// When less than `needed` MiB are free.
pub(super) fn check_room(folder: &Path, needed_mib: u64) -> Result<()> {
    // A file system that does not tell is given the benefit of the doubt.
    let Ok(found) = rustix::fs::statvfs(folder) else {
        return Ok(());
    };
    let free_mib = found.f_bavail.saturating_mul(found.f_frsize) / (1024 * 1024);
    if free_mib < needed_mib {
        bail!(
            "only {free_mib} MiB are free in {}, and the demo needs {needed_mib}: make room there",
            folder.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_line_of_a_log_is_the_one_told() {
        let log =
            "2026 LOG:  starting\n2026 FATAL:  could not bind\n2026 LOG:  database system is shut down\n";
        assert_eq!(explain(log), "it said \"2026 FATAL:  could not bind\"");
        assert_eq!(explain("one\ntwo\n\n"), "it said \"two\"");
        assert_eq!(explain(""), "it said nothing");
        assert!(explain("x: No space left on device\nFATAL: y").contains("disk is full"));
    }

    #[test]
    fn too_little_room_is_told_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_room(folder.path(), 0).is_ok());
        let error = check_room(folder.path(), u64::MAX).unwrap_err().to_string();
        assert!(error.contains("make room there"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_is_told_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'FATAL: no luck'; exit 3"]);
        let log = folder.path().join("log");
        let mut server = Server::start("Server", command, log, Signal::TERM).unwrap();
        let error = server
            .wait_until_ready(Duration::from_secs(20), async || bail!("never"))
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("does not start: it said \"FATAL: no luck\""),
            "{error}"
        );
    }

    #[tokio::test]
    async fn stopping_waits_for_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (log, done) = (folder.path().join("log"), folder.path().join("done"));
        let script = format!(
            "trap 'sleep 0.3; touch {0}; exit' TERM; echo on; while :; do sleep 0.05; done",
            done.display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        let mut server = Server::start("Server", command, log.clone(), Signal::TERM).unwrap();
        let on = async || match fs::read_to_string(&log)?.as_str() {
            "on\n" => Ok(()),
            _ => bail!("not yet"),
        };
        server
            .wait_until_ready(Duration::from_secs(20), on)
            .await
            .unwrap();
        server.stop().await;
        assert!(done.exists());
    }
}
