//! Evaluations against a real database.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::*;
use crate::analysis::series::Count;

/// Hours whose rate is made up; the evaluation is made in the last one.
const NOW: Hour = 494_892;

fn time(hour: Hour) -> DateTime<Utc> {
    DateTime::from_timestamp(hour * 3600 + 300, 0).unwrap()
}

fn settings() -> Settings {
    let mut config = Config::default();
    config.alerts.webhook_url = "https://hook.example/".into();
    config.alerts.smtp_host = "localhost".into();
    Settings::new(&config)
}

/// Judges a conversion rate of 10 % of 10 000 in earlier weeks that is `percent` in the hours from `since` on.
async fn evaluate(pool: &PgPool, now: Hour, since: Hour, percent: u64) -> Summary {
    let mut hourly = Hourly::zeros(NOW - 9 * 168, now);
    hourly.counts.fill(Count::new(10_000, 1000));
    for hour in since..now {
        hourly.counts[(hour - hourly.first) as usize].successes = percent * 100;
    }
    let settings = settings();
    let series = [Series::new(Subject::ConversionRate, hourly)];
    let findings = examine(&series, now, settings.zone, &settings.thresholds);
    let reasons = vec![Vec::new(); findings.alarms.len()];
    let mut connection = pool.acquire().await.unwrap();
    record(&mut connection, &findings, &reasons, &settings, time(now))
        .await
        .unwrap()
}

async fn all(pool: &PgPool) -> Vec<AlertRow> {
    let mut connection = pool.acquire().await.unwrap();
    let filter = alerts::AlertFilter::default();
    alerts::list(&mut connection, &filter, None, 100).await.unwrap()
}

async fn told(pool: &PgPool, alert: &AlertRow) -> Vec<(String, String)> {
    let mut connection = pool.acquire().await.unwrap();
    let rows = deliveries::of_alert(&mut connection, alert.id).await.unwrap();
    let mut told: Vec<_> = rows.into_iter().map(|row| (row.event, row.channel)).collect();
    told.sort();
    told
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn an_alert_lives_from_open_over_graver_to_recovered_and_each_step_is_told(pool: PgPool) {
    let opened = evaluate(&pool, NOW, NOW - 2, 7).await;
    assert_eq!((opened.judged, opened.opened), (1, 1));
    let again = evaluate(&pool, NOW + 1, NOW - 2, 7).await;
    assert_eq!((again.opened, again.escalated, again.resolved), (0, 0, 0));
    let graver = evaluate(&pool, NOW + 2, NOW, 2).await;
    assert_eq!((graver.opened, graver.escalated), (0, 1));
    let once = evaluate(&pool, NOW + 3, NOW + 3, 0).await;
    assert_eq!(once.resolved, 0, "once is no recovery");
    let twice = evaluate(&pool, NOW + 4, NOW + 4, 0).await;
    assert_eq!(twice.resolved, 1);
    let alerts = all(&pool).await;
    assert_eq!(alerts.len(), 1);
    let alert = &alerts[0];
    assert_eq!(
        (alert.status.as_str(), alert.resolved_reason.as_deref()),
        ("resolved", Some("recovered"))
    );
    assert_eq!(alert.severity, "critical");
    assert_eq!(
        (alert.opened_at, alert.resolved_at),
        (time(NOW), Some(time(NOW + 4)))
    );
    assert!((alert.effect + 0.8).abs() < 1e-9);
    let events = ["escalated", "opened", "resolved"];
    let expected: Vec<_> = events
        .iter()
        .flat_map(|event| ["email", "webhook"].map(|channel| (event.to_string(), channel.to_owned())))
        .collect();
    assert_eq!(told(&pool, alert).await, expected);
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn two_evaluations_at_once_open_one_alert(pool: PgPool) {
    let (one, other) = tokio::join!(evaluate(&pool, NOW, NOW - 2, 3), evaluate(&pool, NOW, NOW - 2, 3));
    assert_eq!(one.opened + other.opened, 1);
    let alerts = all(&pool).await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(told(&pool, &alerts[0]).await.len(), 2);
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn an_acknowledged_alert_is_open_again_when_it_gets_graver(pool: PgPool) {
    evaluate(&pool, NOW, NOW - 2, 7).await;
    let id = all(&pool).await[0].id;
    let mut connection = pool.acquire().await.unwrap();
    let acknowledged = alerts::acknowledge(&mut connection, id, "me", time(NOW))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            acknowledged.status.as_str(),
            acknowledged.acknowledged_by.as_deref()
        ),
        ("acknowledged", Some("me"))
    );
    evaluate(&pool, NOW + 1, NOW - 2, 7).await;
    assert_eq!(all(&pool).await[0].status, "acknowledged");
    evaluate(&pool, NOW + 2, NOW, 2).await;
    assert_eq!(all(&pool).await[0].status, "open");
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn an_alert_that_was_resolved_by_hand_stays_away_while_it_cools_down(pool: PgPool) {
    evaluate(&pool, NOW, NOW - 2, 3).await;
    let id = all(&pool).await[0].id;
    let mut connection = pool.acquire().await.unwrap();
    alerts::resolve(&mut connection, id, "manual", time(NOW))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        alerts::resolve(&mut connection, id, "manual", time(NOW))
            .await
            .unwrap(),
        None
    );
    for hours in 1..6 {
        assert_eq!(
            evaluate(&pool, NOW + hours, NOW - 2, 3).await.opened,
            0,
            "{hours}"
        );
    }
    assert_eq!(evaluate(&pool, NOW + 6, NOW - 2, 3).await.opened, 1);
    assert_eq!(all(&pool).await.len(), 2);
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn resolved_alerts_go_with_their_messages_when_they_are_old(pool: PgPool) {
    evaluate(&pool, NOW, NOW - 2, 3).await;
    let alert = all(&pool).await.remove(0);
    let mut connection = pool.acquire().await.unwrap();
    let later = time(NOW) + TimeDelta::days(400);
    assert_eq!(
        alerts::prune_resolved(&mut connection, later).await.unwrap(),
        0,
        "an open one stays"
    );
    alerts::resolve(&mut connection, alert.id, "manual", time(NOW))
        .await
        .unwrap();
    assert_eq!(alerts::prune_resolved(&mut connection, later).await.unwrap(), 1);
    assert_eq!(told(&pool, &alert).await, []);
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_message_to_a_channel_that_is_no_more_is_given_up_after_a_day(pool: PgPool) {
    evaluate(&pool, NOW, NOW - 2, 3).await;
    let alert = all(&pool).await.remove(0);
    let mut connection = pool.acquire().await.unwrap();
    let later = time(NOW) + TimeDelta::hours(1);
    let given_up = deliveries::abandon(&mut connection, &["email"], later, later)
        .await
        .unwrap();
    assert_eq!(given_up, 1);
    let rows = deliveries::of_alert(&mut connection, alert.id).await.unwrap();
    let failed: Vec<_> = rows.iter().filter(|row| row.state == "failed").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].channel, "webhook");
}
