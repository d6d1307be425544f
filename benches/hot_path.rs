//! What one request costs in processor time, step by step: the steps between the socket and the queue, and
//! the fold that turns events into sessions. `cargo bench` compares with the run before.

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use customer_journey::{
    demo::dataset::SdkStream,
    event::{Batch, Event, Hasher, Policy, RequestContext, Verdict, judge_batch, parse_body},
    ingest::entry::{Entry, VERSION},
    session::{Rules, SessionEvent, derive},
};
use serde_json::json;

/// Events of one request, as a tracker sends them.
const EVENTS: usize = 10;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).expect("a time of the present century")
}

fn policy() -> Policy {
    Policy {
        hasher: Hasher::new("a salt for benchmarks"),
        ip_hash: true,
        hash_emails: true,
        honour_dnt: true,
        honour_gpc: true,
        cookieless: false,
        url_parameters_allowed: Vec::new(),
        own_hosts: Vec::new(),
        filter_bots: true,
        events_age_max: Some(TimeDelta::days(90)),
        batch_events_max: 100,
        countries: None,
    }
}

fn context() -> RequestContext {
    RequestContext {
        received_at: now(),
        key_id: 1,
        client_ip: Some([192, 0, 2, 1].into()),
        user_agent: None,
        dnt: false,
        gpc: false,
    }
}

fn batch() -> Batch {
    let events = SdkStream::new(1, 1, 1, "https://shop.example", now()).batch(now(), EVENTS);
    Batch {
        events,
        sent_at: None,
    }
}

fn accepted() -> Vec<Event> {
    judge_batch(batch(), &context(), &policy())
        .into_iter()
        .filter_map(|verdict| match verdict {
            Verdict::Accepted(event) => Some(*event),
            Verdict::Rejected(_) => None,
        })
        .collect()
}

fn request(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request of 10 events");
    group.throughput(Throughput::Elements(EVENTS as u64));
    let body = json!({ "events": batch().events }).to_string();
    group.bench_function("parse", |bencher| bencher.iter(|| parse_body(body.as_bytes())));
    let (context, policy) = (context(), policy());
    group.bench_function("judge", |bencher| {
        bencher.iter_batched(
            batch,
            |batch| judge_batch(batch, &context, &policy),
            BatchSize::SmallInput,
        );
    });
    let entry = Entry {
        received: 10,
        received_at: now(),
        key_id: 1,
        events: accepted(),
        rejected: Vec::new(),
    };
    group.bench_function("encode for the queue", |bencher| bencher.iter(|| entry.encode()));
    let payload = entry.encode();
    group.bench_function("decode from the queue", |bencher| {
        bencher.iter(|| Entry::decode(VERSION, &payload));
    });
    group.finish();
}

fn sessions(criterion: &mut Criterion) {
    let rules = Rules {
        inactivity: TimeDelta::minutes(30),
        length_max: TimeDelta::hours(24),
        own_hosts: Vec::new(),
        pass_through_hosts: Vec::new(),
    };
    let mut stream = SdkStream::new(2, 1, 1, "https://shop.example", now());
    let events: Vec<SessionEvent> = (0..100)
        .flat_map(|place| {
            let at = now() + TimeDelta::minutes(place);
            let batch = Batch {
                events: stream.batch(at, EVENTS),
                sent_at: None,
            };
            judge_batch(
                batch,
                &RequestContext {
                    received_at: at,
                    ..context()
                },
                &policy(),
            )
        })
        .filter_map(|verdict| match verdict {
            Verdict::Accepted(event) => Some(SessionEvent::from(&*event)),
            Verdict::Rejected(_) => None,
        })
        .collect();
    let mut group = criterion.benchmark_group("sessions of one device");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("derive 1000 events", |bencher| {
        bencher.iter_batched(
            || events.clone(),
            |events| derive("device", events, &rules),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, request, sessions);
criterion_main!(benches);
