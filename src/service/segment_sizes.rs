//! The job that notes how many people each segment has.

use std::sync::Arc;

use anyhow::Context as _;
use chrono_tz::Tz;
use serde::Deserialize as _;

use crate::{
    analysis::segment::{self, Rule},
    index::Index,
    ops::jobs::JobContext,
    store::segments,
};

/// Segments worked out in one run. Nobody keeps more of them in view.
const SEGMENTS_MAX: i64 = 10_000;

/// Counts the people of every segment and notes it under the day of the site's time zone.
pub(super) async fn note_sizes(
    context: JobContext,
    index: Option<Arc<Index>>,
    timezone: String,
) -> anyhow::Result<String> {
    let Some(view) = index.as_deref().and_then(Index::view) else {
        return Ok("there is no index to count in".into());
    };
    let zone: Tz = timezone.parse().context("site.timezone is not known")?;
    let now = context.clock.now();
    let mut connection = context.pool.acquire().await?;
    let rows = segments::list(&mut connection, None, SEGMENTS_MAX).await?;
    let mut sizes = Vec::with_capacity(rows.len());
    for row in rows {
        if context.stop.is_cancelled() {
            break;
        }
        let rule = match Rule::deserialize(&row.definition) {
            Ok(rule) => rule,
            Err(error) => {
                tracing::warn!(segment = %row.id, %error, "the rules of a segment cannot be read: {error}");
                continue;
            }
        };
        let people = segment::people_of(&context.pool, &view, &rule, now).await?;
        sizes.push((row.id, people.len() as i64));
    }
    let day = now.with_timezone(&zone).date_naive();
    let everybody = view.size().people as i64;
    let saved = segments::save_sizes(&mut connection, day, everybody, &sizes).await?;
    Ok(format!("sizes of {saved} segments noted"))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::json;
    use sqlx::PgPool;
    use tokio_util::sync::CancellationToken;
    use uuid::Uuid;

    use super::*;
    use crate::{index::testing::Story, ops::Clock, store::segments::SegmentRow};

    #[sqlx::test(migrator = "crate::store::MIGRATOR")]
    async fn a_size_is_noted_under_the_day_of_the_site(pool: PgPool) {
        let now: DateTime<Utc> = "2026-06-15T22:30:00Z".parse().unwrap();
        let row = |number: u128, definition| SegmentRow {
            id: Uuid::from_u128(number),
            name: number.to_string(),
            description: None,
            definition,
            created_at: now,
            updated_at: now,
        };
        let mut connection = pool.acquire().await.unwrap();
        let buyers = row(1, json!({"did": {"event": "purchase"}}));
        let unreadable = row(2, json!({"colour": "red"}));
        for row in [&buyers, &unreadable] {
            segments::insert(&mut connection, row).await.unwrap();
        }
        let mut story = Story::default();
        story.visit(1, &[(1, "purchase", "/pay")]);
        story.visit(2, &[(1, "page_view", "/")]);
        let index = Arc::new(Index::of(story.view()));
        let context = JobContext {
            pool: pool.clone(),
            clock: Clock::fixed(now),
            stop: CancellationToken::new(),
        };
        let sentence = note_sizes(context, Some(index), "Europe/Berlin".into())
            .await
            .unwrap();
        assert_eq!(sentence, "sizes of 1 segments noted");
        let sizes = segments::list_sizes(&mut connection, buyers.id, None, 10)
            .await
            .unwrap();
        let found: Vec<_> = sizes
            .iter()
            .map(|size| (size.day.to_string(), size.people, size.everybody))
            .collect();
        assert_eq!(found, [("2026-06-16".to_owned(), 1, 2)]);
    }
}
