//! Sessions and lives of a device: a pure function of its events.
//!
//! [`Timeline`] takes the events of one device in order and says which rows follow. It can be resumed from
//! the stored rows, so events that arrive in order extend the last session without reading the history;
//! [`derive`] makes the same rows from all events at once. A property test holds the two equal. Reading and
//! writing the rows is left to others.

pub mod channel;
mod fold;
pub mod identity;
pub mod model;
mod score;
mod source;
pub mod timeline;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use fold::StateError;
pub use identity::{customer_id_of_life, customer_id_of_user};
pub use model::{Life, OrderKey, Rules, Session, SessionEvent};
pub use timeline::{Claim, Derived, Timeline, derive};
