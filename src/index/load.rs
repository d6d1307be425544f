//! From rows of the store to rows of the index: a session and its events meet here and become numbers.
//!
//! What changed of a few people is read person by person ([`read_tails`]); how everything is read says
//! [`full`](super::full).

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Micros,
    block::Order,
    live::{Keeper, Tail},
    names::{Client, Names, Source},
    rows::{EventRow, SLOW_PAGE_MS, SessionRow, SessionRows, flag},
};
use crate::store::{
    StoreError,
    index_changes::Change,
    index_read::{self, IndexedEvent, IndexedSession},
};

/// The time before which an event of an ordinary moment cannot lie; PostgreSQL and chrono both have it.
const LONG_AGO: DateTime<Utc> = DateTime::from_timestamp(-2_208_988_800, 0).expect("a time in range");

/// Sessions whose events are read by one statement.
pub(super) const SESSIONS_PER_READ: usize = 2000;

/// Returns the tails of customers whose changes the log tells, and how they stand in the store now.
///
/// Someone without sessions is gone. Events before `not_before` are left out.
///
/// # Errors
/// [`StoreError`].
pub async fn read_tails(
    connection: &mut PgConnection,
    keeper: &Keeper,
    changes: &[Change],
    not_before: DateTime<Utc>,
) -> Result<Vec<Tail>, StoreError> {
    let customers: Vec<Uuid> = changes.iter().map(|change| change.customer_id).collect();
    let since: Vec<DateTime<Utc>> = changes
        .iter()
        .map(|change| change.since.unwrap_or(LONG_AGO).max(not_before))
        .collect();
    let mut tails: HashMap<Uuid, Tail> = changes
        .iter()
        .zip(&since)
        .map(|(change, since)| {
            let tail = Tail {
                customer_id: change.customer_id,
                since: if change.since.is_some() {
                    since.timestamp_micros()
                } else {
                    Micros::MIN
                },
                first_seen: Micros::MAX,
                sessions: Vec::new(),
            };
            (change.customer_id, tail)
        })
        .collect();
    let sessions = index_read::sessions_of(connection, &customers, &since).await?;
    for piece in sessions.chunks(SESSIONS_PER_READ) {
        let ids: Vec<Uuid> = piece.iter().map(|session| session.id).collect();
        let mut events = read_events(connection, keeper, &ids, not_before).await?;
        for session in piece {
            let events = events.remove(&session.id).unwrap_or_default();
            let Some(tail) = tails.get_mut(&session.customer_id) else {
                continue;
            };
            tail.first_seen = session.first_seen.timestamp_micros();
            tail.sessions
                .push(keeper.with_names(|names| session_of(names, session, events)));
        }
    }
    // In the order of the log, so that people get the same numbers whatever a hash says.
    Ok(customers
        .iter()
        .filter_map(|customer| tails.remove(customer))
        .collect())
}

/// The events of one session and what only they say of it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) events: Vec<EventRow>,
    pub(super) flags: u16,
}

pub(super) async fn read_events(
    connection: &mut PgConnection,
    keeper: &Keeper,
    sessions: &[Uuid],
    not_before: DateTime<Utc>,
) -> Result<HashMap<Uuid, Found>, StoreError> {
    let rows = index_read::events_of(connection, sessions, not_before).await?;
    keeper
        .with_names(|names| {
            let mut found: HashMap<Uuid, Found> = HashMap::with_capacity(sessions.len());
            for row in &rows {
                let event = row.event()?;
                let session = found.entry(row.session()?).or_default();
                session.flags |= flags_of(&event);
                session.events.push(event_of(names, &event));
            }
            Ok(found)
        })
        .map_err(StoreError::during("store.index.events_of"))
}

pub(super) fn event_of(names: &mut Names, event: &IndexedEvent<'_>) -> EventRow {
    EventRow {
        time: event.timestamp.timestamp_micros(),
        event_type: names.intern_type(event.event_type) as u16,
        page: names.intern_page(event.page_host, event.page_path),
        marks: 0,
    }
}

pub(super) fn flags_of(event: &IndexedEvent<'_>) -> u16 {
    let is_slow = event.page_load_time_ms.is_some_and(|time| time > SLOW_PAGE_MS);
    let is_empty = event.search_results_count == Some(0);
    union([(is_slow, flag::SLOW_PAGE), (is_empty, flag::EMPTY_SEARCH)])
}

fn session_of(names: &mut Names, session: &IndexedSession, found: Found) -> SessionRows {
    SessionRows {
        row: SessionRow {
            flags: found.flags | session_flags(session),
            ..row_of(names, session)
        },
        events: found.events,
        order: order_of(names, session),
    }
}

pub(super) fn row_of(names: &mut Names, session: &IndexedSession) -> SessionRow {
    let client = Client {
        device_type: names.intern_label(Some(&session.device_type)),
        browser: names.intern_label(session.browser.as_deref()),
        os: names.intern_label(session.os.as_deref()),
        country: names.intern_label(session.country.as_deref()),
    };
    let source = Source {
        channel: names.intern_label(Some(&session.channel)),
        source: names.intern_label(Some(&session.source)),
        medium: names.intern_label(session.medium.as_deref()),
        campaign: names.intern_label(session.campaign.as_deref()),
        referrer_host: names.intern_label(session.referrer_host.as_deref()),
    };
    SessionRow {
        start: session.started_at.timestamp_micros(),
        client: names.clients.intern(client),
        source: names.sources.intern(source),
        flags: session_flags(session),
    }
}

fn session_flags(session: &IndexedSession) -> u16 {
    union([
        (session.converted, flag::CONVERTED),
        (session.abandoned, flag::ABANDONED),
        (session.engaged, flag::ENGAGED),
        (session.rage_clicks > 0, flag::RAGE_CLICKS),
        (session.dead_clicks > 0, flag::DEAD_CLICKS),
        (session.form_errors > 0, flag::FORM_ERRORS),
        (session.errors > 0, flag::SCRIPT_ERRORS),
        (session.searches > 0, flag::SEARCHED),
    ])
}

/// Returns the flags that hold.
fn union(flags: impl IntoIterator<Item = (bool, u16)>) -> u16 {
    flags
        .into_iter()
        .filter(|(holds, _)| *holds)
        .fold(0, |all, (_, flag)| all | flag)
}

pub(super) fn order_of(names: &mut Names, session: &IndexedSession) -> Option<Order> {
    let currency = session.currency.as_deref().filter(|_| session.converted)?;
    Some(Order {
        value: session.conversion_value,
        currency: names.labels.intern_text(currency),
    })
}

/// Returns a time of the index as the store's.
pub fn time_of(time: Micros) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time).unwrap_or(LONG_AGO)
}
