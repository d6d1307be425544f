//! One leader among all processes on a database: who holds an advisory lock of PostgreSQL.
//!
//! The lock belongs to a connection that serves nothing else. When that connection ends, however it ends,
//! PostgreSQL frees the lock and another process has it at its next try, without a time-out to wait for. The
//! leader asks over the same connection whether it still stands. In the moment between its loss and that question
//! two processes may both believe they lead; the lock of each job keeps them from running the same one.
//!
//! A pooler between service and database must work by session: by transaction, such locks mean nothing.

use std::{sync::Mutex, time::Duration};

use sqlx::{Connection, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use crate::ops::metrics::JOBS_LEADER;

/// The lock's key in the database: the letters `journey` as a number, so that no other program takes it.
const LEADER_LOCK: i64 = 0x006a_6f75_726e_6579;

/// How often the lock is asked for, and the connection looked after: a lost leader is replaced within one of these.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a process whose connection failed stands back, so that one with a working connection is quicker.
const STAND_BACK: Duration = Duration::from_secs(2);

/// How long an answer may take before the connection counts as dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether this process leads.
pub(super) struct Leadership {
    stop: CancellationToken,
    /// Cancelled when the lead ends.
    lead: Mutex<Option<CancellationToken>>,
}

impl Leadership {
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            lead: Mutex::new(None),
        }
    }

    /// Returns a token that is cancelled when the lead ends; `None` while another process leads.
    pub fn current(&self) -> Option<CancellationToken> {
        let lead = self.lead.lock().expect("no one panics with the lead in hand");
        lead.as_ref()
            .filter(|lead| !lead.is_cancelled())
            .map(CancellationToken::child_token)
    }

    /// Stands for leader until the service stops.
    pub async fn hold(&self, pool: &PgPool) {
        let mut reachable = true;
        while !self.stop.is_cancelled() {
            let connection = self.stop.run_until_cancelled(connect(pool)).await;
            match connection {
                None => break,
                Some(Ok(connection)) => {
                    reachable = true;
                    self.lead_with(connection).await;
                }
                Some(Err(error)) => {
                    // Said once, not every second while PostgreSQL is away.
                    if reachable {
                        tracing::warn!(%error, "no connection to lead scheduled jobs with: {error}");
                    }
                    reachable = false;
                }
            }
            self.pause(STAND_BACK).await;
        }
        self.give_up();
    }

    /// Asks for the lock, and keeps it as long as the connection and the service live.
    async fn lead_with(&self, mut connection: PgConnection) {
        let ended = self.stop.run_until_cancelled(self.serve(&mut connection)).await;
        if let Some(Err(error)) = ended {
            tracing::warn!(%error, "the connection that leads scheduled jobs ended: {error}");
        }
        self.give_up();
        // Closing frees the lock at once; a dead connection has freed it already.
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, connection.close()).await;
    }

    async fn serve(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        metrics::gauge!(JOBS_LEADER).set(0.0);
        while !answer(try_lock(connection)).await? {
            self.pause(CHECK_INTERVAL).await;
        }
        tracing::info!("this process leads the scheduled jobs");
        metrics::gauge!(JOBS_LEADER).set(1.0);
        *self.lead.lock().expect("no one panics with the lead in hand") = Some(self.stop.child_token());
        loop {
            self.pause(CHECK_INTERVAL).await;
            answer(connection.ping()).await?;
        }
    }

    fn give_up(&self) {
        let lead = self
            .lead
            .lock()
            .expect("no one panics with the lead in hand")
            .take();
        if let Some(lead) = lead {
            lead.cancel();
            metrics::gauge!(JOBS_LEADER).set(0.0);
            tracing::info!("this process no longer leads the scheduled jobs");
        }
    }

    async fn pause(&self, time: Duration) {
        self.stop.run_until_cancelled(tokio::time::sleep(time)).await;
    }
}

/// Lets PostgreSQL notice within some 15 seconds that the machine at the other end is gone, and free its locks. Its
/// own default is two hours. Without effect on a socket file, whose other end cannot vanish silently.
const NOTICE_DEAD_PEER: &str =
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3";

/// Opens a connection outside the pool, which would give it to others and close it when idle.
pub(super) async fn connect(pool: &PgPool) -> Result<PgConnection, sqlx::Error> {
    let options = pool.connect_options();
    answer(async {
        let mut connection = PgConnection::connect_with(&options).await?;
        sqlx::raw_sql(NOTICE_DEAD_PEER).execute(&mut connection).await?;
        Ok(connection)
    })
    .await
}

/// Asks for the lead, once; the connection keeps it until it ends.
pub(crate) async fn try_lock(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(LEADER_LOCK)
        .fetch_one(connection)
        .await
}

async fn answer<Output>(
    question: impl Future<Output = Result<Output, sqlx::Error>>,
) -> Result<Output, sqlx::Error> {
    let late = |_| {
        sqlx::Error::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            "PostgreSQL does not answer",
        ))
    };
    tokio::time::timeout(ANSWER_TIMEOUT, question)
        .await
        .map_err(late)?
}
