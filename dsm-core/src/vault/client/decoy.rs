//! What an unknown client costs: as much as one that exists and shows the wrong secret.
//!
//! A look for a client that exists finds a record and opens it; one for a client that does not finds
//! none. So every refusal asks the store for both: one record that it finds, authenticates and opens,
//! and one that is not there. The record of an unknown client is a decoy's, kept beside those of
//! clients and like them.
//!
//! What is left between the two, such as whether the record was the first or the second that was asked
//! for, is less than the steps in which refusals leave.

use std::time::Duration;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::super::error::{Error, OpenError};
use super::super::record::{Entity, Records, Stored, Terms};
use super::super::{Vault, kind};
use super::credentials::client_place;
use super::{CLIENT_ID, CLIENT_ID_LENGTH, CLIENT_SECRET_PREFIX, Client, Proof};
use crate::entropy::Entropy;
use crate::id::{AuthorizationId, ClientId};
use crate::store::{ChangeSet, Kind, Record, StoreError};
use crate::time::Timestamp;

/// The decoy's number; there is one.
const DECOY: ClientId = ClientId(1);
/// The id that the decoy is found by, as long as those of clients.
const DECOY_CLIENT_ID: &str = "------------------------------------decoy-";
/// The id that nothing is found by.
const NOBODY: &str = "-----------------------------------nobody-";
const _: () =
    assert!(DECOY_CLIENT_ID.len() == CLIENT_ID_LENGTH && NOBODY.len() == CLIENT_ID_LENGTH);

/// The time between two instants at which refusals may leave: several times what one takes on a store
/// that is near.
const STEP: Duration = Duration::from_millis(5);

/// Holds a refusal back until it has taken a whole number of steps.
pub(super) async fn in_step<T>(began: Instant, proven: Result<T, Error>) -> Result<T, Error> {
    if let Err(Error::Denied(_)) = proven {
        let left = STEP.as_nanos() - began.elapsed().as_nanos() % STEP.as_nanos();
        tokio::time::sleep(Duration::from_nanos(
            u64::try_from(left).unwrap_or_default(),
        ))
        .await;
    }
    proven
}

/// A client that was never made and is of a kind of its own, so that nobody can be it: its secrets were
/// given to no one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Decoy(pub(super) Client);

impl Entity for Decoy {
    type Id = ClientId;

    fn kind(&self) -> Kind {
        kind::DECOY
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        self.0.terms_of(terms);
    }

    fn expires_at(&self) -> Option<Timestamp> {
        None
    }
}

/// What the look for a client has asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing: the client was remembered.
    Nothing,
    /// For a client that is there.
    Found,
    /// For one that is not.
    Absent,
}

/// A decoy, not committed yet.
pub(crate) fn decoy(records: &Records, entropy: &dyn Entropy) -> Record {
    let secret = || {
        let bytes = Zeroizing::new(entropy.array::<32>());
        [CLIENT_SECRET_PREFIX, &BASE64URL_NOPAD.encode(&*bytes)].concat()
    };
    let secrets = Zeroizing::new([secret(), secret()].join("\n"));
    let mac = records.keyring.client_mac(secrets.as_bytes());
    let content = Decoy(Client {
        authorization: AuthorizationId(1),
        client_id: DECOY_CLIENT_ID.to_owned(),
        ends_at: None,
        proof: Proof::Secret {
            mac: HEXLOWER.encode(&mac.0),
        },
    });
    let mut decoy = records.object(DECOY, content, "vault");
    let place = client_place(&records.sealer, kind::DECOY, DECOY);
    decoy.sealed_value = Some(records.sealer.seal(&place, secrets.as_bytes()).into());
    records.encode(&decoy)
}

impl Vault {
    /// Makes the decoy where a vault has none.
    pub(crate) async fn keep_decoy(&self) -> Result<(), OpenError> {
        let store = &self.records.store;
        let decoy = decoy(&self.records, &*self.entropy);
        if store.find(decoy.key).await?.is_some() {
            return Ok(());
        }
        match store.commit(ChangeSet::default().create(decoy)).await {
            // Another server was faster.
            Ok(()) | Err(StoreError::AlreadyExists(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks for the decoy as for a client. One that is lost or damaged is no reason to answer an
    /// unknown client otherwise.
    pub(super) async fn find_decoy(&self) -> Result<Option<Stored<Decoy>>, Error> {
        let found = self
            .records
            .find_by(kind::DECOY, CLIENT_ID, DECOY_CLIENT_ID);
        match found.await {
            Err(error @ Error::Internal { .. }) => {
                tracing::warn!(%error, "time may tell which clients exist");
                Ok(None)
            }
            found => found,
        }
    }

    /// The question without an answer that the look for an unknown client is.
    pub(super) async fn ask_for_nobody(&self) -> Result<(), Error> {
        let found = self
            .records
            .find_by::<Client>(kind::CLIENT, CLIENT_ID, NOBODY);
        drop(found.await?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Denial, Rule};

    async fn took(work: Duration, proven: Result<(), Error>) -> Duration {
        let began = Instant::now();
        tokio::time::sleep(work).await;
        drop(in_step(began, proven).await);
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_leaves_after_a_whole_number_of_steps_and_nothing_else_waits() {
        let refused = || {
            let denial = Denial::of(Rule::Client, "there is no such client");
            Err(Error::Denied(denial))
        };
        for (work_ms, left_ms) in [(0, 5), (1, 5), (4, 5), (5, 10), (7, 10), (1_003, 1_005)] {
            let work = Duration::from_millis(work_ms);
            assert_eq!(took(work, refused()).await, Duration::from_millis(left_ms));
            assert_eq!(took(work, Ok(())).await, work);
        }
    }
}
