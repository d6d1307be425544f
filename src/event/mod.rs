//! The event: from its wire form to what the service keeps. Pure; imports nothing of ours.
//!
//! A request body becomes a [`Batch`] ([`parse_body`]), each of whose events is judged by itself
//! ([`judge_batch`]): accepted as an [`Event`], normalised and pseudonymised, or refused with a
//! [`Rejection`] that says why without repeating what was refused.
mod address;
mod agent;
mod country;
mod draft;
mod error;
mod field;
mod judge;
mod key;
pub mod kind;
mod lift;
mod limit;
pub mod model;
mod names;
mod privacy;
pub mod pseudonym;
mod sample;
mod time;
mod wire;

pub use country::{CountryDatabase, CountryDatabaseError};
pub use error::{BodyError, RejectReason, Rejection, UnknownReason};
pub use judge::{Policy, RequestContext, Verdict, judge, judge_batch};
pub use key::event_key;
pub use model::Event;
pub use names::FIELDS;
pub use privacy::email_token;
pub use pseudonym::Hasher;
pub use wire::{Batch, parse_body};
