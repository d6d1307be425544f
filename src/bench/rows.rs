//! Rows into the table: bare `COPY` against the settling transaction.

use std::time::Instant;

use chrono::{DateTime, Utc};
use sqlx::Connection as _;

use super::{
    BenchOptions, RowFigures,
    visitors::{EVENTS_PER_REQUEST, Visitors},
};
use crate::{
    config::Config,
    event::{Batch, Event, RequestContext, Verdict, judge_batch},
    ingest::{entry::Entry, settle::Parcel},
    ops::Clock,
    service::{self, Options},
    store::{
        self, MIGRATOR,
        events::{Load, Rows},
        ledger::DIRECT,
        situation,
    },
};

/// Requests of one visit: thirty events, about what a person does who looks at a handful of pages. The first
/// makes a device, a session and a customer, the others extend them.
const REQUESTS_PER_VISIT: usize = 3;

/// Rows of one transaction, the default of `writer.batch_events`.
const ROWS_PER_TRANSACTION: usize = 5000;

pub(super) async fn measure(
    config: &Config,
    options: &BenchOptions,
) -> anyhow::Result<(&'static str, RowFigures)> {
    let clock = Clock::system();
    let pool = store::connect(&config.database)?;
    let mut connection = pool.acquire().await?;
    MIGRATOR.run(&mut *connection).await?;
    let situation = situation::prepare(&mut connection, &config.retention).await?;
    drop(connection);
    let settler = service::settler(config, pool.clone(), situation, &Options::new(clock.clone()));

    // Alternating halves, so that a slow moment of the machine hits both sides.
    let rounds = (options.rows / ROWS_PER_TRANSACTION / 2).max(1);
    let (mut copying, mut settling) = (0.0, 0.0);
    let requests = rounds * ROWS_PER_TRANSACTION / EVENTS_PER_REQUEST;
    let visitors = |number| Visitors::new(clock.now(), number, requests / REQUESTS_PER_VISIT, requests);
    let (mut copied, mut settled) = (visitors(1), visitors(2));
    for _ in 0..rounds {
        let bare = entries(config, &mut copied, clock.now())?;
        let wanted = vec![true; ROWS_PER_TRANSACTION];
        let started = Instant::now();
        let rows = Rows::prepare(bare.iter().flat_map(|entry| &entry.events), Load::Copy);
        let mut connection = pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        rows.insert(&mut transaction, &wanted).await?;
        transaction.commit().await?;
        copying += started.elapsed().as_secs_f64();
        drop(connection);

        let whole = entries(config, &mut settled, clock.now())?;
        let parcels: Vec<Parcel> = whole
            .into_iter()
            .map(|entry| Parcel { id: None, entry })
            .collect();
        let started = Instant::now();
        settler.settle(DIRECT, &parcels).await?;
        settling += started.elapsed().as_secs_f64();
    }
    pool.close().await;
    let rows = rounds * ROWS_PER_TRANSACTION;
    Ok((
        situation.as_str(),
        RowFigures {
            rows,
            copy_rows_per_second: rows as f64 / copying,
            settle_rows_per_second: rows as f64 / settling,
            settle_to_copy: copying / settling,
        },
    ))
}

/// Returns one transaction's worth of judged requests.
fn entries(config: &Config, visitors: &mut Visitors, now: DateTime<Utc>) -> anyhow::Result<Vec<Entry>> {
    let policy = service::policy(config)?;
    let context = RequestContext {
        received_at: now,
        key_id: 0,
        client_ip: None,
        user_agent: None,
        dnt: false,
        gpc: false,
    };
    let mut made = Vec::new();
    for _ in 0..ROWS_PER_TRANSACTION / EVENTS_PER_REQUEST {
        let batch = Batch {
            events: visitors.next_request(),
            sent_at: None,
        };
        let verdicts = judge_batch(batch, &context, &policy);
        let events: Vec<Event> = verdicts
            .into_iter()
            .map(|verdict| match verdict {
                Verdict::Accepted(event) => Ok(*event),
                Verdict::Rejected(rejection) => {
                    anyhow::bail!("a generated event was refused: {}", rejection.detail)
                }
            })
            .collect::<anyhow::Result<_>>()?;
        made.push(Entry {
            received: events.len() as u32,
            received_at: now,
            key_id: 0,
            events,
            rejected: Vec::new(),
        });
    }
    Ok(made)
}
