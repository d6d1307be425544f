//! The command `customer-journey`.

mod cli;

use std::process::ExitCode;

/// Taking an event in means many small allocations; the system's allocator spends a fifth of the processor on
/// them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
