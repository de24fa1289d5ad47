//! Targets: the systems whose credentials are managed.

mod entity;
mod open;

use std::collections::BTreeMap;

pub use self::entity::{AdminCredential, NewAdmin, TargetEntry, TargetFields};
use self::entity::{NAME, OwnAdmin};
pub(crate) use self::open::{Reach, admin_place};
use super::act::{Caller, changes};
use super::error::{Error, FieldError};
use super::lease::LIVE_OF_TARGET;
use super::profile::PROFILE_TARGET;
use super::record::{Listing, Stored};
use super::secret::TARGET;
use super::{Vault, check, kind};
use crate::access::Permission;
use crate::audit::{FieldChange, ObjectKind, ObjectRef, Operation};
use crate::id::TargetId;
use crate::provider::{PasswordPolicy, ProviderError, TestReport};
use crate::store::{ChangeSet, Page, Query, RecordKey};

impl Vault {
    /// A page of targets, newest first; no admin credential is among what is told.
    pub async fn list_targets(
        &self,
        caller: &Caller,
        page: Page,
    ) -> Result<Listing<Stored<TargetEntry>>, Error> {
        let (permission, operation) = (Permission::TargetsView, Operation::ViewTarget);
        self.view(caller, permission, operation, None).await?;
        self.records.list(&Query::new(kind::TARGET), page).await
    }

    /// One target.
    pub async fn find_target(
        &self,
        caller: &Caller,
        id: TargetId,
    ) -> Result<Stored<TargetEntry>, Error> {
        let object = ObjectRef::new(ObjectKind::Target, id, "");
        let (permission, operation) = (Permission::TargetsView, Operation::ViewTarget);
        self.view(caller, permission, operation, Some(object))
            .await?;
        self.target_entry(id).await
    }

    /// Makes a target; enabled unless said. It is not connected to.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] naming every wrong field, those that the provider finds wrong included;
    /// [`Error::Conflict`] when the name is taken.
    pub async fn create_target(
        &self,
        caller: &Caller,
        fields: TargetFields,
    ) -> Result<Stored<TargetEntry>, Error> {
        let operation = Operation::CreateTarget;
        let object = ObjectRef::absent(ObjectKind::Target, "");
        let permit = self
            .permit(caller, Permission::TargetsWrite, operation, Some(object))
            .await?;
        if let Some(id) = self.made_before(caller).await? {
            return self.target_entry(id.into()).await;
        }
        let mut errors = Vec::new();
        for (field, given) in [
            ("name", fields.name.is_some()),
            ("provider", fields.provider.is_some()),
            ("address", fields.address.is_some()),
            ("admin_credential", fields.admin.is_some()),
        ] {
            if !given {
                errors.push(FieldError::new(field, "is required"));
            }
        }
        let blank = TargetEntry {
            name: String::new(),
            provider: String::new(),
            address: String::new(),
            options: BTreeMap::new(),
            enabled: true,
            policy: PasswordPolicy::default(),
            admin: AdminCredential::Secret { secret: 0.into() },
        };
        let (content, own) = self.write_target(blank, fields, errors).await?;
        let mut target = self.records.draft(content, &caller.operator.name).await?;
        target.sealed_value = own.map(|own| self.seal_admin(target.id, &own).into());
        let event = caller.event(self, operation, target.object());
        let set = ChangeSet::default().create(self.records.encode(&target));
        let set = self.remember(caller, target.id.into(), set).await?;
        let act = self.act(permit, vec![event]).await?;
        match self
            .commit_once(caller, act, set)
            .await
            .map_err(name_taken)?
        {
            Some(id) => self.target_entry(id.into()).await,
            None => Ok(target),
        }
    }

    /// Changes a target. Its name and provider stay: secrets refer to them.
    pub async fn update_target(
        &self,
        caller: &Caller,
        id: TargetId,
        fields: TargetFields,
        expected: Option<u64>,
    ) -> Result<Stored<TargetEntry>, Error> {
        let operation = Operation::UpdateTarget;
        let object = ObjectRef::new(ObjectKind::Target, id, "");
        let permit = self
            .permit(caller, Permission::TargetsWrite, operation, Some(object))
            .await?;
        let old = self.target_entry(id).await?;
        check::revision(expected, old.revision)?;
        let mut errors = Vec::new();
        for (field, given, stays) in [
            ("name", &fields.name, &old.name),
            ("provider", &fields.provider, &old.provider),
        ] {
            if given.as_ref().is_some_and(|given| given != stays) {
                errors.push(FieldError::new(field, "cannot be changed"));
            }
        }
        let (content, own) = self
            .write_target(TargetEntry::clone(&old), fields, errors)
            .await?;
        let event = caller.event(self, operation, old.object());
        if content == *old.content && own.is_none() {
            drop(self.act(permit, vec![event]).await?);
            return Ok(old);
        }
        let mut changed = changes(&*old.content, &content);
        if own.is_some() {
            changed.push(FieldChange {
                field: "admin_credential".to_owned(),
                from: None,
                to: None,
            });
        }
        let mut new = self.records.revise(&old, content, &caller.operator.name);
        match (own, &new.content.admin) {
            (Some(own), _) => new.sealed_value = Some(self.seal_admin(id, &own).into()),
            (None, AdminCredential::Secret { .. }) => new.sealed_value = None,
            (None, AdminCredential::Own { .. }) => {}
        }
        let set = ChangeSet::default().update(self.records.encode(&new), old.revision);
        let act = self.act(permit, vec![event.with_changes(changed)]).await?;
        self.commit(act, set).await?;
        Ok(new)
    }

    /// Deletes a target that no secret, profile or lease refers to.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when one does.
    pub async fn delete_target(
        &self,
        caller: &Caller,
        id: TargetId,
        expected: Option<u64>,
    ) -> Result<(), Error> {
        let operation = Operation::DeleteTarget;
        let object = ObjectRef::new(ObjectKind::Target, id, "");
        let permit = self
            .permit(caller, Permission::TargetsWrite, operation, Some(object))
            .await?;
        let old = self.target_entry(id).await?;
        check::revision(expected, old.revision)?;
        for (kind, field, message) in [
            (
                kind::SECRET,
                TARGET,
                "a secret has a credential on this target",
            ),
            (kind::PROFILE, PROFILE_TARGET, "a profile is of this target"),
            (
                kind::LEASE,
                LIVE_OF_TARGET,
                "accounts that are leased live on this target",
            ),
        ] {
            let query = Query::new(kind).with(self.records.term(kind, field, &old.name));
            let used = self.records.store.list(&query, Page::first(1)).await?;
            if !used.records.is_empty() {
                return Err(Error::Conflict(message.to_owned()));
            }
        }
        let event = caller.event(self, operation, old.object());
        let set = ChangeSet::default().delete(RecordKey::new(kind::TARGET, id), old.revision);
        let act = self.act(permit, vec![event]).await?;
        self.commit(act, set).await
    }

    /// Logs in to a target with its admin credential and tells what works. Nothing is changed there.
    ///
    /// # Errors
    ///
    /// The outer one is the vault's, the inner one what the target said, without values.
    pub async fn test_target(
        &self,
        caller: &Caller,
        id: TargetId,
    ) -> Result<Result<TestReport, ProviderError>, Error> {
        let operation = Operation::TestTarget;
        let object = ObjectRef::new(ObjectKind::Target, id, "");
        let permit = self
            .permit(caller, Permission::TargetsWrite, operation, Some(object))
            .await?;
        let target = self.target_entry(id).await?;
        let event = caller.event(self, operation, target.object());
        let act = self.act(permit, vec![event]).await?;
        let reach = match self.reach(&target, act.receipt()).await? {
            Ok(reach) => reach,
            Err(error) => return Ok(Err(error)),
        };
        let test = reach.provider.test(&reach.target);
        let report = reach.ask(false, &[], test).await;
        Ok(report.map(|report| reach.strip(report)))
    }

    pub(crate) async fn target_entry(&self, id: TargetId) -> Result<Stored<TargetEntry>, Error> {
        let found = self.records.find(kind::TARGET, id).await?;
        found.ok_or(Error::NotFound(ObjectKind::Target))
    }

    pub(crate) async fn target_named(
        &self,
        name: &str,
    ) -> Result<Option<Stored<TargetEntry>>, Error> {
        self.records.find_by(kind::TARGET, NAME, name).await
    }

    async fn write_target(
        &self,
        mut content: TargetEntry,
        fields: TargetFields,
        mut errors: Vec<FieldError>,
    ) -> Result<(TargetEntry, Option<OwnAdmin>), Error> {
        errors.extend(fields.wrong);
        if let Some(name) = fields.name {
            check::name(&mut errors, "name", &name);
            content.name = name;
        }
        if let Some(provider) = fields.provider {
            content.provider = provider;
        }
        content.address = fields.address.unwrap_or(content.address);
        content.options = fields.options.unwrap_or(content.options);
        content.enabled = fields.enabled.unwrap_or(content.enabled);
        if let Some(policy) = fields.policy {
            if let Err(error) = policy.check() {
                errors.push(FieldError::new("password_policy", error.to_string()));
            }
            content.policy = policy;
        }
        match self.providers.find(&content.provider) {
            Some(provider) => {
                let problems = provider.check(&content.address, &content.options);
                let problems = problems.into_iter();
                errors.extend(problems.map(|it| FieldError::new(it.field, it.message)));
            }
            None => errors.push(FieldError::new("provider", "there is no such provider")),
        }
        let mut own = None;
        if let Some(admin) = fields.admin {
            let (admin, sealed) = OwnAdmin::split(admin, &mut errors);
            if let AdminCredential::Secret { secret } = &admin
                && self.secret(*secret).await.is_err()
            {
                let message = "there is no such secret";
                errors.push(FieldError::new("admin_credential.secret", message));
            }
            content.admin = admin;
            own = sealed;
        }
        check::finish(errors)?;
        Ok((content, own))
    }
}

fn name_taken(error: Error) -> Error {
    match error {
        Error::Conflict(_) => Error::Conflict("there is a target with this name".to_owned()),
        other => other,
    }
}
