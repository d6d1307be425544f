//! A value for each node of a level.

use std::collections::HashMap;

use super::walk::{Key, Plan};

/// Values of all levels together that may be kept in plain tables: with four bytes each, as many parts as a walk has
/// take 100 MB at most.
const DENSE_MAX: usize = 1 << 22;

/// Values by node; zero where nothing was said. A plain table where there are few nodes, as on most sites, since that
/// is several times as quick as a map.
#[derive(Clone, Debug)]
pub(super) enum KeyTable<T> {
    Dense(Vec<T>),
    Sparse(HashMap<Key, T, foldhash::fast::RandomState>),
}

impl<T: Copy + Default + PartialEq> KeyTable<T> {
    pub(super) fn new(plan: &Plan) -> Self {
        let keys = plan.keys();
        if keys.saturating_mul(plan.depth) <= DENSE_MAX {
            Self::Dense(vec![T::default(); keys])
        } else {
            Self::Sparse(HashMap::default())
        }
    }

    pub(super) fn get(&self, key: Key) -> T {
        match self {
            Self::Dense(values) => values[key as usize],
            Self::Sparse(values) => values.get(&key).copied().unwrap_or_default(),
        }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> &mut T {
        match self {
            Self::Dense(values) => &mut values[key as usize],
            Self::Sparse(values) => values.entry(key).or_default(),
        }
    }

    /// Shows every value that is not zero, in no order.
    pub(super) fn each(&self, mut each: impl FnMut(Key, T)) {
        match self {
            Self::Dense(values) => {
                let pairs = (0..).zip(values).filter(|(_, value)| **value != T::default());
                pairs.for_each(|(key, value)| each(key, *value));
            }
            Self::Sparse(values) => values.iter().for_each(|(key, value)| each(*key, *value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_table_say_the_same() {
        let mut tables = [KeyTable::Dense(vec![0; 10]), KeyTable::Sparse(HashMap::default())];
        for table in &mut tables {
            for key in [3, 7, 3] {
                *table.get_mut(key) += 1;
            }
            let mut seen = Vec::new();
            table.each(|key, value| seen.push((key, value)));
            seen.sort_unstable();
            assert_eq!(seen, [(3, 2), (7, 1)]);
            assert_eq!((table.get(3), table.get(4)), (2, 0));
        }
    }
}
