//! Sessions and lives of a device: a pure function of its events.
pub mod model;
pub use model::{Life, OrderKey, Rules, Session, SessionEvent};
