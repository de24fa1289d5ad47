//! The versions of a secret as they come and go.

use super::draft::Revision;
use super::entity::{NUMBER, SecretVersion, version_key};
use super::expiry::schedule_expiry;
use crate::audit::{Actor, Operation};
use crate::id::SecretId;
use crate::secret::Secret;
use crate::store::{ChangeSet, RecordKey};
use crate::vault::act::{Act, event};
use crate::vault::error::Error;
use crate::vault::record::Stored;
use crate::vault::{Vault, kind};

impl Vault {
    /// Commits a recorded change of a secret as its next version; nothing when the values turn out
    /// to be what they were.
    pub(crate) async fn write_version(
        &self,
        act: Act,
        old: &Stored<Secret>,
        revision: Revision,
        by: &str,
    ) -> Result<Stored<Secret>, Error> {
        let next = match self.next_version(&act, old, revision, by).await {
            Ok(next) => next,
            Err(error) => return Err(self.failed(&act, error).await),
        };
        let Some((new, set)) = next else {
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
            content.managed = data.managed();
            content.profiles = data.profiles();
            content.values_of = number;
            self.seal_data(old.id, number, &data)
        });
        let mut set = ChangeSet::default();
        // What was rotated away is good until its overlap is over.
        let least = if content.managed.is_empty() { 1 } else { 2 };
        let kept = u64::from(self.options.retained_versions.get()).max(least);
        let mut trimmed = Vec::new();
        while content.version - content.oldest >= kept {
            set = self.drop_version(old.id, content.oldest, set).await?;
            let object = old.object().version(content.oldest);
            let operation = Operation::TrimVersions;
            trimmed.push(event(self, Actor::Vault, None, operation, Some(object)));
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
        let set = schedule_expiry(&new, old.content.expires_at, set);
        let set = self
            .schedule_renewals(&new, Some(old), set)
            .await?
            .update(self.records.encode(&new), old.revision)
            .create(self.records.encode(&version));
        Ok(Some((new, set)))
    }

    pub(super) async fn version_of(
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
}
