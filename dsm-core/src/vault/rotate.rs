//! Rotation of the root key while the vault is in use.

use super::client::client_place;
use super::error::{Error, OpenError};
use super::init::{KEYRING_RECORD, find_vault_record};
use super::record::{frame, unframe};
use super::rotation::candidate_place;
use super::sealing::private_key_place;
use super::secret::value_place;
use super::target::admin_place;
use super::variable::variable_place;
use super::{Vault, kind};
use crate::access::Permission;
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::crypto::{CryptoError, RootKeyId, root_key_id};
use crate::id::{AttemptId, ClientId, SecretId, TargetId, VariableId};
use crate::store::{ChangeSet, Kind, Page, Query, Record, StoreError};

/// How far a rotation is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Records looked at in this pass.
    pub seen: u64,
    /// Records wrapped anew in this pass.
    pub rewrapped: u64,
}

const BATCH: usize = 200;

impl Vault {
    /// Wraps every data key and the keyring anew under the active root key, while others read and
    /// write. Passes are repeated until one finds nothing left, so that what is written meanwhile
    /// by a server that did not know the new key yet is caught as well.
    ///
    /// Values are not opened. A crash leaves every record under one key or the other, both of which
    /// are still at hand; call it again.
    ///
    /// The log of the audit trail keeps the keys it was sealed under.
    pub async fn rewrap(
        &self,
        caller: &super::Caller,
        mut progress: impl FnMut(Rotation),
    ) -> Result<Rotation, Error> {
        let sealer = &self.records.sealer;
        sealer.refresh().map_err(|error| Error::Internal {
            reason: error.to_string(),
            source: Some(Box::new(OpenError::Key(error))),
        })?;
        let object = ObjectRef::new(ObjectKind::Vault, 0u64, sealer.active().to_string());
        let operation = Operation::RotateKey;
        let permission = Permission::KeysRotate;
        let permit = self
            .permit(caller, permission, operation, Some(object.clone()))
            .await?;
        let act = self
            .act(permit, vec![caller.event(self, operation, object)])
            .await?;
        drop(act);
        self.rewrap_keyring().await?;
        let mut total = Rotation::default();
        loop {
            let mut pass = Rotation::default();
            for &kind in kind::SEALED {
                self.rewrap_kind(kind, &mut pass, &mut |pass| {
                    progress(Rotation {
                        seen: pass.seen,
                        rewrapped: total.rewrapped + pass.rewrapped,
                    });
                })
                .await?;
            }
            total.seen = pass.seen;
            total.rewrapped += pass.rewrapped;
            if pass.rewrapped == 0 {
                return Ok(total);
            }
        }
    }

    async fn rewrap_keyring(&self) -> Result<(), Error> {
        let store = &self.records.store;
        let Some(record) = find_vault_record(&**store).await? else {
            return Err(Error::NotFound(ObjectKind::Vault));
        };
        let Some((vault, sealed)) = record.body.split_at_checked(16) else {
            return Err(Error::damaged(
                KEYRING_RECORD,
                CryptoError::UnsupportedFormat,
            ));
        };
        let context = self.records.sealer.keyring_context();
        let rewrapped = self.records.sealer.rewrap(&context, sealed);
        let Some(sealed) = rewrapped.map_err(|error| Error::damaged(KEYRING_RECORD, error))? else {
            return Ok(());
        };
        let body = [vault, &sealed].concat();
        let revision = record.revision;
        let set = ChangeSet::default().update(Record { body, ..record }, revision);
        Ok(store.commit(set).await?)
    }

    async fn rewrap_kind(
        &self,
        kind: Kind,
        pass: &mut Rotation,
        progress: &mut dyn FnMut(&Rotation),
    ) -> Result<(), Error> {
        let query = Query::new(kind).oldest_first();
        let mut page = Page::first(BATCH);
        loop {
            let found = self.records.store.list(&query, page).await?;
            pass.seen += found.records.len() as u64;
            let mut fresh = Vec::new();
            for record in found.records {
                fresh.extend(self.rewrapped(record)?);
            }
            pass.rewrapped += fresh.len() as u64;
            self.replace(fresh).await?;
            progress(pass);
            match found.next {
                Some(next) => page.after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Commits rewrapped records together; one that changed meanwhile is left to the next pass.
    async fn replace(&self, records: Vec<Record>) -> Result<(), Error> {
        if records.is_empty() {
            return Ok(());
        }
        let set = |records: &[Record]| {
            records.iter().fold(ChangeSet::default(), |set, record| {
                set.update(record.clone(), record.revision)
            })
        };
        match self.records.store.commit(set(&records)).await {
            Err(StoreError::RevisionMismatch(_)) => {
                for record in &records {
                    match self
                        .records
                        .store
                        .commit(set(std::slice::from_ref(record)))
                        .await
                    {
                        Ok(()) | Err(StoreError::RevisionMismatch(_)) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// The record under the active root key; `None` when it is already.
    fn rewrapped(&self, record: Record) -> Result<Option<Record>, Error> {
        let sealer = &self.records.sealer;
        let damaged = |error| Error::damaged(record.key, error);
        let unsupported = || Error::damaged(record.key, CryptoError::UnsupportedFormat);
        let (meta, value) = unframe(&record.body).ok_or_else(unsupported)?;
        let place = sealer.context("record", record.key.kind.0, record.key.id);
        let new_meta = sealer.rewrap(&place, meta).map_err(damaged)?;
        let new_value = match value {
            Some(value) => {
                let place = self.value_place_of(&record)?;
                sealer.rewrap(&place, value).map_err(damaged)?
            }
            None => None,
        };
        if new_meta.is_none() && new_value.is_none() {
            return Ok(None);
        }
        let body = frame(
            new_meta.as_deref().unwrap_or(meta),
            new_value.as_deref().or(value),
        );
        Ok(Some(Record { body, ..record }))
    }

    fn value_place_of(&self, record: &Record) -> Result<crate::crypto::Context, Error> {
        let sealer = &self.records.sealer;
        Ok(match record.key.kind {
            kind::SECRET => value_place(sealer, SecretId(record.key.id)),
            kind::SECRET_VERSION => {
                let version = self
                    .records
                    .decode::<super::secret::SecretVersion>(record)?;
                value_place(sealer, version.secret)
            }
            kind::TARGET => admin_place(sealer, TargetId(record.key.id)),
            kind::ATTEMPT => candidate_place(sealer, AttemptId(record.key.id)),
            kind @ (kind::CLIENT | kind::DECOY) => {
                client_place(sealer, kind, ClientId(record.key.id))
            }
            kind::SEALING_KEY => private_key_place(sealer, record.key.id),
            kind::VARIABLE => variable_place(sealer, VariableId(record.key.id)),
            _ => return Err(Error::damaged(record.key, CryptoError::UnsupportedFormat)),
        })
    }

    /// How many records are still sealed under another root key than `id`; for reports.
    pub async fn count_not_under(&self, id: RootKeyId) -> Result<u64, Error> {
        let mut count = 0;
        for &kind in kind::SEALED {
            let query = Query::new(kind).oldest_first();
            let mut page = Page::first(BATCH);
            loop {
                let found = self.records.store.list(&query, page).await?;
                for record in &found.records {
                    let parts = unframe(&record.body);
                    let under = |sealed| root_key_id(sealed) == Ok(id);
                    let all =
                        parts.is_some_and(|(meta, value)| under(meta) && value.is_none_or(under));
                    count += u64::from(!all);
                }
                match found.next {
                    Some(next) => page.after = Some(next),
                    None => break,
                }
            }
        }
        Ok(count)
    }
}
