//! Backups: everything the service would need on a new machine, as a folder that says what must be in it.
//!
//! A *set* holds every table as text, what waits in the queue, the tombstones, the salt, the settings, and files the
//! operator names. It depends on no edition or version of TimescaleDB and on no release of PostgreSQL.
//!
//! [`create`] writes a set under another name, flushes it to disk, reads it back, and only then gives it its name
//! and removes old ones. [`check`] says whether a set is what its [`Manifest`] says. [`rehearse`] loads it
//! into a database that is dropped again. [`restore`] makes it the present, all or nothing.
//!
//! **Order.** The queue is copied before the database is read. What a writer settles in between is in both, and
//! recognised when it comes back; the other way round it would be in neither.
//!
//! **The ledger.** A restore makes the queue another one, and books what the old one had brought as committed
//! directly: both sides of the equation then begin from the same moment.

mod archive;
mod check;
mod create;
mod database;
mod job;
mod manifest;
mod queue;
mod rehearse;
mod restore;
mod set;

pub use check::check;
pub use create::{Made, create};
pub use job::{BACKUP, VERIFY, run_backup, run_verification};
pub use manifest::{DatabaseCounts, FileEntry, Manifest, QueueState};
pub use queue::PutBack;
pub use rehearse::rehearse;
pub use restore::{Order, Restored, restore};
pub use set::{Set, find, list};
