//! `customer-journey openapi`: print the OpenAPI document.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use customer_journey::http::openapi::document_text;

pub fn run() -> anyhow::Result<ExitCode> {
    io::stdout().write_all(document_text().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
