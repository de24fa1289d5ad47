use std::fmt;

use async_trait::async_trait;

use super::{LogIn, ProviderError, Target};
use crate::entropy::Entropy;
use crate::secret::SecretText;

/// A key of an account, with the part that only its holder has.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// By which the target knows it: an access key id, a fingerprint.
    pub id: String,
    /// The part that proves.
    pub secret: SecretText,
    /// The part that the target is given, for key pairs.
    pub public: Option<String>,
}

/// A key as the target lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// By which the target knows it.
    pub id: String,
    /// Whether it logs in.
    pub active: bool,
}

/// What every system with keys can do with them.
#[async_trait]
pub trait AccountKeys: Send + Sync {
    /// All keys of the account, with those that do not log in any more.
    async fn list_keys(
        &self,
        target: &Target,
        account: &str,
    ) -> Result<Vec<KeyState>, ProviderError>;

    /// Whether this key logs in as this account, found out by logging in. The id of a key that is
    /// made on this side may be empty.
    async fn log_in(
        &self,
        target: &Target,
        account: &str,
        key: &Key,
    ) -> Result<LogIn, ProviderError>;

    /// Makes a key stop working, so that it can be told from one that was never there. Where a
    /// system has no such thing the key is deleted. A key that is gone counts as done.
    async fn deactivate_key(
        &self,
        target: &Target,
        account: &str,
        id: &str,
    ) -> Result<(), ProviderError>;

    /// Deletes a key. One that is gone already counts as deleted.
    async fn delete_key(
        &self,
        target: &Target,
        account: &str,
        id: &str,
    ) -> Result<(), ProviderError>;
}

/// Keys that are made here and installed on the target, as with SSH. The key is known, and kept,
/// before the target hears of it.
#[async_trait]
pub trait InstalledKeys: AccountKeys {
    /// A new key; the target is not asked.
    fn draft_key(&self, account: &str, entropy: &dyn Entropy) -> Key;

    /// The id by which the target knows this key, whose own `id` may be empty; none for what is no
    /// key.
    fn key_id(&self, key: &Key) -> Option<String>;

    /// Makes the target accept the key beside the others of the account.
    async fn install_key(
        &self,
        target: &Target,
        account: &str,
        key: &Key,
    ) -> Result<(), ProviderError>;
}

/// Keys that the target makes, as AWS does. Nobody knows one before it exists, so one whose answer
/// was lost is found by listing, and removed.
#[async_trait]
pub trait IssuedKeys: AccountKeys {
    /// A new key beside the others of the account.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Refused`] when the account has as many as it may have.
    async fn issue_key(&self, target: &Target, account: &str) -> Result<Key, ProviderError>;
}

/// Who makes the keys of a provider.
#[derive(Clone, Copy)]
pub enum Keys<'a> {
    /// This side.
    Installed(&'a dyn InstalledKeys),
    /// The target.
    Issued(&'a dyn IssuedKeys),
}

impl<'a> Keys<'a> {
    /// What both have.
    pub fn common(self) -> &'a dyn AccountKeys {
        match self {
            Self::Installed(keys) => keys,
            Self::Issued(keys) => keys,
        }
    }
}

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Installed(_) => "Installed",
            Self::Issued(_) => "Issued",
        })
    }
}
