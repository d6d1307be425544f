//! Which channels conversions are owed to.
//!
//! Touches are sessions, a conversion is a session with a purchase, and models share each conversion and its revenue out
//! among the touches before it. Nothing gets lost: credits are whole millionths of a conversion and whole units of
//! money, and add up exactly. The definitions are in docs/analysis/attribution.md.

mod apportion;
mod credit;
mod markov;
mod model;
mod money;
mod touch;
mod values;

#[cfg(test)]
mod tests;

use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

pub use model::{MODELS, Model};

use self::{touch::Found, values::Values};
use super::{counted::Counted, dimension::Dimension, scope::Scope};
use crate::index::{Micros, View};

/// Days a conversion looks back when nothing is said.
pub const LOOK_BACK_DAYS_DEFAULT: i64 = 30;
/// Days a conversion looks back at most.
pub const LOOK_BACK_DAYS_MAX: i64 = 365;
/// Values of the dimension that have a line of their own when nothing is said.
pub const LIMIT_DEFAULT: usize = 50;
/// Values of the dimension that have a line of their own at most: they are the states of the chain.
pub const LIMIT_MAX: usize = 200;
/// Paths that are listed when nothing is said.
pub const PATHS_DEFAULT: usize = 10;
/// Paths that are listed at most.
pub const PATHS_MAX: usize = 100;

/// Below this many converting people no share is claimed.
pub const PEOPLE_MIN: u64 = 30;

/// What sessions can be credited by.
pub const DIMENSIONS: [Dimension; 5] = [
    Dimension::Channel,
    Dimension::Source,
    Dimension::Medium,
    Dimension::Campaign,
    Dimension::ReferrerHost,
];

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// One of [`DIMENSIONS`].
    pub dimension: Dimension,
    pub models: Vec<Model>,
    /// How long before a conversion a session may have begun.
    pub look_back: Micros,
    /// Values that have a line of their own; the others share one.
    pub limit: usize,
    /// Paths that are listed.
    pub paths: usize,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            dimension: Dimension::Channel,
            models: MODELS.to_vec(),
            look_back: LOOK_BACK_DAYS_DEFAULT * 86_400_000_000,
            limit: LIMIT_DEFAULT,
            paths: PATHS_DEFAULT,
        }
    }
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributionError {
    #[error("dimension: must be channel, source, medium, campaign or referrer_host")]
    Dimension,
    #[error("look_back_days: must be from 1 to {LOOK_BACK_DAYS_MAX}")]
    LookBack,
    #[error("limit: must be from 1 to {LIMIT_MAX}")]
    Limit,
    #[error("paths: must be from 0 to {PATHS_MAX}")]
    Paths,
}

impl Question {
    /// Checks the bounds.
    ///
    /// # Errors
    /// The first one that is not kept.
    pub fn check(&self) -> Result<(), AttributionError> {
        if !DIMENSIONS.contains(&self.dimension) {
            return Err(AttributionError::Dimension);
        }
        if !(1..=LOOK_BACK_DAYS_MAX * 86_400_000_000).contains(&self.look_back) {
            return Err(AttributionError::LookBack);
        }
        if !(1..=LIMIT_MAX).contains(&self.limit) {
            return Err(AttributionError::Limit);
        }
        if self.paths > PATHS_MAX {
            return Err(AttributionError::Paths);
        }
        Ok(())
    }
}

/// Money in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Amount {
    /// ISO 4217; absent when the orders name none.
    pub currency: Option<String>,
    pub amount: Decimal,
}

/// All revenue in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Revenue {
    /// ISO 4217; absent when the orders name none.
    pub currency: Option<String>,
    pub amount: Decimal,
    /// Digits after the point in which it is shared out: those of the currency's minor unit, more where an order has
    /// more.
    pub decimals: u32,
}

/// What one model gives a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Credit {
    pub model: Model,
    /// Conversions, to the millionth. Those of all values add up to all conversions exactly.
    #[schema(example = "12.333334")]
    pub conversions: Decimal,
    /// Those of all values add up to all revenue exactly.
    pub revenue: Vec<Amount>,
}

/// A channel, or whatever the dimension is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ValueCredits {
    /// `null` for sessions without a value, and for all others together.
    pub value: Option<String>,
    /// Whether it stands for all values that have no line of their own.
    pub other: bool,
    /// Sessions of the period in question.
    pub sessions: u64,
    /// How often one of its sessions is a touch of a conversion.
    pub touches: u64,
    /// Conversions it has a touch of.
    pub conversions: u64,
    /// Conversions it has a touch of that is not the last one.
    pub assisted: u64,
    /// Share of conversions that would be missing without it. `null` below 30 converting people.
    pub removal_effect: Option<f64>,
    pub credits: Vec<Credit>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Step {
    pub value: Option<String>,
    pub other: bool,
}

/// A way that led to conversions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConversionPath {
    /// Values in the order of time, repeats of the same collapsed.
    pub steps: Vec<Step>,
    pub conversions: u64,
}

/// Who gets the credit.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Attribution {
    pub dimension: Dimension,
    pub conversions: u64,
    /// People who converted.
    pub people: u64,
    /// Conversions whose touches are all direct: nobody knows what brought them.
    pub direct_only: u64,
    pub revenue: Vec<Revenue>,
    /// Those with the most sessions first, all others together last.
    pub values: Vec<ValueCredits>,
    /// The most frequent first.
    pub paths: Vec<ConversionPath>,
}

/// Shares the conversions of a scope out.
pub fn attribute(view: &View, scope: &Scope, question: &Question) -> Attribution {
    let counted = Counted::new(view, scope);
    let values = Values::new(view, &counted, question);
    let found = Found::walk(view, &counted, &values, question);
    credit::share_out(view, &values, &found, question)
}
