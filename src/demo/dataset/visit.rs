//! One visit: what somebody wants, and the way through the shop that follows from it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    arrival::{Arrival, Channel},
    catalogue::{CATEGORIES, Cart, PRODUCTS, SEARCHES, product_position},
    dice::Dice,
    page::Page,
    people::{Device, DeviceKind, Person},
    stories::Stories,
    wire::{Client, Recorder, Target},
};

/// What the visitor came for, decided before the first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    Bounce,
    Browse,
    FillCart,
    StartCheckout,
    Buy,
}

/// What a visit is made of besides the people.
pub(super) struct Setting<'a> {
    pub(super) stories: &'a Stories,
    pub(super) origin: &'a str,
    pub(super) start: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
    /// Whether this person has never been here before.
    pub(super) is_first: bool,
}

/// A visitor on the way.
pub(super) struct Walk<'a> {
    pub(super) record: Recorder<'a>,
    pub(super) person: &'a mut Person,
    pub(super) cart: &'a mut Cart,
    pub(super) setting: &'a Setting<'a>,
    /// The form field changed last, while its form is not sent.
    pub(super) touched_field: Option<&'static str>,
    shared_device: bool,
    pub(super) page: Page,
    pub(super) page_opened: DateTime<Utc>,
    pub(super) deepest_scroll: i64,
}

/// Plays one visit and returns its events in the order of time.
pub(super) fn play(
    dice: Dice,
    person: &mut Person,
    device: &mut Device,
    setting: &Setting<'_>,
) -> Vec<Value> {
    let mut record = Recorder::new(dice, &mut device.client, device.model, setting.start, setting.end);
    let new_browser = record.client.begin_session(&mut record.dice, setting.start);
    let arrival = Arrival::new(&mut record.dice, person, setting.is_first, setting.start);
    let mut walk = Walk {
        record,
        person,
        cart: &mut device.cart,
        setting,
        touched_field: None,
        shared_device: device.shared,
        page: arrival.page,
        page_opened: setting.start,
        deepest_scroll: 0,
    };
    let intent = walk.choose_intent(&arrival);
    walk.arrive(&arrival, new_browser);
    if walk.follow(intent).is_some() {
        walk.linger();
    }
    walk.depart();
    walk.record.events
}

impl Walk<'_> {
    fn choose_intent(&mut self, arrival: &Arrival) -> Intent {
        const INTENTS: [Intent; 5] = [
            Intent::Bounce,
            Intent::Browse,
            Intent::FillCart,
            Intent::StartCheckout,
            Intent::Buy,
        ];
        if arrival.channel == Channel::SpringDeal || self.person.spring_deal {
            return self.record.dice.weighted(&[
                (Intent::Bounce, 68.0),
                (Intent::Browse, 29.0),
                (Intent::FillCart, 3.0),
            ]);
        }
        let device = match self.record.model.kind {
            DeviceKind::Mobile => 0.9,
            DeviceKind::Tablet => 1.0,
            DeviceKind::Desktop => 1.2,
        };
        let appetite = self.person.appetite * arrival.channel.appetite() * device;
        // A full cart from last time is a reason to come back.
        let [fill, finish] = if self.cart.is_empty() {
            [1.0, 1.0]
        } else {
            [0.6, 1.8]
        };
        let first = if self.setting.is_first { 0.7 } else { 1.1 };
        let weights = [
            37.0,
            43.0,
            11.5 * appetite * fill,
            4.2 * appetite * finish,
            5.6 * appetite * finish * first,
        ];
        INTENTS[self.record.dice.weighted_position(&weights)]
    }

    /// Opens the landing page with what the channel puts into its address.
    fn arrive(&mut self, arrival: &Arrival, new_browser: bool) {
        self.record.place.referrer = arrival.referrer.map(Into::into);
        self.open(arrival.page, &arrival.parameters);
        if new_browser && self.record.dice.chance(0.7) {
            self.record.wait_ms(1_500, 6_000);
            let analytics = self.record.dice.chance(0.9);
            self.record.track(
                "consent",
                json!({ "custom_properties": { "analytics": analytics, "banner": "v2" } }),
            );
        }
    }

    /// Follows the intent; `None` when the visitor gave up and has left the last page.
    fn follow(&mut self, intent: Intent) -> Option<()> {
        if intent == Intent::Bounce {
            return Some(());
        }
        self.greet();
        let pages = self.record.dice.long_tailed(1, 9) + i64::from(intent == Intent::Browse);
        for _ in 0..pages {
            let next = self.next_page();
            self.go(next)?;
        }
        if intent == Intent::Browse {
            return Some(());
        }
        self.fill_cart(intent)?;
        match intent {
            Intent::StartCheckout => self.check_out(false),
            Intent::Buy => self.check_out(true),
            _ if self.record.dice.chance(0.6) => self.look_into_cart(),
            _ => Some(()),
        }
    }

    /// Account holders log in now and then, and readers without an account may make one.
    fn greet(&mut self) {
        if self.record.client.user_id.as_ref() == Some(&self.person.user_id) {
            return;
        }
        let logs_in = self.person.has_account && self.record.dice.chance(0.3);
        if !logs_in && (self.person.has_account || !self.record.dice.chance(0.012)) {
            return;
        }
        let (form, event_type) = if logs_in {
            ("login", "login")
        } else {
            ("signup", "signup")
        };
        self.record.wait_ms(4_000, 15_000);
        self.record.click(&Target::by_id("account", "Sign in", 88, 32));
        self.record.wait_ms(6_000, 30_000);
        self.record.track("form_submit", json!({ "form_id": form }));
        self.identify();
        self.record.track(
            event_type,
            json!({ "custom_properties": { "method": "password" } }),
        );
        self.person.has_account = true;
    }

    /// Links this browser to the person. Another person's browser starts a new anonymous life first.
    pub(super) fn identify(&mut self) {
        let known = self.record.client.user_id.as_ref();
        if known.is_some_and(|user_id| *user_id != self.person.user_id) {
            self.record.client.reset(&mut self.record.dice, self.record.now);
        }
        self.record.client.user_id = Some(self.person.user_id.clone());
        self.record.track(
            "identify",
            json!({ "customer_attributes": self.person.attributes() }),
        );
    }

    /// Ends the visit. Customers sometimes log out, on shared devices more often; the browser then forgets them.
    fn depart(&mut self) {
        let logout_share = if self.shared_device { 0.4 } else { 0.03 };
        let logs_out = self.record.client.user_id.is_some() && self.record.dice.chance(logout_share);
        if logs_out {
            self.record.click(&Target::by_id("account", "Sign out", 88, 32));
        }
        self.leave();
        if logs_out {
            self.record.track("logout", json!({}));
            // The browser holds no ids until the next visit makes new ones.
            *self.record.client = Client::default();
        }
    }

    /// Returns where somebody who looks around goes from here.
    fn next_page(&mut self) -> Page {
        let dice = &mut self.record.dice;
        match self.page {
            Page::Home => match dice.weighted_position(&[45.0, 15.0, 15.0, 25.0]) {
                0 => Page::List(Some(dice.position(CATEGORIES.len()))),
                1 => Page::List(None),
                2 => pick_search(dice),
                _ => Page::Product(pick_product(dice, |position| PRODUCTS[position].featured)),
            },
            Page::List(category) => match dice.weighted_position(&[76.0, 14.0, 10.0]) {
                0 => Page::Product(pick_product(dice, |position| {
                    category.is_none_or(|category| PRODUCTS[position].category == category)
                })),
                1 => Page::List(Some(dice.position(CATEGORIES.len()))),
                _ => pick_search(dice),
            },
            Page::Search(search) => match SEARCHES[search].found {
                [] if dice.chance(0.45) => pick_search(dice),
                [] => Page::List(None),
                found => Page::Product(product_position(dice.pick(found)).unwrap_or(0)),
            },
            Page::Product(product) => match dice.weighted_position(&[40.0, 34.0, 12.0, 14.0]) {
                0 => Page::List(Some(PRODUCTS[product].category)),
                1 => Page::Product(pick_product(dice, |other| other != product)),
                2 => pick_search(dice),
                _ => Page::Home,
            },
            Page::Cart | Page::Checkout | Page::Confirmation => Page::List(None),
        }
    }
}

fn pick_search(dice: &mut Dice) -> Page {
    let weights: Vec<f64> = SEARCHES.iter().map(|search| search.weight).collect();
    Page::Search(dice.weighted_position(&weights))
}

/// Returns a product that fits, the popular ones more often. At least one must fit.
pub(super) fn pick_product(dice: &mut Dice, fits: impl Fn(usize) -> bool) -> usize {
    let weights: Vec<f64> = PRODUCTS
        .iter()
        .enumerate()
        .map(|(position, product)| if fits(position) { product.popularity } else { 0.0 })
        .collect();
    dice.weighted_position(&weights)
}
