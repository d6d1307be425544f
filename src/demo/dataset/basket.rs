//! Filling the cart, and taking something out again.

use super::{
    arrival::popular_product,
    catalogue::{PRODUCTS, money},
    page::Page,
    stay::SLOW_PAGE_EXIT_SHARE,
    visit::{Intent, Walk, pick_product},
    wire::Target,
};

impl Walk<'_> {
    pub(super) fn fill_cart(&mut self, intent: Intent) -> Option<()> {
        let had_something = !self.cart.is_empty();
        if had_something && intent != Intent::FillCart && self.record.dice.chance(0.7) {
            return Some(());
        }
        if !matches!(self.page, Page::Product(_)) {
            let product = popular_product(&mut self.record.dice);
            if !matches!(self.page, Page::List(_)) {
                self.go(Page::List(Some(PRODUCTS[product].category)))?;
            }
            let next = self.next_product();
            self.go(next)?;
        }
        self.add_to_cart()?;
        while self.cart.lines_count() < 4 && self.record.dice.chance(0.28) {
            let next = self.next_product();
            self.go(next)?;
            self.add_to_cart()?;
        }
        Some(())
    }

    /// Returns a product that can be reached from here.
    fn next_product(&mut self) -> Page {
        let here = self.page;
        Page::Product(pick_product(&mut self.record.dice, |position| match here {
            Page::List(Some(category)) => PRODUCTS[position].category == category,
            Page::Product(product) => position != product,
            _ => true,
        }))
    }

    /// Puts what this page shows into the cart; who leaves a slow page does not.
    fn add_to_cart(&mut self) -> Option<()> {
        let Page::Product(product) = self.page else {
            return Some(());
        };
        if self.is_slow_here() && self.record.dice.chance(SLOW_PAGE_EXIT_SHARE) {
            return None;
        }
        self.record.wait_ms(5_000, 40_000);
        self.record.click(&Target::by_id("add", "Add to cart", 70, 520));
        let wanted = self.record.dice.weighted(&[(1, 82.0), (2, 14.0), (4, 4.0)]);
        let added = self.cart.add(product, wanted);
        if added > 0 {
            self.track_cart("add_to_cart", product, added);
        }
        Some(())
    }

    pub(super) fn look_into_cart(&mut self) -> Option<()> {
        self.go(Page::Cart)?;
        self.tidy_cart();
        Some(())
    }

    /// Some take something out again.
    pub(super) fn tidy_cart(&mut self) {
        if self.cart.lines_count() < 2 || !self.record.dice.chance(0.2) {
            return;
        }
        self.record.wait_ms(3_000, 12_000);
        let Some((product, quantity)) = self.cart.remove_newest() else {
            return;
        };
        let row = i64::try_from(self.cart.lines_count()).unwrap_or(0);
        self.record.click(&Target {
            selector: format!("#lines > li.line:nth-of-type({}) > button.link-button", row + 1),
            id: None,
            text: "Remove".into(),
            across_percent: 90,
            y: 260 + row * 120,
        });
        self.track_cart("remove_from_cart", product, quantity);
    }

    fn track_cart(&mut self, event_type: &str, product: usize, quantity: i64) {
        let mut fields = PRODUCTS[product].fields();
        fields["quantity"] = quantity.into();
        fields["cart_total"] = money(self.cart.goods_cents()).into();
        self.record.track(event_type, fields);
    }
}
