//! What the demo shop sells and what its visitors look for.
//!
//! Numbers, names and prices are those of the shop's own `catalog.js`, so that seeded journeys and those a visitor
//! makes by hand meet on the same pages.

use serde_json::{Value, json};

/// ISO 4217 code of every price.
pub(super) const CURRENCY: &str = "EUR";
/// Orders below this many cents of goods pay [`SHIPPING_CENTS`].
pub(super) const FREE_SHIPPING_FROM_CENTS: i64 = 10_000;
pub(super) const SHIPPING_CENTS: i64 = 690;
/// Most pieces of one product in a cart.
pub(super) const QUANTITY_MAX: i64 = 9;

pub(super) struct Category {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
}

pub(super) const CATEGORIES: [Category; 5] = [
    Category {
        id: "shelter",
        name: "Shelter",
    },
    Category {
        id: "sleep",
        name: "Sleep",
    },
    Category {
        id: "kitchen",
        name: "Camp kitchen",
    },
    Category {
        id: "carry",
        name: "Carry",
    },
    Category {
        id: "way",
        name: "Light & way",
    },
];

pub(super) struct Product {
    pub(super) sku: &'static str,
    pub(super) name: &'static str,
    /// Position in [`CATEGORIES`].
    pub(super) category: usize,
    pub(super) price_cents: i64,
    /// Shown on the home page.
    pub(super) featured: bool,
    /// How often it is looked at, relative to the others.
    pub(super) popularity: f64,
}

const fn product(
    sku: &'static str,
    name: &'static str,
    category: usize,
    price_cents: i64,
    featured: bool,
    popularity: f64,
) -> Product {
    Product {
        sku,
        name,
        category,
        price_cents,
        featured,
        popularity,
    }
}

pub(super) const PRODUCTS: [Product; 12] = [
    product("FF-101", "Hollow Ridge tent", 0, 28_900, true, 14.0),
    product("FF-102", "Drift tarp", 0, 7_950, false, 6.0),
    product("FF-201", "Moss sleeping bag", 1, 16_400, true, 11.0),
    product("FF-202", "Raft sleeping pad", 1, 8_990, false, 7.0),
    product("FF-203", "Two Birches hammock", 1, 6_400, false, 8.0),
    product("FF-301", "Ember stove", 2, 5_490, true, 9.0),
    product("FF-302", "Fjord kettle", 2, 3_850, false, 5.0),
    product("FF-303", "Speckle mug", 2, 1_600, true, 10.0),
    product("FF-401", "Cairn 45 pack", 3, 17_900, true, 13.0),
    product("FF-402", "Tarn dry bag", 3, 2_990, false, 5.0),
    product("FF-501", "Nightjar lantern", 4, 4_200, true, 8.0),
    product("FF-502", "True North compass", 4, 3_450, false, 4.0),
];

impl Product {
    /// Returns the event fields that describe it, as the shop's `productFields` does.
    pub(super) fn fields(&self) -> Value {
        json!({
            "product_id": self.sku,
            "product_name": self.name,
            "product_category": CATEGORIES[self.category].name,
            "product_price": money(self.price_cents),
            "currency": CURRENCY,
        })
    }
}

/// Returns the position of a product number in [`PRODUCTS`].
pub(super) fn product_position(sku: &str) -> Option<usize> {
    PRODUCTS.iter().position(|product| product.sku == sku)
}

/// A search and the products the shop finds for it.
pub(super) struct Search {
    pub(super) query: &'static str,
    pub(super) found: &'static [&'static str],
    pub(super) weight: f64,
}

const fn search(query: &'static str, weight: f64, found: &'static [&'static str]) -> Search {
    Search { query, found, weight }
}

/// What visitors type; the empty ones are wishes the shop does not answer.
pub(super) const SEARCHES: [Search; 18] = [
    search("tent", 12.0, &["FF-101"]),
    search("sleeping bag", 9.0, &["FF-201"]),
    search("stove", 7.0, &["FF-301"]),
    search("pack", 6.0, &["FF-203", "FF-401"]),
    search("lantern", 5.0, &["FF-501"]),
    search("sleep", 5.0, &["FF-201", "FF-202", "FF-203"]),
    search("hammock", 5.0, &["FF-203"]),
    search("light", 4.0, &["FF-301", "FF-501", "FF-502"]),
    search("mug", 4.0, &["FF-303"]),
    search("tarp", 3.0, &["FF-102"]),
    search("dry bag", 3.0, &["FF-402"]),
    search("kettle", 2.0, &["FF-302"]),
    search("tents", 4.0, &[]),
    search("rucksack", 4.0, &[]),
    search("gas cartridge", 3.0, &[]),
    search("water filter", 3.0, &[]),
    search("headlamp", 3.0, &[]),
    search("gift card", 2.0, &[]),
];

/// Writes whole cents as an exact decimal in text form, the way money travels on the wire.
pub(super) fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// What lies in a visitor's cart; kept by the browser from one visit to the next.
#[derive(Default)]
pub(super) struct Cart {
    /// Position in [`PRODUCTS`] and number of pieces.
    lines: Vec<(usize, i64)>,
}

impl Cart {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear();
    }

    /// Adds pieces up to [`QUANTITY_MAX`]; returns how many really were added.
    pub(super) fn add(&mut self, product: usize, quantity: i64) -> i64 {
        let Some(line) = self.lines.iter_mut().find(|line| line.0 == product) else {
            self.lines.push((product, quantity.min(QUANTITY_MAX)));
            return quantity.min(QUANTITY_MAX);
        };
        let before = line.1;
        line.1 = (before + quantity).min(QUANTITY_MAX);
        line.1 - before
    }

    /// Takes the newest line out; returns its product and pieces.
    pub(super) fn remove_newest(&mut self) -> Option<(usize, i64)> {
        self.lines.pop()
    }

    pub(super) fn lines_count(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn pieces(&self) -> i64 {
        self.lines.iter().map(|line| line.1).sum()
    }

    pub(super) fn goods_cents(&self) -> i64 {
        self.lines
            .iter()
            .map(|(product, quantity)| PRODUCTS[*product].price_cents * quantity)
            .sum()
    }

    /// Returns what an order of this cart costs, shipping included.
    pub(super) fn total_cents(&self) -> i64 {
        let goods = self.goods_cents();
        if goods >= FREE_SHIPPING_FROM_CENTS {
            goods
        } else {
            goods + SHIPPING_CENTS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_search_finds_products_that_exist() {
        for search in &SEARCHES {
            assert!(
                search.found.iter().all(|sku| product_position(sku).is_some()),
                "{}",
                search.query
            );
        }
    }

    #[test]
    fn a_cart_adds_up_and_charges_shipping_below_the_limit() {
        let mut cart = Cart::default();
        assert_eq!(cart.add(7, 2), 2);
        assert_eq!((cart.goods_cents(), cart.total_cents()), (3_200, 3_890));
        assert_eq!(cart.add(7, 12), 7, "nine pieces are the most");
        cart.add(0, 1);
        assert_eq!((cart.pieces(), cart.total_cents()), (10, 9 * 1_600 + 28_900));
        assert_eq!(cart.remove_newest(), Some((0, 1)));
    }

    #[test]
    fn cents_are_written_as_exact_decimals() {
        assert_eq!(money(690), "6.90");
        assert_eq!(money(28_905), "289.05");
    }
}
