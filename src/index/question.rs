//! An index made for one question: with marks for what only the store can tell of an event.
//!
//! It holds the sessions of a time, and with each event whether the question's conditions hold of it. It is read from
//! the store in one snapshot, answers, and is thrown away.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Micros, View,
    block::BlockBuilder,
    live::Keeper,
    load::{Found, SESSIONS_PER_READ, order_of, read_events, row_of, time_of},
    rows::{SessionRow, SessionRows},
    view::{SHARDS, shard_of},
};
use crate::store::{
    StoreError,
    event_conditions::{self, EventCondition},
    index_read::{self, IndexedSession},
};

/// Events of one question at most: 160 MB while it is answered.
const EVENTS_MAX: usize = 10_000_000;

/// How far a session may reach back from its end.
const SESSION_LENGTH: TimeDelta = TimeDelta::days(1);

/// Why there is no index for a question.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    #[error("the question reaches over more events than are read at once")]
    TooLarge,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// People with what they did, while they are read.
#[derive(Debug, Default)]
struct People {
    by_number: HashMap<u32, (Micros, Vec<SessionRows>)>,
    events: usize,
}

/// Reads the sessions that ran between `from` and `to`, both inclusive, from the store. Bit k of an event's marks says
/// whether all conditions of group k hold of it; there are 31 groups at most.
///
/// Numbers of people and names are those of the view that is returned. All reads see one moment when the connection
/// is in a transaction that does.
///
/// # Errors
/// [`QuestionError`].
pub async fn read_for_question(
    connection: &mut PgConnection,
    from: Micros,
    to: Micros,
    groups: &[Vec<EventCondition>],
) -> Result<View, QuestionError> {
    // A session that was under way at the beginning is told from the others by where it began.
    let origin = time_of(from) - SESSION_LENGTH;
    let keeper = Keeper::new(origin.timestamp_micros(), from);
    let sessions = sessions_between(connection, time_of(from), time_of(to)).await?;
    let mut people = People::default();
    for piece in sessions.chunks(SESSIONS_PER_READ) {
        read_piece(connection, &keeper, piece, origin, groups, &mut people).await?;
        if people.events > EVENTS_MAX {
            return Err(QuestionError::TooLarge);
        }
    }
    let blocks = people.into_blocks(origin.timestamp_micros());
    Ok(keeper.with_blocks(blocks).view())
}

async fn sessions_between(
    connection: &mut PgConnection,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<IndexedSession>, StoreError> {
    let step = "store.index.all_sessions";
    let ended_later = index_read::all_sessions(connection, from);
    ended_later
        .try_filter(|session| std::future::ready(session.started_at <= to))
        .try_collect()
        .await
        .map_err(StoreError::during(step))
}

async fn read_piece(
    connection: &mut PgConnection,
    keeper: &Keeper,
    sessions: &[IndexedSession],
    not_before: DateTime<Utc>,
    groups: &[Vec<EventCondition>],
    people: &mut People,
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = sessions.iter().map(|session| session.id).collect();
    let mut found = read_events(connection, keeper, &ids, not_before).await?;
    // In the same order, so that they fit one by one.
    for (session, marks) in event_conditions::marks_of(connection, &ids, not_before, groups).await? {
        if let Some(Found { events, .. }) = found.get_mut(&session) {
            for (event, mark) in events.iter_mut().zip(marks) {
                event.marks = mark;
            }
        }
    }
    keeper.with_names(|names| {
        for session in sessions {
            let found = found.remove(&session.id).unwrap_or_default();
            people.events += found.events.len();
            let row = row_of(names, session);
            let rows = SessionRows {
                row: SessionRow {
                    flags: row.flags | found.flags,
                    ..row
                },
                events: found.events,
                order: order_of(names, session),
            };
            let number = names.people.intern(session.customer_id);
            let person = people.by_number.entry(number).or_default();
            person.0 = session.first_seen.timestamp_micros();
            person.1.push(rows);
        }
    });
    Ok(())
}

impl People {
    fn into_blocks(self, origin: Micros) -> Vec<super::Block> {
        let mut sorted: Vec<_> = self.by_number.into_iter().collect();
        sorted.sort_unstable_by_key(|(number, _)| *number);
        let mut builders: Vec<BlockBuilder> = (0..SHARDS).map(|_| BlockBuilder::new(origin, true)).collect();
        for (number, (first_seen, mut sessions)) in sorted {
            builders[shard_of(number)].push(number, first_seen, &mut sessions);
        }
        builders.into_iter().map(BlockBuilder::finish).collect()
    }
}
