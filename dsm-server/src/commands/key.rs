//! `key`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use dsm_core::crypto::KeyFile;
use dsm_core::entropy::OsEntropy;
use dsm_core::vault::{Rotation, Vault};

use super::opening::{command_line, open_beside};
use super::{Failure, terminal};
use crate::config::{Config, Flags, RootKeySource};

/// How often progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(500);
/// How long a running server may need, beyond its `max_staleness`, to notice the new key.
const NOTICE: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a new root key and wrap every record anew under it, while servers go on
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// Add no key: wrap anew under the one that is active, as after an interrupted rotation or
    /// where the keys come from the environment
    #[arg(long)]
    rewrap_only: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) async fn run(command: Command) -> Result<ExitCode, Failure> {
    let Command::Rotate(arguments) = command;
    let config = super::configure(&arguments.flags)?;
    if let (RootKeySource::Env(name), false) = (&config.root_key, arguments.rewrap_only) {
        return Err(Failure::config(format!(
            "the root keys come from the environment variable {name}, where this program can add \
             none: put the new key in front of the others there, for every server, start the \
             servers again, and run `dsm-server key rotate --rewrap-only`"
        )));
    }
    // Before a key is added: the present ones must open the vault.
    let vault = open_beside(&config).await?;
    let done = rotate(&vault, &config, arguments.rewrap_only).await;
    vault.close().await;
    done.map(|()| ExitCode::SUCCESS)
}

async fn rotate(vault: &Vault, config: &Config, rewrap_only: bool) -> Result<(), Failure> {
    if let (RootKeySource::File(path), false) = (&config.root_key, rewrap_only) {
        let id = KeyFile::new(path).add(&OsEntropy)?;
        terminal::note(format_args!("added root key {id} to {}", path.display()));
    }
    let mut rewrapped = rewrap(vault).await?;
    // A server that has not noticed yet still writes under the old key. It has when this is over,
    // and what it wrote until then is found by the next pass.
    loop {
        tokio::time::sleep(config.max_staleness + NOTICE).await;
        rewrapped += rewrap(vault).await?;
        if vault.count_not_under(vault.root_key()).await? == 0 {
            break;
        }
    }
    terminal::say(format_args!(
        "root key {} seals everything: {rewrapped} records were wrapped anew, 0 are left under \
         older keys.\nOlder keys stay in {}: the audit log and backups are sealed under them. Keep \
         a new copy of it, apart from the data.",
        vault.root_key(),
        config.root_key,
    ))
}

/// One rotation, its progress shown. Returns how many records it wrapped anew.
async fn rewrap(vault: &Vault) -> Result<u64, Failure> {
    let mut shown = Instant::now();
    let show = |rotation: Rotation| {
        if shown.elapsed() >= SHOWN_EVERY {
            shown = Instant::now();
            note(rotation);
        }
    };
    let total = vault.rewrap(&command_line(), show).await?;
    note(total);
    Ok(total.rewrapped)
}

fn note(rotation: Rotation) {
    terminal::note(format_args!(
        "{} records looked at, {} wrapped anew",
        rotation.seen, rotation.rewrapped
    ));
}
