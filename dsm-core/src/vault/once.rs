//! Creations that happen once however often they are asked for.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::act::{Act, Caller};
use super::error::Error;
use super::record::{Entity, Stored, Terms};
use super::{Vault, kind};
use crate::store::{ChangeSet, Kind, RecordKey};
use crate::time::Timestamp;

/// How long a key is remembered.
const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// A key chosen by the caller, with a digest of what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// The key; any text up to 256 bytes.
    pub key: String,
    /// SHA-256 of everything that makes the call what it is.
    pub digest: [u8; 32],
}

/// What was made under a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    scope: String,
    digest: String,
    object: u64,
    expires_at: Timestamp,
}

impl Entity for Made {
    type Id = u64;

    fn kind(&self) -> Kind {
        kind::ONCE
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.unique("scope", &self.scope);
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}

impl Vault {
    /// The id of what this call made before, if it did.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the key stood for another call.
    pub(crate) async fn made_before(&self, caller: &Caller) -> Result<Option<u64>, Error> {
        let Some(once) = &caller.once else {
            return Ok(None);
        };
        if once.key.is_empty() || once.key.len() > 256 {
            return Err(Error::invalid(
                "Idempotency-Key",
                "must have 1 to 256 bytes",
            ));
        }
        match self.made(caller, once).await? {
            Some(made) if self.clock.now() >= made.expires_at => Ok(None),
            Some(made) if made.digest == digest(once) => Ok(Some(made.object)),
            Some(_) => Err(Error::invalid(
                "Idempotency-Key",
                "was used for another request",
            )),
            None => Ok(None),
        }
    }

    /// Adds to `set` that the call made `object`.
    pub(crate) async fn remember(
        &self,
        caller: &Caller,
        object: u64,
        set: ChangeSet,
    ) -> Result<ChangeSet, Error> {
        let Some(once) = &caller.once else {
            return Ok(set);
        };
        let expires_at = self.clock.now() + LIFETIME;
        let made = Made {
            scope: scope(caller, once),
            digest: digest(once),
            object,
            expires_at,
        };
        let set = match self.made(caller, once).await? {
            Some(over) if self.clock.now() >= over.expires_at => {
                set.delete(RecordKey::new(kind::ONCE, over.id), over.revision)
            }
            _ => set,
        };
        let made = self.records.draft(made, &caller.operator.name).await?;
        Ok(set.create(self.records.encode(&made)))
    }

    /// Commits a creation that [`remember`](Self::remember) is part of. When the same call was
    /// faster elsewhere, nothing is made and the id of what that one made is given.
    pub(crate) async fn commit_once(
        &self,
        caller: &Caller,
        act: Act,
        set: ChangeSet,
    ) -> Result<Option<u64>, Error> {
        match self.commit(act, set).await {
            Ok(()) => Ok(None),
            // The name or the key is taken; which of them it was shows here. Two calls that find
            // the same expired key fail by its revision.
            Err(error @ (Error::Conflict(_) | Error::Stale)) => self
                .made_before(caller)
                .await?
                .map_or(Err(error), |id| Ok(Some(id))),
            Err(error) => Err(error),
        }
    }

    async fn made(&self, caller: &Caller, once: &Once) -> Result<Option<Stored<Made>>, Error> {
        self.records
            .find_by(kind::ONCE, "scope", scope(caller, once))
            .await
    }
}

fn scope(caller: &Caller, once: &Once) -> String {
    let operator = caller.operator.id.map_or(0, u64::from);
    format!("{operator}/{}", once.key)
}

fn digest(once: &Once) -> String {
    data_encoding::HEXLOWER.encode(&once.digest)
}
