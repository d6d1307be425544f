//! The hourly look at what may go wrong.

use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::{
    alert::{
        evaluate::{self, Findings, Settings},
        funnels::Watched,
        notify::Notifier,
        site,
    },
    analysis::{contrast::Reason, funnel::FunnelDefinition, series::Hour},
    index::{Index, View},
    ingest::queue::Queue,
    ops::jobs::JobContext,
    store::{deliveries, funnels},
};

/// How long a message waits for a channel that no node has set up any more.
const ABANDONED_AFTER: TimeDelta = TimeDelta::days(1);

/// Funnels whose steps are watched at most: each step is a subject, and the more subjects, the more each must deviate.
const FUNNELS_MAX: i64 = 20;

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
    let mut connection = context.pool.acquire().await?;
    let watched = watched(&mut connection).await?;
    let (findings, reasons) =
        tokio::task::spawn_blocking(move || examine(&view, hour, &settings, &watched)).await?;
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

/// Returns the kept funnels that can be watched. One that this release cannot read is passed over with a warning.
async fn watched(connection: &mut PgConnection) -> anyhow::Result<Vec<Watched>> {
    let kept = funnels::list_funnels(connection, None, FUNNELS_MAX).await?;
    let watched = kept.into_iter().filter_map(|record| {
        let definition: Result<FunnelDefinition, _> = serde_json::from_value(record.definition);
        match definition.map(|definition| definition.check()) {
            Ok(Ok(funnel)) => Watched::new(record.id, funnel),
            _ => {
                tracing::warn!(funnel = %record.id, "funnel {} is not watched: it cannot be read", record.name);
                None
            }
        }
    });
    Ok(watched.collect())
}

/// Measures everything that is watched, judges it, and finds reasons.
fn examine(
    view: &View,
    hour: Hour,
    settings: &Settings,
    watched: &[Watched],
) -> (Findings, Vec<Vec<Reason>>) {
    let mut series = site::series(view, hour);
    series.extend(watched.iter().flat_map(|funnel| funnel.series(view, hour)));
    let findings = evaluate::examine(&series, hour, settings.zone, &settings.thresholds);
    let reasons = findings.alarms.iter().map(|alarm| {
        let calendar = findings.calendar(alarm);
        let mut reasons = site::reasons(view, alarm, calendar);
        reasons.extend(
            watched
                .iter()
                .flat_map(|funnel| funnel.reasons(view, alarm, calendar)),
        );
        reasons
    });
    let reasons = reasons.collect();
    (findings, reasons)
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        config::Config,
        index::testing::{Story, Visit},
        ops::Clock,
        store::alerts::{self, AlertFilter},
    };

    /// An hour early enough for the times of a story, which begin in 1970.
    const NOW: Hour = 20_000;

    /// Five weeks of 60 sessions an hour, of which 12 buy; nobody does in the last day.
    fn shop() -> View {
        let mut story = Story::default();
        for hour in NOW - 5 * 168..NOW {
            for number in 0..60 {
                let buys = number % 5 == 0 && hour < NOW - 24;
                let flags = if buys {
                    crate::index::rows::flag::CONVERTED
                } else {
                    0
                };
                let start = (hour * 60 + number) * 60_000_000;
                let last = if buys { "purchase" } else { "click" };
                let events = [(start, "page_view", "/"), (start + 1, last, "/")];
                let visit = Visit {
                    flags,
                    ..Visit::default()
                };
                story.visit_as((hour * 60 + number) as u128, visit, &events);
            }
        }
        story.view()
    }

    fn world(pool: &PgPool, index: Index) -> (JobContext, Alerting) {
        let mut config = Config::default();
        config.alerts.slack_webhook_url = "http://127.0.0.1:1/hook".into();
        let clock = Clock::fixed(DateTime::from_timestamp(NOW * 3600 + 300, 0).unwrap());
        let alerting = Alerting {
            index: Arc::new(index),
            queue: None,
            settings: Settings::new(&config),
            notifier: Notifier::new(pool.clone(), clock.clone(), &config).unwrap(),
        };
        let context = JobContext {
            pool: pool.clone(),
            clock,
            stop: CancellationToken::new(),
        };
        (context, alerting)
    }

    #[sqlx::test(migrator = "crate::store::MIGRATOR")]
    async fn a_shop_where_nobody_buys_any_more_has_an_alert_and_a_message_waits(pool: PgPool) {
        let view = shop();
        let (context, alerting) = world(&pool, Index::of(view.clone()));
        let (findings, reasons) = examine(&view, NOW, &alerting.settings, &[]);
        let mut connection = pool.acquire().await.unwrap();
        let summary = evaluate::record(
            &mut connection,
            &findings,
            &reasons,
            &alerting.settings,
            context.clock.now(),
        );
        assert_eq!(summary.await.unwrap().opened, 1);
        let listed = alerts::list(&mut connection, &AlertFilter::default(), None, 10)
            .await
            .unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].subject.as_str(), listed[0].severity.as_str()),
            ("conversion_rate", "critical")
        );
        let waiting = deliveries::of_alert(&mut connection, listed[0].id).await.unwrap();
        assert_eq!(
            (waiting[0].channel.as_str(), waiting[0].state.as_str()),
            ("slack", "pending")
        );
    }

    #[sqlx::test(migrator = "crate::store::MIGRATOR")]
    async fn nothing_is_judged_while_the_index_is_filled_or_older_than_the_hour(pool: PgPool) {
        let (context, filling) = world(&pool, Index::default());
        let said = evaluate(context, filling).await.unwrap();
        assert_eq!(said, "nothing judged: the index is being filled");
        let (context, old) = world(&pool, Index::of(shop()));
        let said = evaluate(context, old).await.unwrap();
        assert_eq!(said, "nothing judged: the index is not as new as the store");
        let mut connection = pool.acquire().await.unwrap();
        let listed = alerts::list(&mut connection, &AlertFilter::default(), None, 10)
            .await
            .unwrap();
        assert_eq!(listed, []);
    }
}
