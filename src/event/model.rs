//! The event as the service keeps it: parsed once, trusted afterwards.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One accepted event, normalised and pseudonymised.
///
/// This is also what the queue carries, so fields may be added (with a default) but never renamed or
/// given another meaning: a new release reads what the old one left on the stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// The client's id, or a UUIDv7 made on arrival. At most 64 characters. Unique over all events.
    pub event_id: String,
    /// 1 to 64 characters of `a-z 0-9 _ . : -`.
    pub event_type: String,
    /// When it happened, by the server's clock; fixed before the queue and never changed afterwards.
    pub timestamp: DateTime<Utc>,
    /// When it happened, by the client's own clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_timestamp: Option<DateTime<Utc>>,
    /// When the request that brought it arrived.
    pub received_at: DateTime<Utc>,
    /// Per-client counter; orders events of equal `timestamp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    /// The device, or `user:<user_id>` for a server-side event that names only a user.
    pub device_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The session the client believes it is in; `session/` decides which one it really is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Database id of the API key that brought the event.
    pub key_id: i32,

    /// Full address with the query reduced to what privacy allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_url: Option<String>,
    /// Host of `page_url`, lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_host: Option<String>,
    /// Path of `page_url`, without query and fragment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referrer: Option<String>,
    /// Host of `referrer`, lower case, without `www.`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referrer_host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utm_source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utm_medium: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utm_campaign: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utm_term: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utm_content: Option<String>,
    /// Which click id the address carried (`gclid`, `fbclid`, …); its value is never kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub click_id: Option<String>,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub element_selector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub element_text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub element_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub element_classes: Option<String>,
    /// Pixels from the left edge of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x: Option<i32>,
    /// Pixels from the top edge of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y: Option<i32>,
    /// Percent of the page, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scroll_depth: Option<i16>,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub form_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form_field_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form_field_type: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub form_validation_errors: Vec<String>,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_price: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cart_total: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_total: Option<Decimal>,
    /// ISO 4217, three upper-case letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_query: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_results_count: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_stack: Option<String>,

    /// `desktop`, `mobile`, `tablet` or `unknown`.
    pub device_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// ISO 3166-1 alpha-2, from the configured database; the address itself is not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// HMAC-SHA256 of the client address in hexadecimal, when the privacy settings keep it at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screen_width: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screen_height: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewport_width: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewport_height: Option<i32>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_load_time_ms: Option<i32>,
    /// Seconds the page was visible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_on_page_seconds: Option<f64>,

    /// `custom_properties` plus every field this release does not know.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub properties: Map<String, Value>,
    /// `customer_attributes`: facts about the person, kept apart from the event.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
    /// Names of the fields whose text was cut at its limit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub truncated: Vec<String>,
}
