//! What the promises are told with: servers, services, clients, and what must be true in the end.

mod app;
mod client;
mod database;
mod gate;
mod inspect;
mod monitor;
mod process;
mod redis;
mod servers;

use std::time::Duration;

pub use app::{App, config_on};
pub use client::{Client, page_view};
pub use database::{Database, issue_key, issue_keys, url_of};
pub use gate::Gate;
pub use inspect::{assert_each_stored_once, assert_sessions_follow_events, audit_of, drained, stored};
pub use monitor::Monitor;
pub use process::{ServiceProcess, Settings, free_port, run};
pub use redis::{QueueKeys, queue_of};
pub use servers::{Server, Servers};

/// Salt of every service under test.
pub const SALT: &str = "salt-of-the-integration-tests";

/// How long a condition may take to come true on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` returns something.
///
/// # Panics
/// When it has not after a minute; `what` says what was waited for.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// A name no other test has: letters, digits and underscores.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::now_v7().simple())
}

/// The address of a server the whole run shares.
pub fn shared(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run the tests with `make test`"))
}
