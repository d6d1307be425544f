//! The queue: one Redis stream, one entry for each accepted request.
//!
//! Adding an entry and counting it as received is one atomic step, and so is acknowledging an entry and
//! counting it as gone. Whatever dies between two commands, the counters and the stream agree.

mod consumer;
mod counts;
mod dead;
mod restored;

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use redis::{
    AsyncCommands, Client, RedisError, Script, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
    streams::StreamId,
};
use uuid::Uuid;

pub use self::{
    consumer::{Claimed, Consumer},
    counts::QueueCounts,
    dead::DeadLetter,
};
use super::entry::{Entry, VERSION};
use crate::{config::Redis, store::ledger::EntryId};

/// The consumer group all writers belong to.
const GROUP: &str = "writers";

/// Entries read from Redis, or written to it, at once where all of them are meant.
pub const PIECE: usize = 200;

/// For how long an unreachable Redis is not asked again, so that requests do not wait for it one by one.
const RETRY_AFTER_MS: i64 = 1000;

#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The queue holds as many entries as it may, or Redis has no memory left.
    #[error("the queue is full")]
    Full,
    #[error("the queue cannot be reached")]
    Unreachable(#[source] RedisError),
    #[error("the queue answered something unexpected: {0}")]
    Unexpected(String),
}

impl From<RedisError> for QueueError {
    fn from(error: RedisError) -> Self {
        if error.code() == Some("OOM") {
            Self::Full
        } else {
            Self::Unreachable(error)
        }
    }
}

/// A queue entry on its way to the store.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: EntryId,
    pub version: String,
    /// Events it brings, as counted on arrival.
    pub received: u32,
    pub payload: Vec<u8>,
}

/// Handle on the queue; clones share one connection.
pub struct Queue {
    client: Client,
    connection: ConnectionManager,
    keys: Keys,
    entries_max: u64,
    timeout: Duration,
    enqueue: Script,
    counts: Script,
    /// Milliseconds of [`monotonic_ms`] before which Redis counts as unreachable.
    down_until: AtomicI64,
}

struct Keys {
    stream: String,
    counters: String,
    dead: String,
}

const ENQUEUE: &str = r"
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[4]) then return false end
redis.call('HSETNX', KEYS[2], 'epoch', ARGV[5])
redis.call('HINCRBY', KEYS[2], 'received', ARGV[3])
redis.call('HINCRBY', KEYS[2], 'unacknowledged', ARGV[3])
redis.call('HINCRBY', KEYS[2], 'entries', 1)
return redis.call('XADD', KEYS[1], '*', 'v', ARGV[1], 'n', ARGV[3], 'p', ARGV[2])
";

impl Queue {
    /// Prepares the queue; Redis need not be there yet.
    ///
    /// # Errors
    /// When `redis.queue_url` is not an address Redis can have.
    pub async fn open(config: &Redis, entries_max: u64) -> Result<Self, QueueError> {
        let client = Client::open(config.queue_url.as_str()).map_err(QueueError::Unreachable)?;
        let timeout = Duration::from_millis(config.timeout_ms);
        let options = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50));
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), options)
            .map_err(QueueError::Unreachable)?;
        let prefix = &config.key_prefix;
        Ok(Self {
            client,
            connection,
            keys: Keys {
                stream: format!("{prefix}:events"),
                counters: format!("{prefix}:counters"),
                dead: format!("{prefix}:dead"),
            },
            entries_max,
            timeout,
            enqueue: Script::new(ENQUEUE),
            counts: Script::new(counts::COUNTS),
            down_until: AtomicI64::new(0),
        })
    }

    /// Adds an entry. When this returns, Redis has it (and, with `appendfsync always`, so has the disk).
    ///
    /// # Errors
    /// [`QueueError::Full`] when nothing was added; [`QueueError::Unreachable`] when it may or may not have
    /// been added: the caller stores the events another way, and the event ids make that harmless.
    pub async fn add(&self, entry: &Entry) -> Result<(), QueueError> {
        if monotonic_ms() < self.down_until.load(Ordering::Relaxed) {
            return Err(QueueError::Unreachable(RedisError::from(std::io::Error::other(
                "it did not answer a moment ago",
            ))));
        }
        let mut connection = self.connection.clone();
        let mut invocation = self.enqueue.key(&self.keys.stream);
        invocation
            .key(&self.keys.counters)
            .arg(VERSION)
            .arg(entry.encode())
            .arg(entry.received)
            .arg(self.entries_max)
            .arg(Uuid::now_v7().to_string());
        let answer: Result<Value, RedisError> =
            match tokio::time::timeout(self.timeout * 2, invocation.invoke_async(&mut connection)).await {
                Ok(answer) => answer,
                Err(_) => Err(RedisError::from(std::io::Error::from(
                    std::io::ErrorKind::TimedOut,
                ))),
            };
        match answer {
            Ok(Value::Nil) => Err(QueueError::Full),
            Ok(_) => Ok(()),
            Err(error) => {
                let error = QueueError::from(error);
                if matches!(error, QueueError::Unreachable(_)) {
                    self.down_until
                        .store(monotonic_ms() + RETRY_AFTER_MS, Ordering::Relaxed);
                }
                Err(error)
            }
        }
    }

    /// Acknowledges settled entries: they leave the stream and the count in one step.
    pub async fn acknowledge(&self, entries: &[(EntryId, u32)]) -> Result<(), QueueError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection.clone();
        self.removal(entries).query_async::<()>(&mut connection).await?;
        Ok(())
    }

    /// Removes exactly those of the entries that are still there, and counts only them as gone.
    fn removal(&self, entries: &[(EntryId, u32)]) -> redis::Pipeline {
        const REMOVE: &str = r"
local gone, events = 0, 0
for i = 2, #ARGV, 2 do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then
    gone = gone + 1
    events = events + tonumber(ARGV[i + 1])
  end
end
redis.call('HINCRBY', KEYS[2], 'entries', -gone)
redis.call('HINCRBY', KEYS[2], 'unacknowledged', -events)
return gone";
        let mut pipeline = redis::pipe();
        // In pieces, so that one script never holds Redis up for long.
        for piece in entries.chunks(500) {
            let command = pipeline.cmd("EVAL").arg(REMOVE).arg(2);
            command.arg(&self.keys.stream).arg(&self.keys.counters).arg(GROUP);
            for (id, received) in piece {
                command.arg(id.to_string()).arg(*received);
            }
            command.ignore();
        }
        pipeline
    }

    /// Hands out every entry that waits, oldest first; with `last`, none that was added after it.
    ///
    /// # Errors
    /// When Redis cannot be read, and what `act` returns.
    pub async fn for_each_waiting<Error: From<QueueError>>(
        &self,
        last: Option<EntryId>,
        mut act: impl FnMut(Delivery) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut after = EntryId::default();
        while last.is_none_or(|last| after < last) {
            let piece = self.peek(after, PIECE).await?;
            let Some(end) = piece.last() else { break };
            after = end.id;
            for delivery in piece {
                if last.is_none_or(|last| delivery.id <= last) {
                    act(delivery)?;
                }
            }
        }
        Ok(())
    }

    /// Returns up to `piece` entries that wait after `after`, oldest first.
    pub async fn peek(&self, after: EntryId, piece: usize) -> Result<Vec<Delivery>, QueueError> {
        let mut connection = self.connection.clone();
        let reply: redis::streams::StreamRangeReply = connection
            .xrange_count(&self.keys.stream, format!("({after}"), "+", piece)
            .await?;
        reply.ids.into_iter().map(delivery).collect()
    }
}

fn delivery(entry: StreamId) -> Result<Delivery, QueueError> {
    Ok(Delivery {
        id: parse_id(&entry.id)?,
        version: entry.get("v").unwrap_or_default(),
        received: entry.get("n").unwrap_or_default(),
        payload: entry.get("p").unwrap_or_default(),
    })
}

fn parse_id(text: &str) -> Result<EntryId, QueueError> {
    let unexpected = || QueueError::Unexpected(format!("`{text}` is no entry id"));
    let (ms, seq) = text.split_once('-').ok_or_else(unexpected)?;
    Ok(EntryId {
        entry_ms: ms.parse().map_err(|_| unexpected())?,
        entry_seq: seq.parse().map_err(|_| unexpected())?,
    })
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}-{}", self.entry_ms, self.entry_seq)
    }
}

/// Milliseconds since some moment before the first call.
fn monotonic_ms() -> i64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(std::time::Instant::now);
    i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX)
}
