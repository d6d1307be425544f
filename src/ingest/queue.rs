//! The queue: one Redis stream, one entry for each accepted request.
//!
//! Adding an entry and counting it as received is one atomic step, and so is acknowledging an entry and
//! counting it as gone. Whatever dies between two commands, the counters and the stream agree.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use redis::{
    AsyncCommands, Client, RedisError, Script, Value,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
    streams::{StreamClaimReply, StreamId, StreamPendingCountReply, StreamReadOptions, StreamReadReply},
};
use uuid::Uuid;

use super::entry::{Entry, VERSION};
use crate::{config::Redis, store::ledger::EntryId};

/// The consumer group all writers belong to.
const GROUP: &str = "writers";

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

/// What the queue says about itself, read in one atomic step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// `None` before the first entry.
    pub epoch: Option<Uuid>,
    /// Events ever received.
    pub received: i64,
    /// Events in entries that are not acknowledged.
    pub unacknowledged: i64,
    /// Entries that should be on the stream.
    pub entries_counted: i64,
    /// Entries that are on the stream.
    pub entries: i64,
    /// Entries delivered to a writer and not acknowledged.
    pub pending: Vec<EntryId>,
    /// The newest entry ever delivered to a writer.
    pub last_delivered: EntryId,
    /// The newest entry ever added.
    pub last_added: EntryId,
    /// The oldest entry on the stream, or the newest ever added when it is empty.
    pub oldest: EntryId,
    pub dead_letters: i64,
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

const COUNTS: &str = r"
local counters = redis.call('HMGET', KEYS[2], 'epoch', 'received', 'unacknowledged', 'entries')
local delivered, pending = '0-0', {}
local last, oldest = '0-0', '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
  if first[1] then oldest = first[1][1] else oldest = last end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then delivered = group[i + 1] end
    end
  end
  if #redis.call('XINFO', 'GROUPS', KEYS[1]) > 0 then
    for _, item in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000000)) do
      pending[#pending + 1] = item[1]
    end
  end
end
return {counters[1], counters[2], counters[3], counters[4], redis.call('XLEN', KEYS[1]), delivered, last,
        oldest, redis.call('XLEN', KEYS[3]), pending}
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
            counts: Script::new(COUNTS),
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

    /// Opens a connection of its own for one writer, which may wait on it, and makes sure the group is there.
    pub async fn consumer(&self, name: &str, block: Duration) -> Result<Consumer<'_>, QueueError> {
        let options = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout + block));
        let mut connection = self
            .client
            .get_multiplexed_async_connection_with_config(&options)
            .await?;
        let made: Result<(), RedisError> = connection
            .xgroup_create_mkstream(&self.keys.stream, GROUP, "0")
            .await;
        match made {
            Err(error) if error.code() != Some("BUSYGROUP") => return Err(error.into()),
            _ => {}
        }
        Ok(Consumer {
            queue: self,
            connection,
            name: name.to_owned(),
            block,
        })
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

    /// Copies a poison entry to the dead letters, with the reason. The caller settles and acknowledges it
    /// after; a crash in between leaves a second copy there, never none.
    pub async fn bury(&self, delivery: &Delivery, reason: &str) -> Result<(), QueueError> {
        let mut connection = self.connection.clone();
        let mut command = redis::cmd("XADD");
        command.arg(&self.keys.dead).arg("*");
        command.arg("id").arg(delivery.id.to_string());
        command
            .arg("v")
            .arg(&delivery.version)
            .arg("n")
            .arg(delivery.received);
        command.arg("p").arg(&delivery.payload).arg("reason").arg(reason);
        command.query_async::<()>(&mut connection).await?;
        Ok(())
    }

    /// Returns the oldest `limit` dead letters with their reasons.
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let mut connection = self.connection.clone();
        let reply: redis::streams::StreamRangeReply =
            connection.xrange_count(&self.keys.dead, "-", "+", limit).await?;
        reply.ids.into_iter().map(DeadLetter::from_stream).collect()
    }

    /// Puts a dead letter back on the queue as a new entry, in one step with taking it from the dead.
    pub async fn revive(&self, letter: &DeadLetter) -> Result<(), QueueError> {
        let mut connection = self.connection.clone();
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline
            .cmd("HINCRBY")
            .arg(&self.keys.counters)
            .arg("received")
            .arg(letter.delivery.received)
            .ignore();
        pipeline
            .cmd("HINCRBY")
            .arg(&self.keys.counters)
            .arg("unacknowledged")
            .arg(letter.delivery.received)
            .ignore();
        pipeline
            .cmd("HINCRBY")
            .arg(&self.keys.counters)
            .arg("entries")
            .arg(1)
            .ignore();
        pipeline.cmd("XADD").arg(&self.keys.stream).arg("*");
        pipeline
            .arg("v")
            .arg(&letter.delivery.version)
            .arg("n")
            .arg(letter.delivery.received);
        pipeline.arg("p").arg(&letter.delivery.payload).ignore();
        pipeline
            .cmd("XDEL")
            .arg(&self.keys.dead)
            .arg(&letter.place)
            .ignore();
        pipeline.query_async::<()>(&mut connection).await?;
        Ok(())
    }

    /// Drops a dead letter for good.
    pub async fn discard(&self, letter: &DeadLetter) -> Result<(), QueueError> {
        let mut connection = self.connection.clone();
        let _: i64 = connection.xdel(&self.keys.dead, &[&letter.place]).await?;
        Ok(())
    }

    /// Returns up to `limit` dead letters after the one at `place` (`0-0` for the first), oldest first.
    pub async fn dead_letters_after(&self, place: &str, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let mut connection = self.connection.clone();
        let reply: redis::streams::StreamRangeReply = connection
            .xrange_count(&self.keys.dead, format!("({place}"), "+", limit)
            .await?;
        reply.ids.into_iter().map(DeadLetter::from_stream).collect()
    }

    /// Puts another payload in the place of a dead letter's, in one step; it goes to the end of the stream.
    pub async fn rewrite_dead(
        &self,
        letter: &DeadLetter,
        received: u32,
        payload: &[u8],
    ) -> Result<(), QueueError> {
        let mut connection = self.connection.clone();
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline.cmd("XADD").arg(&self.keys.dead).arg("*");
        pipeline.arg("id").arg(letter.delivery.id.to_string());
        pipeline
            .arg("v")
            .arg(&letter.delivery.version)
            .arg("n")
            .arg(received);
        pipeline
            .arg("p")
            .arg(payload)
            .arg("reason")
            .arg(&letter.reason)
            .ignore();
        pipeline
            .cmd("XDEL")
            .arg(&self.keys.dead)
            .arg(&letter.place)
            .ignore();
        pipeline.query_async::<()>(&mut connection).await?;
        Ok(())
    }

    /// Reads every entry that waits, oldest first, in pieces of `piece` from `after` on; for erasure previews.
    pub async fn peek(&self, after: EntryId, piece: usize) -> Result<Vec<Delivery>, QueueError> {
        let mut connection = self.connection.clone();
        let reply: redis::streams::StreamRangeReply = connection
            .xrange_count(&self.keys.stream, format!("({after}"), "+", piece)
            .await?;
        reply.ids.into_iter().map(delivery).collect()
    }

    /// Returns which queue this is; `None` before its first entry.
    pub async fn epoch(&self) -> Result<Option<Uuid>, QueueError> {
        let mut connection = self.connection.clone();
        let text: Option<String> = connection.hget(&self.keys.counters, "epoch").await?;
        text.map(|text| Uuid::parse_str(&text))
            .transpose()
            .map_err(|error| QueueError::Unexpected(error.to_string()))
    }

    /// Reads all counters in one atomic step.
    pub async fn counts(&self) -> Result<QueueCounts, QueueError> {
        type Raw = (
            Option<String>,
            Option<i64>,
            Option<i64>,
            Option<i64>,
            i64,
            String,
            String,
            String,
            i64,
            Vec<String>,
        );
        let mut connection = self.connection.clone();
        let mut invocation = self.counts.key(&self.keys.stream);
        invocation
            .key(&self.keys.counters)
            .key(&self.keys.dead)
            .arg(GROUP);
        let raw: Raw = invocation.invoke_async(&mut connection).await?;
        let epoch = raw
            .0
            .map(|text| Uuid::parse_str(&text))
            .transpose()
            .map_err(|error| QueueError::Unexpected(error.to_string()))?;
        Ok(QueueCounts {
            epoch,
            received: raw.1.unwrap_or(0),
            unacknowledged: raw.2.unwrap_or(0),
            entries_counted: raw.3.unwrap_or(0),
            entries: raw.4,
            last_delivered: parse_id(&raw.5)?,
            last_added: parse_id(&raw.6)?,
            oldest: parse_id(&raw.7)?,
            dead_letters: raw.8,
            pending: raw.9.iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?,
        })
    }

    /// Returns the settings under which this Redis may lose acknowledged events, as sentences; none is good.
    pub async fn weaknesses(&self) -> Result<Vec<String>, QueueError> {
        let mut connection = self.connection.clone();
        let mut found = Vec::new();
        for (name, wanted, remedy) in [
            (
                "appendonly",
                "yes",
                "set `appendonly yes`: without it a restart of Redis loses the queue",
            ),
            (
                "appendfsync",
                "always",
                "set `appendfsync always`: with anything less a crash of Redis or of the machine can lose \
                 events that were already acknowledged",
            ),
            (
                "maxmemory-policy",
                "noeviction",
                "set `maxmemory-policy noeviction`: any other policy may evict events that wait",
            ),
        ] {
            let value: std::collections::HashMap<String, String> = redis::cmd("CONFIG")
                .arg("GET")
                .arg(name)
                .query_async(&mut connection)
                .await?;
            match value.get(name) {
                Some(value) if value == wanted => {}
                Some(value) => found.push(format!("`{name}` is `{value}`; {remedy}")),
                None => found.push(format!("`{name}` cannot be read; {remedy}")),
            }
        }
        Ok(found)
    }
}

/// A poison entry and why it is one.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its id on the dead-letter stream.
    pub place: String,
    pub reason: String,
    pub delivery: Delivery,
}

impl DeadLetter {
    fn from_stream(entry: StreamId) -> Result<Self, QueueError> {
        let place = entry.id.clone();
        let reason = entry.get("reason").unwrap_or_default();
        let mut delivery = delivery(entry.clone())?;
        if let Some(id) = entry.get::<String>("id") {
            delivery.id = parse_id(&id)?;
        }
        Ok(Self {
            place,
            reason,
            delivery,
        })
    }
}

/// One writer's view of the queue; clones share one connection.
#[derive(Clone)]
pub struct Consumer<'a> {
    queue: &'a Queue,
    connection: MultiplexedConnection,
    name: String,
    block: Duration,
}

/// Entries taken over from a writer that fell silent.
#[derive(Debug, Default)]
pub struct Claimed {
    pub deliveries: Vec<Delivery>,
    /// Those that were delivered more often than allowed: whoever takes them dies.
    pub poison: Vec<Delivery>,
    /// The entry was taken over before, so it may be what its writer died of: settle it alone, before
    /// anything else is claimed, so that no other entry shares its fate.
    pub suspect: bool,
}

impl Consumer<'_> {
    /// Waits for entries nobody has been given yet; up to `count`, none after the blocking time.
    pub async fn read(&mut self, count: usize, wait: bool) -> Result<Vec<Delivery>, QueueError> {
        let mut options = StreamReadOptions::default().group(GROUP, &self.name).count(count);
        if wait {
            options = options.block(usize::try_from(self.block.as_millis()).unwrap_or(usize::MAX));
        }
        self.read_from(">", options).await
    }

    /// Reads the entries again that this writer holds, after `after`: what it was given over a connection
    /// that broke.
    pub async fn read_held(&mut self, after: EntryId, count: usize) -> Result<Vec<Delivery>, QueueError> {
        let options = StreamReadOptions::default().group(GROUP, &self.name).count(count);
        self.read_from(&after.to_string(), options).await
    }

    async fn read_from(
        &mut self,
        from: &str,
        options: StreamReadOptions,
    ) -> Result<Vec<Delivery>, QueueError> {
        let reply: Option<StreamReadReply> = self
            .connection
            .xread_options(&[&self.queue.keys.stream], &[from], &options)
            .await?;
        let Some(stream) = reply.and_then(|reply| reply.keys.into_iter().next()) else {
            return Ok(Vec::new());
        };
        stream.ids.into_iter().map(delivery).collect()
    }

    /// Takes over entries that another writer was given and has been silent about for `idle_ms`.
    ///
    /// Those that were delivered once come together: a writer died, and nothing speaks against them. Those
    /// that were delivered more often come one at a time, oldest first, see [`Claimed::suspect`].
    pub async fn claim(
        &mut self,
        idle_ms: u64,
        count: usize,
        deliveries_max: u64,
    ) -> Result<Claimed, QueueError> {
        let silent: StreamPendingCountReply = redis::cmd("XPENDING")
            .arg(&self.queue.keys.stream)
            .arg(GROUP)
            .arg("IDLE")
            .arg(idle_ms)
            .arg("-")
            .arg("+")
            .arg(count)
            .query_async(&mut self.connection)
            .await?;
        let mut fresh = Vec::new();
        let mut suspects = Vec::new();
        for entry in silent.ids {
            if entry.times_delivered <= 1 {
                fresh.push(entry.id);
            } else {
                suspects.push((entry.id, entry.times_delivered as u64));
            }
        }
        if !fresh.is_empty() {
            return Ok(Claimed {
                deliveries: self.take_over(&fresh, idle_ms).await?,
                ..Claimed::default()
            });
        }
        let Some((id, times)) = suspects.into_iter().next() else {
            return Ok(Claimed::default());
        };
        let taken = self.take_over(&[id], idle_ms).await?;
        let (deliveries, poison) = if times >= deliveries_max {
            (Vec::new(), taken)
        } else {
            (taken, Vec::new())
        };
        Ok(Claimed {
            deliveries,
            poison,
            suspect: true,
        })
    }

    /// Takes those of the entries over that are still silent: another writer may have been quicker.
    async fn take_over(&mut self, ids: &[String], idle_ms: u64) -> Result<Vec<Delivery>, QueueError> {
        let reply: StreamClaimReply = self
            .connection
            .xclaim(&self.queue.keys.stream, GROUP, &self.name, idle_ms, ids)
            .await?;
        reply.ids.into_iter().map(delivery).collect()
    }

    /// Says that this writer lives, for all entries it holds: until it falls silent, nobody claims them.
    pub async fn keep_held(&self) -> Result<(), QueueError> {
        self.touch_held(&[]).await
    }

    /// As [`Consumer::keep_held`], and forgets how often they were delivered: this writer did not die of them.
    pub async fn absolve_held(&self) -> Result<(), QueueError> {
        self.touch_held(&["RETRYCOUNT", "0"]).await
    }

    /// Goes over the connection all share: on the writer's own, it would wait behind a blocking read.
    async fn touch_held(&self, options: &[&str]) -> Result<(), QueueError> {
        // One step: between listing and claiming, another writer could take an entry that would then be
        // taken back from it. In pieces, since Lua cannot unpack a list of any length.
        const TOUCH: &str = r"
local first = '-'
while true do
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], first, '+', 1000, ARGV[2])
  if #held == 0 then return end
  local command = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0}
  for _, item in ipairs(held) do command[#command + 1] = item[1] end
  for i = 3, #ARGV do command[#command + 1] = ARGV[i] end
  command[#command + 1] = 'JUSTID'
  redis.call(unpack(command))
  first = '(' .. held[#held][1]
end";
        let mut connection = self.queue.connection.clone();
        redis::cmd("EVAL")
            .arg(TOUCH)
            .arg(1)
            .arg(&self.queue.keys.stream)
            .arg(GROUP)
            .arg(&self.name)
            .arg(options)
            .query_async::<()>(&mut connection)
            .await?;
        Ok(())
    }

    /// Forgets writers that are gone and hold nothing, so that restarts do not pile up names.
    pub async fn forget_idle_consumers(&mut self, idle: Duration) -> Result<(), QueueError> {
        let stream = &self.queue.keys.stream;
        let reply: redis::streams::StreamInfoConsumersReply =
            self.connection.xinfo_consumers(stream, GROUP).await?;
        for consumer in reply.consumers {
            if consumer.pending == 0 && consumer.idle as u128 > idle.as_millis() && consumer.name != self.name
            {
                let _: i64 = self
                    .connection
                    .xgroup_delconsumer(stream, GROUP, &consumer.name)
                    .await?;
            }
        }
        Ok(())
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
