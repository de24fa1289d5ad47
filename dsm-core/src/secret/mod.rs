//! Secrets: what they are called, what they hold, how they change.
//!
//! A [`Secret`] is metadata: it can be listed, cached and compared without opening anything. Its
//! values ([`SecretData`]) are sealed apart, under a data key per version, and leave the vault only
//! against a permit and a receipt.

mod compare;
mod data;
mod identity;
mod managed;
mod output;
mod renewal;
mod text;

use serde::{Deserialize, Serialize};

pub use self::compare::{Comparison, Difference, compare};
pub use self::data::{
    AccessKey, CloudProvider, Credential, DataError, DataPatch, EphemeralCredential, ItemCounts,
    KeyValue, Labels, SecretData, SshKey,
};
pub use self::identity::{Identity, IdentityError};
pub use self::managed::{ItemKind, Managed, ManagedItem};
pub use self::output::{OutputMap, OutputValue};
pub use self::renewal::{Renewal, RenewalError, RenewalInterval};
pub use self::text::SecretText;
pub(crate) use self::text::sealed_form;
use crate::id::RegistryId;
use crate::time::Timestamp;

/// A secret's metadata: the content of its newest version, or of an older one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The key by which applications ask for it; unique in the vault, never changed.
    pub identity: Identity,
    /// What people call it.
    pub name: String,
    /// Whether applications may get it.
    pub enabled: bool,
    /// The tool it is meant for; for audit and filters only.
    pub engine: RegistryId,
    /// The environment it belongs to; for filters and groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<RegistryId>,
    /// From this instant on it is refused and its values are destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Free labels, for filters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What it is for. Applications do not use it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The three timers.
    #[serde(default)]
    pub renew: Renewal,
    /// The number of this version, from 1.
    pub version: u64,
    /// The version that brought the values of this one.
    pub values_of: u64,
    /// The oldest version that is still kept.
    pub oldest: u64,
    /// How many items of each kind it holds.
    pub items: ItemCounts,
    /// Those of its items whose credentials are managed on a target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managed: Vec<ManagedItem>,
    /// The identifiers of the profiles that its ephemeral items are of, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    /// When its values were destroyed, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed_at: Option<Timestamp>,
    /// Whether its error history has an entry.
    #[serde(default)]
    pub has_error: bool,
}

/// What a secret can be used for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "SecretStatus")
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Applications can get it.
    Active,
    /// Switched off.
    Disabled,
    /// Its time is over, whether or not its values are destroyed yet.
    Expired,
}

impl Secret {
    /// Its status at `now`.
    pub fn status(&self, now: Timestamp) -> Status {
        if self.destroyed_at.is_some() || self.expires_at.is_some_and(|at| now >= at) {
            Status::Expired
        } else if self.enabled {
            Status::Active
        } else {
            Status::Disabled
        }
    }
}

/// An entry of a secret's error history: something that failed for this secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SecretError {
    /// When.
    pub at: Timestamp,
    /// What was being done, such as `read` or `expire`.
    pub operation: String,
    /// Which item of the data, such as `credentials[0]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// What happened, for a target in its own words. Never holds a value.
    pub message: String,
    /// The step of a rotation, such as `change`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// How a rotation failed: `refused`, `unavailable`, `outcome_unknown`, `rejected` or
    /// `needs_operator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// When it is tried again, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<Timestamp>,
}
