//! When and from where credentials were last used, without a write for each use.
//!
//! Uses are remembered in memory and written once a minute, with what is swept, and when the vault is
//! closed. A server that is killed forgets at most that minute; the audit trail has every use.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::super::act::event;
use super::super::error::Error;
use super::super::record::{Entity, Terms};
use super::super::{Vault, kind};
use super::Client;
use crate::audit::{Actor, ObjectKind, ObjectRef, Operation};
use crate::id::ClientId;
use crate::store::{ChangeSet, Kind};
use crate::time::Timestamp;

/// The most uses that one change writes.
const BATCH: usize = 500;

/// The last use of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUse {
    /// When.
    pub at: Timestamp,
    /// From which address, if that could be determined.
    pub ip: Option<IpAddr>,
}

/// The last use of a client, under the client's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClientUse {
    pub(super) last: LastUse,
}

impl Entity for ClientUse {
    type Id = ClientId;

    fn kind(&self) -> Kind {
        kind::CLIENT_USE
    }

    fn terms(&self, _: &mut Terms<'_>) {}
}

/// Uses that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<HashMap<ClientId, LastUse>>);

impl Uses {
    pub(super) fn note(&self, client: ClientId, at: Timestamp, ip: Option<IpAddr>) {
        self.keep(client, LastUse { at, ip });
    }

    fn keep(&self, client: ClientId, last: LastUse) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = uses.entry(client).or_insert(last);
        if kept.at <= last.at {
            *kept = last;
        }
    }

    fn take(&self) -> Vec<(ClientId, LastUse)> {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.drain().collect()
    }

    pub(super) fn of(&self, client: ClientId) -> Option<LastUse> {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.get(&client).copied()
    }
}

impl Vault {
    /// Writes the uses that are remembered. What cannot be written is remembered on.
    pub(crate) async fn write_uses(&self) -> Result<(), Error> {
        let uses = self.uses.take();
        let mut batches = uses.chunks(BATCH);
        while let Some(batch) = batches.next() {
            match self.write_batch(batch).await {
                // Another server wrote some of them at the same time: next time.
                Err(Error::Stale | Error::Conflict(_)) => self.keep_all(batch),
                Err(error) => {
                    self.keep_all(batch);
                    batches.for_each(|batch| self.keep_all(batch));
                    return Err(error);
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn keep_all(&self, uses: &[(ClientId, LastUse)]) {
        for (client, last) in uses {
            self.uses.keep(*client, *last);
        }
    }

    async fn write_batch(&self, uses: &[(ClientId, LastUse)]) -> Result<(), Error> {
        let mut set = ChangeSet::default();
        for &(client, last) in uses {
            let of = self.records.cached::<Client>(kind::CLIENT, client).await?;
            // Revoked or swept since.
            if of.is_none() {
                continue;
            }
            let found = self
                .records
                .find::<ClientUse>(kind::CLIENT_USE, client)
                .await?;
            let content = ClientUse { last };
            set = match found {
                // Another server saw a later one.
                Some(old) if old.last.at >= last.at => set,
                Some(old) => {
                    let new = self.records.revise(&old, content, "");
                    set.update(self.records.encode(&new), old.revision)
                }
                None => {
                    let new = self.records.object(client, content, "");
                    set.create(self.records.encode(&new))
                }
            };
        }
        if set.is_empty() {
            return Ok(());
        }
        let count = format!("{} clients", set.records.len());
        let object = Some(ObjectRef::absent(ObjectKind::Vault, count));
        let event = event(self, Actor::Vault, None, Operation::RecordUse, object);
        let act = self.act_alone(vec![event]).await?;
        self.commit(act, set).await
    }
}
