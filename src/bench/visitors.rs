//! Visitors who send one batch after the other, each later than the one before.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::demo::dataset::SdkStream;

/// Events of one request, as a tracker sends them.
pub(super) const EVENTS_PER_REQUEST: usize = 10;

/// Time between two requests of one visitor, longer than the events of one request take.
const BETWEEN_REQUESTS: TimeDelta = TimeDelta::seconds(3);

/// Devices in turn. Their requests are made faster than they would happen, so they carry a time of their own:
/// it begins in the past, and moves on whenever all of them have sent.
pub(super) struct Visitors {
    stream: SdkStream,
    devices: usize,
    made: usize,
    began: DateTime<Utc>,
}

impl Visitors {
    /// `number` tells apart the visitors of one run, `requests` is how many will be asked for at most.
    pub(super) fn new(now: DateTime<Utc>, number: u64, devices: usize, requests: usize) -> Self {
        let devices = devices.max(1);
        let rounds = i32::try_from(requests / devices + 1).unwrap_or(i32::MAX);
        let began = now - BETWEEN_REQUESTS * rounds;
        // A seed that no other run has, so that no event id comes twice.
        let seed = now.timestamp_micros().unsigned_abs();
        Self {
            stream: SdkStream::new(seed, number, devices, "https://shop.example", began),
            devices,
            made: 0,
            began,
        }
    }

    /// Returns the events of the next visitor's next request.
    pub(super) fn next_request(&mut self) -> Vec<Value> {
        let round = i32::try_from(self.made / self.devices).unwrap_or(i32::MAX);
        self.made += 1;
        self.stream
            .batch(self.began + BETWEEN_REQUESTS * round, EVENTS_PER_REQUEST)
    }
}
