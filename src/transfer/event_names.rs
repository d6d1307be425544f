//! Types of event as other systems call them.

use std::collections::BTreeMap;

use crate::event::kind;

use super::mapping::MappingError;

/// Names of widespread systems for what this service knows, after [`plain`].
const WELL_KNOWN: [(&str, &str); 37] = [
    ("add_to_basket", "add_to_cart"),
    ("added_to_cart", "add_to_cart"),
    ("autocapture", "click"),
    ("begin_checkout", "checkout_start"),
    ("checkout_started", "checkout_start"),
    ("dead_clicked", "dead_click"),
    ("download", "file_download"),
    ("exception", "error"),
    ("form_submitted", "form_submit"),
    ("initiate_checkout", "checkout_start"),
    ("logged_in", "login"),
    ("logged_out", "logout"),
    ("order_completed", "purchase"),
    ("order_placed", "purchase"),
    ("page", "page_view"),
    ("page_viewed", "page_view"),
    ("pageleave", "page_leave"),
    ("pageview", "page_view"),
    ("product_added", "add_to_cart"),
    ("product_removed", "remove_from_cart"),
    ("products_searched", "search"),
    ("purchased", "purchase"),
    ("rageclick", "rage_click"),
    ("removed_from_cart", "remove_from_cart"),
    ("screen_view", "page_view"),
    ("sign_in", "login"),
    ("sign_out", "logout"),
    ("sign_up", "signup"),
    ("signed_in", "login"),
    ("signed_out", "logout"),
    ("signed_up", "signup"),
    ("transaction", "purchase"),
    ("video_paused", "video_pause"),
    ("video_start", "video_play"),
    ("video_started", "video_play"),
    ("view_search_results", "search"),
    ("web_vitals", "web_vital"),
];

/// What the types of an import become.
#[derive(Clone, Debug, Default)]
pub struct EventNames {
    own: BTreeMap<String, String>,
}

impl EventNames {
    /// Makes the table of `--event-map "Order Completed=purchase"`, which comes before the well-known names.
    ///
    /// # Errors
    /// [`MappingError::EventName`] when a new name cannot be the type of an event.
    pub fn new(pairs: &[(String, String)]) -> Result<Self, MappingError> {
        if let Some((_, wrong)) = pairs.iter().find(|(_, to)| !kind::is_valid(to)) {
            return Err(MappingError::EventName(wrong.clone()));
        }
        Ok(Self {
            own: pairs.iter().cloned().collect(),
        })
    }

    /// Returns the type this service calls `name`; whether it is a valid one, the judgement says.
    pub fn translate(&self, name: &str) -> String {
        if let Some(own) = self.own.get(name.trim()) {
            return own.clone();
        }
        let plain = plain(name);
        match WELL_KNOWN.binary_search_by_key(&plain.as_str(), |(known, _)| known) {
            Ok(found) => WELL_KNOWN[found].1.to_owned(),
            Err(_) => plain,
        }
    }
}

/// Lower case, `_` for blanks, without the `$` that some systems put before names of their own.
fn plain(name: &str) -> String {
    let name = name.trim();
    let name = name.strip_prefix('$').unwrap_or(name);
    name.split_whitespace()
        .collect::<Vec<_>>()
        .join("_")
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_names_are_sorted_and_valid() {
        assert!(WELL_KNOWN.is_sorted_by(|a, b| a.0 < b.0));
        for (from, to) in WELL_KNOWN {
            assert_eq!(plain(from), from);
            assert!(kind::is_valid(to), "{to}");
            // Translating what was translated changes nothing: an export comes back as it went.
            assert_eq!(EventNames::default().translate(to), to);
        }
        for known in kind::KNOWN {
            assert_eq!(EventNames::default().translate(known), known);
        }
    }

    #[test]
    fn names_become_ours() {
        let names = EventNames::new(&[("Order Completed".into(), "order.done".into())]).unwrap();
        for (from, to) in [
            ("$pageview", "page_view"),
            ("Product Added", "add_to_cart"),
            (" Newsletter  Signup ", "newsletter_signup"),
            ("Order Completed", "order.done"),
            ("order completed", "purchase"),
            ("page_view", "page_view"),
            ("Größe", "größe"),
        ] {
            assert_eq!(names.translate(from), to, "{from}");
        }
        assert!(EventNames::new(&[("a".into(), "Not Valid".into())]).is_err());
    }
}
