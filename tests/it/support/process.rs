//! The service as a process of its own, to be killed.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use rand::RngExt as _;
use tempfile::TempDir;

use super::{PATIENCE, SALT, eventually};

/// What a service process is told.
#[derive(Clone, Debug)]
pub struct Settings {
    pub port: u16,
    pub database_url: String,
    pub redis_url: String,
    pub key_prefix: String,
    /// `redis` or `direct`.
    pub queue: &'static str,
    pub claim_idle_ms: u64,
    /// Lines put at the end of the file.
    pub more: String,
}

impl Settings {
    /// The configuration file.
    pub fn to_toml(&self) -> String {
        format!(
            "server.listen = \"127.0.0.1:{}\"\n\
             database.url = \"{}\"\n\
             database.connections_max = 8\n\
             database.acquire_timeout_seconds = 2\n\
             redis.queue_url = \"{}\"\n\
             redis.key_prefix = \"{}\"\n\
             redis.timeout_ms = 900\n\
             ingest.queue = \"{}\"\n\
             writer.claim_idle_ms = {}\n\
             telemetry.log_format = \"text\"\n\
             secrets.api_key_salt = \"{SALT}\"\n\
             {}\n",
            self.port,
            self.database_url,
            self.redis_url,
            self.key_prefix,
            self.queue,
            self.claim_idle_ms,
            self.more
        )
    }
}

/// Returns a port nobody listens on at the moment.
///
/// Below those that the system gives to outgoing connections: one of these could take it while its server is away.
pub fn free_port() -> u16 {
    let mut dice = rand::rng();
    loop {
        let port = dice.random_range(20_000..32_768);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A service that can be killed and started again; killed when dropped.
pub struct ServiceProcess {
    folder: TempDir,
    pub address: String,
    child: Option<Child>,
}

impl ServiceProcess {
    /// Starts it, and waits until it answers.
    pub async fn start(settings: &Settings) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        std::fs::write(folder.path().join("config.toml"), settings.to_toml()).expect("it is ours");
        let mut process = Self {
            folder,
            address: format!("http://127.0.0.1:{}", settings.port),
            child: None,
        };
        process.child = Some(process.spawn());
        eventually("the service answers", async || {
            assert!(!process.has_ended(), "it ended at once:\n{}", process.log_text());
            process.answers().await.then_some(())
        })
        .await;
        process
    }

    /// Starts it again after a crash, as systemd would: until it stays, since its servers may be down, too.
    pub async fn start_again(&mut self) {
        eventually("the service answers again", async || {
            if self.has_ended() {
                self.child = Some(self.spawn());
            }
            self.answers().await.then_some(())
        })
        .await;
    }

    async fn answers(&self) -> bool {
        match tokio::net::TcpStream::connect(&self.address["http://".len()..]).await {
            Ok(mut stream) => answers_healthy(&mut stream).await,
            Err(_) => false,
        }
    }

    fn spawn(&self) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("the log can be written");
        command(&["serve", "--config"])
            .arg(self.folder.path().join("config.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the service can be run")
    }

    fn has_ended(&mut self) -> bool {
        self.child
            .as_mut()
            .is_none_or(|child| child.try_wait().expect("the child is ours").is_some())
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("service.log")
    }

    /// Returns what it wrote so far.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to stop (SIGTERM), and waits until it has.
    pub async fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let killed = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .expect("kill can be run");
        assert!(killed.success());
        eventually("the service ends", async || {
            child.try_wait().expect("the child is ours")
        })
        .await
    }
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}", self.address, tail(&self.log_text()));
        }
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

async fn answers_healthy(stream: &mut tokio::net::TcpStream) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut answer = String::new();
    let asked = async {
        stream.write_all(request).await?;
        stream.read_to_string(&mut answer).await
    };
    let asked = tokio::time::timeout(Duration::from_secs(5), asked).await;
    matches!(asked, Ok(Ok(_))) && answer.starts_with("HTTP/1.1 200")
}

/// The program, in an environment that says nothing.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_customer-journey"));
    command.env_clear().args(arguments);
    command
}

/// Runs the program to its end with a configuration file.
///
/// # Panics
/// When it has not ended after a minute.
pub async fn run(arguments: &[&str], config: &Path) -> Output {
    let mut child = command(arguments)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be run");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while child.try_wait().expect("the child is ours").is_none() {
        if tokio::time::Instant::now() > deadline {
            let _ = child.kill();
            let output = child.wait_with_output().expect("it is ours");
            panic!("it does not end: {}", String::from_utf8_lossy(&output.stderr));
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    child.wait_with_output().expect("the child is ours")
}
