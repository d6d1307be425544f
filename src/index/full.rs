//! Filling an empty index from the store, in two passes over the tables: sessions first, then events, newest first.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Micros, NameId,
    block::{BlockBuilder, Order},
    live::Keeper,
    load::{Found, SESSIONS_PER_READ, event_of, flags_of, order_of, read_events, row_of, time_of},
    rows::{EventRow, SessionRow, SessionRows},
    view::{SHARDS, shard_of},
};
use crate::store::{StoreError, index_read};

/// How much of the time before now the index can hold, in days: events count in 48 bits of microseconds from there,
/// 8.9 years, and a process that runs for long needs room ahead.
pub const REACH_DAYS: i64 = 6 * 365;

/// How much of the time is read by one statement.
const WINDOW: TimeDelta = TimeDelta::days(1);

/// Rows after which memory is looked at while everything is read.
const ROWS_BETWEEN_LOOKS: usize = 10_000;

/// How far a load has come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    pub sessions: usize,
    pub events: usize,
    /// 0 to 1, by the time that is read.
    pub share: f64,
}

/// A session that waits for its events.
struct Waiting {
    id: Uuid,
    person: u32,
    end: Micros,
    first_seen: Micros,
    row: SessionRow,
    order: Option<Order>,
}

/// One event on its way to its session.
#[derive(Clone, Copy)]
struct Loose {
    /// Place among the waiting sessions.
    session: u32,
    page: NameId,
    time: Micros,
    /// The client's counter as it sorts; an absent one comes first.
    seq: i64,
    event_type: u16,
}

/// Reads everything.
pub struct Loader {
    keeper: Keeper,
    bytes_max: usize,
    sessions: Vec<Waiting>,
    /// Sessions of each device by place, in the order they began.
    by_device: HashMap<Box<str>, Vec<u32>>,
    events: Vec<Loose>,
    /// Sessions whose events cannot be told or ordered by time and counter alone: they are read again, with more care.
    unclear: BTreeSet<u32>,
}

impl Loader {
    /// An empty index that is to take at most `bytes_max`, with sessions that ended at or after `from`.
    pub fn new(now: DateTime<Utc>, from: Option<DateTime<Utc>>, bytes_max: usize) -> Self {
        let origin = now - TimeDelta::days(REACH_DAYS);
        let from = from.map_or(origin, |from| from.max(origin));
        Self {
            keeper: Keeper::new(origin.timestamp_micros(), from.timestamp_micros()),
            bytes_max,
            sessions: Vec::new(),
            by_device: HashMap::new(),
            events: Vec::new(),
            unclear: BTreeSet::new(),
        }
    }

    /// Reads sessions and events, the newest events first, as far as memory reaches. All reads see one moment when the
    /// connection is in a transaction that does.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(
        mut self,
        connection: &mut PgConnection,
        progress: impl Fn(Progress),
    ) -> Result<Keeper, StoreError> {
        let from = time_of(self.keeper.covered_from());
        self.read_sessions(connection, from).await?;
        if let Some((oldest, newest)) = index_read::extent(connection, from).await? {
            let mut end = newest + TimeDelta::microseconds(1);
            while end > oldest {
                let start = (end - WINDOW).max(oldest);
                self.read_window(connection, start, end).await?;
                if self.bytes() > self.bytes_max {
                    self.leave_out_before(end);
                    break;
                }
                end = start;
                progress(Progress {
                    sessions: self.sessions.len(),
                    events: self.events.len(),
                    share: (newest - start).as_seconds_f64() / (newest - oldest).as_seconds_f64().max(1.0),
                });
            }
        }
        self.finish(connection).await
    }

    async fn read_sessions(
        &mut self,
        connection: &mut PgConnection,
        from: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let step = "store.index.all_sessions";
        let mut stream = index_read::all_sessions(connection, from);
        while let Some(session) = stream.try_next().await.map_err(StoreError::during(step))? {
            let place = self.sessions.len() as u32;
            let waiting = self.keeper.with_names(|names| Waiting {
                id: session.id,
                person: names.people.intern(session.customer_id),
                end: session.ended_at.timestamp_micros(),
                first_seen: session.first_seen.timestamp_micros(),
                row: row_of(names, &session),
                order: order_of(names, &session),
            });
            self.sessions.push(waiting);
            match self.by_device.get_mut(session.device_id.as_str()) {
                Some(places) => places.push(place),
                None => {
                    self.by_device.insert(session.device_id.into(), vec![place]);
                }
            }
        }
        let sessions = &self.sessions;
        for places in self.by_device.values_mut() {
            places.sort_unstable_by_key(|place| {
                let session = &sessions[*place as usize];
                (session.row.start, session.end)
            });
        }
        Ok(())
    }

    async fn read_window(
        &mut self,
        connection: &mut PgConnection,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let step = "store.index.all_events";
        let mut stream = index_read::all_events(connection, from, to);
        let mut rows = Vec::with_capacity(ROWS_BETWEEN_LOOKS);
        while let Some(row) = stream.try_next().await.map_err(StoreError::during(step))? {
            rows.push(row);
            if rows.len() == ROWS_BETWEEN_LOOKS {
                self.take(&rows).map_err(StoreError::during(step))?;
                rows.clear();
                if self.bytes() > self.bytes_max {
                    return Ok(());
                }
            }
        }
        self.take(&rows).map_err(StoreError::during(step))
    }

    fn take(&mut self, rows: &[index_read::AnyEvent]) -> sqlx::Result<()> {
        let Self {
            keeper,
            sessions,
            by_device,
            events,
            unclear,
            ..
        } = self;
        keeper.with_names(|names| {
            for row in rows {
                let event = row.event()?;
                let found = event_of(names, &event);
                // An event without a session is one whose session retention has removed.
                let Some(places) = by_device.get(row.device_id()?) else {
                    continue;
                };
                let after = places.partition_point(|place| sessions[*place as usize].row.start <= found.time);
                let mut candidates = places[..after]
                    .iter()
                    .rev()
                    .take_while(|place| sessions[**place as usize].end >= found.time)
                    .peekable();
                let Some(place) = candidates.next() else { continue };
                if candidates.peek().is_some() {
                    unclear.insert(*place);
                    unclear.extend(candidates);
                } else {
                    sessions[*place as usize].row.flags |= flags_of(&event);
                }
                events.push(Loose {
                    session: *place,
                    page: found.page,
                    time: found.time,
                    seq: row.seq()?.unwrap_or(i64::MIN),
                    event_type: found.event_type,
                });
            }
            Ok(())
        })
    }

    /// Takes what was read for granted from `time` on.
    fn leave_out_before(&mut self, time: DateTime<Utc>) {
        let time = time.timestamp_micros();
        self.events.retain(|event| event.time >= time);
        self.keeper.forget_before(time);
    }

    /// Estimates the bytes that the finished index takes. What is only needed while it is made goes again.
    fn bytes(&self) -> usize {
        let per_event = size_of::<u64>() + size_of::<NameId>();
        let per_session = 2 * size_of::<u64>() + 4 * size_of::<u32>();
        self.keeper.bytes() + self.events.len() * per_event + self.sessions.len() * per_session
    }

    async fn finish(mut self, connection: &mut PgConnection) -> Result<Keeper, StoreError> {
        drop(std::mem::take(&mut self.by_device));
        let from = self.keeper.covered_from();
        self.events
            .sort_unstable_by_key(|event| (event.session, event.time, event.seq));
        for pair in self.events.windows(2) {
            let key = |event: &Loose| (event.session, event.time, event.seq);
            let what = |event: &Loose| (event.event_type, event.page);
            if key(&pair[0]) == key(&pair[1]) && what(&pair[0]) != what(&pair[1]) {
                self.unclear.insert(pair[0].session);
            }
        }
        let mut careful = self.read_unclear(connection, time_of(from)).await?;
        let mut order: Vec<u32> = (0..self.sessions.len() as u32)
            .filter(|place| self.sessions[*place as usize].end >= from)
            .collect();
        order.sort_unstable_by_key(|place| {
            let session = &self.sessions[*place as usize];
            (session.person, session.row.start, session.id)
        });
        let mut builders: Vec<BlockBuilder> = (0..SHARDS)
            .map(|_| BlockBuilder::new(self.keeper.origin(), false))
            .collect();
        for group in
            order.chunk_by(|a, b| self.sessions[*a as usize].person == self.sessions[*b as usize].person)
        {
            let first = &self.sessions[group[0] as usize];
            let mut sessions: Vec<SessionRows> = group
                .iter()
                .map(|place| {
                    let session = &self.sessions[*place as usize];
                    let found = careful.remove(place).unwrap_or_else(|| self.found_at(*place));
                    SessionRows {
                        row: SessionRow {
                            flags: session.row.flags | found.flags,
                            ..session.row
                        },
                        events: found.events,
                        order: session.order,
                    }
                })
                .collect();
            builders[shard_of(first.person)].push(first.person, first.first_seen, &mut sessions);
        }
        let blocks = builders.into_iter().map(BlockBuilder::finish).collect();
        Ok(self.keeper.with_blocks(blocks))
    }

    fn found_at(&self, place: u32) -> Found {
        let from = self.events.partition_point(|event| event.session < place);
        let of_session = self.events[from..]
            .iter()
            .take_while(|event| event.session == place);
        let events = of_session.map(|event| EventRow {
            time: event.time,
            event_type: event.event_type,
            page: event.page,
            marks: 0,
        });
        Found {
            events: events.collect(),
            flags: 0,
        }
    }

    async fn read_unclear(
        &mut self,
        connection: &mut PgConnection,
        not_before: DateTime<Utc>,
    ) -> Result<HashMap<u32, Found>, StoreError> {
        let unclear: Vec<u32> = std::mem::take(&mut self.unclear).into_iter().collect();
        let mut careful = HashMap::with_capacity(unclear.len());
        for piece in unclear.chunks(SESSIONS_PER_READ) {
            let ids: Vec<Uuid> = piece
                .iter()
                .map(|place| self.sessions[*place as usize].id)
                .collect();
            let mut found = read_events(connection, &self.keeper, &ids, not_before).await?;
            let read = piece.iter().zip(&ids);
            careful.extend(read.map(|(place, id)| (*place, found.remove(id).unwrap_or_default())));
        }
        Ok(careful)
    }
}
