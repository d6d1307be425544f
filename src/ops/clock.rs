//! The only source of "now".

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};

/// A clock that is either the machine's or one that a test holds still.
#[derive(Clone, Debug)]
pub struct Clock {
    fixed_micros: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self { fixed_micros: None }
    }

    /// A clock that stands at `now` until [`Clock::advance`] moves it. Clones move together.
    pub fn fixed(now: DateTime<Utc>) -> Self {
        Self {
            fixed_micros: Some(Arc::new(AtomicI64::new(now.timestamp_micros()))),
        }
    }

    /// Returns the time, in whole microseconds as PostgreSQL keeps it.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the machine"
    )]
    pub fn now(&self) -> DateTime<Utc> {
        let micros = match &self.fixed_micros {
            Some(fixed) => fixed.load(Ordering::SeqCst),
            None => Utc::now().timestamp_micros(),
        };
        DateTime::from_timestamp_micros(micros).expect("the present fits into a timestamp")
    }

    /// Moves a fixed clock forward; the machine's clock stays as it is.
    pub fn advance(&self, by: TimeDelta) {
        if let Some(fixed) = &self.fixed_micros {
            fixed.fetch_add(by.num_microseconds().unwrap_or(0), Ordering::SeqCst);
        }
    }
}
