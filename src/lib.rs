//! Customer Journey: how people move through a web site, where they leave, and why.
//!
//! One event, from arrival to answer. A browser posts a batch to [`http`], which finds out whose key it is
//! and hands the body to [`event`]. There each event is judged by itself: validated, normalised,
//! pseudonymised, given its one and only time. What is accepted, and what was refused and why, becomes an
//! entry that [`ingest`] puts on a Redis stream; the browser hears 202 when Redis has it on disk. When Redis
//! cannot be reached, the same entry is committed to PostgreSQL first.
//!
//! A writer of [`ingest`] reads entries from the stream and settles them in one transaction of [`store`]:
//! ids that are known are duplicates, the rest are rows; [`session`] says which sessions and lives of the
//! device follow from them; customers are computed again; the ledger says what became of each event. Only
//! then is the entry taken off the stream.
//!
//! The transaction also notes whose sessions changed. [`index`], a copy in memory of what questions are about, follows
//! those notes. [`analysis`] asks it: funnels, paths, attribution, retention, segments. [`customer`] scores people,
//! [`alert`] holds the last hours against earlier weeks and tells somebody.
//!
//! People read the result back through [`http`]. [`rights`] gives a person everything about them, or takes
//! it away. [`transfer`] brings logs of other systems in and data out. [`ops`] keeps the process running,
//! [`service`] wires all of it. [`backup`] keeps a second copy of everything and makes it the first again.
//! [`doctor`] looks at everything from outside, [`demo`] shows it, and [`bench`] measures it.
//!
//! The order of the modules below is the way of the data. A module knows what stands below it in
//! `http → ingest → session, store → event` and `http → alert → analysis → index → store`, never above.

pub mod config;

pub mod event;
pub mod ingest;
pub mod session;
pub mod store;

pub mod alert;
pub mod analysis;
pub mod customer;
pub mod index;

pub mod rights;
pub mod transfer;

pub mod http;

pub mod ops;
pub mod service;

pub mod backup;

pub mod bench;
pub mod demo;
pub mod doctor;
