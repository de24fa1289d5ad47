//! What may be used once, kept in the store so that it counts for every server.

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::super::error::Error;
use super::super::record::{Entity, Terms};
use super::super::{Vault, kind};
use crate::store::{ChangeSet, Kind, StoreError};
use crate::time::Timestamp;

/// How long it is kept: longer than a timestamp can be good, 600 seconds from the earliest that is
/// accepted to the last, by five minutes for servers whose clocks differ.
const KEPT: TimeDelta = TimeDelta::seconds(900);
/// How long the store may take.
const ANSWER_WITHIN: Duration = Duration::from_millis(4_500);

/// Something that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Nonce {
    value: String,
    expires_at: Timestamp,
}

impl Entity for Nonce {
    type Id = u64;

    fn kind(&self) -> Kind {
        kind::NONCE
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.unique("value", &self.value);
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}

impl Vault {
    /// Uses `value` up; false when it was used before, here or on another server.
    ///
    /// It is part of the proof and no effect of the request: it has no entry of its own in the trail,
    /// where the entry of what the request does, or of its refusal, follows.
    ///
    /// # Errors
    ///
    /// When the store cannot tell. What was not certainly used up for this request proves nothing.
    pub(super) async fn use_up(&self, value: String) -> Result<bool, Error> {
        let nonce = Nonce {
            value,
            expires_at: self.clock.now() + KEPT,
        };
        let commit = async {
            let nonce = self.records.draft(nonce, "").await?;
            let set = ChangeSet::default().create(self.records.encode(&nonce));
            match self.records.store.commit(set).await {
                Ok(()) => Ok(true),
                Err(StoreError::AlreadyExists(_)) => Ok(false),
                Err(error) => Err(error.into()),
            }
        };
        let late = |_| Error::Unavailable {
            reason: "the store has not said in time whether a nonce is new".to_owned(),
            source: None,
        };
        tokio::time::timeout(ANSWER_WITHIN, commit)
            .await
            .map_err(late)?
    }
}
