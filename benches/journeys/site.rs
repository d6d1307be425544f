//! A shop and the people in it, made from a seed: the same person is the same in every run.

use customer_journey::index::{Micros, rows::flag};

/// Monday, 2026-06-01T00:00:00Z. A Monday, so that weeks are plain divisions for engines that know no calendar.
pub const ORIGIN: Micros = 1_780_272_000_000_000;
pub const DAY: Micros = 86_400_000_000;
/// How long people come.
pub const DAYS: i64 = 90;

const SECOND: u64 = 1_000_000;

/// Numbers of [`TYPES`].
mod kind {
    pub const PAGE_VIEW: u8 = 0;
    pub const CLICK: u8 = 1;
    pub const SCROLL: u8 = 2;
    pub const SEARCH: u8 = 3;
    pub const ADD_TO_CART: u8 = 4;
    pub const REMOVE_FROM_CART: u8 = 5;
    pub const CHECKOUT_START: u8 = 6;
    pub const PURCHASE: u8 = 7;
    pub const FORM_ERROR: u8 = 8;
    pub const RAGE_CLICK: u8 = 9;
}

pub const TYPES: [&str; 10] = [
    "page_view",
    "click",
    "scroll",
    "search",
    "add_to_cart",
    "remove_from_cart",
    "checkout_start",
    "purchase",
    "form_error",
    "rage_click",
];

const HOME: u8 = 0;
const SEARCH: u8 = 1;
const CART: u8 = 2;
const CHECKOUT: u8 = 3;
const THANKS: u8 = 4;
const CONTENT: u8 = 5;
const LISTS: u8 = 8;
const PRODUCTS: u8 = 16;
const PAGES: u8 = 40;

pub const HOST: &str = "shop.example";
pub const DEVICES: [&str; 3] = ["desktop", "mobile", "tablet"];
pub const BROWSERS: [&str; 4] = ["Chrome", "Safari", "Firefox", "Edge"];
pub const SYSTEMS: [&str; 4] = ["Windows", "iOS", "Android", "macOS"];
pub const COUNTRIES: [&str; 6] = ["DE", "AT", "CH", "FR", "NL", "PL"];
pub const CURRENCIES: [&str; 2] = ["EUR", "CHF"];
/// Channel and source.
pub const SOURCES: [(&str, &str); 10] = [
    ("Direct", "(direct)"),
    ("Organic Search", "google"),
    ("Organic Search", "bing"),
    ("Paid Search", "google"),
    ("Email", "newsletter"),
    ("Email", "reminder"),
    ("Organic Social", "instagram"),
    ("Paid Social", "facebook"),
    ("Referral", "blog.example"),
    ("Affiliates", "coupons.example"),
];

/// Returns the paths of all pages by their number.
pub fn paths() -> Vec<String> {
    let named = ["/", "/search", "/cart", "/checkout", "/thanks"].map(str::to_owned);
    let content = (CONTENT..LISTS).map(|page| format!("/journal/{page}"));
    let lists = (LISTS..PRODUCTS).map(|page| format!("/list/{page}"));
    let products = (PRODUCTS..PAGES).map(|page| format!("/product/{page}"));
    named
        .into_iter()
        .chain(content)
        .chain(lists)
        .chain(products)
        .collect()
}

/// Random numbers from a seed (SplitMix64): quick, and the same in every version of every library.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.roll()) * u128::from(end)) >> u64::BITS) as u64
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// Returns a place, each as often as its weight says.
    fn pick(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (place, weight) in weights.iter().enumerate() {
            if left < *weight {
                return place;
            }
            left -= weight;
        }
        unreachable!("what is below the sum lies in a part of it")
    }

    fn page(&mut self, from: u8, to: u8) -> u8 {
        // The minimum of two: some pages are visited more than others.
        let count = u64::from(to - from);
        from + self.below(count).min(self.below(count)) as u8
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub time: Micros,
    /// Number in [`TYPES`].
    pub event_type: u8,
    /// Number in [`paths`].
    pub page: u8,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub events: Vec<Event>,
    pub device: u8,
    pub browser: u8,
    pub system: u8,
    pub country: u8,
    /// Number in [`SOURCES`].
    pub source: u8,
    pub flags: u16,
    pub purchase: Option<Purchase>,
}

#[derive(Clone, Copy, Debug)]
pub struct Purchase {
    pub time: Micros,
    pub cents: i64,
    /// Number in [`CURRENCIES`].
    pub currency: u8,
}

impl Session {
    pub fn start(&self) -> Micros {
        self.events[0].time
    }

    pub fn end(&self) -> Micros {
        self.events[self.events.len() - 1].time
    }
}

/// Writes the sessions of one person: 2.4 on average, by the time they begin. A few have two devices at once.
pub fn visit(person: u64, into: &mut Vec<Session>) {
    into.clear();
    let dice = &mut Dice::new(0x5EED ^ person.wrapping_mul(0xD134_2543_DE82_EF95));
    let count = 1 + dice.pick(&[45, 22, 12, 7, 5, 3, 2, 2, 1, 1]);
    let (device, country) = (
        dice.pick(&[45, 48, 7]) as u8,
        dice.pick(&[50, 12, 10, 14, 8, 6]) as u8,
    );
    let first_day = dice.below(DAYS as u64);
    let mut time = ORIGIN + (first_day * DAY as u64 + dice.below(DAY as u64)) as Micros;
    let end = ORIGIN + DAYS * DAY;
    for place in 0..count {
        let mut session = Session {
            events: Vec::with_capacity(16),
            device,
            browser: dice.pick(&[55, 25, 12, 8]) as u8,
            system: dice.pick(&[35, 25, 25, 15]) as u8,
            country,
            source: match place {
                0 => dice.pick(&[18, 26, 4, 16, 4, 0, 12, 10, 6, 4]),
                _ => dice.pick(&[42, 18, 2, 8, 14, 6, 4, 3, 2, 1]),
            } as u8,
            flags: 0,
            purchase: None,
        };
        browse(dice, time, &mut session);
        if session.end() >= end {
            break;
        }
        let together = dice.percent(2);
        let last = into.last().map_or(session.end(), Session::end).max(session.end());
        into.push(session);
        let pause = match dice.pick(&[30, 40, 30]) {
            0 => 3600 * SECOND + dice.below(12 * 3600 * SECOND),
            1 => 14 * 3600 * SECOND + dice.below(4 * DAY as u64),
            _ => 3 * DAY as u64 + dice.below(24 * DAY as u64),
        };
        time = match together {
            true => into[into.len() - 1].start() + 1 + dice.below(30 * SECOND) as Micros,
            false => last + pause as Micros,
        };
    }
    into.sort_by_key(Session::start);
}

/// Lets somebody walk from page to page until they leave.
fn browse(dice: &mut Dice, start: Micros, session: &mut Session) {
    let mut time = start;
    let mut page = match dice.pick(&[45, 20, 25, 10]) {
        0 => HOME,
        1 => dice.page(LISTS, PRODUCTS),
        2 => dice.page(PRODUCTS, PAGES),
        _ => dice.page(CONTENT, LISTS),
    };
    let mut cart = 0;
    loop {
        let mut push = |dice: &mut Dice, event_type, seconds: u64| {
            let at = time;
            session.events.push(Event {
                time: at,
                event_type,
                page,
            });
            // Never at the same time: engines differ in what they make of that.
            time += 1 + (seconds * SECOND / 4 + dice.below(seconds * SECOND)) as Micros;
            at
        };
        push(dice, kind::PAGE_VIEW, 8);
        if dice.percent(50) {
            push(dice, kind::SCROLL, 20);
        }
        if dice.percent(35) {
            push(dice, kind::CLICK, 12);
        }
        if dice.percent(2) {
            push(dice, kind::RAGE_CLICK, 5);
            session.flags |= flag::RAGE_CLICKS;
        }
        match page {
            SEARCH => {
                push(dice, kind::SEARCH, 10);
                session.flags |= flag::SEARCHED;
            }
            CART if dice.percent(20) => {
                push(dice, kind::REMOVE_FROM_CART, 10);
            }
            CHECKOUT => {
                push(dice, kind::CHECKOUT_START, 60);
                if dice.percent(if session.device == 1 { 30 } else { 12 }) {
                    push(dice, kind::FORM_ERROR, 30);
                    session.flags |= flag::FORM_ERRORS;
                }
            }
            THANKS => {
                let bought = push(dice, kind::PURCHASE, 10);
                session.flags |= flag::CONVERTED;
                session.purchase.get_or_insert(Purchase {
                    time: bought,
                    cents: 990 + dice.below(cart * 12_000 + 1) as i64,
                    currency: u8::from(session.country == 2),
                });
            }
            PRODUCTS.. if dice.percent(16) => {
                push(dice, kind::ADD_TO_CART, 15);
                cart += 1;
            }
            _ => {}
        }
        let trouble = session.flags & (flag::FORM_ERRORS | flag::RAGE_CLICKS) != 0;
        match next_page(dice, page, cart > 0, trouble) {
            Some(next) if session.events.len() < 100 => page = next,
            _ => break,
        }
    }
    if session.events.len() > 3 {
        session.flags |= flag::ENGAGED;
    }
    if cart > 0 && session.flags & flag::CONVERTED == 0 {
        session.flags |= flag::ABANDONED;
    }
}

fn next_page(dice: &mut Dice, page: u8, has_cart: bool, trouble: bool) -> Option<u8> {
    let leaves = match page {
        CART => 20,
        CHECKOUT if trouble => 70,
        CHECKOUT => 35,
        THANKS => 80,
        _ => 19,
    };
    if dice.percent(leaves) {
        return None;
    }
    Some(match page {
        CART => [CHECKOUT, dice.page(PRODUCTS, PAGES)][dice.pick(&[65, 35])],
        CHECKOUT => THANKS,
        _ if has_cart && dice.percent(45) => CART,
        PRODUCTS.. => match dice.pick(&[45, 40, 8, 7]) {
            0 => dice.page(PRODUCTS, PAGES),
            1 => dice.page(LISTS, PRODUCTS),
            2 => HOME,
            _ => SEARCH,
        },
        LISTS.. => match dice.pick(&[60, 25, 8, 7]) {
            0 => dice.page(PRODUCTS, PAGES),
            1 => dice.page(LISTS, PRODUCTS),
            2 => HOME,
            _ => SEARCH,
        },
        _ => match dice.pick(&[55, 25, 12, 8]) {
            0 => dice.page(LISTS, PRODUCTS),
            1 => dice.page(PRODUCTS, PAGES),
            2 => dice.page(CONTENT, LISTS),
            _ => SEARCH,
        },
    })
}
