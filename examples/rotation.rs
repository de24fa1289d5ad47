//! A vault in memory with one target and one secret whose credential is rotated there. The examples
//! of the providers share it; a real vault is opened as in `embed.rs`.

use std::error::Error;
use std::sync::Arc;

use dsm_core::crypto::StaticKeys;
use dsm_core::entropy::OsEntropy;
use dsm_core::provider::{Provider, Target};
use dsm_core::secret::{OutputMap, SecretData};
use dsm_core::store::MemoryStore;
use dsm_core::vault::{Caller, NewAdmin, SecretFields, TargetFields, Vault};

/// The name that items of secrets have for the target.
pub(crate) const TARGET: &str = "example";

/// Makes the target and the secret, rotates at once, and gives what readers were served before and
/// are served after.
pub(crate) async fn rotate(
    provider: Arc<dyn Provider>,
    target: Target,
    data: SecretData,
) -> Result<(OutputMap, OutputMap), Box<dyn Error>> {
    let store = Arc::new(MemoryStore::default());
    let keys = Arc::new(StaticKeys::generate(&OsEntropy));
    let vault = Vault::builder_dyn(store, keys)
        .provider("example", provider)
        .initialise()
        .await?;
    let me = Caller::embedded("example");
    let fields = TargetFields {
        name: Some(TARGET.to_owned()),
        provider: Some("example".to_owned()),
        address: Some(target.address),
        options: Some(target.options),
        admin: Some(NewAdmin::Own(target.admin)),
        ..TargetFields::default()
    };
    vault.create_target(&me, fields).await?;
    let fields = SecretFields::new("Example", data);
    let secret = vault.create_secret(&me, "example", fields).await?;
    // A timer does the same; a server runs `renew_until` for as long as it serves.
    vault.rotate_secret(&me, secret.id, None).await?;
    let renewed = vault.renew(1).await?;
    assert_eq!(renewed.promoted, 1, "{renewed:?}");
    let mut versions = Vec::new();
    for version in 1..=2 {
        let shown = vault.reveal_version(&me, secret.id, version).await?;
        versions.extend(shown);
    }
    vault.close().await;
    let after = versions.pop().ok_or("no new version")?;
    let before = versions.pop().ok_or("no old version")?;
    Ok((before, after))
}
