//! A vault filled in memory, to be copied into a store: faster than writing to each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dsm_core::access::Origin;
use dsm_core::crypto::{KeyProvider, StaticKeys};
use dsm_core::entropy::OsEntropy;
use dsm_core::secret::{Identity, SecretData};
use dsm_core::store::{MemoryStore, Store};
use dsm_core::vault::{
    ApplicationFields, AuthorizationFields, Caller, Registry, SecretFields, Vault,
};

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A vault in memory: one application with one authorization, to which every secret is attached.
#[derive(Debug)]
pub struct Filled {
    /// What it is in.
    pub store: Arc<dyn Store>,
    /// Its root keys.
    pub keys: Arc<dyn KeyProvider>,
    /// Credentials of the authorization.
    pub client_id: String,
    /// Credentials of the authorization.
    pub client_secret: String,
    /// Its secrets.
    pub identities: Arc<Vec<Identity>>,
}

/// A vault of `count` secrets with `versions` versions each.
pub async fn fill(count: usize, versions: usize) -> Result<Filled, Fault> {
    let keys = Arc::new(StaticKeys::generate(&OsEntropy));
    fill_under(keys, count, versions).await
}

/// As [`fill`], under root keys that may be used elsewhere as well.
pub async fn fill_under(
    keys: Arc<dyn KeyProvider>,
    count: usize,
    versions: usize,
) -> Result<Filled, Fault> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let vault = Vault::builder_dyn(Arc::clone(&store), Arc::clone(&keys));
    let vault = Arc::new(vault.initialise().await?);
    let me = Caller::embedded("bench");
    for registry in [Registry::System, Registry::Environment] {
        vault
            .create_registry_entry(&me, registry, "one", "")
            .await?;
    }
    let fields = ApplicationFields::new("reader");
    let application = vault.create_application(&me, fields).await?;
    let mut fields = AuthorizationFields::new("one", "one");
    fields.allowed_ips = Some(vec!["*".to_owned()]);
    let made = vault
        .create_authorization(&me, application.id, fields)
        .await?;
    let credentials = vault.reveal_credentials(&me, made.id).await?;
    let credentials = credentials.into_oauth2().expect("the default method");
    let (client_id, client_secret) = (
        credentials.client_id,
        credentials.client_secret.expose().to_owned(),
    );
    let token = vault
        .authenticate(&client_id, &client_secret, origin())
        .await?;
    let principal = vault.principal(token.token.expose(), origin()).await?;
    let identities = Arc::new(identities(count));
    let next = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (vault, principal) = (Arc::clone(&vault), principal.clone());
            let (next, identities) = (Arc::clone(&next), Arc::clone(&identities));
            tokio::spawn(async move {
                while let Some(identity) = identities.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for version in 0..versions {
                        vault
                            .write_secret(&principal, identity, secret(version))
                            .await?;
                    }
                }
                Ok::<_, dsm_core::vault::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(Filled {
        store,
        keys,
        client_id,
        client_secret,
        identities,
    })
}

/// What its secrets are called.
///
/// # Panics
///
/// Never: each is an identity.
pub fn identities(count: usize) -> Vec<Identity> {
    let names = (0..count).map(|number| format!("team/service-{number}/database"));
    let identities = names.map(|name| name.parse().expect("it is of the form of an identity"));
    identities.collect()
}

/// The content of each, which differs by version.
pub fn secret(version: usize) -> SecretFields {
    let data = SecretData::key_values([
        ("USERNAME", "service"),
        (
            "PASSWORD",
            &*format!("a password of usual length {version}"),
        ),
        ("HOST", "database.internal.example.org"),
    ]);
    SecretFields::new("database", data)
}

/// Where its client is.
pub fn origin() -> Origin {
    Origin {
        ip: Some(std::net::Ipv4Addr::LOCALHOST.into()),
        ..Origin::default()
    }
}
