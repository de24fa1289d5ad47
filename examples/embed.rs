//! A service that keeps its secrets in a vault of its own: a file beside it, a key file apart from
//! it, an audit trail in a folder.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::Path;

use dsm_core::crypto::KeyFile;
use dsm_core::entropy::OsEntropy;
use dsm_core::secret::{Credential, OutputValue, SecretData};
use dsm_core::vault::{AuditPlace, Caller, SecretFields, Vault};
use dsm_store_sqlite::{OpenOptions, SqliteStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let me = Caller::embedded("orders service");

    let vault = open(folder.path()).await?;
    let credential = Credential {
        host: Some("db.internal".to_owned()),
        user: Some("orders".to_owned()),
        password: Some("correct horse".into()),
        ..Credential::default()
    };
    let data = SecretData {
        credentials: vec![credential],
        ..SecretData::default()
    };
    let secret = vault
        .create_secret(&me, "orders/db", SecretFields::new("Orders", data))
        .await?;
    println!("made {} version {}", secret.identity, secret.version);
    vault.close().await;

    // The next start finds it again.
    let vault = open(folder.path()).await?;
    let shown = vault.reveal_version(&me, secret.id, 1).await?;
    let password = shown[0].value("password").and_then(OutputValue::expose);
    println!(
        "the password has {} characters",
        password.map_or(0, str::len)
    );
    vault.close().await;
    Ok(())
}

async fn open(folder: &Path) -> Result<Vault, Box<dyn std::error::Error>> {
    let keys = KeyFile::new(folder.join("keys/root.key"));
    let fresh = !keys.exists();
    if fresh {
        keys.create(&OsEntropy)?;
    }
    let store = SqliteStore::open(OpenOptions::new(folder.join("vault.db")).serve(true)).await?;
    let builder = Vault::builder(store, keys).audit(AuditPlace::Folder(folder.join("audit")));
    Ok(if fresh {
        builder.initialise().await?
    } else {
        builder.open().await?
    })
}
