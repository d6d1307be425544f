//! What goes wrong on the site, said once, to the right place.
//!
//! Every hour each [`subject`] is held against the same hours of earlier weeks ([`baseline`]). A deviation that is large
//! and not by chance is an alarm ([`judge`]); [`lifecycle`] makes of it an alert that is opened once and resolved when
//! the figure is back. [`evaluate`] does all of it and writes the alert together with the messages about it
//! ([`message`]), which [`notify`] brings to Slack, a webhook and mail. [`site`] takes the figures of the whole site
//! from the index.

pub mod baseline;
#[cfg(test)]
mod documentation;
pub mod evaluate;
pub mod funnels;
pub mod judge;
pub mod lifecycle;
pub mod message;
pub mod notify;
#[cfg(test)]
mod simulation;
pub mod site;
pub mod subject;
