//! One session, event by event.
//!
//! Everything a later event can change is held exactly: counts and milliseconds as integers, money as
//! decimals. Only [`SessionFold::into_row`] divides, so a session that was stored and read back between two
//! events ends as the same row.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;

use super::channel;
use super::model::{Rules, Session, SessionEvent, plain_zero};
use super::score::{self, Activity, Ending};
use super::source::{Arrival, arrival_of, present};

/// Most pages a session lists; later ones still move its exit page.
pub(crate) const PAGES_MAX: usize = 200;
/// Most orders a session lists; later ones still count.
pub(crate) const ORDERS_MAX: usize = 50;
/// Most orders beyond the listed ones that are known again when they repeat: a bound on the stored state,
/// far above what one person orders in a day. Beyond it each purchase counts as an order of its own.
pub(crate) const ORDERS_KNOWN_MAX: usize = 1000;
/// Most event types a session counts one by one; a client that makes up more has them counted as `other`.
pub(crate) const TYPES_MAX: usize = 200;
/// Longest visible time one `page_leave` can add: 24 hours, the longest a session lasts by default.
const VISIBLE_SECONDS_MAX: f64 = 86_400.0;
/// A trouble may have caused the end when it is among the last events of the session …
const TROUBLE_EVENTS: i32 = 5;
/// … or when it came at most this long before its end: 60 s, in microseconds.
const TROUBLE_MICROSECONDS: i64 = 60_000_000;
/// Form of the stored state. Raise it whenever the meaning of a field or a formula changes.
const STATE_VERSION: u32 = 1;

/// A stored session cannot be extended; derive its device from the events instead.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the stored state of session {session} cannot be read")]
    Unreadable {
        session: Uuid,
        #[source]
        source: serde_json::Error,
    },
    #[error("the stored state of session {session} has version {found}, this release writes {STATE_VERSION}")]
    Version { session: Uuid, found: u32 },
}

/// What the fold must remember beside the columns of the row: integers and texts only, which jsonb keeps
/// exactly.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    version: u32,
    visible_ms: i64,
    interactions: i64,
    scroll: Scroll,
    error: Option<Trouble>,
    form_error: Option<Trouble>,
    rage_click: Option<Trouble>,
    cart_open: bool,
    checkout_open: bool,
    /// Fingerprints of the orders that the row does not list.
    more_orders: Vec<i64>,
}

/// Scroll depths by visit. A visit lasts while events name the same page, or none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Scroll {
    page: Option<String>,
    /// Deepest so far on this page.
    depth: Option<i64>,
    /// Over the visits before this one that reported a depth.
    sum: i64,
    pages: i64,
}

/// The last time something went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Trouble {
    /// Number of the event within the session, from 1.
    event: i32,
    /// Microseconds since 1970.
    at: i64,
}

/// A session that can take more events.
#[derive(Clone, Debug)]
pub(crate) struct SessionFold {
    row: Session,
    state: State,
}

impl SessionFold {
    /// Opens a session at its first event, which is still to be pushed.
    ///
    /// The customer is left open: it is the life's, and known for certain only in the end.
    pub fn start(device_id: &str, life: i32, id: Uuid, session_id: String, first: &SessionEvent) -> Self {
        let row = Session {
            id,
            session_id,
            client_session_id: None,
            device_id: device_id.to_owned(),
            life,
            customer_id: Uuid::nil(),
            user_id: None,
            started_at: first.timestamp,
            ended_at: first.timestamp,
            duration_seconds: 0.0,
            event_count: 0,
            page_views: 0,
            clicks: 0,
            rage_clicks: 0,
            dead_clicks: 0,
            form_errors: 0,
            errors: 0,
            searches: 0,
            event_counts: Json(BTreeMap::new()),
            pages: Vec::new(),
            entry_page: None,
            exit_page: None,
            source: channel::DIRECT_SOURCE.to_owned(),
            medium: None,
            campaign: None,
            channel: channel::DIRECT.to_owned(),
            referrer_host: None,
            device_type: UNKNOWN_DEVICE.to_owned(),
            browser: None,
            os: None,
            country: None,
            converted: false,
            conversion_value: Decimal::ZERO,
            currency: None,
            order_ids: Vec::new(),
            cart_value: None,
            abandoned: false,
            drop_off_page: None,
            drop_off_reason: None,
            mean_scroll_depth: None,
            visible_seconds: 0.0,
            engagement: 0,
            engaged: false,
            state: Json(serde_json::Value::Null),
        };
        let state = State {
            version: STATE_VERSION,
            ..State::default()
        };
        Self { row, state }
    }

    /// Takes up a stored session where it was left.
    ///
    /// # Errors
    /// [`StateError`] when another release wrote its state in a form this one does not extend.
    pub fn resume(row: Session) -> Result<Self, StateError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let session = row.id;
        let unreadable = |source| StateError::Unreadable { session, source };
        let Version { version: found } = Version::deserialize(&row.state.0).map_err(unreadable)?;
        if found != STATE_VERSION {
            return Err(StateError::Version { session, found });
        }
        let state = State::deserialize(&row.state.0).map_err(unreadable)?;
        Ok(Self { row, state })
    }

    /// Whether an event at this time still belongs to the session.
    pub fn covers(&self, timestamp: DateTime<Utc>, rules: &Rules) -> bool {
        timestamp - self.row.ended_at <= rules.inactivity
            && timestamp - self.row.started_at < rules.length_max
    }

    /// Takes the next event.
    pub fn push(&mut self, event: &SessionEvent, rules: &Rules) {
        self.count(event);
        self.note_arrival(event, rules);
        self.note_page(event);
        self.note_commerce(event);
        self.describe(event);
    }

    fn count(&mut self, event: &SessionEvent) {
        let row = &mut self.row;
        row.ended_at = event.timestamp;
        row.event_count += 1;
        let counts = &mut row.event_counts.0;
        let listed = counts.contains_key(&event.event_type) || counts.len() < TYPES_MAX;
        let counted = if listed {
            event.event_type.as_str()
        } else {
            "other"
        };
        *counts.entry(counted.to_owned()).or_default() += 1;

        let trouble = Trouble {
            event: row.event_count,
            at: event.timestamp.timestamp_micros(),
        };
        match event.event_type.as_str() {
            "page_view" => row.page_views += 1,
            "click" => row.clicks += 1,
            "dead_click" => row.dead_clicks += 1,
            "search" => row.searches += 1,
            "rage_click" => {
                row.rage_clicks += 1;
                self.state.rage_click = Some(trouble);
            }
            "form_error" => {
                row.form_errors += 1;
                self.state.form_error = Some(trouble);
            }
            "error" => {
                row.errors += 1;
                self.state.error = Some(trouble);
            }
            _ => {}
        }
        self.state.interactions += i64::from(score::is_interaction(&event.event_type));
    }

    /// Takes the source from the first page view, or from the first event if the page view carries none.
    ///
    /// Later events never change it: a session does not split at a campaign change, and keeps the source
    /// that began it.
    fn note_arrival(&mut self, event: &SessionEvent, rules: &Rules) {
        let row = &mut self.row;
        let is_first_page_view = event.event_type == "page_view" && row.page_views == 1;
        if row.event_count > 1 && !is_first_page_view {
            return;
        }
        let Some(arrival) = arrival_of(event, rules) else {
            return;
        };
        row.channel = arrival.channel().to_owned();
        Arrival {
            source: row.source,
            medium: row.medium,
            campaign: row.campaign,
            referrer_host: row.referrer_host,
        } = arrival;
    }

    fn note_page(&mut self, event: &SessionEvent) {
        self.state.scroll.push(event);
        let page = event
            .page_path
            .as_ref()
            .filter(|_| event.event_type == "page_view");
        if let Some(page) = page
            && self.row.exit_page.as_ref() != Some(page)
        {
            let row = &mut self.row;
            row.entry_page.get_or_insert_with(|| page.clone());
            row.exit_page = Some(page.clone());
            if row.pages.len() < PAGES_MAX {
                row.pages.push(page.clone());
            }
        }
        if event.event_type == "page_leave" {
            let seconds = event.time_on_page_seconds.unwrap_or(0.0);
            // Not a number and negative times end as zero.
            self.state.visible_ms += (seconds.clamp(0.0, VISIBLE_SECONDS_MAX) * 1000.0).round() as i64;
        }
    }

    fn note_commerce(&mut self, event: &SessionEvent) {
        match event.event_type.as_str() {
            "add_to_cart" => self.state.cart_open = true,
            "checkout_start" => self.state.checkout_open = true,
            "remove_from_cart" => {}
            "purchase" => return self.purchase(event),
            _ => return,
        }
        self.row.cart_value = event.cart_total.or(self.row.cart_value);
    }

    /// Adds an order once, however often it is reported. The first report that names a currency sets the
    /// session's; orders in another one are listed but not added, since a sum over currencies means nothing.
    fn purchase(&mut self, event: &SessionEvent) {
        self.row.converted = true;
        self.state.cart_open = false;
        self.state.checkout_open = false;
        if self.row.currency.is_none() {
            self.row.currency.clone_from(&event.currency);
        }
        if let Some(order_id) = present(&event.order_id)
            && !self.learn_order(order_id)
        {
            return;
        }
        let foreign = event.currency.is_some() && event.currency != self.row.currency;
        if let Some(total) = event.order_total.filter(|_| !foreign) {
            self.row.conversion_value = plain_zero(self.row.conversion_value.saturating_add(total));
        }
    }

    /// Remembers an order; false when it was known already.
    fn learn_order(&mut self, order_id: &str) -> bool {
        let order_ids = &mut self.row.order_ids;
        if order_ids.iter().any(|known| known == order_id) {
            return false;
        }
        if order_ids.len() < ORDERS_MAX {
            order_ids.push(order_id.to_owned());
            return true;
        }
        let fingerprint = fingerprint(order_id);
        if self.state.more_orders.contains(&fingerprint) {
            return false;
        }
        if self.state.more_orders.len() < ORDERS_KNOWN_MAX {
            self.state.more_orders.push(fingerprint);
        }
        true
    }

    fn describe(&mut self, event: &SessionEvent) {
        let row = &mut self.row;
        if row.client_session_id.is_none() {
            row.client_session_id = present(&event.session_id).map(str::to_owned);
        }
        if row.device_type == UNKNOWN_DEVICE && !event.device_type.is_empty() {
            row.device_type.clone_from(&event.device_type);
        }
        for (known, seen) in [
            (&mut row.browser, &event.browser),
            (&mut row.os, &event.os),
            (&mut row.country, &event.country),
        ] {
            if known.is_none() {
                known.clone_from(seen);
            }
        }
    }

    /// Closes the books: everything that is computed from the rest.
    pub fn into_row(self) -> Session {
        let Self { mut row, state } = self;
        let (scroll_sum, scroll_pages) = state.scroll.total();
        let activity = Activity {
            visible_ms: state.visible_ms,
            page_views: i64::from(row.page_views),
            interactions: state.interactions,
            scroll_sum,
            scroll_pages,
            converted: row.converted,
        };
        row.engaged = score::is_engaged(&activity);
        row.engagement = score::engagement(&activity);
        let ending = Ending {
            error: is_recent(&state.error, &row),
            form_error: is_recent(&state.form_error, &row),
            rage_click: is_recent(&state.rage_click, &row),
            checkout_open: state.checkout_open,
            cart_open: state.cart_open,
            engaged: row.engaged,
        };
        row.abandoned = ending.abandoned();
        row.drop_off_reason = ending.drop_off_reason().map(str::to_owned);
        row.drop_off_page = row.exit_page.clone().filter(|_| row.drop_off_reason.is_some());
        row.duration_seconds = (row.ended_at - row.started_at)
            .num_microseconds()
            .unwrap_or(i64::MAX) as f64
            / 1e6;
        row.visible_seconds = state.visible_ms as f64 / 1000.0;
        row.mean_scroll_depth = (scroll_pages > 0).then(|| scroll_sum as f64 / scroll_pages as f64);
        row.state = Json(serde_json::to_value(state).expect("a state of integers and texts is JSON"));
        row
    }
}

/// The device type of an event that does not tell.
const UNKNOWN_DEVICE: &str = "unknown";

/// Whether a trouble came shortly before the end of the session.
fn is_recent(trouble: &Option<Trouble>, row: &Session) -> bool {
    trouble.as_ref().is_some_and(|trouble| {
        row.event_count - trouble.event < TROUBLE_EVENTS
            || row.ended_at.timestamp_micros() - trouble.at <= TROUBLE_MICROSECONDS
    })
}

/// Returns 64 bits that stand for an order in the stored state.
fn fingerprint(order_id: &str) -> i64 {
    let digest = Sha256::digest(order_id.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(bytes)
}

impl Scroll {
    fn push(&mut self, event: &SessionEvent) {
        if event.page_path.is_some() && event.page_path != self.page {
            (self.sum, self.pages) = self.total();
            self.page.clone_from(&event.page_path);
            self.depth = None;
        }
        let depth = event.scroll_depth.map(|depth| i64::from(depth.clamp(0, 100)));
        self.depth = self.depth.max(depth);
    }

    /// Returns the sum of depths and the number of visits, the current one included.
    fn total(&self) -> (i64, i64) {
        (
            self.sum + self.depth.unwrap_or(0),
            self.pages + i64::from(self.depth.is_some()),
        )
    }
}
