//! From the fields of a raw event to the typed fields of an [`Event`].

use serde_json::Value;

use super::address::{Address, Campaign, Reducer, click_id};
use super::field::{self, Fraction, Read};
use super::model::Event;
use super::names::is_field;
use super::privacy::Cleaner;
use super::time;

/// Longest ids, in characters. They are refused beyond it: a cut id would be another id.
const EVENT_ID_MAX: usize = 64;
const ID_MAX: usize = 128;
/// Longest texts, in characters. They are cut beyond it.
const ADDRESS_MAX: usize = 2048;
const TITLE_MAX: usize = 512;
const SELECTOR_MAX: usize = 512;
const TEXT_MAX: usize = 256;
const NAME_MAX: usize = 128;
const MESSAGE_MAX: usize = 1024;
const STACK_MAX: usize = 8192;

/// Pixels of a screen, a window or a page, beyond any real one.
const PIXELS_MAX: i32 = 1_000_000;
/// Seconds on one page, a year and a half: beyond it a sum is worth nothing.
const PAGE_SECONDS_MAX: f64 = 5e7;

/// Marks a device that the service made from a user id; no client may claim one.
pub(crate) const USER_DEVICE_PREFIX: &str = "user:";

/// An event being read.
pub(crate) struct Draft<'a> {
    pub event: Event,
    pub cleaner: Cleaner<'a>,
    pub reducer: Reducer<'a>,
    /// What the address says; the event's own fields come before it.
    pub campaign: Campaign,
    /// Whether a text over its limit is an error rather than cut.
    pub refuse_long: bool,
}

impl Draft<'_> {
    /// Reads one field; `false` when the service does not know it.
    ///
    /// # Errors
    /// A sentence that says what the field must be.
    pub fn read(&mut self, name: &str, value: &Value) -> Result<bool, &'static str> {
        if !is_field(name) {
            return Ok(self.note_click_id(name, value));
        }
        Ok(self.read_identity(name, value)?
            || self.read_page(name, value)?
            || self.read_interaction(name, value)?
            || self.read_commerce(name, value)?
            || self.read_device(name, value)?)
    }

    fn read_identity(&mut self, name: &str, value: &Value) -> Result<bool, &'static str> {
        match name {
            // Read before everything else, see `judge`.
            "event_type" | "user_agent" | "custom_properties" | "customer_attributes" => {}
            "event_id" => self.event.event_id = self.id(value, EVENT_ID_MAX)?.unwrap_or_default(),
            "device_id" => self.event.device_id = self.device_id(value)?.unwrap_or_default(),
            "user_id" => self.event.user_id = self.id(value, ID_MAX)?,
            "session_id" => self.event.session_id = self.id(value, ID_MAX)?,
            "timestamp" => self.event.client_timestamp = time::read_time(value)?,
            "seq" => self.event.seq = field::whole(value, Fraction::Refused, i64::MIN..=i64::MAX)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read_page(&mut self, name: &str, value: &Value) -> Result<bool, &'static str> {
        match name {
            "page_url" => self.read_page_url(value)?,
            "page_title" => self.event.page_title = self.text(name, value, TITLE_MAX)?,
            "referrer" => self.read_referrer(value)?,
            "utm_source" => self.event.utm_source = self.text(name, value, TEXT_MAX)?,
            "utm_medium" => self.event.utm_medium = self.text(name, value, TEXT_MAX)?,
            "utm_campaign" => self.event.utm_campaign = self.text(name, value, TEXT_MAX)?,
            "utm_term" => self.event.utm_term = self.text(name, value, TEXT_MAX)?,
            "utm_content" => self.event.utm_content = self.text(name, value, TEXT_MAX)?,
            "click_id" => self.event.click_id = read_click_id(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read_interaction(&mut self, name: &str, value: &Value) -> Result<bool, &'static str> {
        match name {
            "element_selector" => self.event.element_selector = self.text(name, value, SELECTOR_MAX)?,
            "element_text" => self.event.element_text = self.text(name, value, TEXT_MAX)?,
            "element_id" => self.event.element_id = self.text(name, value, NAME_MAX)?,
            "element_classes" => self.event.element_classes = self.classes(value)?,
            "coordinates" => {
                let range = -PIXELS_MAX..=PIXELS_MAX;
                (self.event.x, self.event.y) = field::pair(value, ["x", "y"], range)?.unzip();
            }
            "scroll_depth" => self.event.scroll_depth = field::whole(value, Fraction::Rounded, 0..=100)?,
            "form_id" => self.event.form_id = self.id(value, ID_MAX)?,
            "form_field_name" => self.event.form_field_name = self.text(name, value, NAME_MAX)?,
            "form_field_type" => self.event.form_field_type = self.text(name, value, NAME_MAX)?,
            "form_validation_errors" => self.read_form_errors(value)?,
            "search_query" => self.event.search_query = self.text(name, value, TEXT_MAX)?,
            "search_results_count" => self.event.search_results_count = count(value)?,
            "error_message" => self.event.error_message = self.text(name, value, MESSAGE_MAX)?,
            "error_stack" => self.event.error_stack = self.text(name, value, STACK_MAX)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read_commerce(&mut self, name: &str, value: &Value) -> Result<bool, &'static str> {
        match name {
            "product_id" => self.event.product_id = self.id(value, ID_MAX)?,
            "product_name" => self.event.product_name = self.text(name, value, TEXT_MAX)?,
            "product_category" => self.event.product_category = self.text(name, value, TEXT_MAX)?,
            "product_price" => self.event.product_price = field::amount(value)?,
            "quantity" => self.event.quantity = count(value)?,
            "cart_total" => self.event.cart_total = field::amount(value)?,
            "order_id" => self.event.order_id = self.id(value, ID_MAX)?,
            "order_total" => self.event.order_total = field::amount(value)?,
            "currency" => self.event.currency = field::currency(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read_device(&mut self, name: &str, value: &Value) -> Result<bool, &'static str> {
        let pixels = 0..=PIXELS_MAX;
        let sides = ["width", "height"];
        match name {
            "device_type" => self.event.device_type = read_device_type(value)?.unwrap_or_default(),
            "screen_resolution" => {
                (self.event.screen_width, self.event.screen_height) =
                    field::pair(value, sides, pixels)?.unzip();
            }
            "viewport_size" => {
                (self.event.viewport_width, self.event.viewport_height) =
                    field::pair(value, sides, pixels)?.unzip();
            }
            "page_load_time_ms" => {
                self.event.page_load_time_ms = field::whole(value, Fraction::Rounded, 0..=i32::MAX)?;
            }
            "time_on_page_seconds" => {
                self.event.time_on_page_seconds = field::number(value, 0.0..=PAGE_SECONDS_MAX)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read_page_url(&mut self, value: &Value) -> Result<(), &'static str> {
        const NOT_PAGE: &str = "The address must be a full http or https address.";
        let Some(text) = field::text(value).map_err(|_| NOT_PAGE)? else {
            return Ok(());
        };
        let page = self.reducer.read_page(&text).ok_or(NOT_PAGE)?;
        let Address {
            url,
            host,
            path,
            campaign,
        } = page;
        self.event.page_url = Some(self.fit("page_url", url, ADDRESS_MAX)?);
        self.event.page_path = Some(self.fit("page_path", path, ADDRESS_MAX)?);
        self.event.page_host = Some(host);
        let noted = self.campaign.click_id.take();
        self.campaign = campaign;
        self.campaign.click_id = self.campaign.click_id.or(noted);
        Ok(())
    }

    /// A referrer comes from other sites and is often odd: what cannot be read is dropped.
    fn read_referrer(&mut self, value: &Value) -> Result<(), &'static str> {
        let address = field::text(value)?.and_then(|text| self.reducer.read_referrer(&text));
        if let Some(Address { url, host, .. }) = address {
            self.event.referrer = Some(self.fit("referrer", url, ADDRESS_MAX)?);
            self.event.referrer_host = Some(host);
        }
        Ok(())
    }

    fn read_form_errors(&mut self, value: &Value) -> Result<(), &'static str> {
        let (texts, mut was_cut) = field::texts(value)?;
        for text in texts {
            let mut text = self.cleaner.clean(&text);
            was_cut |= field::cut(&mut text, TEXT_MAX);
            self.event.form_validation_errors.push(text);
        }
        if was_cut {
            self.event.truncated.push("form_validation_errors".to_owned());
        }
        Ok(())
    }

    /// Takes a field named like a click id (`gclid`) for its name alone.
    pub fn note_click_id(&mut self, name: &str, value: &Value) -> bool {
        let Some(known) = click_id(name) else {
            return false;
        };
        if !value.is_null() && value.as_str() != Some("") {
            self.campaign.click_id.get_or_insert(known);
        }
        true
    }

    /// Fills what the event did not say itself from its address.
    pub fn apply_campaign(&mut self) {
        let Campaign {
            source,
            medium,
            campaign,
            term,
            content,
            click_id,
        } = std::mem::take(&mut self.campaign);
        let event = &mut self.event;
        for (name, slot, value) in [
            ("utm_source", &mut event.utm_source, source),
            ("utm_medium", &mut event.utm_medium, medium),
            ("utm_campaign", &mut event.utm_campaign, campaign),
            ("utm_term", &mut event.utm_term, term),
            ("utm_content", &mut event.utm_content, content),
        ] {
            if slot.is_none()
                && let Some(mut value) = value.filter(|value| !value.is_empty())
            {
                if field::cut(&mut value, TEXT_MAX) {
                    event.truncated.push(name.to_owned());
                }
                *slot = Some(value);
            }
        }
        if event.click_id.is_none() {
            event.click_id = click_id.map(str::to_owned);
        }
    }

    fn text(&mut self, name: &str, value: &Value, max: usize) -> Read<String> {
        let Some(text) = field::text(value)? else {
            return Ok(None);
        };
        let text = self.cleaner.clean(&text);
        if text.is_empty() {
            return Ok(None);
        }
        self.fit(name, text, max).map(Some)
    }

    fn fit(&mut self, name: &str, mut text: String, max: usize) -> Result<String, &'static str> {
        if field::cut(&mut text, max) {
            if self.refuse_long {
                return Err("The text is too long.");
            }
            self.event.truncated.push(name.to_owned());
        }
        Ok(text)
    }

    fn id(&self, value: &Value, max: usize) -> Read<String> {
        let Some(text) = field::text(value).map_err(|_| "The id must be a text or a number.")? else {
            return Ok(None);
        };
        let id = self.cleaner.clean(text.trim());
        let id = id.trim();
        if id.is_empty() {
            return Ok(None);
        }
        if id.len() > max && id.chars().nth(max).is_some() {
            return Err("The id is too long: 64 characters for event_id, 128 for any other.");
        }
        Ok(Some(id.to_owned()))
    }

    fn device_id(&self, value: &Value) -> Read<String> {
        let id = self.id(value, ID_MAX)?;
        if id.as_ref().is_some_and(|id| id.starts_with(USER_DEVICE_PREFIX)) {
            return Err("The id must not begin with `user:`, which marks devices the service makes itself.");
        }
        Ok(id)
    }

    fn classes(&mut self, value: &Value) -> Read<String> {
        if let Value::Array(_) = value {
            let (classes, _) = field::texts(value)?;
            return self.text("element_classes", &classes.join(" ").into(), SELECTOR_MAX);
        }
        self.text("element_classes", value, SELECTOR_MAX)
    }
}

fn count(value: &Value) -> Read<i32> {
    field::whole(value, Fraction::Refused, 0..=i32::MAX)
}

fn read_click_id(value: &Value) -> Read<String> {
    let Some(name) = field::text(value)? else {
        return Ok(None);
    };
    let known = click_id(name.trim());
    known
        .map(|known| Some(known.to_owned()))
        .ok_or("The value must be the name of a click id parameter such as `gclid`; its value is not kept.")
}

fn read_device_type(value: &Value) -> Read<String> {
    let Some(name) = field::text(value)? else {
        return Ok(None);
    };
    let name = name.trim().to_ascii_lowercase();
    match name.as_str() {
        "desktop" | "mobile" | "tablet" | "unknown" => Ok(Some(name)),
        _ => Err("The device type must be `desktop`, `mobile`, `tablet` or `unknown`."),
    }
}
