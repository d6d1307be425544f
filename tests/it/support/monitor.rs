//! A watcher that asks for the ledger's equation all the time.

use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Client;

/// Asks the services for their ledger until it is stopped.
pub struct Monitor {
    stop: CancellationToken,
    watching: JoinHandle<Seen>,
}

#[derive(Default)]
struct Seen {
    samples: usize,
    wrong: Vec<Value>,
}

impl Monitor {
    pub fn start(client: &Client) -> Self {
        let (stop, client) = (CancellationToken::new(), client.clone());
        let watching = tokio::spawn(watch(client, stop.clone()));
        Self { stop, watching }
    }

    /// Stops, and holds that the equation was right whenever it could be read, which was often.
    pub async fn assert_always_balanced(self) {
        self.stop.cancel();
        let seen = self.watching.await.expect("the monitor ends");
        assert!(
            seen.wrong.is_empty(),
            "{} of {} samples do not balance; the first: {}",
            seen.wrong.len(),
            seen.samples,
            seen.wrong[0]
        );
        assert!(seen.samples >= 10, "only {} samples could be taken", seen.samples);
    }
}

async fn watch(client: Client, stop: CancellationToken) -> Seen {
    let mut seen = Seen::default();
    while !stop.is_cancelled() {
        if let Some(system) = client.try_read("/api/v1/system").await {
            let ledger = &system["ledger"];
            // Without Redis or PostgreSQL the section says `{"error": …}`.
            if ledger["difference"].is_i64() {
                seen.samples += 1;
                if !balances(ledger) {
                    seen.wrong.push(ledger.clone());
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    seen
}

/// Adds the equation up itself, rather than to believe the difference it is told.
fn balances(ledger: &Value) -> bool {
    let total = |name: &str| ledger["total"][name].as_i64().expect("the equation has numbers");
    total("received") == total("stored") + total("duplicate") + total("rejected") + total("queued")
        && ledger["difference"] == 0
        && ledger["entries_missing"] == 0
        && ledger["lost_queues"].as_array().is_some_and(Vec::is_empty)
}
