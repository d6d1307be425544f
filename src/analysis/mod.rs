//! Questions about people's journeys, and their answers.
//!
//! A file or folder per question. Each has a pure core: it takes a [`View`](crate::index::View) of the index and a
//! question that was checked, walks over people, and returns numbers. Who may ask, how a question arrives and how an
//! answer is written is none of its business.
//!
//! [`dimension`] names what sessions can be told apart by, [`scope`] says which time, people and sessions a question
//! is about, [`counted`] which sessions that makes, and [`calendar`] cuts time into the days, weeks and months of a time zone.

pub mod attribution;
pub mod calendar;
pub mod counted;
pub mod dimension;
pub mod funnel;
pub mod path;
pub mod retention;
pub mod scope;
pub mod statistics;
