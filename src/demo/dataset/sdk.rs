//! An endless stream of batches for load tests: the same shapes as [`super::visits`], but of now.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    arrival::popular_product,
    catalogue::{PRODUCTS, money},
    dice::Dice,
    page::Page,
    people::{DeviceKind, Model, pick_model},
    wire::{Client, Place, Target},
};

/// Milliseconds between two events of a batch.
const EVENT_DISTANCE_MS: i64 = 180;

struct Browser {
    model: &'static Model,
    client: Client,
    place: Place,
    product: usize,
}

/// Batches of events of many browsers in turn, each batch of one browser, as trackers send them.
pub struct SdkStream {
    dice: Dice,
    browsers: Vec<Browser>,
    next: usize,
}

impl SdkStream {
    /// Makes a stream over `devices` browsers (at least one) of a shop at `origin`.
    ///
    /// `stream` tells apart the streams of one run, such as its connections: two of them never share an id.
    pub fn new(seed: u64, stream: u64, devices: usize, origin: &str, now: DateTime<Utc>) -> Self {
        let mut dice = Dice::new(seed, stream);
        let browsers = (0..devices.max(1))
            .map(|_| Browser::new(&mut dice, origin, now))
            .collect();
        Self {
            dice,
            browsers,
            next: 0,
        }
    }

    /// Returns the next browser's `count` events; the last one happened at `now`.
    ///
    /// An event is about 800 bytes of JSON. Its id is new with every call.
    pub fn batch(&mut self, now: DateTime<Utc>, count: usize) -> Vec<Value> {
        let turn = self.next;
        self.next = (turn + 1) % self.browsers.len();
        let browser = &mut self.browsers[turn];
        let count = i64::try_from(count).expect("a batch that fits in memory");
        (1..=count)
            .map(|place| {
                let at = now - TimeDelta::milliseconds((count - place) * EVENT_DISTANCE_MS);
                browser.event(&mut self.dice, at)
            })
            .collect()
    }
}

impl Browser {
    fn new(dice: &mut Dice, origin: &str, now: DateTime<Utc>) -> Self {
        let kind = dice.weighted(&[
            (DeviceKind::Mobile, 54.0),
            (DeviceKind::Desktop, 40.0),
            (DeviceKind::Tablet, 6.0),
        ]);
        let mut client = Client::default();
        client.begin_session(dice, now);
        if dice.chance(0.3) {
            client.user_id = Some(format!("customer-{}", dice.between(10_000, 99_999)));
        }
        let product = popular_product(dice);
        let page = Page::Product(product);
        let place = Place {
            url: format!(
                "{origin}{}&utm_source=newsletter&utm_medium=email&utm_campaign=weekly",
                page.path()
            ),
            title: page.title(),
            referrer: Some(format!(
                "{origin}{}",
                Page::List(Some(PRODUCTS[product].category)).path()
            )),
        };
        Self {
            model: pick_model(dice, kind),
            client,
            place,
            product,
        }
    }

    fn event(&mut self, dice: &mut Dice, at: DateTime<Utc>) -> Value {
        const TYPES: [(&str, f64); 5] = [
            ("page_view", 28.0),
            ("click", 36.0),
            ("scroll", 20.0),
            ("page_leave", 10.0),
            ("add_to_cart", 6.0),
        ];
        let event_type = dice.weighted(&TYPES);
        let mut event = self.client.envelope(dice, event_type, at);
        self.place.describe(&mut event, self.model);
        event.insert("user_agent".into(), self.model.user_agent.into());
        event.insert("device_type".into(), self.model.kind.name().into());
        if let Value::Object(fields) = self.fields(dice, event_type) {
            event.extend(fields);
        }
        Value::Object(event)
    }

    fn fields(&self, dice: &mut Dice, event_type: &str) -> Value {
        let product = &PRODUCTS[self.product];
        match event_type {
            "page_view" => {
                let mut fields = product.fields();
                fields["page_load_time_ms"] = dice.long_tailed(400, 6_000).into();
                fields
            }
            "click" => {
                let target = Target::by_id("add", "Add to cart", 70, 520);
                let [x, y] = [
                    dice.between(4, self.model.viewport[0] - 4),
                    dice.between(4, 2_400),
                ];
                let mut fields = target.fields(x, y);
                fields["element_classes"] = "button button-wide".into();
                fields["custom_properties"] =
                    json!({ "component": "add-form", "experiment": "wide-button", "variant": "b" });
                fields
            }
            "scroll" => json!({
                "scroll_depth": dice.pick(&[25, 50, 75, 100]),
                "custom_properties": { "direction": "down", "section": "facts" },
            }),
            "page_leave" => json!({
                "time_on_page_seconds": dice.long_tailed(2, 300),
                "scroll_depth": dice.between(10, 100),
            }),
            _ => {
                let mut fields = product.fields();
                fields["quantity"] = 1.into();
                fields["cart_total"] = money(product.price_cents).into();
                fields
            }
        }
    }
}
