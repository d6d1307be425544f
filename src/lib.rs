pub mod config;
pub mod event;
pub mod http;
pub mod ingest;
pub mod ops;
pub mod service;
pub mod session;
pub mod store;
