//! A PostgreSQL and a Redis of one's own, to be crashed.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Postgres,
    Redis,
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        }
    }
}

/// The pair; stopped and deleted when dropped.
pub struct Servers {
    folder: TempDir,
    pub database_url: String,
    pub redis_url: String,
    /// PostgreSQL's data folder.
    pub postgres_data: PathBuf,
}

impl Servers {
    /// Starts both, as durable as in production.
    pub async fn start() -> Self {
        tokio::task::spawn_blocking(Self::start_now)
            .await
            .expect("the servers start")
    }

    fn start_now() -> Self {
        // Not in a private home: PostgreSQL runs as a user of its own.
        let folder = tempfile::Builder::new()
            .prefix("customer-journey-it.")
            .tempdir_in("/tmp")
            .expect("/tmp can be written to");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
            .expect("the folder is ours");
        let mut servers = Self {
            folder,
            database_url: String::new(),
            redis_url: String::new(),
            postgres_data: PathBuf::new(),
        };
        servers.call("start", &[]);
        let environment = servers.call("env", &[]);
        let variable = |name: &str| {
            environment
                .lines()
                .find_map(|line| line.strip_prefix(&format!("export {name}=")))
                .unwrap_or_else(|| panic!("{name} is not in\n{environment}"))
                .to_owned()
        };
        servers.database_url = variable("DATABASE_URL");
        servers.redis_url = variable("REDIS_URL");
        servers.postgres_data = variable("PG_DATA").into();
        servers
    }

    /// Kills a server as a loss of power would.
    pub async fn crash(&self, server: Server) {
        self.call_aside("crash", &[server.name()]).await;
    }

    /// Starts again what is down, on the ports it had.
    pub async fn restart(&self) {
        self.call_aside("start", &[]).await;
    }

    async fn call_aside(&self, action: &'static str, arguments: &[&'static str]) {
        let (folder, arguments) = (self.folder.path().to_owned(), arguments.to_vec());
        tokio::task::spawn_blocking(move || call(&folder, action, &arguments))
            .await
            .expect("the script runs");
    }

    fn call(&self, action: &str, arguments: &[&str]) -> String {
        call(self.folder.path(), action, arguments)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // Without a word about success: a test that fails must show its own reason.
        let _ = script().arg("stop").arg(self.folder.path()).output();
    }
}

fn script() -> Command {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/test-services.sh"))
}

fn call(folder: &Path, action: &str, arguments: &[&str]) -> String {
    let output = script()
        .arg(action)
        .arg(folder)
        .args(arguments)
        .output()
        .expect("the script can be run");
    assert!(
        output.status.success(),
        "test-services.sh {action} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the script prints text")
}
