//! Applications, as operators manage them.

use super::act::{Caller, changes};
use super::error::{Error, FieldError};
use super::record::{Entity, Listing, Stored, Terms};
use super::registry::Registry;
use super::{Vault, authorization, check, kind};
use crate::access::{Application, AuthenticationMethod, CredentialProfile, Permission};
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::aws;
use crate::id::{ApplicationId, RegistryId};
use crate::store::{ChangeSet, Kind, Page, Query, RecordKey};

pub(crate) const TYPE: &str = "application_type";
pub(crate) const LINE: &str = "line_of_business";
const TAG: &str = "tag";
const ENABLED: &str = "enabled";
const METHOD: &str = "authentication_method";

impl Entity for Application {
    type Id = ApplicationId;

    fn kind(&self) -> Kind {
        kind::APPLICATION
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.unique("name", &self.name);
        terms.plain(ENABLED, [u8::from(self.enabled)]);
        terms.plain(METHOD, method_name(self.authentication_method));
        if let Some(id) = self.application_type {
            terms.plain(TYPE, id.0.to_be_bytes());
        }
        if let Some(id) = self.line_of_business {
            terms.plain(LINE, id.0.to_be_bytes());
        }
        for tag in &self.tags {
            terms.plain(TAG, tag);
        }
    }
}

impl Stored<Application> {
    pub(crate) fn object(&self) -> ObjectRef {
        ObjectRef::new(ObjectKind::Application, self.id, &self.name)
    }
}

/// What to write of an application; `None` leaves a field as it is, or at its default.
#[derive(Debug, Clone, Default)]
pub struct ApplicationFields {
    /// Required at creation.
    pub name: Option<String>,
    /// Required at creation; never changes after.
    pub authentication_method: Option<AuthenticationMethod>,
    /// Default: enabled.
    pub enabled: Option<bool>,
    /// A registered name, or none.
    pub line_of_business: Option<Option<String>>,
    /// A registered name, or none.
    pub application_type: Option<Option<String>>,
    /// Free labels.
    pub tags: Option<Vec<String>>,
    /// For people.
    pub description: Option<Option<String>>,
    /// Principals of AWS, wildcards allowed.
    pub aws_arns: Option<Vec<String>>,
    /// Default: off.
    pub automatic_provisioning: Option<bool>,
    /// Profiles of cloud accounts.
    pub cloud_profiles: Option<Vec<String>>,
    /// Profiles of credentials.
    pub credential_profiles: Option<Vec<CredentialProfile>>,
    /// What the caller found wrong in its own input: reported with what is found here, and nothing
    /// is written.
    pub wrong: Vec<FieldError>,
}

impl ApplicationFields {
    /// A new application with OAuth 2.0.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            authentication_method: Some(AuthenticationMethod::OAuth2),
            ..Self::default()
        }
    }
}

/// Which applications to list.
#[derive(Debug, Clone, Default)]
pub struct ApplicationFilter {
    /// With exactly this name.
    pub name: Option<String>,
    /// Enabled or disabled ones.
    pub enabled: Option<bool>,
    /// With this method.
    pub authentication_method: Option<AuthenticationMethod>,
    /// Of this registered type.
    pub application_type: Option<String>,
    /// Of this registered line.
    pub line_of_business: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
}

impl Vault {
    /// A page of applications, newest first.
    pub async fn list_applications(
        &self,
        caller: &Caller,
        filter: ApplicationFilter,
        page: Page,
    ) -> Result<Listing<Stored<Application>>, Error> {
        self.view(
            caller,
            Permission::ApplicationsView,
            Operation::ViewApplication,
            None,
        )
        .await?;
        let term = |field, value: &[u8]| self.records.term(kind::APPLICATION, field, value);
        let mut query = Query::new(kind::APPLICATION);
        if let Some(name) = filter.name {
            query = query.with(term("name", name.as_bytes()));
        }
        if let Some(enabled) = filter.enabled {
            query = query.with(term(ENABLED, &[u8::from(enabled)]));
        }
        if let Some(method) = filter.authentication_method {
            query = query.with(term(METHOD, method_name(method).as_bytes()));
        }
        if let Some(tag) = filter.tag {
            query = query.with(term(TAG, tag.as_bytes()));
        }
        for (registry, field, name) in [
            (Registry::ApplicationType, TYPE, filter.application_type),
            (Registry::LineOfBusiness, LINE, filter.line_of_business),
        ] {
            if let Some(name) = name {
                let id = self.registered_ever(registry, field, &name).await?;
                query = query.with(term(field, &id.0.to_be_bytes()));
            }
        }
        self.records.list(&query, page).await
    }

    /// One application.
    pub async fn find_application(
        &self,
        caller: &Caller,
        id: ApplicationId,
    ) -> Result<Stored<Application>, Error> {
        let object = ObjectRef::new(ObjectKind::Application, id, "");
        let operation = Operation::ViewApplication;
        self.view(
            caller,
            Permission::ApplicationsView,
            operation,
            Some(object),
        )
        .await?;
        self.application(id).await
    }

    /// Makes an application.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] naming every wrong or missing field; [`Error::Conflict`] when the name is
    /// taken.
    pub async fn create_application(
        &self,
        caller: &Caller,
        fields: ApplicationFields,
    ) -> Result<Stored<Application>, Error> {
        let operation = Operation::CreateApplication;
        let name = fields.name.clone().unwrap_or_default();
        let object = ObjectRef::absent(ObjectKind::Application, &name);
        let permit = self
            .permit(
                caller,
                Permission::ApplicationsWrite,
                operation,
                Some(object),
            )
            .await?;
        if let Some(id) = self.made_before(caller).await? {
            return self.application(id.into()).await;
        }
        let content = self.new_application(fields).await?;
        let application = self.records.draft(content, &caller.operator.name).await?;
        let set = ChangeSet::default().create(self.records.encode(&application));
        let set = self.remember(caller, application.id.into(), set).await?;
        let event = caller.event(self, operation, application.object());
        let act = self.act(permit, vec![event]).await?;
        match self
            .commit_once(caller, act, set)
            .await
            .map_err(name_taken)?
        {
            Some(id) => self.application(id.into()).await,
            None => Ok(application),
        }
    }

    /// Changes an application.
    pub async fn update_application(
        &self,
        caller: &Caller,
        id: ApplicationId,
        fields: ApplicationFields,
        expected: Option<u64>,
    ) -> Result<Stored<Application>, Error> {
        let operation = Operation::UpdateApplication;
        let object = ObjectRef::new(ObjectKind::Application, id, "");
        let permit = self
            .permit(
                caller,
                Permission::ApplicationsWrite,
                operation,
                Some(object),
            )
            .await?;
        let old = self.application(id).await?;
        check::revision(expected, old.revision)?;
        let content = self.changed_application(&old, fields).await?;
        if content == *old.content {
            drop(
                self.act(permit, vec![caller.event(self, operation, old.object())])
                    .await?,
            );
            return Ok(old);
        }
        let event = changes(&*old.content, &content);
        let new = self.records.revise(&old, content, &caller.operator.name);
        let event = caller
            .event(self, operation, new.object())
            .with_changes(event);
        let set = ChangeSet::default().update(self.records.encode(&new), old.revision);
        let act = self.act(permit, vec![event]).await?;
        self.commit(act, set).await.map_err(name_taken)?;
        Ok(new)
    }

    /// Deletes an application that has no authorization.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] while it has one, revoked ones included: they name it in the trail.
    pub async fn delete_application(
        &self,
        caller: &Caller,
        id: ApplicationId,
        expected: Option<u64>,
    ) -> Result<(), Error> {
        let operation = Operation::DeleteApplication;
        let object = ObjectRef::new(ObjectKind::Application, id, "");
        let permit = self
            .permit(
                caller,
                Permission::ApplicationsWrite,
                operation,
                Some(object),
            )
            .await?;
        let old = self.application(id).await?;
        check::revision(expected, old.revision)?;
        let term = self.records.term(
            kind::AUTHORIZATION,
            authorization::APPLICATION,
            id.0.to_be_bytes(),
        );
        let query = Query::new(kind::AUTHORIZATION).with(term);
        let first = self.records.store.list(&query, Page::first(1)).await?;
        if !first.records.is_empty() {
            let message = "the application has authorizations; revoke and delete them first";
            return Err(Error::Conflict(message.to_owned()));
        }
        let set = ChangeSet::default().delete(RecordKey::new(kind::APPLICATION, id), old.revision);
        let act = self
            .act(permit, vec![caller.event(self, operation, old.object())])
            .await?;
        self.commit(act, set).await
    }

    /// The name of an application, for output.
    pub async fn application_name(&self, id: ApplicationId) -> Result<String, Error> {
        let found = self
            .records
            .cached::<Application>(kind::APPLICATION, id)
            .await?;
        found
            .map(|application| application.name.clone())
            .ok_or(Error::NotFound(ObjectKind::Application))
    }

    pub(crate) async fn application(
        &self,
        id: ApplicationId,
    ) -> Result<Stored<Application>, Error> {
        let found = self.records.find(kind::APPLICATION, id).await?;
        found.ok_or(Error::NotFound(ObjectKind::Application))
    }

    /// The content of a new application, checked.
    pub(crate) async fn new_application(
        &self,
        mut fields: ApplicationFields,
    ) -> Result<Application, Error> {
        let mut errors = std::mem::take(&mut fields.wrong);
        if fields.name.is_none() {
            errors.push(FieldError::new("name", "is required"));
        }
        if fields.authentication_method.is_none() {
            errors.push(FieldError::new("authentication_method", "is required"));
        }
        let blank = Application {
            name: String::new(),
            authentication_method: AuthenticationMethod::OAuth2,
            line_of_business: None,
            application_type: None,
            enabled: true,
            tags: Vec::new(),
            description: None,
            aws_arns: Vec::new(),
            automatic_provisioning: false,
            cloud_profiles: Vec::new(),
            credential_profiles: Vec::new(),
        };
        let content = self.write_application(blank, fields, &mut errors).await?;
        check::finish(errors)?;
        Ok(content)
    }

    /// The content of an application with `fields` changed, checked.
    pub(crate) async fn changed_application(
        &self,
        old: &Application,
        mut fields: ApplicationFields,
    ) -> Result<Application, Error> {
        let mut errors = std::mem::take(&mut fields.wrong);
        if fields
            .authentication_method
            .is_some_and(|method| method != old.authentication_method)
        {
            errors.push(FieldError::new(
                "authentication_method",
                "cannot be changed",
            ));
        }
        let content = self
            .write_application(old.clone(), fields, &mut errors)
            .await?;
        check::finish(errors)?;
        Ok(content)
    }

    async fn write_application(
        &self,
        mut content: Application,
        fields: ApplicationFields,
        errors: &mut Vec<FieldError>,
    ) -> Result<Application, Error> {
        if let Some(name) = fields.name {
            check::name(errors, "name", &name);
            content.name = name;
        }
        content.authentication_method = fields
            .authentication_method
            .unwrap_or(content.authentication_method);
        content.enabled = fields.enabled.unwrap_or(content.enabled);
        if let Some(name) = fields.line_of_business {
            content.line_of_business = self
                .reference(errors, Registry::LineOfBusiness, LINE, name)
                .await?;
        }
        if let Some(name) = fields.application_type {
            content.application_type = self
                .reference(errors, Registry::ApplicationType, TYPE, name)
                .await?;
        }
        if let Some(tags) = fields.tags {
            check::tags(errors, "tags", &tags);
            content.tags = tags;
        }
        if let Some(description) = fields.description {
            check::description(
                errors,
                "description",
                description.as_deref().unwrap_or_default(),
            );
            content.description = description;
        }
        if let Some(arns) = fields.aws_arns {
            if !arns.iter().all(|arn| aws::is_pattern(arn)) {
                let message = "must be ARNs: arn:partition:service:region:account-id:resource";
                errors.push(FieldError::new("aws_arns", message));
            }
            content.aws_arns = arns;
        }
        content.automatic_provisioning = fields
            .automatic_provisioning
            .unwrap_or(content.automatic_provisioning);
        if let Some(profiles) = fields.cloud_profiles {
            for profile in &profiles {
                check::name(errors, "cloud_profiles", profile);
            }
            content.cloud_profiles = profiles;
        }
        if let Some(profiles) = fields.credential_profiles {
            for profile in &profiles {
                check::name(errors, "credential_profiles", &profile.device);
                check::name(errors, "credential_profiles", &profile.profile);
            }
            content.credential_profiles = profiles;
        }
        Ok(content)
    }

    async fn reference(
        &self,
        errors: &mut Vec<FieldError>,
        registry: Registry,
        field: &str,
        name: Option<String>,
    ) -> Result<Option<RegistryId>, Error> {
        match name {
            Some(name) => self.registered_or(errors, registry, field, &name).await,
            None => Ok(None),
        }
    }
}

fn method_name(method: AuthenticationMethod) -> &'static str {
    match method {
        AuthenticationMethod::OAuth2 => "oauth2",
        AuthenticationMethod::OAuth1 => "oauth1",
        AuthenticationMethod::Aws => "aws",
    }
}

pub(crate) fn name_taken(error: Error) -> Error {
    match error {
        Error::Conflict(_) => Error::Conflict("there is an application with this name".to_owned()),
        other => other,
    }
}
