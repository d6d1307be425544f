//! The pages of the shop: their addresses, titles, and what stands where on them.

use super::{
    catalogue::{CATEGORIES, PRODUCTS, SEARCHES},
    wire::Target,
};

/// A page of the demo shop. Numbers are positions in the tables of `catalogue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Home,
    /// All products, or those of one category.
    List(Option<usize>),
    Search(usize),
    Product(usize),
    Cart,
    Checkout,
    Confirmation,
}

const SHOP_NAME: &str = "Fern & Fjord";

impl Page {
    /// Returns path and query.
    pub(super) fn path(self) -> String {
        match self {
            Self::Home => "/demo/".into(),
            Self::List(None) => "/demo/products.html".into(),
            Self::List(Some(category)) => format!("/demo/products.html?category={}", CATEGORIES[category].id),
            Self::Search(search) => format!(
                "/demo/products.html?q={}",
                SEARCHES[search].query.replace(' ', "+")
            ),
            Self::Product(product) => format!("/demo/product.html?sku={}", PRODUCTS[product].sku),
            Self::Cart => "/demo/cart.html".into(),
            Self::Checkout => "/demo/checkout.html".into(),
            Self::Confirmation => "/demo/confirmation.html".into(),
        }
    }

    pub(super) fn title(self) -> String {
        let name = match self {
            Self::Home => return format!("{SHOP_NAME}: gear for small adventures"),
            Self::List(None) => "All gear".into(),
            Self::List(Some(category)) => CATEGORIES[category].name.into(),
            Self::Search(search) => format!("Results for “{}”", SEARCHES[search].query),
            Self::Product(product) => PRODUCTS[product].name.into(),
            Self::Cart => "Your cart".into(),
            Self::Checkout => "Checkout".into(),
            Self::Confirmation => "Thank you".into(),
        };
        format!("{name} · {SHOP_NAME}")
    }

    /// Returns the link on this page that leads to `next`, in a window of that width.
    pub(super) fn link_to(self, next: Self, viewport_width: i64) -> Target {
        match next {
            Self::Home => header_link("home", SHOP_NAME, 8),
            Self::Cart => Target::by_id("cart-link", "Cart", 94, 32),
            Self::Checkout => Target::by_id("to-checkout", "Go to checkout", 78, 560),
            Self::Confirmation => Target::by_id("order", "Order and pay", 50, 1_480),
            Self::Search(_) => Target::by_id("search", "", 60, 32),
            Self::List(None) => header_link("gear", "All gear", 28),
            Self::List(Some(category)) => chip(category),
            Self::Product(product) => self.product_card(product, viewport_width),
        }
    }

    /// Product cards stand in a grid of one, two or three columns, below what each page shows first.
    fn product_card(self, product: usize, viewport_width: i64) -> Target {
        let place = self.place_in_grid(product);
        let columns = match viewport_width {
            ..600 => 1,
            600..1000 => 2,
            _ => 3,
        };
        let top = match self {
            Self::Home => 760,
            Self::Product(_) => 1_120,
            _ => 380,
        };
        let (row, column) = (place / columns, place % columns);
        Target {
            selector: format!("li.card:nth-of-type({}) > a.card-link", place + 1),
            id: None,
            text: PRODUCTS[product].name.into(),
            across_percent: (2 * column + 1) * 50 / columns,
            y: top + row * 360,
        }
    }

    fn place_in_grid(self, product: usize) -> i64 {
        let before = &PRODUCTS[..product];
        let place = match self {
            Self::Home => before.iter().filter(|other| other.featured).count(),
            Self::List(Some(category)) => before.iter().filter(|other| other.category == category).count(),
            Self::Search(search) => {
                let found = SEARCHES[search].found;
                found
                    .iter()
                    .position(|sku| *sku == PRODUCTS[product].sku)
                    .unwrap_or(0)
            }
            // "You may also like" shows four.
            Self::Product(_) => product % 4,
            _ => product,
        };
        i64::try_from(place).expect("a small table")
    }
}

fn header_link(class: &str, text: &str, across_percent: i64) -> Target {
    Target {
        selector: format!("header > nav > a.{class}"),
        id: None,
        text: text.into(),
        across_percent,
        y: 32,
    }
}

fn chip(category: usize) -> Target {
    let place = category + 2;
    Target {
        selector: format!("#filters > li:nth-of-type({place}) > a.chip"),
        id: None,
        text: CATEGORIES[category].name.into(),
        across_percent: i64::try_from(place).expect("a small table") * 13,
        y: 232,
    }
}
