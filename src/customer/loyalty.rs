//! Loyalty tier: how often somebody bought within a year.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Behaviour;

/// Every tier, the lowest first.
pub(crate) const TIERS: [&str; 6] = ["visitor", "lapsed", "bronze", "silver", "gold", "platinum"];

/// What the tier rests on.
///
/// `visitor` never bought, `lapsed` did, but not within 365 days; within them it is one order for `bronze`, two for
/// `silver`, four for `gold` and eight for `platinum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub(crate) struct Loyalty {
    pub(crate) orders_365_days: i64,
    pub(crate) orders: i64,
}

impl Loyalty {
    pub(crate) fn of(person: &Behaviour) -> Self {
        Self {
            orders_365_days: person.orders_365_days,
            orders: person.orders,
        }
    }

    /// Returns the tier.
    pub(crate) fn tier(self) -> &'static str {
        TIERS[match self.orders_365_days {
            8.. => 5,
            4.. => 4,
            2.. => 3,
            1.. => 2,
            _ => usize::from(self.orders > 0),
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tier_begins_where_it_says() {
        let tiers = [
            (0, 0),
            (0, 3),
            (1, 1),
            (2, 2),
            (3, 9),
            (4, 4),
            (7, 7),
            (8, 8),
            (50, 50),
        ]
        .map(|(orders_365_days, orders)| {
            Loyalty {
                orders_365_days,
                orders,
            }
            .tier()
        });
        assert_eq!(
            tiers,
            [
                "visitor", "lapsed", "bronze", "silver", "silver", "gold", "gold", "platinum", "platinum"
            ]
        );
    }
}
