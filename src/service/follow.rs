//! The index's own task: it fills the index and follows the store.

use std::{path::PathBuf, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    index::{
        Index,
        feed::{Feed, Settings},
    },
    ingest::settle::Settler,
};

/// Pause before another attempt to fill the index.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Where systemd lets the service keep its files.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// Name of the snapshot in the state directory.
const SNAPSHOT: &str = "index.snapshot";

/// Returns how the index is kept, from the configuration.
pub(super) fn settings(config: &Config) -> Settings {
    let wanted = &config.index.snapshot_file;
    let file = if wanted.is_empty() {
        // systemd separates several by a colon; the first is the service's own.
        let directories = std::env::var(STATE_DIRECTORY).ok();
        let first = directories.as_deref().and_then(|all| all.split(':').next());
        first.map(|directory| PathBuf::from(directory).join(SNAPSHOT))
    } else {
        Some(wanted.into())
    };
    let events_days = config.retention.events_days;
    Settings {
        bytes_max: config.index.memory_mb as usize * 1_000_000,
        poll: Duration::from_millis(config.index.poll_ms),
        events_days: (events_days > 0).then_some(events_days),
        file,
        save_every: TimeDelta::minutes(i64::from(config.index.snapshot_minutes)),
    }
}

/// Fills the index, as often as it takes, and follows the store until `stop`.
pub(super) async fn run(index: Arc<Index>, settler: Settler, settings: Settings, stop: CancellationToken) {
    loop {
        let opening = Feed::open(
            index.clone(),
            settler.pool.clone(),
            settler.clock.clone(),
            settings.clone(),
        );
        match stop.run_until_cancelled(opening).await {
            None => return,
            Some(Ok(feed)) => return feed.run(settler.committed, stop).await,
            Some(Err(error)) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the index cannot be filled yet; trying again"
            ),
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(RETRY_PAUSE))
            .await
            .is_none()
        {
            return;
        }
    }
}
