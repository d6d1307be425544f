//! The statistics that answers rest on, each with its source.

/// People below which no percentage is claimed.
pub const PEOPLE_MIN: u64 = 30;

/// Two-sided 95 % quantile of the standard normal distribution.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// Returns `part / whole` where enough people stand behind it.
pub fn rate(part: u64, whole: u64, people: u64) -> Option<f64> {
    (people >= PEOPLE_MIN && whole > 0).then(|| part as f64 / whole as f64)
}

/// Counts of two groups with and without a feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TwoByTwo {
    /// First group with the feature.
    pub a: u64,
    /// Second group with the feature.
    pub b: u64,
    /// First group without it.
    pub c: u64,
    /// Second group without it.
    pub d: u64,
}

/// An odds ratio with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OddsRatio {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl TwoByTwo {
    fn total(self) -> u64 {
        self.a + self.b + self.c + self.d
    }

    /// Returns the odds of being in the first group with the feature, by those without it.
    ///
    /// The interval is Woolf's (On estimating the relation between blood group and disease, 1955), after one half was
    /// added to each cell (Haldane 1956, Anscombe 1956), so that an empty cell has a finite answer.
    pub fn odds_ratio(self) -> OddsRatio {
        let [a, b, c, d] = [self.a, self.b, self.c, self.d].map(|count| count as f64 + 0.5);
        let logarithm = (a * d / (b * c)).ln();
        let error = (1.0 / a + 1.0 / b + 1.0 / c + 1.0 / d).sqrt();
        OddsRatio {
            value: logarithm.exp(),
            low: (logarithm - Z_95 * error).exp(),
            high: (logarithm + Z_95 * error).exp(),
        }
    }

    /// Returns how probable a difference at least as large is if the feature made none.
    ///
    /// Fisher's exact test, two-sided, where a cell is expected to hold fewer than 5 (Cochran's rule, 1954); else the
    /// likelihood-ratio test G with one degree of freedom (Sokal and Rohlf, Biometry).
    pub fn p_value(self) -> f64 {
        if self.expected().into_iter().any(|expected| expected < 5.0) {
            self.fisher()
        } else {
            self.g_test()
        }
    }

    fn expected(self) -> [f64; 4] {
        let (with, without) = ((self.a + self.b) as f64, (self.c + self.d) as f64);
        let (first, second) = ((self.a + self.c) as f64, (self.b + self.d) as f64);
        let total = (self.total() as f64).max(1.0);
        [with * first, with * second, without * first, without * second].map(|product| product / total)
    }

    fn g_test(self) -> f64 {
        let observed = [self.a, self.b, self.c, self.d];
        let terms = observed
            .into_iter()
            .zip(self.expected())
            .filter(|(observed, _)| *observed > 0)
            .map(|(observed, expected)| observed as f64 * (observed as f64 / expected).ln());
        let g = 2.0 * terms.sum::<f64>();
        erfc((g.max(0.0) / 2.0).sqrt())
    }

    /// The sum over all tables with the same margins that are no more probable than this one.
    fn fisher(self) -> f64 {
        let (with, first, total) = (self.a + self.b, self.a + self.c, self.total());
        let log_choose = |n: u64, k: u64| ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
        let all = log_choose(total, with);
        let log_probability = |a: u64| log_choose(first, a) + log_choose(total - first, with - a) - all;
        let here = log_probability(self.a);
        let least = (with + first).saturating_sub(total);
        let tail = (least..=with.min(first))
            .map(log_probability)
            // Tables that are exactly as probable must not be lost to rounding.
            .filter(|probability| *probability <= here + 1e-7)
            .map(f64::exp);
        tail.sum::<f64>().min(1.0)
    }
}

/// Returns the natural logarithm of `n!`: the product for small numbers, Stirling's series for others, where its error is
/// below 1e-10.
fn ln_factorial(n: u64) -> f64 {
    if n < 16 {
        return (2..=n).map(|factor| factor as f64).product::<f64>().ln();
    }
    let n = n as f64;
    let series = 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3)) + 1.0 / (1260.0 * n.powi(5));
    n * n.ln() - n + 0.5 * (2.0 * std::f64::consts::PI * n).ln() + series
}

/// Returns the complementary error function of a number that is not negative (Abramowitz and Stegun, 7.1.6 and 7.1.14).
pub fn erfc(x: f64) -> f64 {
    let scale = (-x * x).exp() / std::f64::consts::PI.sqrt();
    if x < 2.5 {
        let mut term = x;
        let mut sum = x;
        let mut odd = 1.0;
        while term > sum * 1e-17 {
            odd += 2.0;
            term *= 2.0 * x * x / odd;
            sum += term;
        }
        return 1.0 - 2.0 * scale * sum;
    }
    // From the inside out; 60 terms are exact to the last digits from 2.5 on.
    let fraction = (1..=60).rev().fold(x, |inner, k| x + f64::from(k) / 2.0 / inner);
    scale / fraction
}

/// Adjusts p values for their number: calling those up to q significant makes on average a share of at most q of the
/// calls wrong (Benjamini and Hochberg, Controlling the false discovery rate, 1995).
pub fn adjust_p_values(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|one, other| values[*one].total_cmp(&values[*other]));
    let mut adjusted = vec![1.0; values.len()];
    let mut least: f64 = 1.0;
    for (rank, at) in order.into_iter().enumerate().rev() {
        least = least.min(values[at] * values.len() as f64 / (rank + 1) as f64);
        adjusted[at] = least;
    }
    adjusted
}

/// Returns a quantile, linear between the two values around it (Hyndman and Fan, type 7); `None` without values.
///
/// Puts the values into another order.
pub fn quantile(values: &mut [i64], share: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let place = last as f64 * share;
    let below = place.floor() as usize;
    let (_, low, rest) = values.select_nth_unstable(below);
    let low = *low as f64;
    let high = rest.iter().min().map_or(low, |high| *high as f64);
    Some(low + (high - low) * (place - below as f64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_close(actual: f64, expected: f64) {
        let difference = (actual - expected).abs();
        assert!(difference <= expected.abs() * 1e-6, "{actual} is not {expected}");
    }

    #[test]
    fn the_error_function_has_its_known_values() {
        // From the tables of Abramowitz and Stegun, and of any computer algebra system beyond them.
        for (x, expected) in [
            (0.0, 1.0),
            (0.5, 0.479_500_122),
            (1.0, 0.157_299_207),
            (2.0, 0.004_677_734_981),
            (2.5, 0.000_406_952_017),
            (3.0, 0.000_022_090_497),
            (5.0, 1.537_459_794e-12),
        ] {
            assert_close(erfc(x), expected);
        }
    }

    #[test]
    fn factorials_are_those_of_products() {
        for n in [0_u64, 1, 5, 15, 16, 20, 100] {
            let product: f64 = (1..=n).map(|factor| (factor as f64).ln()).sum();
            assert!((ln_factorial(n) - product).abs() < 1e-9, "{n}");
        }
    }

    #[test]
    fn a_lady_tasting_tea_knows_by_the_exact_test() {
        // R. A. Fisher's own example: 3 of 4 right.
        let table = TwoByTwo {
            a: 3,
            b: 1,
            c: 1,
            d: 3,
        };
        assert_close(table.p_value(), 34.0 / 70.0);
        let perfect = TwoByTwo {
            a: 4,
            b: 0,
            c: 0,
            d: 4,
        };
        assert_close(perfect.p_value(), 2.0 / 70.0);
    }

    #[test]
    fn a_large_table_is_judged_by_g() {
        let table = TwoByTwo {
            a: 60,
            b: 40,
            c: 40,
            d: 60,
        };
        // G = 2 (120 ln 1.2 + 80 ln 0.8) = 8.0542, and the chance to exceed it by accident.
        assert_close(table.p_value(), 0.004_539_814_937);
        let same = TwoByTwo {
            a: 30,
            b: 60,
            c: 10,
            d: 20,
        };
        assert_close(same.p_value(), 1.0);
    }

    #[test]
    fn an_odds_ratio_lies_in_its_interval_even_with_an_empty_cell() {
        let table = TwoByTwo {
            a: 20,
            b: 0,
            c: 10,
            d: 30,
        };
        let odds = table.odds_ratio();
        assert_close(odds.value, 20.5 * 30.5 / (0.5 * 10.5));
        assert!(odds.low < odds.value && odds.value < odds.high && odds.high.is_finite());
    }

    #[test]
    fn many_comparisons_raise_the_bar() {
        let adjusted = adjust_p_values(&[0.01, 0.04, 0.03, 0.5]);
        for (actual, expected) in adjusted.iter().zip([0.04, 0.16 / 3.0, 0.16 / 3.0, 0.5]) {
            assert_close(*actual, expected);
        }
        assert!(adjust_p_values(&[]).is_empty());
    }

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        assert_eq!(quantile(&mut [4, 1, 3, 2], 0.5), Some(2.5));
        assert_eq!(quantile(&mut [5, 1, 9], 0.5), Some(5.0));
        assert_eq!(quantile(&mut [0, 10], 0.9), Some(9.0));
        assert_eq!(quantile(&mut [7], 0.9), Some(7.0));
        assert_eq!(quantile(&mut [], 0.5), None);
    }

    #[test]
    fn few_people_have_no_percentage() {
        assert_eq!(rate(10, 29, 29), None);
        assert_eq!(rate(15, 30, 30), Some(0.5));
        assert_eq!(rate(0, 0, 100), None);
    }

    proptest! {
        #[test]
        fn a_p_value_does_not_depend_on_which_group_is_first(a in 0..60_u64, b in 0..60_u64, c in 0..60_u64, d in 0..60_u64) {
            let p = TwoByTwo { a, b, c, d }.p_value();
            let swapped = TwoByTwo { a: b, b: a, c: d, d: c }.p_value();
            prop_assert!((0.0..=1.0).contains(&p));
            prop_assert!((p - swapped).abs() < 1e-6);
        }
    }
}
