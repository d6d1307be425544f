//! Conversion probability: the probability that somebody orders within 30 days.
//!
//! People are compared with those who had ordered as often, had been away as long, and had shown as much intent.

use chrono::{DateTime, Utc};

use super::{
    Behaviour,
    churn::{place, span},
};

/// Days since the last session, up to which each group reaches; the last is open.
const DAYS: [f64; 3] = [2.0, 7.0, 30.0];

/// Earlier orders.
const ORDERS: [&str; 3] = ["no order yet", "one order", "2 orders or more"];

/// Engagement of 90 days from which a person counts as interested: half of what a session can have.
const INTERESTED: f64 = 50.0;

/// What somebody seemed to want, the least first.
const INTENTS: [&str; 3] = [
    "mean session engagement below 50",
    "mean session engagement of 50 or more",
    "a cart left within 30 days",
];

/// How many groups there are.
pub(crate) const BINS: usize = ORDERS.len() * INTENTS.len() * (DAYS.len() + 1);

/// Returns the group a person is in as of `at`.
pub(crate) fn bin(person: &Behaviour, at: DateTime<Utc>) -> usize {
    let orders = person.orders.clamp(0, 2) as usize;
    let intent = if person.abandoned_30_days > 0 {
        2
    } else {
        usize::from(person.engagement_90_days.unwrap_or(0.0) >= INTERESTED)
    };
    let away = place(&DAYS, person.recency_days(at));
    (orders * INTENTS.len() + intent) * (DAYS.len() + 1) + away
}

/// Says who is in a group.
pub(crate) fn meaning(bin: usize) -> String {
    let (rest, away) = (bin / (DAYS.len() + 1), bin % (DAYS.len() + 1));
    let (orders, intent) = (rest / INTENTS.len(), rest % INTENTS.len());
    format!(
        "{}, {}, last session {} days ago",
        ORDERS[orders.min(ORDERS.len() - 1)],
        INTENTS[intent],
        span(&DAYS, away)
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::TimeDelta;

    use super::*;
    use crate::customer::testing::visitor;

    #[test]
    fn each_group_has_a_meaning_of_its_own() {
        let meanings: BTreeSet<String> = (0..BINS).map(meaning).collect();
        assert_eq!(meanings.len(), BINS);
    }

    #[test]
    fn a_person_is_in_the_group_whose_meaning_fits() {
        let now: DateTime<Utc> = "2026-06-15T12:00:00Z".parse().unwrap();
        let person = Behaviour {
            orders: 5,
            abandoned_30_days: 1,
            ..visitor(1, now - TimeDelta::days(3))
        };
        let expected = "2 orders or more, a cart left within 30 days, last session 2 to less than 7 days ago";
        assert_eq!(meaning(bin(&person, now)), expected);
        let stranger = visitor(1, now - TimeDelta::days(100));
        let expected = "no order yet, mean session engagement below 50, last session 30 or more days ago";
        assert_eq!(meaning(bin(&stranger, now)), expected);
    }
}
