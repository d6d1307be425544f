//! What keeps the service running: clock, telemetry, health, jobs.
pub mod clock;
pub mod jobs;
pub mod lifecycle;
pub mod metrics;
pub mod nix;
pub mod telemetry;
pub mod web;

pub use clock::Clock;
