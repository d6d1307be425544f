//! The promises of the service, held on real servers.
//!
//! Each module is one promise. What they share speaks of services, clients and crashes and lives in
//! [`support`]. `scripts/test.sh` starts the servers and sets `DATABASE_URL`, `REDIS_URL` and
//! `TIMESCALEDB_URL`; tests that crash a server start a pair of their own.

mod backup;
mod bad_input;
mod dedup;
mod durability;
mod index;
mod lifecycle;
mod queue;
mod storage;
mod support;
mod writer;
