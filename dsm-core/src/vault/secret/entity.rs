//! What is kept of a secret, and under which terms it is found.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::audit::{ObjectKind, ObjectRef};
use crate::id::SecretId;
use crate::secret::{ManagedItem, Secret, SecretError};
use crate::store::Kind;
use crate::time::Timestamp;
use crate::vault::kind;
use crate::vault::record::{Entity, Stored, Terms};

pub(crate) const IDENTITY: &str = "identity";
pub(crate) const OF_SECRET: &str = "secret";
pub(crate) const NUMBER: &str = "number";
pub(crate) const NAME: &str = "name";
pub(crate) const ENGINE: &str = "engine";
pub(crate) const ENVIRONMENT: &str = "environment";
pub(crate) const TAG: &str = "tag";
pub(crate) const ENABLED: &str = "enabled";
pub(crate) const HAS_ERROR: &str = "has_error";
pub(crate) const TARGET: &str = "target";
pub(crate) const MANAGED: &str = "managed";
pub(crate) const PROFILE: &str = "profile";

impl Entity for Secret {
    type Id = SecretId;

    fn kind(&self) -> Kind {
        kind::SECRET
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.unique(IDENTITY, self.identity.as_str());
        terms.plain(NAME, &self.name);
        terms.plain(ENGINE, self.engine.0.to_be_bytes());
        if let Some(id) = self.environment {
            terms.plain(ENVIRONMENT, id.0.to_be_bytes());
        }
        terms.plain(ENABLED, [u8::from(self.enabled)]);
        terms.plain(HAS_ERROR, [u8::from(self.has_error)]);
        for tag in &self.tags {
            terms.plain(TAG, tag);
        }
        let targets: BTreeSet<&String> = self.managed.iter().map(|item| &item.target).collect();
        for target in targets {
            terms.plain(TARGET, target);
        }
        for profile in &self.profiles {
            terms.plain(PROFILE, profile);
        }
        // Two secrets that change the same password would lock each other's readers out.
        for claim in self.managed.iter().flat_map(ManagedItem::claims) {
            terms.unique(MANAGED, claim);
        }
    }

    fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }
}

impl Stored<Secret> {
    pub(crate) fn object(&self) -> ObjectRef {
        let object = ObjectRef::new(ObjectKind::Secret, self.id, self.identity.as_str());
        object.version(self.version)
    }
}

/// A version as it is kept: the secret as it was. Its values are sealed beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVersion {
    /// Of which secret.
    pub secret: SecretId,
    /// As it was.
    pub snapshot: Secret,
}

impl Entity for SecretVersion {
    type Id = u64;

    fn kind(&self) -> Kind {
        kind::SECRET_VERSION
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.unique(NUMBER, version_key(self.secret, self.snapshot.version));
        terms.plain(OF_SECRET, self.secret.0.to_be_bytes());
    }
}

pub(crate) fn version_key(secret: SecretId, number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&secret.0.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// An entry of the error history as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretErrorEntry {
    /// Of which secret.
    pub secret: SecretId,
    /// The entry.
    pub error: SecretError,
}

impl Entity for SecretErrorEntry {
    type Id = u64;

    fn kind(&self) -> Kind {
        kind::SECRET_ERROR
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.plain(OF_SECRET, self.secret.0.to_be_bytes());
    }
}
