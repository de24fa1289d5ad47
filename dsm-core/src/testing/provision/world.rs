//! A vault with a target, profiles of it, and an application whose clients ask.

use std::sync::Arc;

use crate::access::{Authorization, CredentialProfile, Origin, Principal};
use crate::id::{LeaseId, SecretId};
use crate::provision::ProfileKind;
use crate::secret::{EphemeralCredential, OutputMap, OutputValue, SecretData};
use crate::store::{Page, Store};
use crate::testing::rotation::{Style, World};
use crate::vault::{
    AccountLease, ApplicationFields, AuthorizationFields, Caller, LeaseFilter, ProfileFields,
    Registry, SecretFields, Stored, Vault, VaultOptions,
};

/// The vault under test with everything around it.
#[derive(Debug)]
pub struct Grounds {
    /// The vault, its clock and its one target, `db`.
    pub world: World,
    /// What it is in.
    pub store: Arc<dyn Store>,
}

impl Grounds {
    /// A new vault with the profiles `web`, of accounts with passwords, and `cloud`, of users with
    /// keys. Accounts live for an hour.
    pub async fn new(store: Arc<dyn Store>) -> Self {
        Self::with(store, VaultOptions::default()).await
    }

    /// The same with a vault that behaves so.
    pub async fn with(store: Arc<dyn Store>, options: VaultOptions) -> Self {
        let world = World::with(store.clone(), Style::Issued, options).await;
        let grounds = Self { world, store };
        grounds.profile("web", ProfileKind::Credential).await;
        grounds.profile("cloud", ProfileKind::Cloud).await;
        grounds
    }

    async fn profile(&self, identifier: &str, kind: ProfileKind) {
        let fields = ProfileFields {
            identifier: Some(identifier.to_owned()),
            kind: Some(kind),
            target: Some("db".to_owned()),
            ..ProfileFields::default()
        };
        let World { vault, me, .. } = &self.world;
        let made = vault.create_profile(me, fields).await;
        made.expect("a profile");
    }

    /// A secret with an ephemeral item for each of these profiles.
    pub async fn secret(&self, identity: &str, profiles: &[&str]) -> SecretId {
        let items = profiles.iter().map(|profile| EphemeralCredential {
            profile: (*profile).to_owned(),
            ..EphemeralCredential::default()
        });
        let data = SecretData {
            ephemeral_credentials: items.collect(),
            ..SecretData::default()
        };
        let fields = SecretFields::new(identity, data);
        let World { vault, me, .. } = &self.world;
        let made = vault.create_secret(me, identity, fields).await;
        made.expect("a secret").id
    }

    /// Has new accounts made for a secret, as an operator.
    pub async fn rotate(&self, id: SecretId) {
        let World { vault, me, .. } = &self.world;
        let rotated = vault.rotate_secret(me, id, None).await;
        rotated.expect("provisioned");
    }

    /// All leases, or those that live.
    pub async fn leases(&self, live: Option<bool>) -> Vec<Stored<AccountLease>> {
        all_leases(&self.world.vault, &self.world.me, live).await
    }

    /// One lease.
    pub async fn lease(&self, id: LeaseId) -> Stored<AccountLease> {
        let World { vault, me, .. } = &self.world;
        vault.find_lease(me, id).await.expect("the lease")
    }

    /// What a secret serves now.
    pub async fn served(&self, id: SecretId) -> Vec<OutputMap> {
        let World { vault, me, .. } = &self.world;
        let version = self.world.find(id).await.version;
        vault.reveal_version(me, id, version).await.expect("values")
    }

    /// Whether everything that a secret serves logs in; nothing does.
    pub async fn logs_in(&self, id: SecretId) -> bool {
        let served = self.served(id).await;
        served.iter().all(|map| self.accepts(map))
    }

    /// Whether the target takes what is served.
    pub fn accepts(&self, served: &OutputMap) -> bool {
        let text = |name| served.value(name).and_then(OutputValue::expose);
        let target = &self.world.target;
        match (text("username"), text("password")) {
            (Some(user), Some(password)) => return target.accepts(user, password),
            (Some(_), None) => return false,
            _ => {}
        }
        let (Some(id), Some(key)) = (text("access_key_id"), text("secret_access_key")) else {
            // Nothing was made for it yet.
            return true;
        };
        let names = target.account_names();
        names.iter().any(|name| target.accepts_key(name, id, key))
    }

    /// Works until no lease lives, for as long as targets may keep the workers waiting.
    pub async fn end_everything(&self) {
        for _ in 0..200 {
            self.world.wait(4_000);
            tokio::select! {
                biased;
                () = self.world.points.stopped() => {}
                _ = self.world.vault.renew(64) => {}
            }
            if self.leases(Some(true)).await.is_empty() {
                return;
            }
        }
        panic!("leases without an end: {:?}", self.leases(Some(true)).await);
    }

    /// What holds when everything has ended.
    pub async fn check_end(&self, context: &str) {
        let left = self.world.target.account_names();
        assert!(
            left.is_empty(),
            "accounts that nobody knows {context}: {left:?}"
        );
        for lease in self.leases(None).await {
            assert!(lease.ended_at.is_some(), "{context}: {lease:?}");
        }
    }

    /// An authorization of an application that is provisioned by `web` and `cloud`, and a client of
    /// it.
    pub async fn client(&self, name: &str) -> (Stored<Authorization>, Principal) {
        let World { vault, me, .. } = &self.world;
        for registry in [Registry::System, Registry::Environment] {
            // There already, for the second client.
            let _ = vault.create_registry_entry(me, registry, "here", "").await;
        }
        let fields = ApplicationFields {
            automatic_provisioning: Some(true),
            cloud_profiles: Some(vec!["cloud".to_owned()]),
            credential_profiles: Some(vec![CredentialProfile {
                device: "here".to_owned(),
                profile: "web".to_owned(),
            }]),
            ..ApplicationFields::new(name)
        };
        let application = vault.create_application(me, fields).await;
        let application = application.expect("an application");
        let mut fields = AuthorizationFields::new("here", "here");
        fields.allowed_ips = Some(vec!["*".to_owned()]);
        let authorization = vault.create_authorization(me, application.id, fields).await;
        let authorization = authorization.expect("an authorization").authorization;
        let principal = self.principal(&authorization).await;
        (authorization, principal)
    }

    /// A client of an authorization.
    pub async fn principal(&self, authorization: &Stored<Authorization>) -> Principal {
        let World { vault, me, .. } = &self.world;
        let revealed = vault.reveal_credentials(me, authorization.id).await;
        let key = revealed
            .expect("credentials")
            .into_oauth2()
            .expect("a pair");
        let origin = Origin {
            ip: "10.0.0.1".parse().ok(),
            ..Origin::default()
        };
        let secret = key.client_secret.expose();
        let token = vault
            .authenticate(&key.client_id, secret, origin.clone())
            .await;
        let token = token.expect("a token");
        let principal = vault.principal(token.token.expose(), origin).await;
        principal.expect("a client")
    }
}

/// All leases of a vault, or those that live.
pub async fn all_leases(
    vault: &Vault,
    caller: &Caller,
    live: Option<bool>,
) -> Vec<Stored<AccountLease>> {
    let mut all = Vec::new();
    let mut page = Page::first(500);
    loop {
        let filter = LeaseFilter {
            live,
            ..LeaseFilter::default()
        };
        let found = vault.list_leases(caller, filter, page).await;
        let found = found.expect("leases");
        all.extend(found.items);
        match found.next {
            Some(next) => page.after = Some(next),
            None => return all,
        }
    }
}
