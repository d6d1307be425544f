//! The scheduled jobs: roll-ups, retention, the ledger's check, housekeeping, alerts.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use super::alerting::{self, Alerting};
use crate::{
    config::{Config, Retention},
    ingest::{
        derive::{self, Changes},
        ledger,
        queue::Queue,
    },
    ops::{
        Clock,
        jobs::{Job, JobContext, Jobs},
    },
    store::{
        alerts, attributes, erasure, index_changes,
        ledger::{EntryId, fold_before, prune_samples, prune_settled},
        sessions,
        situation::{self, Situation, drop_after_days},
    },
};

/// Hours rolled up in one run; a first run after an import catches up over several.
const ROLLUP_HOURS: i64 = 1000;

/// Examples of rejected events kept for each reason.
const SAMPLES_KEPT: i64 = 50;

/// How long settled queue entries are remembered: far longer than a redelivery can take.
const SETTLED_KEPT: TimeDelta = TimeDelta::days(1);

/// How long the index's log of changes is kept: a restart that takes longer fills the index from the store.
const INDEX_CHANGES_KEPT_SECONDS: f64 = 7200.0;

/// Rows deleted in one statement.
const PIECE: i64 = 5000;

/// Returns the jobs of this installation, not yet started.
pub fn jobs(
    pool: PgPool,
    queue: Option<Arc<Queue>>,
    situation: Situation,
    alerting: Option<Alerting>,
    config: &Config,
    clock: Clock,
    stop: CancellationToken,
) -> Jobs {
    let retention = config.retention.clone();
    let checked = queue.clone();
    let mut list = vec![
        Job::new("rollup", &config.jobs.rollup, move |context| {
            roll_up(context, situation)
        }),
        Job::new("retention", &config.jobs.retention, move |context| {
            apply_retention(context, situation, retention.clone())
        }),
        Job::new("ledger_check", &config.jobs.ledger_check, move |context| {
            check_ledger(context, checked.clone())
        }),
        Job::new("housekeeping", &config.jobs.housekeeping, move |context| {
            keep_house(context, queue.clone())
        }),
    ];
    list.extend(alerting.map(|alerting| {
        Job::new("alerts", &config.jobs.alerts, move |context| {
            alerting::evaluate(context, alerting.clone())
        })
    }));
    Jobs::new(pool, clock, stop, list)
}

async fn roll_up(context: JobContext, situation: Situation) -> anyhow::Result<String> {
    if situation.has_policies() {
        return Ok("the database rolls up by itself".into());
    }
    let mut connection = context.pool.acquire().await?;
    let hours = situation::roll_up(&mut connection, context.clock.now(), ROLLUP_HOURS).await?;
    Ok(format!("{hours} hours rolled up"))
}

async fn apply_retention(
    context: JobContext,
    situation: Situation,
    retention: Retention,
) -> anyhow::Result<String> {
    let now = context.clock.now();
    let mut connection = context.pool.acquire().await?;
    let mut done = Vec::new();
    if let Some(days) = drop_after_days(&retention) {
        let before = now - TimeDelta::days(i64::from(days));
        let events = situation::drop_events_before(&mut connection, situation, before).await?;
        let keys = situation::delete_before(&mut connection, "event_keys", "timestamp", before).await?;
        done.push(format!("{events} events or chunks and {keys} event ids"));
    }
    if let Some(before) = cutoff(now, retention.sessions_days) {
        let mut sessions = 0;
        while !context.stop.is_cancelled() {
            let removed = remove_sessions(&mut connection, before).await?;
            sessions += removed;
            if removed < PIECE as usize {
                break;
            }
        }
        done.push(format!("{sessions} sessions"));
    }
    if let Some(before) = cutoff(now, retention.attribute_changes_days) {
        let facts = attributes::prune_superseded(&mut connection, before, i64::MAX).await?;
        done.push(format!("{facts} superseded attribute values"));
    }
    if let Some(before) = cutoff(now, retention.metrics_days) {
        let ledger = fold_before(&mut connection, before).await?;
        let hours = situation::delete_before(&mut connection, "events_hourly_rows", "hour", before).await?;
        let alerts = alerts::prune_resolved(&mut connection, before).await?;
        done.push(format!(
            "{ledger} ledger lines folded, {hours} roll-up rows, {alerts} resolved alerts"
        ));
    }
    Ok(format!("removed {}", done.join(", ")))
}

fn cutoff(now: DateTime<Utc>, days: u32) -> Option<DateTime<Utc>> {
    (days > 0).then(|| now - TimeDelta::days(i64::from(days)))
}

/// Removes one piece of old sessions and computes their customers again, in one transaction.
pub(super) async fn remove_sessions(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
) -> anyhow::Result<usize> {
    let mut transaction = connection.begin().await?;
    // An erasure takes the same rows in another order.
    erasure::lock_shared(&mut transaction).await?;
    let customers = sessions::delete_ended_before(&mut transaction, before, PIECE).await?;
    let removed = customers.len();
    let customers: BTreeSet<_> = customers.into_iter().collect();
    let changes = Changes {
        customers,
        ..Changes::default()
    };
    derive::recompute(&mut transaction, &changes).await?;
    transaction.commit().await?;
    Ok(removed)
}

async fn check_ledger(context: JobContext, queue: Option<Arc<Queue>>) -> anyhow::Result<String> {
    let mut connection = context.pool.acquire().await?;
    let audit = ledger::audit(&mut connection, queue.as_deref()).await?;
    anyhow::ensure!(
        audit.balances(),
        "the ledger does not balance: {}",
        serde_json::to_string(&audit).context("the audit cannot be written")?
    );
    Ok(format!(
        "{} events received, all accounted for",
        audit.total.received
    ))
}

async fn keep_house(context: JobContext, queue: Option<Arc<Queue>>) -> anyhow::Result<String> {
    let now = context.clock.now();
    let mut connection = context.pool.acquire().await?;
    let samples = prune_samples(&mut connection, SAMPLES_KEPT).await?;
    index_changes::prune(&mut connection, INDEX_CHANGES_KEPT_SECONDS).await?;
    let mut entries = 0;
    if let Some(queue) = queue {
        let counts = queue.counts().await?;
        if let Some(epoch) = counts.epoch {
            // An entry is forgotten only when the queue cannot deliver it again.
            let oldest = counts.pending.iter().copied().chain([counts.oldest]).min();
            let oldest: EntryId = oldest.unwrap_or(counts.oldest);
            entries = prune_settled(&mut connection, epoch, oldest, now - SETTLED_KEPT).await?;
        }
    }
    Ok(format!(
        "{samples} examples and {entries} settled queue entries removed"
    ))
}
