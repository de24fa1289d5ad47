//! Registrations of pipelines' variables.

use std::collections::BTreeMap;

use super::act::{Act, event};
use super::error::{Error, FieldError};
use super::record::Stored;
use super::secret::{IDENTITY, Revision, SecretFields};
use super::variable::Scope;
use super::writing::{actor_name, made_meanwhile};
use super::{Vault, kind};
use crate::access::{Action, Principal, Request, Resource};
use crate::audit::{Event, ObjectKind, ObjectRef, Operation};
use crate::id::{DeployId, SecretId};
use crate::pipeline::{Assignments, Deploy, MappedSecret, Mapping, Variable, review};
use crate::secret::{Secret, SecretText};
use crate::store::{ChangeSet, RecordKey};

/// How many variables are looked up at a time.
const AT_A_TIME: usize = 100;

/// What a pipeline registers.
#[derive(Debug, Default)]
pub struct VariableRegistration {
    /// Its variables.
    pub variables: Assignments,
    /// Which of them are secrets.
    pub mapping: Mapping,
}

/// What came of it.
#[derive(Debug)]
pub struct RegisteredVariables {
    /// The registration as it is kept.
    pub deploy: Stored<Deploy>,
}

/// What a registration will record and commit together.
#[derive(Default)]
struct Plan {
    set: ChangeSet,
    events: Vec<Event>,
    /// Secrets that are there already, with what is to be written of them.
    revisions: Vec<(Stored<Secret>, Revision)>,
    /// The secret of each variable that is mapped to one.
    mapped: BTreeMap<String, SecretId>,
    secrets: Vec<SecretId>,
}

impl Vault {
    /// Keeps a pipeline's variables for review and makes secrets of those that are mapped: new ones
    /// are attached to the calling authorization, its own get a version if they change. Everything
    /// happens in one commit or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] naming `map` or a field in it. [`Error::Denied`] of class `Forbidden` for
    /// a mapped secret that is not attached, and of class `Conflict` for one that is disabled or
    /// expired.
    pub async fn register_variables(
        &self,
        principal: &Principal,
        registration: VariableRegistration,
    ) -> Result<RegisteredVariables, Error> {
        let operation = Operation::RegisterVariables;
        let request = Request::new(Resource::CiCd, Action::WriteVariables);
        let object = ObjectRef::absent(ObjectKind::Deploy, "");
        let permit = self
            .decide(principal, request, operation, Some(object))
            .await?;
        let VariableRegistration { variables, mapping } = registration;
        let resolved = mapping.resolve(&variables).map_err(|faults| {
            let wrong = faults.into_iter().map(|fault| {
                let dot = if fault.field.is_empty() { "" } else { "." };
                FieldError::new(format!("map{dot}{}", fault.field), fault.message)
            });
            Error::Invalid(wrong.collect())
        })?;

        let by = actor_name(principal);
        let mut plan = Plan::default();
        for secret in resolved {
            self.plan_mapped(principal, &mut plan, secret).await?;
        }
        let authorization = principal.authorization();
        let scope = Scope {
            application: principal.application_id(),
            system: authorization.system,
            environment: authorization.environment,
        };
        let deploy = Deploy {
            application: scope.application,
            system: scope.system,
            environment: scope.environment,
            authorization: principal.authorization_id(),
            variables: variables.len(),
            secrets: std::mem::take(&mut plan.secrets),
        };
        let deploy = self.records.draft(deploy, &by).await?;
        let ip = principal.origin().ip;
        let event = event(
            self,
            principal.actor(),
            ip,
            operation,
            Some(deploy_object(deploy.id)),
        )
        .with_change("variables", &deploy.variables)
        .with_change("secrets", &deploy.secrets.len());
        plan.events.insert(0, event);

        let act = self.act(permit, std::mem::take(&mut plan.events)).await?;
        plan.set = std::mem::take(&mut plan.set).create(self.records.encode(&deploy));
        match self.plan_values(&act, scope, &variables, plan, &by).await {
            Ok(set) => self.commit(act, set).await.map_err(made_meanwhile)?,
            Err(error) => return Err(self.failed(&act, error).await),
        }
        Ok(RegisteredVariables { deploy })
    }

    /// Everything that is to be committed, once it is recorded so that values can be compared.
    async fn plan_values(
        &self,
        act: &Act,
        scope: Scope,
        variables: &Assignments,
        plan: Plan,
        by: &str,
    ) -> Result<ChangeSet, Error> {
        let mut set = plan.set;
        for (old, revision) in plan.revisions {
            if let Some((_, next)) = self.next_version(act, &old, revision, by).await? {
                set = set.and(next);
            }
        }
        self.plan_variables(act, scope, variables, &plan.mapped, by, set)
            .await
    }

    /// Decides on a secret that variables are mapped to and plans what becomes of it.
    async fn plan_mapped(
        &self,
        principal: &Principal,
        plan: &mut Plan,
        mapped: MappedSecret,
    ) -> Result<(), Error> {
        let identity = &mapped.identity;
        // From the store, not from the cache: a write builds on what is there.
        let found: Option<Stored<Secret>> = self
            .records
            .find_by(kind::SECRET, IDENTITY, identity.as_str())
            .await?;
        let target = self
            .target_of(principal.authorization_id(), found.as_ref())
            .await?;
        let request = Request::new(Resource::CiCd, Action::WriteSecret(target));
        let (operation, object) = if let Some(old) = &found {
            (Operation::UpdateSecret, old.object())
        } else {
            let absent = ObjectRef::absent(ObjectKind::Secret, identity.as_str());
            (Operation::CreateSecret, absent)
        };
        let permit = self
            .decide(principal, request, operation, Some(object.clone()))
            .await?;
        if let Some((id, at)) = permit.basis().attachment {
            plan.check_at(RecordKey::new(kind::ATTACHMENT, id), at);
        }
        drop(permit);
        let mut fields = SecretFields {
            data: mapped.data,
            ..SecretFields::default()
        };
        let id = if let Some(old) = found {
            let revision = self.check_fields(&old, fields).await.map_err(in_map)?;
            let ip = principal.origin().ip;
            let event = event(self, principal.actor(), ip, operation, Some(object));
            plan.events.push(event.with_changes(revision.changes(&old)));
            let id = old.id;
            plan.revisions.push((old, revision));
            id
        } else {
            fields.name = Some(identity.as_str().to_owned());
            let drafted = self.draft_own_secret(principal, identity, fields).await;
            let (draft, events) = drafted.map_err(in_map)?;
            plan.set = std::mem::take(&mut plan.set).and(draft.set);
            plan.events.extend(events);
            draft.stored.id
        };
        plan.secrets.push(id);
        let names = mapped.variables.into_iter().map(|name| (name, id));
        plan.mapped.extend(names);
        Ok(())
    }

    /// Adds what becomes of each variable: nothing where all is as it was.
    async fn plan_variables(
        &self,
        act: &Act,
        scope: Scope,
        variables: &Assignments,
        mapped: &BTreeMap<String, SecretId>,
        by: &str,
        mut set: ChangeSet,
    ) -> Result<ChangeSet, Error> {
        let all: Vec<(&str, &SecretText)> = variables.iter().collect();
        for some in all.chunks(AT_A_TIME) {
            let terms: Vec<_> = some
                .iter()
                .map(|(name, _)| self.place_term(scope, name))
                .collect();
            let there = self.records.find_each(kind::VARIABLE, &terms).await?;
            for ((name, value), old) in some.iter().zip(there) {
                let secret = mapped.get(*name).copied();
                let Some(old) = old else {
                    let new = self.new_variable(scope, name, value, secret, by).await?;
                    set = set.create(self.records.encode(&new));
                    continue;
                };
                if let Some(new) = self.changed_variable(act, &old, value, secret, by)? {
                    set = set.update(self.records.encode(&new), old.revision);
                }
            }
        }
        Ok(set)
    }

    async fn new_variable(
        &self,
        scope: Scope,
        name: &str,
        value: &SecretText,
        secret: Option<SecretId>,
        by: &str,
    ) -> Result<Stored<Variable>, Error> {
        let review = review(name, value.expose(), secret.is_some());
        let content = Variable {
            name: name.to_owned(),
            application: scope.application,
            system: scope.system,
            environment: scope.environment,
            status: review.status,
            sensitive: review.sensitive,
            enabled: true,
            secret,
            value_of: 1,
        };
        let mut new = self.records.draft(content, by).await?;
        new.sealed_value = Some(self.seal_variable(new.id, 1, value).into());
        Ok(new)
    }

    /// The next revision of a variable; none when all is as it was.
    fn changed_variable(
        &self,
        act: &Act,
        old: &Stored<Variable>,
        value: &SecretText,
        secret: Option<SecretId>,
        by: &str,
    ) -> Result<Option<Stored<Variable>>, Error> {
        let known = self.open_variable(act, old)? == *value;
        let review = review(&old.name, value.expose(), secret.is_some());
        let stays = old.status.is_manual() && secret.is_none();
        let revision = old.revision + 1;
        let content = Variable {
            status: if stays { old.status } else { review.status },
            sensitive: review.sensitive,
            secret,
            value_of: if known { old.value_of } else { revision },
            ..Variable::clone(old)
        };
        if content == *old.content {
            return Ok(None);
        }
        let mut new = self.records.revise(old, content, by);
        if !known {
            let sealed = self.seal_variable(new.id, revision, value);
            new.sealed_value = Some(sealed.into());
        }
        Ok(Some(new))
    }
}

impl Plan {
    fn check_at(&mut self, key: RecordKey, at: u64) {
        self.set = std::mem::take(&mut self.set).check_at(key, at);
    }
}

fn deploy_object(id: DeployId) -> ObjectRef {
    ObjectRef::new(ObjectKind::Deploy, id, "")
}

/// What is wrong with a secret is wrong with the map that makes it.
fn in_map(error: Error) -> Error {
    match error {
        Error::Invalid(wrong) => {
            let wrong = wrong
                .into_iter()
                .map(|wrong| FieldError::new("map", format!("{}: {}", wrong.field, wrong.message)));
            Error::Invalid(wrong.collect())
        }
        other => other,
    }
}
