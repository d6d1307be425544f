//! What the derivation reads and what it makes.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::event::Event;

/// The total order of one device's events: time, then the client's counter, then the id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    pub timestamp: DateTime<Utc>,
    /// An absent counter sorts first.
    pub seq: Option<i64>,
    pub event_id: String,
}

/// Where a session ends, and what counts as a source. Built once from the configuration.
#[derive(Clone, Debug)]
pub struct Rules {
    /// A gap longer than this ends a session; exactly this long does not.
    pub inactivity: TimeDelta,
    /// An event this long after the session's first one starts another.
    pub length_max: TimeDelta,
    /// Hosts of the site itself (also their subdomains): no source.
    pub own_hosts: Vec<String>,
    /// Payment and login hosts (also their subdomains): no source.
    pub pass_through_hosts: Vec<String>,
}

/// The part of an event that sessions are made of. Column names are those of the table `events`.
#[derive(Clone, Debug, Default, PartialEq, sqlx::FromRow)]
pub struct SessionEvent {
    pub timestamp: DateTime<Utc>,
    pub seq: Option<i64>,
    pub event_id: String,
    pub event_type: String,
    /// `None` also when the claim was taken back by an unmerge.
    pub user_id: Option<String>,
    pub session_id: Option<String>,
    pub page_host: Option<String>,
    pub page_path: Option<String>,
    pub referrer_host: Option<String>,
    pub utm_source: Option<String>,
    pub utm_medium: Option<String>,
    pub utm_campaign: Option<String>,
    pub click_id: Option<String>,
    pub scroll_depth: Option<i16>,
    pub time_on_page_seconds: Option<f64>,
    pub cart_total: Option<Decimal>,
    pub order_id: Option<String>,
    pub order_total: Option<Decimal>,
    pub currency: Option<String>,
    pub error_message: Option<String>,
    pub device_type: String,
    pub browser: Option<String>,
    pub os: Option<String>,
    pub country: Option<String>,
}

impl SessionEvent {
    /// Returns the event's place among the events of its device.
    pub fn order_key(&self) -> OrderKey {
        OrderKey {
            timestamp: self.timestamp,
            seq: self.seq,
            event_id: self.event_id.clone(),
        }
    }
}

/// A stretch of one device's events that belongs to one person.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Life {
    /// 0 for the device's first.
    pub life: i32,
    pub started_at: DateTime<Utc>,
    pub start_seq: Option<i64>,
    /// Id of the event that starts it.
    pub start_event: String,
    pub user_id: Option<String>,
    pub customer_id: Uuid,
}

/// One session: a row of the table `sessions`, whose comments explain each field.
#[derive(Clone, Debug, PartialEq, serde::Serialize, sqlx::FromRow)]
pub struct Session {
    pub id: Uuid,
    pub session_id: String,
    pub client_session_id: Option<String>,
    pub device_id: String,
    pub life: i32,
    pub customer_id: Uuid,
    pub user_id: Option<String>,
    pub started_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    pub duration_seconds: f64,
    pub event_count: i32,
    pub page_views: i32,
    pub clicks: i32,
    pub rage_clicks: i32,
    pub dead_clicks: i32,
    pub form_errors: i32,
    pub errors: i32,
    pub searches: i32,
    pub event_counts: Json<std::collections::BTreeMap<String, i64>>,
    pub pages: Vec<String>,
    pub entry_page: Option<String>,
    pub exit_page: Option<String>,
    pub source: String,
    pub medium: Option<String>,
    pub campaign: Option<String>,
    pub channel: String,
    pub referrer_host: Option<String>,
    pub device_type: String,
    pub browser: Option<String>,
    pub os: Option<String>,
    pub country: Option<String>,
    pub converted: bool,
    pub conversion_value: Decimal,
    pub currency: Option<String>,
    pub order_ids: Vec<String>,
    pub cart_value: Option<Decimal>,
    pub abandoned: bool,
    pub drop_off_page: Option<String>,
    pub drop_off_reason: Option<String>,
    pub mean_scroll_depth: Option<f64>,
    pub visible_seconds: f64,
    pub engagement: i16,
    pub engaged: bool,
    /// Fold state that the other fields do not hold.
    pub state: Json<Value>,
}

impl From<&Event> for SessionEvent {
    fn from(event: &Event) -> Self {
        Self {
            timestamp: event.timestamp,
            seq: event.seq,
            event_id: event.event_id.clone(),
            event_type: event.event_type.clone(),
            user_id: event.user_id.clone(),
            session_id: event.session_id.clone(),
            page_host: event.page_host.clone(),
            page_path: event.page_path.clone(),
            referrer_host: event.referrer_host.clone(),
            utm_source: event.utm_source.clone(),
            utm_medium: event.utm_medium.clone(),
            utm_campaign: event.utm_campaign.clone(),
            click_id: event.click_id.clone(),
            scroll_depth: event.scroll_depth,
            time_on_page_seconds: event.time_on_page_seconds,
            cart_total: event.cart_total.map(plain_zero),
            order_id: event.order_id.clone(),
            order_total: event.order_total.map(plain_zero),
            currency: event.currency.clone(),
            error_message: event.error_message.clone(),
            device_type: event.device_type.clone(),
            browser: event.browser.clone(),
            os: event.os.clone(),
            country: event.country.clone(),
        }
    }
}

/// Writes zero as `0`, however many decimals it has: that is how it comes back from the database, and an
/// amount must read the same whether its event was just received or read again.
pub(crate) fn plain_zero(amount: Decimal) -> Decimal {
    if amount.is_zero() { Decimal::ZERO } else { amount }
}
