//! Whole tables, as a backup takes them out and a restore puts them back. Knows nothing of files.
//!
//! Names of tables and columns come from the catalogue of the database, or from a set whose hashes were checked;
//! either way they are quoted.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};

use super::{MIGRATOR, StoreError, erasure::Tombstone, run, situation};

/// Where sqlx notes which migrations were applied. Not part of a backup: a restore migrates by itself.
const MIGRATIONS: &str = "_sqlx_migrations";

/// A table and its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub columns: Vec<String>,
}

/// Tables whose rows belong to the database they are in, and to no copy of it: the numbers of its transactions.
const NOT_COPIED: [&str; 1] = ["index_changes"];

/// What a database holds, seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// No tables at all.
    Nothing,
    /// Our tables at this migration, and whether anything is in them that somebody would miss.
    Ours { migration: i64, has_data: bool },
    /// Tables that no release of this service made.
    Foreign,
}

/// Tables whose rows somebody would miss. A start of the service alone fills none of them.
const MISSED: [&str; 7] = [
    "events",
    "event_keys",
    "sessions",
    "customers",
    "api_keys",
    "erasure_tombstones",
    "audit_log",
];

/// Begins the transaction that a backup reads in: all tables at one moment, in a form that any server reads back.
pub async fn begin_reading(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, StoreError> {
    let mut reading = connection
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .map_err(StoreError::during("store.dump.begin"))?;
    settle_formats(&mut reading).await?;
    Ok(reading)
}

/// Texts of times and numbers must not depend on settings of server, database or role.
pub async fn settle_formats(connection: &mut PgConnection) -> Result<(), StoreError> {
    run(
        connection,
        "store.dump.formats",
        "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres';
         SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; SET LOCAL client_encoding = 'UTF8';
         SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
            .into(),
    )
    .await
}

/// Keeps the tables from being dropped or rewritten until the transaction ends, as `pg_dump` does.
pub async fn lock_tables(connection: &mut PgConnection, tables: &[Table]) -> Result<(), StoreError> {
    if tables.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = tables.iter().map(|table| quoted(&table.name)).collect();
    let statement = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
    run(connection, "store.dump.lock", statement).await
}

/// Returns the newest migration that was applied; `None` when none ever was.
pub async fn migration_of(connection: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    let step = "store.dump.migration";
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(MIGRATIONS)
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::during(step))?;
    if !exists {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(connection)
        .await
        .map_err(StoreError::during(step))
}

/// Returns when the first migration was applied; `None` when none ever was.
pub async fn installed_at(connection: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    sqlx::query_scalar("SELECT min(installed_on) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await
        .map_err(StoreError::during("store.dump.installed_at"))
}

/// Returns the newest migration of this release.
pub fn newest_migration() -> i64 {
    MIGRATOR.iter().map(|one| one.version).max().unwrap_or(0)
}

/// Returns the tables that migrations of this release make.
fn own_names() -> BTreeSet<&'static str> {
    let lines = MIGRATOR.iter().flat_map(|one| one.sql.as_str().lines());
    let made = lines.filter_map(|line| line.strip_prefix("CREATE TABLE "));
    made.filter_map(|rest| rest.split([' ', '(']).next()).collect()
}

/// Returns our tables, each after those it refers to.
///
/// A database that a newer release migrated may hold tables that this one has never heard of: there, all count.
pub async fn list_tables(connection: &mut PgConnection) -> Result<Vec<Table>, StoreError> {
    let step = "store.dump.tables";
    let found: Vec<(String, Vec<String>)> = sqlx::query_as(
        "SELECT c.relname::text, array_agg(a.attname::text ORDER BY a.attnum)
         FROM pg_class c
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname <> $1
           AND NOT EXISTS (SELECT 1 FROM pg_depend d
                           WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
         GROUP BY c.oid, c.relname ORDER BY c.relname",
    )
    .bind(MIGRATIONS)
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::during(step))?;
    let references: Vec<(String, String)> = sqlx::query_as(
        "SELECT DISTINCT a.relname::text, b.relname::text FROM pg_constraint k
         JOIN pg_class a ON a.oid = k.conrelid JOIN pg_class b ON b.oid = k.confrelid
         WHERE k.contype = 'f' AND a.oid <> b.oid AND k.connamespace = current_schema()::regnamespace",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::during(step))?;
    let is_newer = migration_of(connection).await? > Some(newest_migration());
    let own = own_names();
    let tables = found
        .into_iter()
        .filter(|(name, _)| is_newer || own.contains(name.as_str()))
        .map(|(name, columns)| Table { name, columns });
    Ok(in_order(tables.collect(), &references))
}

/// Returns those of our tables that a copy of the database has.
pub async fn list_copied(connection: &mut PgConnection) -> Result<Vec<Table>, StoreError> {
    let mut tables = list_tables(connection).await?;
    tables.retain(|table| !NOT_COPIED.contains(&table.name.as_str()));
    Ok(tables)
}

/// Puts each table after those it refers to. Tables that refer to each other in a circle stay as they come.
fn in_order(mut waiting: Vec<Table>, references: &[(String, String)]) -> Vec<Table> {
    let mut placed: Vec<Table> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_ready = |table: &Table| {
            let mut needed = references.iter().filter(|(from, _)| *from == table.name);
            needed.all(|(_, to)| !waiting.iter().any(|other| other.name == *to))
        };
        let next = waiting.iter().position(is_ready).unwrap_or(0);
        placed.push(waiting.remove(next));
    }
    placed
}

/// Finds out whose tables the database holds.
pub async fn look_at(connection: &mut PgConnection) -> Result<Content, StoreError> {
    let step = "store.dump.look_at";
    let Some(migration) = migration_of(connection).await? else {
        return Ok(if list_any(connection).await? {
            Content::Foreign
        } else {
            Content::Nothing
        });
    };
    let first = MIGRATOR.iter().next().expect("there are migrations");
    let ours: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM _sqlx_migrations WHERE version = $1 AND checksum = $2)",
    )
    .bind(first.version)
    .bind(first.checksum.as_ref())
    .fetch_one(&mut *connection)
    .await
    .map_err(StoreError::during(step))?;
    if !ours {
        return Ok(Content::Foreign);
    }
    let tables = list_tables(connection).await?;
    let mut has_data = false;
    for table in tables
        .iter()
        .filter(|table| MISSED.contains(&table.name.as_str()))
    {
        let any = format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(&table.name));
        has_data |= sqlx::query_scalar::<_, bool>(AssertSqlSafe(any))
            .fetch_one(&mut *connection)
            .await
            .map_err(StoreError::during(step))?;
    }
    Ok(Content::Ours { migration, has_data })
}

async fn list_any(connection: &mut PgConnection) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (
             SELECT 1 FROM pg_class c
             WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
               AND NOT EXISTS (SELECT 1 FROM pg_depend d
                               WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))",
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::during("store.dump.list_any"))
}

/// Streams a table's rows in the text format of `COPY`.
///
/// The roll-up's rows are read from where they are: a continuous aggregate is not a table one could copy, and a
/// set must not depend on TimescaleDB.
pub async fn copy_out<'c>(
    connection: &'c mut PgConnection,
    table: &Table,
) -> Result<BoxStream<'c, sqlx::Result<Bytes>>, StoreError> {
    let source = match table.name.as_str() {
        situation::ROLLUP_ROWS if situation::has_aggregate(connection).await? => situation::ROLLUP,
        name => name,
    };
    let statement = format!(
        "COPY (SELECT {} FROM {}) TO STDOUT",
        list(&table.columns),
        quoted(source)
    );
    connection
        .copy_out_raw(&statement)
        .await
        .map_err(StoreError::during("store.dump.copy_out"))
}

/// Returns the statement that takes rows in the text format of `COPY`.
pub fn copy_in_statement(table: &Table) -> String {
    format!(
        "COPY {} ({}) FROM STDIN",
        quoted(&table.name),
        list(&table.columns)
    )
}

/// Removes a table's rows.
pub async fn empty(connection: &mut PgConnection, table: &str) -> Result<(), StoreError> {
    let statement = format!("DELETE FROM {}", quoted(table));
    run(connection, "store.dump.empty", statement).await
}

/// Counts a table's rows.
pub async fn count_rows(connection: &mut PgConnection, table: &str) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {}", quoted(table))))
        .fetch_one(connection)
        .await
        .map_err(StoreError::during("store.dump.count_rows"))?;
    Ok(count.unsigned_abs())
}

/// Returns the last value of each sequence of our tables that was ever used.
pub async fn sequences(connection: &mut PgConnection) -> Result<BTreeMap<String, i64>, StoreError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT sequencename::text, last_value FROM pg_sequences
         WHERE schemaname = current_schema() AND last_value IS NOT NULL",
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.dump.sequences"))?;
    Ok(rows.into_iter().collect())
}

/// Lets a sequence go on after `value`.
pub async fn set_sequence(connection: &mut PgConnection, name: &str, value: i64) -> Result<(), StoreError> {
    sqlx::query("SELECT setval($1::regclass, $2)")
        .bind(quoted(name))
        .bind(value)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.dump.set_sequence"))?;
    Ok(())
}

/// Returns all tombstones, also from a database in which they do not know their times yet.
pub async fn tombstones(connection: &mut PgConnection) -> Result<Vec<Tombstone>, StoreError> {
    let step = "store.dump.tombstones";
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('erasure_tombstones') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::during(step))?;
    if !exists {
        return Ok(Vec::new());
    }
    // What the migration that brought the times gave to those without.
    sqlx::query_as(
        "SELECT subject_hash,
                coalesce((to_jsonb(t) ->> 'since')::timestamptz, '1900-01-01 00:00:00+00') AS since,
                coalesce((to_jsonb(t) ->> 'until')::timestamptz, erased_at) AS until, erased_at
         FROM erasure_tombstones t ORDER BY 1, 2",
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::during(step))
}

/// Removes everything of ours, within the caller's transaction.
pub async fn drop_all(connection: &mut PgConnection) -> Result<(), StoreError> {
    let rollup = if situation::has_aggregate(connection).await? {
        "MATERIALIZED VIEW"
    } else {
        "VIEW"
    };
    let mut statements = vec![format!("DROP {rollup} IF EXISTS {} CASCADE", situation::ROLLUP)];
    for table in list_tables(connection).await? {
        statements.push(format!("DROP TABLE {} CASCADE", quoted(&table.name)));
    }
    statements.push(format!("DROP TABLE {MIGRATIONS}"));
    for statement in statements {
        run(connection, "store.dump.drop_all", statement).await?;
    }
    Ok(())
}

/// Returns how many other sessions of the service are open on this database.
pub async fn other_sessions(connection: &mut PgConnection) -> Result<i64, StoreError> {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = $1",
    )
    .bind(super::APPLICATION_NAME)
    .fetch_one(connection)
    .await
    .map_err(StoreError::during("store.dump.other_sessions"))
}

/// Returns the databases of the server that are named `prefix` and a number; the prefix has no sign that patterns know.
pub async fn databases_numbered(
    connection: &mut PgConnection,
    prefix: &str,
) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE datname ~ ('^' || $1 || '[0-9]+$')")
        .bind(prefix)
        .fetch_all(connection)
        .await
        .map_err(StoreError::during("store.dump.databases_numbered"))
}

/// Makes an empty database on the same server.
pub async fn create_database(connection: &mut PgConnection, name: &str) -> Result<(), StoreError> {
    let statement = format!("CREATE DATABASE {}", quoted(name));
    run(connection, "store.dump.create_database", statement).await
}

/// Drops a database with whoever is still connected to it.
pub async fn drop_database(connection: &mut PgConnection, name: &str) -> Result<(), StoreError> {
    let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name));
    run(connection, "store.dump.drop_database", statement).await
}

/// Lets the planner know what was loaded.
pub async fn analyze(connection: &mut PgConnection) -> Result<(), StoreError> {
    for table in list_tables(connection).await? {
        let statement = format!("ANALYZE {}", quoted(&table.name));
        run(connection, "store.dump.analyze", statement).await?;
    }
    Ok(())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn list(columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    columns.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Table {
        Table {
            name: name.into(),
            columns: vec!["id".into()],
        }
    }

    #[test]
    fn a_table_comes_after_those_it_refers_to() {
        let references = [("a".to_owned(), "b".to_owned()), ("b".to_owned(), "c".to_owned())];
        let order = in_order(vec![table("a"), table("b"), table("c")], &references);
        let names: Vec<_> = order.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["c", "b", "a"]);
    }

    #[test]
    fn a_circle_of_references_ends() {
        let references = [("a".to_owned(), "b".to_owned()), ("b".to_owned(), "a".to_owned())];
        assert_eq!(in_order(vec![table("a"), table("b")], &references).len(), 2);
    }

    #[test]
    fn names_are_quoted() {
        let table = Table {
            name: "odd\"name".into(),
            columns: vec!["a".into(), "b".into()],
        };
        assert_eq!(
            copy_in_statement(&table),
            r#"COPY "odd""name" ("a", "b") FROM STDIN"#
        );
    }

    #[sqlx::test(migrations = "./migrations")]
    async fn every_table_that_migrations_make_is_ours(pool: sqlx::PgPool) {
        let mut connection = pool.acquire().await.unwrap();
        let listed: BTreeSet<String> = list_tables(&mut connection)
            .await
            .unwrap()
            .into_iter()
            .map(|table| table.name)
            .collect();
        let all: Vec<String> = sqlx::query_scalar(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() AND tablename <> $1",
        )
        .bind(MIGRATIONS)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
        assert_eq!(listed, all.into_iter().collect());
        assert!(listed.contains("events") && listed.contains("job_runs"));
    }

    #[sqlx::test(migrations = "./migrations")]
    async fn a_table_of_somebody_else_is_left_alone(pool: sqlx::PgPool) {
        let mut connection = pool.acquire().await.unwrap();
        sqlx::query("CREATE TABLE theirs (id integer)")
            .execute(&mut *connection)
            .await
            .unwrap();
        let tables = list_tables(&mut connection).await.unwrap();
        assert!(tables.iter().all(|table| table.name != "theirs"));
        drop_all(&mut connection).await.unwrap();
        assert_eq!(look_at(&mut connection).await.unwrap(), Content::Foreign);
        assert_eq!(count_rows(&mut connection, "theirs").await.unwrap(), 0);
    }
}
