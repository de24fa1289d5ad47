//! Authorizations, as operators manage them.

mod draft;
mod entity;
mod fields;
mod grouped;

use std::ops::Bound;

pub(crate) use self::draft::NewAuthorization;
use self::entity::ENABLED;
pub(crate) use self::entity::{APPLICATION, ENVIRONMENT, MADE_BY, SYSTEM, key_taken, revoked};
pub use self::fields::AuthorizationFields;
pub use self::grouped::{GroupCursor, GroupedPage, NotAGroupCursor};
use super::act::{Caller, changes};
use super::error::Error;
use super::record::{Listing, Stored};
use super::registry::Registry;
use super::sealing::NewKey;
use super::{Vault, check, kind};
use crate::access::{
    AuthenticationMethod, Authorization, Finding, Origin, Permission, Principal, Request, Resource,
    explain, explain_proof,
};
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::aws::Arn;
use crate::id::{ApplicationId, AuthorizationId, ClientId, SecretId};
use crate::secret::SecretText;
use crate::store::{ChangeSet, Page, Query};
use crate::time::Timestamp;

/// An authorization as it was just written.
#[derive(Debug)]
pub struct WrittenAuthorization {
    /// The authorization.
    pub authorization: Stored<Authorization>,
    /// The private key of the pair that was made with this write, where the vault keeps none: this is
    /// the only time that it is given.
    pub private_key: Option<SecretText>,
}

impl std::ops::Deref for WrittenAuthorization {
    type Target = Stored<Authorization>;

    fn deref(&self) -> &Self::Target {
        &self.authorization
    }
}

impl From<Stored<Authorization>> for WrittenAuthorization {
    fn from(authorization: Stored<Authorization>) -> Self {
        Self {
            authorization,
            private_key: None,
        }
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
    /// By which method the client proves who it is, if that is to be explained as well.
    pub method: Option<AuthenticationMethod>,
    /// Who AWS says the client is, if that is to be explained as well.
    pub arn: Option<Arn>,
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
        let query = self.authorization_query(filter).await?;
        self.records.list(&query, page).await
    }

    async fn authorization_query(&self, filter: AuthorizationFilter) -> Result<Query, Error> {
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
        Ok(query)
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

    /// Makes an authorization of an application, with its first credentials, and with a key pair
    /// where sensitive values are to be sealed.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] naming every wrong and every missing required field at once.
    pub async fn create_authorization(
        &self,
        caller: &Caller,
        application: ApplicationId,
        fields: AuthorizationFields,
    ) -> Result<WrittenAuthorization, Error> {
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
            return self.authorization(id.into()).await.map(Into::into);
        }
        let application = self.application(application).await?;
        let blank = self.blank_authorization(application.id);
        let secrets = fields.secrets.clone().unwrap_or_default();
        let content = self.new_authorization(blank, fields).await?;
        let by = &caller.operator.name;
        let method = application.authentication_method;
        let made = self.draft_authorization(content, method, by).await?;
        let set = made.add_to(self, ChangeSet::default());
        let (set, attached) = self
            .plan_attachments(made.authorization.id, &secrets, by, set)
            .await?;
        let set = self
            .remember(caller, made.authorization.id.into(), set)
            .await?;
        let mut events = vec![caller.event(self, operation, made.authorization.object())];
        events.extend(
            made.key_operations()
                .iter()
                .map(|operation| caller.event(self, *operation, made.authorization.object())),
        );
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
            Some(id) => self.authorization(id.into()).await.map(Into::into),
            None => Ok(WrittenAuthorization {
                authorization: made.authorization,
                private_key: made.key.and_then(|key| key.handed_out),
            }),
        }
    }

    /// Changes an authorization. When it is to seal sensitive values for the first time, its key pair
    /// is made; one that it has is kept when it no longer seals.
    pub async fn update_authorization(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        fields: AuthorizationFields,
        expected: Option<u64>,
    ) -> Result<WrittenAuthorization, Error> {
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

    /// Revokes an authorization for good; its tokens and credentials end with it, and its key is
    /// destroyed.
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
        // No credentials were used.
        let client = (ClientId(0), application.authentication_method);
        let principal = Principal::new(
            application.content,
            id,
            authorization.content,
            client,
            hypothesis.origin,
        );
        let request = Request::new(hypothesis.resource, action);
        let at = hypothesis.at.unwrap_or_else(|| self.clock.now());
        let (method, arn) = (hypothesis.method, hypothesis.arn.as_ref());
        let mut findings = explain_proof(principal.application(), method, arn);
        findings.extend(explain(&principal, request, at));
        Ok(findings)
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
    ) -> Result<WrittenAuthorization, Error> {
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
        let key = self.draft_missing_key(id, &content, by).await?;
        if let Some(key) = &key {
            set = set.create(self.records.encode(&key.stored));
        }
        if content.revoked_at.is_some() {
            set = self.plan_key_end(id, set).await?;
            set = self.plan_authorization_leases_end(id, set).await?;
        }
        if content == *old.content && set.is_empty() {
            drop(
                self.act(permit, vec![caller.event(self, operation, old.object())])
                    .await?,
            );
            return Ok(old.into());
        }
        let same_key = content.unique_key == old.unique_key;
        let changed = changes(&*old.content, &content);
        let new = self.records.revise(&old, content, by);
        let event = caller
            .event(self, operation, new.object())
            .with_changes(changed);
        let mut events = vec![event];
        let made = key.iter().flat_map(NewKey::operations);
        events.extend(made.map(|operation| caller.event(self, *operation, new.object())));
        events.extend(attached.iter().map(|(operation, secret)| {
            caller
                .event(self, *operation, new.object())
                .with_change("secret", secret)
        }));
        let set = set.update(self.records.encode(&new), old.revision);
        let act = self.act(permit, events).await?;
        self.commit(act, set).await.map_err(|error| match error {
            // Nothing else of it is unique but a pair that somebody else made at the same time.
            Error::Conflict(_) if same_key => Error::Stale,
            error => key_taken(error),
        })?;
        Ok(WrittenAuthorization {
            authorization: new,
            private_key: key.and_then(|key| key.handed_out),
        })
    }
}
