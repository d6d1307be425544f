//! Engagement of a customer, 0 to 100: how lately, how often, how deeply, and whether with purchases.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Behaviour;

/// Days after which a visit counts half: a fortnight, so that who comes each week keeps most of the points.
const HALF_LIFE_DAYS: f64 = 14.0;

/// Sessions in 30 days that have all points: twice a week.
const SESSIONS_FULL: i64 = 8;

/// Orders in 90 days that have all points: one a month.
const ORDERS_FULL: i64 = 3;

/// Points of the four parts; 100 together.
const WEIGHTS: [f64; 4] = [30.0, 25.0, 30.0, 15.0];

/// Names of the four inputs, in the order of [`WEIGHTS`].
const INPUTS: [&str; 4] = [
    "days_since_last_session",
    "sessions_30_days",
    "mean_session_engagement_90_days",
    "orders_90_days",
];

/// One input of a score, and what it brought.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub(crate) struct Part {
    pub(crate) input: String,
    pub(crate) value: f64,
    /// Points it brings at most.
    pub(crate) weight: f64,
    /// Points it brought.
    pub(crate) points: f64,
}

/// The parts of the score; it is their sum, rounded.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub(crate) struct Engagement {
    pub(crate) parts: Vec<Part>,
}

impl Engagement {
    /// Measures a person as of `at`.
    pub(crate) fn of(person: &Behaviour, at: DateTime<Utc>) -> Self {
        let recency = person.recency_days(at).max(0.0);
        let depth = person.engagement_90_days.unwrap_or(0.0).clamp(0.0, 100.0);
        let values = [
            recency,
            person.sessions_30_days as f64,
            depth,
            person.orders_90_days as f64,
        ];
        let shares = [
            (-recency / HALF_LIFE_DAYS).exp2(),
            share(person.sessions_30_days, SESSIONS_FULL),
            depth / 100.0,
            share(person.orders_90_days, ORDERS_FULL),
        ];
        let part = |place: usize| Part {
            input: INPUTS[place].into(),
            value: values[place],
            weight: WEIGHTS[place],
            points: WEIGHTS[place] * shares[place],
        };
        Self {
            parts: (0..INPUTS.len()).map(part).collect(),
        }
    }

    /// Returns the score, 0 to 100.
    pub(crate) fn score(&self) -> i16 {
        let points: f64 = self.parts.iter().map(|part| part.points).sum();
        points.round().clamp(0.0, 100.0) as i16
    }
}

fn share(count: i64, full: i64) -> f64 {
    count.clamp(0, full) as f64 / full as f64
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::customer::testing::visitor;

    fn now() -> DateTime<Utc> {
        "2026-06-15T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn weights_are_a_hundred_points() {
        assert_eq!(WEIGHTS.iter().sum::<f64>(), 100.0);
    }

    /// The worked example of docs/analysis/scores.md.
    #[test]
    fn the_documented_example_comes_out_as_it_says() {
        let person = Behaviour {
            sessions_30_days: 4,
            engagement_90_days: Some(60.0),
            orders_90_days: 1,
            ..visitor(1, now() - TimeDelta::days(7))
        };
        let engagement = Engagement::of(&person, now());
        let points: Vec<String> = engagement
            .parts
            .iter()
            .map(|part| format!("{:.1}", part.points))
            .collect();
        assert_eq!(points, ["21.2", "12.5", "18.0", "5.0"]);
        assert_eq!(engagement.score(), 57);
    }

    fn person() -> impl Strategy<Value = Behaviour> {
        (0i64..400, 0i64..40, 0f64..=100.0, 0i64..10).prop_map(|(days, sessions, depth, orders)| Behaviour {
            sessions_30_days: sessions,
            engagement_90_days: Some(depth),
            orders_90_days: orders,
            ..visitor(1, now() - TimeDelta::days(days))
        })
    }

    proptest! {
        #[test]
        fn more_of_anything_never_lowers_it(person in person(), more in 1i64..5) {
            let score = |person: &Behaviour| Engagement::of(person, now()).score();
            let base = score(&person);
            prop_assert!((0..=100).contains(&base));
            let later = Behaviour { last_session_at: person.last_session_at + TimeDelta::hours(more), ..person.clone() };
            let oftener = Behaviour { sessions_30_days: person.sessions_30_days + more, ..person.clone() };
            let deeper = Behaviour {
                engagement_90_days: person.engagement_90_days.map(|depth| depth + more as f64),
                ..person.clone()
            };
            let richer = Behaviour { orders_90_days: person.orders_90_days + more, ..person.clone() };
            for better in [later, oftener, deeper, richer] {
                prop_assert!(score(&better) >= base);
            }
        }
    }
}
