//! A vault in memory with one target and one secret whose credential is rotated there. The examples
//! of the providers share it; a real vault is opened as in `embed.rs`.
#![allow(
    dead_code,
    clippy::print_stdout,
    reason = "each example uses its part of this"
)]

use std::error::Error;
use std::sync::Arc;

use dsm_core::crypto::StaticKeys;
use dsm_core::entropy::OsEntropy;
use dsm_core::provider::{NewAccount, Provider, Target};
use dsm_core::secret::{Credential, Managed, OutputMap, OutputValue, SecretData, SecretText};
use dsm_core::store::MemoryStore;
use dsm_core::vault::{Caller, NewAdmin, SecretFields, TargetFields, Vault};

/// The name that items of secrets have for the target.
pub(crate) const TARGET: &str = "example";

/// An account of a target, as a secret has it that is to be renewed there.
pub(crate) fn managed(pair_user: Option<&str>) -> Managed {
    Managed {
        target: TARGET.to_owned(),
        pair_user: pair_user.map(str::to_owned),
        user: None,
    }
}

/// Has the password of an account rotated and tries what readers were served before and are served
/// after. The accounts are made here; with two of them, the one that is served is never changed.
pub(crate) async fn rotate_password(
    provider: Arc<dyn Provider>,
    target: impl Fn() -> Target,
    accounts: &[&str],
    roles: &[String],
) -> Result<(), Box<dyn Error>> {
    let [user, pair @ ..] = accounts else {
        return Err("an account".into());
    };
    let password = SecretText::new("The-first-password-1");
    let makes = provider.accounts().ok_or("it makes accounts")?;
    for name in accounts {
        let account = NewAccount {
            name,
            password: Some(&password),
            roles,
            expires_at: None,
            template: None,
        };
        makes.create_account(&target(), &account).await?;
    }
    let credential = Credential {
        user: Some((*user).to_owned()),
        password: Some(password),
        managed: Some(managed(pair.first().copied())),
        ..Credential::default()
    };
    let data = SecretData {
        credentials: vec![credential],
        ..SecretData::default()
    };
    let (before, after) = rotate(Arc::clone(&provider), target(), data).await?;

    let passwords = provider.passwords().ok_or("it has passwords")?;
    for (when, shown) in [("before", before), ("after", after)] {
        let text = |name| shown.value(name).and_then(OutputValue::expose);
        let user = text("username").ok_or("a user")?;
        let password = SecretText::new(text("password").ok_or("a password")?);
        let said = passwords.log_in(&target(), user, &password).await?;
        println!("what was served {when} the rotation, {user}: {said:?}");
    }
    Ok(())
}

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
