//! The port to the systems whose credentials are managed.
//!
//! A provider knows how one kind of system is talked to: how a password is changed there, a key
//! issued, an account made. It decides nothing and keeps nothing: when a credential changes, what
//! is committed first, and what follows a failure is the vault's part. Every call can be repeated,
//! because after a crash it will be.
//!
//! # Adding a provider
//!
//! Implement [`Provider`] and the parts of it that the system can do, hand it to the vault by a
//! name ([`VaultBuilder::provider`](crate::vault::VaultBuilder::provider)), and run the conformance
//! suite over it:
//!
//! ```text
//! dsm_core::provider_conformance!(|| async { MyFixture::start().await });
//! ```

mod address;
mod error;
mod keys;
mod password;
mod policy;
mod providers;
mod target;
mod template;

use std::fmt::Debug;

use async_trait::async_trait;

pub use self::address::{AddressError, check_address};
pub use self::error::{ProviderError, redact};
pub use self::keys::{AccountKeys, InstalledKeys, IssuedKeys, Key, KeyState, Keys};
pub use self::password::Passwords;
pub use self::policy::{PasswordPolicy, PolicyError};
pub use self::providers::Providers;
pub use self::target::{Login, Options, Problem, Proof, Target, TestReport, Tested};
pub use self::template::{Tag, Template, TemplateError};
use crate::secret::SecretText;
use crate::time::Timestamp;

/// How long one call of a provider may take, in seconds. The vault gives up on it then.
pub const CALL_SECONDS: u64 = 10;

/// How much of an answer a provider reads at most, in bytes.
pub const MAX_ANSWER: usize = 1 << 20;

/// A kind of system whose credentials are managed.
///
/// # Guarantees every provider gives
///
/// - **Repeatable**: a call that was made before, as a whole or in part, can be made again and ends
///   as the first would have.
/// - **Truthful**: [`ProviderError::Refused`] and [`ProviderError::Unavailable`] mean that nothing
///   was changed. Whatever is not certain is [`ProviderError::OutcomeUnknown`].
/// - **Bounded**: no redirect is followed, at most [`MAX_ANSWER`] bytes are read, and every address
///   that a name resolves to passes [`check_address`] before it is connected to.
/// - **Quoted**: names and values are bound or quoted by the system's rules, never pasted.
/// - **Cancellation**: a future may be dropped at any point; what was sent may take effect.
#[async_trait]
pub trait Provider: Send + Sync + Debug {
    /// What is wrong with an address and options, as far as that shows without connecting.
    fn check(&self, address: &str, options: &Options) -> Vec<Problem>;

    /// Logs in with the admin credential and tells what it may do there. Changes nothing.
    ///
    /// # Errors
    ///
    /// Where not even that can be told: the target is down or refuses the admin credential.
    async fn test(&self, target: &Target) -> Result<TestReport, ProviderError>;

    /// Its way with passwords, if its accounts have any.
    fn passwords(&self) -> Option<&dyn Passwords> {
        None
    }

    /// Its way with keys of which an account can have two, if there are such.
    fn keys(&self) -> Option<Keys<'_>> {
        None
    }

    /// Its way with accounts that live for a while, if it can make them.
    fn accounts(&self) -> Option<&dyn Accounts> {
        None
    }

    /// What it can do.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            passwords: self.passwords().is_some(),
            keys: self.keys().is_some(),
            accounts: self.accounts().is_some(),
        }
    }
}

/// What a provider can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Change passwords, in place or of two accounts in turn.
    pub passwords: bool,
    /// Change keys, two of which are good at a time.
    pub keys: bool,
    /// Make accounts and drop them.
    pub accounts: bool,
}

/// What a target says to a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogIn {
    /// It logs in.
    Accepted,
    /// The target answers, and refuses it.
    Rejected,
}

/// An account to be made.
#[derive(Debug)]
pub struct NewAccount<'a> {
    /// Its name, of letters, digits, `_` and `-`.
    pub name: &'a str,
    /// Its password; none where it shall have none and gets a key.
    pub password: Option<&'a SecretText>,
    /// Roles, groups or policies that it shall have.
    pub roles: &'a [String],
    /// From when the target itself shall refuse it, where the system has such a thing.
    pub expires_at: Option<Timestamp>,
    /// How it is made, in place of the provider's own way.
    pub template: Option<&'a Template>,
}

/// Accounts that live for a while.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Makes an account. One of this name that is there already gets this password and these roles.
    async fn create_account(
        &self,
        target: &Target,
        account: &NewAccount<'_>,
    ) -> Result<(), ProviderError>;

    /// Drops an account with everything that logs in as it: sessions, keys. One that is gone
    /// already counts as dropped.
    async fn drop_account(
        &self,
        target: &Target,
        name: &str,
        template: Option<&Template>,
    ) -> Result<(), ProviderError>;

    /// The names of all accounts that begin with `prefix`.
    async fn list_accounts(
        &self,
        target: &Target,
        prefix: &str,
    ) -> Result<Vec<String>, ProviderError>;
}
