//! Random bodies against the ingest parser.

#![no_main]

#[path = "../checks/ingest_body.rs"]
mod ingest_body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| ingest_body::check(input));
