//! The queue seen from outside the service.

use customer_journey::{config::Config, ingest::queue::Queue};
use redis::aio::MultiplexedConnection;

/// Opens the queue a configuration names.
pub async fn queue_of(config: &Config) -> Queue {
    Queue::open(&config.redis, config.ingest.queue_entries_max)
        .await
        .expect("the address of Redis is sound")
}

/// The queue's keys, and a connection to look at and meddle with them.
pub struct QueueKeys {
    pub connection: MultiplexedConnection,
    pub stream: String,
    pub counters: String,
}

impl QueueKeys {
    pub async fn of(config: &Config) -> Self {
        let client = redis::Client::open(config.redis.queue_url.as_str()).expect("the address is sound");
        let prefix = &config.redis.key_prefix;
        Self {
            connection: client
                .get_multiplexed_async_connection()
                .await
                .expect("Redis answers"),
            stream: format!("{prefix}:events"),
            counters: format!("{prefix}:counters"),
        }
    }

    /// Puts an entry on the queue that no service of this release would write, and returns its id.
    pub async fn add_raw(&mut self, version: &str, payload: &[u8], received: u32) -> String {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for field in ["received", "unacknowledged"] {
            pipeline.hincr(&self.counters, field, received).ignore();
        }
        pipeline.hincr(&self.counters, "entries", 1).ignore();
        let fields: [(&str, &[u8]); 3] = [
            ("v", version.as_bytes()),
            ("n", &received.to_string().into_bytes()),
            ("p", payload),
        ];
        pipeline.xadd(&self.stream, "*", &fields);
        let (id,): (String,) = pipeline
            .query_async(&mut self.connection)
            .await
            .expect("Redis takes the entry");
        id
    }

    /// Hands every waiting entry to a writer that then does nothing, as one that dies at once would.
    pub async fn deliver_to_the_dead(&mut self) -> Vec<String> {
        let _: redis::RedisResult<()> = redis::cmd("XGROUP")
            .arg(&["CREATE", &self.stream, "writers", "0", "MKSTREAM"])
            .query_async(&mut self.connection)
            .await;
        let reply: redis::streams::StreamReadReply = redis::cmd("XREADGROUP")
            .arg(&["GROUP", "writers", "dead-writer", "COUNT", "1000"])
            .arg(&["STREAMS", &self.stream, ">"])
            .query_async(&mut self.connection)
            .await
            .expect("Redis delivers");
        let entries = reply.keys.into_iter().flat_map(|key| key.ids);
        entries.map(|entry| entry.id).collect()
    }

    /// Makes a writer silent about all it holds for so long, without the wait.
    pub async fn fall_silent(&mut self, writer: &str, silent_ms: u64) {
        let held: redis::streams::StreamPendingCountReply = redis::cmd("XPENDING")
            .arg(&[&self.stream, "writers", "-", "+", "1000", writer])
            .query_async(&mut self.connection)
            .await
            .expect("Redis answers");
        let ids: Vec<String> = held.ids.into_iter().map(|entry| entry.id).collect();
        let _: Vec<String> = redis::cmd("XCLAIM")
            .arg(&[&self.stream, "writers", writer, "0"])
            .arg(ids)
            .arg("IDLE")
            .arg(silent_ms)
            .arg("JUSTID")
            .query_async(&mut self.connection)
            .await
            .expect("Redis notes it");
    }

    /// Says how often an entry was delivered, as if so many writers had died with it.
    pub async fn set_deliveries(&mut self, id: &str, times: u32) {
        let _: Vec<String> = redis::cmd("XCLAIM")
            .arg(&[&self.stream, "writers", "dead-writer", "0", id])
            .arg("RETRYCOUNT")
            .arg(times)
            .arg("JUSTID")
            .query_async(&mut self.connection)
            .await
            .expect("Redis notes it");
    }
}
