//! The server's executable.

use std::process::ExitCode;

use clap::Parser as _;
use dsm_server::commands::{self, Arguments};

/// Measured against the system's allocator; see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    commands::run(Arguments::parse())
}
