//! Segments: their definitions, and how many people they had.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::StoreError;

/// The constraint that keeps two segments from having one name.
const NAME_UNIQUE: &str = "segments_name_unique";

/// A segment as it is kept. Its rules are those of whoever wrote it.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub(crate) struct SegmentRow {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) definition: serde_json::Value,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// How many people a segment had on a day.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow, Serialize, ToSchema)]
pub(crate) struct SegmentSize {
    /// A day of the site's time zone.
    pub(crate) day: NaiveDate,
    pub(crate) people: i64,
    /// Everybody the index covered then.
    pub(crate) everybody: i64,
}

/// What became of a wish to write a segment.
#[derive(Debug, PartialEq)]
pub(crate) enum Written {
    Done(SegmentRow),
    /// Another segment has this name.
    NameTaken,
    /// There is no segment of this id.
    Missing,
}

/// Writes a new segment.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    segment: &SegmentRow,
) -> Result<Written, StoreError> {
    let written = sqlx::query_as(
        "INSERT INTO segments (id, name, description, definition, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING *",
    )
    .bind(segment.id)
    .bind(&segment.name)
    .bind(&segment.description)
    .bind(&segment.definition)
    .bind(segment.created_at)
    .bind(segment.updated_at)
    .fetch_optional(connection)
    .await;
    outcome(written, "store.segments.insert")
}

/// Replaces name, description and rules of a segment. Its sizes up to now stay: they say what it was.
pub(crate) async fn update(
    connection: &mut PgConnection,
    id: Uuid,
    name: &str,
    description: Option<&str>,
    definition: &serde_json::Value,
    now: DateTime<Utc>,
) -> Result<Written, StoreError> {
    let written = sqlx::query_as(
        "UPDATE segments SET name = $2, description = $3, definition = $4, updated_at = $5 WHERE id = $1
         RETURNING *",
    )
    .bind(id)
    .bind(name)
    .bind(description)
    .bind(definition)
    .bind(now)
    .fetch_optional(connection)
    .await;
    outcome(written, "store.segments.update")
}

fn outcome(written: sqlx::Result<Option<SegmentRow>>, step: &'static str) -> Result<Written, StoreError> {
    match written {
        Ok(row) => Ok(row.map_or(Written::Missing, Written::Done)),
        Err(sqlx::Error::Database(error)) if error.constraint() == Some(NAME_UNIQUE) => {
            Ok(Written::NameTaken)
        }
        Err(error) => Err(StoreError::during(step)(error)),
    }
}

/// Removes a segment with its sizes; says whether there was one.
pub(crate) async fn delete(connection: &mut PgConnection, id: Uuid) -> Result<bool, StoreError> {
    let deleted = sqlx::query("DELETE FROM segments WHERE id = $1")
        .bind(id)
        .execute(connection)
        .await
        .map_err(StoreError::during("store.segments.delete"))?;
    Ok(deleted.rows_affected() > 0)
}

/// Finds a segment.
pub(crate) async fn find(connection: &mut PgConnection, id: Uuid) -> Result<Option<SegmentRow>, StoreError> {
    sqlx::query_as("SELECT * FROM segments WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(StoreError::during("store.segments.find"))
}

/// Lists segments by name, after the given one.
pub(crate) async fn list(
    connection: &mut PgConnection,
    after: Option<&str>,
    rows_max: i64,
) -> Result<Vec<SegmentRow>, StoreError> {
    sqlx::query_as(
        "SELECT * FROM segments WHERE $1::text IS NULL OR name COLLATE \"C\" > $1
         ORDER BY name COLLATE \"C\" LIMIT $2",
    )
    .bind(after)
    .bind(rows_max)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.segments.list"))
}

/// Notes how many people segments had on a day; a later note of the same day takes its place. Segments that are gone
/// meanwhile are left out.
pub(crate) async fn save_sizes(
    connection: &mut PgConnection,
    day: NaiveDate,
    everybody: i64,
    sizes: &[(Uuid, i64)],
) -> Result<u64, StoreError> {
    let (ids, people): (Vec<Uuid>, Vec<i64>) = sizes.iter().copied().unzip();
    let saved = sqlx::query(
        "INSERT INTO segment_sizes (segment_id, day, people, everybody)
         SELECT s.id, $1, n.people, $2 FROM unnest($3::uuid[], $4::bigint[]) AS n (id, people)
         JOIN segments s ON s.id = n.id
         ON CONFLICT (segment_id, day) DO UPDATE SET people = excluded.people, everybody = excluded.everybody",
    )
    .bind(day)
    .bind(everybody)
    .bind(&ids)
    .bind(&people)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.segments.save_sizes"))?;
    Ok(saved.rows_affected())
}

/// Lists how many people a segment had, the newest day first, before the given one.
pub(crate) async fn list_sizes(
    connection: &mut PgConnection,
    id: Uuid,
    before: Option<NaiveDate>,
    rows_max: i64,
) -> Result<Vec<SegmentSize>, StoreError> {
    sqlx::query_as(
        "SELECT day, people, everybody FROM segment_sizes
         WHERE segment_id = $1 AND ($2::date IS NULL OR day < $2) ORDER BY day DESC LIMIT $3",
    )
    .bind(id)
    .bind(before)
    .bind(rows_max)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.segments.list_sizes"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(number: u128, name: &str) -> SegmentRow {
        let now = "2026-06-15T12:00:00Z".parse().unwrap();
        SegmentRow {
            id: Uuid::from_u128(number),
            name: name.into(),
            description: None,
            definition: json!({"identified": true}),
            created_at: now,
            updated_at: now,
        }
    }

    #[sqlx::test(migrator = "crate::store::MIGRATOR")]
    async fn a_name_belongs_to_one_segment(pool: sqlx::PgPool) {
        let mut connection = pool.acquire().await.unwrap();
        let (first, second) = (row(1, "Buyers"), row(2, "Others"));
        assert_eq!(
            insert(&mut connection, &first).await.unwrap(),
            Written::Done(first.clone())
        );
        assert_eq!(
            insert(&mut connection, &row(3, "Buyers")).await.unwrap(),
            Written::NameTaken
        );
        insert(&mut connection, &second).await.unwrap();
        let rules = json!({"identified": false});
        let now = second.updated_at;
        let taken = update(&mut connection, second.id, "Buyers", None, &rules, now)
            .await
            .unwrap();
        assert_eq!(taken, Written::NameTaken);
        let missing = update(&mut connection, Uuid::from_u128(9), "New", None, &rules, now)
            .await
            .unwrap();
        assert_eq!(missing, Written::Missing);
        let names = list(&mut connection, Some("Buyers"), 10).await.unwrap();
        assert_eq!(names, [second]);
    }

    #[sqlx::test(migrator = "crate::store::MIGRATOR")]
    async fn the_last_size_of_a_day_counts_and_goes_with_its_segment(pool: sqlx::PgPool) {
        let mut connection = pool.acquire().await.unwrap();
        let segment = row(1, "Buyers");
        insert(&mut connection, &segment).await.unwrap();
        let gone = Uuid::from_u128(7);
        let day: NaiveDate = "2026-06-15".parse().unwrap();
        for people in [3, 5] {
            let sizes = [(segment.id, people), (gone, 1)];
            assert_eq!(save_sizes(&mut connection, day, 10, &sizes).await.unwrap(), 1);
        }
        let expected = SegmentSize {
            day,
            people: 5,
            everybody: 10,
        };
        assert_eq!(
            list_sizes(&mut connection, segment.id, None, 10).await.unwrap(),
            [expected]
        );
        assert!(delete(&mut connection, segment.id).await.unwrap());
        assert!(!delete(&mut connection, segment.id).await.unwrap());
        let left = list_sizes(&mut connection, segment.id, None, 10).await.unwrap();
        assert_eq!(left, []);
    }
}
