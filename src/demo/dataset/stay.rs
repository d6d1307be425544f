//! What happens between opening a page and leaving it.

use chrono::TimeDelta;
use serde_json::json;

use super::{
    catalogue::{PRODUCTS, SEARCHES},
    page::Page,
    people::DeviceKind,
    visit::Walk,
    wire::Target,
};

/// Nobody begins another page after this long. With the longest stay on a page it keeps visits well below
/// `traffic::PAUSE_MIN`, so visits of one browser never overlap.
const VISIT_MAX: TimeDelta = TimeDelta::minutes(40);
/// Share of readers who leave a slow page at once.
pub(super) const SLOW_PAGE_EXIT_SHARE: f64 = 0.65;

impl Walk<'_> {
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

    pub(super) fn is_slow_here(&self) -> bool {
        matches!(self.page, Page::Product(product) if self.setting.stories.is_slow(self.page_opened, product))
    }

    /// Shows a page: its view, its load time, and the search that made it.
    pub(super) fn open(&mut self, page: Page, parameters: &str) {
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
    pub(super) fn linger(&mut self) {
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
    pub(super) fn leave(&mut self) {
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
}
