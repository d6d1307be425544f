//! What a restore does to the queue: it becomes another one, which also holds what the set held.

use uuid::Uuid;

use super::{Delivery, Queue, QueueError};

impl Queue {
    /// Makes this another queue, which has received what it holds now and nothing before.
    ///
    /// The store knows nothing of what became of earlier entries any more, so they may not be counted here either.
    pub async fn begin_epoch(&self, epoch: Uuid) -> Result<(), QueueError> {
        const BEGIN: &str = r"
local waiting = redis.call('HGET', KEYS[1], 'unacknowledged') or '0'
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'received', waiting)";
        let mut connection = self.connection.clone();
        redis::cmd("EVAL")
            .arg(BEGIN)
            .arg(1)
            .arg(&self.keys.counters)
            .arg(epoch.to_string())
            .query_async::<()>(&mut connection)
            .await?;
        Ok(())
    }

    /// Adds entries as they once were, after those that wait, in one step with counting them.
    ///
    /// More than the queue may hold are taken, too: they were acknowledged.
    pub async fn put_back(&self, entries: &[Delivery]) -> Result<(), QueueError> {
        if entries.is_empty() {
            return Ok(());
        }
        let events: u64 = entries.iter().map(|entry| u64::from(entry.received)).sum();
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for (counter, by) in [
            ("received", events),
            ("unacknowledged", events),
            ("entries", entries.len() as u64),
        ] {
            pipeline
                .cmd("HINCRBY")
                .arg(&self.keys.counters)
                .arg(counter)
                .arg(by)
                .ignore();
        }
        for entry in entries {
            pipeline.cmd("XADD").arg(&self.keys.stream).arg("*");
            pipeline.arg("v").arg(&entry.version).arg("n").arg(entry.received);
            pipeline.arg("p").arg(&entry.payload).ignore();
        }
        let mut connection = self.connection.clone();
        pipeline.query_async::<()>(&mut connection).await?;
        Ok(())
    }
}
