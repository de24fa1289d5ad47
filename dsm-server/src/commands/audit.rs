//! `audit`: the trail, checked and copied without the server that writes it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use dsm_core::audit::{
    AuditError, AuditSink as _, Head, Report, StoreSink, Verifier, verify_folder, verify_lines,
    verify_store,
};
use dsm_core::store::Store;
use dsm_core::vault::{Unlocked, Vault};

use super::opening::{self, Purpose};
use super::{Failure, exit, terminal};
use crate::config::{Config, Flags};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check the trail: nothing changed, removed, doubled or moved
    Verify(Verify),
    /// Write the copy of the trail in the store as JSON lines
    Export(Export),
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Check the segments in this folder; that of the configuration unless said
    #[arg(long, value_name = "DIR", conflicts_with_all = ["export", "in_store"])]
    dir: Option<PathBuf>,
    /// Check an export
    #[arg(long, value_name = "FILE", conflicts_with = "in_store")]
    export: Option<PathBuf>,
    /// Check the copy in the store
    #[arg(long)]
    in_store: bool,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Write to this file, which must not exist, in place of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

pub(super) async fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Verify(verify) => run_verify(verify).await,
        Command::Export(export) => run_export(export).await,
    }
}

/// The store and the vault's keys.
struct Keys {
    store: Arc<dyn Store>,
    unlocked: Unlocked,
}

impl Keys {
    async fn open(config: &Config) -> Result<Self, Failure> {
        let store = opening::open_store(config, &config.store, Purpose::Beside).await?;
        let builder = opening::builder(config, Arc::clone(&store), opening::keys(config));
        match builder.unlock().await {
            Ok(unlocked) => Ok(Self { store, unlocked }),
            Err(error) => {
                store.close().await;
                Err(error.into())
            }
        }
    }

    /// Up to where the store has the chains of `report`.
    async fn heads(&self, report: &Report) -> Result<Vec<Head>, AuditError> {
        let sink = StoreSink::new(
            Arc::clone(&self.store),
            Arc::clone(&self.unlocked.sealer),
            Arc::clone(&self.unlocked.keyring),
        );
        let mut heads = Vec::new();
        for chain in &report.chains {
            heads.extend(sink.head(chain.head.server).await?);
        }
        Ok(heads)
    }
}

async fn run_verify(verify: Verify) -> Result<ExitCode, Failure> {
    let config = super::configure(&verify.flags)?;
    let keys = match Keys::open(&config).await {
        Ok(keys) => Some(keys),
        Err(failure) if verify.in_store => return Err(failure),
        Err(failure) => {
            terminal::note(format_args!(
                "signatures are not checked, without the vault's keys: {failure}"
            ));
            None
        }
    };
    let report = match (&verify.export, &keys) {
        (Some(file), keys) => verify_export(file, keys.as_ref()),
        (None, Some(keys)) if verify.in_store => in_store(keys).await,
        (None, keys) => {
            let folder = verify.dir.as_ref().unwrap_or(&config.audit_dir);
            in_folder(folder, keys.as_ref()).await
        }
    };
    if let Some(keys) = &keys {
        keys.store.close().await;
    }
    let report = report?;
    terminal::say(Shown(&report))?;
    let code = if report.is_sound() { 0 } else { exit::WRONG };
    Ok(ExitCode::from(code))
}

fn verifier(keys: Option<&Keys>) -> Verifier<'_> {
    Verifier::new(keys.map(|keys| &*keys.unlocked.keyring))
}

/// The segments, and that none of their entries differs from the copy in the store or is missing.
async fn in_folder(folder: &Path, keys: Option<&Keys>) -> Result<Report, Failure> {
    let report = verify_folder(verifier(keys), folder)?;
    let Some(keys) = keys else {
        return Ok(report);
    };
    let heads = keys.heads(&report).await?;
    let is_same = |head: &Head| report.chain(head.server).is_some_and(|c| c.head == *head);
    if heads.iter().all(is_same) {
        return Ok(report);
    }
    // The store is behind, or the folder was cut: the entries in question are met on the way.
    let verifier = heads
        .into_iter()
        .fold(verifier(Some(keys)), Verifier::expect);
    Ok(verify_folder(verifier, folder)?)
}

async fn in_store(keys: &Keys) -> Result<Report, Failure> {
    let sealer = &keys.unlocked.sealer;
    Ok(verify_store(verifier(Some(keys)), &*keys.store, sealer).await?)
}

fn verify_export(file: &Path, keys: Option<&Keys>) -> Result<Report, Failure> {
    let failed = |error: io::Error| {
        let what = format!("{} cannot be read", file.display());
        Failure::io(what, &error)
    };
    let lines = BufReader::new(File::open(file).map_err(failed)?);
    // An export may be of a span of time.
    verify_lines(verifier(keys).partial(), lines).map_err(failed)
}

/// A report as lines.
struct Shown<'a>(&'a Report);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Report {
            chains,
            faults,
            fault_count,
        } = self.0;
        for chain in chains {
            let server = chain.head.server;
            let (first, last) = (chain.after.sequence + 1, chain.head.sequence);
            write!(f, "server {server}: {} entries", chain.entries)?;
            if chain.entries > 0 {
                write!(f, ", {first} to {last}, signed up to {}", chain.signed)?;
            }
            f.write_str("\n")?;
        }
        for fault in faults {
            writeln!(f, "{fault}")?;
        }
        match fault_count {
            0 => f.write_str("sound"),
            1 => f.write_str("1 fault"),
            count => write!(f, "{count} faults"),
        }
    }
}

async fn run_export(arguments: Export) -> Result<ExitCode, Failure> {
    let config = super::configure(&arguments.flags)?;
    let vault = opening::open_beside(&config).await?;
    let done = write_export(&vault, arguments.output.as_deref()).await;
    vault.close().await;
    terminal::note(format_args!("{} entries written", done?));
    Ok(ExitCode::SUCCESS)
}

async fn write_export(vault: &Vault, output: Option<&Path>) -> Result<u64, Failure> {
    let caller = opening::command_line();
    let Some(path) = output else {
        let mut out = BufWriter::new(io::stdout());
        return Ok(vault.export_audit(&caller, &mut out).await?);
    };
    let failed = |error| Failure::io(format!("{} cannot be written", path.display()), &error);
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut out = BufWriter::new(file.map_err(failed)?);
    let entries = vault.export_audit(&caller, &mut out).await?;
    out.flush().map_err(failed)?;
    out.get_ref().sync_all().map_err(failed)?;
    Ok(entries)
}
