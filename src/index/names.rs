//! Dictionaries: each distinct text or tuple once, known by a number.
//!
//! They only grow while the index lives, so a number keeps its meaning in every view. Repacking for erasure makes new
//! ones with what is still in use.

use std::hash::Hash;

use indexmap::IndexSet;
use uuid::Uuid;

use super::{
    NONE, NameId,
    view::{SHARDS, shard_of},
};

/// Most distinct event types. A later one is counted as [`OTHER_TYPE`], so that nobody who makes up types can fill
/// the memory.
pub const TYPES_MAX: usize = 10_000;

/// The name of event types beyond [`TYPES_MAX`]. No client can send it: types have no brackets.
pub const OTHER_TYPE: &str = "(other)";

/// Distinct values in the order they came, number 0 being the empty one.
#[derive(Clone, Debug)]
pub struct Dictionary<T: Hash + Eq> {
    values: IndexSet<T, foldhash::fast::RandomState>,
    /// Bytes on the heap behind the values.
    text_bytes: usize,
}

impl<T: Hash + Eq + Default> Default for Dictionary<T> {
    fn default() -> Self {
        let mut values = IndexSet::default();
        values.insert(T::default());
        Self {
            values,
            text_bytes: 0,
        }
    }
}

impl<T: Hash + Eq> Dictionary<T> {
    /// Returns how many values there are, the empty one included.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the values by their number.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.values.iter()
    }

    /// Returns the value of a number.
    ///
    /// # Panics
    /// When the number comes from another dictionary.
    pub fn get(&self, id: NameId) -> &T {
        &self.values[id as usize]
    }

    /// Returns the number of a value; a new one when it was never seen.
    pub fn intern(&mut self, value: T) -> NameId {
        self.values.insert_full(value).0 as NameId
    }

    /// Returns the number of a value that is known.
    pub fn find_value(&self, value: &T) -> Option<NameId> {
        self.values.get_index_of(value).map(|found| found as NameId)
    }

    /// Returns the bytes it takes, estimated from the capacities of its table.
    pub fn bytes(&self) -> usize {
        // An entry holds its value and hash. The table points to it with one usize, and is half empty at worst.
        let entry = size_of::<T>() + size_of::<usize>();
        self.values.capacity() * (entry + 2 * size_of::<usize>()) + self.text_bytes
    }
}

impl Dictionary<Box<str>> {
    /// Returns the number of a text; a new one when it was never seen.
    pub fn intern_text(&mut self, text: &str) -> NameId {
        if let Some(found) = self.values.get_index_of(text) {
            return found as NameId;
        }
        self.text_bytes += text.len();
        self.intern(text.into())
    }

    /// Returns the number of a text that is known.
    pub fn find(&self, text: &str) -> Option<NameId> {
        self.values.get_index_of(text).map(|found| found as NameId)
    }
}

/// What a session was made with: numbers of [`Names::labels`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Client {
    pub device_type: NameId,
    pub browser: NameId,
    pub os: NameId,
    /// ISO 3166-1 alpha-2.
    pub country: NameId,
}

/// Where a session came from: numbers of [`Names::labels`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source {
    pub channel: NameId,
    pub source: NameId,
    pub medium: NameId,
    pub campaign: NameId,
    pub referrer_host: NameId,
}

/// Customers and their numbers. Each shard counts its own, so that it can be made anew alone: a number's remainder by
/// [`SHARDS`] is its shard.
#[derive(Clone, Debug)]
pub struct People {
    shards: Vec<Dictionary<Uuid>>,
}

impl Default for People {
    fn default() -> Self {
        Self {
            shards: vec![Dictionary::default(); SHARDS],
        }
    }
}

impl People {
    /// Returns the number of a customer; a new one when it was never seen.
    pub fn intern(&mut self, customer: Uuid) -> u32 {
        let shard = shard_of_customer(customer);
        self.shards[shard].intern(customer) * SHARDS as u32 + shard as u32
    }

    /// Returns the customer of a number.
    ///
    /// # Panics
    /// When the number comes from another index.
    pub fn get(&self, person: u32) -> &Uuid {
        self.shards[shard_of(person)].get(person / SHARDS as u32)
    }

    /// Returns the number of a customer that is known.
    pub fn find(&self, customer: Uuid) -> Option<u32> {
        let shard = shard_of_customer(customer);
        let local = self.shards[shard].find_value(&customer)?;
        Some(local * SHARDS as u32 + shard as u32)
    }

    /// Whether there is a customer of this number.
    pub(super) fn holds(&self, person: u32) -> bool {
        ((person / SHARDS as u32) as usize) < self.shards[shard_of(person)].len()
    }

    pub(super) fn set_shards(&mut self, shards: Vec<Dictionary<Uuid>>) {
        self.shards = shards;
    }

    pub(super) fn shards(&self) -> &[Dictionary<Uuid>] {
        &self.shards
    }

    fn bytes(&self) -> usize {
        self.shards.iter().map(Dictionary::bytes).sum()
    }
}

/// Ids of customers may begin alike; their sum mixed by an odd number does not.
fn shard_of_customer(customer: Uuid) -> usize {
    let (high, low) = customer.as_u64_pair();
    let mixed = (high ^ low).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (u64::BITS - SHARDS.ilog2())) as usize
}

/// Every dictionary of the index.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Host and path of pages: `shop.example.com/cart`.
    pub pages: Dictionary<Box<str>>,
    pub types: Dictionary<Box<str>>,
    /// Texts of clients, sources and currencies.
    pub labels: Dictionary<Box<str>>,
    pub clients: Dictionary<Client>,
    pub sources: Dictionary<Source>,
    pub people: People,
}

impl Names {
    /// Returns the number of a page; [`NONE`] without a path.
    pub fn intern_page(&mut self, host: Option<&str>, path: Option<&str>) -> NameId {
        match (host, path) {
            (_, None) => NONE,
            (None, Some(path)) => self.pages.intern_text(path),
            (Some(host), Some(path)) => self.pages.intern_text(&format!("{host}{path}")),
        }
    }

    /// Returns the number of an event type; that of [`OTHER_TYPE`] when there are too many.
    pub fn intern_type(&mut self, event_type: &str) -> NameId {
        match self.types.find(event_type) {
            Some(found) => found,
            None if self.types.len() <= TYPES_MAX => self.types.intern_text(event_type),
            None => self.types.intern_text(OTHER_TYPE),
        }
    }

    /// Returns the text of a label; `None` for the empty one.
    pub fn label(&self, id: NameId) -> Option<&str> {
        (id != NONE).then(|| &**self.labels.get(id))
    }

    /// Returns the number of a label.
    pub fn intern_label(&mut self, text: Option<&str>) -> NameId {
        text.map_or(NONE, |text| self.labels.intern_text(text))
    }

    /// Returns the bytes all of it takes.
    pub fn bytes(&self) -> usize {
        self.pages.bytes()
            + self.types.bytes()
            + self.labels.bytes()
            + self.clients.bytes()
            + self.sources.bytes()
            + self.people.bytes()
    }
}

/// Returns the path of a page: what follows its host.
pub fn path_of(page: &str) -> &str {
    page.find('/').map_or(page, |slash| &page[slash..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_number_and_the_empty_one_has_none() {
        let mut names = Names::default();
        let cart = names.intern_page(Some("shop.example"), Some("/cart"));
        assert_eq!(names.intern_page(Some("shop.example"), Some("/cart")), cart);
        assert_ne!(cart, NONE);
        assert_eq!(names.intern_page(Some("shop.example"), None), NONE);
        assert_eq!(&**names.pages.get(cart), "shop.example/cart");
        assert_eq!(path_of(names.pages.get(cart)), "/cart");
        assert_eq!(names.label(NONE), None);
    }

    #[test]
    fn types_beyond_the_limit_are_counted_as_one() {
        let mut names = Names::default();
        for number in 0..TYPES_MAX {
            names.intern_type(&format!("type{number}"));
        }
        let other = names.intern_type("one.more");
        assert_eq!(&**names.types.get(other), OTHER_TYPE);
        assert_eq!(names.intern_type("and.another"), other);
        assert_eq!(names.intern_type("type7"), 8);
    }
}
