//! The demo's own Redis: the queue, with everything on disk before it answers.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use url::Url;

use super::{
    home::Home,
    servers::{Server, find_program},
};

const START_PATIENCE: Duration = Duration::from_secs(30);

/// Returns the address of the queue.
pub(super) fn url(home: &Home) -> String {
    let file = Url::from_file_path(socket(home)).expect("the folder of sockets is absolute");
    format!("redis+unix{}", file.as_str().trim_start_matches("file"))
}

fn socket(home: &Home) -> PathBuf {
    home.sockets().join("redis.sock")
}

/// Finds the program.
///
/// # Errors
/// When there is none.
pub(super) fn find() -> Result<PathBuf> {
    find_program(&["redis-server", "valkey-server"]).context(
        "Redis is missing: install the package redis-server (or valkey-server), or run `make demo`, which does",
    )
}

/// Starts Redis and waits until it answers.
///
/// # Errors
/// When it does not start.
pub(super) async fn start(program: &Path, home: &Home) -> Result<Server> {
    let folder = home.make_folder("redis")?;
    let mut command = home.command(program);
    // No configuration file: the machine's own must not leak in.
    command.arg("--dir").arg(&folder);
    command.arg("--unixsocket").arg(socket(home));
    for (name, value) in [
        ("--port", "0"),
        ("--unixsocketperm", "700"),
        ("--daemonize", "no"),
        ("--save", ""),
        ("--appendonly", "yes"),
        ("--appendfsync", "always"),
        ("--maxmemory", "256mb"),
        ("--maxmemory-policy", "noeviction"),
    ] {
        command.args([name, value]);
    }
    let mut server = Server::start("Redis", command, home.root().join("redis.log"), Signal::TERM)?;
    let client = redis::Client::open(url(home))?;
    let answers = async || {
        let mut connection = client.get_multiplexed_async_connection().await?;
        Ok(redis::cmd("PING").exec_async(&mut connection).await?)
    };
    server.wait_until_ready(START_PATIENCE, answers).await?;
    Ok(server)
}
