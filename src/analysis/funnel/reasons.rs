//! What those who stopped at a step have in common, against those who went on.
//!
//! An association is no cause: it says where to look first.

use std::collections::BTreeMap;

use foldhash::HashMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::{matching::Plan, validation::Funnel, walk::Actor};
use crate::{
    analysis::{
        dimension::{DIMENSIONS, Dimension},
        statistics::{TwoByTwo, adjust_p_values},
    },
    index::{NameId, Names, Session},
};

/// Actors with a feature, below which it is not looked at.
pub const FEATURE_MIN: u64 = 25;

/// The same as a share of those at the step, in percent.
pub const FEATURE_PERCENT_MIN: u64 = 2;

/// Adjusted p value up to which a difference is called significant.
pub const SIGNIFICANCE: f64 = 0.05;

/// Features shown for each step.
const FEATURES_MAX: usize = 30;

/// What the sessions in which a step was done say about stopping there.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Reasons {
    pub step: usize,
    /// Who did no later step.
    pub dropped: u64,
    /// Who did a later one.
    pub went_on: u64,
    /// Features common enough to be looked at.
    pub tested: usize,
    /// At most 30: first what significantly goes with dropping, the most significant first.
    pub features: Vec<Feature>,
}

/// A value of a dimension, in the session in which the step was done.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Feature {
    pub dimension: Dimension,
    /// `null` for sessions without a value.
    pub value: Option<String>,
    /// With the feature: who did no later step.
    pub dropped: u64,
    /// With the feature: who did a later one.
    pub went_on: u64,
    /// Share that dropped with the feature.
    pub drop_rate: f64,
    /// Share that dropped without it.
    pub drop_rate_without: f64,
    /// `drop_rate` by the share that dropped of all at the step.
    pub lift: f64,
    /// Odds of dropping with the feature by those without it; above 1 it goes with dropping.
    pub odds_ratio: f64,
    /// Where the odds ratio lies with 95 % confidence.
    pub odds_ratio_low: f64,
    pub odds_ratio_high: f64,
    /// How probable a difference at least as large is if the feature made none.
    pub p_value: f64,
    /// The same, adjusted for the number of features in the whole answer (Benjamini and Hochberg).
    pub p_value_adjusted: f64,
    /// Whether the adjusted value is at most 0.05.
    pub significant: bool,
}

/// All there is to know of a session here; far fewer different ones than there are sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Traits {
    client: NameId,
    source: NameId,
    landing_page: NameId,
    flags: u16,
}

impl Traits {
    fn of(session: Session<'_>) -> Self {
        Self {
            client: session.client(),
            source: session.source(),
            landing_page: session.landing_page(),
            flags: session.flags(),
        }
    }

    /// Returns the same key as [`Dimension::key`] does of the session.
    fn key(self, dimension: Dimension, names: &Names) -> u32 {
        if let Some(flag) = dimension.flag() {
            return u32::from(self.flags & flag == flag);
        }
        let client = names.clients.get(self.client);
        let source = names.sources.get(self.source);
        match dimension {
            Dimension::DeviceType => client.device_type,
            Dimension::Browser => client.browser,
            Dimension::Os => client.os,
            Dimension::Country => client.country,
            Dimension::Channel => source.channel,
            Dimension::Source => source.source,
            Dimension::Medium => source.medium,
            Dimension::Campaign => source.campaign,
            Dimension::ReferrerHost => source.referrer_host,
            _ => self.landing_page,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    dropped: u64,
    went_on: u64,
}

/// Counts for each step but the last.
#[derive(Clone, Debug)]
pub struct ReasonsTally {
    steps: Vec<HashMap<Traits, Counts>>,
}

impl ReasonsTally {
    pub fn new(plan: &Plan) -> Self {
        Self {
            steps: vec![HashMap::default(); plan.rules.steps() - 1],
        }
    }

    /// Adds an actor.
    pub fn add(&mut self, actor: &Actor<'_>) {
        let furthest = actor.chain.furthest();
        for (step, _) in actor.chain.steps() {
            let Some(counts) = self.steps.get_mut(step) else {
                break;
            };
            let counts = counts.entry(Traits::of(actor.session_of(step))).or_default();
            if step == furthest {
                counts.dropped += 1;
            } else {
                counts.went_on += 1;
            }
        }
    }

    /// Adds the counts of other people.
    pub fn merge(&mut self, other: Self) {
        for (step, other) in self.steps.iter_mut().zip(other.steps) {
            for (traits, counts) in other {
                let sum = step.entry(traits).or_default();
                sum.dropped += counts.dropped;
                sum.went_on += counts.went_on;
            }
        }
    }

    /// Returns the answer for each step but the last.
    pub fn finish(self, funnel: &Funnel, names: &Names) -> Vec<Reasons> {
        debug_assert_eq!(self.steps.len() + 1, funnel.steps.len());
        let steps = self.steps.into_iter().enumerate();
        let mut answer: Vec<Reasons> = steps
            .map(|(at, counts)| reasons_of(at + 1, &counts, names))
            .collect();
        adjust(&mut answer);
        for reasons in &mut answer {
            reasons.features.sort_by(|one, other| {
                let says_less = |feature: &Feature| !feature.significant || feature.odds_ratio <= 1.0;
                says_less(one)
                    .cmp(&says_less(other))
                    .then_with(|| one.p_value_adjusted.total_cmp(&other.p_value_adjusted))
                    .then_with(|| other.odds_ratio.total_cmp(&one.odds_ratio))
            });
            reasons.features.truncate(FEATURES_MAX);
        }
        answer
    }
}

/// Dimensions that can be a reason: not those that say how the session ended.
fn dimensions() -> impl Iterator<Item = Dimension> {
    let is_outcome = |dimension: &Dimension| {
        matches!(
            dimension,
            Dimension::Converted | Dimension::Abandoned | Dimension::Engaged
        )
    };
    DIMENSIONS
        .into_iter()
        .filter(move |dimension| !is_outcome(dimension))
}

fn reasons_of(step: usize, counts: &HashMap<Traits, Counts>, names: &Names) -> Reasons {
    let sum = |part: fn(&Counts) -> u64| counts.values().map(part).sum::<u64>();
    let (dropped, went_on) = (sum(|counts| counts.dropped), sum(|counts| counts.went_on));
    let mut features = Vec::new();
    for dimension in dimensions() {
        let mut by_value: BTreeMap<Option<&str>, Counts> = BTreeMap::new();
        for (traits, counts) in counts {
            let key = traits.key(dimension, names);
            let sum = by_value.entry(dimension.text(names, key)).or_default();
            sum.dropped += counts.dropped;
            sum.went_on += counts.went_on;
        }
        // The absence of a trouble is its presence read backwards.
        if dimension.flag().is_some() {
            by_value.remove(&Some("false"));
        }
        for (value, with) in by_value {
            features.extend(feature(dimension, value, with, dropped, went_on));
        }
    }
    Reasons {
        step,
        dropped,
        went_on,
        tested: features.len(),
        features,
    }
}

/// Returns a feature unless it is too rare, or nobody is without it, or nobody stopped or nobody went on.
fn feature(
    dimension: Dimension,
    value: Option<&str>,
    with: Counts,
    dropped: u64,
    went_on: u64,
) -> Option<Feature> {
    let (count, all) = (with.dropped + with.went_on, dropped + went_on);
    let is_common = count >= FEATURE_MIN && count * 100 >= all * FEATURE_PERCENT_MIN;
    if !is_common || count == all || dropped == 0 || went_on == 0 {
        return None;
    }
    let table = TwoByTwo {
        a: with.dropped,
        b: with.went_on,
        c: dropped - with.dropped,
        d: went_on - with.went_on,
    };
    let odds = table.odds_ratio();
    let drop_rate = with.dropped as f64 / count as f64;
    let p_value = table.p_value();
    Some(Feature {
        dimension,
        value: value.map(str::to_owned),
        dropped: with.dropped,
        went_on: with.went_on,
        drop_rate,
        drop_rate_without: table.c as f64 / (all - count) as f64,
        lift: drop_rate / (dropped as f64 / all as f64),
        odds_ratio: odds.value,
        odds_ratio_low: odds.low,
        odds_ratio_high: odds.high,
        p_value,
        p_value_adjusted: p_value,
        significant: false,
    })
}

/// Adjusts the p values of all features of the answer together.
fn adjust(answer: &mut [Reasons]) {
    let features = || answer.iter().flat_map(|reasons| &reasons.features);
    let values: Vec<f64> = features().map(|feature| feature.p_value).collect();
    let adjusted = adjust_p_values(&values);
    let features = answer.iter_mut().flat_map(|reasons| &mut reasons.features);
    for (feature, adjusted) in features.zip(adjusted) {
        feature.p_value_adjusted = adjusted;
        feature.significant = adjusted <= SIGNIFICANCE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::testing::{Story, Visit};

    #[test]
    fn traits_have_the_keys_of_their_session() {
        let mut story = Story::default();
        let visit = Visit {
            campaign: Some("spring"),
            flags: 0b10_1010_1010,
            ..Visit::default()
        };
        story.visit_as(1, visit, &[(0, "click", ""), (5, "page_view", "/cart")]);
        let view = story.view();
        let names = view.names();
        let session = view.find(1).unwrap().sessions().next().unwrap();
        for dimension in DIMENSIONS {
            let key = Traits::of(session).key(dimension, &names);
            assert_eq!(key, dimension.key(&names, session), "{dimension:?}");
        }
    }
}
