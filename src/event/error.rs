//! Why a body or an event is refused, as stable codes.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// Why one event was refused. The codes are part of the API and of the drop ledger: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// The event is not a JSON object.
    NotAnObject,
    MissingEventType,
    InvalidEventType,
    /// Neither `device_id` nor `user_id`, and no cookieless mode to make one.
    MissingIdentity,
    /// A field holds a type or value that has no unambiguous reading.
    InvalidField,
    /// `custom_properties` and unknown fields together exceed 16 KiB.
    PropertiesTooLarge,
    /// `customer_attributes` exceeds 16 KiB.
    AttributesTooLarge,
    /// Older than the retention of events.
    TooOld,
    Bot,
    DoNotTrack,
    GlobalPrivacyControl,
}

/// The text is not the code of a [`RejectReason`].
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not a known reason for refusing an event")]
pub struct UnknownReason;

impl RejectReason {
    /// Every reason, in a fixed order.
    pub const ALL: [Self; 11] = [
        Self::NotAnObject,
        Self::MissingEventType,
        Self::InvalidEventType,
        Self::MissingIdentity,
        Self::InvalidField,
        Self::PropertiesTooLarge,
        Self::AttributesTooLarge,
        Self::TooOld,
        Self::Bot,
        Self::DoNotTrack,
        Self::GlobalPrivacyControl,
    ];

    /// Returns the stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAnObject => "not_an_object",
            Self::MissingEventType => "missing_event_type",
            Self::InvalidEventType => "invalid_event_type",
            Self::MissingIdentity => "missing_identity",
            Self::InvalidField => "invalid_field",
            Self::PropertiesTooLarge => "properties_too_large",
            Self::AttributesTooLarge => "attributes_too_large",
            Self::TooOld => "too_old",
            Self::Bot => "bot",
            Self::DoNotTrack => "do_not_track",
            Self::GlobalPrivacyControl => "global_privacy_control",
        }
    }
}

impl std::fmt::Display for RejectReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for RejectReason {
    type Err = UnknownReason;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == code)
            .ok_or(UnknownReason)
    }
}

/// A refused event: enough to answer the client and to keep in the ledger, nothing personal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejection {
    pub reason: RejectReason,
    /// The field at fault, where there is one.
    pub field: Option<String>,
    /// A sentence for the developer of the client. Never repeats a value of the event.
    pub detail: String,
    /// Type of event, field names, and type and length of each value; at most 1 KiB. `null` when the person
    /// asked not to be tracked.
    pub sample: Value,
}

/// Why a whole body was refused.
#[derive(Debug, Error)]
pub enum BodyError {
    #[error("the body is not valid UTF-8")]
    InvalidUtf8(#[source] std::str::Utf8Error),
    #[error("the body is not valid JSON")]
    InvalidJson(#[source] serde_json::Error),
    #[error("the body nests deeper than 127 levels")]
    NestingTooDeep,
    #[error("the body must be an event, an array of events, or an object with an array `events`")]
    NotEvents,
    #[error("the body holds no event")]
    EmptyBatch,
    #[error("the body holds {count} events, at most {max} are taken at once")]
    TooManyEvents { count: usize, max: usize },
}

impl BodyError {
    /// Returns the stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidUtf8(_) => "invalid_utf8",
            Self::InvalidJson(_) => "invalid_json",
            Self::NestingTooDeep => "nesting_too_deep",
            Self::NotEvents => "not_events",
            Self::EmptyBatch => "empty_batch",
            Self::TooManyEvents { .. } => "too_many_events",
        }
    }
}

/// A refusal on its way up, before the sample is drawn.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub reason: RejectReason,
    pub field: Option<String>,
    pub detail: String,
}

impl Refusal {
    pub fn new(reason: RejectReason, detail: &str) -> Self {
        Self {
            reason,
            field: None,
            detail: detail.to_owned(),
        }
    }

    pub fn of_field(reason: RejectReason, field: &str, detail: &str) -> Self {
        Self {
            field: Some(field.to_owned()),
            ..Self::new(reason, detail)
        }
    }

    pub fn invalid(field: &str, detail: &str) -> Self {
        Self::of_field(RejectReason::InvalidField, field, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_equals_its_serialised_form() {
        for reason in RejectReason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            assert_eq!(
                serde_json::from_value::<RejectReason>(reason.as_str().into()).unwrap(),
                reason
            );
        }
        assert_eq!("no_such_reason".parse::<RejectReason>(), Err(UnknownReason));
    }
}
