//! What the queue says about itself: counters for the ledger, and settings that put events at risk.

use redis::AsyncCommands;
use uuid::Uuid;

use super::{GROUP, Queue, QueueError, parse_id};
use crate::store::ledger::EntryId;

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

pub(super) const COUNTS: &str = r"
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
