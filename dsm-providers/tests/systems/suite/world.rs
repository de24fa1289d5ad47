//! Two servers of one vault, a target behind a proxy, workers that die, and time that stands still.

use std::sync::Arc;

use chrono::TimeDelta;
use dsm_core::crypto::StaticKeys;
use dsm_core::entropy::OsEntropy;
use dsm_core::id::SecretId;
use dsm_core::provider::{AccountKeys, Key, LogIn, ProviderError, Target};
use dsm_core::secret::{
    AccessKey, CloudProvider, Credential, Managed, OutputMap, OutputValue, RenewalInterval, Secret,
    SecretData, SecretError, SecretText, SshKey,
};
use dsm_core::store::{MemoryStore, Page, Store};
use dsm_core::testing::{FailPoints, ManualClock};
use dsm_core::vault::{
    Attempt, Caller, NewAdmin, RenewalFields, Renewed, SecretFields, Stored, TargetFields, Vault,
    VaultBuilder,
};
use dsm_test_servers::proxy::Proxy;

use super::{Style, System};

/// The name of the target.
pub(super) const TARGET: &str = "system";

/// The vault under test with everything around it.
pub(crate) struct World<'a> {
    pub(crate) system: &'a dyn System,
    /// The system past the proxy.
    pub(crate) direct: Target,
    pub(crate) proxy: Proxy,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) points: Arc<FailPoints>,
    pub(crate) me: Caller,
    /// Two servers over one store.
    vaults: [Vault; 2],
}

impl<'a> World<'a> {
    pub(crate) async fn new(system: &'a dyn System) -> Self {
        let proxy = Proxy::start(system.server()).expect("a proxy");
        let clock = Arc::new(ManualClock::default());
        let points = Arc::new(FailPoints::default());
        let keys = Arc::new(StaticKeys::generate(&OsEntropy));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let builder = || -> VaultBuilder {
            let providers = dsm_providers::all();
            let provider = providers.find(system.name());
            let provider = provider.expect("the feature of this system is on");
            Vault::builder_dyn(store.clone(), keys.clone())
                .clock(clock.clone())
                .provider(system.name(), provider.clone())
                .fail_points(points.clone())
        };
        let first = builder().initialise().await.expect("a vault");
        let second = builder().open().await.expect("the vault");
        let me = Caller::embedded("test");
        let target = system.at(proxy.address());
        let fields = TargetFields {
            name: Some(TARGET.to_owned()),
            provider: Some(system.name().to_owned()),
            address: Some(target.address),
            options: Some(target.options),
            admin: Some(NewAdmin::Own(target.admin)),
            ..TargetFields::default()
        };
        first.create_target(&me, fields).await.expect("a target");
        Self {
            system,
            direct: system.target(),
            proxy,
            clock,
            points,
            me,
            vaults: [first, second],
        }
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.vaults[0]
    }

    /// The server whose turn it is.
    pub(crate) fn server(&self, turn: usize) -> &Vault {
        &self.vaults[turn % 2]
    }

    /// A secret with one managed credential, whose accounts are there.
    pub(crate) async fn secret(&self, name: &str, style: Style) -> SecretId {
        let first = format!("rot_{name}_a");
        let second = format!("rot_{name}_b");
        let password = SecretText::new(format!("First-password-0-{name}"));
        let managed = Managed {
            target: TARGET.to_owned(),
            pair_user: (style == Style::Pair).then(|| second.clone()),
            user: (style == Style::Issued).then(|| first.clone()),
        };
        self.system.make_account(&first, &password).await;
        let mut data = SecretData::default();
        match style {
            Style::InPlace | Style::Pair => {
                if style == Style::Pair {
                    let unknown = SecretText::new("Nobody-is-served-this-0");
                    self.system.make_account(&second, &unknown).await;
                }
                data.credentials.push(Credential {
                    user: Some(first),
                    password: Some(password),
                    managed: Some(managed),
                    ..Credential::default()
                });
            }
            Style::Installed => {
                let key = self.system.make_key(&first).await;
                data.ssh_keys.push(SshKey {
                    user: Some(first),
                    private_key: Some(key.secret),
                    public_key: key.public,
                    managed: Some(managed),
                    ..SshKey::default()
                });
            }
            Style::Issued => {
                let key = self.system.make_key(&first).await;
                data.access_keys.push(AccessKey {
                    provider: CloudProvider::Aws,
                    access_key_id: Some(key.id),
                    secret_access_key: Some(key.secret),
                    ttl: None,
                    access_key_id_label: None,
                    secret_access_key_label: None,
                    managed: Some(managed),
                });
            }
        }
        let fields = SecretFields::new(name, data);
        let secret = self.vault().create_secret(&self.me, name, fields).await;
        let id = secret.expect("a secret").id;
        assert!(self.logs_in(id).await, "it logs in from the beginning");
        id
    }

    pub(crate) async fn find(&self, id: SecretId) -> Stored<Secret> {
        let secret = self.vault().find_secret(&self.me, id).await;
        secret.expect("the secret")
    }

    pub(crate) async fn ask(&self, id: SecretId) {
        let asked = self.vault().rotate_secret(&self.me, id, None).await;
        asked.expect("asked");
    }

    pub(crate) async fn set_timers(&self, id: SecretId, minutes: i64) {
        let interval = Some(RenewalInterval::from_minutes(minutes).expect("in its bounds"));
        let fields = SecretFields {
            renew: RenewalFields {
                cloud: Some(interval),
                credential: Some(interval),
                ephemeral: Some(interval),
            },
            ..SecretFields::default()
        };
        let changed = self.vault().update_secret(&self.me, id, fields, None).await;
        changed.expect("changed");
    }

    /// What readers of a version are served.
    pub(crate) async fn served(&self, id: SecretId, version: u64) -> OutputMap {
        let data = self.vault().reveal_version(&self.me, id, version).await;
        data.expect("values").remove(0)
    }

    /// Whether what a version serves logs in, past the proxy.
    pub(crate) async fn version_logs_in(&self, id: SecretId, version: u64) -> bool {
        let served = self.served(id, version).await;
        let account = self.find(id).await.managed[0].user.clone();
        self.accepts(&served, &account).await
    }

    /// Whether what is served now logs in.
    pub(crate) async fn logs_in(&self, id: SecretId) -> bool {
        let version = self.find(id).await.version;
        self.version_logs_in(id, version).await
    }

    /// Whether what somebody was served logs in; keys are of this account.
    pub(crate) async fn accepts(&self, served: &OutputMap, account: &str) -> bool {
        for _ in 0..5 {
            match self.try_once(served, account).await {
                Ok(said) => return said == LogIn::Accepted,
                // A machine that stood still meanwhile says nothing about the credential.
                Err(ProviderError::Unavailable(message)) => println!("asked again: {message}"),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the system does not answer");
    }

    async fn try_once(&self, served: &OutputMap, account: &str) -> Result<LogIn, ProviderError> {
        let text = |name| served.value(name).and_then(OutputValue::expose);
        let provider = self.system.provider();
        if let (Some(user), Some(password)) = (text("username"), text("password")) {
            let passwords = provider.passwords().expect("it has passwords");
            let password = SecretText::new(password);
            passwords.log_in(&self.direct, user, &password).await
        } else {
            let keys = provider.keys().expect("it has keys");
            let (id, secret, public) = match text("private_key") {
                Some(private) => ("", private, text("public_key")),
                None => (
                    text("access_key_id").expect("an id"),
                    text("secret_access_key").expect("a key"),
                    None,
                ),
            };
            let key = Key {
                id: id.to_owned(),
                secret: SecretText::new(secret),
                public: public.map(str::to_owned),
            };
            let keys: &dyn AccountKeys = keys.common();
            keys.log_in(&self.direct, account, &key).await
        }
    }

    /// The newest attempt of a secret.
    pub(crate) async fn attempt(&self, id: SecretId) -> Stored<Attempt> {
        let attempts = self
            .vault()
            .list_attempts(&self.me, id, Page::first(1))
            .await;
        attempts.expect("attempts").items.remove(0)
    }

    /// The history of errors, the newest first.
    pub(crate) async fn history(&self, id: SecretId) -> Vec<SecretError> {
        let page = Page::first(50);
        let errors = self.vault().list_secret_errors(&self.me, id, page).await;
        errors.expect("a history").items
    }

    pub(crate) async fn work(&self) -> Renewed {
        self.vault().renew(16).await.expect("a round")
    }

    pub(crate) fn wait(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// The lease of a worker that died runs out. What it had sent is done by then.
    pub(crate) async fn outlive_lease(&self, had_sent: bool) {
        if had_sent {
            tokio::time::sleep(self.system.settles()).await;
        }
        self.wait(6);
    }

    /// Works on until the newest attempt of a secret is over.
    pub(crate) async fn finish(&self, id: SecretId) {
        for turn in 0..60 {
            if self.attempt(id).await.progress.state.is_over() {
                return;
            }
            self.server(turn).renew(16).await.expect("a round");
            self.wait(3_700);
        }
        let (attempt, history) = (self.attempt(id).await, self.history(id).await);
        panic!("it does not come to an end: {attempt:?}, {history:?}");
    }

    /// The accounts of these tests on the system.
    pub(crate) async fn accounts(&self) -> Vec<String> {
        let mut names = self.system.accounts().await;
        names.sort_unstable();
        names
    }

    /// What holds when a rotation is over: what is served logs in, and nobody is there whom the vault
    /// does not know.
    pub(crate) async fn check_end(&self, id: SecretId, accounts: &[String], context: &str) {
        assert!(self.logs_in(id).await, "locked out: {context}");
        assert_eq!(self.accounts().await, accounts, "{context}");
        let provider = self.system.provider();
        if let Some(keys) = provider.keys() {
            let user = self.find(id).await.managed[0].user.clone();
            let listed = keys.common().list_keys(&self.direct, &user).await;
            let active = listed.expect("listed").into_iter().filter(|key| key.active);
            assert!(active.count() <= 1, "a key that nobody knows: {context}");
        }
    }
}
