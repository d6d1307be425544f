//! What `make demo` needs beyond the service itself.
pub mod dataset;
