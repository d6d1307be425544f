//! Funnels: how many people go through steps, where they stop, and what those who stop have in common.
//!
//! A definition ([`definition`]) that makes sense ([`validation`]) becomes tables to look events up in
//! ([`matching`]). Each actor's events are walked once ([`walk`]) and counted by the rules in [`count`]; what came of
//! everybody is summed up ([`tally`]) and put into words and rates ([`analyze`]).

pub mod analyze;
pub mod breakdown;
pub mod count;
pub mod definition;
pub mod elsewhere;
pub mod matching;
pub mod people;
pub mod reasons;
pub mod result;
pub mod tally;
#[cfg(test)]
mod tests;
pub mod validation;
#[cfg(test)]
mod vectors;
pub mod walk;

pub use analyze::{FunnelAnswer, Options, analyze};
pub use definition::FunnelDefinition;
pub use matching::Plan;
pub use people::{StepOutcome, find_people};
pub use validation::{Flaw, Funnel};
