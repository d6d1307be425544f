//! Loads the data set: the same way that events of a browser take, without the network.
//!
//! Each visit is one request, received when its last event had happened. What is stored is noted after each commit;
//! after a crash between the two, the events of one batch come again and count as duplicates.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use chrono::{DateTime, TimeDelta, Utc};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::mpsc;

use super::{
    dataset::{self, Visit},
    state::StateFolder,
};
use crate::{
    event::{Batch, Policy, RequestContext, Verdict, judge_batch},
    ingest::{
        entry::{Entry, Rejected},
        settle::{Parcel, Settler, Tally},
    },
    ops::Clock,
    store::{ledger::DIRECT, situation},
};

/// Events in one transaction, about: where larger ones no longer make it faster.
const BATCH_EVENTS: usize = 5_000;

/// Time between a visit's last event and its receipt.
const UNDER_WAY: TimeDelta = TimeDelta::milliseconds(400);

/// Hours rolled up between two looks at the progress.
const ROLLUP_HOURS: i64 = 200;

/// Plain lines of progress in all, where there is no terminal to draw a bar on.
const PLAIN_LINES: u64 = 10;

/// What loading needs besides the state.
pub(super) struct Loader {
    pub(super) settler: Settler,
    pub(super) policy: Arc<Policy>,
    /// Database id of the shop's write key.
    pub(super) key_id: i32,
}

/// Some visits that are stored together.
struct Shipment {
    parcels: Vec<Parcel>,
    visits: u64,
    /// When the last of them was received.
    received_at: DateTime<Utc>,
}

impl Loader {
    /// Loads what is missing of the data set in the state; does nothing when all of it is there.
    ///
    /// # Errors
    /// When the database or the state folder refuses something; the next start goes on from there.
    pub(super) async fn run(&self, state: &mut StateFolder) -> Result<()> {
        let Some(data_set) = state.record.data_set.clone().filter(|found| !found.complete) else {
            return Ok(());
        };
        let total = dataset::visit_count(&data_set.options());
        let progress = Progress::new(
            format!(
                "Loading {} days of {} people ({total} visits)",
                data_set.days, data_set.people
            ),
            total,
        );
        progress.advance_to(data_set.visits_stored, "");
        let mut events = 0;
        let mut shipments = self.pack(data_set.options(), data_set.visits_stored);
        while let Some(shipment) = shipments.recv().await {
            let tally = self.settle(&shipment).await?;
            events += tally.stored + tally.duplicate;
            let stored = note(state, shipment.visits)?;
            progress.advance_to(stored, &format!("{events} events"));
        }
        self.finish(&progress).await?;
        if let Some(data_set) = &mut state.record.data_set {
            data_set.complete = true;
        }
        state.save()?;
        progress.finish(&format!("Loaded {total} visits, {events} events"));
        Ok(())
    }

    /// Makes and judges events on a thread of its own, while those before them are written.
    fn pack(&self, options: dataset::DatasetOptions, skip: u64) -> mpsc::Receiver<Shipment> {
        let (sender, receiver) = mpsc::channel(2);
        let (policy, key_id) = (self.policy.clone(), self.key_id);
        tokio::task::spawn_blocking(move || {
            // Visits change the people they are of, so those to be skipped are played as well.
            let mut visits = dataset::visits(&options).skip(usize::try_from(skip).unwrap_or(usize::MAX));
            while let Some(shipment) = next_shipment(&mut visits, &policy, key_id, options.end) {
                // The other side is gone when the start was cut short.
                if sender.blocking_send(shipment).is_err() {
                    break;
                }
            }
        });
        receiver
    }

    /// Loads a whole data set, without a word.
    #[cfg(test)]
    pub(super) async fn load_all(&self, options: dataset::DatasetOptions) -> Result<()> {
        let mut shipments = self.pack(options, 0);
        while let Some(shipment) = shipments.recv().await {
            self.settle(&shipment).await?;
        }
        Ok(())
    }

    async fn settle(&self, shipment: &Shipment) -> Result<Tally> {
        let settler = Settler {
            // What is written down about identities then carries the time of the visit, not that of the loading.
            clock: Clock::fixed(shipment.received_at),
            ..self.settler.clone()
        };
        settler
            .settle(DIRECT, &shipment.parcels)
            .await
            .context("the data set cannot be stored")
    }

    async fn finish(&self, progress: &Progress) -> Result<()> {
        let mut connection = self.settler.pool.acquire().await?.detach();
        // Roll-ups can be computed again, so they need not wait for the disk.
        sqlx::raw_sql("SET synchronous_commit = off")
            .execute(&mut connection)
            .await?;
        progress.tell("rolling up hours");
        let now = self.settler.clock.now();
        while situation::roll_up(&mut connection, now, ROLLUP_HOURS)
            .await
            .context("the data set cannot be rolled up")?
            > 0
        {}
        progress.tell("analysing");
        analyse(connection)
            .await
            .context("the data set cannot be analysed")
    }
}

/// Also sets the visibility map, so that the first questions need not look at every row.
async fn analyse(mut connection: PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("VACUUM (ANALYZE)").execute(&mut connection).await?;
    connection.close().await
}

/// Notes that further visits are stored; returns how many are.
fn note(state: &mut StateFolder, visits: u64) -> Result<u64> {
    let Some(data_set) = &mut state.record.data_set else {
        return Ok(0);
    };
    data_set.visits_stored += visits;
    let stored = data_set.visits_stored;
    state.save()?;
    Ok(stored)
}

fn next_shipment(
    visits: &mut impl Iterator<Item = Visit>,
    policy: &Policy,
    key_id: i32,
    end: DateTime<Utc>,
) -> Option<Shipment> {
    let mut parcels = Vec::new();
    let (mut events, mut received_at) = (0, DateTime::<Utc>::MIN_UTC);
    while events < BATCH_EVENTS {
        let Some(visit) = visits.next() else { break };
        events += visit.events.len();
        let entry = judge_visit(visit, policy, key_id, end);
        received_at = received_at.max(entry.received_at);
        parcels.push(Parcel { id: None, entry });
    }
    (!parcels.is_empty()).then_some(Shipment {
        visits: parcels.len() as u64,
        parcels,
        received_at,
    })
}

/// Judges a visit as a request that arrived just after its last event, and not after `end`.
fn judge_visit(visit: Visit, policy: &Policy, key_id: i32, end: DateTime<Utc>) -> Entry {
    let received_at = last_time(&visit.events).map_or(end, |last| (last + UNDER_WAY).min(end));
    let context = RequestContext {
        received_at,
        key_id,
        client_ip: None,
        user_agent: Some(visit.user_agent),
        dnt: false,
        gpc: false,
    };
    let received = u32::try_from(visit.events.len()).unwrap_or(u32::MAX);
    let batch = Batch {
        events: visit.events,
        sent_at: None,
    };
    let (mut events, mut rejected) = (Vec::new(), Vec::new());
    for verdict in judge_batch(batch, &context, policy) {
        match verdict {
            Verdict::Accepted(event) => events.push(*event),
            Verdict::Rejected(rejection) => rejected.push(Rejected {
                reason: rejection.reason.as_str().to_owned(),
                count: 1,
                field: rejection.field,
                detail: rejection.detail,
                sample: rejection.sample,
            }),
        }
    }
    Entry {
        received,
        received_at,
        key_id,
        events,
        rejected,
    }
}

fn last_time(events: &[Value]) -> Option<DateTime<Utc>> {
    events
        .iter()
        .filter_map(|event| event["timestamp"].as_str()?.parse().ok())
        .max()
}

/// A bar where there is a terminal, a few lines where there is none.
struct Progress {
    bar: ProgressBar,
    plain: bool,
}

impl Progress {
    fn new(title: String, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let plain = bar.is_hidden();
        if plain {
            eprintln!("{title} ...");
        } else {
            let style =
                ProgressStyle::with_template("{prefix}\n  [{bar:40}] {percent:>3} %  {msg}  {eta} left")
                    .expect("the template is constant");
            bar.set_style(style.progress_chars("=> "));
            bar.set_prefix(title);
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Self { bar, plain }
    }

    fn advance_to(&self, position: u64, message: &str) {
        let tenth = |at: u64| at * PLAIN_LINES / self.bar.length().unwrap_or(0).max(1);
        let news = tenth(position) > tenth(self.bar.position());
        self.bar.set_message(message.to_owned());
        self.bar.set_position(position);
        if self.plain && news {
            eprintln!("  {:>3} %  {message}", tenth(position) * 100 / PLAIN_LINES);
        }
    }

    fn tell(&self, message: &str) {
        self.bar.set_message(message.to_owned());
        if self.plain {
            eprintln!("  {message}");
        }
    }

    fn finish(&self, message: &str) {
        let seconds = self.bar.elapsed().as_secs_f64();
        self.bar.finish_and_clear();
        eprintln!("{message} in {seconds:.1} s.");
    }
}

impl Drop for Progress {
    /// Takes the bar away when the start is cut short, so that what is said next has a line of its own.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
