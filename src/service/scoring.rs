//! The jobs that score customers: everybody by schedule, and a person once their session is over.

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt;
use sqlx::PgConnection;

use crate::{
    customer::{self, Behaviour, HORIZON, Models, churn, conversion, estimate, rfm::Thresholds},
    ops::jobs::JobContext,
    store::scores::{self, Calibrations},
};

/// Customers scored and written at once: writers that meet one of them wait for the whole piece.
const PIECE: usize = 1000;

/// Sessions that were over for longer when nobody looked are left to the next scoring of everybody.
const CLOSED_WITHIN: TimeDelta = TimeDelta::hours(1);

/// Customers scored in one run after their sessions; the next minute goes on.
const CLOSED_MAX: i64 = 20_000;

/// A young site waits no longer than this for its first models, which otherwise come by night.
const MODELS_RETRIED_AFTER: TimeDelta = TimeDelta::minutes(10);

/// Makes the models anew and scores everybody.
pub(super) async fn score_everybody(context: JobContext) -> anyhow::Result<String> {
    let now = context.clock.now();
    let mut connection = context.pool.acquire().await?;
    let currency = scores::main_currency(&mut connection).await?;
    let (models, calibrations) = make_models(&mut connection, now, &currency).await?;
    scores::save_models(&mut connection, &models, &calibrations, now).await?;

    let mut writing = context.pool.acquire().await?;
    let mut people = scores::stream_behaviour(&mut connection, now, now, &currency);
    let mut piece = Vec::with_capacity(PIECE);
    let mut scored = 0;
    while let Some(person) = people
        .try_next()
        .await
        .context("what people did cannot be read")?
    {
        piece.push(person);
        if piece.len() == PIECE {
            scored += save(&mut writing, &piece, &models, now).await?;
            piece.clear();
            if context.stop.is_cancelled() {
                break;
            }
        }
    }
    scored += save(&mut writing, &piece, &models, now).await?;
    let made = |is_made: bool| if is_made { "made" } else { "too little to make one" };
    Ok(format!(
        "{scored} customers scored; churn model {}, conversion model {}, fifths of buyers {}",
        made(models.churn.is_some()),
        made(models.conversion.is_some()),
        made(models.rfm.is_some())
    ))
}

/// Scores the people whose sessions are over, `inactivity` after their end, since they were last scored.
pub(super) async fn score_closed(
    context: JobContext,
    inactivity: TimeDelta,
    length_max: TimeDelta,
) -> anyhow::Result<String> {
    let now = context.clock.now();
    let mut connection = context.pool.acquire().await?;
    if is_young(&mut connection, now).await? {
        drop(connection);
        return score_everybody(context).await;
    }
    let until = now - inactivity;
    let outdated = scores::list_outdated(
        &mut connection,
        until - CLOSED_WITHIN,
        until,
        inactivity,
        length_max,
        CLOSED_MAX,
    )
    .await?;
    if outdated.is_empty() {
        return Ok("no session ended".into());
    }
    let models = scores::find_models(&mut connection).await?;
    let currency = match &models.rfm {
        Some(thresholds) => thresholds.currency.clone(),
        None => scores::main_currency(&mut connection).await?,
    };
    let mut scored = 0;
    for piece in outdated.chunks(PIECE) {
        let people = scores::list_behaviour(&mut connection, piece, now, &currency).await?;
        scored += save(&mut connection, &people, &models, now).await?;
        if context.stop.is_cancelled() {
            break;
        }
    }
    Ok(format!("{scored} customers scored after their sessions"))
}

/// Whether there was too little for a model when it was last tried, or it never was. Such a site is small, so that
/// scoring all of it costs next to nothing.
async fn is_young(connection: &mut PgConnection, now: DateTime<Utc>) -> anyhow::Result<bool> {
    let found = scores::find_calibrations(connection).await;
    Ok(match found.context("the calibration cannot be read")? {
        None => true,
        Some((at, calibrations)) => calibrations.churn.quality.is_none() && now - at >= MODELS_RETRIED_AFTER,
    })
}

/// Looks at everybody as they stood a month ago, and at what they did since.
async fn make_models(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    currency: &str,
) -> anyhow::Result<(Models, Calibrations)> {
    let then = now - HORIZON;
    let (mut churned, mut ordered) = (Vec::new(), Vec::new());
    let mut people = scores::stream_behaviour(connection, then, now, currency);
    while let Some(person) = people
        .try_next()
        .await
        .context("what people did cannot be read")?
    {
        let (churn, conversion) = customer::cases(std::slice::from_ref(&person), then);
        churned.extend(churn);
        ordered.extend(conversion);
    }
    drop(people);
    let buyers = scores::list_buyers(connection, now, currency).await?;
    let (churn, churn_calibration) = estimate::fit(&churned, churn::BINS);
    let (conversion, conversion_calibration) = estimate::fit(&ordered, conversion::BINS);
    let models = Models {
        churn,
        conversion,
        rfm: Thresholds::of(&buyers, currency),
    };
    let calibrations = Calibrations {
        churn: churn_calibration,
        conversion: conversion_calibration,
    };
    Ok((models, calibrations))
}

async fn save(
    connection: &mut PgConnection,
    people: &[Behaviour],
    models: &Models,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let scored: Vec<_> = people
        .iter()
        .map(|person| customer::score(person, models, now))
        .collect();
    Ok(scores::save(connection, &scored, now).await?)
}
