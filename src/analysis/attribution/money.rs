//! Amounts of money as whole units of their currency.

use rust_decimal::{Decimal, prelude::ToPrimitive};

/// Digits after the point where they are not two (source: ISO 4217, list one).
const EXPONENTS: [(u32, &[&str]); 3] = [
    (
        0,
        &[
            "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV",
            "XAF", "XOF", "XPF",
        ],
    ),
    (3, &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]),
    (4, &["CLF", "UYW"]),
];

/// Digits that [`Decimal`] holds whatever they are.
const DIGITS_MAX: u32 = 28;

/// Returns the digits after the point of a currency's minor unit.
pub(super) fn exponent(currency: Option<&str>) -> u32 {
    let is_listed = |(_, codes): &&(u32, &[&str])| currency.is_some_and(|code| codes.contains(&code));
    EXPONENTS.iter().find(is_listed).map_or(2, |(digits, _)| *digits)
}

/// Returns the digits after the point with which all of these amounts are whole: those of the minor unit, more where
/// an amount has more. As many as fit, when amounts are so large that their sum could not hold them.
pub(super) fn scale(exponent: u32, amounts: impl Iterator<Item = Decimal>) -> u32 {
    let (mut wanted, mut sum) = (exponent, 1.0);
    for amount in amounts {
        wanted = wanted.max(amount.normalize().scale());
        sum += amount.abs().to_f64().unwrap_or(f64::MAX);
    }
    let whole_digits = sum.log10().ceil() as u32;
    wanted.min(DIGITS_MAX.saturating_sub(whole_digits))
}

/// Returns an amount in units of 10^-scale; rounded half to even where it has more digits.
pub(super) fn units(amount: Decimal, scale: u32) -> i128 {
    let rounded = amount.normalize().round_dp(scale);
    rounded
        .mantissa()
        .saturating_mul(10_i128.pow(scale - rounded.scale()))
}

/// Returns units as an amount with `scale` digits; the largest there is where it would be larger.
pub(super) fn amount(units: i128, scale: u32) -> Decimal {
    Decimal::try_from_i128_with_scale(units, scale).unwrap_or(Decimal::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimals(texts: &[&str]) -> Vec<Decimal> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn currencies_have_the_digits_of_iso_4217() {
        let found = ["EUR", "JPY", "KWD", "CLF", "???"].map(|code| exponent(Some(code)));
        assert_eq!(found, [2, 0, 3, 4, 2]);
        assert_eq!(exponent(None), 2);
    }

    #[test]
    fn no_digit_of_an_order_is_lost() {
        let orders = decimals(&["19.9000", "0.005", "100"]);
        let digits = scale(2, orders.iter().copied());
        assert_eq!(digits, 3);
        let units: Vec<i128> = orders.iter().map(|order| units(*order, digits)).collect();
        assert_eq!(units, [19_900, 5, 100_000]);
        assert_eq!(amount(units.iter().sum(), digits).to_string(), "119.905");
        assert_eq!(scale(0, decimals(&["100", "20"]).into_iter()), 0);
    }

    #[test]
    fn amounts_beyond_measure_keep_the_digits_that_fit() {
        let orders = decimals(&[
            "9999999999999999999999999999",
            "0.0000000000000000000000000001",
            "0.5",
        ]);
        assert_eq!(scale(2, orders.iter().copied()), 0);
        assert_eq!(units(orders[2], 0), 0);
        assert_eq!(amount(units(orders[0], 0), 0), orders[0]);
        assert_eq!(amount(i128::MAX, 0), Decimal::MAX);
        assert_eq!(scale(2, decimals(&["0.00001", "99999999"]).into_iter()), 5);
    }
}
