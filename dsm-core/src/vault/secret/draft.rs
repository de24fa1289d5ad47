//! New secrets and changes of secrets, checked and not committed yet.

use super::entity::{ENGINE, ENVIRONMENT, NAME};
use super::expiry::schedule_expiry;
use super::fields::SecretFields;
use crate::audit::{Event, FieldChange};
use crate::secret::{DataPatch, Identity, Renewal, Secret, SecretData};
use crate::store::ChangeSet;
use crate::vault::act::changes;
use crate::vault::error::{Error, FieldError};
use crate::vault::record::Stored;
use crate::vault::registry::Registry;
use crate::vault::{Vault, check};

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

impl Vault {
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
            managed: data.managed(),
            profiles: data.profiles(),
            destroyed_at: None,
            has_error: false,
        };
        self.check_managed(&mut errors, None, &blank.managed)
            .await?;
        let content = self.write_metadata(blank, fields, &mut errors).await?;
        check::finish(errors)?;
        let mut stored = self.records.draft(content, by).await?;
        stored.sealed_value = Some(self.seal_data(stored.id, 1, &data).into());
        let version = self.version_of(&stored, by).await?;
        let set = schedule_expiry(&stored, None, ChangeSet::default());
        let set = self
            .schedule_renewals(&stored, None, set)
            .await?
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
        if let Some(patch) = &patch {
            self.check_managed(&mut errors, Some(old), &patch.managed())
                .await?;
        }
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
