//! The journey index: what people did, in memory, in columns.
//!
//! The store is the truth; this is a copy of the part that analyses ask for, laid out for one walk: people, each with
//! their sessions in the order they began, each with its events in the order they happened ([`block`]). Texts are
//! numbers ([`names`]). People are spread over shards; what changed since a shard was packed lies beside it and is
//! packed in now and then. A [`View`] is one state of all of it: readers keep theirs as long as they like, a newer one
//! replaces it for the next reader, and nobody waits for anybody ([`view`]).
//!
//! [`live`] keeps the state that the next view is made of. [`full`] fills it from the store, [`file`] from a snapshot
//! file, and [`feed`] follows what writers change, which [`load`] reads. Everything it says about memory is counted, not guessed.
//!
//! Times are microseconds since 1970 in UTC ([`Micros`]).

pub mod block;
pub mod feed;
pub mod file;
pub mod full;
pub mod live;
pub mod load;
pub mod names;
pub mod rows;
pub mod view;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

pub use block::{Block, Events, Order, Person, Session};
pub use feed::Index;
pub use names::{Client, Names, Source};
pub use view::View;

/// Microseconds since 1970-01-01 in UTC.
pub type Micros = i64;

/// Number of a text or tuple in [`Names`].
pub type NameId = u32;

/// The number that stands for "none" in every dictionary.
pub const NONE: NameId = 0;
