pub mod cli;
pub mod config;
pub mod event;
pub mod http;
pub mod ingest;
pub mod ops;
pub mod session;
pub mod store;
