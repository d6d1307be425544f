//! Sends what is due.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use chrono::TimeDelta;
use futures_util::future::join_all;
use rand::RngExt as _;
use serde::Serialize;
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Channel, Envelope, Mail, SendError, Slack, Webhook};
use crate::{
    alert::message::Notice,
    config::{Config, SALT_LENGTH_MIN},
    ops::{Clock, metrics as metric},
    store::{
        StoreError,
        deliveries::{self, DeliveryRow},
    },
};

/// How often rows are looked for that another process wrote or whose time has come.
const EVERY: Duration = Duration::from_secs(5);

/// Messages sent at once.
const BATCH: i64 = 20;

/// Time before the second attempt; it doubles with each further one.
const PAUSE_FIRST_SECONDS: u64 = 30;

/// Most time between two attempts.
const PAUSE_MAX_SECONDS: u64 = 3600;

/// Time beyond that of an attempt after which a message is taken to be in nobody's hands.
const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(60);

/// Sends messages about alerts; clones share everything.
#[derive(Clone)]
pub struct Notifier {
    shared: Arc<Shared>,
}

struct Shared {
    pool: PgPool,
    clock: Clock,
    channels: Vec<Channel>,
    attempts_max: i32,
    timeout: TimeDelta,
    wake: Notify,
}

/// How a test message fared on one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TestResult {
    /// `slack`, `webhook` or `email`.
    pub channel: &'static str,
    pub delivered: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Notifier {
    /// Sets up the channels of a valid configuration.
    ///
    /// # Errors
    /// When a secret of a channel is missing, or TLS cannot be prepared.
    pub fn new(pool: PgPool, clock: Clock, config: &Config) -> anyhow::Result<Self> {
        let alerts = &config.alerts;
        let timeout = Duration::from_secs(alerts.delivery_timeout_seconds);
        let mut channels = Vec::new();
        if !alerts.slack_webhook_url.is_empty() {
            let slack = Slack::new(&alerts.slack_webhook_url, timeout).context("alerts.slack_webhook_url")?;
            channels.push(Channel::Slack(slack));
        }
        if !alerts.webhook_url.is_empty() {
            let secret = &config.secrets.alert_webhook_secret;
            anyhow::ensure!(
                secret.chars().count() >= SALT_LENGTH_MIN,
                "secrets.alert_webhook_secret: must have at least {SALT_LENGTH_MIN} characters, since messages to \
                 alerts.webhook_url are signed with it: give it by secrets.alert_webhook_secret_file, for example from: \
                 openssl rand -base64 32"
            );
            let webhook = Webhook::new(&alerts.webhook_url, secret, timeout).context("alerts.webhook_url")?;
            channels.push(Channel::Webhook(webhook));
        }
        if !alerts.smtp_host.is_empty() {
            anyhow::ensure!(
                alerts.smtp_user.is_empty() || !config.secrets.smtp_password.is_empty(),
                "secrets.smtp_password: is missing, and alerts.smtp_user logs in with it: give it by \
                 secrets.smtp_password_file"
            );
            let mail = Mail::new(alerts, &config.secrets.smtp_password).context("alerts.smtp_host")?;
            channels.push(Channel::Mail(Box::new(mail)));
        }
        let shared = Shared {
            pool,
            clock,
            channels,
            attempts_max: i32::try_from(alerts.delivery_attempts_max).unwrap_or(i32::MAX),
            timeout: TimeDelta::from_std(timeout).unwrap_or(TimeDelta::hours(1)),
            wake: Notify::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Says that there is something new to send.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Sends what is due until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.send_due().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "messages about alerts wait: {error}"
                );
            }
            let pause = tokio::time::timeout(EVERY, self.shared.wake.notified());
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// Sends what is due now, and returns how many attempts were made.
    ///
    /// # Errors
    /// Those of the store. What was sent but could not be noted is sent again later.
    pub async fn send_due(&self) -> Result<usize, StoreError> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let lease_until = now + shared.timeout + LEASE_MARGIN;
        let mut connection = shared
            .pool
            .acquire()
            .await
            .map_err(StoreError::during("store.deliveries.connect"))?;
        let names: Vec<&str> = shared.channels.iter().map(Channel::name).collect();
        let due = deliveries::claim_due(&mut connection, now, lease_until, &names, BATCH).await?;
        drop(connection);
        // Each on its own: one receiver that hangs delays no other one.
        let attempts = join_all(due.iter().map(|delivery| self.attempt(delivery))).await;
        let mut connection = shared
            .pool
            .acquire()
            .await
            .map_err(StoreError::during("store.deliveries.connect"))?;
        for (delivery, result) in due.iter().zip(attempts) {
            let now = shared.clock.now();
            match self.verdict(delivery, result) {
                Verdict::Delivered => deliveries::mark_delivered(&mut connection, delivery.id, now).await?,
                Verdict::Again { error, pause } => {
                    deliveries::mark_for_retry(&mut connection, delivery.id, &error, now + pause).await?;
                }
                Verdict::GivenUp { error } => {
                    deliveries::mark_failed(&mut connection, delivery.id, &error, now).await?;
                }
            }
        }
        Ok(due.len())
    }

    async fn attempt(&self, delivery: &DeliveryRow) -> Result<(), SendError> {
        let channel = self
            .shared
            .channels
            .iter()
            .find(|channel| channel.name() == delivery.channel);
        let channel = channel.ok_or_else(|| {
            SendError::GiveUp(format!("the channel {} is not set up any more", delivery.channel))
        })?;
        let notice: Notice = serde_json::from_value(delivery.content.clone())
            .map_err(|error| SendError::GiveUp(format!("the message cannot be read: {error}")))?;
        self.send(channel, delivery.id, &notice).await
    }

    async fn send(&self, channel: &Channel, id: Uuid, notice: &Notice) -> Result<(), SendError> {
        let envelope = Envelope {
            id,
            notice,
            now: self.shared.clock.now(),
        };
        let timeout = self.shared.timeout.to_std().unwrap_or_default();
        tokio::time::timeout(timeout, channel.send(&envelope))
            .await
            .unwrap_or_else(|_| Err(SendError::retry("no answer came in time")))
    }

    /// Decides what follows from an attempt, counts it, and logs the end of hope.
    fn verdict(&self, delivery: &DeliveryRow, result: Result<(), SendError>) -> Verdict {
        let count = |outcome: &'static str| {
            let channel = delivery.channel.clone();
            metrics::counter!(metric::ALERT_DELIVERIES, "channel" => channel, "outcome" => outcome)
                .increment(1);
        };
        let error = match result {
            Ok(()) => {
                count("delivered");
                return Verdict::Delivered;
            }
            Err(SendError::Retry {
                message,
                after_seconds,
            }) if delivery.attempts < self.shared.attempts_max => {
                count("retried");
                tracing::debug!(delivery = %delivery.id, error = message, "a message about an alert waits");
                let pause = pause_seconds(delivery.attempts, rand::rng().random());
                let pause = pause.max(after_seconds.unwrap_or(0).min(PAUSE_MAX_SECONDS));
                return Verdict::Again {
                    error: message,
                    pause: TimeDelta::seconds(pause as i64),
                };
            }
            Err(SendError::Retry { message, .. } | SendError::GiveUp(message)) => message,
        };
        count("failed");
        tracing::error!(
            delivery = %delivery.id,
            alert = %delivery.alert_id,
            channel = delivery.channel,
            attempts = delivery.attempts,
            error,
            "a message about an alert was given up: {error}"
        );
        Verdict::GivenUp { error }
    }

    /// Sends a test message through every channel at once.
    pub async fn test(&self) -> Vec<TestResult> {
        let notice = Notice::test();
        let attempts = self.shared.channels.iter().map(async |channel| {
            let result = self.send(channel, Uuid::now_v7(), &notice).await;
            TestResult {
                channel: channel.name(),
                delivered: result.is_ok(),
                error: result.err().map(|error| error.to_string()),
            }
        });
        join_all(attempts).await
    }
}

enum Verdict {
    Delivered,
    Again { error: String, pause: TimeDelta },
    GivenUp { error: String },
}

/// Returns the seconds before the next attempt: doubled each time, and shortened by up to half at random, so that many
/// messages that failed together do not come back together. `chance` is from 0 to below 1.
fn pause_seconds(attempts: i32, chance: f64) -> u64 {
    let doublings = attempts.saturating_sub(1).clamp(0, 20) as u32;
    let pause = PAUSE_FIRST_SECONDS
        .saturating_mul(1 << doublings)
        .min(PAUSE_MAX_SECONDS);
    (pause as f64 * (1.0 - chance / 2.0)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_channel_without_its_secret_is_refused_with_the_remedy() {
        let pool = PgPool::connect_lazy("postgres://nobody@127.0.0.1:1/nothing").unwrap();
        let refused = |config: &Config| {
            let made = Notifier::new(pool.clone(), Clock::system(), config);
            made.err().map(|error| error.to_string()).unwrap_or_default()
        };
        let mut config = Config::default();
        assert_eq!(refused(&config), "");
        config.alerts.webhook_url = "https://hook.example/".into();
        assert!(refused(&config).starts_with("secrets.alert_webhook_secret: must have at least 16"));
        config.secrets.alert_webhook_secret = "a secret of sixteen".into();
        config.alerts.smtp_host = "localhost".into();
        config.alerts.smtp_user = "journey".into();
        config.alerts.mail_from = "journey@shop.example".into();
        assert!(refused(&config).starts_with("secrets.smtp_password: is missing"));
        config.secrets.smtp_password = "hunter2".into();
        assert_eq!(refused(&config), "");
    }

    #[test]
    fn pauses_double_up_to_an_hour_and_differ_by_chance() {
        let longest: Vec<u64> = (1..=9).map(|attempts| pause_seconds(attempts, 0.0)).collect();
        assert_eq!(longest, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(pause_seconds(3, 0.5), 90);
        assert_eq!(pause_seconds(i32::MAX, 0.0), PAUSE_MAX_SECONDS);
        assert!(pause_seconds(1, 0.999_999) >= 15);
    }
}
