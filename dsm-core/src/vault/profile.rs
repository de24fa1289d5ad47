//! Profiles of dynamic provisioning, as operators manage them.

mod entity;

use self::entity::IDENTIFIER;
pub(crate) use self::entity::TARGET as PROFILE_TARGET;
pub use self::entity::{ProfileFields, ProfileFilter};
use super::act::{Caller, changes};
use super::error::{Error, FieldError};
use super::lease::LIVE_OF_PROFILE;
use super::provisioning::reconcile_job;
use super::record::{Listing, Stored};
use super::secret::PROFILE as SECRET_PROFILE;
use super::{Vault, check, kind};
use crate::access::Permission;
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::id::ProfileId;
use crate::provider::{Provider, Tag, Template};
use crate::provision::{Profile, ProfileKind, Ttl, check_identifier, check_names};
use crate::store::{ChangeSet, Page, Query, RecordKey};

impl Vault {
    /// A page of profiles, newest first.
    pub async fn list_profiles(
        &self,
        caller: &Caller,
        filter: ProfileFilter,
        page: Page,
    ) -> Result<Listing<Stored<Profile>>, Error> {
        let (permission, operation) = (Permission::ProfilesView, Operation::ViewProfile);
        self.view(caller, permission, operation, None).await?;
        let mut query = Query::new(kind::PROFILE);
        for (field, text) in [
            (IDENTIFIER, &filter.identifier),
            (PROFILE_TARGET, &filter.target),
        ] {
            if let Some(text) = text {
                query = query.with(self.records.term(kind::PROFILE, field, text));
            }
        }
        self.records.list(&query, page).await
    }

    /// One profile.
    pub async fn find_profile(
        &self,
        caller: &Caller,
        id: ProfileId,
    ) -> Result<Stored<Profile>, Error> {
        let object = ObjectRef::new(ObjectKind::Profile, id, "");
        let (permission, operation) = (Permission::ProfilesView, Operation::ViewProfile);
        self.view(caller, permission, operation, Some(object))
            .await?;
        self.profile(id).await
    }

    /// Makes a profile; enabled unless said. Its target is not connected to.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] naming every wrong field: a target that is absent, disabled or makes no
    /// accounts, a template with a tag that there is none of, a time to live out of its bounds;
    /// [`Error::Conflict`] when the identifier is taken.
    pub async fn create_profile(
        &self,
        caller: &Caller,
        fields: ProfileFields,
    ) -> Result<Stored<Profile>, Error> {
        let operation = Operation::CreateProfile;
        let object = ObjectRef::absent(ObjectKind::Profile, "");
        let permit = self
            .permit(caller, Permission::ProfilesWrite, operation, Some(object))
            .await?;
        if let Some(id) = self.made_before(caller).await? {
            return self.profile(id.into()).await;
        }
        let mut errors = Vec::new();
        for (field, given) in [
            ("identifier", fields.identifier.is_some()),
            ("kind", fields.kind.is_some()),
            ("target", fields.target.is_some()),
        ] {
            if !given {
                errors.push(FieldError::new(field, "is required"));
            }
        }
        let blank = Profile {
            identifier: fields.identifier.clone().unwrap_or_default(),
            kind: fields.kind.unwrap_or(ProfileKind::Credential),
            target: fields.target.clone().unwrap_or_default(),
            creation_template: None,
            removal_template: None,
            roles: Vec::new(),
            policies: Vec::new(),
            ttl: Ttl::default(),
            enabled: true,
        };
        if fields.identifier.is_some()
            && let Some(wrong) = check_identifier(&blank.identifier)
        {
            errors.push(FieldError::new("identifier", wrong));
        }
        let target = self.target_named(&blank.target).await?;
        match &target {
            None => errors.push(FieldError::new("target", "there is no such target")),
            Some(target) if !target.enabled => {
                let message = format!("the target {} is disabled", target.name);
                errors.push(FieldError::new("target", message));
            }
            Some(target) => {
                let provider = self.providers.find(&target.provider);
                let provider = provider.map(AsRef::as_ref);
                errors.extend(lacks(provider, blank.kind).map(|it| FieldError::new("target", it)));
            }
        }
        let content = write_profile(blank, fields, errors)?;
        let profile = self.records.draft(content, &caller.operator.name).await?;
        let event = caller.event(self, operation, profile.object());
        let mut set = ChangeSet::default().create(self.records.encode(&profile));
        if let Some(target) = target {
            // It may be deleted or disabled at the same time.
            let key = RecordKey::new(kind::TARGET, target.id);
            set = set
                .check_at(key, target.revision)
                .put_job(reconcile_job(target.id, self.clock.now()));
        }
        let set = self.remember(caller, profile.id.into(), set).await?;
        let act = self.act(permit, vec![event]).await?;
        match self
            .commit_once(caller, act, set)
            .await
            .map_err(identifier_taken)?
        {
            Some(id) => self.profile(id.into()).await,
            None => Ok(profile),
        }
    }

    /// Changes a profile. Its identifier, kind and target stay. Accounts that live already keep the
    /// time and the removal template that they were made with.
    pub async fn update_profile(
        &self,
        caller: &Caller,
        id: ProfileId,
        fields: ProfileFields,
        expected: Option<u64>,
    ) -> Result<Stored<Profile>, Error> {
        let operation = Operation::UpdateProfile;
        let object = ObjectRef::new(ObjectKind::Profile, id, "");
        let permit = self
            .permit(caller, Permission::ProfilesWrite, operation, Some(object))
            .await?;
        let old = self.profile(id).await?;
        check::revision(expected, old.revision)?;
        let mut errors = Vec::new();
        let named =
            |given: &Option<String>, stays: &String| given.as_ref().is_some_and(|it| it != stays);
        for (field, other) in [
            ("identifier", named(&fields.identifier, &old.identifier)),
            ("kind", fields.kind.is_some_and(|kind| kind != old.kind)),
            ("target", named(&fields.target, &old.target)),
        ] {
            if other {
                errors.push(FieldError::new(field, "cannot be changed"));
            }
        }
        let content = write_profile(Profile::clone(&old), fields, errors)?;
        let event = caller.event(self, operation, old.object());
        if content == *old.content {
            drop(self.act(permit, vec![event]).await?);
            return Ok(old);
        }
        let changed = changes(&*old.content, &content);
        let new = self.records.revise(&old, content, &caller.operator.name);
        let set = ChangeSet::default().update(self.records.encode(&new), old.revision);
        let act = self.act(permit, vec![event.with_changes(changed)]).await?;
        self.commit(act, set).await?;
        Ok(new)
    }

    /// Deletes a profile that no secret refers to and of which no account lives.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when one does.
    pub async fn delete_profile(
        &self,
        caller: &Caller,
        id: ProfileId,
        expected: Option<u64>,
    ) -> Result<(), Error> {
        let operation = Operation::DeleteProfile;
        let object = ObjectRef::new(ObjectKind::Profile, id, "");
        let permit = self
            .permit(caller, Permission::ProfilesWrite, operation, Some(object))
            .await?;
        let old = self.profile(id).await?;
        check::revision(expected, old.revision)?;
        for (kind, field, message) in [
            (
                kind::LEASE,
                LIVE_OF_PROFILE,
                "accounts of this profile live; revoke their leases first",
            ),
            (kind::SECRET, SECRET_PROFILE, "a secret is of this profile"),
        ] {
            let term = self.records.term(kind, field, &old.identifier);
            let query = Query::new(kind).with(term);
            let used = self.records.store.list(&query, Page::first(1)).await?;
            if !used.records.is_empty() {
                return Err(Error::Conflict(message.to_owned()));
            }
        }
        let event = caller.event(self, operation, old.object());
        let set = ChangeSet::default().delete(RecordKey::new(kind::PROFILE, id), old.revision);
        let act = self.act(permit, vec![event]).await?;
        self.commit(act, set).await
    }

    pub(crate) async fn profile(&self, id: ProfileId) -> Result<Stored<Profile>, Error> {
        let found = self.records.find(kind::PROFILE, id).await?;
        found.ok_or(Error::NotFound(ObjectKind::Profile))
    }

    pub(crate) async fn profile_named(
        &self,
        identifier: &str,
    ) -> Result<Option<Stored<Profile>>, Error> {
        self.records
            .find_by(kind::PROFILE, IDENTIFIER, identifier)
            .await
    }

    /// All profiles of a target.
    pub(crate) async fn profiles_of(&self, target: &str) -> Result<Vec<Stored<Profile>>, Error> {
        let term = self.records.term(kind::PROFILE, PROFILE_TARGET, target);
        let query = Query::new(kind::PROFILE).with(term);
        self.records.list_all(&query).await
    }
}

/// What a provider lacks for profiles of this kind.
pub(crate) fn lacks(provider: Option<&dyn Provider>, kind: ProfileKind) -> Option<&'static str> {
    let Some(provider) = provider else {
        return Some("this program does not have the provider of the target");
    };
    let can = provider.capabilities();
    match kind {
        _ if !can.accounts => Some("its provider makes no accounts"),
        ProfileKind::Credential if !can.passwords => {
            Some("its provider makes no accounts with passwords")
        }
        ProfileKind::Cloud
            if !matches!(provider.keys(), Some(crate::provider::Keys::Issued(_))) =>
        {
            Some("its provider issues no access keys")
        }
        _ => None,
    }
}

fn write_profile(
    mut content: Profile,
    fields: ProfileFields,
    mut errors: Vec<FieldError>,
) -> Result<Profile, Error> {
    errors.extend(fields.wrong);
    for (field, given, there) in [
        (
            "creation_template",
            fields.creation_template,
            &mut content.creation_template,
        ),
        (
            "removal_template",
            fields.removal_template,
            &mut content.removal_template,
        ),
    ] {
        let Some(given) = given else { continue };
        match given.map(|text| template(&text)).transpose() {
            Ok(template) => *there = template,
            Err(message) => errors.push(FieldError::new(field, message)),
        }
    }
    for (field, of, given, there) in [
        (
            "roles",
            ProfileKind::Credential,
            fields.roles,
            &mut content.roles,
        ),
        (
            "policies",
            ProfileKind::Cloud,
            fields.policies,
            &mut content.policies,
        ),
    ] {
        let Some(given) = given else { continue };
        if of != content.kind && !given.is_empty() {
            let message = format!("only profiles of the kind {} have {field}", of.as_str());
            errors.push(FieldError::new(field, message));
        }
        errors.extend(check_names(of, &given).map(|message| FieldError::new(field, message)));
        *there = given;
    }
    if let Some(seconds) = fields.ttl_seconds {
        match Ttl::from_seconds(seconds) {
            Ok(ttl) => content.ttl = ttl,
            Err(error) => errors.push(FieldError::new("ttl_seconds", error.to_string())),
        }
    }
    content.enabled = fields.enabled.unwrap_or(content.enabled);
    check::finish(errors)?;
    Ok(content)
}

/// A template that says of which account it is.
fn template(text: &str) -> Result<Template, String> {
    let template: Template = text.parse().map_err(|error| format!("{error}"))?;
    if template.names(Tag::Username) {
        Ok(template)
    } else {
        Err("must name the account by [#USERNAME#]".to_owned())
    }
}

fn identifier_taken(error: Error) -> Error {
    match error {
        Error::Conflict(_) => Error::Conflict("there is a profile with this identifier".to_owned()),
        other => other,
    }
}
