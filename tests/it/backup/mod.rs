//! What a backup holds comes back, all of it, once.

mod commands;
mod people;
mod queue;
mod round_trip;
mod sets;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use customer_journey::{
    backup::{self, Made, Order, Restored, Set},
    config::Config,
    ops::Clock,
    service,
    store::dump,
};
use sqlx::{AssertSqlSafe, PgConnection};
use tempfile::TempDir;

use crate::support::{Database, config_on};

/// A database, a queue and a folder for sets.
pub struct Site {
    database: Database,
    pub config: Config,
    folder: TempDir,
}

impl Site {
    pub async fn new() -> Self {
        Self::on(Database::create().await)
    }

    pub fn on(database: Database) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let mut config = config_on(&database.url);
        config.backup.directory = folder.path().join("sets").to_string_lossy().into_owned();
        Self {
            database,
            config,
            folder,
        }
    }

    pub fn directory(&self) -> PathBuf {
        self.folder.path().join("sets")
    }

    async fn back_up(&self) -> anyhow::Result<Made> {
        let queue = service::open_queue(&self.config).await?;
        let mut connection = self.database.connect().await;
        let now = Clock::system().now();
        backup::create(
            &self.config,
            &self.directory(),
            &mut connection,
            queue.as_deref(),
            now,
        )
        .await
    }

    pub async fn restore(&self, set: &Path, replace: bool) -> anyhow::Result<Restored> {
        let order = Order {
            replace,
            salt_file: None,
        };
        backup::restore(&self.config, &Set::open(set)?, &order, &Clock::system()).await
    }

    pub async fn drop(self) {
        self.database.drop().await;
    }
}

/// A digest of the rows of each table, in whatever order they lie.
async fn picture(connection: &mut PgConnection) -> BTreeMap<String, String> {
    let mut picture = BTreeMap::new();
    for table in dump::list_copied(connection)
        .await
        .expect("the tables can be listed")
    {
        let digest = format!(
            "SELECT count(*) || ' ' || coalesce(md5(string_agg(to_jsonb(t)::text, chr(10) ORDER BY to_jsonb(t)::text)), '')
             FROM {} t",
            table.name
        );
        let digest: String = sqlx::query_scalar(AssertSqlSafe(digest))
            .fetch_one(&mut *connection)
            .await
            .expect("the table can be read");
        picture.insert(table.name, digest);
    }
    picture
}

/// Names of what lies in a folder of sets, beside the lock.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("the folder can be read");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("it can be read")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name != ".lock")
        .collect();
    names.sort();
    names
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn number(connection: &mut PgConnection, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}
