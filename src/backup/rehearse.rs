//! A restore that nobody notices: into a database that is dropped again.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};

use super::{database, set::Set};
use crate::{
    config::Config,
    store::{MIGRATOR, StoreError, dump},
};

/// How often a database is tried to be dropped, and the pause in between.
const DROP_ATTEMPTS: u32 = 10;
const DROP_PAUSE: Duration = Duration::from_secs(1);

/// Letters of the database's name in that of the rehearsal's: PostgreSQL takes 63, of which `_verify_` has 8 and the
/// time in microseconds 16.
const PLAIN_NAME_MAX: usize = 39;

/// Loads a set into a database of its own beside that of the configuration, counts its rows, and drops it again.
///
/// The queue is left alone. No policies are set: one that drops old events would disturb the count.
///
/// # Errors
/// When the role may not make databases, or the set cannot be loaded or holds other rows than its manifest says.
pub async fn rehearse(config: &Config, set: &Set, now: DateTime<Utc>) -> anyhow::Result<()> {
    set.manifest.must_be_loadable()?;
    let options: PgConnectOptions = config
        .database
        .url
        .parse()
        .context("database.url cannot be read")?;
    // To make and drop a database takes seconds, about which there is nothing to say.
    let options = options.disable_statement_logging();
    let mut connection = PgConnection::connect_with(&options)
        .await
        .context("the database cannot be reached: is it running, and is database.url right?")?;
    let database = options.get_database().unwrap_or("customer_journey");
    let (prefix, is_own) = scratch_prefix(database);
    if is_own {
        drop_leftovers(&mut connection, &prefix).await?;
    }
    let name = format!("{prefix}{}", now.timestamp_micros());
    dump::create_database(&mut connection, &name)
        .await
        .with_context(|| {
            format!("the database {name} for the rehearsal cannot be made: give the service's role CREATEDB")
        })?;
    let rehearsed = load_and_count(config, set, &options.clone().database(&name)).await;
    let dropped = drop_patiently(&mut connection, &name).await;
    rehearsed?;
    dropped.with_context(|| {
        format!("the database {name} of the rehearsal cannot be dropped: drop it by hand")
    })?;
    connection.close().await?;
    Ok(())
}

/// A rehearsal that was killed leaves its database, with people's data in it. Two never run at once: the job has a lock.
async fn drop_leftovers(connection: &mut PgConnection, prefix: &str) -> anyhow::Result<()> {
    let names = dump::databases_numbered(connection, prefix)
        .await
        .context("databases of earlier rehearsals cannot be looked for")?;
    for name in names {
        tracing::warn!(database = name, "dropping what an earlier rehearsal left behind");
        drop_patiently(connection, &name)
            .await
            .with_context(|| format!("the database {name} of an earlier rehearsal cannot be dropped"))?;
    }
    Ok(())
}

/// TimescaleDB's scheduler may have entered the database, and takes a moment to be sent away.
async fn drop_patiently(connection: &mut PgConnection, name: &str) -> Result<(), StoreError> {
    for _ in 1..DROP_ATTEMPTS {
        if dump::drop_database(connection, name).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(DROP_PAUSE).await;
    }
    dump::drop_database(connection, name).await
}

async fn load_and_count(config: &Config, set: &Set, options: &PgConnectOptions) -> anyhow::Result<()> {
    let mut connection = options.connect().await?;
    database::load(&mut connection, set, &config.retention).await?;
    let different = database::compare(&mut connection, set).await?;
    ensure!(
        different.is_empty(),
        "the restored tables are not those of the set: {}",
        different.join("; ")
    );
    MIGRATOR
        .run_direct(None, &mut connection, false)
        .await
        .context("the restored database cannot be migrated")?;
    connection.close().await?;
    Ok(())
}

/// Begins a name that PostgreSQL takes as it is, and says whether it is the database's alone.
///
/// A name that is long or has other signs is cut, and then others may come to the same: the hyphen keeps theirs
/// apart from those of a database that has what is left for its name.
fn scratch_prefix(database: &str) -> (String, bool) {
    let plain: String = database
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
        .take(PLAIN_NAME_MAX)
        .collect();
    let is_own = plain == database;
    let separator = if is_own { '_' } else { '-' };
    (format!("{plain}{separator}verify_"), is_own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_with_similar_names_do_not_share_a_prefix_that_is_cleaned_up() {
        let long = "a".repeat(PLAIN_NAME_MAX);
        assert_eq!(scratch_prefix("shop_1"), ("shop_1_verify_".to_owned(), true));
        assert_eq!(scratch_prefix(&long), (format!("{long}_verify_"), true));
        for other in [format!("{long}b"), format!("{long}-")] {
            assert_eq!(scratch_prefix(&other), (format!("{long}-verify_"), false));
        }
    }
}
