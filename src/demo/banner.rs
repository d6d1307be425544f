//! What the demo prints when it is ready: where everything is, and what to try.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::keys::Keys;

/// Returns somebody of the data set whose journey is worth looking at: known by name, came back, bought. By device
/// where the data set is too small for that.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn find_customer(connection: &mut PgConnection) -> Result<Option<String>> {
    sqlx::query_scalar(
        "SELECT coalesce(user_id, device_id) FROM sessions
         GROUP BY user_id, coalesce(user_id, device_id)
         ORDER BY user_id IS NULL,
                  (count(*) FILTER (WHERE converted) > 0) DESC,
                  (count(*) FILTER (WHERE abandoned) > 0) DESC,
                  -- Long enough to tell something, short enough to read.
                  abs(count(*) - 6), 1
         LIMIT 1",
    )
    .fetch_optional(connection)
    .await
    .context("the data set cannot be read")
}

/// Returns the text; `customer` is somebody to look at.
pub(super) fn compose(base: &str, keys: &Keys, customer: Option<&str>, now: DateTime<Utc>) -> String {
    let week_ago = (now - TimeDelta::days(6)).format("%Y-%m-%d");
    let mut text = format!(
        "
Customer Journey is ready.

  Demo shop          {base}/demo/
  API documentation  {base}/docs
  Overview           {base}/api/v1/metrics/overview   (with the secret key)

  Write key          {write}
  Secret key         {secret}

Click around in the shop; its panel shows each event and what became of it. Then, in another terminal:

  export JOURNEY_SECRET_KEY={secret}
",
        write = keys.write.key,
        secret = keys.secret.key,
    );
    if let Some(customer) = customer {
        example(
            &mut text,
            "The whole journey of one customer",
            &format!(
                "curl -sH \"X-API-Key: $JOURNEY_SECRET_KEY\" '{base}/api/v1/customers/{customer}/journey'"
            ),
        );
    }
    example(
        &mut text,
        "The last seven days at a glance",
        &format!(
            "curl -sH \"X-API-Key: $JOURNEY_SECRET_KEY\" '{base}/api/v1/metrics/overview?from={week_ago}'"
        ),
    );
    example(
        &mut text,
        "An event of your own",
        &format!(
            "curl -sH 'X-API-Key: {}' \\\n       -d '{{\"event_type\":\"page_view\",\"user_id\":\"me\",\"page_url\":\"{base}/demo/\"}}' '{base}/api/v1/events'",
            keys.write.key
        ),
    );
    text.push_str("\nCtrl-C stops the demo and keeps its data; `make demo-reset` starts over.");
    text
}

fn example(text: &mut String, title: &str, command: &str) {
    let _ = write!(text, "\n  # {title}\n  {command}\n");
}
