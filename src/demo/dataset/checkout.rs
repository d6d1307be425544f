//! The last steps: cart, checkout form, order.

use serde_json::json;

use super::{
    catalogue::{CURRENCY, money},
    page::Page,
    visit::Walk,
    wire::Target,
};

/// Fields of the checkout form in their order, with their types.
const FIELDS: [(&str, &str); 10] = [
    ("email", "email"),
    ("full-name", "text"),
    ("street", "text"),
    ("postcode", "text"),
    ("city", "text"),
    ("country", "select"),
    ("card", "text"),
    ("expiry", "text"),
    ("code", "text"),
    ("terms", "checkbox"),
];
/// What people get wrong, as `field: reason`.
const MISTAKES: [(&str, f64); 6] = [
    ("card: check_digit", 26.0),
    ("terms: missing", 24.0),
    ("email: wrong_format", 18.0),
    ("expiry: wrong_format", 15.0),
    ("postcode: wrong_format", 10.0),
    ("card: declined", 7.0),
];
const ORDER_ID_ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

impl Walk<'_> {
    /// Goes through cart and checkout; `None` when the visitor gives up before the order.
    pub(super) fn check_out(&mut self, means_to_buy: bool) -> Option<()> {
        self.go(Page::Cart)?;
        self.tidy_cart();
        self.go(Page::Checkout)?;
        self.record.track(
            "checkout_start",
            json!({
                "cart_total": money(self.cart.goods_cents()),
                "quantity": self.cart.pieces(),
                "currency": CURRENCY,
            }),
        );
        let stop_after = if means_to_buy {
            FIELDS.len()
        } else {
            self.record.dice.position(FIELDS.len())
        };
        self.fill_form(stop_after);
        if !means_to_buy {
            return None;
        }
        let failure = self
            .setting
            .stories
            .checkout_failure_share(self.record.now, self.record.model);
        if self.record.dice.chance(failure) {
            self.fail_to_order();
            return None;
        }
        self.make_mistakes();
        self.order()
    }

    /// Fills the form's first fields; every second change is told, as the tracker joins quick ones.
    fn fill_form(&mut self, fields_count: usize) {
        for (place, (name, kind)) in FIELDS.iter().take(fields_count).enumerate() {
            self.record.wait_ms(2_500, 12_000);
            self.touched_field = Some(name);
            if place % 2 == 0 {
                let fields =
                    json!({ "form_id": "checkout", "form_field_name": name, "form_field_type": kind });
                self.record.track("form_input", fields);
            }
        }
    }

    /// A fifth of all buyers must correct something first.
    fn make_mistakes(&mut self) {
        while self.record.dice.chance(0.2) {
            self.record.click(&order_button());
            let mistake = self.record.dice.weighted(&MISTAKES);
            self.record.track(
                "form_error",
                json!({ "form_id": "checkout", "form_validation_errors": [mistake] }),
            );
            self.record.wait_ms(4_000, 25_000);
        }
    }

    /// The broken days: the card field refuses every number, and on Apple's browser the script stops.
    fn fail_to_order(&mut self) {
        let tries = self.record.dice.between(1, 3);
        for _ in 0..tries {
            self.record.click(&order_button());
            if self.record.model.safari {
                let place = format!("{}/demo/checkout.js:21:31", self.setting.origin);
                self.script_error(
                    "TypeError: undefined is not an object (evaluating 'card.match(pattern)[1]')",
                    &place,
                );
            }
            let errors = json!({ "form_id": "checkout", "form_validation_errors": ["card: wrong_format"] });
            self.record.track("form_error", errors);
            self.record.wait_ms(4_000, 20_000);
        }
        if self.record.dice.chance(0.6) {
            self.rage(&order_button());
        }
        self.touched_field = Some("card");
    }

    fn order(&mut self) -> Option<()> {
        self.record.wait_ms(1_000, 5_000);
        self.record.click(&order_button());
        self.touched_field = None;
        self.record.track("form_submit", json!({ "form_id": "checkout" }));
        self.person.orders += 1;
        self.identify();
        if !self.person.has_account && self.record.dice.chance(0.55) {
            self.person.has_account = true;
            self.record
                .track("signup", json!({ "custom_properties": { "method": "checkout" } }));
        }
        let order_id = format!("FF-{}", self.record.dice.text(ORDER_ID_ALPHABET, 8));
        self.record.track(
            "purchase",
            json!({
                "order_id": order_id,
                "order_total": money(self.cart.total_cents()),
                "currency": CURRENCY,
                "quantity": self.cart.pieces(),
            }),
        );
        self.cart.clear();
        self.confirm()
    }
}

fn order_button() -> Target {
    Target::by_id("order", "Order and pay", 50, 1_480)
}
