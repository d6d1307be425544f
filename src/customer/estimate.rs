//! Frequencies as probabilities: of the people in a bin, to how many did it happen?
//!
//! A bin of few people says little, so each is drawn towards the rate of everybody by a Beta prior: as if
//! [`PRIOR_PEOPLE`] more people with exactly that rate were in it. How good the estimates are is measured on people
//! they were not made of: five folds, each estimated by a model of the other four.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// People the prior stands for: a bin of as many is half its own and half everybody's.
pub(crate) const PRIOR_PEOPLE: f64 = 20.0;

/// Fewer people are too few to estimate from.
pub(crate) const PEOPLE_MIN: u64 = 500;

/// Fewer to whom it happened, or to whom it did not, are too few.
pub(crate) const OUTCOMES_MIN: u64 = 30;

/// Parts that people are divided in to measure a model on others than those it was made of.
pub(crate) const FOLDS: usize = 5;

/// Lines of a reliability table.
const RELIABILITY_LINES: usize = 10;

/// Returns the fold of a person: always the same one, and unrelated to anything about them.
pub(crate) fn fold_of(id: Uuid) -> usize {
    (id.as_u128() % FOLDS as u128) as usize
}

/// One person of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) bin: usize,
    pub(crate) happened: bool,
    pub(crate) fold: usize,
}

/// People who stood alike, and to how many of them it happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Bin {
    pub(crate) people: u64,
    pub(crate) happened: u64,
}

impl Bin {
    fn add(&mut self, case: Case) {
        self.people += 1;
        self.happened += u64::from(case.happened);
    }

    fn rate(self) -> f64 {
        self.happened as f64 / self.people.max(1) as f64
    }
}

/// What happened to whom, by bin.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Model {
    pub(crate) bins: Vec<Bin>,
    pub(crate) total: Bin,
}

/// A probability and the people it was counted from.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub(crate) struct Estimate {
    /// `(happened + prior_people × base_rate) / (people + prior_people)`.
    pub(crate) value: f64,
    /// Whom the person is compared with.
    pub(crate) group: String,
    /// People who were in that group 30 days before the model was made.
    pub(crate) people: u64,
    /// To how many of them it happened within those 30 days.
    pub(crate) happened: u64,
    /// The rate of all groups together.
    pub(crate) base_rate: f64,
    pub(crate) prior_people: f64,
}

impl Model {
    /// Counts cases.
    ///
    /// # Panics
    /// When a case lies in no bin.
    pub(crate) fn of<'case>(cases: impl IntoIterator<Item = &'case Case>, bins: usize) -> Self {
        let mut model = Self {
            bins: vec![Bin::default(); bins],
            total: Bin::default(),
        };
        for case in cases {
            model.bins[case.bin].add(*case);
            model.total.add(*case);
        }
        model
    }

    /// Returns the probability in a bin, between 0 and 1.
    pub(crate) fn probability(&self, bin: usize) -> f64 {
        let Bin { people, happened } = self.bins.get(bin).copied().unwrap_or_default();
        (happened as f64 + PRIOR_PEOPLE * self.total.rate()) / (people as f64 + PRIOR_PEOPLE)
    }

    /// Returns the probability in a bin with all it rests on; `meaning` says in words who is in the bin.
    pub(crate) fn estimate(&self, bin: usize, meaning: String) -> Estimate {
        let Bin { people, happened } = self.bins.get(bin).copied().unwrap_or_default();
        Estimate {
            value: self.probability(bin),
            group: meaning,
            people,
            happened,
            base_rate: self.total.rate(),
            prior_people: PRIOR_PEOPLE,
        }
    }
}

/// How many people and outcomes there were, and how well a model of them foretells others.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub(crate) struct Calibration {
    /// People it was counted from.
    pub(crate) people: u64,
    /// To how many of them it happened.
    pub(crate) happened: u64,
    /// People it takes at least.
    pub(crate) people_min: u64,
    /// People to whom it happened, and people to whom it did not, that it takes at least.
    pub(crate) outcomes_min: u64,
    /// Absent where there was too little to estimate from.
    pub(crate) quality: Option<Quality>,
}

/// How well estimates foretold what happened to people that they were not made of.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub(crate) struct Quality {
    /// Mean squared distance of estimate and outcome: 0 is perfect.
    pub(crate) brier: f64,
    /// The same for saying the overall rate of everybody.
    pub(crate) brier_of_base_rate: f64,
    pub(crate) reliability: Vec<Reliability>,
}

/// People with estimates in one range, and what happened to them.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub(crate) struct Reliability {
    /// Inclusive.
    pub(crate) from: f64,
    /// Exclusive, but for 1.
    pub(crate) to: f64,
    pub(crate) people: u64,
    pub(crate) mean_estimate: f64,
    /// Share of them to whom it happened.
    pub(crate) observed: f64,
}

/// Makes a model and measures it; without one where there is too little to count.
pub(crate) fn fit(cases: &[Case], bins: usize) -> (Option<Model>, Calibration) {
    let model = Model::of(cases, bins);
    let Bin { people, happened } = model.total;
    let is_enough = people >= PEOPLE_MIN && happened.min(people - happened) >= OUTCOMES_MIN;
    let calibration = Calibration {
        people,
        happened,
        people_min: PEOPLE_MIN,
        outcomes_min: OUTCOMES_MIN,
        quality: is_enough.then(|| quality(cases, bins)),
    };
    (is_enough.then_some(model), calibration)
}

fn quality(cases: &[Case], bins: usize) -> Quality {
    let others: Vec<Model> = (0..FOLDS)
        .map(|fold| Model::of(cases.iter().filter(|case| case.fold != fold), bins))
        .collect();
    let foretold: Vec<(f64, bool)> = cases
        .iter()
        .map(|case| (others[case.fold].probability(case.bin), case.happened))
        .collect();
    let plain = cases
        .iter()
        .map(|case| (others[case.fold].total.rate(), case.happened));
    Quality {
        brier: brier(foretold.iter().copied()),
        brier_of_base_rate: brier(plain),
        reliability: reliability(&foretold),
    }
}

fn brier(foretold: impl ExactSizeIterator<Item = (f64, bool)>) -> f64 {
    let count = foretold.len().max(1) as f64;
    let squares = foretold.map(|(estimate, happened)| (estimate - f64::from(u8::from(happened))).powi(2));
    squares.sum::<f64>() / count
}

/// Returns a line for each tenth in which there are estimates.
pub(crate) fn reliability(foretold: &[(f64, bool)]) -> Vec<Reliability> {
    let mut lines = vec![(Bin::default(), 0.0); RELIABILITY_LINES];
    for (estimate, happened) in foretold {
        let place = ((estimate * RELIABILITY_LINES as f64) as usize).min(RELIABILITY_LINES - 1);
        let (bin, sum) = &mut lines[place];
        bin.people += 1;
        bin.happened += u64::from(*happened);
        *sum += estimate;
    }
    let line = |(place, (bin, sum)): (usize, (Bin, f64))| Reliability {
        from: place as f64 / RELIABILITY_LINES as f64,
        to: (place + 1) as f64 / RELIABILITY_LINES as f64,
        people: bin.people,
        mean_estimate: sum / bin.people as f64,
        observed: bin.rate(),
    };
    let lines = lines
        .into_iter()
        .enumerate()
        .filter(|(_, (bin, _))| bin.people > 0);
    lines.map(line).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cases(bins: &[(u64, u64)]) -> Vec<Case> {
        let of_bin = |(bin, (people, happened)): (usize, &(u64, u64))| {
            let happened = *happened;
            (0..*people).map(move |number| Case {
                bin,
                happened: number < happened,
                fold: number as usize % FOLDS,
            })
        };
        bins.iter().enumerate().flat_map(of_bin).collect()
    }

    /// The worked example of docs/analysis/scores.md.
    #[test]
    fn the_documented_example_comes_out_as_it_says() {
        let (model, calibration) = fit(&cases(&[(60, 12), (540, 168)]), 2);
        assert_eq!((calibration.people, calibration.happened), (600, 180));
        let estimate = model.unwrap().estimate(0, String::new());
        assert!((estimate.value - 0.225).abs() < 1e-12, "{}", estimate.value);
    }

    #[test]
    fn too_few_people_or_outcomes_make_no_model() {
        for (bins, is_enough) in [
            ([(499, 200)], false),
            ([(500, 200)], true),
            ([(500, 29)], false),
            ([(500, 30)], true),
            ([(500, 471)], false),
            ([(500, 470)], true),
            ([(0, 0)], false),
        ] {
            let (model, calibration) = fit(&cases(&bins), 1);
            assert_eq!(model.is_some(), is_enough, "{bins:?}");
            assert_eq!(calibration.quality.is_some(), is_enough, "{bins:?}");
        }
    }

    #[test]
    fn groups_that_differ_are_foretold_better_than_by_the_overall_rate() {
        let (_, calibration) = fit(&cases(&[(1000, 100), (1000, 900)]), 2);
        let quality = calibration.quality.unwrap();
        assert!(
            quality.brier < 0.1 && quality.brier_of_base_rate > 0.2,
            "{quality:?}"
        );
        let people: u64 = quality.reliability.iter().map(|line| line.people).sum();
        assert_eq!(people, 2000);
    }

    proptest! {
        #[test]
        fn an_estimate_lies_between_its_group_and_everybody(bins in prop::collection::vec((1u64..200, 0u64..200), 1..6)) {
            let bins: Vec<_> = bins.into_iter().map(|(people, happened)| (people, happened.min(people))).collect();
            let model = Model::of(&cases(&bins), bins.len());
            for (bin, (people, happened)) in bins.iter().enumerate() {
                let own = *happened as f64 / *people as f64;
                let (low, high) = (own.min(model.total.rate()), own.max(model.total.rate()));
                let value = model.probability(bin);
                prop_assert!((low - 1e-12..=high + 1e-12).contains(&value));
            }
        }
    }
}
