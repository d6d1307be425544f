//! What bad input gets: bodies, addresses and connections that no honest client makes, against the whole
//! service with a real PostgreSQL and Redis.

mod api_schema;
mod fuzz_corpus;
mod sockets;
mod support;
