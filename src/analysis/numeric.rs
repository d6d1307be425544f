//! The few functions of statistics that analyses and alerts need.

use std::f64::consts::PI;

use super::series::Count;

/// Terms after which a continued fraction has long settled for any count that fits into memory.
const TERMS_MAX: u32 = 20_000;

/// Relative change at which a fraction or series has settled.
const SETTLED: f64 = 1e-14;

/// Returns the natural logarithm of the gamma function, for `x` above 0.
///
/// Stirling's series with four corrections (NIST Digital Library of Mathematical Functions, 5.11.1), brought to
/// `x ≥ 10` by the recurrence Γ(x + 1) = x Γ(x); relative error below 1e-12.
pub fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shifted) = (x, 0.0);
    while x < 10.0 {
        shifted += x.ln();
        x += 1.0;
    }
    let square = x * x;
    let corrections =
        (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * square)) / square) / square) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * PI).ln() + corrections - shifted
}

/// Returns the probability that a standard normal value is at least `z`.
pub fn normal_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - normal_tail(-z);
    }
    let density = (-0.5 * z * z).exp() / (2.0 * PI).sqrt();
    if z < 3.0 {
        // Φ(z) − ½ = φ(z) (z + z³/3 + z⁵/(3·5) + …).
        let (mut term, mut sum, mut odd) = (z, z, 1.0);
        while term > sum * SETTLED {
            odd += 2.0;
            term *= z * z / odd;
            sum += term;
        }
        return 0.5 - density * sum;
    }
    // Laplace's continued fraction z + 1/(z + 2/(z + 3/(z + …))), from its far end.
    let fraction = (1..=100).rev().fold(z, |rest, step| z + f64::from(step) / rest);
    density / fraction
}

/// Returns the regularised incomplete beta function I_x(a, b), for `a`, `b` above 0.
///
/// The continued fraction 8.17.22 of the NIST Digital Library of Mathematical Functions, on the side where it settles
/// fast, evaluated as Lentz and Thompson do.
pub fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let scale = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p();
    scale.exp() / (a * beta_fraction(a, b, x))
}

/// Returns 1 + d₁/(1 + d₂/(1 + …)) with the coefficients of the incomplete beta function.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    // Stands for a denominator of zero.
    let tiny = 1e-300;
    let nonzero = |value: f64| if value.abs() < tiny { tiny } else { value };
    let (mut fraction, mut upper, mut lower) = (1.0, 1.0, 0.0);
    for step in 1..=TERMS_MAX {
        let half = f64::from(step / 2);
        let coefficient = if step % 2 == 0 {
            half * (b - half) * x / ((a + 2.0 * half - 1.0) * (a + 2.0 * half))
        } else {
            -(a + half) * (a + b + half) * x / ((a + 2.0 * half) * (a + 2.0 * half + 1.0))
        };
        lower = 1.0 / nonzero(1.0 + coefficient * lower);
        upper = nonzero(1.0 + coefficient / upper);
        fraction *= upper * lower;
        if (upper * lower - 1.0).abs() < SETTLED {
            break;
        }
    }
    fraction
}

/// Returns the probability that a count of this mean and variance is at most `count`.
///
/// The count is negative binomial: a Poisson count whose mean varies by a gamma distribution. `variance` must be more
/// than `mean`.
pub fn count_at_most(count: u64, mean: f64, variance: f64) -> f64 {
    let size = mean * mean / (variance - mean);
    incomplete_beta(size, count as f64 + 1.0, size / (size + mean))
}

/// Returns the probability that at most `successes` of `trials` succeed, each with probability `share`.
///
/// The numbers need not be whole: fewer trials stand for trials that say less.
pub fn successes_at_most(successes: f64, trials: f64, share: f64) -> f64 {
    if successes >= trials {
        return 1.0;
    }
    incomplete_beta(trials - successes, successes + 1.0, 1.0 - share)
}

/// Returns the statistic of the two-proportion z test with pooled variance: by how many standard errors the first rate
/// is above the second. 0 where nothing can be said.
///
/// `dispersion` is how many times larger than by chance alone the variance is.
pub fn two_proportions(first: Count, second: Count, dispersion: f64) -> f64 {
    let mut all = first;
    all += second;
    let (pooled, trials) = (all.rate(), (first.trials as f64, second.trials as f64));
    let variance = pooled * (1.0 - pooled) * (1.0 / trials.0 + 1.0 / trials.1) * dispersion;
    if variance > 0.0 && variance.is_finite() {
        (first.rate() - second.rate()) / variance.sqrt()
    } else {
        0.0
    }
}

/// Returns the middle of `values`, between the two middle ones when their number is even; `None` of none.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((values[middle - 1] + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_close(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn the_normal_tail_has_the_published_values() {
        // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.1, and Φ(−z) to more places.
        for (z, tail) in [
            (0.0, 0.5),
            (1.0, 0.158_655_253_931_457),
            (1.96, 0.024_997_895_148_220),
            (2.99, 0.001_394_887_235_487_4),
            (3.0, 0.001_349_898_031_630_1),
            (4.0, 3.167_124_183_311_99e-5),
            (6.0, 9.865_876_450_376_98e-10),
        ] {
            assert_close(normal_tail(z), tail);
            assert_close(normal_tail(-z), 1.0 - tail);
        }
    }

    #[test]
    fn the_gamma_function_continues_factorials() {
        let mut factorial = 1.0_f64;
        for number in 1..=20 {
            factorial *= f64::from(number);
            assert!(
                (ln_gamma(f64::from(number) + 1.0) - factorial.ln()).abs() < 1e-11,
                "{number}"
            );
        }
        assert_close(ln_gamma(0.5), PI.sqrt().ln());
    }

    /// Adds up what [`count_at_most`] takes from a continued fraction.
    fn slowly_at_most(count: u64, mean: f64, variance: f64) -> f64 {
        let size = mean * mean / (variance - mean);
        let success = size / (size + mean);
        let mut probability = success.powf(size);
        let mut sum = probability;
        for number in 1..=count {
            let number = number as f64;
            probability *= (number + size - 1.0) / number * (1.0 - success);
            sum += probability;
        }
        sum
    }

    proptest! {
        #[test]
        fn a_count_is_at_most_another_with_the_sum_of_all_below(count in 0_u64..200, mean in 0.5_f64..150.0, factor in 1.05_f64..5.0) {
            let (quick, slow) = (count_at_most(count, mean, mean * factor), slowly_at_most(count, mean, mean * factor));
            prop_assert!((quick - slow).abs() < 1e-9 + 1e-7 * slow, "{quick} {slow}");
        }
    }

    #[test]
    fn coins_fall_as_they_are_counted() {
        // Of ten coins at most two show heads in 1 + 10 + 45 of 1024 ways.
        assert_close(successes_at_most(2.0, 10.0, 0.5), 56.0 / 1024.0);
        assert_close(successes_at_most(0.0, 3.0, 0.9), 0.001);
        assert_close(successes_at_most(3.0, 3.0, 0.9), 1.0);
    }

    #[test]
    fn nothing_at_all_is_as_likely_as_the_formula_says() {
        // (1 + mean/size)^−size with size = 20² / (60 − 20) = 10: 3^−10.
        assert_close(count_at_most(0, 20.0, 60.0), 3.0_f64.powi(-10));
    }

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 90.0]), Some(3.0));
        assert_eq!(median(&mut []), None);
    }

    proptest! {
        #[test]
        fn the_two_proportion_test_is_antisymmetric_and_blind_to_nothing_at_all(a in 1_u64..5000, b in 1_u64..5000, x in 0.0_f64..1.0, y in 0.0_f64..1.0) {
            let first = Count::new(a, (a as f64 * x) as u64);
            let second = Count::new(b, (b as f64 * y) as u64);
            let z = two_proportions(first, second, 1.0);
            prop_assert!((z + two_proportions(second, first, 1.0)).abs() < 1e-9);
            prop_assert_eq!(two_proportions(first, first, 1.0), 0.0);
            prop_assert_eq!(two_proportions(first, Count::default(), 1.0), 0.0);
            prop_assert!((two_proportions(first, second, 4.0) * 2.0 - z).abs() < 1e-9);
        }
    }
}
