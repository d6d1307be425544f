//! Slack's incoming webhooks, and what understands their messages.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Envelope, SendError, client, deliver};
use crate::alert::message::Notice;

/// Characters Slack takes in a header.
const HEADER_MAX: usize = 150;

/// Characters Slack takes in a section.
const SECTION_MAX: usize = 3000;

/// An incoming webhook.
#[derive(Clone)]
pub struct Slack {
    client: reqwest::Client,
    address: String,
}

// The address is a secret.
impl std::fmt::Debug for Slack {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Slack(…)")
    }
}

impl Slack {
    /// # Errors
    /// When no client can be made.
    pub fn new(address: &str, timeout: Duration) -> reqwest::Result<Self> {
        Ok(Self {
            client: client(timeout)?,
            address: address.into(),
        })
    }

    pub(super) async fn send(&self, envelope: &Envelope<'_>) -> Result<(), SendError> {
        let request = self
            .client
            .post(&self.address)
            .header("Idempotency-Key", envelope.id.to_string())
            .json(&blocks(envelope.notice));
        deliver(request).await
    }
}

/// Writes a notice in Slack's blocks; `text` is what a notification on a phone shows.
fn blocks(notice: &Notice) -> Value {
    let mut lines: Vec<String> = notice.lines.iter().map(|line| escaped(line)).collect();
    if let Some(url) = &notice.url {
        lines.push(format!("<{}|The alert>", escaped(url)));
    }
    json!({
        "text": escaped(&notice.title),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": cut(&notice.title, HEADER_MAX)}},
            {"type": "section", "text": {"type": "mrkdwn", "text": cut(&lines.join("\n"), SECTION_MAX)}},
        ],
    })
}

/// Slack reads these three characters as markup; visitors' campaigns may hold them.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_cannot_write_markup_into_a_message() {
        let notice = Notice {
            lines: vec!["campaign <!channel> & <https://evil.example|click>".into()],
            ..Notice::test()
        };
        let text = blocks(&notice)["blocks"][1]["text"]["text"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(
            text,
            "campaign &lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;"
        );
    }

    #[test]
    fn a_long_message_is_cut_to_what_slack_takes() {
        let notice = Notice {
            title: "ä".repeat(1000),
            lines: vec!["ö".repeat(10_000)],
            ..Notice::test()
        };
        let blocks = blocks(&notice);
        let length = |place: usize| {
            blocks["blocks"][place]["text"]["text"]
                .as_str()
                .unwrap()
                .chars()
                .count()
        };
        assert_eq!((length(0), length(1)), (HEADER_MAX, SECTION_MAX));
    }
}
