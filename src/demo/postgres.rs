//! The demo's own PostgreSQL.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::form_urlencoded;

use super::{
    home::Home,
    servers::{Server, explain, find_program, spawn_tied},
};

/// The oldest release that the service works with.
const MAJOR_MIN: u32 = 15;

/// Recovery after a crash included.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Part of the socket's name; nothing listens on the port.
const PORT: &str = "5432";
const USER: &str = "journey";
const DATABASE: &str = "customer_journey";

/// A few settings for a small machine of which the demo has a part. Nothing is traded for durability.
const SETTINGS: [(&str, &str); 14] = [
    // The socket alone, in a folder that only its user can enter: nobody else on the machine gets in.
    ("listen_addresses", ""),
    ("port", PORT),
    ("max_connections", "50"),
    ("shared_buffers", "128MB"),
    ("effective_cache_size", "512MB"),
    ("maintenance_work_mem", "64MB"),
    ("random_page_cost", "1.1"),
    ("max_wal_size", "1GB"),
    ("checkpoint_timeout", "15min"),
    ("jit", "off"),
    // Containers give /dev/shm 64 MB, too little for parallel queries.
    ("dynamic_shared_memory_type", "mmap"),
    ("logging_collector", "off"),
    ("log_line_prefix", "%m [%p] "),
    ("timezone", "UTC"),
];

/// The programs of one release.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Programs {
    folder: PathBuf,
    major: u32,
}

/// Returns the address of the service's database.
pub(super) fn url(home: &Home) -> String {
    database_url(home, DATABASE)
}

fn database_url(home: &Home, database: &str) -> String {
    let sockets = home.sockets().as_os_str().as_encoded_bytes();
    let host: String = form_urlencoded::byte_serialize(sockets).collect();
    // Port and mode are named because PGPORT and PGSSLMODE would stand in for them.
    format!("postgres://{USER}@localhost:{PORT}/{database}?host={host}&sslmode=disable")
}

/// Finds the programs for the data of `home`; any release that is new enough while there is none.
///
/// # Errors
/// When there are none, or none of the release that made the data.
pub(super) fn find(home: &Home) -> Result<Programs> {
    choose(candidates(), data_major(home))
}

/// Returns the folders where programs may be, the preferred one first.
fn candidates() -> Vec<Programs> {
    let named = std::env::var_os("PG_BIN").map(PathBuf::from);
    let in_path = find_program(&["postgres"])
        .and_then(|program| program.canonicalize().ok())
        .and_then(|program| program.parent().map(Path::to_path_buf));
    let mut debian: Vec<Programs> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| inspect(entry.path().join("bin")))
        .collect();
    debian.sort_by_key(|programs| std::cmp::Reverse(programs.major));
    [named, in_path]
        .into_iter()
        .flatten()
        .filter_map(inspect)
        .chain(debian)
        .collect()
}

fn inspect(folder: PathBuf) -> Option<Programs> {
    if !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(folder.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    let major = parse_major(&String::from_utf8_lossy(&output.stdout))?;
    Some(Programs { folder, major })
}

/// Reads `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    let digits = number
        .split(|character: char| !character.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

fn data_major(home: &Home) -> Option<u32> {
    let version = fs::read_to_string(home.root().join("postgres/PG_VERSION")).ok()?;
    version.trim().parse().ok()
}

fn choose(candidates: Vec<Programs>, data_major: Option<u32>) -> Result<Programs> {
    let newest = candidates.iter().map(|programs| programs.major).max();
    let fits = |programs: &Programs| match data_major {
        Some(major) => programs.major == major,
        None => programs.major >= MAJOR_MIN,
    };
    if let Some(found) = candidates.into_iter().find(fits) {
        return Ok(found);
    }
    match (data_major, newest) {
        (Some(major), _) => bail!(
            "the demo's data was made by PostgreSQL {major}, which is no longer here: install postgresql-{major}, \
             or run `make demo-reset` to begin with fresh data"
        ),
        (None, Some(newest)) => bail!(
            "PostgreSQL {newest} is too old: install {MAJOR_MIN} or newer, or name the folder of its programs in PG_BIN"
        ),
        (None, None) => bail!(
            "PostgreSQL is missing: install the package postgresql ({MAJOR_MIN} or newer), run `make demo`, which \
             does, or name the folder of its programs in PG_BIN"
        ),
    }
}

/// Whether there is no data yet.
pub(super) fn is_new(home: &Home) -> bool {
    data_major(home).is_none()
}

/// Makes the data folder; one that was left half made is made again.
///
/// # Errors
/// When `initdb` fails, with what it said.
pub(super) async fn initialise(programs: &Programs, home: &Home) -> Result<()> {
    let (folder, unfinished) = (home.root().join("postgres"), home.root().join("postgres.new"));
    for rest in [&folder, &unfinished] {
        if rest.exists() {
            fs::remove_dir_all(rest).with_context(|| format!("{} cannot be deleted", rest.display()))?;
        }
    }
    home.make_folder("postgres.new")?;
    let mut command = home.command(&programs.folder.join("initdb"));
    command.arg("--pgdata").arg(&unfinished).args([
        "--username",
        USER,
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--data-checksums",
        "--no-instructions",
    ]);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .process_group(0);
    let child = spawn_tied(&mut command, Signal::TERM)
        .context("initdb cannot be started: the demo needs the right to do so")?;
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!(
            "PostgreSQL's data cannot be made: {}",
            explain(&String::from_utf8_lossy(&output.stderr))
        );
    }
    fs::rename(&unfinished, &folder).with_context(|| format!("{} cannot be made", folder.display()))
}

/// Starts PostgreSQL on existing data, waits until it answers, and makes the service's database if it is not there.
///
/// # Errors
/// When it does not start.
pub(super) async fn start(programs: &Programs, home: &Home) -> Result<Server> {
    let mut command = home.command(&programs.folder.join("postgres"));
    command.arg("-D").arg(home.root().join("postgres"));
    let sockets = home
        .sockets()
        .to_str()
        .context("the state folder's path is not UTF-8")?;
    // A list, in which a comma separates and quotes protect.
    let sockets = format!("\"{}\"", sockets.replace('"', "\"\""));
    for (name, value) in SETTINGS
        .into_iter()
        .chain([("unix_socket_directories", sockets.as_str())])
    {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    // SIGINT is the fast way down: connections are cut, everything is written.
    let mut server = Server::start(
        "PostgreSQL",
        command,
        home.root().join("postgres.log"),
        Signal::INT,
    )?;
    let maintenance = database_url(home, "postgres");
    let answers = async || Ok(PgConnection::connect(&maintenance).await?.close().await?);
    server.wait_until_ready(START_PATIENCE, answers).await?;
    make_database(&maintenance)
        .await
        .context("the demo's database cannot be made")?;
    Ok(server)
}

async fn make_database(maintenance: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(maintenance).await?;
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)")
        .bind(DATABASE)
        .fetch_one(&mut connection)
        .await?;
    if !exists {
        // A constant: names cannot be bound.
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {DATABASE}")))
            .execute(&mut connection)
            .await?;
    }
    connection.close().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(major: u32) -> Programs {
        Programs {
            folder: format!("/usr/lib/postgresql/{major}/bin").into(),
            major,
        }
    }

    #[test]
    fn versions_are_read_as_every_packager_writes_them() {
        for (text, major) in [
            ("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18beta1\n", Some(18)),
            ("postgres (PostgreSQL) 17.5\n", Some(17)),
            ("psql 15", None),
        ] {
            assert_eq!(parse_major(text), major, "{text}");
        }
    }

    #[test]
    fn the_first_that_is_new_enough_is_taken_and_data_keeps_its_release() {
        let here = || vec![programs(14), programs(15), programs(17)];
        assert_eq!(choose(here(), None).unwrap(), programs(15));
        assert_eq!(choose(here(), Some(17)).unwrap(), programs(17));
        assert_eq!(choose(here(), Some(14)).unwrap(), programs(14));
        for (found, data, says) in [
            (vec![], None, "PostgreSQL is missing"),
            (vec![programs(13)], None, "PostgreSQL 13 is too old"),
            (here(), Some(16), "install postgresql-16"),
        ] {
            let error = choose(found, data).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
