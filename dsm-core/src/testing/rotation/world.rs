//! A vault with a target in memory, workers that die, and time that stands still.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::crypto::StaticKeys;
use crate::entropy::OsEntropy;
use crate::id::SecretId;
use crate::provider::Proof;
use crate::secret::{
    AccessKey, CloudProvider, Credential, Managed, OutputMap, OutputValue, Secret, SecretData,
    SshKey,
};
use crate::store::{Page, Store};
use crate::testing::provider::FakeTarget;
use crate::testing::{FailPoints, ManualClock};
use crate::vault::{
    Attempt, Caller, NewAdmin, Renewed, SecretFields, Stored, TargetFields, Vault, VaultOptions,
};

const TARGET: &str = "db";
const ADMIN: &str = "admin";

/// What the credential of a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// The password of one account.
    InPlace,
    /// Passwords of two accounts in turn.
    Pair,
    /// An SSH key, made by the vault.
    Installed,
    /// A cloud access key, made by the target.
    Issued,
}

/// The vault under test with everything around it.
#[derive(Debug)]
pub struct World {
    /// The vault.
    pub vault: Vault,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// The target of all secrets.
    pub target: Arc<FakeTarget>,
    /// Where workers die.
    pub points: Arc<FailPoints>,
    /// Who manages the vault.
    pub me: Caller,
    pub(super) store: Arc<dyn Store>,
    keys: Arc<StaticKeys>,
}

impl World {
    /// A new vault in an empty store with one target.
    pub async fn new(store: Arc<dyn Store>, style: Style) -> Self {
        Self::with(store, style, VaultOptions::default()).await
    }

    /// The same with a vault that behaves so.
    pub async fn with(store: Arc<dyn Store>, style: Style, options: VaultOptions) -> Self {
        let target = match style {
            Style::Installed => Arc::new(FakeTarget::default().installing_keys()),
            Style::InPlace | Style::Pair | Style::Issued => FakeTarget::shared(),
        };
        let clock = Arc::new(ManualClock::default());
        let keys = Arc::new(StaticKeys::generate(&OsEntropy));
        let points = Arc::new(FailPoints::default());
        let vault = Vault::builder_dyn(store.clone(), keys.clone())
            .clock(clock.clone())
            .options(options)
            .provider("fake", target.clone())
            .fail_points(points.clone())
            .initialise()
            .await
            .expect("a vault");
        let me = Caller::embedded("test");
        let login = FakeTarget::target().admin;
        assert!(matches!(login.proof, Proof::Password(_)) && login.user == ADMIN);
        let fields = TargetFields {
            name: Some(TARGET.to_owned()),
            provider: Some("fake".to_owned()),
            address: Some("here".to_owned()),
            admin: Some(NewAdmin::Own(login)),
            ..TargetFields::default()
        };
        vault.create_target(&me, fields).await.expect("a target");
        Self {
            vault,
            clock,
            target,
            points,
            me,
            store,
            keys,
        }
    }

    /// Another server over the same store and target.
    pub async fn another(&self) -> Vault {
        Vault::builder_dyn(self.store.clone(), self.keys.clone())
            .clock(self.clock.clone())
            .provider("fake", self.target.clone())
            .open()
            .await
            .expect("the vault")
    }

    /// A secret with one managed credential of accounts whose names begin with `name`.
    pub async fn secret(&self, name: &str, style: Style) -> SecretId {
        let first = format!("{name}_a");
        let password = format!("first-password-of-{name}");
        let managed = Managed {
            target: TARGET.to_owned(),
            pair_user: (style == Style::Pair).then(|| format!("{name}_b")),
            user: (style == Style::Issued).then(|| first.clone()),
        };
        self.target.add_account(&first, &password);
        let mut data = SecretData::default();
        match style {
            Style::InPlace | Style::Pair => {
                if let Some(pair) = &managed.pair_user {
                    self.target.add_account(pair, "nobody-is-served-this");
                }
                data.credentials.push(Credential {
                    user: Some(first),
                    password: Some(password.into()),
                    managed: Some(managed),
                    ..Credential::default()
                });
            }
            Style::Installed => {
                self.target
                    .add_key(&first, &format!("made-{name}"), &password);
                data.ssh_keys.push(SshKey {
                    user: Some(first),
                    private_key: Some(password.into()),
                    public_key: Some(format!("public-{name}")),
                    managed: Some(managed),
                    ..SshKey::default()
                });
            }
            Style::Issued => {
                self.target
                    .add_key(&first, &format!("key-{name}"), &password);
                data.access_keys.push(AccessKey {
                    provider: CloudProvider::Aws,
                    access_key_id: Some(format!("key-{name}")),
                    secret_access_key: Some(password.into()),
                    ttl: None,
                    access_key_id_label: None,
                    secret_access_key_label: None,
                    managed: Some(managed),
                });
            }
        }
        let fields = SecretFields::new(name, data);
        let secret = self.vault.create_secret(&self.me, name, fields).await;
        secret.expect("a secret").id
    }

    /// A secret's metadata.
    pub async fn find(&self, id: SecretId) -> Stored<Secret> {
        let secret = self.vault.find_secret(&self.me, id).await;
        secret.expect("the secret")
    }

    /// What readers of a version are served.
    pub async fn served(&self, id: SecretId, version: u64) -> OutputMap {
        let data = self.vault.reveal_version(&self.me, id, version).await;
        data.expect("values").remove(0)
    }

    /// Whether what a version serves logs in.
    pub async fn version_logs_in(&self, id: SecretId, version: u64) -> bool {
        let served = self.served(id, version).await;
        let text = |name| served.value(name).and_then(OutputValue::expose);
        let secret = self.find(id).await;
        let account = secret.managed[0].user.clone();
        if let (Some(user), Some(password)) = (text("username"), text("password")) {
            return self.target.accepts(user, password);
        }
        if let Some(key) = text("private_key") {
            let id = text("public_key").and_then(|public| public.strip_prefix("public-"));
            let id = format!("made-{}", id.expect("a public key"));
            return self.target.accepts_key(&account, &id, key);
        }
        let (id, key) = (text("access_key_id"), text("secret_access_key"));
        self.target
            .accepts_key(&account, id.expect("an id"), key.expect("a key"))
    }

    /// Whether what is served now logs in.
    pub async fn logs_in(&self, id: SecretId) -> bool {
        let version = self.find(id).await.version;
        self.version_logs_in(id, version).await
    }

    /// The newest attempt of a secret.
    pub async fn attempt(&self, id: SecretId) -> Stored<Attempt> {
        let attempts = self.vault.list_attempts(&self.me, id, Page::first(1)).await;
        attempts.expect("attempts").items.remove(0)
    }

    /// One round of work.
    pub async fn work(&self) -> Renewed {
        self.vault.renew(64).await.expect("a round")
    }

    /// Moves the clock.
    pub fn wait(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// Works on until the newest attempt of a secret is over.
    pub async fn finish(&self, id: SecretId) {
        for _ in 0..50 {
            if self.attempt(id).await.progress.state.is_over() {
                return;
            }
            self.work().await;
            self.wait(3_700);
        }
        panic!("it does not come to an end: {:?}", self.attempt(id).await);
    }

    /// What holds when a rotation is over: what is served logs in, and nobody is there whom the
    /// vault does not know.
    pub async fn check_end(&self, id: SecretId, accounts: &[String], context: &str) {
        assert!(self.logs_in(id).await, "locked out {context}");
        assert_eq!(self.target.account_names(), accounts, "{context}");
        let secret = self.find(id).await;
        let active: Vec<_> = self
            .target
            .key_ids(&secret.managed[0].user)
            .into_iter()
            .filter(|(_, active)| *active)
            .collect();
        assert!(
            active.len() <= 1,
            "a key that nobody knows {context}: {active:?}"
        );
    }
}
