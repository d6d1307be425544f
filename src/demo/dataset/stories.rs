//! The planted stories: what an analyst should find in the data. `docs/demo-data.md` tells them.

use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    catalogue::{self, PRODUCTS},
    people::{DeviceKind, Model},
};

/// The product whose page becomes slow.
const SLOW_SKU: &str = "FF-401";
/// Name of the campaign that brings visitors who do not buy.
pub(super) const SPRING_DEAL: &str = "spring-deal";

/// When each story plays. Ends are exclusive.
pub(super) struct Stories {
    /// No order goes through on phones.
    broken_checkout: Range<DateTime<Utc>>,
    /// `spring-deal` advertises.
    pub(super) spring_deal: Range<DateTime<Utc>>,
    /// The page of [`SLOW_SKU`] is slow.
    slow_page: Range<DateTime<Utc>>,
    slow_product: usize,
}

impl Stories {
    pub(super) fn new(end: DateTime<Utc>) -> Self {
        let before = |days| end - TimeDelta::days(days);
        Self {
            broken_checkout: before(23)..before(19),
            spring_deal: before(45)..before(35),
            slow_page: before(14)..end,
            slow_product: catalogue::product_position(SLOW_SKU)
                .expect("the slow product is in the catalogue"),
        }
    }

    /// Returns the share of orders that fail at that moment on such a device.
    ///
    /// Safari's script stops; other phones are only troubled by the same card field, and a few get through.
    pub(super) fn checkout_failure_share(&self, at: DateTime<Utc>, model: &Model) -> f64 {
        if model.kind != DeviceKind::Mobile || !self.broken_checkout.contains(&at) {
            return 0.0;
        }
        if model.safari { 1.0 } else { 0.75 }
    }

    /// Tells whether the page of this product is slow at that moment.
    pub(super) fn is_slow(&self, at: DateTime<Utc>, product: usize) -> bool {
        product == self.slow_product && self.slow_page.contains(&at)
    }

    /// Returns the product the `spring-deal` advertisement leads to.
    pub(super) fn spring_deal_product() -> usize {
        PRODUCTS
            .iter()
            .position(|product| product.sku == "FF-101")
            .expect("the tent is in the catalogue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::dataset::people::MODELS;

    #[test]
    fn the_checkout_is_broken_on_phones_during_its_four_days_alone() {
        let end = DateTime::from_timestamp(1_790_000_000, 0).expect("a valid time");
        let stories = Stories::new(end);
        let share = |days, kind| {
            let (model, _) = MODELS
                .iter()
                .find(|(model, _)| model.kind == kind)
                .expect("a model of each kind");
            stories.checkout_failure_share(end - TimeDelta::days(days), model)
        };
        assert!(share(23, DeviceKind::Mobile) > 0.0);
        assert!(share(20, DeviceKind::Mobile) > 0.0);
        assert_eq!(share(19, DeviceKind::Mobile), 0.0);
        assert_eq!(share(24, DeviceKind::Mobile), 0.0);
        assert_eq!(share(21, DeviceKind::Desktop), 0.0);
    }
}
