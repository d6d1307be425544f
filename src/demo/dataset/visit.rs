//! One visit: what somebody wants, and the way through the shop that follows from it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    arrival::{Arrival, Channel, popular_product},
    catalogue::{CATEGORIES, Cart, PRODUCTS, SEARCHES, money, product_position},
    dice::Dice,
    page::Page,
    people::{Device, DeviceKind, Person},
    stories::Stories,
    wire::{Client, Recorder, Target},
};

/// Nobody begins another page after this long. With the longest stay on a page it keeps visits well below
/// `traffic::PAUSE_MIN`, so visits of one browser never overlap.
const VISIT_MAX: TimeDelta = TimeDelta::minutes(40);
/// Share of readers who leave a slow page at once.
const SLOW_PAGE_EXIT_SHARE: f64 = 0.65;

/// What the visitor came for, decided before the first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intent {
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
    page: Page,
    page_opened: DateTime<Utc>,
    deepest_scroll: i64,
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

    /// Stays on the page for a while, then follows a link; `None` when the visitor leaves the shop instead.
    pub(super) fn go(&mut self, next: Page) -> Option<()> {
        if self.is_slow_here() && self.record.dice.chance(SLOW_PAGE_EXIT_SHARE) {
            return None;
        }
        if self.record.now - self.setting.start > VISIT_MAX {
            return None;
        }
        self.linger();
        let link = self.page.link_to(next, self.record.model.viewport[0]);
        self.record.click(&link);
        self.leave();
        self.record.place.referrer = Some(self.record.place.url.clone());
        self.open(next, "");
        Some(())
    }

    /// Shows the page that thanks for an order. It opens by itself, even after a long visit.
    pub(super) fn confirm(&mut self) -> Option<()> {
        self.leave();
        self.record.place.referrer = Some(self.record.place.url.clone());
        self.open(Page::Confirmation, "");
        Some(())
    }

    fn is_slow_here(&self) -> bool {
        matches!(self.page, Page::Product(product) if self.setting.stories.is_slow(self.page_opened, product))
    }

    /// Shows a page: its view, its load time, and the search that made it.
    fn open(&mut self, page: Page, parameters: &str) {
        let path = page.path();
        let joint = if parameters.is_empty() {
            ""
        } else if path.contains('?') {
            "&"
        } else {
            "?"
        };
        self.page = page;
        self.page_opened = self.record.now;
        self.deepest_scroll = 0;
        self.record.place.url = format!("{}{path}{joint}{parameters}", self.setting.origin);
        self.record.place.title = page.title();
        let load_ms = self.load_time_ms();
        let mut fields = if let Page::Product(product) = page {
            PRODUCTS[product].fields()
        } else {
            json!({})
        };
        fields["page_load_time_ms"] = load_ms.into();
        self.record.track("page_view", fields);
        if let Page::Search(search) = page {
            let search = &SEARCHES[search];
            let search = json!({ "search_query": search.query, "search_results_count": search.found.len() });
            self.record.track("search", search);
        }
        self.report_vitals(load_ms);
    }

    fn load_time_ms(&mut self) -> i64 {
        let dice = &mut self.record.dice;
        let usual = match self.record.model.kind {
            DeviceKind::Desktop => dice.long_tailed(380, 6_000),
            DeviceKind::Mobile | DeviceKind::Tablet => dice.long_tailed(640, 9_000),
        };
        if self.is_slow_here() {
            usual + self.record.dice.between(5_200, 8_900)
        } else {
            usual
        }
    }

    /// Some pages report how fast they felt, with the thresholds web.dev gives for "good" and "poor".
    fn report_vitals(&mut self, load_ms: i64) {
        if !self.record.dice.chance(0.2) {
            return;
        }
        self.record.wait_ms(700, 2_500);
        let largest_paint_ms = load_ms + self.record.dice.between(150, 900);
        let rating = match largest_paint_ms {
            ..=2_500 => "good",
            2_501..=4_000 => "needs-improvement",
            _ => "poor",
        };
        let vital = json!({ "name": "LCP", "value": largest_paint_ms, "rating": rating });
        self.record
            .track("web_vital", json!({ "custom_properties": vital }));
    }

    /// Reads: scrolls, perhaps clicks about, and sometimes meets trouble.
    fn linger(&mut self) {
        self.record.wait_ms(1_500, 7_000);
        let depth = self
            .record
            .dice
            .weighted(&[(0, 30.0), (25, 18.0), (50, 22.0), (75, 17.0), (100, 13.0)]);
        for milestone in [25, 50, 75, 100]
            .into_iter()
            .filter(|milestone| *milestone <= depth)
        {
            self.record.track("scroll", json!({ "scroll_depth": milestone }));
            self.deepest_scroll = milestone;
            self.record.wait_ms(900, 9_000);
        }
        self.fiddle();
        self.meet_trouble();
        let seconds = self.record.dice.long_tailed(2, 150);
        self.record.wait_ms(seconds * 700, seconds * 1_000);
    }

    /// Small things people do on a page on their way.
    fn fiddle(&mut self) {
        match self.page {
            Page::List(_) | Page::Search(_) if self.record.dice.chance(0.15) => {
                self.record.click(&Target::by_id("sort", "", 84, 300));
            }
            Page::Product(product) if self.record.dice.chance(0.05) => {
                self.record.click(&Target::by_id("remember", "Remember", 72, 590));
                // A type of the shop's own: the service keeps names it does not know.
                self.record.track("wishlist_add", PRODUCTS[product].fields());
            }
            Page::Product(_) if self.record.dice.chance(0.12) => {
                // The picture looks as if it could be enlarged; it cannot.
                let picture = Target {
                    selector: "#product-art".into(),
                    id: Some("product-art"),
                    text: String::new(),
                    across_percent: 28,
                    y: 360,
                };
                let [x, y] = self.record.aim(&picture);
                self.record.track("click", picture.fields(x, y));
                self.record.wait_ms(2_500, 2_700);
                self.record.track("dead_click", picture.fields(x, y));
            }
            _ => {}
        }
    }

    fn meet_trouble(&mut self) {
        if self.record.dice.chance(0.006) {
            let (message, line) = self.record.dice.pick(&[
                ("TypeError: Failed to fetch", 118),
                ("ResizeObserver loop completed with undelivered notifications.", 0),
                ("TypeError: Cannot read properties of null (reading 'focus')", 164),
            ]);
            self.script_error(
                message,
                &format!("{}/demo/shop.js:{line}:17", self.setting.origin),
            );
        }
        if self.record.dice.chance(0.006) {
            let target = self.page.link_to(Page::Cart, self.record.model.viewport[0]);
            self.rage(&target);
        }
    }

    pub(super) fn script_error(&mut self, message: &str, place: &str) {
        let stack = format!("{message}\n    at {place}");
        self.record
            .track("error", json!({ "error_message": message, "error_stack": stack }));
    }

    /// Clicks three times on one spot, each within a second of the one before.
    pub(super) fn rage(&mut self, target: &Target) {
        let [x, y] = self.record.aim(target);
        for _ in 0..3 {
            let [dx, dy] = [self.record.dice.between(-4, 4), self.record.dice.between(-4, 4)];
            self.record
                .track("click", target.fields((x + dx).max(0), (y + dy).max(0)));
            self.record.wait_ms(150, 600);
        }
        self.record.track("rage_click", target.fields(x, y));
    }

    /// Ends the page: an unsent form is abandoned, and the time spent is told.
    fn leave(&mut self) {
        if let Some(field) = self.touched_field.take() {
            self.record.track(
                "form_abandon",
                json!({ "form_id": "checkout", "form_field_name": field }),
            );
        }
        let seconds = (self.record.now - self.page_opened).num_seconds();
        let depth = self.deepest_scroll.max(self.record.dice.between(18, 60)).min(100);
        self.record.track(
            "page_leave",
            json!({ "time_on_page_seconds": seconds, "scroll_depth": depth }),
        );
        self.record.wait_ms(80, 400);
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

    fn fill_cart(&mut self, intent: Intent) -> Option<()> {
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

    fn look_into_cart(&mut self) -> Option<()> {
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

fn pick_search(dice: &mut Dice) -> Page {
    let weights: Vec<f64> = SEARCHES.iter().map(|search| search.weight).collect();
    Page::Search(dice.weighted_position(&weights))
}

/// Returns a product that fits, the popular ones more often. At least one must fit.
fn pick_product(dice: &mut Dice, fits: impl Fn(usize) -> bool) -> usize {
    let weights: Vec<f64> = PRODUCTS
        .iter()
        .enumerate()
        .map(|(position, product)| if fits(position) { product.popularity } else { 0.0 })
        .collect();
    dice.weighted_position(&weights)
}
