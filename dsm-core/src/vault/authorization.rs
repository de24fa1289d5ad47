//! Authorizations, as operators manage them.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::act::{Caller, changes};
use super::client::{ClientCredentials, NewClient};
use super::error::{Error, FieldError};
use super::record::{Entity, Listing, Stored, Terms};
use super::registry::Registry;
use super::{Vault, check, kind};
use crate::access::{
    AuthenticationMethod, Authorization, Finding, Fingerprint, IpRule, Origin, Permission,
    Principal, ReferrerRule, Request, Resource, SealingFormat, explain,
};
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::id::{ApplicationId, AuthorizationId, ClientId, SecretId};
use crate::secret::Secret;
use crate::store::{ChangeSet, Kind, Page, Query};
use crate::time::Timestamp;

pub(crate) const APPLICATION: &str = "application";
pub(crate) const ENVIRONMENT: &str = "environment";
pub(crate) const SYSTEM: &str = "system";
pub(crate) const MADE_BY: &str = "created_by_authorization";
const ENABLED: &str = "enabled";
/// The most addresses, referrers or resources; a decision goes through all of them.
const MAX_ENTRIES: usize = 256;
/// The most secrets that one call attaches.
const MAX_SECRETS: usize = 1000;

impl Entity for Authorization {
    type Id = AuthorizationId;

    fn kind(&self) -> Kind {
        kind::AUTHORIZATION
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.unique("code", &self.code);
        if let Some(key) = &self.unique_key {
            terms.unique("unique_key", key);
        }
        terms.plain(APPLICATION, self.application.0.to_be_bytes());
        terms.plain(ENVIRONMENT, self.environment.0.to_be_bytes());
        terms.plain(SYSTEM, self.system.0.to_be_bytes());
        terms.plain(ENABLED, [u8::from(self.enabled)]);
        if let Some(id) = self.created_by_authorization {
            terms.plain(MADE_BY, id.0.to_be_bytes());
        }
    }
}

impl Stored<Authorization> {
    pub(crate) fn object(&self) -> ObjectRef {
        ObjectRef::new(ObjectKind::Authorization, self.id, &self.code)
    }
}

/// What to write of an authorization; `None` leaves a field as it is, or at its default.
#[derive(Clone, Default)]
pub struct AuthorizationFields {
    /// For people.
    pub name: Option<String>,
    /// Required at creation.
    pub enabled: Option<bool>,
    /// When it ends, or never.
    pub expires_at: Option<Option<Timestamp>>,
    /// Required at creation.
    pub encrypt_sensitive: Option<bool>,
    /// Default: JWE.
    pub encryption_format: Option<SealingFormat>,
    /// Required at creation.
    pub allow_application_creation: Option<bool>,
    /// Required at creation: a registered name.
    pub environment: Option<String>,
    /// Required at creation: a registered name.
    pub system: Option<String>,
    /// Addresses, networks, `192.168.1.*`, `*`. Default: none, which refuses everything.
    pub allowed_ips: Option<Vec<String>>,
    /// URLs. Default: none, which allows any.
    pub allowed_referrers: Option<Vec<String>>,
    /// SHA-1 or SHA-256 in hexadecimal, or none.
    pub certificate_fingerprint: Option<Option<String>>,
    /// Default: Application and Secret Management.
    pub resources: Option<Vec<String>>,
    /// Default: off.
    pub read_only: Option<bool>,
    /// A key to look it up by, or none.
    pub unique_key: Option<Option<String>>,
    /// The attached secrets.
    pub secrets: Option<Vec<SecretId>>,
    /// What the caller found wrong in its own input: reported with what is found here, and nothing
    /// is written.
    pub wrong: Vec<FieldError>,
}

impl AuthorizationFields {
    /// An enabled authorization for a system and an environment: values unsealed, no creation of
    /// applications, and no address allowed yet.
    pub fn new(system: impl Into<String>, environment: impl Into<String>) -> Self {
        Self {
            enabled: Some(true),
            encrypt_sensitive: Some(false),
            allow_application_creation: Some(false),
            system: Some(system.into()),
            environment: Some(environment.into()),
            ..Self::default()
        }
    }
}

impl std::fmt::Debug for AuthorizationFields {
    /// Leaves out the unique key, which is a credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorizationFields")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Which authorizations to list.
#[derive(Debug, Clone, Default)]
pub struct AuthorizationFilter {
    /// Of this application.
    pub application: Option<ApplicationId>,
    /// Of this registered system.
    pub system: Option<String>,
    /// Of this registered environment.
    pub environment: Option<String>,
    /// Enabled or disabled ones.
    pub enabled: Option<bool>,
    /// Created at this instant or later.
    pub created_from: Option<Timestamp>,
    /// Created at this instant or before.
    pub created_until: Option<Timestamp>,
}

/// A request to explain.
#[derive(Debug, Clone)]
pub struct Hypothesis {
    /// From where.
    pub origin: Origin,
    /// Through which part of the interface.
    pub resource: Resource,
    /// Reading which secret, if one.
    pub identity: Option<String>,
    /// When; now if not said.
    pub at: Option<Timestamp>,
}

impl Vault {
    /// A page of authorizations, newest first.
    pub async fn list_authorizations(
        &self,
        caller: &Caller,
        filter: AuthorizationFilter,
        page: Page,
    ) -> Result<Listing<Stored<Authorization>>, Error> {
        let operation = Operation::ViewAuthorization;
        self.view(caller, Permission::AuthorizationsView, operation, None)
            .await?;
        let term = |field, value: &[u8]| self.records.term(kind::AUTHORIZATION, field, value);
        let mut query = Query::new(kind::AUTHORIZATION);
        if let Some(id) = filter.application {
            query = query.with(term(APPLICATION, &id.0.to_be_bytes()));
        }
        if let Some(enabled) = filter.enabled {
            query = query.with(term(ENABLED, &[u8::from(enabled)]));
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
        query.created = (
            filter
                .created_from
                .map_or(Bound::Unbounded, Bound::Included),
            filter
                .created_until
                .map_or(Bound::Unbounded, Bound::Included),
        );
        self.records.list(&query, page).await
    }

    /// One authorization.
    pub async fn find_authorization(
        &self,
        caller: &Caller,
        id: AuthorizationId,
    ) -> Result<Stored<Authorization>, Error> {
        let object = ObjectRef::new(ObjectKind::Authorization, id, "");
        let operation = Operation::ViewAuthorization;
        self.view(
            caller,
            Permission::AuthorizationsView,
            operation,
            Some(object),
        )
        .await?;
        self.authorization(id).await
    }

    /// Makes an authorization of an application, with its first credentials.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] naming every wrong and every missing required field at once.
    pub async fn create_authorization(
        &self,
        caller: &Caller,
        application: ApplicationId,
        fields: AuthorizationFields,
    ) -> Result<Stored<Authorization>, Error> {
        let operation = Operation::CreateAuthorization;
        let object = ObjectRef::absent(ObjectKind::Authorization, "");
        let permit = self
            .permit(
                caller,
                Permission::AuthorizationsWrite,
                operation,
                Some(object),
            )
            .await?;
        if let Some(id) = self.made_before(caller).await? {
            return self.authorization(id.into()).await;
        }
        let application = self.application(application).await?;
        let blank = self.blank_authorization(application.id);
        let secrets = fields.secrets.clone().unwrap_or_default();
        let content = self.new_authorization(blank, fields).await?;
        let by = &caller.operator.name;
        let made = self.draft_authorization(content, by).await?;
        let set = made.add_to(self, ChangeSet::default());
        let (set, attached) = self
            .plan_attachments(made.authorization.id, &secrets, by, set)
            .await?;
        let set = self
            .remember(caller, made.authorization.id.into(), set)
            .await?;
        let mut events = vec![caller.event(self, operation, made.authorization.object())];
        events.extend(attached.iter().map(|(operation, secret)| {
            caller
                .event(self, *operation, made.authorization.object())
                .with_change("secret", secret)
        }));
        let act = self.act(permit, events).await?;
        match self
            .commit_once(caller, act, set)
            .await
            .map_err(key_taken)?
        {
            Some(id) => self.authorization(id.into()).await,
            None => Ok(made.authorization),
        }
    }

    /// Changes an authorization.
    pub async fn update_authorization(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        fields: AuthorizationFields,
        expected: Option<u64>,
    ) -> Result<Stored<Authorization>, Error> {
        let operation = Operation::UpdateAuthorization;
        let secrets = fields.secrets.clone();
        self.change_authorization(caller, id, operation, expected, secrets, async |old| {
            let mut errors = Vec::new();
            let content = self
                .write_authorization(old.clone(), fields, &mut errors)
                .await?;
            check::finish(errors)?;
            Ok(content)
        })
        .await
    }

    /// Revokes an authorization for good; its tokens and credentials end with it.
    pub async fn revoke_authorization(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        expected: Option<u64>,
    ) -> Result<(), Error> {
        let operation = Operation::RevokeAuthorization;
        let now = self.clock.now();
        let revoke = async |old: &Authorization| Ok(revoked(old, now));
        self.change_authorization(caller, id, operation, expected, None, revoke)
            .await
            .map(|_| ())
    }

    /// Shows the credentials of an authorization; recorded.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when the application does not use OAuth 2.0, since nothing would accept
    /// them.
    pub async fn reveal_credentials(
        &self,
        caller: &Caller,
        id: AuthorizationId,
    ) -> Result<ClientCredentials, Error> {
        let operation = Operation::RevealCredentials;
        let object = ObjectRef::new(ObjectKind::Authorization, id, "");
        let permission = Permission::AuthorizationsReveal;
        let permit = self
            .permit(caller, permission, operation, Some(object))
            .await?;
        let authorization = self.authorization(id).await?;
        let application = self.application(authorization.application).await?;
        if application.authentication_method != AuthenticationMethod::OAuth2 {
            let message = "only the credentials of OAuth 2.0 can be shown";
            return Err(Error::Conflict(message.to_owned()));
        }
        let client = self.newest_client(id).await?;
        let event = caller.event(self, operation, authorization.object());
        let act = self.act(permit, vec![event]).await?;
        self.open_credentials(&act, &client)
    }

    /// Every rule for a request that might be made, in order, with its outcome. Changes nothing.
    pub async fn explain(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        hypothesis: Hypothesis,
    ) -> Result<Vec<Finding>, Error> {
        let object = ObjectRef::new(ObjectKind::Authorization, id, "");
        let permission = Permission::AuthorizationsView;
        self.view(caller, permission, Operation::Explain, Some(object))
            .await?;
        let authorization = self.authorization(id).await?;
        let application = self.application(authorization.application).await?;
        let action = match &hypothesis.identity {
            Some(identity) => self.read_action(id, identity).await?,
            None => crate::access::Action::ListSecrets,
        };
        let principal = Principal::new(
            application.content,
            id,
            authorization.content,
            // No credentials were used.
            ClientId(0),
            hypothesis.origin,
        );
        let request = Request::new(hypothesis.resource, action);
        Ok(explain(
            &principal,
            request,
            hypothesis.at.unwrap_or_else(|| self.clock.now()),
        ))
    }

    pub(crate) async fn authorization(
        &self,
        id: AuthorizationId,
    ) -> Result<Stored<Authorization>, Error> {
        let found = self.records.find(kind::AUTHORIZATION, id).await?;
        found.ok_or(Error::NotFound(ObjectKind::Authorization))
    }

    async fn change_authorization(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        operation: Operation,
        expected: Option<u64>,
        secrets: Option<Vec<SecretId>>,
        change: impl AsyncFnOnce(&Authorization) -> Result<Authorization, Error>,
    ) -> Result<Stored<Authorization>, Error> {
        let object = ObjectRef::new(ObjectKind::Authorization, id, "");
        let permit = self
            .permit(
                caller,
                Permission::AuthorizationsWrite,
                operation,
                Some(object),
            )
            .await?;
        let old = self.authorization(id).await?;
        check::revision(expected, old.revision)?;
        if old.revoked_at.is_some() {
            return Err(Error::Conflict("the authorization is revoked".to_owned()));
        }
        let now = self.clock.now();
        // Expiry is an end, as revocation is: the tokens of its time must not come back.
        if operation != Operation::RevokeAuthorization
            && old.content.expires_at.is_some_and(|at| now >= at)
        {
            return Err(Error::Conflict("the authorization has expired".to_owned()));
        }
        let content = change(&old).await?;
        let by = &caller.operator.name;
        let mut set = ChangeSet::default();
        let mut attached = Vec::new();
        if let Some(secrets) = &secrets {
            (set, attached) = self.plan_attachments(id, secrets, by, set).await?;
        }
        if content == *old.content && set.is_empty() {
            drop(
                self.act(permit, vec![caller.event(self, operation, old.object())])
                    .await?,
            );
            return Ok(old);
        }
        let changed = changes(&*old.content, &content);
        let new = self.records.revise(&old, content, by);
        let event = caller
            .event(self, operation, new.object())
            .with_changes(changed);
        let mut events = vec![event];
        events.extend(attached.iter().map(|(operation, secret)| {
            caller
                .event(self, *operation, new.object())
                .with_change("secret", secret)
        }));
        let set = set.update(self.records.encode(&new), old.revision);
        let act = self.act(permit, events).await?;
        self.commit(act, set).await.map_err(key_taken)?;
        Ok(new)
    }

    /// An authorization with everything at its default and nothing allowed.
    pub(crate) fn blank_authorization(&self, application: ApplicationId) -> Authorization {
        Authorization {
            application,
            code: data_encoding::HEXLOWER.encode(&self.entropy.array::<15>()),
            name: String::new(),
            resources: BTreeSet::from([Resource::Application, Resource::SecretManagement]),
            expires_at: None,
            enabled: true,
            revoked_at: None,
            encrypt_sensitive: true,
            encryption_format: SealingFormat::Jwe,
            allow_application_creation: false,
            // Placeholders until the required fields are written.
            environment: 0.into(),
            system: 0.into(),
            allowed_ips: Vec::new(),
            allowed_referrers: Vec::new(),
            certificate_fingerprint: None,
            read_only: false,
            unique_key: None,
            created_by_authorization: None,
        }
    }

    async fn new_authorization(
        &self,
        blank: Authorization,
        mut fields: AuthorizationFields,
    ) -> Result<Authorization, Error> {
        let mut errors = std::mem::take(&mut fields.wrong);
        let required = [
            ("enabled", fields.enabled.is_some()),
            ("encrypt_sensitive", fields.encrypt_sensitive.is_some()),
            (
                "allow_application_creation",
                fields.allow_application_creation.is_some(),
            ),
            ("environment", fields.environment.is_some()),
            ("system", fields.system.is_some()),
        ];
        let missing = required.iter().filter(|(_, present)| !present);
        errors.extend(missing.map(|(field, _)| FieldError::new(*field, "is required")));
        let content = self.write_authorization(blank, fields, &mut errors).await?;
        check::finish(errors)?;
        Ok(content)
    }

    pub(crate) async fn write_authorization(
        &self,
        mut content: Authorization,
        fields: AuthorizationFields,
        errors: &mut Vec<FieldError>,
    ) -> Result<Authorization, Error> {
        errors.extend(fields.wrong);
        if let Some(name) = fields.name {
            // An authorization needs no name.
            if !name.is_empty() {
                check::name(errors, "name", &name);
            }
            content.name = name;
        }
        content.enabled = fields.enabled.unwrap_or(content.enabled);
        content.encrypt_sensitive = fields
            .encrypt_sensitive
            .unwrap_or(content.encrypt_sensitive);
        content.encryption_format = fields
            .encryption_format
            .unwrap_or(content.encryption_format);
        content.allow_application_creation = fields
            .allow_application_creation
            .unwrap_or(content.allow_application_creation);
        content.read_only = fields.read_only.unwrap_or(content.read_only);
        if let Some(at) = fields.expires_at {
            check::future(errors, "expires_at", at, self.clock.now());
            content.expires_at = at;
        }
        if let Some(name) = fields.environment {
            let found = self
                .registered_or(errors, Registry::Environment, ENVIRONMENT, &name)
                .await?;
            content.environment = found.unwrap_or(content.environment);
        }
        if let Some(name) = fields.system {
            let found = self
                .registered_or(errors, Registry::System, SYSTEM, &name)
                .await?;
            content.system = found.unwrap_or(content.system);
        }
        if let Some(ips) = fields.allowed_ips {
            content.allowed_ips = parse_all::<IpRule>(errors, "allowed_ips", &ips);
        }
        if let Some(referrers) = fields.allowed_referrers {
            let parsed = parse_all::<ReferrerRule>(errors, "allowed_referrers", &referrers);
            content.allowed_referrers = parsed;
        }
        if let Some(fingerprint) = fields.certificate_fingerprint {
            content.certificate_fingerprint = None;
            match fingerprint.as_deref().map(str::parse::<Fingerprint>) {
                Some(Ok(parsed)) => content.certificate_fingerprint = Some(parsed),
                Some(Err(error)) => {
                    let message = error.to_string();
                    errors.push(FieldError::new("certificate_fingerprint", message));
                }
                None => {}
            }
        }
        if let Some(resources) = fields.resources {
            let parsed = parse_all::<Resource>(errors, "resources", &resources);
            content.resources = parsed.into_iter().collect();
        }
        if let Some(key) = fields.unique_key {
            if let Some(key) = &key {
                check::name(errors, "unique_key", key);
            }
            content.unique_key = key;
        }
        let secrets = fields.secrets.unwrap_or_default();
        if secrets.len() > MAX_SECRETS {
            errors.push(FieldError::new(
                "secrets",
                format!("must be at most {MAX_SECRETS} at once"),
            ));
            return Ok(content);
        }
        for id in secrets {
            if self
                .records
                .cached::<Secret>(kind::SECRET, id)
                .await?
                .is_none()
            {
                errors.push(FieldError::new(
                    "secrets",
                    format!("there is no secret {id}"),
                ));
            }
        }
        Ok(content)
    }

    /// A new authorization with its first client, not committed yet.
    pub(crate) async fn draft_authorization(
        &self,
        content: Authorization,
        by: &str,
    ) -> Result<NewAuthorization, Error> {
        let authorization = self.records.draft(content, by).await?;
        let client = self.draft_client(authorization.id, by).await?;
        Ok(NewAuthorization {
            authorization,
            client,
        })
    }
}

/// An authorization and its first credentials before they are committed.
pub(crate) struct NewAuthorization {
    pub(crate) authorization: Stored<Authorization>,
    pub(crate) client: NewClient,
}

impl NewAuthorization {
    pub(crate) fn add_to(&self, vault: &Vault, set: ChangeSet) -> ChangeSet {
        set.create(vault.records.encode(&self.authorization))
            .create(vault.records.encode(&self.client.stored))
    }
}

/// The same authorization, over for good.
pub(crate) fn revoked(old: &Authorization, now: Timestamp) -> Authorization {
    Authorization {
        enabled: false,
        revoked_at: Some(now),
        ..old.clone()
    }
}

fn parse_all<T: std::str::FromStr<Err: std::fmt::Display>>(
    errors: &mut Vec<FieldError>,
    field: &str,
    texts: &[String],
) -> Vec<T> {
    if texts.len() > MAX_ENTRIES {
        errors.push(FieldError::new(
            field,
            format!("must be at most {MAX_ENTRIES}"),
        ));
        return Vec::new();
    }
    let mut parsed = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(rule) => parsed.push(rule),
            Err(error) => {
                let message = T::Err::to_string(&error);
                errors.push(FieldError::new(format!("{field}[{index}]"), message));
            }
        }
    }
    parsed
}

pub(crate) fn key_taken(error: Error) -> Error {
    match error {
        Error::Conflict(_) => {
            Error::Conflict("there is an authorization with this unique key".to_owned())
        }
        other => other,
    }
}
