//! RFM: how lately, how often and for how much somebody bought, each as a fifth of the site's own buyers.
//!
//! Source: Hughes, "Strategic Database Marketing" (1994). A mark is 1 plus the number of fifths of all buyers whose
//! value is smaller: people of equal value have equal marks, so a fifth may be larger or empty where many are equal.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Behaviour;

/// Fewer buyers make no fifths: each has ten at least.
pub(crate) const BUYERS_MIN: usize = 50;

const FIFTHS: usize = 5;

/// The three marks of a buyer, 1 (least) to 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = RfmCell)]
pub(crate) struct Cell {
    /// How lately.
    pub(crate) recency: i16,
    /// How often.
    pub(crate) frequency: i16,
    /// For how much, in the main currency.
    pub(crate) monetary: i16,
}

/// What the marks rest on.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub(crate) struct Inputs {
    pub(crate) last_order_at: DateTime<Utc>,
    pub(crate) orders: i64,
    /// Exact decimal in `currency`.
    #[schema(value_type = String)]
    pub(crate) revenue: Decimal,
    /// The currency most orders are in; revenue in others is not counted. Empty for sales without one.
    pub(crate) currency: String,
    /// Buyers among whom the person is ranked.
    pub(crate) buyers: usize,
    /// The value from which each mark from 2 to 5 begins; `null` where nobody has it.
    pub(crate) recency_from: Vec<Option<DateTime<Utc>>>,
    pub(crate) frequency_from: Vec<Option<i64>>,
    #[schema(value_type = Vec<Option<String>>)]
    pub(crate) monetary_from: Vec<Option<Decimal>>,
}

/// The values from which each mark begins.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Thresholds {
    pub(crate) buyers: usize,
    pub(crate) currency: String,
    recency: Vec<Option<DateTime<Utc>>>,
    frequency: Vec<Option<i64>>,
    monetary: Vec<Option<Decimal>>,
}

impl Thresholds {
    /// Ranks the buyers among these people; `None` when there are fewer than [`BUYERS_MIN`].
    pub(crate) fn of<'person>(
        people: impl IntoIterator<Item = &'person Behaviour>,
        currency: &str,
    ) -> Option<Self> {
        let (mut recency, mut frequency, mut monetary) = (Vec::new(), Vec::new(), Vec::new());
        for person in people {
            if let Some(last) = person.last_order_at {
                recency.push(last);
                frequency.push(person.orders);
                monetary.push(person.revenue);
            }
        }
        (recency.len() >= BUYERS_MIN).then(|| Self {
            buyers: recency.len(),
            currency: currency.to_owned(),
            recency: thresholds(recency),
            frequency: thresholds(frequency),
            monetary: thresholds(monetary),
        })
    }

    /// Returns the marks of a buyer and what they rest on; `None` for others.
    pub(crate) fn rank(&self, person: &Behaviour) -> Option<(Cell, Inputs)> {
        let last_order_at = person.last_order_at?;
        let cell = Cell {
            recency: mark(&self.recency, last_order_at),
            frequency: mark(&self.frequency, person.orders),
            monetary: mark(&self.monetary, person.revenue),
        };
        let inputs = Inputs {
            last_order_at,
            orders: person.orders,
            revenue: person.revenue,
            currency: self.currency.clone(),
            buyers: self.buyers,
            recency_from: self.recency.clone(),
            frequency_from: self.frequency.clone(),
            monetary_from: self.monetary.clone(),
        };
        Some((cell, inputs))
    }
}

/// Returns the value from which each mark from 2 on begins: the smallest that so many fifths have less than.
fn thresholds<T: Ord + Copy>(mut values: Vec<T>) -> Vec<Option<T>> {
    values.sort_unstable();
    let count = values.len();
    let begin = |fifth: usize| {
        // The first place that a whole fifth lies before; equal values before it would share its mark.
        let place = (fifth * count).div_ceil(FIFTHS);
        let value = *values.get(place)?;
        let first = values.partition_point(|other| *other < value);
        if first >= place {
            return Some(value);
        }
        values
            .get(values.partition_point(|other| *other <= value))
            .copied()
    };
    (1..FIFTHS).map(begin).collect()
}

fn mark<T: Ord + Copy>(thresholds: &[Option<T>], value: T) -> i16 {
    let reached = thresholds
        .iter()
        .filter(|from| from.is_some_and(|from| value >= from));
    1 + reached.count() as i16
}

impl Cell {
    /// Returns the group: recency against the mean of frequency and monetary, rounded up from the half.
    pub(crate) fn segment(self) -> &'static str {
        let value = (self.frequency + self.monetary + 1) / 2;
        match (self.recency, value) {
            (4.., 5..) => "champions",
            (3.., 4..) => "loyal",
            (4.., 2..) => "potential_loyal",
            (5.., _) => "new",
            (4, _) => "promising",
            (3, 3) => "needs_attention",
            (3, _) => "about_to_sleep",
            (1, 5..) => "cannot_lose",
            (_, 3..) => "at_risk",
            (2, _) => "about_to_sleep",
            _ => "lost",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::TimeDelta;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::customer::testing::visitor;

    const SEGMENTS: [&str; 10] = [
        "champions",
        "loyal",
        "potential_loyal",
        "new",
        "promising",
        "needs_attention",
        "cannot_lose",
        "at_risk",
        "about_to_sleep",
        "lost",
    ];

    fn now() -> DateTime<Utc> {
        "2026-06-15T12:00:00Z".parse().unwrap()
    }

    fn buyer(days: i64, orders: i64, revenue: i64) -> Behaviour {
        Behaviour {
            orders,
            last_order_at: Some(now() - TimeDelta::days(days)),
            revenue: Decimal::new(revenue, 2),
            ..visitor(1, now())
        }
    }

    /// What a mark means: how many whole fifths of all have less.
    fn brute_mark<T: Ord>(all: &[T], value: &T) -> i16 {
        let less = all.iter().filter(|other| *other < value).count();
        1 + (less * FIFTHS / all.len()) as i16
    }

    proptest! {
        #[test]
        fn marks_are_fifths_of_those_who_have_less(
            buyers in vec((0i64..40, 1i64..5, 0i64..1000), BUYERS_MIN..160),
        ) {
            let people: Vec<Behaviour> = buyers.iter().map(|(days, orders, cents)| buyer(*days, *orders, *cents)).collect();
            let thresholds = Thresholds::of(&people, "EUR").unwrap();
            let last: Vec<_> = people.iter().map(|person| person.last_order_at.unwrap()).collect();
            let orders: Vec<_> = people.iter().map(|person| person.orders).collect();
            let revenue: Vec<_> = people.iter().map(|person| person.revenue).collect();
            for (place, person) in people.iter().enumerate() {
                let (cell, _) = thresholds.rank(person).unwrap();
                let expected = Cell {
                    recency: brute_mark(&last, &last[place]),
                    frequency: brute_mark(&orders, &orders[place]),
                    monetary: brute_mark(&revenue, &revenue[place]),
                };
                prop_assert_eq!(cell, expected);
            }
        }
    }

    #[test]
    fn without_enough_buyers_there_are_no_marks() {
        let people: Vec<Behaviour> = (1..BUYERS_MIN as i64).map(|days| buyer(days, 1, 100)).collect();
        assert_eq!(Thresholds::of(&people, "EUR"), None);
        let mut enough = people;
        enough.push(buyer(0, 1, 100));
        let thresholds = Thresholds::of(&enough, "EUR").unwrap();
        assert_eq!(thresholds.rank(&visitor(1, now())), None);
    }

    #[test]
    fn buyers_who_are_all_alike_have_the_lowest_mark() {
        let people = vec![buyer(3, 1, 100); 60];
        let (cell, inputs) = Thresholds::of(&people, "EUR").unwrap().rank(&people[0]).unwrap();
        assert_eq!([cell.recency, cell.frequency, cell.monetary], [1, 1, 1]);
        assert_eq!(inputs.frequency_from, [None; 4]);
    }

    #[test]
    fn the_documented_table_is_what_cells_are_called() {
        let page = include_str!("../../docs/analysis/scores.md");
        for recency in 1..=5 {
            let begin = format!("| R = {recency} |");
            let line = page
                .lines()
                .find_map(|line| line.strip_prefix(begin.as_str()))
                .unwrap();
            let named: Vec<&str> = line.trim_end_matches('|').split('|').map(str::trim).collect();
            let cell = |mark| Cell {
                recency,
                frequency: mark,
                monetary: mark,
            };
            let called: Vec<&str> = (1..=5).map(|mark| cell(mark).segment()).collect();
            assert_eq!(named, called, "R = {recency}");
        }
    }

    #[test]
    fn every_cell_has_a_segment_and_every_segment_a_cell() {
        let marks = 1..=5;
        let mut found = BTreeSet::new();
        for recency in marks.clone() {
            for frequency in marks.clone() {
                found.extend(marks.clone().map(|monetary| {
                    Cell {
                        recency,
                        frequency,
                        monetary,
                    }
                    .segment()
                }));
            }
        }
        assert_eq!(found, SEGMENTS.into_iter().collect());
    }
}
