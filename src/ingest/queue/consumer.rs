//! One writer's view of the queue: read, take over, show life.

use std::time::Duration;

use redis::{
    AsyncCommands, RedisError,
    aio::MultiplexedConnection,
    streams::{StreamClaimReply, StreamPendingCountReply, StreamReadOptions, StreamReadReply},
};

use super::{Delivery, GROUP, Queue, QueueError, delivery};
use crate::store::ledger::EntryId;

/// Entries that come together once two writers had them: about the square root of what a writer takes over at
/// once. One by one, a few hundred held up a slow disk for minutes after a second crash.
const SUSPECTS: usize = 15;

/// Deliveries an entry must still be due before it may come with other suspects: that one, and one alone.
const CHANCES: u64 = 2;

impl Queue {
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
    /// The entries were taken over before, so one of them may be what its writer died of: settle them before
    /// anything else is claimed, so that no other entry shares their fate.
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
    /// that were delivered twice come in small groups, those delivered more often one at a time, oldest first,
    /// see [`Claimed::suspect`]: what kills its writers ends up alone, and costs no other entry its place.
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
        let (mut fresh, mut suspects, mut lone) = (Vec::new(), Vec::new(), None);
        for entry in silent.ids {
            match entry.times_delivered as u64 {
                0 | 1 => fresh.push(entry.id),
                times @ 2 if times + CHANCES <= deliveries_max => suspects.push(entry.id),
                times => lone = lone.or(Some((entry.id, times))),
            }
        }
        suspects.truncate(SUSPECTS);
        if !fresh.is_empty() {
            return Ok(Claimed {
                deliveries: self.take_over(&fresh, idle_ms).await?,
                ..Claimed::default()
            });
        }
        if !suspects.is_empty() {
            return Ok(Claimed {
                deliveries: self.take_over(&suspects, idle_ms).await?,
                suspect: true,
                ..Claimed::default()
            });
        }
        let Some((id, times)) = lone else {
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
