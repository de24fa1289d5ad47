//! The commands of this repository. `cargo xtask --help` lists them; one file each.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what a command line tool is for"
)]

mod bench;
mod campaign;
mod ci;
mod fuzz;
mod install;
mod mutants;
mod sh;
mod tally;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why a command did not succeed, for the person who ran it.
#[derive(Debug)]
struct Failure(String);

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Builds, checks and measures this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds the server and runs every test, doctest and example of the workspace
    Test(test::Args),
    /// Everything a change must pass: format, lints, docs, toolchain, dependencies, tests
    Ci,
    /// Runs the micro benchmarks and the load run against a server
    Bench(bench::Args),
    /// Runs a long campaign: the tests with many more cases
    Campaign(campaign::Args),
    /// Runs the fuzz targets; fails at a crash, and when coverage does not grow
    Fuzz(fuzz::Args),
    /// Mutates the access rules; fails when a mutant survives
    Mutants(mutants::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Task::Test(args) => Ok(test::main(&args)),
        Task::Ci => Ok(ci::main()),
        Task::Bench(args) => bench::main(&args),
        Task::Campaign(args) => campaign::main(&args),
        Task::Fuzz(args) => fuzz::main(&args),
        Task::Mutants(args) => mutants::main(&args),
    };
    match result {
        Ok(code) => code,
        Err(Failure(reason)) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
