//! Requests that could not be taken apart: counted in memory, written to the ledger every second.
//!
//! A request without a valid key or with a body that is no JSON holds no events one could count; it counts
//! as one. Writing each of them down at once would let anybody fill the queue without a key.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    Intake,
    entry::{Entry, Rejected},
};
use crate::ops::{Clock, metrics as metric};

const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// How many requests, and what the first of them was told.
type Count = (u32, String);

/// Counts of refused requests by key and reason.
#[derive(Debug, Default)]
pub struct Refusals {
    counts: Mutex<HashMap<(i32, &'static str), Count>>,
}

impl Refusals {
    /// Counts one refused request; `key_id` is 0 when its key is not known.
    pub fn count(&self, key_id: i32, reason: &'static str, detail: &str) {
        metrics::counter!(metric::EVENTS_REJECTED, "reason" => reason).increment(1);
        let mut counts = self
            .counts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (count, example) = counts.entry((key_id, reason)).or_default();
        *count = count.saturating_add(1);
        if example.is_empty() {
            example.push_str(detail);
        }
    }

    /// Hands the counts to the ledger every second, and a last time when `stop` comes.
    pub async fn flush_until(&self, intake: &Intake, clock: &Clock, stop: CancellationToken) {
        loop {
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(FLUSH_EVERY) => false,
            };
            self.flush(intake, clock).await;
            if stopped {
                return;
            }
        }
    }

    /// Hands the counts to the ledger; what it cannot take now stays for the next time.
    async fn flush(&self, intake: &Intake, clock: &Clock) {
        let taken = std::mem::take(
            &mut *self
                .counts
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        for ((key_id, reason), (count, detail)) in taken {
            let entry = Entry {
                received: count,
                received_at: clock.now(),
                key_id,
                events: Vec::new(),
                rejected: vec![Rejected {
                    reason: reason.to_owned(),
                    count,
                    field: None,
                    detail: detail.clone(),
                    sample: Value::Null,
                }],
            };
            if intake.accept(entry).await.is_err() {
                let mut counts = self
                    .counts
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                let kept = counts.entry((key_id, reason)).or_insert((0, detail));
                kept.0 = kept.0.saturating_add(count);
            }
        }
    }
}
