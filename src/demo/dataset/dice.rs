//! Seeded chance.
//!
//! Every figure is derived from the 64-bit words of ChaCha8 by integer arithmetic, division and square root, which
//! are exact on every machine: the same seed gives the same data set everywhere, whatever `rand`'s own samplers
//! become.

use chrono::{DateTime, Utc};
use rand::{Rng, SeedableRng, rngs::ChaCha8Rng};
use uuid::Builder;

/// A stream of chance; two with the same seed and stream number roll the same.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// Returns a number in `0.0..1.0` with 53 random bits.
    fn unit(&mut self) -> f64 {
        const STEPS: f64 = (1_u64 << 53) as f64;
        (self.0.next_u64() >> 11) as f64 / STEPS
    }

    /// Returns true in this share of all calls, `0.0..=1.0`.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Returns a whole number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u128::from(high.abs_diff(low)) + 1;
        let offset = (u128::from(self.0.next_u64()) * span) >> 64;
        low + i64::try_from(offset).expect("an offset within an i64 range")
    }

    /// Returns a position in a table of `length` rows, which has at least one.
    pub(super) fn position(&mut self, length: usize) -> usize {
        let last = i64::try_from(length).expect("a table's length") - 1;
        usize::try_from(self.between(0, last)).expect("a position is not negative")
    }

    pub(super) fn pick<T: Copy>(&mut self, table: &[T]) -> T {
        table[self.position(table.len())]
    }

    /// Returns the position of one weight, each as likely as it is large. At least one is above zero.
    pub(super) fn weighted_position(&mut self, weights: &[f64]) -> usize {
        let mut rest = self.unit() * weights.iter().sum::<f64>();
        for (position, weight) in weights.iter().enumerate() {
            if rest < *weight {
                return position;
            }
            rest -= weight;
        }
        weights.len() - 1
    }

    /// Returns one row, each as likely as its weight is large.
    pub(super) fn weighted<T: Copy>(&mut self, table: &[(T, f64)]) -> T {
        let weights: Vec<f64> = table.iter().map(|(_, weight)| *weight).collect();
        table[self.weighted_position(&weights)].0
    }

    /// Returns a number from `low` to `high` where few are large: a Pareto distribution with exponent 2.
    pub(super) fn long_tailed(&mut self, low: i64, high: i64) -> i64 {
        let value = low as f64 / (1.0 - self.unit()).sqrt();
        (value as i64).clamp(low, high)
    }

    /// Returns a count from 1 to `high` with a very heavy tail: half are 1, and a share of 1/n is n or more.
    pub(super) fn heavy_tailed_count(&mut self, high: u32) -> u32 {
        let value = 1.0 / (1.0 - self.unit());
        (value as u32).clamp(1, high)
    }

    /// Returns a UUID version 7 of that moment in its text form.
    pub(super) fn uuid_v7(&mut self, at: DateTime<Utc>) -> String {
        let mut random = [0_u8; 10];
        self.0.fill_bytes(&mut random);
        let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
        Builder::from_unix_timestamp_millis(millis, &random)
            .into_uuid()
            .to_string()
    }

    /// Returns `length` characters of the alphabet, which is ASCII.
    pub(super) fn text(&mut self, alphabet: &[u8], length: usize) -> String {
        (0..length).map(|_| char::from(self.pick(alphabet))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_stream_roll_the_same_and_another_stream_does_not() {
        let roll = |seed, stream| -> Vec<i64> {
            let mut dice = Dice::new(seed, stream);
            (0..20).map(|_| dice.between(0, 1_000_000)).collect()
        };
        assert_eq!(roll(1, 2), roll(1, 2));
        assert_ne!(roll(1, 2), roll(1, 3));
        assert_ne!(roll(1, 2), roll(2, 2));
    }

    #[test]
    fn the_first_rolls_of_seed_one_never_change() {
        let mut dice = Dice::new(1, 0);
        let rolls: Vec<i64> = (0..5).map(|_| dice.between(1, 100)).collect();
        // Noted when the generator was chosen: another outcome means that every data set has changed.
        assert_eq!(rolls, [41, 9, 60, 22, 29]);
    }

    #[test]
    fn shares_and_ranges_are_kept() {
        let mut dice = Dice::new(7, 0);
        let hits = (0..10_000).filter(|_| dice.chance(0.3)).count();
        assert!((2_800..3_200).contains(&hits), "{hits}");
        assert!((0..1_000).all(|_| (-3..=4).contains(&dice.between(-3, 4))));
        assert!((0..1_000).all(|_| (2..=9).contains(&dice.long_tailed(2, 9))));
        let ones = (0..10_000).filter(|_| dice.heavy_tailed_count(50) == 1).count();
        assert!((4_700..5_300).contains(&ones), "{ones}");
        assert!((0..1_000).all(|_| dice.weighted_position(&[0.0, 1.0, 0.0]) == 1));
    }

    #[test]
    fn a_uuid_carries_its_moment_and_version() {
        let at = DateTime::from_timestamp_millis(1_700_000_000_123).expect("a valid time");
        let id = uuid::Uuid::parse_str(&Dice::new(1, 1).uuid_v7(at)).expect("a UUID");
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(
            id.get_timestamp().expect("a version 7").to_unix().0,
            1_700_000_000
        );
    }
}
