//! The judgements on a session: engaged or bounced, how much, and why it ended. Formulas over plain numbers.

/// Visible time that alone makes a session engaged: 10 s, in milliseconds.
const ENGAGED_VISIBLE_MS: i64 = 10_000;

/// What engagement is measured by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Activity {
    pub visible_ms: i64,
    pub page_views: i64,
    /// Deliberate acts: see [`is_interaction`].
    pub interactions: i64,
    /// Sum of the deepest scroll of each page that reported one, in percent.
    pub scroll_sum: i64,
    /// Pages that reported one.
    pub scroll_pages: i64,
    pub converted: bool,
}

/// Whether an event type is something a person did on purpose, and not in anger.
pub(crate) fn is_interaction(event_type: &str) -> bool {
    matches!(
        event_type,
        "click"
            | "form_input"
            | "form_submit"
            | "add_to_cart"
            | "remove_from_cart"
            | "checkout_start"
            | "signup"
            | "login"
            | "search"
            | "video_play"
            | "file_download"
    )
}

/// Whether a session is engaged: 10 s of visible time, or a conversion, or two page views. Else it bounced.
pub(crate) fn is_engaged(activity: &Activity) -> bool {
    activity.visible_ms >= ENGAGED_VISIBLE_MS || activity.converted || activity.page_views >= 2
}

/// Returns the engagement of a session, 0 to 100.
///
/// The sum of five parts, each of which grows with its measure up to its own limit, so that none can stand
/// for all: visible time (30 points at 3 minutes), page views (20 points at 10, 2 each), interactions
/// (15 points at 15, 1 each), mean scroll depth (15 points at 100 %) and a conversion (20 points). Parts
/// are rounded down to whole points.
pub(crate) fn engagement(activity: &Activity) -> i16 {
    let visible = activity.visible_ms.clamp(0, 180_000) * 30 / 180_000;
    let pages = activity.page_views.clamp(0, 10) * 2;
    let interactions = activity.interactions.clamp(0, 15);
    let scroll = match activity.scroll_pages {
        0 => 0,
        pages => activity.scroll_sum * 15 / (pages * 100),
    };
    let conversion = if activity.converted { 20 } else { 0 };
    (visible + pages + interactions + scroll + conversion) as i16
}

/// What was going on when a session ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ending {
    /// These three: shortly before the end.
    pub error: bool,
    pub form_error: bool,
    pub rage_click: bool,
    /// A checkout was begun, or the cart filled, after the last purchase.
    pub checkout_open: bool,
    pub cart_open: bool,
    pub engaged: bool,
}

impl Ending {
    /// Whether a cart or a checkout was left behind.
    pub fn abandoned(&self) -> bool {
        self.checkout_open || self.cart_open
    }

    /// Returns why the session was lost: the first that holds, from the likeliest cause to the mere fact.
    ///
    /// `None` for a session that was not lost: it left no cart behind and did not bounce.
    pub fn drop_off_reason(&self) -> Option<&'static str> {
        if !self.abandoned() && self.engaged {
            return None;
        }
        let reasons = [
            (self.error, "error"),
            (self.form_error, "form_error"),
            (self.rage_click, "rage_click"),
            (self.checkout_open, "checkout_abandoned"),
            (self.cart_open, "cart_abandoned"),
        ];
        let first = reasons.iter().find(|(holds, _)| *holds);
        Some(first.map_or("bounce", |(_, reason)| reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn activity() -> impl Strategy<Value = Activity> {
        let scroll = (0i64..20).prop_flat_map(|pages| (0..=pages * 100, Just(pages)));
        (0i64..400_000, 0i64..30, 0i64..30, scroll, any::<bool>()).prop_map(
            |(visible_ms, page_views, interactions, (scroll_sum, scroll_pages), converted)| Activity {
                visible_ms,
                page_views,
                interactions,
                scroll_sum,
                scroll_pages,
                converted,
            },
        )
    }

    proptest! {
        #[test]
        fn engagement_lies_within_bounds_and_never_falls_with_more(base in activity(), more in 0i64..50_000) {
            let score = engagement(&base);
            prop_assert!((0..=100).contains(&score));
            let richer = [
                Activity { visible_ms: base.visible_ms + more, ..base },
                Activity { page_views: base.page_views + more, ..base },
                Activity { interactions: base.interactions + more, ..base },
                Activity { scroll_sum: (base.scroll_sum + more).min(base.scroll_pages * 100), ..base },
                Activity { converted: true, ..base },
            ];
            for activity in richer {
                prop_assert!(engagement(&activity) >= score, "{activity:?}");
            }
        }
    }

    #[test]
    fn the_fullest_session_scores_one_hundred_and_the_emptiest_nothing() {
        let full = Activity {
            visible_ms: 180_000,
            page_views: 10,
            interactions: 15,
            scroll_sum: 1000,
            scroll_pages: 10,
            converted: true,
        };
        assert_eq!(engagement(&full), 100);
        assert_eq!(engagement(&Activity::default()), 0);
    }

    #[test]
    fn ten_seconds_or_two_pages_or_a_conversion_engage() {
        let none = Activity {
            visible_ms: 9_999,
            page_views: 1,
            ..Activity::default()
        };
        assert!(!is_engaged(&none));
        assert!(is_engaged(&Activity {
            visible_ms: 10_000,
            ..none
        }));
        assert!(is_engaged(&Activity {
            page_views: 2,
            ..none
        }));
        assert!(is_engaged(&Activity {
            converted: true,
            ..none
        }));
    }

    #[test]
    fn the_likeliest_cause_is_named_first() {
        let mut ending = Ending {
            error: true,
            form_error: true,
            rage_click: true,
            checkout_open: true,
            cart_open: true,
            engaged: true,
        };
        assert_eq!(ending.drop_off_reason(), Some("error"));
        ending.error = false;
        assert_eq!(ending.drop_off_reason(), Some("form_error"));
        ending.form_error = false;
        assert_eq!(ending.drop_off_reason(), Some("rage_click"));
        ending.rage_click = false;
        assert_eq!(ending.drop_off_reason(), Some("checkout_abandoned"));
        ending.checkout_open = false;
        assert_eq!(ending.drop_off_reason(), Some("cart_abandoned"));
        ending.cart_open = false;
        assert_eq!(ending.drop_off_reason(), None);
        ending.engaged = false;
        assert_eq!(ending.drop_off_reason(), Some("bounce"));
    }
}
