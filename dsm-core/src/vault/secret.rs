//! Secrets, as operators manage them.

mod draft;
mod entity;
mod errors;
mod expiry;
mod fields;
mod permits;
mod timers;
mod values;
mod versions;

use std::ops::Bound;

pub(crate) use self::draft::{Revision, SecretDraft};
use self::entity::{ENABLED, ENGINE, ENVIRONMENT, HAS_ERROR, NAME, TAG};
pub(crate) use self::entity::{
    IDENTITY, NUMBER as VERSION_NUMBER, OF_SECRET, PROFILE, TARGET, version_key,
};
pub use self::entity::{SecretErrorEntry, SecretVersion};
pub use self::fields::{RenewalFields, SecretFields, SecretFilter};
pub(crate) use self::values::value_place;
use super::act::Caller;
use super::error::Error;
use super::record::{Listing, Stored};
use super::registry::Registry;
use super::rotation::{Timer, renewal_job};
use super::{Vault, check, kind};
use crate::access::Permission;
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::id::SecretId;
use crate::secret::Secret;
use crate::store::{ChangeSet, JobKey, Page, Query, RecordKey};

impl Vault {
    /// A page of secrets, newest first.
    pub async fn list_secrets(
        &self,
        caller: &Caller,
        filter: SecretFilter,
        page: Page,
    ) -> Result<Listing<Stored<Secret>>, Error> {
        self.view(caller, Permission::SecretsView, Operation::ViewSecret, None)
            .await?;
        let term = |field, value: &[u8]| self.records.term(kind::SECRET, field, value);
        let mut query = Query::new(kind::SECRET);
        for (field, text) in [
            (IDENTITY, &filter.identity),
            (NAME, &filter.name),
            (TAG, &filter.tag),
        ] {
            if let Some(text) = text {
                query = query.with(term(field, text.as_bytes()));
            }
        }
        for (field, flag) in [(ENABLED, filter.enabled), (HAS_ERROR, filter.has_error)] {
            if let Some(flag) = flag {
                query = query.with(term(field, &[u8::from(flag)]));
            }
        }
        for (registry, field, name) in [
            (Registry::Engine, ENGINE, &filter.engine),
            (Registry::Environment, ENVIRONMENT, &filter.environment),
        ] {
            if let Some(name) = name {
                let id = self.registered_ever(registry, field, name).await?;
                query = query.with(term(field, &id.0.to_be_bytes()));
            }
        }
        query.expires = (
            filter
                .expires_from
                .map_or(Bound::Unbounded, Bound::Included),
            filter
                .expires_until
                .map_or(Bound::Unbounded, Bound::Included),
        );
        self.records.list(&query, page).await
    }

    /// One secret's metadata.
    pub async fn find_secret(
        &self,
        caller: &Caller,
        id: SecretId,
    ) -> Result<Stored<Secret>, Error> {
        let object = ObjectRef::new(ObjectKind::Secret, id, "");
        self.view(
            caller,
            Permission::SecretsView,
            Operation::ViewSecret,
            Some(object),
        )
        .await?;
        self.secret(id).await
    }

    /// Makes a secret: version 1.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] naming every wrong field; [`Error::Conflict`] when the identity is taken,
    /// by a disabled or expired secret as well.
    pub async fn create_secret(
        &self,
        caller: &Caller,
        identity: &str,
        fields: SecretFields,
    ) -> Result<Stored<Secret>, Error> {
        let operation = Operation::CreateSecret;
        let object = ObjectRef::absent(ObjectKind::Secret, "");
        let permit = self
            .permit(caller, Permission::SecretsWrite, operation, Some(object))
            .await?;
        self.permit_data(caller, operation, None, &fields.data)
            .await?;
        if let Some(id) = self.made_before(caller).await? {
            return self.secret(id.into()).await;
        }
        let draft = self
            .draft_secret(identity, fields, &caller.operator.name)
            .await?;
        let set = self
            .remember(caller, draft.stored.id.into(), draft.set)
            .await?;
        let event = caller.event(self, operation, draft.stored.object());
        let act = self.act(permit, vec![event]).await?;
        match self
            .commit_once(caller, act, set)
            .await
            .map_err(identity_taken)?
        {
            Some(id) => self.secret(id.into()).await,
            None => Ok(draft.stored),
        }
    }

    /// Changes a secret: a new version, unless everything stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] for an expired secret, whose values are gone for good.
    pub async fn update_secret(
        &self,
        caller: &Caller,
        id: SecretId,
        fields: SecretFields,
        expected: Option<u64>,
    ) -> Result<Stored<Secret>, Error> {
        self.change_secret(caller, id, Operation::UpdateSecret, fields, expected)
            .await
    }

    /// Lets applications get the secret.
    pub async fn enable_secret(
        &self,
        caller: &Caller,
        id: SecretId,
    ) -> Result<Stored<Secret>, Error> {
        let fields = SecretFields {
            enabled: Some(true),
            ..SecretFields::default()
        };
        self.change_secret(caller, id, Operation::EnableSecret, fields, None)
            .await
    }

    /// Keeps the secret from applications.
    pub async fn disable_secret(
        &self,
        caller: &Caller,
        id: SecretId,
        expected: Option<u64>,
    ) -> Result<Stored<Secret>, Error> {
        let fields = SecretFields {
            enabled: Some(false),
            ..SecretFields::default()
        };
        self.change_secret(caller, id, Operation::DisableSecret, fields, expected)
            .await
    }

    /// Destroys a secret with its versions and error history, and takes it from every
    /// authorization. The identity is free again.
    pub async fn purge_secret(
        &self,
        caller: &Caller,
        id: SecretId,
        expected: Option<u64>,
    ) -> Result<(), Error> {
        let operation = Operation::PurgeSecret;
        let object = ObjectRef::new(ObjectKind::Secret, id, "");
        let permit = self
            .permit(caller, Permission::SecretsPurge, operation, Some(object))
            .await?;
        let old = self.secret(id).await?;
        check::revision(expected, old.revision)?;
        let mut set = ChangeSet::default()
            .delete(RecordKey::new(kind::SECRET, id), old.revision)
            .remove_job(JobKey {
                topic: kind::EXPIRE_SECRET,
                subject: id.into(),
            });
        let event = caller.event(self, operation, old.object());
        for timer in Timer::ALL {
            set = set.remove_job(renewal_job(id, timer));
        }
        for kind in [kind::SECRET_VERSION, kind::SECRET_ERROR, kind::ATTEMPT] {
            let query =
                Query::new(kind).with(self.records.term(kind, OF_SECRET, id.0.to_be_bytes()));
            let mut page = Page::first(500);
            loop {
                let found = self.records.store.list(&query, page).await?;
                for record in found.records {
                    set = set.delete(record.key, record.revision);
                }
                match found.next {
                    Some(next) => page.after = Some(next),
                    None => break,
                }
            }
        }
        let set = self.plan_detachments(id, set).await?;
        let set = self.plan_secret_leases_end(id, set).await?;
        let act = self.act(permit, vec![event]).await?;
        self.commit(act, set).await
    }

    pub(crate) async fn secret(&self, id: SecretId) -> Result<Stored<Secret>, Error> {
        let found = self.records.find(kind::SECRET, id).await?;
        found.ok_or(Error::NotFound(ObjectKind::Secret))
    }

    async fn change_secret(
        &self,
        caller: &Caller,
        id: SecretId,
        operation: Operation,
        fields: SecretFields,
        expected: Option<u64>,
    ) -> Result<Stored<Secret>, Error> {
        let object = ObjectRef::new(ObjectKind::Secret, id, "");
        let permit = self
            .permit(caller, Permission::SecretsWrite, operation, Some(object))
            .await?;
        self.permit_data(caller, operation, Some(id), &fields.data)
            .await?;
        let old = self.secret(id).await?;
        check::revision(expected, old.revision)?;
        if old.status(self.clock.now()) == crate::secret::Status::Expired {
            return Err(Error::Conflict("the secret has expired".to_owned()));
        }
        self.refuse_while_rotating(&old, &fields.data).await?;
        let draft = self.check_fields(&old, fields).await?;
        if draft.is_idle(&old) {
            drop(
                self.act(permit, vec![caller.event(self, operation, old.object())])
                    .await?,
            );
            return Ok(old);
        }
        let event = caller
            .event(self, operation, old.object())
            .with_changes(draft.changes(&old));
        let act = self.act(permit, vec![event]).await?;
        self.write_version(act, &old, draft, &caller.operator.name)
            .await
    }
}

pub(crate) fn identity_taken(error: Error) -> Error {
    match error {
        Error::Conflict(_) => Error::Conflict("there is a secret with this identity".to_owned()),
        other => other,
    }
}
