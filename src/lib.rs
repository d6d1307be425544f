pub mod config;
pub mod event;
pub mod ops;
pub mod session;
