pub mod config;
pub mod demo;
pub mod event;
pub mod ops;
pub mod session;
