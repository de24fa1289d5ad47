//! The subcommands of `dsm-server`, one file each.
//!
//! Standard output has what was asked for and nothing else; standard error has the logs, progress
//! and, after a failure, one sentence that says what to do.

mod audit;
mod check;
mod failure;
mod init;
mod key;
mod opening;
mod operator;
mod quickstart;
mod serve;
mod terminal;
mod transfer;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use self::failure::{Failure, exit};
use crate::config::{Config, Flags};
use crate::{hardening, log};

const CODES: &str = "Exit codes: 0 done, 1 something that was checked is wrong, 2 wrong arguments, \
65 wrong or damaged data, 69 the store is unavailable, 70 a fault of this program, 71 the system \
refused, 74 a file or the audit trail cannot be used, 75 in use by another process, 78 wrong \
configuration or root key";

/// A secret vault over HTTP.
#[derive(Debug, Parser)]
#[command(name = "dsm-server", version, after_help = CODES)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a vault on loopback with an example in it, making whatever is missing
    Quickstart(quickstart::Arguments),
    /// Serve the vault
    Serve(serve::Arguments),
    /// Make the root key, the vault and its first operator
    Init(init::Arguments),
    /// Add, list and revoke operators, beside a running server
    #[command(subcommand)]
    Operator(operator::Command),
    /// Rotate the root key, beside a running server
    #[command(subcommand)]
    Key(key::Command),
    /// Verify and export the audit trail
    #[command(subcommand)]
    Audit(audit::Command),
    /// Copy everything from one store into another and compare them
    Migrate(transfer::Migrate),
    /// Write a backup of everything, sealed, beside a running server
    Backup(transfer::Backup),
    /// Fill an empty store from a backup
    Restore(transfer::Restore),
    /// Say whether a server would start, and if not, why
    Check(check::Arguments),
}

/// Runs the program to its end.
pub fn run(arguments: Arguments) -> ExitCode {
    let done = hardening::forbid_core_dumps()
        .map_err(|error| Failure::os("core dumps cannot be forbidden", &error))
        .and_then(|()| runtime())
        .and_then(|runtime| {
            let done = runtime.block_on(dispatch(arguments.command));
            // What a client did not wait for has been closed with the vault.
            runtime.shutdown_background();
            done
        });
    match done {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(worker_threads(std::env::var_os(THREADS))?);
    let runtime = builder.enable_all().build();
    runtime.map_err(|error| Failure::os("the runtime cannot be started", &error))
}

/// Tokio's own name for it, which takes the runtime down over what is no number.
const THREADS: &str = "TOKIO_WORKER_THREADS";

fn worker_threads(set: Option<OsString>) -> Result<usize, Failure> {
    let Some(text) = set else {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        // One of them may be waiting for the disk of the audit trail.
        return Ok(processors + 1);
    };
    let threads = text.to_str().and_then(|text| text.parse().ok());
    threads
        .filter(|threads| (1..=MAX_THREADS).contains(threads))
        .ok_or_else(|| {
            Failure::config(format!(
                "{THREADS} is not a number of threads from 1 to {MAX_THREADS}"
            ))
        })
}

/// More serve nobody, and each takes memory.
const MAX_THREADS: usize = 1_024;

async fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Quickstart(arguments) => quickstart::run(arguments).await,
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Init(arguments) => init::run(arguments).await,
        Command::Operator(command) => operator::run(command).await,
        Command::Key(command) => key::run(command).await,
        Command::Audit(command) => audit::run(command).await,
        Command::Migrate(arguments) => transfer::migrate(arguments).await,
        Command::Backup(arguments) => transfer::backup(arguments).await,
        Command::Restore(arguments) => transfer::restore(arguments).await,
        Command::Check(arguments) => check::run(arguments).await,
    }
}

/// The configuration from everywhere, with logging started as it says.
fn configure(flags: &Flags) -> Result<Config, Failure> {
    let config = load(flags)?;
    log::init(config.log_format, &config.log_level);
    for name in &config.ignored_variables {
        tracing::warn!(name, "the variable is no setting of this program");
    }
    Ok(config)
}

fn load(flags: &Flags) -> Result<Config, Failure> {
    // A variable that is not UTF-8 is none of ours.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Config::load(flags, variables)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_threads_is_as_set_or_one_more_than_there_are_processors() {
        let of = |text: &str| worker_threads(Some(text.into()));
        assert_eq!(of("1").unwrap(), 1);
        assert_eq!(of("1024").unwrap(), 1024);
        assert!(worker_threads(None).unwrap() > 1);
        for wrong in ["", "0", "1025", "-1", "two", " 2"] {
            let failure = of(wrong).unwrap_err();
            assert_eq!(failure.code(), exit::CONFIG, "{wrong:?}");
            assert!(failure.to_string().contains(THREADS), "{failure}");
        }
    }
}
