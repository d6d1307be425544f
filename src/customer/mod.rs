//! Scores of customers: formulas over what they did, each with its inputs beside it.
//!
//! Engagement and loyalty tier are plain formulas. The RFM cell is a rank among the site's own buyers. Churn risk and
//! conversion probability are frequencies: of the people who a month ago stood where this one stands today, how many
//! stayed away, or bought, since ([`estimate`]). Where too little has happened to count, there is no score.
//!
//! Everything here is pure; the store brings [`Behaviour`] and keeps [`Scores`].

pub(crate) mod churn;
pub(crate) mod conversion;
pub(crate) mod engagement;
pub(crate) mod estimate;
pub(crate) mod loyalty;
pub(crate) mod rfm;
#[cfg(test)]
mod simulation_tests;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use engagement::Engagement;
use estimate::{Case, Estimate, Model};
use loyalty::Loyalty;
use rfm::{Cell, Thresholds};

/// How far estimates look ahead, and how long ago the people were counted that they rest on.
pub(crate) const HORIZON: TimeDelta = TimeDelta::days(30);

/// Who was not seen for longer has no estimates: the few who come back after half a year say nothing about the rest.
pub(crate) const SEEN_WITHIN: TimeDelta = TimeDelta::days(180);

/// What a person did up to a moment, and what came after it.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub(crate) struct Behaviour {
    pub(crate) customer_id: Uuid,
    /// Sessions that began before the moment; at least one.
    pub(crate) sessions: i64,
    pub(crate) first_session_at: DateTime<Utc>,
    pub(crate) last_session_at: DateTime<Utc>,
    pub(crate) sessions_30_days: i64,
    /// Mean engagement of the sessions of 90 days, 0 to 100.
    pub(crate) engagement_90_days: Option<f64>,
    /// Sessions of 30 days that left a cart or a checkout.
    pub(crate) abandoned_30_days: i64,
    pub(crate) orders: i64,
    pub(crate) orders_90_days: i64,
    pub(crate) orders_365_days: i64,
    pub(crate) last_order_at: Option<DateTime<Utc>>,
    /// In the site's main currency.
    pub(crate) revenue: Decimal,
    /// Whether a session began within [`HORIZON`] after the moment.
    pub(crate) returned: bool,
    /// Whether there was an order within [`HORIZON`] after the moment.
    pub(crate) ordered: bool,
}

impl Behaviour {
    /// Returns the days since the last session began.
    pub(crate) fn recency_days(&self, at: DateTime<Utc>) -> f64 {
        days(at - self.last_session_at)
    }

    /// Returns the mean days from one session to the next; `None` after a single one.
    ///
    /// At least a day: who came twice in an hour does not come every hour.
    pub(crate) fn mean_gap_days(&self) -> Option<f64> {
        let gaps = self.sessions - 1;
        (gaps > 0).then(|| (days(self.last_session_at - self.first_session_at) / gaps as f64).max(1.0))
    }

    /// Whether estimates speak about the person.
    pub(crate) fn is_estimable(&self, at: DateTime<Utc>) -> bool {
        at - self.last_session_at <= SEEN_WITHIN
    }
}

/// Returns days and their parts.
pub(crate) fn days(length: TimeDelta) -> f64 {
    length.as_seconds_f64() / 86_400.0
}

/// What scores are measured by, made of the site's own history.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Models {
    pub(crate) churn: Option<Model>,
    pub(crate) conversion: Option<Model>,
    pub(crate) rfm: Option<Thresholds>,
}

/// Turns people as they stood at `at` into cases of both estimates: who stayed away, and who bought.
pub(crate) fn cases(people: &[Behaviour], at: DateTime<Utc>) -> (Vec<Case>, Vec<Case>) {
    let estimable = people.iter().filter(|person| person.is_estimable(at));
    let case = |person: &Behaviour, bin, happened| Case {
        bin,
        happened,
        fold: estimate::fold_of(person.customer_id),
    };
    estimable
        .map(|person| {
            (
                case(person, churn::bin(person, at), !person.returned),
                case(person, conversion::bin(person, at), person.ordered),
            )
        })
        .unzip()
}

/// Everything a score rests on.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub(crate) struct Why {
    pub(crate) engagement: Engagement,
    /// Absent with the score.
    pub(crate) churn_risk: Option<Estimate>,
    /// Absent with the score.
    pub(crate) conversion_probability: Option<Estimate>,
    /// Absent with the cell.
    pub(crate) rfm: Option<rfm::Inputs>,
    pub(crate) loyalty: Loyalty,
}

/// The scores of one customer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scores {
    pub(crate) customer_id: Uuid,
    /// 0 to 100.
    pub(crate) engagement: i16,
    /// 0 to 1.
    pub(crate) churn_risk: Option<f64>,
    /// 0 to 1.
    pub(crate) conversion_probability: Option<f64>,
    pub(crate) rfm: Option<Cell>,
    pub(crate) loyalty_tier: &'static str,
    pub(crate) why: Why,
}

/// Scores a person as of `at`.
pub(crate) fn score(person: &Behaviour, models: &Models, at: DateTime<Utc>) -> Scores {
    let engagement = Engagement::of(person, at);
    let loyalty = Loyalty::of(person);
    let is_estimable = person.is_estimable(at);
    let estimate = |model: &Option<Model>, bin: usize, meaning: String| {
        let model = model.as_ref().filter(|_| is_estimable)?;
        Some(model.estimate(bin, meaning))
    };
    let churn_bin = churn::bin(person, at);
    let churn_risk = estimate(&models.churn, churn_bin, churn::meaning(churn_bin));
    let conversion_bin = conversion::bin(person, at);
    let conversion = estimate(
        &models.conversion,
        conversion_bin,
        conversion::meaning(conversion_bin),
    );
    let ranked = models.rfm.as_ref().and_then(|thresholds| thresholds.rank(person));
    Scores {
        customer_id: person.customer_id,
        engagement: engagement.score(),
        churn_risk: churn_risk.as_ref().map(|estimate| estimate.value),
        conversion_probability: conversion.as_ref().map(|estimate| estimate.value),
        rfm: ranked.as_ref().map(|(cell, _)| *cell),
        loyalty_tier: loyalty.tier(),
        why: Why {
            engagement,
            churn_risk,
            conversion_probability: conversion,
            rfm: ranked.map(|(_, inputs)| inputs),
            loyalty,
        },
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Somebody who came once, at `last`, and did nothing.
    pub(crate) fn visitor(number: u128, last: DateTime<Utc>) -> Behaviour {
        Behaviour {
            customer_id: Uuid::from_u128(number),
            sessions: 1,
            first_session_at: last,
            last_session_at: last,
            sessions_30_days: 1,
            engagement_90_days: Some(0.0),
            abandoned_30_days: 0,
            orders: 0,
            orders_90_days: 0,
            orders_365_days: 0,
            last_order_at: None,
            revenue: Decimal::ZERO,
            returned: false,
            ordered: false,
        }
    }
}
