//! The use cases: everything that can be done with a vault.
//!
//! Each goes the same way: who asks becomes a permit or a recorded refusal; what is permitted is
//! recorded durably; only then a value is opened or a change committed. Operators' calls take a
//! [`Caller`], those of applications a [`Principal`](crate::access::Principal).

#[macro_use]
mod points;

mod act;
mod application;
mod attachment;
mod audit;
mod authorization;
mod backup;
mod cache;
mod check;
mod client;
mod commit;
mod early;
mod error;
mod init;
pub(crate) mod kind;
mod lease;
mod once;
mod operator;
mod pipeline;
mod profile;
mod provisioning;
mod reading;
mod record;
mod register;
mod registry;
mod requests;
mod rotate;
mod rotation;
mod sealing;
mod secret;
mod target;
mod variable;
mod version;
mod worker;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::RwLock;

pub use self::act::Caller;
pub use self::application::{ApplicationFields, ApplicationFilter};
pub use self::authorization::{
    AuthorizationFields, AuthorizationFilter, GroupCursor, GroupedPage, Hypothesis,
    NotAGroupCursor, WrittenAuthorization,
};
pub use self::client::{
    ACCESS_TOKEN_PREFIX, AccessToken, ApiClient, CLIENT_SECRET_PREFIX, CONSUMER_SECRET_PREFIX,
    Client, ClientCredentials, Credentials, LastUse, Presented, Rotated, SigningCredentials,
    TOKEN_SECRET_PREFIX, TokenInfo, UNIQUE_KEY_PREFIX,
};
pub use self::error::{Error, FieldError, OpenError};
pub(crate) use self::init::find_vault_record;
pub use self::init::{AuditPlace, Unlocked, VaultBuilder, VaultOptions};
pub(crate) use self::kind::TRANSFER;
pub use self::lease::{AccountLease, LeaseEnd, LeaseFilter};
pub use self::once::Once;
pub use self::operator::{NewOperator, OPERATOR_TOKEN_PREFIX, OperatorAccount};
pub use self::pipeline::{RegisteredVariables, VariableRegistration};
pub use self::profile::{ProfileFields, ProfileFilter};
#[cfg(feature = "testing")]
pub use self::provisioning::FAIL_POINTS as PROVISION_FAIL_POINTS;
pub use self::provisioning::{Container, ProvisionFailure, Provisioned};
pub use self::reading::{ApplicationView, OpenedSecret};
use self::record::Records;
pub use self::record::{Entity, Listing, Stored, Terms};
pub use self::register::{Registered, Registration};
pub use self::registry::{Registry, RegistryEntry, RegistryPatch};
pub use self::requests::{LoggedRequest, RequestAnswer, RequestPage};
pub use self::rotate::Rotation;
#[cfg(feature = "testing")]
pub use self::rotation::FAIL_POINTS;
pub use self::rotation::{Attempt, Cause, Method, Plan, Promotion, Renewed, Tried};
pub use self::sealing::SealingOptions;
pub use self::secret::{
    RenewalFields, SecretErrorEntry, SecretFields, SecretFilter, SecretVersion,
};
pub use self::target::{AdminCredential, NewAdmin, TargetEntry, TargetFields};
pub use self::variable::{VariableFilter, VariablePatch};
pub use self::worker::Worked;
pub use self::writing::Written;
use crate::audit::{Operation, Trail};
use crate::aws::Sts;
use crate::crypto::{KeyProvider, RootKeyId};
use crate::entropy::Entropy;
use crate::provider::Providers;
use crate::store::{Store, StoreError};
use crate::time::{Clock, Timestamp};

/// How long closing waits for commits under way.
const COMMITS_END: Duration = Duration::from_secs(5);

/// A vault in a store.
///
/// It holds no state that matters: any number of them may be open over one store that admits it.
#[derive(Debug)]
pub struct Vault {
    records: Arc<Records>,
    trail: Arc<Trail>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    options: VaultOptions,
    providers: Providers,
    turns: rotation::Turns,
    #[cfg(feature = "testing")]
    fail_points: Option<Arc<crate::testing::FailPoints>>,
    bearers: client::Bearers,
    sealing: sealing::Sealing,
    uses: client::Uses,
    sts: Option<Arc<dyn Sts>>,
    /// Held for reading by every commit under way.
    committing: Arc<RwLock<()>>,
}

impl Vault {
    /// A vault in `store` with the root keys of `keys`, to be opened or made.
    pub fn builder(store: impl Store + 'static, keys: impl KeyProvider + 'static) -> VaultBuilder {
        VaultBuilder::new(Arc::new(store), Arc::new(keys))
    }

    /// As [`builder`](Self::builder), for a store or provider chosen at run time.
    pub fn builder_dyn(store: Arc<dyn Store>, keys: Arc<dyn KeyProvider>) -> VaultBuilder {
        VaultBuilder::new(store, keys)
    }

    /// The time as the vault has it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How it behaves.
    pub fn options(&self) -> &VaultOptions {
        &self.options
    }

    /// The kinds of systems whose credentials it can manage.
    pub fn providers(&self) -> &Providers {
        &self.providers
    }

    /// The name of the root key that seals now.
    pub fn root_key(&self) -> RootKeyId {
        self.records.sealer.active()
    }

    /// By how many entries the audit sink that is not awaited is behind.
    pub fn audit_lag(&self) -> u64 {
        self.trail.lag()
    }

    /// Answers when the store can serve.
    pub async fn probe_store(&self) -> Result<(), StoreError> {
        self.records.store.probe().await
    }

    /// Records the stop, writes what is pending and closes trail and store.
    pub async fn close(&self) {
        if tokio::time::timeout(COMMITS_END, self.committing.write())
            .await
            .is_err()
        {
            tracing::warn!("the outcome of a change is not known and stays so in the trail");
        }
        if let Err(error) = self.write_uses().await {
            tracing::warn!(%error, "the last uses of clients are not written");
        }
        if let Err(error) = self.record_alone(Operation::Stop).await {
            tracing::error!(%error, "the stop could not be recorded");
        }
        self.trail.close().await;
        self.records.store.close().await;
    }
}
