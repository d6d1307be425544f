//! The database's part of a set: a file for each table.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use sqlx::{Connection as _, PgConnection};

use super::{
    manifest::{FileEntry, TableEntry},
    set::{Draft, Set, finish},
};
use crate::{
    config::Retention,
    store::{
        MIGRATOR,
        dump::{self, Table},
        situation,
    },
};

/// Bytes handed over at once, to the packer and to PostgreSQL.
const PIECE: usize = 256 * 1024;

/// How often a load is tried that met another's work in PostgreSQL, and the pause in between.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);

/// Where a table's rows lie in the set.
pub(super) fn file_of(table: &str) -> String {
    format!("database/{table}.zst")
}

/// Writes one table.
pub(super) async fn dump_table(
    connection: &mut PgConnection,
    table: &Table,
    draft: &Draft,
) -> anyhow::Result<FileEntry> {
    let mut file = draft.packed(&file_of(&table.name))?;
    let mut rows = dump::copy_out(connection, table).await?;
    let (mut piece, mut count) = (Vec::with_capacity(2 * PIECE), 0);
    while let Some(row) = rows.next().await {
        let row = row.with_context(|| format!("the table {} cannot be read", table.name))?;
        // In this format a line break within a value is written as two characters.
        count += lines_in(&row);
        piece.extend_from_slice(&row);
        if piece.len() >= PIECE {
            file.write_all(&piece)?;
            piece.clear();
        }
    }
    drop(rows);
    file.write_all(&piece)?;
    let entry = finish(file)?;
    Ok(FileEntry {
        rows: Some(count),
        table: Some(TableEntry {
            name: table.name.clone(),
            columns: table.columns.clone(),
        }),
        ..entry
    })
}

/// Counts the lines that end in these bytes.
pub(super) fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Loads all tables of a set into the database, in place of what is there: everything, or nothing when it fails.
///
/// The caller has made sure that what is there may go. Ends at the migration of the set.
pub(super) async fn load(
    connection: &mut PgConnection,
    set: &Set,
    retention: &Retention,
) -> anyhow::Result<()> {
    situation::try_extension(connection).await?;
    for _ in 1..ATTEMPTS {
        match load_once(connection, set, retention).await {
            Err(error) if is_taken_back(&error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "PostgreSQL took the load back; trying again"
                );
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
    load_once(connection, set, retention).await
}

/// Whether PostgreSQL ended the transaction for the sake of another: a policy of TimescaleDB may be at work on the
/// tables that are to go. SQLSTATE class 40; source: PostgreSQL manual, appendix A.
fn is_taken_back(error: &anyhow::Error) -> bool {
    let causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<sqlx::Error>());
    let codes = causes.filter_map(|cause| cause.as_database_error()?.code());
    codes.into_iter().any(|code| code.starts_with("40"))
}

async fn load_once(connection: &mut PgConnection, set: &Set, retention: &Retention) -> anyhow::Result<()> {
    let has_hypertables = situation::detect(connection).await?.has_hypertables();
    let mut transaction = connection.begin().await?;
    dump::settle_formats(&mut transaction).await?;
    if dump::migration_of(&mut transaction).await?.is_some() {
        dump::drop_all(&mut transaction)
            .await
            .context("what the database holds cannot be removed")?;
    }
    MIGRATOR
        .run_direct(Some(set.manifest.migration), &mut *transaction, false)
        .await
        .context("the tables cannot be made")?;
    if has_hypertables {
        // While it is empty: rows that are there would be moved, which costs more than loading them.
        situation::make_hypertable(&mut transaction, retention).await?;
    }
    for (table, file) in set.manifest.tables() {
        let loaded = load_table(&mut transaction, set, &table.into(), &file.path).await;
        loaded.with_context(|| format!("the table {} cannot be loaded", table.name))?;
    }
    for (name, value) in &set.manifest.sequences {
        dump::set_sequence(&mut transaction, name, *value).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn load_table(
    connection: &mut PgConnection,
    set: &Set,
    table: &Table,
    file: &str,
) -> anyhow::Result<()> {
    // Some tables are not empty when they are made.
    dump::empty(connection, &table.name).await?;
    let mut rows = set.unpack(file)?;
    let mut copy = connection.copy_in_raw(&dump::copy_in_statement(table)).await?;
    let mut piece = vec![0; PIECE];
    loop {
        let length = rows.read(&mut piece)?;
        if length == 0 {
            break;
        }
        copy.send(&piece[..length]).await?;
    }
    copy.finish().await?;
    Ok(())
}

/// Counts rows again, and says which tables do not hold what the set does.
pub(super) async fn compare(connection: &mut PgConnection, set: &Set) -> anyhow::Result<Vec<String>> {
    let mut different = Vec::new();
    for (table, file) in set.manifest.tables() {
        let (expected, found) = (
            file.rows.unwrap_or(0),
            dump::count_rows(connection, &table.name).await?,
        );
        if expected != found {
            different.push(format!("{}: {found} rows instead of {expected}", table.name));
        }
    }
    Ok(different)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        backup::{DatabaseCounts, Manifest},
        ingest::testing::{self, event, settle},
        store::{dump::newest_migration, events::Load, situation::Situation},
    };

    /// A set without tables: that server takes no `COPY` from its clients.
    fn empty_set() -> Set {
        let manifest = Manifest {
            format: 1,
            release: "0".into(),
            created_at: testing::now(),
            migration: newest_migration(),
            storage: "plain".into(),
            database: DatabaseCounts::default(),
            queue: None,
            sequences: [("api_keys_id_seq".to_owned(), 41)].into(),
            files: Vec::new(),
        };
        Set {
            path: "/nowhere".into(),
            manifest,
        }
    }

    #[sqlx::test]
    async fn what_postgresql_takes_back_is_recognised_below_other_errors(pool: sqlx::PgPool) {
        let mut connection = pool.acquire().await.unwrap();
        for (code, expected) in [("40P01", true), ("42P01", false)] {
            let raise = format!("DO $$ BEGIN RAISE 'no' USING ERRCODE = '{code}'; END $$");
            let failed = sqlx::raw_sql(sqlx::AssertSqlSafe(raise))
                .execute(&mut *connection)
                .await;
            let error = failed
                .map_err(crate::store::StoreError::during("test"))
                .unwrap_err();
            let error = anyhow::Error::from(error).context("the tables cannot be made");
            assert_eq!(is_taken_back(&error), expected, "{code}");
        }
    }

    #[tokio::test]
    async fn on_timescaledb_community_a_set_takes_the_place_of_everything() {
        let url = std::env::var("TIMESCALEDB_URL").expect("scripts/test.sh sets TIMESCALEDB_URL");
        let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
        let pool = sqlx::postgres::PgPoolOptions::new()
            .max_connections(1)
            .connect_lazy_with(options.database(&format!("once_{}", Uuid::now_v7().simple())));
        MIGRATOR.run(&pool).await.unwrap();
        let mut settler = testing::settler_on(pool.clone()).await;
        settler.load = Load::Insert;
        settle(
            &settler,
            vec![event("d", 0, "page_view"), event("d", 60 * 24 * 9, "click")],
        )
        .await;
        let mut connection = pool.acquire().await.unwrap();
        for sql in [
            "CALL refresh_continuous_aggregate('events_hourly', NULL, NULL)",
            "SELECT compress_chunk(c) FROM show_chunks('events') c LIMIT 1",
        ] {
            sqlx::raw_sql(sql).execute(&mut *connection).await.unwrap();
        }

        let retention = Retention::default();
        load(&mut connection, &empty_set(), &retention).await.unwrap();
        assert!(situation::is_hypertable(&mut connection).await.unwrap());
        let situation = situation::prepare(&mut connection, &retention).await.unwrap();
        assert_eq!(situation, Situation::TimescaleCommunity);
        for (sql, expected) in [
            ("SELECT count(*) FROM events", 0),
            ("SELECT count(*) FROM events_hourly", 0),
            ("SELECT nextval('api_keys_id_seq')", 42),
            (
                "SELECT count(*) FROM timescaledb_information.jobs WHERE proc_name LIKE 'policy%' AND job_id > 999",
                4,
            ),
        ] {
            let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await.unwrap();
            assert_eq!(found, expected, "{sql}");
        }
        drop(connection);
        settle(&settler, vec![event("d", 1, "page_view")]).await;
        let found: i64 = sqlx::query_scalar("SELECT sum(events)::bigint FROM events_hourly")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(found, 1);
    }
}
