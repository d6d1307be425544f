//! What a funnel is, as it is written and kept. [`super::validation`] says whether it makes sense.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{analysis::dimension::Dimension, store::event_conditions::Comparison};

/// Window when none is said: 14 days, longer than most purchases are thought over.
pub const WINDOW_SECONDS_DEFAULT: i64 = 14 * 24 * 60 * 60;

/// How steps must follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// One after the other; anything may happen between.
    #[default]
    Ordered,
    /// One after the other with no other event between, automatic ones such as scrolling included.
    Strict,
    /// In any order.
    Unordered,
}

/// Whose chains are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CountBy {
    /// A person counts once, over all sessions and devices.
    #[default]
    Person,
    /// Each session counts; a chain lives within one.
    Session,
}

/// A funnel as it is written.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "steps": [
        {"number": 1, "name": "Cart", "event_type": "add_to_cart"},
        {"number": 2, "name": "Checkout", "event_type": "checkout_start"},
        {"number": 3, "name": "Purchase", "event_type": "purchase",
         "where": [{"property": "order_total", "op": "gte", "value": 50}]}
    ],
    "window_seconds": 1_209_600
}))]
pub struct FunnelDefinition {
    /// 2 to 20 steps, numbered from 1 without gaps.
    #[schema(min_items = 2, max_items = 20)]
    pub steps: Vec<StepIn>,
    /// From the entry to the last step, inclusive: 1 second to 365 days.
    #[serde(default = "default_window_seconds")]
    #[schema(minimum = 1, maximum = 31_536_000, default = 1_209_600)]
    pub window_seconds: i64,
    #[serde(default)]
    pub order: Order,
    #[serde(default)]
    pub count_by: CountBy,
    /// Events that remove somebody when they lie between the steps of the chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 10)]
    pub exclude: Vec<EventMatchIn>,
    /// Conditions on the session in which the funnel is entered; all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 20)]
    pub sessions: Vec<SessionConditionIn>,
}

fn default_window_seconds() -> i64 {
    WINDOW_SECONDS_DEFAULT
}

/// A step: an event type, a page, or both.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StepIn {
    /// From 1 on, without gaps.
    #[schema(minimum = 1, maximum = 20)]
    pub number: i64,
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "page_view")]
    pub event_type: Option<String>,
    /// `*` stands for any text. A pattern that begins with `/` or `*` is one of paths, any other one of host and path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/product/*")]
    pub page: Option<String>,
    /// Conditions on the event; all must hold.
    #[serde(default, rename = "where", skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 10)]
    pub conditions: Vec<EventConditionIn>,
    /// Whether the step may be left out. Not the first, not the last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Seconds between this step and the next one at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub min_seconds: Option<i64>,
    /// Seconds between this step and the next one at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub max_seconds: Option<i64>,
}

/// Which events are meant: an event type, a page, or both.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventMatchIn {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "remove_from_cart")]
    pub event_type: Option<String>,
    /// As in a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    #[serde(default, rename = "where", skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 10)]
    pub conditions: Vec<EventConditionIn>,
}

/// A condition on a property of an event.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventConditionIn {
    /// A field of the event, or `properties.` and the name of a custom property.
    #[schema(example = "order_total")]
    pub property: String,
    pub op: Comparison,
    /// A text, a number, true or false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 50)]
    pub value: Option<Value>,
}

/// A condition on a session, its dimension still to be checked.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionConditionIn {
    #[schema(value_type = Dimension)]
    pub dimension: String,
    /// Any of these; `null` stands for sessions without a value. In texts `*` stands for any text.
    #[serde(rename = "in")]
    #[schema(min_items = 1, max_items = 100, example = json!(["mobile", "tablet"]))]
    pub values: Vec<Option<String>>,
    /// The condition holds where the value is none of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}
