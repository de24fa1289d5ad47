//! Versions: history, reveal, restore, compare, and the end of values.

use super::act::{Caller, event};
use super::error::Error;
use super::record::{Listing, Stored};
use super::rotation::Attempt;
use super::secret::{OF_SECRET, Revision, SecretVersion, VERSION_NUMBER, version_key};
use super::{Vault, kind};
use crate::access::Permission;
use crate::audit::{Actor, ObjectKind, ObjectRef, Operation};
use crate::id::SecretId;
use crate::secret::{Comparison, OutputMap, Secret, SecretData, Status, compare};
use crate::store::{ChangeSet, JobKey, Lease, Page, Query, RecordKey, Settlement};
use crate::time::Timestamp;

impl Vault {
    /// A page of a secret's versions, newest first; metadata only.
    pub async fn list_versions(
        &self,
        caller: &Caller,
        id: SecretId,
        page: Page,
    ) -> Result<Listing<Stored<SecretVersion>>, Error> {
        self.view_versions(caller, id).await?;
        let term = self
            .records
            .term(kind::SECRET_VERSION, OF_SECRET, id.0.to_be_bytes());
        self.records
            .list(&Query::new(kind::SECRET_VERSION).with(term), page)
            .await
    }

    /// One version's metadata.
    pub async fn find_version(
        &self,
        caller: &Caller,
        id: SecretId,
        number: u64,
    ) -> Result<Stored<SecretVersion>, Error> {
        self.view_versions(caller, id).await?;
        self.version(id, number).await
    }

    /// Shows an operator the values of one version; recorded.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] once the secret has expired.
    pub async fn reveal_version(
        &self,
        caller: &Caller,
        id: SecretId,
        number: u64,
    ) -> Result<Vec<OutputMap>, Error> {
        let operation = Operation::RevealSecret;
        let object = ObjectRef::new(ObjectKind::Secret, id, "").version(number);
        let permission = Permission::SecretsReveal;
        let permit = self
            .permit_secret(caller, permission, operation, id, object)
            .await?;
        let secret = self.secret(id).await?;
        let version = self.version(id, number).await?;
        if secret.status(self.clock.now()) == Status::Expired {
            return Err(Error::Gone);
        }
        let object = secret.object().version(number);
        let act = self
            .act(permit, vec![caller.event(self, operation, object)])
            .await?;
        match self.unseal(&act, id, &version.snapshot, version.sealed_value.as_deref()) {
            Ok(data) => Ok(data.into_output()),
            Err(error) => Err(self.failed(&act, error).await),
        }
    }

    /// Makes an older version the newest: its metadata and values as a new version. Repeated under
    /// the same key, it does so once.
    pub async fn restore_version(
        &self,
        caller: &Caller,
        id: SecretId,
        number: u64,
    ) -> Result<Stored<Secret>, Error> {
        let operation = Operation::RestoreSecret;
        let object = ObjectRef::new(ObjectKind::Secret, id, "").version(number);
        let permission = Permission::SecretsWrite;
        let permit = self
            .permit(caller, permission, operation, Some(object))
            .await?;
        if self.made_before(caller).await?.is_some() {
            return self.secret(id).await;
        }
        let old = self.secret(id).await?;
        let version = self.version(id, number).await?;
        let now = self.clock.now();
        if old.status(now) == Status::Expired {
            return Err(Error::Gone);
        }
        if version.snapshot.expires_at.is_some_and(|at| now >= at) {
            let message = "the version ends before now; change its expiry instead";
            return Err(Error::Conflict(message.to_owned()));
        }
        self.permit_items(caller, operation, id, version.snapshot.items)
            .await?;
        let content = Secret {
            version: old.version,
            oldest: old.oldest,
            has_error: old.has_error,
            destroyed_at: None,
            ..version.snapshot.clone()
        };
        if number == old.version {
            drop(
                self.act(permit, vec![caller.event(self, operation, old.object())])
                    .await?,
            );
            return Ok(old);
        }
        let mut revision = Revision {
            content,
            patch: None,
            kinds: vec!["restored"],
            data: None,
        };
        let event = caller.event(self, operation, old.object());
        let event = event.with_changes(revision.changes(&old));
        let act = self.act(permit, vec![event]).await?;
        let opened = [
            (&version.snapshot, version.sealed_value.as_deref()),
            (&*old.content, old.sealed_value.as_deref()),
        ]
        .map(|(of, sealed)| self.unseal(&act, id, of, sealed));
        match opened {
            [Ok(mut data), Ok(managed)] => {
                data.keep_managed(managed);
                revision.data = Some(data);
            }
            [Err(error), _] | [_, Err(error)] => return Err(self.failed(&act, error).await),
        }
        let by = &caller.operator.name;
        let Some((new, set)) = self.next_version(&act, &old, revision, by).await? else {
            return Ok(old);
        };
        let set = self.remember(caller, id.into(), set).await?;
        match self.commit_once(caller, act, set).await? {
            Some(_) => self.secret(id).await,
            None => Ok(new),
        }
    }

    /// Compares version `from` with the earlier version `to`. Values are compared inside; only
    /// whether they are equal is told.
    pub async fn compare_versions(
        &self,
        caller: &Caller,
        id: SecretId,
        from: u64,
        to: u64,
    ) -> Result<Comparison, Error> {
        let operation = Operation::ViewSecret;
        let object = ObjectRef::new(ObjectKind::Secret, id, "");
        let permission = Permission::SecretsView;
        let permit = self
            .permit(caller, permission, operation, Some(object))
            .await?;
        if from <= to {
            return Err(Error::invalid("from", "must be greater than `to`"));
        }
        let secret = self.secret(id).await?;
        let (later, earlier) = (self.version(id, from).await?, self.version(id, to).await?);
        let act = self
            .act(permit, vec![caller.event(self, operation, secret.object())])
            .await?;
        // What has expired is compared as if its values were destroyed already.
        let (now, then) = if secret.status(self.clock.now()) == Status::Expired {
            (SecretData::default(), SecretData::default())
        } else {
            (
                self.unseal(&act, id, &later.snapshot, later.sealed_value.as_deref())?,
                self.unseal(&act, id, &earlier.snapshot, earlier.sealed_value.as_deref())?,
            )
        };
        Ok(compare((&later.snapshot, now), (&earlier.snapshot, then)))
    }

    /// Ends a secret now: it is refused from here on and its values are destroyed.
    pub async fn expire_secret(
        &self,
        caller: &Caller,
        id: SecretId,
    ) -> Result<Stored<Secret>, Error> {
        let operation = Operation::ExpireSecret;
        let object = ObjectRef::new(ObjectKind::Secret, id, "");
        let permission = Permission::SecretsWrite;
        let permit = self
            .permit(caller, permission, operation, Some(object))
            .await?;
        let old = self.secret(id).await?;
        if old.destroyed_at.is_some() {
            drop(
                self.act(permit, vec![caller.event(self, operation, old.object())])
                    .await?,
            );
            return Ok(old);
        }
        let now = self.clock.now();
        let expires_at = old
            .content
            .expires_at
            .filter(|at| *at <= now)
            .unwrap_or(now);
        let (new, set) = self
            .destroyed(&old, expires_at, &caller.operator.name)
            .await?;
        let set = set.remove_job(JobKey {
            topic: kind::EXPIRE_SECRET,
            subject: id.into(),
        });
        let act = self
            .act(permit, vec![caller.event(self, operation, old.object())])
            .await?;
        self.commit(act, set).await?;
        Ok(new)
    }

    /// Destroys the values of a secret whose time is over, for a job of the queue.
    pub(crate) async fn expire_due(&self, lease: &Lease) -> Result<(), Error> {
        let id = SecretId(lease.job.key.subject);
        let settled = ChangeSet::default().settle(lease, Settlement::Done);
        let found = self.records.find::<Secret>(kind::SECRET, id).await?;
        let Some(old) = found.filter(|secret| secret.destroyed_at.is_none()) else {
            self.records.store.commit(settled).await?;
            return Ok(());
        };
        let Some(expires_at) = old.content.expires_at else {
            self.records.store.commit(settled).await?;
            return Ok(());
        };
        if self.clock.now() < expires_at {
            // The clock went back, or another server's is ahead.
            let later = Settlement::RetryAt(expires_at);
            let set = ChangeSet::default().settle(lease, later);
            self.records.store.commit(set).await?;
            return Ok(());
        }
        let (_, set) = self.destroyed(&old, expires_at, "vault").await?;
        let event = event(
            self,
            Actor::Vault,
            None,
            Operation::ExpireSecret,
            Some(old.object()),
        );
        let act = self.act_alone(vec![event]).await?;
        self.commit(act, set.settle(lease, Settlement::Done)).await
    }

    /// The secret and all its versions without their values.
    async fn destroyed(
        &self,
        old: &Stored<Secret>,
        expires_at: Timestamp,
        by: &str,
    ) -> Result<(Stored<Secret>, ChangeSet), Error> {
        let destroyed_at = Some(self.clock.now());
        let expires_at = Some(expires_at);
        let content = Secret {
            expires_at,
            destroyed_at,
            managed: Vec::new(),
            profiles: Vec::new(),
            ..Secret::clone(old)
        };
        let mut new = self.records.revise(old, content, by);
        new.sealed_value = None;
        let mut set = ChangeSet::default().update(self.records.encode(&new), old.revision);
        let term = self
            .records
            .term(kind::SECRET_VERSION, OF_SECRET, old.id.0.to_be_bytes());
        let query = Query::new(kind::SECRET_VERSION).with(term);
        set = self.plan_secret_leases_end(old.id, set).await?;
        let attempts = self
            .records
            .term(kind::ATTEMPT, OF_SECRET, old.id.0.to_be_bytes());
        let attempts = Query::new(kind::ATTEMPT).with(attempts);
        for attempt in self.records.list_all::<Attempt>(&attempts).await? {
            if !attempt.progress.state.is_over() {
                let key = RecordKey::new(kind::ATTEMPT, attempt.id);
                set = set.delete(key, attempt.revision);
            }
        }
        for version in self.records.list_all::<SecretVersion>(&query).await? {
            let snapshot = Secret {
                destroyed_at,
                ..version.snapshot.clone()
            };
            let content = SecretVersion {
                secret: old.id,
                snapshot,
            };
            // Who made the version and when stays as it was.
            let mut bare = self.records.revise(&version, content, &version.updated_by);
            bare.updated_at = version.updated_at;
            bare.sealed_value = None;
            set = set.update(self.records.encode(&bare), version.revision);
        }
        Ok((new, set))
    }

    async fn view_versions(&self, caller: &Caller, id: SecretId) -> Result<(), Error> {
        let object = ObjectRef::new(ObjectKind::Secret, id, "");
        self.view(
            caller,
            Permission::SecretsView,
            Operation::ViewSecret,
            Some(object),
        )
        .await?;
        self.secret(id).await.map(|_| ())
    }

    /// A version, if it is kept.
    pub(crate) async fn version_if(
        &self,
        id: SecretId,
        number: u64,
    ) -> Result<Option<Stored<SecretVersion>>, Error> {
        let key = version_key(id, number);
        self.records
            .find_by(kind::SECRET_VERSION, VERSION_NUMBER, key)
            .await
    }

    async fn version(&self, id: SecretId, number: u64) -> Result<Stored<SecretVersion>, Error> {
        let found = self.version_if(id, number).await?;
        found.ok_or(Error::NotFound(ObjectKind::Secret))
    }
}
