//! The Markov chain of order 1 behind the data-driven model.
//!
//! Its states are the values of the dimension, a start, a conversion and its absence. The removal effect of a value is
//! the share of conversions that would be missing if every path that comes to it ended there without one (source:
//! Anderl, Becker, von Wangenheim, Schumann: "Mapping the customer journey", International Journal of Research in
//! Marketing 33, 2016).

/// How often one state followed another.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    values: usize,
    /// Rows are the values, then the start; columns are the values, then the conversion, then its absence.
    counts: Vec<u32>,
}

impl Chain {
    pub(super) fn new(values: usize) -> Self {
        Self {
            values,
            counts: vec![0; (values + 1) * (values + 2)],
        }
    }

    /// Adds a path: the values it touched, and whether it ended in a conversion.
    ///
    /// A value that follows itself is left out: staying there changes nothing about where a path ends.
    pub(super) fn push(&mut self, path: impl Iterator<Item = usize>, converted: bool) {
        let width = self.values + 2;
        let mut state = self.values;
        for next in path {
            if next != state {
                self.counts[state * width + next] += 1;
                state = next;
            }
        }
        let end = if converted { self.values } else { self.values + 1 };
        self.counts[state * width + end] += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let numbers = self.counts.iter_mut().zip(&other.counts);
        numbers.for_each(|(number, other)| *number += other);
    }

    /// Returns the removal effect of each value, in `0.0..=1.0`; all zero when nothing converted.
    ///
    /// A path is lost without a value when it comes there and then converts. So the effect is the chance to ever come
    /// there, times the chance to convert from there, over the chance to convert at all; and one inverse has all three.
    pub(super) fn removal_effects(&self) -> Vec<f64> {
        let inverse = self.visits();
        let start = self.row(self.values);
        let n = self.values;
        // Expected visits of each value on a path from the start.
        let mut visits = vec![0.0; n];
        for (from, chance) in start[..n].iter().enumerate().filter(|(_, chance)| **chance > 0.0) {
            let row = &inverse[from * n..(from + 1) * n];
            visits
                .iter_mut()
                .zip(row)
                .for_each(|(sum, mean)| *sum += chance * mean);
        }
        let converting: Vec<f64> = (0..n).map(|value| self.row(value)[n]).collect();
        let from_value = |value: usize| -> f64 {
            let row = &inverse[value * n..(value + 1) * n];
            row.iter()
                .zip(&converting)
                .map(|(mean, chance)| mean * chance)
                .sum()
        };
        let at_all: f64 = visits
            .iter()
            .zip(&converting)
            .map(|(mean, chance)| mean * chance)
            .sum();
        let effect = |value: usize| {
            if at_all == 0.0 {
                return 0.0;
            }
            let coming_there = visits[value] / inverse[value * n + value];
            (coming_there * from_value(value) / at_all).clamp(0.0, 1.0)
        };
        (0..n).map(effect).collect()
    }

    /// Returns the chances to go from a state to each other.
    fn row(&self, state: usize) -> Vec<f64> {
        let width = self.values + 2;
        let counts = &self.counts[state * width..(state + 1) * width];
        let sum: u64 = counts.iter().map(|count| u64::from(*count)).sum();
        counts
            .iter()
            .map(|count| f64::from(*count) / sum.max(1) as f64)
            .collect()
    }

    /// Returns the mean number of visits to each value from each value: the inverse of `1 - Q`, row by row.
    ///
    /// Every path ends, so every value leads out, and no pivot is zero: rows are dominated by their diagonal, which
    /// makes elimination stable without exchanging rows.
    fn visits(&self) -> Vec<f64> {
        let n = self.values;
        let mut matrix = vec![0.0; n * n];
        let mut inverse = vec![0.0; n * n];
        for value in 0..n {
            let row = self.row(value);
            let negated = row[..n].iter().map(|chance| -chance);
            matrix[value * n..(value + 1) * n]
                .iter_mut()
                .zip(negated)
                .for_each(|(cell, chance)| *cell = chance);
            matrix[value * n + value] += 1.0;
            inverse[value * n + value] = 1.0;
        }
        for pivot in 0..n {
            let scale = 1.0 / matrix[pivot * n + pivot];
            for table in [&mut matrix, &mut inverse] {
                table[pivot * n..(pivot + 1) * n]
                    .iter_mut()
                    .for_each(|cell| *cell *= scale);
            }
            let pivot_rows = [&matrix, &inverse].map(|table| table[pivot * n..(pivot + 1) * n].to_vec());
            for row in (0..n).filter(|row| *row != pivot) {
                let factor = matrix[row * n + pivot];
                if factor == 0.0 {
                    continue;
                }
                for (table, pivot_row) in [&mut matrix, &mut inverse].into_iter().zip(&pivot_rows) {
                    let cells = table[row * n..(row + 1) * n].iter_mut();
                    cells
                        .zip(pivot_row)
                        .for_each(|(cell, above)| *cell -= factor * above);
                }
            }
        }
        inverse
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::analysis::attribution) type Paths = Vec<(Vec<usize>, bool)>;

    fn chain(values: usize, paths: &Paths) -> Chain {
        let mut chain = Chain::new(values);
        for (path, converted) in paths {
            chain.push(path.iter().copied(), *converted);
        }
        chain
    }

    /// The chance to convert when `removed` leads nowhere: walks all chances forward until nothing is under way. Values
    /// that follow themselves stay in.
    pub(in crate::analysis::attribution) fn chance(
        values: usize,
        paths: &Paths,
        removed: Option<usize>,
    ) -> f64 {
        let mut counts = vec![vec![0.0; values + 2]; values + 1];
        for (path, converted) in paths {
            let mut state = values;
            for next in path {
                counts[state][*next] += 1.0;
                state = *next;
            }
            counts[state][if *converted { values } else { values + 1 }] += 1.0;
        }
        let mut under_way = vec![0.0; values + 1];
        under_way[values] = 1.0;
        let mut arrived = 0.0;
        while under_way.iter().sum::<f64>() > 1e-13 {
            let mut next = vec![0.0; values + 1];
            for (state, chance) in under_way.iter().enumerate() {
                let sum: f64 = counts[state].iter().sum();
                for target in (0..values).filter(|target| sum > 0.0 && Some(*target) != removed) {
                    next[target] += chance * counts[state][target] / sum;
                }
                if sum > 0.0 {
                    arrived += chance * counts[state][values] / sum;
                }
            }
            under_way = next;
        }
        arrived
    }

    fn paths() -> impl Strategy<Value = Paths> {
        prop::collection::vec((prop::collection::vec(0_usize..5, 1..6), any::<bool>()), 1..12)
    }

    proptest! {
        #[test]
        fn the_effect_is_what_is_missing_without_the_value(paths in paths()) {
            let all = chance(5, &paths, None);
            for (value, effect) in chain(5, &paths).removal_effects().into_iter().enumerate() {
                let expected = if all > 0.0 { 1.0 - chance(5, &paths, Some(value)) / all } else { 0.0 };
                prop_assert!((effect - expected).abs() < 1e-9, "{value}: {effect} {expected}");
            }
        }

        #[test]
        fn what_converts_has_an_effect(paths in paths()) {
            let effects = chain(5, &paths).removal_effects();
            for (path, _) in paths.iter().filter(|(_, converted)| *converted) {
                prop_assert!(effects[path[0]] > 0.0);
            }
        }
    }

    #[test]
    fn parts_of_the_paths_add_up() {
        let paths: Paths = vec![(vec![0, 1, 2], true), (vec![0], false), (vec![2], true)];
        let mut merged = chain(3, &paths[..1].to_vec());
        merged.merge(&chain(3, &paths[1..].to_vec()));
        assert_eq!(merged.counts, chain(3, &paths).counts);
        let effects = merged.removal_effects();
        for (effect, expected) in effects.iter().zip([0.5, 0.5, 1.0]) {
            assert!((effect - expected).abs() < 1e-12, "{effects:?}");
        }
    }
}
