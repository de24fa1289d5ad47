//! Applications that register themselves and find or make their authorizations.

use super::act::{changes, event};
use super::application::ApplicationFields;
use super::authorization::{self, AuthorizationFields, NewAuthorization};
use super::client::Credentials;
use super::error::{Error, FieldError};
use super::provisioning::items_of;
use super::record::Stored;
use super::registry::{Registry, RegistryEntry};
use super::rotation::{Timer, renewal_job};
use super::secret::SecretFields;
use super::writing::{actor_name, made_meanwhile};
use super::{Vault, check, kind};
use crate::access::{
    Action, Application, ApplicationTarget, AuthenticationMethod, Authorization,
    AuthorizationTarget, Denial, Principal, Request, Resource, Rule, SealingFormat,
};
use crate::audit::{Event, ObjectKind, ObjectRef, Operation};
use crate::id::{ApplicationId, RegistryId};
use crate::secret::{SecretData, SecretText};
use crate::store::{ChangeSet, Job, Query};

/// What a client registers.
#[derive(Debug, Default)]
pub struct Registration {
    /// The application, by its name, and what to write of it.
    pub application: ApplicationFields,
    /// The authorization to make if none is found: `None` is taken over from the caller's.
    pub authorization: AuthorizationFields,
}

/// What came of it.
#[derive(Debug)]
pub struct Registered {
    /// The application.
    pub application: Stored<Application>,
    /// Whether it was made.
    pub application_created: bool,
    /// The authorization.
    pub authorization: Stored<Authorization>,
    /// Whether it was made.
    pub authorization_created: bool,
    /// Its credentials, by the method of the application.
    pub credentials: Credentials,
    /// The private key of a pair that was made with it, where the vault keeps none: this is the only
    /// time that it is given.
    pub private_key: Option<SecretText>,
}

impl Vault {
    /// Makes or changes an application and finds or makes its authorization: by its unique key if
    /// one is given, else the newest active one of the system and environment.
    ///
    /// Security fields that are not given are those of the caller's authorization; given ones may
    /// not be wider. Credentials are given of the caller's own authorization and of those that it
    /// made, and of no other.
    pub async fn register_application(
        &self,
        principal: &Principal,
        registration: Registration,
    ) -> Result<Registered, Error> {
        let Registration {
            application: mut fields,
            authorization: mut wanted,
        } = registration;
        let name = fields.name.clone().unwrap_or_default();
        let found: Option<Stored<Application>> = self
            .records
            .find_by(kind::APPLICATION, "name", &name)
            .await?;
        let key = wanted.unique_key.clone().flatten();
        let named = found.as_ref().map(|application| application.id);
        let matched = self.matching(named, &wanted, key.as_deref()).await?;
        // An authorization that only the key found may be of another application: whose it is
        // decides like everything else, so that a key of others is refused and no more.
        let target = match named.or(matched.as_ref().map(|matched| matched.application)) {
            Some(id) => Some(ApplicationTarget {
                id,
                made_by_caller: self.made_any(principal, id).await?,
                authorization: matched.as_ref().map(|authorization| AuthorizationTarget {
                    id: authorization.id,
                    created_by: authorization.created_by_authorization,
                }),
            }),
            None => None,
        };
        let object = found.as_ref().map_or_else(
            || ObjectRef::absent(ObjectKind::Application, &name),
            Stored::<Application>::object,
        );
        let operation = if found.is_some() {
            Operation::UpdateApplication
        } else {
            Operation::CreateApplication
        };
        let request = Request::new(Resource::Application, Action::WriteApplication(target));
        let permit = self
            .decide(principal, request, operation, Some(object))
            .await?;

        let mut errors = Vec::new();
        check::name(&mut errors, "application", &name);
        if matched
            .as_ref()
            .is_some_and(|matched| Some(matched.application) != named)
        {
            let message = "belongs to an authorization of another application";
            errors.push(FieldError::new("unique_key", message));
        }
        if matched.is_none() {
            for (field, missing) in [
                ("system", wanted.system.is_none()),
                ("environment", wanted.environment.is_none()),
            ] {
                if missing {
                    errors.push(FieldError::new(field, "is required"));
                }
            }
        }
        check::finish(errors)?;

        let by = actor_name(principal);
        let mut plan = Plan::new(&by);
        self.auto_register(principal, &mut plan, &fields, &wanted, matched.is_none())
            .await?;
        let registered = plan.registered();
        let (application, application_created) = match found {
            Some(old) => {
                keep_managed(&old, &mut fields)?;
                (
                    self.plan_change(principal, &mut plan, old, fields, &registered)
                        .await?,
                    false,
                )
            }
            None => (
                self.plan_creation(principal, &mut plan, fields, &registered)
                    .await?,
                true,
            ),
        };
        let (authorization, new) = if let Some(authorization) = matched {
            (authorization, None)
        } else {
            let made = self
                .plan_authorization(principal, &mut plan, &application, &mut wanted, &registered)
                .await?;
            self.plan_provisioning(principal, &mut plan, &application, &made.authorization)
                .await?;
            (made.authorization.clone(), Some(made))
        };
        let object = Some(authorization.object());
        let ip = principal.origin().ip;
        let reveal = event(
            self,
            principal.actor(),
            ip,
            Operation::RevealCredentials,
            object,
        );
        let authorization_created = new.is_some();
        let mut private_key = None;
        let credentials = if let Some(made) = new {
            plan.events.push(reveal);
            let act = self.act(permit, plan.events).await?;
            self.commit(act, plan.set).await.map_err(made_meanwhile)?;
            private_key = made.key.and_then(|key| key.handed_out);
            made.client.credentials
        } else {
            let client = self.newest_client(authorization.id).await?;
            plan.events.push(reveal);
            let act = self.act(permit, plan.events).await?;
            let credentials = self.open_credentials(&act, &authorization, &client)?;
            if !plan.set.is_empty() {
                self.commit(act, plan.set).await.map_err(made_meanwhile)?;
            }
            credentials
        };
        Ok(Registered {
            application,
            application_created,
            authorization,
            authorization_created,
            credentials,
            private_key,
        })
    }

    /// The authorization that a registration names, if there is one.
    async fn matching(
        &self,
        application: Option<ApplicationId>,
        wanted: &AuthorizationFields,
        key: Option<&str>,
    ) -> Result<Option<Stored<Authorization>>, Error> {
        if let Some(key) = key {
            return self
                .records
                .find_by(kind::AUTHORIZATION, "unique_key", key)
                .await;
        }
        let Some(application) = application else {
            return Ok(None);
        };
        let (Some(system), Some(environment)) = (&wanted.system, &wanted.environment) else {
            return Ok(None);
        };
        let system = self.registered_if(Registry::System, system).await?;
        let environment = self
            .registered_if(Registry::Environment, environment)
            .await?;
        let (Some(system), Some(environment)) = (system, environment) else {
            return Ok(None);
        };
        let term = |field, id: u64| {
            self.records
                .term(kind::AUTHORIZATION, field, id.to_be_bytes())
        };
        let query = Query::new(kind::AUTHORIZATION)
            .with(term(authorization::APPLICATION, application.0))
            .with(term(authorization::SYSTEM, system.id.0))
            .with(term(authorization::ENVIRONMENT, environment.id.0));
        let now = self.clock.now();
        let all = self.records.list_all::<Authorization>(&query).await?;
        Ok(all.into_iter().find(|found| found.is_in_force(now)))
    }

    async fn made_any(&self, principal: &Principal, id: ApplicationId) -> Result<bool, Error> {
        let term = |field, id: u64| {
            self.records
                .term(kind::AUTHORIZATION, field, id.to_be_bytes())
        };
        let query = Query::new(kind::AUTHORIZATION)
            .with(term(authorization::APPLICATION, id.0))
            .with(term(authorization::MADE_BY, principal.authorization_id().0));
        let found = self
            .records
            .store
            .list(&query, crate::store::Page::first(1))
            .await?;
        Ok(!found.records.is_empty())
    }

    /// Plans entries for names that are not registered yet, where that is configured.
    async fn auto_register(
        &self,
        principal: &Principal,
        plan: &mut Plan<'_>,
        fields: &ApplicationFields,
        wanted: &AuthorizationFields,
        with_authorization: bool,
    ) -> Result<(), Error> {
        let mut names = vec![
            (
                Registry::LineOfBusiness,
                fields.line_of_business.clone().flatten(),
            ),
            (
                Registry::ApplicationType,
                fields.application_type.clone().flatten(),
            ),
        ];
        if with_authorization {
            names.push((Registry::System, wanted.system.clone()));
            names.push((Registry::Environment, wanted.environment.clone()));
        }
        for (registry, name) in names {
            let Some(name) = name else { continue };
            if !self.options.auto_register || self.registered_if(registry, &name).await?.is_some() {
                continue;
            }
            let mut errors = Vec::new();
            check::name(&mut errors, field_of(registry), &name);
            check::finish(errors)?;
            let entry = RegistryEntry {
                registry,
                name,
                enabled: true,
                description: String::new(),
            };
            let entry = self.records.draft(entry, plan.by).await?;
            let operation = Operation::CreateRegistryEntry;
            plan.push(self.own_event(principal, operation, entry.object()));
            plan.change(|set| set.create(self.records.encode(&entry)));
            plan.entries.push(entry);
        }
        Ok(())
    }

    async fn plan_creation(
        &self,
        principal: &Principal,
        plan: &mut Plan<'_>,
        mut fields: ApplicationFields,
        registered: &Entries,
    ) -> Result<Stored<Application>, Error> {
        fields
            .authentication_method
            .get_or_insert(AuthenticationMethod::OAuth2);
        let (line, kind) = registered.take_from(&mut fields);
        let mut content = self.new_application(fields).await?;
        content.line_of_business = line.or(content.line_of_business);
        content.application_type = kind.or(content.application_type);
        let application = self.records.draft(content, plan.by).await?;
        plan.push(self.own_event(
            principal,
            Operation::CreateApplication,
            application.object(),
        ));
        plan.change(|set| set.create(self.records.encode(&application)));
        Ok(application)
    }

    async fn plan_change(
        &self,
        principal: &Principal,
        plan: &mut Plan<'_>,
        old: Stored<Application>,
        mut fields: ApplicationFields,
        registered: &Entries,
    ) -> Result<Stored<Application>, Error> {
        let (line, kind) = registered.take_from(&mut fields);
        let mut content = self.changed_application(&old, fields).await?;
        content.line_of_business = line.or(content.line_of_business);
        content.application_type = kind.or(content.application_type);
        if content == *old.content {
            return Ok(old);
        }
        let changed = changes(&*old.content, &content);
        let new = self.records.revise(&old, content, plan.by);
        let event = self.own_event(principal, Operation::UpdateApplication, new.object());
        plan.push(event.with_changes(changed));
        plan.change(|set| set.update(self.records.encode(&new), old.revision));
        Ok(new)
    }

    async fn plan_authorization(
        &self,
        principal: &Principal,
        plan: &mut Plan<'_>,
        application: &Stored<Application>,
        wanted: &mut AuthorizationFields,
        registered: &Entries,
    ) -> Result<NewAuthorization, Error> {
        let own = principal.authorization();
        let system = registered.find(Registry::System, wanted.system.as_deref());
        let environment = registered.find(Registry::Environment, wanted.environment.as_deref());
        if system.is_some() {
            wanted.system = None;
        }
        if environment.is_some() {
            wanted.environment = None;
        }
        // Where the caller's sensitive values leave sealed, so do those of what it makes.
        let inherited = Authorization {
            resources: own.resources.clone(),
            expires_at: own.expires_at,
            encrypt_sensitive: own.encrypt_sensitive,
            encryption_format: own.sealing().unwrap_or(SealingFormat::OaepSha1),
            allow_application_creation: false,
            allowed_ips: own.allowed_ips.clone(),
            allowed_referrers: own.allowed_referrers.clone(),
            certificate_fingerprint: own.certificate_fingerprint,
            read_only: own.read_only,
            created_by_authorization: Some(principal.authorization_id()),
            ..self.blank_authorization(application.id)
        };
        let mut errors = Vec::new();
        let wanted = std::mem::take(wanted);
        let mut content = self
            .write_authorization(inherited, wanted, &mut errors)
            .await?;
        check::finish(errors)?;
        content.system = system.unwrap_or(content.system);
        content.environment = environment.unwrap_or(content.environment);
        let wider = content.wider_than(own);
        if let Some(field) = wider.first() {
            let reason = format!("{} would be wider than the caller's", wider.join(", "));
            let denial = Denial::of(Rule::NotWider, reason).about(field);
            let object = Some(ObjectRef::absent(ObjectKind::Authorization, ""));
            let operation = Operation::CreateAuthorization;
            let ip = principal.origin().ip;
            return Err(self
                .refuse(principal.actor(), ip, operation, object, denial)
                .await);
        }
        let method = application.authentication_method;
        let made = self.draft_authorization(content, method, plan.by).await?;
        let operation = Operation::CreateAuthorization;
        plan.push(self.own_event(principal, operation, made.authorization.object()));
        for operation in made.key_operations() {
            plan.push(self.own_event(principal, *operation, made.authorization.object()));
        }
        plan.change(|set| made.add_to(self, set));
        Ok(made)
    }

    /// Plans a secret for a new authorization of an application that is provisioned automatically, and
    /// the job that fills it.
    async fn plan_provisioning(
        &self,
        principal: &Principal,
        plan: &mut Plan<'_>,
        application: &Application,
        authorization: &Stored<Authorization>,
    ) -> Result<(), Error> {
        let items = items_of(application);
        if items.is_empty() {
            return Ok(());
        }
        let data = SecretData {
            ephemeral_credentials: items,
            ..SecretData::default()
        };
        // The code is not known before, so nobody else can have this identity.
        let identity = format!("provisioned/{}", authorization.code);
        let fields = SecretFields::new(&application.name, data);
        let draft = self.draft_secret(&identity, fields, plan.by).await?;
        let attachment = self
            .draft_attachment(authorization.id, &draft.stored, plan.by)
            .await?;
        let job = Job {
            key: renewal_job(draft.stored.id, Timer::Ephemeral),
            due_at: self.clock.now(),
            body: Vec::new(),
        };
        plan.push(self.own_event(principal, Operation::CreateSecret, draft.stored.object()));
        let attach = self.own_event(principal, Operation::AttachSecret, authorization.object());
        plan.push(attach.with_change("secret", &draft.stored.id));
        plan.change(|set| {
            set.and(draft.set)
                .create(self.records.encode(&attachment))
                .put_job(job)
        });
        Ok(())
    }

    fn own_event(&self, principal: &Principal, operation: Operation, object: ObjectRef) -> Event {
        event(
            self,
            principal.actor(),
            principal.origin().ip,
            operation,
            Some(object),
        )
    }
}

/// What a registration will record and commit together.
struct Plan<'a> {
    by: &'a str,
    events: Vec<Event>,
    set: ChangeSet,
    entries: Vec<Stored<RegistryEntry>>,
}

/// Entries that are registered by the same commit and so cannot be looked up yet.
struct Entries(Vec<(Registry, String, RegistryId)>);

impl<'a> Plan<'a> {
    fn new(by: &'a str) -> Self {
        Self {
            by,
            events: Vec::new(),
            set: ChangeSet::default(),
            entries: Vec::new(),
        }
    }

    fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    fn change(&mut self, change: impl FnOnce(ChangeSet) -> ChangeSet) {
        self.set = change(std::mem::take(&mut self.set));
    }

    fn registered(&self) -> Entries {
        let entry = |entry: &Stored<RegistryEntry>| (entry.registry, entry.name.clone(), entry.id);
        Entries(self.entries.iter().map(entry).collect())
    }
}

impl Entries {
    fn find(&self, registry: Registry, name: Option<&str>) -> Option<RegistryId> {
        let found = self
            .0
            .iter()
            .find(|(of, own, _)| *of == registry && Some(own.as_str()) == name);
        found.map(|(_, _, id)| *id)
    }

    /// The references that only these entries answer, taken out of the fields.
    fn take_from(
        &self,
        fields: &mut ApplicationFields,
    ) -> (Option<RegistryId>, Option<RegistryId>) {
        let name = |field: &Option<Option<String>>| field.clone().flatten();
        let line = self.find(
            Registry::LineOfBusiness,
            name(&fields.line_of_business).as_deref(),
        );
        let kind = self.find(
            Registry::ApplicationType,
            name(&fields.application_type).as_deref(),
        );
        if line.is_some() {
            fields.line_of_business = None;
        }
        if kind.is_some() {
            fields.application_type = None;
        }
        (line, kind)
    }
}

/// What only operators change on an application that exists must be as it is, if it is named.
fn keep_managed(old: &Application, fields: &mut ApplicationFields) -> Result<(), Error> {
    // The vendor's clients send the method on every call; it counts only at creation.
    fields.authentication_method = None;
    let mut errors = Vec::new();
    let managed = [
        (
            "aws_arns",
            fields
                .aws_arns
                .take()
                .is_none_or(|arns| arns == old.aws_arns),
        ),
        (
            "cloud_profiles",
            fields
                .cloud_profiles
                .take()
                .is_none_or(|profiles| profiles == old.cloud_profiles),
        ),
        (
            "credential_profiles",
            fields
                .credential_profiles
                .take()
                .is_none_or(|own| own == old.credential_profiles),
        ),
    ];
    for (field, same) in managed {
        if !same {
            errors.push(FieldError::new(field, "is changed by operators only"));
        }
    }
    check::finish(errors)
}

fn field_of(registry: Registry) -> &'static str {
    match registry {
        Registry::Environment => "environment",
        Registry::System => "system",
        Registry::Engine => "engine",
        Registry::ApplicationType => "application_type",
        Registry::LineOfBusiness => "line_of_business",
    }
}
