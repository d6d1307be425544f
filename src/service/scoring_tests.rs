//! Scores over a real database: what is counted, whom a run scores, and when.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt;
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::scoring::{score_closed, score_everybody};
use crate::{
    customer::{
        Behaviour, Models, Why, churn,
        estimate::{self, Case},
    },
    ops::{Clock, jobs::JobContext},
    store::scores::{self, Calibrations},
};

const TIMEOUT: TimeDelta = TimeDelta::minutes(30);
const LENGTH_MAX: TimeDelta = TimeDelta::hours(24);

fn now() -> DateTime<Utc> {
    "2026-06-15T12:00:00Z".parse().unwrap()
}

fn context(pool: &PgPool, now: DateTime<Utc>) -> JobContext {
    JobContext {
        pool: pool.clone(),
        clock: Clock::fixed(now),
        stop: CancellationToken::new(),
    }
}

/// What matters of a session.
#[derive(Clone, Debug)]
struct Told {
    person: u128,
    hours_ago: i64,
    engagement: i64,
    abandoned: bool,
    /// Orders and cents; `None` for no conversion.
    bought: Option<(usize, i64, &'static str)>,
}

impl Told {
    fn start(&self) -> DateTime<Utc> {
        now() - TimeDelta::hours(self.hours_ago)
    }

    fn row(&self, number: usize) -> Value {
        let (orders, cents, currency) = self.bought.unwrap_or((0, 0, ""));
        let order_ids: Vec<String> = (0..orders).map(|order| format!("{number}-{order}")).collect();
        json!({
            "id": Uuid::from_u128(number as u128 + 1), "session_id": number.to_string(), "device_id": "d",
            "life": 0, "customer_id": Uuid::from_u128(self.person), "started_at": self.start(),
            "ended_at": self.start() + TimeDelta::minutes(5), "duration_seconds": 300, "event_count": 1,
            "page_views": 1, "clicks": 0, "rage_clicks": 0, "dead_clicks": 0, "form_errors": 0, "errors": 0,
            "searches": 0, "event_counts": {}, "pages": [], "source": "direct", "channel": "direct",
            "device_type": "desktop", "converted": self.bought.is_some(),
            "conversion_value": Decimal::new(cents, 2), "order_ids": order_ids, "abandoned": self.abandoned,
            "currency": Some(currency).filter(|currency| !currency.is_empty()), "visible_seconds": 0,
            "engagement": self.engagement, "engaged": true, "state": {},
        })
    }
}

async fn tell(pool: &PgPool, sessions: &[Told]) {
    let rows: Vec<Value> = sessions
        .iter()
        .enumerate()
        .map(|(number, told)| told.row(number))
        .collect();
    sqlx::query("INSERT INTO sessions SELECT * FROM jsonb_populate_recordset(NULL::sessions, $1)")
        .bind(Value::Array(rows))
        .execute(pool)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO customers (id) SELECT DISTINCT customer_id FROM sessions ON CONFLICT DO NOTHING",
    )
    .execute(pool)
    .await
    .unwrap();
}

fn told() -> impl Strategy<Value = Told> {
    let currency = prop::sample::select(vec!["EUR", "USD", ""]);
    let bought = prop::option::of((0usize..3, 0i64..5000, currency));
    (1u128..12, 0i64..24 * 400, 0i64..=100, any::<bool>(), bought).prop_map(
        |(person, hours_ago, engagement, abandoned, bought)| Told {
            person,
            hours_ago,
            engagement,
            abandoned,
            bought,
        },
    )
}

/// The same figures, counted session by session.
fn counted(sessions: &[Told], person: u128, at: DateTime<Utc>, until: DateTime<Utc>) -> Option<Behaviour> {
    let own = || sessions.iter().filter(|told| told.person == person);
    let earlier: Vec<&Told> = own().filter(|told| told.start() < at).collect();
    let after: Vec<&Told> = own()
        .filter(|told| told.start() >= at && told.start() < until)
        .collect();
    let within = |days: i64| {
        let earlier = earlier.iter().copied();
        earlier.filter(move |told| at - told.start() <= TimeDelta::days(days))
    };
    // A conversion without an id is one order.
    let orders = |told: &Told| told.bought.map_or(0, |(orders, ..)| orders.max(1) as i64);
    let lately: Vec<f64> = within(90).map(|told| told.engagement as f64).collect();
    let sales = earlier.iter().filter_map(|told| told.bought);
    Some(Behaviour {
        customer_id: Uuid::from_u128(person),
        sessions: earlier.len() as i64,
        first_session_at: earlier.iter().map(|told| told.start()).min()?,
        last_session_at: earlier.iter().map(|told| told.start()).max()?,
        sessions_30_days: within(30).count() as i64,
        engagement_90_days: (!lately.is_empty()).then(|| lately.iter().sum::<f64>() / lately.len() as f64),
        abandoned_30_days: within(30).filter(|told| told.abandoned).count() as i64,
        orders: earlier.iter().map(|told| orders(told)).sum(),
        orders_90_days: within(90).map(orders).sum(),
        orders_365_days: within(365).map(orders).sum(),
        last_order_at: earlier
            .iter()
            .filter(|told| told.bought.is_some())
            .map(|told| told.start())
            .max(),
        revenue: Decimal::new(sales.filter(|sale| sale.2 == "EUR").map(|sale| sale.1).sum(), 2),
        returned: !after.is_empty(),
        ordered: after.iter().any(|told| told.bought.is_some()),
    })
}

fn assert_alike(found: &Behaviour, expected: &Behaviour) {
    let mean = |behaviour: &Behaviour| behaviour.engagement_90_days.map(|mean| (mean * 1e6).round());
    assert_eq!(mean(found), mean(expected));
    let found = Behaviour {
        engagement_90_days: expected.engagement_90_days,
        ..found.clone()
    };
    assert_eq!(&found, expected);
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn behaviour_is_what_counting_session_by_session_gives(pool: PgPool) {
    let mut runner = TestRunner::deterministic();
    let sessions = vec(told(), 150).new_tree(&mut runner).unwrap().current();
    tell(&pool, &sessions).await;
    let mut connection = pool.acquire().await.unwrap();
    for days in [0, 30, 200] {
        let at = now() - TimeDelta::days(days);
        let found: Vec<Behaviour> = {
            let people = scores::stream_behaviour(&mut connection, at, now(), "EUR");
            people.try_collect().await.unwrap()
        };
        let expected: Vec<Behaviour> = (1..12)
            .filter_map(|person| counted(&sessions, person, at, now()))
            .collect();
        assert_eq!(found.len(), expected.len());
        for expected in &expected {
            let id = expected.customer_id;
            let same = found.iter().find(|found| found.customer_id == id).unwrap();
            assert_alike(same, expected);
        }
        let buyers = scores::list_buyers(&mut connection, at, "EUR").await.unwrap();
        assert_eq!(
            buyers.len(),
            expected.iter().filter(|person| person.orders > 0).count()
        );
        let some = [Uuid::from_u128(3), Uuid::from_u128(4)];
        let listed = scores::list_behaviour(&mut connection, &some, at, "EUR")
            .await
            .unwrap();
        assert!(listed.iter().all(|person| some.contains(&person.customer_id)));
    }
}

fn visit(person: u128, hours_ago: i64) -> Told {
    Told {
        person,
        hours_ago,
        engagement: 40,
        abandoned: false,
        bought: None,
    }
}

async fn scored_at(pool: &PgPool, person: u128) -> Option<DateTime<Utc>> {
    let mut connection = pool.acquire().await.unwrap();
    let found = scores::find(&mut connection, Uuid::from_u128(person))
        .await
        .unwrap();
    found.map(|scores| scores.computed_at)
}

/// Runs the job that follows sessions, so many minutes after 11 o'clock.
async fn follow(pool: &PgPool, minutes: i64) -> String {
    let context = context(pool, now() - TimeDelta::hours(1) + TimeDelta::minutes(minutes));
    score_closed(context, TIMEOUT, LENGTH_MAX).await.unwrap()
}

/// As if models had been made at 11 o'clock.
async fn pretend_models(pool: &PgPool) {
    let cases: Vec<Case> = (0..600)
        .map(|number| Case {
            bin: 0,
            happened: number % 2 == 0,
            fold: number % estimate::FOLDS,
        })
        .collect();
    let (model, calibration) = estimate::fit(&cases, churn::BINS);
    let models = Models {
        churn: model,
        ..Models::default()
    };
    let calibrations = Calibrations {
        churn: calibration.clone(),
        conversion: calibration,
    };
    let mut connection = pool.acquire().await.unwrap();
    scores::save_models(
        &mut connection,
        &models,
        &calibrations,
        now() - TimeDelta::hours(1),
    )
    .await
    .unwrap();
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_person_is_scored_once_when_the_session_is_over(pool: PgPool) {
    pretend_models(&pool).await;
    tell(&pool, &[visit(1, 1), visit(2, 48)]).await;
    // The session ends after 5 minutes and is over 30 minutes later.
    follow(&pool, 34).await;
    assert_eq!(scored_at(&pool, 1).await, None);
    follow(&pool, 36).await;
    let first = scored_at(&pool, 1).await;
    assert!(first.is_some());
    assert_eq!(follow(&pool, 37).await, "no session ended");
    assert_eq!(scored_at(&pool, 1).await, first);
    // That of two days ago waits for the scoring of everybody.
    assert_eq!(scored_at(&pool, 2).await, None);
    score_everybody(context(&pool, now())).await.unwrap();
    assert!(scored_at(&pool, 2).await.is_some());
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_site_without_models_is_scored_as_a_whole_every_ten_minutes(pool: PgPool) {
    tell(&pool, &[visit(2, 48)]).await;
    assert!(
        follow(&pool, 0)
            .await
            .starts_with("1 customers scored; churn model too little")
    );
    assert_eq!(follow(&pool, 9).await, "no session ended");
    assert!(
        follow(&pool, 10)
            .await
            .starts_with("1 customers scored; churn model too little")
    );
}

/// People who came in a rhythm of their own; every other one stopped two months ago, every third one buys.
fn history(people: u128) -> Vec<Told> {
    let visits = |person: u128| {
        let gap = 24 * (2 + (person % 5) as i64);
        let stop = if person.is_multiple_of(2) { 0 } else { 24 * 55 };
        let hours = (0..).map(move |number| stop + gap * number + person as i64 % 24);
        let bought = person
            .is_multiple_of(3)
            .then_some((1, 100 * person as i64, "EUR"));
        let told = move |hours_ago| Told {
            bought,
            ..visit(person, hours_ago)
        };
        hours
            .take_while(|hours| *hours < 24 * 100)
            .map(told)
            .collect::<Vec<_>>()
    };
    (1..=people).flat_map(visits).collect()
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_month_of_history_makes_models_that_tell_who_is_gone(pool: PgPool) {
    tell(&pool, &history(600)).await;
    let sentence = score_everybody(context(&pool, now())).await.unwrap();
    assert_eq!(
        sentence,
        "600 customers scored; churn model made, conversion model made, fifths of buyers made"
    );
    let mut connection = pool.acquire().await.unwrap();
    let (at, calibrations) = scores::find_calibrations(&mut connection).await.unwrap().unwrap();
    assert_eq!(at, now());
    assert_eq!(
        (calibrations.churn.people, calibrations.churn.happened),
        (600, 300)
    );
    let quality = calibrations.churn.quality.unwrap();
    assert!(
        quality.brier < 0.1 && quality.brier_of_base_rate > 0.2,
        "{quality:?}"
    );

    let stayed = scores::find(&mut connection, Uuid::from_u128(6))
        .await
        .unwrap()
        .unwrap();
    assert!(stayed.churn_risk.unwrap() < 0.2 && stayed.conversion_probability.unwrap() > 0.5);
    assert_eq!(stayed.loyalty_tier, "platinum");
    assert!(stayed.rfm_segment.is_some());
    let why: Why = serde_json::from_value(stayed.why).unwrap();
    let churn = why.churn_risk.unwrap();
    assert!(churn.people > 0 && churn.base_rate == 0.5);
    assert_eq!(why.rfm.unwrap().buyers, 200);
    let visitor = scores::find(&mut connection, Uuid::from_u128(2))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (visitor.rfm_segment, visitor.loyalty_tier.as_str()),
        (None, "visitor")
    );
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn too_little_history_leaves_estimates_out_and_says_what_is_missing(pool: PgPool) {
    tell(&pool, &history(100)).await;
    score_everybody(context(&pool, now())).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let found = scores::find(&mut connection, Uuid::from_u128(6))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.churn_risk, found.conversion_probability, found.rfm_segment),
        (None, None, None)
    );
    assert!(found.engagement > 0);
    assert_eq!(found.why["churn_risk"], Value::Null);
    let (_, calibrations) = scores::find_calibrations(&mut connection).await.unwrap().unwrap();
    assert_eq!(
        (calibrations.churn.people, calibrations.churn.people_min),
        (100, 500)
    );
    assert_eq!(calibrations.churn.quality, None);
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn scores_of_a_customer_that_went_meanwhile_are_not_written(pool: PgPool) {
    tell(&pool, &[visit(1, 1), visit(2, 1)]).await;
    sqlx::query("DELETE FROM customers WHERE id = $1")
        .bind(Uuid::from_u128(2))
        .execute(&pool)
        .await
        .unwrap();
    let sentence = score_everybody(context(&pool, now())).await.unwrap();
    assert!(sentence.starts_with("1 customers scored"), "{sentence}");
}
