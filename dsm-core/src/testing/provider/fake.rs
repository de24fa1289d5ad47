//! A target in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::entropy::Entropy;
use crate::provider::{
    AccountKeys, Accounts, InstalledKeys, IssuedKeys, Key, KeyState, Keys, LogIn, Login,
    NewAccount, Options, Passwords, Problem, Proof, Provider, ProviderError, Target, Template,
    TestReport,
};
use crate::secret::SecretText;

/// A call that a [`FakeTarget`] can be told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FakeCall {
    /// `test`.
    Test,
    /// `log_in` with a password or a key.
    LogIn,
    /// `change_password`.
    ChangePassword,
    /// `list_keys`.
    ListKeys,
    /// `issue_key` and `install_key`.
    MakeKey,
    /// `deactivate_key`.
    DeactivateKey,
    /// `delete_key`.
    DeleteKey,
    /// `create_account`.
    CreateAccount,
    /// `drop_account`.
    DropAccount,
    /// `list_accounts`.
    ListAccounts,
}

impl FakeCall {
    /// Whether it changes something.
    pub fn changes(self) -> bool {
        !matches!(
            self,
            Self::Test | Self::LogIn | Self::ListKeys | Self::ListAccounts
        )
    }
}

/// What a [`FakeTarget`] does wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It cannot be reached.
    Down,
    /// It does as asked, after a while.
    Slow(Duration),
    /// It says no, in these words.
    Refuses(String),
    /// It does as asked and the connection is gone before it says so.
    ForgetsAfter,
    /// It takes the question, does nothing, and the connection is gone.
    ForgetsBefore,
    /// It does as asked and answers something else.
    Nonsense,
}

type Plan = Box<dyn FnMut(FakeCall) -> Option<Fault> + Send>;

/// A target in memory: accounts with passwords and up to two keys each. It is its own provider.
#[derive(Default)]
pub struct FakeTarget {
    state: Mutex<State>,
    plan: Mutex<Option<Plan>>,
    installs: bool,
}

#[derive(Debug, Default)]
struct State {
    accounts: BTreeMap<String, Account>,
    issued: u64,
    calls: BTreeMap<FakeCall, u64>,
    running: usize,
    busiest: usize,
}

#[derive(Debug, Default)]
struct Account {
    password: Option<String>,
    keys: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    id: String,
    secret: String,
    active: bool,
}

impl FakeTarget {
    /// An address at which there is none.
    pub const NOWHERE: &'static str = "nowhere";
    /// How many keys an account can have.
    pub const MAX_KEYS: usize = 2;

    /// One to be shared between a test and the vault.
    pub fn shared() -> Arc<Self> {
        Arc::default()
    }

    /// The same with keys that are made on this side.
    pub fn installing_keys(self) -> Self {
        Self {
            installs: true,
            ..self
        }
    }

    /// How it is reached.
    pub fn target() -> Target {
        Target {
            name: "fake".to_owned(),
            address: "here".to_owned(),
            options: Options::new(),
            admin: Login {
                user: "admin".to_owned(),
                proof: Proof::Password("admin-password-of-the-fake".into()),
            },
        }
    }

    /// An account that is there.
    pub fn add_account(&self, name: &str, password: &str) {
        let account = Account {
            password: Some(password.to_owned()),
            keys: Vec::new(),
        };
        self.state().accounts.insert(name.to_owned(), account);
    }

    /// A key that an account has.
    pub fn add_key(&self, account: &str, id: &str, secret: &str) {
        let key = Held {
            id: id.to_owned(),
            secret: secret.to_owned(),
            active: true,
        };
        let mut state = self.state();
        let account = state.accounts.entry(account.to_owned()).or_default();
        account.keys.push(key);
    }

    /// From now on a call goes wrong as `plan` says.
    pub fn fault_when(&self, plan: impl FnMut(FakeCall) -> Option<Fault> + Send + 'static) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(plan));
    }

    /// Everything works again.
    pub fn heal(&self) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether this password logs in as this account.
    pub fn accepts(&self, account: &str, password: &str) -> bool {
        let state = self.state();
        let account = state.accounts.get(account);
        account.is_some_and(|account| account.password.as_deref() == Some(password))
    }

    /// Whether this key logs in as this account.
    pub fn accepts_key(&self, account: &str, id: &str, secret: &str) -> bool {
        let state = self.state();
        let account = state.accounts.get(account);
        account.is_some_and(|account| {
            account
                .keys
                .iter()
                .any(|key| key.id == id && key.secret == secret && key.active)
        })
    }

    /// The names of all accounts.
    pub fn account_names(&self) -> Vec<String> {
        self.state().accounts.keys().cloned().collect()
    }

    /// The ids of the keys of an account, with whether each is active.
    pub fn key_ids(&self, account: &str) -> Vec<(String, bool)> {
        let state = self.state();
        let account = state.accounts.get(account);
        let keys = account.into_iter().flat_map(|account| &account.keys);
        keys.map(|key| (key.id.clone(), key.active)).collect()
    }

    /// How often this was asked.
    pub fn calls(&self, call: FakeCall) -> u64 {
        self.state().calls.get(&call).copied().unwrap_or_default()
    }

    /// How often anything was asked.
    pub fn all_calls(&self) -> u64 {
        self.state().calls.values().sum()
    }

    /// How many calls ran at the same time at most.
    pub fn busiest(&self) -> usize {
        self.state().busiest
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one call with whatever goes wrong with it.
    async fn call<T>(
        &self,
        target: &Target,
        call: FakeCall,
        act: impl FnOnce(&mut State) -> Result<T, ProviderError> + Send,
    ) -> Result<T, ProviderError> {
        if target.address == Self::NOWHERE {
            return Err(ProviderError::Unavailable("nobody listens".to_owned()));
        }
        let _running = Running::start(self, call);
        let fault = {
            let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
            plan.as_mut().and_then(|plan| plan(call))
        };
        // Others get their turn in the middle, as with a real system.
        tokio::task::yield_now().await;
        let lost = |message: &str| {
            Err(if call.changes() {
                ProviderError::OutcomeUnknown(message.to_owned())
            } else {
                ProviderError::Unavailable(message.to_owned())
            })
        };
        match fault {
            Some(Fault::Down) => {
                return Err(ProviderError::Unavailable("connection refused".to_owned()));
            }
            Some(Fault::Refuses(words)) => return Err(ProviderError::Refused(words)),
            Some(Fault::ForgetsBefore) => return lost("the connection was closed"),
            Some(Fault::Slow(delay)) => tokio::time::sleep(delay).await,
            Some(Fault::ForgetsAfter | Fault::Nonsense) | None => {}
        }
        if call != FakeCall::LogIn && target.admin != Self::target().admin {
            return Err(ProviderError::Refused("wrong admin credential".to_owned()));
        }
        let done = act(&mut self.state())?;
        match fault {
            Some(Fault::ForgetsAfter) => lost("the connection was closed"),
            Some(Fault::Nonsense) => lost("418 I'm a teapot"),
            _ => Ok(done),
        }
    }
}

impl fmt::Debug for FakeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeTarget").finish_non_exhaustive()
    }
}

/// A call under way.
struct Running<'a>(&'a FakeTarget);

impl<'a> Running<'a> {
    fn start(target: &'a FakeTarget, call: FakeCall) -> Self {
        let mut state = target.state();
        *state.calls.entry(call).or_default() += 1;
        state.running += 1;
        state.busiest = state.busiest.max(state.running);
        Self(target)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.state().running -= 1;
    }
}

impl State {
    fn account(&mut self, name: &str) -> Result<&mut Account, ProviderError> {
        let account = self.accounts.get_mut(name);
        account.ok_or_else(|| ProviderError::Refused("there is no such account".to_owned()))
    }

    fn add(&mut self, account: &str, key: &Key) -> Result<(), ProviderError> {
        let account = self.account(account)?;
        if account.keys.iter().any(|held| held.id == key.id) {
            return Ok(());
        }
        if account.keys.len() >= FakeTarget::MAX_KEYS {
            return Err(ProviderError::Refused(
                "the account has two keys".to_owned(),
            ));
        }
        account.keys.push(Held {
            id: key.id.clone(),
            secret: key.secret.expose().to_owned(),
            active: true,
        });
        Ok(())
    }
}

#[async_trait]
impl Provider for FakeTarget {
    fn check(&self, address: &str, _: &Options) -> Vec<Problem> {
        if address.is_empty() {
            vec![Problem::new("address", "must not be empty")]
        } else {
            Vec::new()
        }
    }

    async fn test(&self, target: &Target) -> Result<TestReport, ProviderError> {
        let log_in = |_: &mut State| Ok(TestReport::default().with("log in", true, ""));
        self.call(target, FakeCall::Test, log_in).await
    }

    fn passwords(&self) -> Option<&dyn Passwords> {
        Some(self)
    }

    fn keys(&self) -> Option<Keys<'_>> {
        Some(if self.installs {
            Keys::Installed(self)
        } else {
            Keys::Issued(self)
        })
    }

    fn accounts(&self) -> Option<&dyn Accounts> {
        Some(self)
    }
}

#[async_trait]
impl Passwords for FakeTarget {
    async fn log_in(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<LogIn, ProviderError> {
        let check = |state: &mut State| {
            let held = state.accounts.get(account);
            let good = held.is_some_and(|a| a.password.as_deref() == Some(password.expose()));
            Ok(if good {
                LogIn::Accepted
            } else {
                LogIn::Rejected
            })
        };
        self.call(target, FakeCall::LogIn, check).await
    }

    async fn change_password(
        &self,
        target: &Target,
        account: &str,
        password: &SecretText,
    ) -> Result<(), ProviderError> {
        let change = |state: &mut State| {
            state.account(account)?.password = Some(password.expose().to_owned());
            Ok(())
        };
        self.call(target, FakeCall::ChangePassword, change).await
    }
}

#[async_trait]
impl AccountKeys for FakeTarget {
    async fn list_keys(
        &self,
        target: &Target,
        account: &str,
    ) -> Result<Vec<KeyState>, ProviderError> {
        let list = |state: &mut State| {
            let keys = state.account(account)?.keys.iter();
            let keys = keys.map(|key| KeyState {
                id: key.id.clone(),
                active: key.active,
            });
            Ok(keys.collect())
        };
        self.call(target, FakeCall::ListKeys, list).await
    }

    async fn log_in(
        &self,
        target: &Target,
        account: &str,
        key: &Key,
    ) -> Result<LogIn, ProviderError> {
        let id = if key.id.is_empty() {
            self.key_id(key).unwrap_or_default()
        } else {
            key.id.clone()
        };
        let check = |state: &mut State| {
            let held = state.accounts.get(account);
            let good = held.is_some_and(|account| {
                let mut keys = account.keys.iter();
                keys.any(|k| k.id == id && k.secret == key.secret.expose() && k.active)
            });
            Ok(if good {
                LogIn::Accepted
            } else {
                LogIn::Rejected
            })
        };
        self.call(target, FakeCall::LogIn, check).await
    }

    async fn deactivate_key(
        &self,
        target: &Target,
        account: &str,
        id: &str,
    ) -> Result<(), ProviderError> {
        let deactivate = |state: &mut State| {
            for key in &mut state.account(account)?.keys {
                key.active &= key.id != id;
            }
            Ok(())
        };
        self.call(target, FakeCall::DeactivateKey, deactivate).await
    }

    async fn delete_key(
        &self,
        target: &Target,
        account: &str,
        id: &str,
    ) -> Result<(), ProviderError> {
        let delete = |state: &mut State| {
            state.account(account)?.keys.retain(|key| key.id != id);
            Ok(())
        };
        self.call(target, FakeCall::DeleteKey, delete).await
    }
}

#[async_trait]
impl InstalledKeys for FakeTarget {
    fn draft_key(&self, _: &str, entropy: &dyn Entropy) -> Key {
        let [id, secret] = [entropy.array::<8>(), entropy.array::<8>()];
        let [id, secret] = [id, secret].map(|bytes| data_encoding::HEXLOWER.encode(&bytes));
        Key {
            id: format!("made-{id}"),
            secret: SecretText::new(format!("secret-{secret}")),
            public: Some(format!("public-{id}")),
        }
    }

    fn key_id(&self, key: &Key) -> Option<String> {
        let id = key.public.as_ref()?.strip_prefix("public-")?;
        Some(format!("made-{id}"))
    }

    async fn install_key(
        &self,
        target: &Target,
        account: &str,
        key: &Key,
    ) -> Result<(), ProviderError> {
        let install = |state: &mut State| state.add(account, key);
        self.call(target, FakeCall::MakeKey, install).await
    }
}

#[async_trait]
impl IssuedKeys for FakeTarget {
    async fn issue_key(&self, target: &Target, account: &str) -> Result<Key, ProviderError> {
        let issue = |state: &mut State| {
            let number = state.issued + 1;
            let key = Key {
                id: format!("issued-{number}"),
                secret: SecretText::new(format!("secret-of-{number}")),
                public: None,
            };
            state.add(account, &key)?;
            state.issued = number;
            Ok(key)
        };
        self.call(target, FakeCall::MakeKey, issue).await
    }
}

#[async_trait]
impl Accounts for FakeTarget {
    async fn create_account(
        &self,
        target: &Target,
        account: &NewAccount<'_>,
    ) -> Result<(), ProviderError> {
        let create = |state: &mut State| {
            let held = state.accounts.entry(account.name.to_owned()).or_default();
            held.password = account
                .password
                .map(|password| password.expose().to_owned());
            Ok(())
        };
        self.call(target, FakeCall::CreateAccount, create).await
    }

    async fn drop_account(
        &self,
        target: &Target,
        name: &str,
        _: Option<&Template>,
    ) -> Result<(), ProviderError> {
        let drop = |state: &mut State| {
            state.accounts.remove(name);
            Ok(())
        };
        self.call(target, FakeCall::DropAccount, drop).await
    }

    async fn list_accounts(
        &self,
        target: &Target,
        prefix: &str,
    ) -> Result<Vec<String>, ProviderError> {
        let list = |state: &mut State| {
            let names = state.accounts.keys();
            Ok(names
                .filter(|name| name.starts_with(prefix))
                .cloned()
                .collect())
        };
        self.call(target, FakeCall::ListAccounts, list).await
    }
}
