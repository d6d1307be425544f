//! What a segment asks of a person.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    analysis::scope::SessionCondition,
    store::segment_match::{NumberColumn, TextColumn, TimeColumn},
};

/// A rule about a person, or several of them put together.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(no_recursion, example = json!({"all": [
    {"text": {"column": "country", "in": ["AT", "DE"]}},
    {"did": {"event": "add_to_cart", "at_least": 1, "within_days": 30}},
    {"not": {"did": {"event": "purchase", "within_days": 30}}}
]}))]
pub(crate) enum Rule {
    /// Every rule holds.
    All(Vec<Rule>),
    /// At least one rule holds.
    Any(Vec<Rule>),
    /// The rule does not hold.
    Not(Box<Rule>),
    Text(TextRule),
    Number(NumberRule),
    Revenue(RevenueRule),
    Time(TimeRule),
    /// Whether the person ever identified.
    Identified(bool),
    Attribute(AttributeRule),
    Did(DidRule),
    Visited(VisitedRule),
}

/// A text the store knows of the customer is among these.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TextRule {
    pub(crate) column: TextColumn,
    /// Any of these; `*` stands for any text, `null` for customers without a value.
    #[serde(rename = "in")]
    pub(crate) values: Vec<Option<String>>,
}

/// A number the store knows of the customer lies within bounds, both included; at least one of them.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NumberRule {
    pub(crate) column: NumberColumn,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "3")]
    pub(crate) at_least: Option<Decimal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10")]
    pub(crate) at_most: Option<Decimal>,
}

/// The revenue with the customer in one currency lies within bounds, both included; none is 0.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevenueRule {
    /// ISO 4217; empty for sales without one.
    #[schema(example = "EUR")]
    pub(crate) currency: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "100.00")]
    pub(crate) at_least: Option<Decimal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) at_most: Option<Decimal>,
}

/// A time the store knows of the customer lies in a period: `within_days`, or `from` and `to`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimeRule {
    pub(crate) column: TimeColumn,
    /// Not longer ago than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3650)]
    pub(crate) within_days: Option<u32>,
    /// Inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<DateTime<Utc>>,
    /// Exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<DateTime<Utc>>,
}

/// The current value of an attribute: `in`, or bounds for one that is a JSON number.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AttributeRule {
    #[schema(example = "plan")]
    pub(crate) name: String,
    /// Any of these, compared as text; `*` stands for any text, `null` for customers without the attribute.
    #[serde(rename = "in", default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["pro"]))]
    pub(crate) values: Vec<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) at_least: Option<Decimal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) at_most: Option<Decimal>,
}

/// How often the person did something: events of a type, on pages, in sessions that meet the conditions.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DidRule {
    /// Any event when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "purchase")]
    pub(crate) event: Option<String>,
    /// `*` stands for any text. A pattern that begins with `/` is of the path, any other of host and path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/pricing*")]
    pub(crate) page: Option<String>,
    /// All must hold for the session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sessions: Vec<SessionCondition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_least: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<u32>,
    /// Events not older than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3650)]
    pub(crate) within_days: Option<u32>,
    /// Inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<DateTime<Utc>>,
    /// Exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<DateTime<Utc>>,
}

/// How many sessions the person had that meet the conditions.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VisitedRule {
    /// All must hold for the session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sessions: Vec<SessionCondition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_least: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<u32>,
    /// Sessions that did not begin longer ago than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3650)]
    pub(crate) within_days: Option<u32>,
    /// Inclusive; of the begin of the session, as is `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<DateTime<Utc>>,
    /// Exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<DateTime<Utc>>,
}

/// When something has to have happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) within_days: Option<u32>,
    pub(super) from: Option<DateTime<Utc>>,
    pub(super) to: Option<DateTime<Utc>>,
}

impl Window {
    /// Returns its begin (inclusive) and end (exclusive) as of `now`.
    ///
    /// The end of `within_days` stays open, so that an event of this very moment lies within.
    pub(super) fn at(self, now: DateTime<Utc>) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        match self.within_days {
            Some(days) => (Some(now - TimeDelta::days(i64::from(days))), None),
            None => (self.from, self.to),
        }
    }
}

/// How often something has to have happened, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) at_least: u32,
    pub(super) at_most: u32,
}

impl Times {
    /// Without any bound it is "at least once"; with an upper one alone, never is often enough.
    pub(super) fn new(at_least: Option<u32>, at_most: Option<u32>) -> Self {
        Self {
            at_least: at_least.unwrap_or(u32::from(at_most.is_none())),
            at_most: at_most.unwrap_or(u32::MAX),
        }
    }

    pub(super) fn admits(self, count: u32) -> bool {
        (self.at_least..=self.at_most).contains(&count)
    }
}

macro_rules! windows {
    ($($rule:ty),*) => {$(
        impl $rule {
            pub(super) fn window(&self) -> Window {
                Window {
                    within_days: self.within_days,
                    from: self.from,
                    to: self.to,
                }
            }
        }
    )*};
}

windows!(TimeRule, DidRule, VisitedRule);

impl Rule {
    /// Returns the rules inside of this one; none for a rule that asks by itself.
    pub(super) fn inner(&self) -> &[Self] {
        match self {
            Self::All(rules) | Self::Any(rules) => rules,
            Self::Not(rule) => std::slice::from_ref(rule),
            _ => &[],
        }
    }

    /// Changes each attribute value that a rule compares with.
    pub(crate) fn change_attribute_values(&mut self, change: &dyn Fn(String) -> String) {
        match self {
            Self::All(rules) | Self::Any(rules) => {
                rules
                    .iter_mut()
                    .for_each(|rule| rule.change_attribute_values(change));
            }
            Self::Not(rule) => rule.change_attribute_values(change),
            Self::Attribute(rule) => {
                for value in rule.values.iter_mut().flatten() {
                    *value = change(std::mem::take(value));
                }
            }
            _ => {}
        }
    }
}
