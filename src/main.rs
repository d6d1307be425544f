//! The command `customer-journey`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
