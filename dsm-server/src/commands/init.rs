//! `init`, and the making of a vault for `quickstart` too.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use dsm_core::crypto::{KeyError, KeyFile};
use dsm_core::entropy::OsEntropy;
use dsm_core::store::Store;
use dsm_core::vault::{AuditPlace, NewOperator, OpenError, Vault};

use super::opening::{self, Purpose};
use super::{Failure, operator, terminal};
use crate::config::{Config, Flags, RootKeySource};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// The name of the first operator
    #[arg(long, value_name = "NAME", default_value = "admin")]
    operator_name: String,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let config = super::configure(&arguments.flags)?;
    let store = open_store(&config).await?;
    let made = if is_made(&config, &store).await? {
        Err(OpenError::NotEmpty.into())
    } else {
        make(&config, &store).await
    };
    let vault = match made {
        Ok(vault) => vault,
        Err(failure) => {
            store.close().await;
            return Err(failure);
        }
    };
    let new = NewOperator::new(arguments.operator_name);
    let done = operator::create(&vault, new).await;
    vault.close().await;
    if done.is_err() {
        terminal::note(
            "the vault is made, without an operator: run `dsm-server operator add NAME`",
        );
    }
    done.map(|()| ExitCode::SUCCESS)
}

/// Opens the store to make a vault in it, or to find that there is one.
///
/// # Errors
///
/// Before anything is made, when the store is gone and what belongs to it is not.
pub(super) async fn open_store(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    if opening::is_absent(&config.store)? {
        refuse_leftovers(config)?;
    }
    opening::open_store(config, &config.store, Purpose::Create).await
}

/// Whether there is a vault in the store; its key must be at hand then.
pub(super) async fn is_made(config: &Config, store: &Arc<dyn Store>) -> Result<bool, Failure> {
    let builder = opening::builder(config, Arc::clone(store), opening::keys(config));
    match builder.unlock().await {
        Ok(_) => Ok(true),
        Err(OpenError::NotInitialised) => Ok(false),
        Err(error) => {
            store.close().await;
            Err(error.into())
        }
    }
}

/// Makes the vault, and its root key unless that is there.
///
/// Its trail begins in the store alone: the folder is written only once the vault is there, so a
/// crash on the way leaves nothing that a second attempt would have to take for data.
pub(super) async fn make(config: &Config, store: &Arc<dyn Store>) -> Result<Vault, Failure> {
    refuse_leftovers(config)?;
    if let RootKeySource::File(path) = &config.root_key {
        let file = KeyFile::new(path);
        if !file.exists() {
            match file.create(&OsEntropy) {
                Ok(()) => {
                    let path = path.display();
                    tracing::info!(%path, "made a root key: keep a copy of it elsewhere");
                }
                // Another server of the same vault was faster; there is one key for all.
                Err(KeyError::Exists(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let builder = opening::builder(config, Arc::clone(store), opening::keys(config));
    let vault = builder.audit(AuditPlace::Store).initialise().await?;
    tracing::info!(store = %config.store, "made a vault");
    Ok(vault)
}

/// Nothing is made beside the audit trail of a vault whose store is gone.
fn refuse_leftovers(config: &Config) -> Result<(), Failure> {
    let folder = &config.audit_dir;
    let is_empty = match folder.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => {
            let what = format!("{} cannot be read", folder.display());
            return Err(Failure::io(what, &error));
        }
    };
    if is_empty {
        return Ok(());
    }
    Err(Failure::config(format!(
        "{} holds the audit trail of a vault that is not in {}; restore its store, or move the \
         folder away to begin anew: nothing is made over existing data",
        folder.display(),
        config.store
    )))
}
