//! What applications write: secrets, and the end of their own authorization.

use std::sync::Arc;

use super::act::{changes, event};
use super::attachment::replacing;
use super::authorization::revoked;
use super::error::Error;
use super::provisioning::items_of;
use super::reading::{OpenedSecret, authorization_object};
use super::record::Stored;
use super::secret::{SecretDraft, SecretFields};
use super::{Vault, kind};
use crate::access::{Action, Principal, Request, Resource, SecretTarget, decide};
use crate::audit::{Event, ObjectKind, ObjectRef, Operation};
use crate::secret::{DataPatch, Identity, Secret};
use crate::store::ChangeSet;

/// What a client's write did.
#[derive(Debug)]
pub struct Written {
    /// The secret as it is now, with its values.
    pub secret: OpenedSecret,
    /// Whether it was made by this write.
    pub created: bool,
}

impl Vault {
    /// Makes a secret or changes the one with this identity. A new one is attached to the calling
    /// authorization in the same commit.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] of class `Forbidden` for a secret that is not attached, and of class
    /// `Conflict` for one that is disabled or expired.
    pub async fn write_secret(
        &self,
        principal: &Principal,
        identity: &Identity,
        fields: SecretFields,
    ) -> Result<Written, Error> {
        // From the store, not from the cache: a write builds on what is there.
        let found: Option<Stored<Secret>> = self
            .records
            .find_by(kind::SECRET, super::secret::IDENTITY, identity.as_str())
            .await?;
        let target = self
            .target_of(principal.authorization_id(), found.as_ref())
            .await?;
        let request = Request::new(Resource::SecretManagement, Action::WriteSecret(target));
        match found {
            Some(old) => {
                self.change_own_secret(principal, request, old, fields)
                    .await
            }
            None => {
                self.create_own_secret(principal, request, identity, fields)
                    .await
            }
        }
    }

    /// Keeps a secret from applications; the vault keeps it.
    pub async fn delete_secret(
        &self,
        principal: &Principal,
        identity: &Identity,
    ) -> Result<(), Error> {
        let operation = Operation::DisableSecret;
        let found: Option<Stored<Secret>> = self
            .records
            .find_by(kind::SECRET, super::secret::IDENTITY, identity.as_str())
            .await?;
        let target = self
            .target_of(principal.authorization_id(), found.as_ref())
            .await?;
        let request = Request::new(Resource::SecretManagement, Action::DeleteSecret(target));
        let object = found.as_ref().map_or_else(
            || ObjectRef::absent(ObjectKind::Secret, identity.as_str()),
            Stored::<Secret>::object,
        );
        let permit = self
            .decide(principal, request, operation, Some(object.clone()))
            .await?;
        let Some(old) = found else {
            return Err(Error::NotFound(ObjectKind::Secret));
        };
        let fields = SecretFields {
            enabled: Some(false),
            ..SecretFields::default()
        };
        let revision = self.check_fields(&old, fields).await?;
        let event = event(
            self,
            principal.actor(),
            principal.origin().ip,
            operation,
            Some(object),
        )
        .with_changes(revision.changes(&old));
        let act = self.act(permit, vec![event]).await?;
        self.write_version(act, &old, revision, &actor_name(principal))
            .await
            .map(|_| ())
    }

    /// Revokes the calling authorization for good.
    pub async fn revoke_self(&self, principal: &Principal) -> Result<(), Error> {
        let operation = Operation::RevokeAuthorization;
        let request = Request::new(Resource::Application, Action::RevokeSelf);
        let object = authorization_object(principal);
        let permit = self
            .decide(principal, request, operation, Some(object.clone()))
            .await?;
        let old = self.authorization(principal.authorization_id()).await?;
        let content = revoked(&old, self.clock.now());
        let changed = changes(&*old.content, &content);
        let new = self.records.revise(&old, content, &actor_name(principal));
        let event = event(
            self,
            principal.actor(),
            principal.origin().ip,
            operation,
            Some(object),
        )
        .with_changes(changed);
        let set = ChangeSet::default().update(self.records.encode(&new), old.revision);
        let set = self.plan_key_end(new.id, set).await?;
        let set = self.plan_authorization_leases_end(new.id, set).await?;
        let act = self.act(permit, vec![event]).await?;
        self.commit(act, set).await
    }

    async fn change_own_secret(
        &self,
        principal: &Principal,
        request: Request,
        old: Stored<Secret>,
        fields: SecretFields,
    ) -> Result<Written, Error> {
        let operation = Operation::UpdateSecret;
        let object = old.object();
        let permit = self
            .decide(principal, request, operation, Some(object.clone()))
            .await?;
        Self::refuse_managed(&old, &fields.data)?;
        refuse_profiles(principal, Some(&old), &fields.data)?;
        let ip = principal.origin().ip;
        let event = event(self, principal.actor(), ip, operation, Some(object));
        if let Err(error) = self.check_sealable(&permit, &fields.data).await {
            return Err(self.record_failed(vec![event], error).await);
        }
        let revision = self.check_fields(&old, fields).await?;
        let new = if revision.is_idle(&old) {
            drop(permit);
            old
        } else {
            let event = event.with_changes(revision.changes(&old));
            let act = self.act(permit, vec![event]).await?;
            self.write_version(act, &old, revision, &actor_name(principal))
                .await?
        };
        let secret = self.show_written(principal, new).await?;
        Ok(Written {
            secret,
            created: false,
        })
    }

    async fn create_own_secret(
        &self,
        principal: &Principal,
        request: Request,
        identity: &Identity,
        fields: SecretFields,
    ) -> Result<Written, Error> {
        let operation = Operation::CreateSecret;
        let object = ObjectRef::absent(ObjectKind::Secret, identity.as_str());
        let permit = self
            .decide(principal, request, operation, Some(object.clone()))
            .await?;
        refuse_profiles(principal, None, &fields.data)?;
        if let Err(error) = self.check_sealable(&permit, &fields.data).await {
            let ip = principal.origin().ip;
            let event = event(self, principal.actor(), ip, operation, Some(object));
            return Err(self.record_failed(vec![event], error).await);
        }
        let (draft, events) = self.draft_own_secret(principal, identity, fields).await?;
        let act = self.act(permit, events).await?;
        self.commit(act, draft.set).await.map_err(made_meanwhile)?;
        let secret = self.show_written(principal, draft.stored).await?;
        Ok(Written {
            secret,
            created: true,
        })
    }

    /// A new secret attached to the calling authorization, not committed yet, and what will be
    /// recorded of it.
    pub(crate) async fn draft_own_secret(
        &self,
        principal: &Principal,
        identity: &Identity,
        fields: SecretFields,
    ) -> Result<(SecretDraft, Vec<Event>), Error> {
        let by = actor_name(principal);
        let mut draft = self.draft_secret(identity.as_str(), fields, &by).await?;
        let holder = principal.authorization_id();
        let left = self.attachment(holder, identity).await?;
        let attachment = self.draft_attachment(holder, &draft.stored, &by).await?;
        draft.set = replacing(left, draft.set).create(self.records.encode(&attachment));
        let own = |operation, object| {
            let ip = principal.origin().ip;
            event(self, principal.actor(), ip, operation, Some(object))
        };
        let events = vec![
            own(Operation::CreateSecret, draft.stored.object()),
            own(Operation::AttachSecret, authorization_object(principal))
                .with_change("secret", &draft.stored.id),
        ];
        Ok((draft, events))
    }

    /// Gives the writer back what it wrote, as a read of its own.
    async fn show_written(
        &self,
        principal: &Principal,
        secret: Stored<Secret>,
    ) -> Result<OpenedSecret, Error> {
        let resource = Resource::SecretManagement;
        self.show_secret(principal, resource, Action::WriteSecret, secret)
            .await
    }

    /// Gives a client a secret that it wrote or had provisioned, as a read of its own.
    pub(crate) async fn show_secret(
        &self,
        principal: &Principal,
        resource: Resource,
        action: fn(Option<SecretTarget>) -> Action,
        secret: Stored<Secret>,
    ) -> Result<OpenedSecret, Error> {
        let target = self.target(principal.authorization_id(), &secret).await?;
        let request = Request::new(resource, action(Some(target)));
        let operation = Operation::ReadSecret;
        let object = Some(secret.object());
        let ip = principal.origin().ip;
        match decide(principal, request, self.clock.now()) {
            Ok(permit) => {
                let event = event(self, principal.actor(), ip, operation, object);
                let receipt = self.trail.record(&event).await?;
                match self.open(permit, receipt, Arc::new(secret)).await {
                    Ok(opened) => Ok(opened),
                    Err(error) => Err(self.record_failed(vec![event], error).await),
                }
            }
            Err(denial) => Err(self
                .refuse(principal.actor(), ip, operation, object, denial)
                .await),
        }
    }
}

/// Refuses items by profiles that are neither of the application nor in the secret already: what a
/// profile makes is for operators to give.
fn refuse_profiles(
    principal: &Principal,
    old: Option<&Secret>,
    patch: &DataPatch,
) -> Result<(), Error> {
    let own = items_of(principal.application());
    let known = |profile: &String| {
        own.iter().any(|item| item.profile == *profile)
            || old.is_some_and(|old| old.profiles.contains(profile))
    };
    let mut items = patch.ephemeral_credentials.iter().flatten();
    if items.all(|item| known(&item.profile)) {
        return Ok(());
    }
    let message = "ephemeral_credentials: the application may use no such profile";
    Err(Error::invalid("data", message))
}

/// Somebody else made at the same time what was to be made; the next try finds it.
pub(crate) fn made_meanwhile(error: Error) -> Error {
    match error {
        Error::Conflict(_) => Error::Stale,
        other => other,
    }
}

/// How a client stands in `created_by` and `updated_by`.
pub(crate) fn actor_name(principal: &Principal) -> String {
    format!("application {}", principal.application().name)
}
