//! Scores of a customer, and what they rest on.

use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::{NOW, World};
use crate::{
    customer::{Models, estimate, score, testing::visitor},
    store::scores::{self, Calibrations},
};

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn a_customer_shows_scores_with_what_they_rest_on_once_there_are_some(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let id = world
        .customer(serde_json::json!({"id": Uuid::from_u128(7)}))
        .await;
    let path = format!("/api/v1/customers/{id}");
    assert_eq!(world.ok(&path).await["scores"], Value::Null);

    let now = NOW.parse().unwrap();
    let scored = score(&visitor(7, now), &Models::default(), now);
    let mut connection = pool.acquire().await.unwrap();
    scores::save(&mut connection, &[scored], now).await.unwrap();
    let scores = world.ok(&path).await["scores"].clone();
    // Seen this moment (30 points), once in 30 days (25 / 8).
    assert_eq!(scores["engagement"], 33);
    assert_eq!(
        scores["why"]["engagement"]["parts"][0]["input"],
        "days_since_last_session"
    );
    assert_eq!(scores["why"]["engagement"]["parts"][0]["points"], 30.0);
    assert_eq!(scores["churn_risk"], Value::Null);
    assert_eq!(scores["loyalty_tier"], "visitor");
}

#[sqlx::test(migrator = "crate::store::MIGRATOR")]
async fn calibration_says_what_estimates_rest_on_and_what_is_missing(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let path = "/api/v1/scores/calibration";
    let before = world.ok(path).await;
    assert_eq!(
        (&before["computed_at"], &before["churn_risk"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        (&before["horizon_days"], &before["rfm"]["buyers_min"]),
        (&30.into(), &50.into())
    );

    let case = |number: usize| estimate::Case {
        bin: 0,
        happened: number.is_multiple_of(4),
        fold: number % estimate::FOLDS,
    };
    let cases: Vec<_> = (0..600).map(case).collect();
    let (churn, churn_calibration) = estimate::fit(&cases, 1);
    let (conversion, conversion_calibration) = estimate::fit(&cases[..100], 1);
    let models = Models {
        churn,
        conversion,
        rfm: None,
    };
    let calibrations = Calibrations {
        churn: churn_calibration,
        conversion: conversion_calibration,
    };
    let mut connection = pool.acquire().await.unwrap();
    let now = NOW.parse().unwrap();
    scores::save_models(&mut connection, &models, &calibrations, now)
        .await
        .unwrap();
    let after = world.ok(path).await;
    assert_eq!(after["computed_at"], NOW);
    assert_eq!(after["churn_risk"]["happened"], 150);
    assert_eq!(after["churn_risk"]["quality"]["reliability"][0]["people"], 600);
    assert_eq!(after["conversion_probability"]["people"], 100);
    assert_eq!(after["conversion_probability"]["quality"], Value::Null);
    assert_eq!(scores::find_models(&mut connection).await.unwrap(), models);
}
