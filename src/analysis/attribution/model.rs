//! The models that look at one conversion at a time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::touch::Touch;
use crate::index::Micros;

/// Age at which a touch weighs half, for [`Model::TimeDecay`]: 7 days.
const HALF_LIFE: f64 = 7.0 * 86_400e6;

/// What a touch at the time of the conversion weighs in [`Model::TimeDecay`]: as many steps as a float tells apart. A
/// year is 52.1 half-lives, so that even the oldest touch that a look-back allows weighs something.
const DECAY_UNIT: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;

/// Who gets the credit for a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// The first touch.
    First,
    /// The last touch.
    Last,
    /// The last touch that is not direct; the last one when all are.
    LastNonDirect,
    /// All touches alike.
    Linear,
    /// The later, the more: half as much for every 7 days before the conversion.
    TimeDecay,
    /// 40 % the first, 40 % the last, 20 % those between them; half each of two.
    Position,
    /// Each value by how many conversions would be missing without it (Markov chain of order 1).
    DataDriven,
}

/// Every model.
pub const MODELS: [Model; 7] = [
    Model::First,
    Model::Last,
    Model::LastNonDirect,
    Model::Linear,
    Model::TimeDecay,
    Model::Position,
    Model::DataDriven,
];

impl Model {
    /// Writes what each touch of a conversion weighs; there is at least one.
    ///
    /// [`Model::DataDriven`] does not look at single conversions: to it all touches are alike.
    pub(super) fn weigh(self, touches: &[Touch], time: Micros, into: &mut Vec<u64>) {
        into.clear();
        into.resize(touches.len(), 0);
        let last = touches.len() - 1;
        match self {
            Self::First => into[0] = 1,
            Self::Last => into[last] = 1,
            Self::LastNonDirect => {
                let found = touches.iter().rposition(|touch| !touch.is_direct);
                into[found.unwrap_or(last)] = 1;
            }
            Self::Linear | Self::DataDriven => into.fill(1),
            Self::TimeDecay => {
                for (weight, touch) in into.iter_mut().zip(touches) {
                    let age = (time - touch.start).max(0) as f64;
                    *weight = (DECAY_UNIT * (-age / HALF_LIFE).exp2()).round() as u64;
                }
            }
            Self::Position if last < 2 => into.fill(1),
            // Between them lie n: 2n + n + 2n are 40, 20 and 40 percent of 5n.
            Self::Position => {
                let between = touches.len() as u64 - 2;
                into.fill(1);
                into[0] = 2 * between;
                into[last] = 2 * between;
            }
        }
    }
}
