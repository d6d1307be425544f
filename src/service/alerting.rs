//! The hourly look at what may go wrong.

use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    alert::{
        evaluate::{self, Findings, Settings},
        notify::Notifier,
        site,
    },
    analysis::{contrast::Reason, series::Hour},
    index::{Index, View},
    ingest::queue::Queue,
    ops::jobs::JobContext,
    store::deliveries,
};

/// How long a message waits for a channel that no node has set up any more.
const ABANDONED_AFTER: TimeDelta = TimeDelta::days(1);

/// What an evaluation needs.
#[derive(Clone)]
pub struct Alerting {
    pub index: Arc<Index>,
    pub queue: Option<Arc<Queue>>,
    pub settings: Settings,
    pub notifier: Notifier,
}

/// Judges the hours that are over. Says in its sentence why it did not where data are missing: an hour that is not
/// indexed yet looks like one in which nothing happened.
pub(super) async fn evaluate(context: JobContext, alerting: Alerting) -> anyhow::Result<String> {
    let now = context.clock.now();
    let hour = now.timestamp().div_euclid(3600);
    let hour_start = DateTime::from_timestamp(hour * 3600, 0).context("the present is a time")?;
    if let Some(obstacle) = obstacle(&alerting, hour_start).await {
        return Ok(format!("nothing judged: {obstacle}"));
    }
    let view = alerting
        .index
        .view()
        .context("the index is filled, but holds nothing")?;
    let settings = alerting.settings.clone();
    let (findings, reasons) = tokio::task::spawn_blocking(move || examine(&view, hour, &settings)).await?;
    let mut connection = context.pool.acquire().await?;
    let settings = &alerting.settings;
    let summary = evaluate::record(&mut connection, &findings, &reasons, settings, now).await?;
    let abandoned =
        deliveries::abandon(&mut connection, &settings.channels, now - ABANDONED_AFTER, now).await?;
    if abandoned > 0 {
        tracing::warn!(
            abandoned,
            "{abandoned} messages about alerts were given up: their channel is not set up any more"
        );
    }
    alerting.notifier.wake();
    Ok(format!(
        "{} subjects judged; alerts: {} opened, {} escalated, {} resolved",
        summary.judged, summary.opened, summary.escalated, summary.resolved
    ))
}

/// Returns why the hours before `hour_start` cannot be judged yet.
async fn obstacle(alerting: &Alerting, hour_start: DateTime<Utc>) -> Option<&'static str> {
    let status = alerting.index.status();
    if status.loading.is_some() {
        return Some("the index is being filled");
    }
    if status.fresh_at.is_none_or(|fresh_at| fresh_at < hour_start) {
        return Some("the index is not as new as the store");
    }
    let queue = alerting.queue.as_ref()?;
    // Without its queue the service stores events directly: then none waits.
    let counts = queue.counts().await.ok()?;
    let is_behind = counts.entries > 0 && counts.oldest.entry_ms < hour_start.timestamp_millis();
    is_behind.then_some("events of these hours still wait in the queue")
}

/// Measures everything that is watched, judges it, and finds reasons.
fn examine(view: &View, hour: Hour, settings: &Settings) -> (Findings, Vec<Vec<Reason>>) {
    let series = site::series(view, hour);
    let findings = evaluate::examine(&series, hour, settings.zone, &settings.thresholds);
    let reasons = findings
        .alarms
        .iter()
        .map(|alarm| site::reasons(view, alarm, findings.calendar(alarm)));
    let reasons = reasons.collect();
    (findings, reasons)
}
