//! Dead letters: entries that cannot be stored, kept with their reason until a person decides.

use redis::{AsyncCommands, streams::StreamId};

use super::{Delivery, PIECE, Queue, QueueError, delivery, parse_id};

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

impl Queue {
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

    /// Returns all dead letters as they are now, oldest first: rewriting one adds to the end of their stream.
    pub async fn all_dead_letters(&self) -> Result<Vec<DeadLetter>, QueueError> {
        let mut all: Vec<DeadLetter> = Vec::new();
        loop {
            let place = all.last().map_or("0-0", |letter| &letter.place);
            let piece = self.dead_letters_after(place, PIECE).await?;
            if piece.is_empty() {
                return Ok(all);
            }
            all.extend(piece);
        }
    }

    /// Returns up to `limit` dead letters after the one at `place` (`0-0` for the first), oldest first.
    async fn dead_letters_after(&self, place: &str, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
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
}
