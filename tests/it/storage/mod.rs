//! The store keeps the same promises on TimescaleDB community, TimescaleDB Apache and plain PostgreSQL.

mod backup;
mod community;
mod plain;
mod promises;
mod store;
