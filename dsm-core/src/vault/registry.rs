//! Environments, systems, engines, application types and lines of business.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::act::Caller;
use super::act::changes;
use super::error::{Error, FieldError};
use super::record::{Entity, Listing, Stored, Terms};
use super::{Vault, application, check, kind};
use crate::access::{Application, Permission};
use crate::audit::{Event, ObjectKind, ObjectRef, Operation};
use crate::id::RegistryId;
use crate::store::{ChangeSet, Kind, Page, Query};

/// One of the lists of names that objects refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registry {
    /// Stages such as production.
    Environment,
    /// Systems that applications belong to.
    System,
    /// Tools that secrets are meant for.
    Engine,
    /// Kinds of applications.
    ApplicationType,
    /// Parts of the business.
    LineOfBusiness,
}

impl Registry {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Environment,
        Self::System,
        Self::Engine,
        Self::ApplicationType,
        Self::LineOfBusiness,
    ];

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Environment => kind::ENVIRONMENT,
            Self::System => kind::SYSTEM,
            Self::Engine => kind::ENGINE,
            Self::ApplicationType => kind::APPLICATION_TYPE,
            Self::LineOfBusiness => kind::LINE_OF_BUSINESS,
        }
    }

    /// What an entry is in the audit trail.
    pub fn object_kind(self) -> ObjectKind {
        match self {
            Self::Environment => ObjectKind::Environment,
            Self::System => ObjectKind::System,
            Self::Engine => ObjectKind::Engine,
            Self::ApplicationType => ObjectKind::ApplicationType,
            Self::LineOfBusiness => ObjectKind::LineOfBusiness,
        }
    }
}

/// A registered name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryEntry {
    /// In which list.
    pub registry: Registry,
    /// Unique in its list.
    pub name: String,
    /// Whether new objects may refer to it.
    pub enabled: bool,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl Entity for RegistryEntry {
    type Id = RegistryId;

    fn kind(&self) -> Kind {
        self.registry.kind()
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.unique("name", &self.name);
    }
}

/// What to write of an entry; `None` leaves a field as it is, or at its default.
#[derive(Debug, Clone, Default)]
pub struct RegistryPatch {
    /// Its name; required at creation.
    pub name: Option<String>,
    /// Default: enabled.
    pub enabled: Option<bool>,
    /// What it is for.
    pub description: Option<String>,
    /// What the caller found wrong in its own input: reported with what is found here, and nothing
    /// is written.
    pub wrong: Vec<FieldError>,
}

impl Vault {
    /// A page of a registry, newest first.
    pub async fn list_registry(
        &self,
        caller: &Caller,
        registry: Registry,
        page: Page,
    ) -> Result<Listing<Stored<RegistryEntry>>, Error> {
        self.view(
            caller,
            Permission::RegistriesView,
            Operation::ViewRegistry,
            None,
        )
        .await?;
        self.records.list(&Query::new(registry.kind()), page).await
    }

    /// One entry.
    pub async fn find_registry_entry(
        &self,
        caller: &Caller,
        registry: Registry,
        id: RegistryId,
    ) -> Result<Stored<RegistryEntry>, Error> {
        let operation = Operation::ViewRegistry;
        let object = ObjectRef::new(registry.object_kind(), id, "");
        self.view(caller, Permission::RegistriesView, operation, Some(object))
            .await?;
        self.registry_entry(registry, id).await
    }

    /// Registers a name; enabled.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub async fn create_registry_entry(
        &self,
        caller: &Caller,
        registry: Registry,
        name: &str,
        description: &str,
    ) -> Result<Stored<RegistryEntry>, Error> {
        let fields = RegistryPatch {
            name: Some(name.to_owned()),
            description: Some(description.to_owned()),
            ..RegistryPatch::default()
        };
        self.register(caller, registry, fields).await
    }

    /// Registers a name.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] naming every wrong field; [`Error::Conflict`] when the list has the name
    /// already.
    pub async fn register(
        &self,
        caller: &Caller,
        registry: Registry,
        fields: RegistryPatch,
    ) -> Result<Stored<RegistryEntry>, Error> {
        let operation = Operation::CreateRegistryEntry;
        let missing = fields.name.is_none();
        let name = fields.name.unwrap_or_default();
        let description = fields.description.unwrap_or_default();
        let object = ObjectRef::absent(registry.object_kind(), &name);
        let permit = self
            .permit(caller, Permission::RegistriesWrite, operation, Some(object))
            .await?;
        let mut errors = fields.wrong;
        if missing {
            errors.push(FieldError::new("name", "is required"));
        }
        check::name(&mut errors, "name", &name);
        check::description(&mut errors, "description", &description);
        check::finish(errors)?;
        if let Some(id) = self.made_before(caller).await? {
            return self.registry_entry(registry, id.into()).await;
        }
        let content = RegistryEntry {
            registry,
            name,
            enabled: fields.enabled.unwrap_or(true),
            description,
        };
        let entry = self.records.draft(content, &caller.operator.name).await?;
        let object = entry.object();
        let set = ChangeSet::default().create(self.records.encode(&entry));
        let set = self.remember(caller, entry.id.into(), set).await?;
        let event = caller.event(self, operation, object);
        let act = self.act(permit, vec![event]).await?;
        match self
            .commit_once(caller, act, set)
            .await
            .map_err(name_taken)?
        {
            Some(id) => self.registry_entry(registry, id.into()).await,
            None => Ok(entry),
        }
    }

    /// Renames, describes, enables or disables an entry. An application type or line of business
    /// that is disabled is taken off every application; enabling it does not put it back.
    pub async fn update_registry_entry(
        &self,
        caller: &Caller,
        registry: Registry,
        id: RegistryId,
        patch: RegistryPatch,
        expected: Option<u64>,
    ) -> Result<Stored<RegistryEntry>, Error> {
        let operation = Operation::UpdateRegistryEntry;
        let object = ObjectRef::new(registry.object_kind(), id, "");
        let permit = self
            .permit(caller, Permission::RegistriesWrite, operation, Some(object))
            .await?;
        let old = self.registry_entry(registry, id).await?;
        check::revision(expected, old.revision)?;
        let mut content = RegistryEntry::clone(&old);
        let mut errors = patch.wrong;
        if let Some(name) = patch.name {
            check::name(&mut errors, "name", &name);
            content.name = name;
        }
        if let Some(description) = patch.description {
            check::description(&mut errors, "description", &description);
            content.description = description;
        }
        content.enabled = patch.enabled.unwrap_or(content.enabled);
        check::finish(errors)?;
        if content == *old.content {
            drop(
                self.act(permit, vec![caller.event(self, operation, old.object())])
                    .await?,
            );
            return Ok(old);
        }
        let changes = changes(&*old.content, &content);
        let entry = self.records.revise(&old, content, &caller.operator.name);
        let mut set = ChangeSet::default().update(self.records.encode(&entry), old.revision);
        let mut events = vec![
            caller
                .event(self, operation, entry.object())
                .with_changes(changes),
        ];
        if old.enabled && !entry.enabled {
            self.take_off_applications(caller, registry, id, &mut set, &mut events)
                .await?;
        }
        let act = self.act(permit, events).await?;
        self.commit(act, set).await.map_err(name_taken)?;
        Ok(entry)
    }

    /// The entry with this name.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] naming `field` when there is none or it is disabled.
    pub(crate) async fn registered(
        &self,
        registry: Registry,
        field: &str,
        name: &str,
    ) -> Result<RegistryId, Error> {
        match self.registered_if(registry, name).await? {
            Some(entry) if entry.enabled => Ok(entry.id),
            Some(_) => Err(Error::invalid(field, "is disabled")),
            None => Err(Error::invalid(field, "is not registered")),
        }
    }

    /// The entry with this name, disabled or not: objects that refer to it are found by it still.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] naming `field` when there is none.
    pub(crate) async fn registered_ever(
        &self,
        registry: Registry,
        field: &str,
        name: &str,
    ) -> Result<RegistryId, Error> {
        match self.registered_if(registry, name).await? {
            Some(entry) => Ok(entry.id),
            None => Err(Error::invalid(field, "is not registered")),
        }
    }

    /// As [`registered`](Self::registered), adding what is wrong to `errors`.
    pub(crate) async fn registered_or(
        &self,
        errors: &mut Vec<FieldError>,
        registry: Registry,
        field: &str,
        name: &str,
    ) -> Result<Option<RegistryId>, Error> {
        match self.registered(registry, field, name).await {
            Ok(id) => Ok(Some(id)),
            Err(Error::Invalid(wrong)) => {
                errors.extend(wrong);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn registered_if(
        &self,
        registry: Registry,
        name: &str,
    ) -> Result<Option<Arc<Stored<RegistryEntry>>>, Error> {
        let term = self.records.term(registry.kind(), "name", name);
        self.records.cached_by(registry.kind(), term).await
    }

    /// The name of an entry, for output.
    pub async fn registry_name(&self, registry: Registry, id: RegistryId) -> Result<String, Error> {
        let entry = self
            .records
            .cached::<RegistryEntry>(registry.kind(), id)
            .await?;
        // Entries are never deleted, so only a damaged store lacks one.
        entry
            .map(|entry| entry.name.clone())
            .ok_or(Error::NotFound(registry.object_kind()))
    }

    async fn registry_entry(
        &self,
        registry: Registry,
        id: RegistryId,
    ) -> Result<Stored<RegistryEntry>, Error> {
        let found = self.records.find(registry.kind(), id).await?;
        found.ok_or(Error::NotFound(registry.object_kind()))
    }

    async fn take_off_applications(
        &self,
        caller: &Caller,
        registry: Registry,
        id: RegistryId,
        set: &mut ChangeSet,
        events: &mut Vec<Event>,
    ) -> Result<(), Error> {
        let field = match registry {
            Registry::ApplicationType => application::TYPE,
            Registry::LineOfBusiness => application::LINE,
            _ => return Ok(()),
        };
        let term = self
            .records
            .term(kind::APPLICATION, field, id.0.to_be_bytes());
        let query = Query::new(kind::APPLICATION).with(term);
        for old in self.records.list_all::<Application>(&query).await? {
            let mut content = Application::clone(&old);
            match registry {
                Registry::ApplicationType => content.application_type = None,
                _ => content.line_of_business = None,
            }
            let changes = changes(&*old.content, &content);
            let new = self.records.revise(&old, content, &caller.operator.name);
            let event = caller.event(self, Operation::UpdateApplication, new.object());
            events.push(event.with_changes(changes));
            *set = std::mem::take(set).update(self.records.encode(&new), old.revision);
        }
        Ok(())
    }
}

impl Stored<RegistryEntry> {
    pub(crate) fn object(&self) -> ObjectRef {
        ObjectRef::new(self.registry.object_kind(), self.id, &self.name)
    }
}

fn name_taken(error: Error) -> Error {
    match error {
        Error::Conflict(_) => Error::Conflict("the name is registered already".to_owned()),
        other => other,
    }
}

/// The engines that a new vault knows.
pub(crate) const ENGINES: [&str; 4] = ["Generic", "Ansible", "GitLab", "Kubernetes"];
