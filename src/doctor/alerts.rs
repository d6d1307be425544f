//! Whether alerts reach anybody.

use chrono::TimeDelta;
use sqlx::PgPool;

use super::Finding;
use crate::{alert::evaluate::Settings, config::Config, ops::Clock, store::deliveries};

/// How long a message that was given up is worth a finding.
const REMEMBERED: TimeDelta = TimeDelta::days(7);

const SUBJECT: &str = "alerts";

/// Looks at the channels that are set up and the messages that were given up.
pub(super) async fn examine(config: &Config, clock: &Clock) -> Vec<Finding> {
    if !config.alerts.enabled {
        return vec![Finding::good(SUBJECT, "turned off: alerts.enabled is false")];
    }
    let Ok(pool) = PgPool::connect(&config.database.url).await else {
        return Vec::new();
    };
    let dead_ends = async {
        let mut connection = pool.acquire().await.ok()?;
        let since = clock.now() - REMEMBERED;
        deliveries::dead_ends(&mut connection, since).await.ok()
    };
    let dead_ends = dead_ends.await;
    pool.close().await;
    // An unmigrated database is a finding of its own.
    let Some(dead_ends) = dead_ends else {
        return Vec::new();
    };
    if dead_ends.is_empty() {
        let channels = Settings::new(config).channels;
        return vec![match channels.as_slice() {
            [] => Finding::good(
                SUBJECT,
                "are raised and shown, and sent nowhere: no channel is set up",
            ),
            channels => Finding::good(SUBJECT, format!("are sent to {}", channels.join(" and "))),
        }];
    }
    let findings = dead_ends.into_iter().map(|dead_end| {
        let error = dead_end.last_error.unwrap_or_default();
        Finding::failure(
            SUBJECT,
            format!(
                "{} messages to {} were given up: {error}",
                dead_end.messages, dead_end.channel
            ),
            "mend the receiver or its settings, then see that a message arrives: POST /api/v1/alerts/test",
        )
    });
    findings.collect()
}
