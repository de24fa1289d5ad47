//! Variables of pipelines and deploys, as operators see them.

use super::act::{Act, Caller, changes};
use super::error::{Error, FieldError};
use super::record::{Entity, Listing, Stored, Terms};
use super::registry::Registry;
use super::{Vault, check, kind};
use crate::access::Permission;
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::crypto::{Context, CryptoError, Sealer};
use crate::id::{ApplicationId, DeployId, RegistryId, VariableId};
use crate::pipeline::{Deploy, ReviewStatus, Variable};
use crate::secret::SecretText;
use crate::store::{ChangeSet, Kind, Page, Query, RecordKey, Term};

const APPLICATION: &str = "application";
const SYSTEM: &str = "system";
const ENVIRONMENT: &str = "environment";
const PLACE: &str = "place";
const STATUS: &str = "status";
const SENSITIVE: &str = "sensitive";

impl Entity for Variable {
    type Id = VariableId;

    fn kind(&self) -> Kind {
        kind::VARIABLE
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        let scope = Scope {
            application: self.application,
            system: self.system,
            environment: self.environment,
        };
        terms.unique(PLACE, scope.place(&self.name));
        scope.terms(terms);
        terms.plain(STATUS, self.status.as_str());
        terms.plain(SENSITIVE, [u8::from(self.sensitive)]);
    }
}

impl Entity for Deploy {
    type Id = DeployId;

    fn kind(&self) -> Kind {
        kind::DEPLOY
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        let scope = Scope {
            application: self.application,
            system: self.system,
            environment: self.environment,
        };
        scope.terms(terms);
    }
}

/// Whose pipeline: names of variables are unique within it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    pub(crate) application: ApplicationId,
    pub(crate) system: RegistryId,
    pub(crate) environment: RegistryId,
}

impl Scope {
    fn place(&self, name: &str) -> Vec<u8> {
        let ids = [self.application.0, self.system.0, self.environment.0];
        let ids = ids.map(u64::to_be_bytes);
        [ids.as_flattened(), name.as_bytes()].concat()
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.plain(APPLICATION, self.application.0.to_be_bytes());
        terms.plain(SYSTEM, self.system.0.to_be_bytes());
        terms.plain(ENVIRONMENT, self.environment.0.to_be_bytes());
    }
}

impl Stored<Variable> {
    pub(crate) fn object(&self) -> ObjectRef {
        ObjectRef::new(ObjectKind::Variable, self.id, &self.name)
    }
}

/// Which variables or deploys to list.
#[derive(Debug, Clone, Default)]
pub struct VariableFilter {
    /// Of this application.
    pub application: Option<ApplicationId>,
    /// Of this registered system.
    pub system: Option<String>,
    /// Of this registered environment.
    pub environment: Option<String>,
    /// Of this status; deploys have none.
    pub status: Option<ReviewStatus>,
    /// That look like a secret or do not; deploys do neither.
    pub sensitive: Option<bool>,
}

/// What to write of a variable; `None` leaves a field as it is.
#[derive(Debug, Default)]
pub struct VariablePatch {
    /// What an operator thinks of it: a manual status.
    pub status: Option<ReviewStatus>,
    /// Whether it still counts.
    pub enabled: Option<bool>,
    /// What the caller found wrong in its own input: reported with what is found here, and nothing
    /// is written.
    pub wrong: Vec<FieldError>,
}

impl Vault {
    /// A page of variables without their values, newest first.
    pub async fn list_variables(
        &self,
        caller: &Caller,
        filter: VariableFilter,
        page: Page,
    ) -> Result<Listing<Stored<Variable>>, Error> {
        let (permission, operation) = (Permission::VariablesView, Operation::ViewVariable);
        self.view(caller, permission, operation, None).await?;
        let query = self.variable_query(kind::VARIABLE, filter).await?;
        self.records.list(&query, page).await
    }

    /// A page of deploys, newest first.
    pub async fn list_deploys(
        &self,
        caller: &Caller,
        filter: VariableFilter,
        page: Page,
    ) -> Result<Listing<Stored<Deploy>>, Error> {
        let (permission, operation) = (Permission::VariablesView, Operation::ViewDeploy);
        self.view(caller, permission, operation, None).await?;
        let query = self.variable_query(kind::DEPLOY, filter).await?;
        self.records.list(&query, page).await
    }

    /// One variable without its value.
    pub async fn find_variable(
        &self,
        caller: &Caller,
        id: VariableId,
    ) -> Result<Stored<Variable>, Error> {
        let object = Some(ObjectRef::new(ObjectKind::Variable, id, ""));
        let (permission, operation) = (Permission::VariablesView, Operation::ViewVariable);
        self.view(caller, permission, operation, object).await?;
        self.variable(id).await
    }

    /// Says what an operator thinks of a variable.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a status that only the rules give.
    pub async fn review_variable(
        &self,
        caller: &Caller,
        id: VariableId,
        patch: VariablePatch,
        expected: Option<u64>,
    ) -> Result<Stored<Variable>, Error> {
        let operation = Operation::ReviewVariable;
        let object = ObjectRef::new(ObjectKind::Variable, id, "");
        let permission = Permission::VariablesWrite;
        let permit = self
            .permit(caller, permission, operation, Some(object))
            .await?;
        let old = self.variable(id).await?;
        check::revision(expected, old.revision)?;
        let mut errors = patch.wrong;
        if patch.status.is_some_and(|status| !status.is_manual()) {
            let message = "must be approved_manually or rejected_manually";
            errors.push(FieldError::new(STATUS, message));
        }
        check::finish(errors)?;
        let content = Variable {
            status: patch.status.unwrap_or(old.status),
            enabled: patch.enabled.unwrap_or(old.enabled),
            ..Variable::clone(&old)
        };
        let event = caller.event(self, operation, old.object());
        if content == *old.content {
            drop(self.act(permit, vec![event]).await?);
            return Ok(old);
        }
        let event = event.with_changes(changes(&*old.content, &content));
        let new = self.records.revise(&old, content, &caller.operator.name);
        let set = ChangeSet::default().update(self.records.encode(&new), old.revision);
        let act = self.act(permit, vec![event]).await?;
        self.commit(act, set).await?;
        Ok(new)
    }

    /// Gives an operator the value of a variable.
    pub async fn reveal_variable(
        &self,
        caller: &Caller,
        id: VariableId,
    ) -> Result<(Stored<Variable>, SecretText), Error> {
        let operation = Operation::RevealVariable;
        let object = ObjectRef::new(ObjectKind::Variable, id, "");
        let permission = Permission::VariablesReveal;
        let permit = self
            .permit(caller, permission, operation, Some(object))
            .await?;
        let variable = self.variable(id).await?;
        let event = caller.event(self, operation, variable.object());
        let act = self.act(permit, vec![event]).await?;
        match self.open_variable(&act, &variable) {
            Ok(value) => Ok((variable, value)),
            Err(error) => Err(self.failed(&act, error).await),
        }
    }

    /// Destroys a variable with its value. A pipeline that still has it registers it anew.
    pub async fn delete_variable(
        &self,
        caller: &Caller,
        id: VariableId,
        expected: Option<u64>,
    ) -> Result<(), Error> {
        let operation = Operation::DeleteVariable;
        let object = ObjectRef::new(ObjectKind::Variable, id, "");
        let permission = Permission::VariablesWrite;
        let permit = self
            .permit(caller, permission, operation, Some(object))
            .await?;
        let old = self.variable(id).await?;
        check::revision(expected, old.revision)?;
        let set = ChangeSet::default().delete(RecordKey::new(kind::VARIABLE, id), old.revision);
        let event = caller.event(self, operation, old.object());
        let act = self.act(permit, vec![event]).await?;
        self.commit(act, set).await
    }

    async fn variable(&self, id: VariableId) -> Result<Stored<Variable>, Error> {
        let found = self.records.find(kind::VARIABLE, id).await?;
        found.ok_or(Error::NotFound(ObjectKind::Variable))
    }

    async fn variable_query(&self, kind: Kind, filter: VariableFilter) -> Result<Query, Error> {
        let term = |field, value: &[u8]| self.records.term(kind, field, value);
        let mut query = Query::new(kind);
        if let Some(id) = filter.application {
            query = query.with(term(APPLICATION, &id.0.to_be_bytes()));
        }
        for (registry, field, name) in [
            (Registry::System, SYSTEM, filter.system),
            (Registry::Environment, ENVIRONMENT, filter.environment),
        ] {
            if let Some(name) = name {
                let id = self.registered_ever(registry, field, &name).await?;
                query = query.with(term(field, &id.0.to_be_bytes()));
            }
        }
        if let Some(status) = filter.status {
            query = query.with(term(STATUS, status.as_str().as_bytes()));
        }
        if let Some(sensitive) = filter.sensitive {
            query = query.with(term(SENSITIVE, &[u8::from(sensitive)]));
        }
        Ok(query)
    }

    pub(crate) fn place_term(&self, scope: Scope, name: &str) -> Term {
        self.records.term(kind::VARIABLE, PLACE, scope.place(name))
    }

    /// Seals the value that a revision of a variable brings.
    pub(crate) fn seal_variable(
        &self,
        id: VariableId,
        revision: u64,
        value: &SecretText,
    ) -> Vec<u8> {
        let sealer = &self.records.sealer;
        let context = variable_place(sealer, id).bind(revision);
        sealer.seal(&context, value.expose().as_bytes())
    }

    /// Opens the value of a variable once what it is opened for is recorded.
    pub(crate) fn open_variable(
        &self,
        act: &Act,
        variable: &Stored<Variable>,
    ) -> Result<SecretText, Error> {
        debug_assert!(act.receipt().allowed(), "an act is allowed");
        let key = RecordKey::new(kind::VARIABLE, variable.id);
        let damaged = |error| Error::damaged(key, error);
        let sealed = variable.sealed_value.as_deref();
        let sealed = sealed.ok_or_else(|| damaged(CryptoError::UnsupportedFormat))?;
        let sealer = &self.records.sealer;
        let context = variable_place(sealer, variable.id).bind(variable.value_of);
        let opened = sealer.open(&context, sealed).map_err(damaged)?;
        let text = std::str::from_utf8(&opened);
        let text = text.map_err(|_| damaged(CryptoError::UnsupportedFormat))?;
        Ok(SecretText::new(text))
    }
}

/// The context of a variable's value without the part that changes with it.
pub(crate) fn variable_place(sealer: &Sealer, id: VariableId) -> Context {
    sealer.context("variable value", kind::VARIABLE.0, id.0)
}
