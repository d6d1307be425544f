//! The event: from its wire form to what the service keeps. Pure; imports nothing of ours.
pub mod model;
pub mod pseudonym;

pub use model::Event;
pub use pseudonym::Hasher;
