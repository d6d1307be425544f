//! The funnel by a dimension of the session in which it was entered.

use std::collections::BTreeMap;

use foldhash::HashMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    definition::CountBy,
    result::{Seconds, seconds},
    tally::Tally,
};
use crate::{
    analysis::{dimension::Dimension, statistics::rate},
    index::Names,
};

/// Values shown; the others are summed up.
const ROWS_MAX: usize = 50;

/// The funnel by value; the rows add up to the whole.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Breakdown {
    pub dimension: Dimension,
    /// At most 50, those with the most entries first.
    pub rows: Vec<BreakdownRow>,
    /// All other values together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<BreakdownRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct BreakdownRow {
    /// The value of the session in which the chain was entered; `null` for sessions without one.
    pub value: Option<String>,
    pub entered: u64,
    pub converted: u64,
    /// Absent below 30 people.
    pub conversion_rate: Option<f64>,
    /// Who did each step.
    pub steps: Vec<u64>,
    /// From entry to last step.
    pub seconds_to_convert: Option<Seconds>,
}

impl Breakdown {
    /// Puts counts by key into rows. Keys with the same text, as of one path on two hosts, are one.
    pub fn new(
        dimension: Dimension,
        count_by: CountBy,
        tallies: HashMap<u32, Tally>,
        names: &Names,
        steps: usize,
    ) -> Self {
        // Sessions of one person may have different values, a person has one.
        let merge = match count_by {
            CountBy::Person => Tally::merge,
            CountBy::Session => Tally::merge_overlapping,
        };
        let mut by_text: BTreeMap<Option<String>, Tally> = BTreeMap::new();
        for (key, tally) in tallies {
            let text = dimension.text(names, key).map(str::to_owned);
            merge(by_text.entry(text).or_insert_with(|| Tally::new(steps)), tally);
        }
        let mut sorted: Vec<(Option<String>, Tally)> = by_text.into_iter().collect();
        sorted.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.entered()));
        let rest = sorted.split_off(sorted.len().min(ROWS_MAX));
        let other = rest.into_iter().map(|(_, tally)| tally).reduce(|mut sum, tally| {
            merge(&mut sum, tally);
            sum
        });
        Self {
            dimension,
            rows: sorted
                .into_iter()
                .map(|(value, tally)| BreakdownRow::new(value, tally))
                .collect(),
            other: other.map(|tally| BreakdownRow::new(None, tally)),
        }
    }
}

impl BreakdownRow {
    fn new(value: Option<String>, mut tally: Tally) -> Self {
        let people = tally.steps.first().map_or(0, |step| step.people);
        Self {
            value,
            entered: tally.entered(),
            converted: tally.converted(),
            conversion_rate: rate(tally.converted(), tally.entered(), people),
            steps: tally.steps.iter().map(|step| step.entered).collect(),
            seconds_to_convert: seconds(&mut tally.to_convert),
        }
    }
}
