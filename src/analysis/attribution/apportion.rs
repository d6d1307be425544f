//! Whole units shared out without one getting lost.

/// Shares `total` out in proportion to `weights`, by the method of the largest remainder: everybody gets the whole
/// units of their exact share, and the units that are left go to the largest fractions; to the earlier of equal ones.
///
/// The shares add up to `total` exactly. A negative total is shared like a positive one. Weights are at most 2^53, and
/// at most 2^20 of them; when all are zero, `into` stays empty.
pub(super) fn apportion(total: i128, weights: &[u64], into: &mut Vec<i128>) {
    into.clear();
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if sum == 0 {
        return;
    }
    let amount = total.unsigned_abs();
    // In two parts, so that no product leaves 128 bits: `total * weight` could.
    let (per_weight, rest) = (amount / sum, amount % sum);
    let mut fractions: Vec<(u128, usize)> = Vec::with_capacity(weights.len());
    let mut left = amount;
    for (place, weight) in weights.iter().enumerate() {
        let product = rest_product(rest, *weight, sum);
        let share = per_weight * u128::from(*weight) + product.0;
        left -= share;
        fractions.push((product.1, place));
        into.push(share as i128);
    }
    fractions.sort_unstable_by_key(|(fraction, place)| (std::cmp::Reverse(*fraction), *place));
    for (_, place) in fractions.into_iter().take(left as usize) {
        into[place] += 1;
    }
    if total < 0 {
        into.iter_mut().for_each(|share| *share = -*share);
    }
}

/// Returns whole part and remainder of `rest * weight / sum`.
fn rest_product(rest: u128, weight: u64, sum: u128) -> (u128, u128) {
    let product = rest * u128::from(weight);
    (product / sum, product % sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::*;

    fn shares(total: i128, weights: &[u64]) -> Vec<i128> {
        let mut shares = Vec::new();
        apportion(total, weights, &mut shares);
        shares
    }

    #[test]
    fn what_does_not_divide_goes_to_the_largest_fraction_then_to_the_earliest() {
        assert_eq!(shares(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(shares(10_000, &[1, 2, 4]), [1429, 2857, 5714]);
        assert_eq!(shares(-100, &[1, 1, 1]), [-34, -33, -33]);
        assert_eq!(shares(1, &[0, 0, 5]), [0, 0, 1]);
        assert_eq!(shares(0, &[1, 2]), [0, 0]);
        assert_eq!(shares(5, &[0, 0]), []);
    }

    #[test]
    fn the_largest_numbers_fit() {
        let weights = vec![1 << 53; 1 << 20];
        let found = shares(i128::MAX, &weights);
        assert_eq!(found.iter().sum::<i128>(), i128::MAX);
        let uneven: Vec<u64> = (0..1 << 20).map(|place| (1 << 53) - place).collect();
        assert_eq!(shares(i128::MAX, &uneven).iter().sum::<i128>(), i128::MAX);
    }

    proptest! {
        #[test]
        fn shares_are_the_exact_ones_but_for_less_than_a_unit(
            total in 0_i64..1_000_000_000,
            weights in prop::collection::vec(0_u64..1000, 1..9),
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let found = shares(i128::from(total), &weights);
            prop_assert_eq!(found.iter().sum::<i128>(), i128::from(total));
            let sum = Decimal::from(weights.iter().sum::<u64>());
            for (share, weight) in found.iter().zip(&weights) {
                let exact = Decimal::from(total) * Decimal::from(*weight) / sum;
                prop_assert!((Decimal::from(*share) - exact).abs() < Decimal::ONE);
            }
            // Nobody with a larger fraction was passed over.
            let fraction = |place: usize| (i128::from(total) * i128::from(weights[place])) % weights.iter().sum::<u64>() as i128;
            let whole = |place: usize| (i128::from(total) * i128::from(weights[place])) / weights.iter().sum::<u64>() as i128;
            for one in 0..weights.len() {
                for other in 0..weights.len() {
                    let preferred = found[one] > whole(one) && found[other] == whole(other);
                    prop_assert!(!preferred || (fraction(one), other) >= (fraction(other), one));
                }
            }
        }
    }
}
