//! Secrets, as operators manage them, and what every write has in common.

use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::act::{Act, Caller, changes};
use super::error::{Error, FieldError};
use super::record::{Entity, Listing, Stored, Terms};
use super::registry::Registry;
use super::{Vault, check, kind};
use crate::access::Permission;
use crate::audit::{Actor, Event, FieldChange, ObjectKind, ObjectRef, Operation};
use crate::crypto::{Context, CryptoError};
use crate::id::SecretId;
use crate::secret::{
    DataPatch, Identity, ItemCounts, Renewal, RenewalInterval, Secret, SecretData, SecretError,
};
use crate::store::{ChangeSet, Job, JobKey, Kind, Page, Query, RecordKey};
use crate::time::Timestamp;

pub(crate) const IDENTITY: &str = "identity";
pub(crate) const OF_SECRET: &str = "secret";
const NUMBER: &str = "number";
const NAME: &str = "name";
const ENGINE: &str = "engine";
const ENVIRONMENT: &str = "environment";
const TAG: &str = "tag";
const ENABLED: &str = "enabled";
const HAS_ERROR: &str = "has_error";

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

pub(crate) const VERSION_NUMBER: &str = NUMBER;

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

/// What to write of a secret; `None` leaves a field as it is, or at its default.
#[derive(Debug, Default)]
pub struct SecretFields {
    /// Required at creation.
    pub name: Option<String>,
    /// Default: enabled.
    pub enabled: Option<bool>,
    /// A registered name; default `Generic`.
    pub engine: Option<String>,
    /// A registered name, or none.
    pub environment: Option<Option<String>>,
    /// When it ends, or never.
    pub expires_at: Option<Option<Timestamp>>,
    /// Free labels.
    pub tags: Option<Vec<String>>,
    /// What it is for.
    pub description: Option<String>,
    /// The three timers.
    pub renew: RenewalFields,
    /// Its values, by kind.
    pub data: DataPatch,
    /// What the caller found wrong in its own input: reported with what is found here, and nothing
    /// is written.
    pub wrong: Vec<FieldError>,
}

/// The timers to write: `None` leaves one as it is, `Some(None)` turns it off.
#[derive(Debug, Clone, Copy, Default)]
pub struct RenewalFields {
    /// For cloud access keys.
    pub cloud: Option<Option<RenewalInterval>>,
    /// For credentials and SSH keys.
    pub credential: Option<Option<RenewalInterval>>,
    /// For ephemeral credentials.
    pub ephemeral: Option<Option<RenewalInterval>>,
}

impl SecretFields {
    /// A new secret with these values.
    pub fn new(name: impl Into<String>, data: SecretData) -> Self {
        Self {
            name: Some(name.into()),
            data: data.into(),
            ..Self::default()
        }
    }
}

/// Which secrets to list.
#[derive(Debug, Clone, Default)]
pub struct SecretFilter {
    /// With this identity.
    pub identity: Option<String>,
    /// With exactly this name.
    pub name: Option<String>,
    /// Of this registered engine.
    pub engine: Option<String>,
    /// Of this registered environment.
    pub environment: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// Enabled or disabled ones.
    pub enabled: Option<bool>,
    /// With or without an error history.
    pub has_error: Option<bool>,
    /// That expire at this instant or later.
    pub expires_from: Option<Timestamp>,
    /// That expire at this instant or before.
    pub expires_until: Option<Timestamp>,
}

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
        for kind in [kind::SECRET_VERSION, kind::SECRET_ERROR] {
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
        let act = self.act(permit, vec![event]).await?;
        self.commit(act, set).await
    }

    /// A page of a secret's error history, newest first.
    pub async fn list_secret_errors(
        &self,
        caller: &Caller,
        id: SecretId,
        page: Page,
    ) -> Result<Listing<SecretError>, Error> {
        let object = ObjectRef::new(ObjectKind::Secret, id, "");
        self.view(
            caller,
            Permission::SecretsView,
            Operation::ViewSecret,
            Some(object),
        )
        .await?;
        self.secret(id).await?;
        let term = self
            .records
            .term(kind::SECRET_ERROR, OF_SECRET, id.0.to_be_bytes());
        let query = Query::new(kind::SECRET_ERROR).with(term);
        let found = self.records.list::<SecretErrorEntry>(&query, page).await?;
        Ok(found.map(|entry| entry.content.error.clone()))
    }

    /// Adds an entry to a secret's error history. It makes no version.
    pub(crate) async fn record_secret_error(
        &self,
        old: &Stored<Secret>,
        error: SecretError,
    ) -> Result<(), Error> {
        let entry = SecretErrorEntry {
            secret: old.id,
            error,
        };
        let entry = self.records.draft(entry, "vault").await?;
        let mut set = ChangeSet::default().create(self.records.encode(&entry));
        if !old.has_error {
            let content = Secret {
                has_error: true,
                ..Secret::clone(old)
            };
            let new = self.records.revise(old, content, "vault");
            set = set.update(self.records.encode(&new), old.revision);
        }
        let event = super::act::event(
            self,
            Actor::Vault,
            None,
            Operation::RecordError,
            Some(old.object()),
        );
        let act = self.act_alone(vec![event]).await?;
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

    /// Attaching credentials needs permissions of its own.
    async fn permit_data(
        &self,
        caller: &Caller,
        operation: Operation,
        id: Option<SecretId>,
        data: &DataPatch,
    ) -> Result<(), Error> {
        let (accounts, cloud) = (data.brings_credentials(), data.brings_cloud_credentials());
        self.permit_kinds(caller, operation, id, accounts, cloud)
            .await
    }

    /// As [`permit_data`](Self::permit_data), for items that are there already.
    pub(crate) async fn permit_items(
        &self,
        caller: &Caller,
        operation: Operation,
        id: SecretId,
        items: ItemCounts,
    ) -> Result<(), Error> {
        let accounts = items.credentials + items.ssh_keys + items.ephemeral_credentials > 0;
        let cloud = items.access_keys > 0;
        self.permit_kinds(caller, operation, Some(id), accounts, cloud)
            .await
    }

    async fn permit_kinds(
        &self,
        caller: &Caller,
        operation: Operation,
        id: Option<SecretId>,
        accounts: bool,
        cloud: bool,
    ) -> Result<(), Error> {
        let object = || id.map(|id| ObjectRef::new(ObjectKind::Secret, id, ""));
        for (needed, permission) in [
            (accounts, Permission::CredentialsWrite),
            (cloud, Permission::CloudCredentialsWrite),
        ] {
            if needed {
                drop(self.permit(caller, permission, operation, object()).await?);
            }
        }
        Ok(())
    }

    /// A new secret, not committed yet.
    pub(crate) async fn draft_secret(
        &self,
        identity: &str,
        mut fields: SecretFields,
        by: &str,
    ) -> Result<SecretDraft, Error> {
        let mut errors = std::mem::take(&mut fields.wrong);
        let identity = match identity.parse::<Identity>() {
            Ok(identity) => Some(identity),
            Err(error) => {
                errors.push(FieldError::new("identity", error.to_string()));
                None
            }
        };
        if fields.name.is_none() {
            errors.push(FieldError::new("name", "is required"));
        }
        let data = SecretData::default().apply(std::mem::take(&mut fields.data));
        check_data(&mut errors, &data);
        let engine = fields.engine.take().unwrap_or_else(|| "Generic".to_owned());
        let engine = self
            .registered_or(&mut errors, Registry::Engine, ENGINE, &engine)
            .await?;
        let placeholder: Identity = "x".parse().expect("a letter is an identity");
        let blank = Secret {
            identity: identity.unwrap_or(placeholder),
            name: String::new(),
            enabled: true,
            engine: engine.unwrap_or(0.into()),
            environment: None,
            expires_at: None,
            tags: Vec::new(),
            description: String::new(),
            renew: Renewal::default(),
            version: 1,
            values_of: 1,
            oldest: 1,
            items: data.counts(),
            destroyed_at: None,
            has_error: false,
        };
        let content = self.write_metadata(blank, fields, &mut errors).await?;
        check::finish(errors)?;
        let mut stored = self.records.draft(content, by).await?;
        stored.sealed_value = Some(self.seal_data(stored.id, 1, &data).into());
        let version = self.version_of(&stored, by).await?;
        let set = schedule_expiry(&stored, None, ChangeSet::default())
            .create(self.records.encode(&stored))
            .create(self.records.encode(&version));
        Ok(SecretDraft { stored, set })
    }

    /// Checks everything that can be checked before anything is recorded or opened.
    pub(crate) async fn check_fields(
        &self,
        old: &Secret,
        mut fields: SecretFields,
    ) -> Result<Revision, Error> {
        let mut errors = std::mem::take(&mut fields.wrong);
        let patch = std::mem::take(&mut fields.data);
        let kinds = named_kinds(&patch);
        let patch = if patch.is_empty() {
            None
        } else {
            Some(checked(patch, &mut errors))
        };
        let content = self
            .write_metadata(old.clone(), fields, &mut errors)
            .await?;
        check::finish(errors)?;
        Ok(Revision {
            content,
            patch,
            kinds,
            data: None,
        })
    }

    async fn write_metadata(
        &self,
        mut content: Secret,
        fields: SecretFields,
        errors: &mut Vec<FieldError>,
    ) -> Result<Secret, Error> {
        if let Some(name) = fields.name {
            check::name(errors, NAME, &name);
            content.name = name;
        }
        content.enabled = fields.enabled.unwrap_or(content.enabled);
        if let Some(name) = fields.engine {
            let found = self
                .registered_or(errors, Registry::Engine, ENGINE, &name)
                .await?;
            content.engine = found.unwrap_or(content.engine);
        }
        match fields.environment {
            Some(Some(name)) => {
                let registry = Registry::Environment;
                content.environment = self
                    .registered_or(errors, registry, ENVIRONMENT, &name)
                    .await?;
            }
            Some(None) => content.environment = None,
            None => {}
        }
        if let Some(at) = fields.expires_at {
            check::future(errors, "expires_at", at, self.clock.now());
            content.expires_at = at;
        }
        if let Some(tags) = fields.tags {
            check::tags(errors, "tags", &tags);
            content.tags = tags;
        }
        if let Some(description) = fields.description {
            check::description(errors, "description", &description);
            content.description = description;
        }
        content.renew = Renewal {
            cloud: fields.renew.cloud.unwrap_or(content.renew.cloud),
            credential: fields.renew.credential.unwrap_or(content.renew.credential),
            ephemeral: fields.renew.ephemeral.unwrap_or(content.renew.ephemeral),
        };
        Ok(content)
    }

    /// Commits a recorded change of a secret as its next version; nothing when the values turn out
    /// to be what they were.
    pub(crate) async fn write_version(
        &self,
        act: Act,
        old: &Stored<Secret>,
        revision: Revision,
        by: &str,
    ) -> Result<Stored<Secret>, Error> {
        let Some((new, set)) = self.next_version(&act, old, revision, by).await? else {
            return Ok(old.clone());
        };
        self.commit(act, set).await?;
        Ok(new)
    }

    /// The next version and the changes that make it so.
    pub(crate) async fn next_version(
        &self,
        act: &Act,
        old: &Stored<Secret>,
        revision: Revision,
        by: &str,
    ) -> Result<Option<(Stored<Secret>, ChangeSet)>, Error> {
        let Revision {
            mut content,
            patch,
            data,
            ..
        } = revision;
        let number = old.version + 1;
        let data = match (data, patch) {
            (Some(data), _) => Some(data),
            (None, Some(patch)) => {
                let mut data = self.unseal(act, old.id, old, old.sealed_value.as_deref())?;
                data.replace(patch).then_some(data)
            }
            (None, None) => None,
        };
        if data.is_none() && content == *old.content {
            return Ok(None);
        }
        content.version = number;
        let sealed = data.map(|data| {
            content.items = data.counts();
            content.values_of = number;
            self.seal_data(old.id, number, &data)
        });
        let mut set = ChangeSet::default();
        let kept = u64::from(self.options.retained_versions.get());
        let mut trimmed = Vec::new();
        while content.version - content.oldest >= kept {
            set = self.drop_version(old.id, content.oldest, set).await?;
            let object = old.object().version(content.oldest);
            let operation = Operation::TrimVersions;
            trimmed.push(super::act::event(
                self,
                Actor::Vault,
                None,
                operation,
                Some(object),
            ));
            content.oldest += 1;
        }
        if !trimmed.is_empty() {
            drop(self.act_alone(trimmed).await?);
        }
        let mut new = self.records.revise(old, content, by);
        if let Some(sealed) = sealed {
            new.sealed_value = Some(sealed.into());
        }
        let version = self.version_of(&new, by).await?;
        let set = schedule_expiry(&new, old.content.expires_at, set)
            .update(self.records.encode(&new), old.revision)
            .create(self.records.encode(&version));
        Ok(Some((new, set)))
    }

    async fn version_of(
        &self,
        secret: &Stored<Secret>,
        by: &str,
    ) -> Result<Stored<SecretVersion>, Error> {
        let content = SecretVersion {
            secret: secret.id,
            snapshot: Secret::clone(secret),
        };
        let mut version = self.records.draft(content, by).await?;
        version.sealed_value.clone_from(&secret.sealed_value);
        Ok(version)
    }

    async fn drop_version(
        &self,
        id: SecretId,
        number: u64,
        set: ChangeSet,
    ) -> Result<ChangeSet, Error> {
        let key = version_key(id, number);
        let found = self
            .records
            .find_by::<SecretVersion>(kind::SECRET_VERSION, NUMBER, key)
            .await?;
        Ok(match found {
            Some(version) => set.delete(
                RecordKey::new(kind::SECRET_VERSION, version.id),
                version.revision,
            ),
            None => set,
        })
    }

    fn seal_data(&self, id: SecretId, number: u64, data: &SecretData) -> Vec<u8> {
        let text = crate::crypto::SecretBytes::new(
            serde_json::to_vec(data).expect("data has string keys only"),
        );
        self.records
            .sealer
            .seal(&self.value_context(id, number), &text)
    }

    /// Opens the values of a version for an act that is recorded for this secret.
    pub(crate) fn unseal(
        &self,
        act: &Act,
        id: SecretId,
        version: &Secret,
        sealed: Option<&[u8]>,
    ) -> Result<SecretData, Error> {
        self.unseal_with(act.receipt(), id, version, sealed)
    }

    pub(crate) fn unseal_with(
        &self,
        receipt: &crate::audit::Receipt,
        id: SecretId,
        version: &Secret,
        sealed: Option<&[u8]>,
    ) -> Result<SecretData, Error> {
        if !receipt.allowed() || receipt.object() != Some((ObjectKind::Secret, Some(id.into()))) {
            return Err(Error::Internal {
                reason: format!("the receipt is not for secret {id}"),
                source: None,
            });
        }
        if version.destroyed_at.is_some() {
            return Ok(SecretData::default());
        }
        let key = RecordKey::new(kind::SECRET, id);
        let sealed = sealed.ok_or(Error::damaged(key, CryptoError::UnsupportedFormat))?;
        let opened = self
            .records
            .sealer
            .open(&self.value_context(id, version.values_of), sealed)
            .map_err(|error| Error::damaged(key, error))?;
        serde_json::from_slice(&opened)
            .map_err(|_| Error::damaged(key, CryptoError::UnsupportedFormat))
    }

    pub(crate) fn value_context(&self, id: SecretId, number: u64) -> Context {
        value_place(&self.records.sealer, id).bind(number)
    }
}

/// The context of a secret's values without the part that changes with the version.
pub(crate) fn value_place(sealer: &crate::crypto::Sealer, id: SecretId) -> Context {
    sealer.context("secret value", kind::SECRET.0, id.0)
}

/// A new secret before it is committed.
pub(crate) struct SecretDraft {
    pub(crate) stored: Stored<Secret>,
    pub(crate) set: ChangeSet,
}

/// A checked change of a secret before it is recorded.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) content: Secret,
    pub(crate) patch: Option<DataPatch>,
    pub(crate) kinds: Vec<&'static str>,
    /// Values that replace all there are, for a restore.
    pub(crate) data: Option<SecretData>,
}

impl Revision {
    /// Whether it says nothing that is not so already.
    pub(crate) fn is_idle(&self, old: &Secret) -> bool {
        self.patch.is_none() && self.data.is_none() && self.content == *old
    }

    /// The changed fields, for the trail.
    pub(crate) fn changes(&self, old: &Secret) -> Vec<FieldChange> {
        let mut changed = changes(old, &self.content);
        let values = self.kinds.iter().map(|kind| FieldChange {
            field: format!("data.{kind}"),
            from: None,
            to: None,
        });
        changed.extend(values);
        changed
    }
}

/// Puts or removes the job that destroys the values in time.
fn schedule_expiry(
    secret: &Stored<Secret>,
    before: Option<Timestamp>,
    set: ChangeSet,
) -> ChangeSet {
    let key = JobKey {
        topic: kind::EXPIRE_SECRET,
        subject: secret.id.into(),
    };
    match secret.content.expires_at {
        after if after == before => set,
        Some(due_at) => set.put_job(Job {
            key,
            due_at,
            body: Vec::new(),
        }),
        None => set.remove_job(key),
    }
}

fn checked(patch: DataPatch, errors: &mut Vec<FieldError>) -> DataPatch {
    let named = (
        patch.credentials.is_some(),
        patch.ssh_keys.is_some(),
        patch.ephemeral_credentials.is_some(),
        patch.access_keys.is_some(),
        patch.key_values.is_some(),
    );
    let data = SecretData::default().apply(patch);
    check_data(errors, &data);
    DataPatch {
        credentials: named.0.then_some(data.credentials),
        ssh_keys: named.1.then_some(data.ssh_keys),
        ephemeral_credentials: named.2.then_some(data.ephemeral_credentials),
        access_keys: named.3.then_some(data.access_keys),
        key_values: named.4.then_some(data.key_values),
    }
}

fn check_data(errors: &mut Vec<FieldError>, data: &SecretData) {
    if let Err(error) = data.validate() {
        errors.push(FieldError::new("data", error.to_string()));
    }
}

fn named_kinds(patch: &DataPatch) -> Vec<&'static str> {
    [
        ("credentials", patch.credentials.is_some()),
        ("ssh_keys", patch.ssh_keys.is_some()),
        (
            "ephemeral_credentials",
            patch.ephemeral_credentials.is_some(),
        ),
        ("access_keys", patch.access_keys.is_some()),
        ("key_value", patch.key_values.is_some()),
    ]
    .into_iter()
    .filter_map(|(kind, named)| named.then_some(kind))
    .collect()
}

pub(crate) fn identity_taken(error: Error) -> Error {
    match error {
        Error::Conflict(_) => Error::Conflict("there is a secret with this identity".to_owned()),
        other => other,
    }
}

impl Event {
    /// With a thing that it is about besides its object.
    pub(crate) fn with_change(mut self, field: &str, to: &impl std::fmt::Display) -> Self {
        let to = Some(to.to_string());
        self.changes.push(FieldChange {
            field: field.to_owned(),
            from: None,
            to,
        });
        self
    }

    /// With what changed.
    pub(crate) fn with_changes(mut self, changes: Vec<FieldChange>) -> Self {
        self.changes = changes;
        self
    }
}

/// A secret without items.
impl ItemCounts {
    /// How many items there are in all.
    pub fn total(&self) -> usize {
        self.credentials
            + self.ssh_keys
            + self.ephemeral_credentials
            + self.access_keys
            + self.key_values
    }
}
