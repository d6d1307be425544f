//! `customer-journey migrate`: bring the database into the form this release works with.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use customer_journey::{
    config::Config,
    ops::lifecycle::block_on,
    store::{MIGRATOR, situation},
};
use sqlx::{Connection as _, PgConnection};

pub fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let situation = block_on(async {
        let mut connection = PgConnection::connect(&config.database.url)
            .await
            .context("the database cannot be reached: is it running, and is database.url right?")?;
        MIGRATOR
            .run(&mut connection)
            .await
            .context("the database cannot be migrated")?;
        Ok(situation::prepare(&mut connection, &config.retention).await?)
    })?;
    writeln!(
        io::stdout(),
        "The database is up to date; storage: {}.",
        situation.as_str()
    )?;
    Ok(ExitCode::SUCCESS)
}
