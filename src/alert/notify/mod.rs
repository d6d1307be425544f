//! Messages to where people read: Slack, a webhook, mail.
//!
//! A message is a row that was written with the change it tells of. [`worker`] takes rows that are due and sends each on
//! its own; one that fails is tried again after a while and given up after some attempts, which is logged, counted, and
//! stays visible with the alert. A crash between sending and noting it sends a message twice, under the same id.

mod mail;
mod slack;
mod webhook;
mod worker;

#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use mail::Mail;
pub use slack::Slack;
pub use webhook::{SIGNATURE_HEADER, Webhook, signature};
pub use worker::{Notifier, TestResult};

use super::message::Notice;

/// Characters kept of what a server answered.
const ANSWER_MAX: usize = 200;

/// Why a message did not arrive, and whether trying again may help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may, not before so many seconds if the receiver said so.
    #[error("{message}")]
    Retry {
        message: String,
        after_seconds: Option<u64>,
    },
    /// The receiver will never take it.
    #[error("{0}")]
    GiveUp(String),
}

impl SendError {
    fn retry(message: impl Into<String>) -> Self {
        Self::Retry {
            message: message.into(),
            after_seconds: None,
        }
    }
}

/// One message on its way.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    /// Stays the same in every attempt, so that a receiver can tell a repetition.
    pub id: Uuid,
    pub notice: &'a Notice,
    /// When this attempt is made.
    pub now: DateTime<Utc>,
}

/// A way to reach people.
#[derive(Clone, Debug)]
pub enum Channel {
    Slack(Slack),
    Webhook(Webhook),
    Mail(Box<Mail>),
}

impl Channel {
    /// Returns the word for it in the store and on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::Webhook(_) => "webhook",
            Self::Mail(_) => "email",
        }
    }

    /// Sends once.
    ///
    /// # Errors
    /// [`SendError`], without the address, which may be a secret.
    pub async fn send(&self, envelope: &Envelope<'_>) -> Result<(), SendError> {
        match self {
            Self::Slack(slack) => slack.send(envelope).await,
            Self::Webhook(webhook) => webhook.send(envelope).await,
            Self::Mail(mail) => mail.send(envelope).await,
        }
    }
}

/// Makes the client of Slack and webhook.
fn client(timeout: Duration) -> reqwest::Result<reqwest::Client> {
    crate::ops::web::client()
        .timeout(timeout)
        .user_agent(concat!("customer-journey/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Sends a request and judges the answer: only 2xx means that the message arrived.
async fn deliver(request: reqwest::RequestBuilder) -> Result<(), SendError> {
    let answer = request
        .send()
        .await
        .map_err(|error| SendError::retry(format!("{:#}", anyhow::Error::from(error.without_url()))))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let after_seconds = answer
        .headers()
        .get(reqwest::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let message = match beginning(answer).await {
        text if text.is_empty() => format!("the answer was {status}"),
        text => format!("the answer was {status}: {text}"),
    };
    // Gone is what a webhook answers that was removed on purpose. Anything else may be a slip that is mended soon.
    if status == reqwest::StatusCode::GONE {
        return Err(SendError::GiveUp(message));
    }
    Err(SendError::Retry {
        message,
        after_seconds,
    })
}

/// Reads no more of an answer than is kept.
async fn beginning(mut answer: reqwest::Response) -> String {
    let first = answer.chunk().await.ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&first);
    let printable = text.chars().filter(|letter| !letter.is_control());
    printable.take(ANSWER_MAX).collect()
}
