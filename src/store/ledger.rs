//! The drop ledger: what became of every event, counted in the transaction that decides it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{StoreError, json_rows};

/// The epoch of events that were committed directly, without a queue.
pub const DIRECT: Uuid = Uuid::nil();

/// A queue entry's id: milliseconds and counter of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::FromRow)]
pub struct EntryId {
    pub entry_ms: i64,
    pub entry_seq: i64,
}

/// What became of one queue entry's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct SettledEntry {
    #[sqlx(flatten)]
    pub id: EntryId,
    pub stored: i32,
    pub duplicate: i32,
    pub rejected: i32,
}

/// Returns which of the entries were settled before.
pub async fn settled_among(
    connection: &mut PgConnection,
    epoch: Uuid,
    ids: &[EntryId],
) -> Result<Vec<EntryId>, StoreError> {
    sqlx::query_as(
        "SELECT q.entry_ms, q.entry_seq
         FROM unnest($2::bigint[], $3::bigint[]) AS i (ms, seq)
         JOIN queue_entries q ON q.epoch = $1 AND q.entry_ms = i.ms AND q.entry_seq = i.seq",
    )
    .bind(epoch)
    .bind(ids.iter().map(|id| id.entry_ms).collect::<Vec<_>>())
    .bind(ids.iter().map(|id| id.entry_seq).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.ledger.settled_among"))
}

/// Records entries as settled; collides with another writer that settled one of them meanwhile.
pub async fn insert_settled(
    connection: &mut PgConnection,
    epoch: Uuid,
    entries: &[SettledEntry],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO queue_entries (epoch, entry_ms, entry_seq, settled_at, stored, duplicate, rejected)
         SELECT $1, e.ms, e.seq, $7, e.stored, e.duplicate, e.rejected
         FROM unnest($2::bigint[], $3::bigint[], $4::integer[], $5::integer[], $6::integer[])
              AS e (ms, seq, stored, duplicate, rejected)",
    )
    .bind(epoch)
    .bind(entries.iter().map(|entry| entry.id.entry_ms).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.id.entry_seq).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.stored).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.duplicate).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.rejected).collect::<Vec<_>>())
    .bind(now)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.ledger.insert_settled"))?;
    Ok(())
}

/// One line of the ledger: so many events of one key, hour, outcome and reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerKey {
    pub hour: DateTime<Utc>,
    pub key_id: i32,
    /// `received`, `stored`, `duplicate` or `rejected`.
    pub outcome: &'static str,
    /// Why, for `rejected`; empty otherwise.
    pub reason: String,
}

/// Adds counts to the ledger. `lines` must be sorted, so that writers never wait in a circle.
pub async fn add(
    connection: &mut PgConnection,
    epoch: Uuid,
    lines: &[(LedgerKey, i64)],
) -> Result<(), StoreError> {
    if lines.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO ingest_ledger (epoch, hour, key_id, outcome, reason, count)
         SELECT $1, l.* FROM unnest($2::timestamptz[], $3::integer[], $4::text[], $5::text[], $6::bigint[])
              AS l (hour, key_id, outcome, reason, count)
         ON CONFLICT (epoch, hour, key_id, outcome, reason)
         DO UPDATE SET count = ingest_ledger.count + excluded.count",
    )
    .bind(epoch)
    .bind(lines.iter().map(|(key, _)| key.hour).collect::<Vec<_>>())
    .bind(lines.iter().map(|(key, _)| key.key_id).collect::<Vec<_>>())
    .bind(lines.iter().map(|(key, _)| key.outcome).collect::<Vec<_>>())
    .bind(
        lines
            .iter()
            .map(|(key, _)| key.reason.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(lines.iter().map(|(_, count)| *count).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(StoreError::during("store.ledger.add"))?;
    Ok(())
}

/// Folds lines of hours before `before` into one line for each epoch and outcome; returns how many went.
///
/// Details may age, sums may not: the equation counts from the first event on.
pub async fn fold_before(connection: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let folded: Option<i64> = sqlx::query_scalar(
        "WITH old AS (
             DELETE FROM ingest_ledger WHERE hour < $1 AND hour > 'epoch' RETURNING *
         ), sums AS (
             INSERT INTO ingest_ledger (epoch, hour, key_id, outcome, reason, count)
             SELECT epoch, 'epoch', 0, outcome, '', sum(count)::bigint FROM old GROUP BY epoch, outcome
             ON CONFLICT (epoch, hour, key_id, outcome, reason)
             DO UPDATE SET count = ingest_ledger.count + excluded.count
         )
         SELECT count(*) FROM old",
    )
    .bind(before)
    .fetch_one(connection)
    .await
    .map_err(StoreError::during("store.ledger.fold_before"))?;
    Ok(u64::try_from(folded.unwrap_or(0)).unwrap_or(0))
}

/// A redacted example of a rejected event.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Sample {
    pub received_at: DateTime<Utc>,
    pub key_id: i32,
    pub reason: String,
    pub field: Option<String>,
    pub detail: String,
    pub sample: serde_json::Value,
}

/// Keeps examples of rejected events.
pub async fn insert_samples(connection: &mut PgConnection, samples: &[Sample]) -> Result<(), StoreError> {
    if samples.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO drop_samples (received_at, key_id, reason, field, detail, sample)
         SELECT received_at, key_id, reason, field, detail, sample
         FROM json_populate_recordset(NULL::drop_samples, $1::text::json)",
    )
    .bind(json_rows(samples))
    .execute(connection)
    .await
    .map_err(StoreError::during("store.ledger.insert_samples"))?;
    Ok(())
}

/// Keeps the newest `keep` examples of each reason.
pub async fn prune_samples(connection: &mut PgConnection, keep: i64) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM drop_samples WHERE id IN (
             SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY reason ORDER BY id DESC) AS place
                             FROM drop_samples) ranked WHERE place > $1)",
    )
    .bind(keep)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.ledger.prune_samples"))?;
    Ok(done.rows_affected())
}

/// Notes how many events a queue says it has received, and that the queue exists.
pub async fn note_epoch(
    connection: &mut PgConnection,
    epoch: Uuid,
    received: i64,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO queue_epochs (epoch, started_at, received_seen, seen_at) VALUES ($1, $3, $2, $3)
         ON CONFLICT (epoch) DO UPDATE SET received_seen = greatest(queue_epochs.received_seen, $2),
             seen_at = $3",
    )
    .bind(epoch)
    .bind(received)
    .bind(now)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.ledger.note_epoch"))?;
    Ok(())
}

/// The sums of one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Sums {
    /// Only counted here for events committed directly.
    pub received: i64,
    pub stored: i64,
    pub duplicate: i64,
    pub rejected: i64,
}

/// Returns the sums of one epoch over all hours, keys and reasons.
pub async fn sums(connection: &mut PgConnection, epoch: Uuid) -> Result<Sums, StoreError> {
    sqlx::query_as(
        "SELECT coalesce(sum(count) FILTER (WHERE outcome = 'received'), 0)::bigint AS received,
                coalesce(sum(count) FILTER (WHERE outcome = 'stored'), 0)::bigint AS stored,
                coalesce(sum(count) FILTER (WHERE outcome = 'duplicate'), 0)::bigint AS duplicate,
                coalesce(sum(count) FILTER (WHERE outcome = 'rejected'), 0)::bigint AS rejected
         FROM ingest_ledger WHERE epoch = $1",
    )
    .bind(epoch)
    .fetch_one(connection)
    .await
    .map_err(StoreError::during("store.ledger.sums"))
}

/// Returns what became of the entries that are among `ids` or newer than `after`.
pub async fn settled_since(
    connection: &mut PgConnection,
    epoch: Uuid,
    ids: &[EntryId],
    after: EntryId,
) -> Result<Vec<SettledEntry>, StoreError> {
    sqlx::query_as(
        "SELECT q.entry_ms, q.entry_seq, q.stored, q.duplicate, q.rejected FROM queue_entries q
         WHERE q.epoch = $1 AND (q.entry_ms, q.entry_seq) > ($4, $5)
         UNION
         SELECT q.entry_ms, q.entry_seq, q.stored, q.duplicate, q.rejected
         FROM unnest($2::bigint[], $3::bigint[]) AS i (ms, seq)
         JOIN queue_entries q ON q.epoch = $1 AND q.entry_ms = i.ms AND q.entry_seq = i.seq",
    )
    .bind(epoch)
    .bind(ids.iter().map(|id| id.entry_ms).collect::<Vec<_>>())
    .bind(ids.iter().map(|id| id.entry_seq).collect::<Vec<_>>())
    .bind(after.entry_ms)
    .bind(after.entry_seq)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.ledger.settled_since"))
}

/// A queue that is not read any more although not all of its events were settled.
#[derive(Clone, Debug, serde::Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct LostQueue {
    pub epoch: Uuid,
    pub seen_at: DateTime<Utc>,
    /// Events it had received when it was last seen.
    pub received_seen: i64,
    /// Events of it that were settled.
    pub settled: i64,
}

/// Returns the queues other than `current` that were last seen holding unsettled events.
pub async fn lost_queues(
    connection: &mut PgConnection,
    current: Option<Uuid>,
) -> Result<Vec<LostQueue>, StoreError> {
    sqlx::query_as(
        "SELECT * FROM (
             SELECT q.epoch, q.seen_at, q.received_seen,
                    coalesce((SELECT sum(l.count) FROM ingest_ledger l WHERE l.epoch = q.epoch), 0)::bigint
                        AS settled
             FROM queue_epochs q WHERE q.epoch IS DISTINCT FROM $1) e
         WHERE settled < received_seen ORDER BY seen_at",
    )
    .bind(current)
    .fetch_all(connection)
    .await
    .map_err(StoreError::during("store.ledger.lost_queues"))
}

/// Forgets entries that were settled before `before`, unless the queue may still hold them.
pub async fn prune_settled(
    connection: &mut PgConnection,
    epoch: Uuid,
    oldest_in_queue: EntryId,
    before: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM queue_entries WHERE settled_at < $4
         AND (epoch <> $1 OR (entry_ms, entry_seq) < ($2, $3))",
    )
    .bind(epoch)
    .bind(oldest_in_queue.entry_ms)
    .bind(oldest_in_queue.entry_seq)
    .bind(before)
    .execute(connection)
    .await
    .map_err(StoreError::during("store.ledger.prune_settled"))?;
    Ok(done.rows_affected())
}

/// Books what came through a queue as committed directly, and forgets the queue: after a restore, what it held
/// waits in another one. `missing` events had been received and were not to be found even then.
///
/// The sums by hour, key and reason stay; that all of it was received is one line without an hour, as
/// [`fold_before`] leaves it.
pub async fn fold_epoch(connection: &mut PgConnection, epoch: Uuid, missing: i64) -> Result<(), StoreError> {
    let step = "store.ledger.fold_epoch";
    sqlx::query(
        "WITH moved AS (
             DELETE FROM ingest_ledger WHERE epoch = $1 RETURNING hour, key_id, outcome, reason, count
         )
         INSERT INTO ingest_ledger (epoch, hour, key_id, outcome, reason, count)
         SELECT $2::uuid, hour, key_id, outcome, reason, count FROM moved
         UNION ALL
         SELECT $2::uuid, 'epoch', 0, 'received', '', coalesce(sum(count), 0)::bigint + $3::bigint FROM moved
         ON CONFLICT (epoch, hour, key_id, outcome, reason)
         DO UPDATE SET count = ingest_ledger.count + excluded.count",
    )
    .bind(epoch)
    .bind(DIRECT)
    .bind(missing)
    .execute(&mut *connection)
    .await
    .map_err(StoreError::during(step))?;
    for statement in [
        "DELETE FROM queue_entries WHERE epoch = $1",
        "DELETE FROM queue_epochs WHERE epoch = $1",
    ] {
        sqlx::query(statement)
            .bind(epoch)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::during(step))?;
    }
    Ok(())
}
