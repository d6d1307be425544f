//! What keeps the service running: clock, telemetry, health, jobs.
pub mod clock;

pub use clock::Clock;
