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
    // One of them may be waiting for the disk of the audit trail.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    builder.worker_threads(processors + 1);
    let runtime = builder.enable_all().build();
    runtime.map_err(|error| Failure::os("the runtime cannot be started", &error))
}

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
