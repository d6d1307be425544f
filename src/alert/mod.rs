//! What goes wrong on the site, said once, to the right place.
//!
//! Every hour each [`subject`] is held against the same hours of earlier weeks ([`baseline`]). A deviation that is large
//! and not by chance is an alarm ([`judge`]); [`lifecycle`] makes of it an alert that is opened once and resolved when
//! the figure is back.

pub mod baseline;
pub mod judge;
pub mod lifecycle;
#[cfg(test)]
mod simulation;
pub mod subject;
