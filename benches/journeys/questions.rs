//! What is asked, and how long the answers take.

use std::{hint::black_box, time::Instant};

use chrono::DateTime;
use customer_journey::{
    analysis::{
        attribution::{self, Attribution, Model},
        calendar::Interval,
        dimension::Dimension,
        funnel::{self, Funnel, FunnelAnswer, FunnelDefinition, Options},
        path::{self, Paths},
        retention::{self, Retention},
        scope::Scope,
    },
    index::View,
};
use serde::Serialize;
use serde_json::json;

use super::site;

/// How long an answer takes.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub median_ms: f64,
    pub p95_ms: f64,
    /// Processor time of all threads, on average: what the answer costs, however busy the machine is with other work.
    pub cpu_ms: f64,
    pub runs: usize,
}

/// Answers that other engines can be held against.
#[derive(Debug, Serialize)]
pub struct Answers {
    pub funnel: FunnelAnswer,
    pub paths: Paths,
    pub retention: Retention,
    pub attribution: Attribution,
}

/// The five steps. The last four narrow down as in a shop; the window is 7 days.
fn shop_funnel() -> Funnel {
    let definition: FunnelDefinition = serde_json::from_value(json!({
        "steps": [
            {"number": 1, "name": "Home", "event_type": "page_view", "page": "/"},
            {"number": 2, "name": "Product", "event_type": "page_view", "page": "/product/*"},
            {"number": 3, "name": "Cart", "event_type": "add_to_cart"},
            {"number": 4, "name": "Checkout", "event_type": "checkout_start"},
            {"number": 5, "name": "Purchase", "event_type": "purchase"},
        ],
        "window_seconds": 7 * 86_400,
    }))
    .expect("the definition is well formed");
    definition.check().expect("the definition makes sense")
}

/// Asks every question `runs` times, after once to warm up.
pub fn measure(view: &View, runs: usize) -> (Vec<Figure>, Answers) {
    let mut figures = Vec::new();
    let mut time = |name, ask: &dyn Fn()| figures.push(figure(name, runs, ask));
    let scope = Scope::of_time(site::ORIGIN, site::ORIGIN + site::DAYS * site::DAY);
    let funnel = shop_funnel();

    let plain = || funnel::analyze(view, &funnel, &scope, Options::default());
    time("funnel", &|| drop(black_box(plain())));
    let rich = Options {
        breakdown: Some(Dimension::DeviceType),
        reasons: true,
        ..Options::default()
    };
    time("funnel, device, reasons", &|| {
        black_box(funnel::analyze(view, &funnel, &scope, rich));
    });

    let question = path::Question::default();
    let paths = || path::paths(view, &scope, &question);
    time("paths", &|| drop(black_box(paths())));

    let weekly = retention::Question {
        interval: Interval::Week,
        zone: chrono_tz::UTC,
        entry: retention::Entry::FirstVisit,
        returned: retention::Return::Visit,
        periods: retention::PERIODS_DEFAULT,
        now: DateTime::from_timestamp_micros(scope.to).expect("a time of the present century"),
    };
    let retain = || retention::retain(view, &scope, &weekly).expect("the question keeps the bounds");
    time("retention", &|| drop(black_box(retain())));

    let question = attribution::Question {
        models: vec![Model::Last, Model::LastNonDirect, Model::Linear],
        ..attribution::Question::default()
    };
    let attribute = || attribution::attribute(view, &scope, &question);
    time("attribution, 3 models", &|| drop(black_box(attribute())));
    let all_models = attribution::Question::default();
    time("attribution, 7 models", &|| {
        black_box(attribution::attribute(view, &scope, &all_models));
    });

    let answers = Answers {
        funnel: plain(),
        paths: paths(),
        retention: retain(),
        attribution: attribute(),
    };
    (figures, answers)
}

fn figure(name: &'static str, runs: usize, ask: &dyn Fn()) -> Figure {
    ask();
    let processor = processor_ms();
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let started = Instant::now();
            ask();
            started.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    let cpu_ms = (processor_ms() - processor) / runs as f64;
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    Figure {
        name,
        median_ms: at(0.5),
        p95_ms: at(0.95),
        cpu_ms,
        runs,
    }
}

/// Returns the processor time of all threads so far, 0 where the system does not tell.
fn processor_ms() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let told = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        told.split_whitespace().next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e6
}
