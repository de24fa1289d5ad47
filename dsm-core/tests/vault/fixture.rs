use std::sync::Arc;

use dsm_core::access::{Authorization, Origin, Principal};
use dsm_core::crypto::StaticKeys;
use dsm_core::entropy::OsEntropy;
use dsm_core::id::SecretId;
use dsm_core::secret::{Identity, Secret, SecretData};
use dsm_core::store::{ChangeSet, Kind, MemoryStore, RecordKey, Store};
use dsm_core::testing::ManualClock;
use dsm_core::vault::{
    ApplicationFields, AuthorizationFields, Caller, ClientCredentials, OpenedSecret, Registry,
    SecretFields, Stored, Vault, VaultOptions,
};

/// A vault with a system, an environment, one application with one authorization, and time that
/// stands still.
pub(crate) struct Fixture {
    pub(crate) vault: Vault,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) me: Caller,
    pub(crate) authorization: Stored<Authorization>,
    pub(crate) credentials: ClientCredentials,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(VaultOptions::default(), |fields| fields).await
    }

    pub(crate) async fn with(
        options: VaultOptions,
        change: impl FnOnce(AuthorizationFields) -> AuthorizationFields,
    ) -> Self {
        Self::over(Arc::new(MemoryStore::default()), options, change).await
    }

    pub(crate) async fn over(
        store: Arc<dyn Store>,
        options: VaultOptions,
        change: impl FnOnce(AuthorizationFields) -> AuthorizationFields,
    ) -> Self {
        let clock = Arc::new(ManualClock::default());
        let keys = Arc::new(StaticKeys::generate(&OsEntropy));
        let vault = Vault::builder_dyn(store, keys)
            .clock(clock.clone())
            .options(options)
            .initialise()
            .await
            .unwrap();
        let me = Caller::embedded("test");
        vault
            .create_registry_entry(&me, Registry::System, "sys", "")
            .await
            .unwrap();
        vault
            .create_registry_entry(&me, Registry::Environment, "dev", "")
            .await
            .unwrap();
        let application = vault
            .create_application(&me, ApplicationFields::new("app"))
            .await
            .unwrap();
        let mut fields = AuthorizationFields::new("sys", "dev");
        fields.allowed_ips = Some(vec!["10.0.0.0/8".to_owned()]);
        fields.allow_application_creation = Some(true);
        let authorization = vault
            .create_authorization(&me, application.id, change(fields))
            .await
            .unwrap();
        let credentials = vault
            .reveal_credentials(&me, authorization.id)
            .await
            .unwrap()
            .into_oauth2()
            .unwrap();
        Self {
            vault,
            clock,
            me,
            authorization: authorization.authorization,
            credentials,
        }
    }

    /// One whose authorization seals and has no key in the store.
    pub(crate) async fn that_lost_its_key() -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let f = Self::over(store.clone(), VaultOptions::default(), |fields| {
            AuthorizationFields {
                encrypt_sensitive: Some(true),
                ..fields
            }
        })
        .await;
        let key = RecordKey::new(Kind(17), f.authorization.id);
        let set = ChangeSet::default().delete(key, 1);
        store.commit(set).await.unwrap();
        f
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin {
            ip: "10.0.0.1".parse().ok(),
            ..Origin::default()
        }
    }

    pub(crate) async fn principal(&self) -> Principal {
        let ClientCredentials {
            client_id,
            client_secret,
        } = &self.credentials;
        let token = self
            .vault
            .authenticate(client_id, client_secret.expose(), self.origin())
            .await
            .unwrap();
        self.vault
            .principal(token.token.expose(), self.origin())
            .await
            .unwrap()
    }

    /// A secret attached to the authorization.
    pub(crate) async fn secret(&self, identity: &str, value: &str) -> Stored<Secret> {
        let secret = self
            .vault
            .create_secret(&self.me, identity, fields(value))
            .await
            .unwrap();
        self.vault
            .attach_secret(&self.me, self.authorization.id, secret.id)
            .await
            .unwrap();
        secret
    }

    pub(crate) async fn rewrite(&self, id: SecretId, value: &str) -> Stored<Secret> {
        self.vault
            .update_secret(&self.me, id, fields(value), None)
            .await
            .unwrap()
    }
}

/// A secret's fields with one pair, `KEY`.
pub(crate) fn fields(value: &str) -> SecretFields {
    SecretFields::new("name", SecretData::key_values([("KEY", value)]))
}

pub(crate) fn identity(text: &str) -> Identity {
    text.parse().unwrap()
}

/// The value of `KEY`.
pub(crate) fn value(opened: &OpenedSecret) -> Option<&str> {
    opened.data.first()?.value("KEY")?.expose()
}
