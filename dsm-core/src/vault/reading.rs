//! What applications read.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::act::event;
use super::error::Error;
use super::record::Stored;
use super::registry::{Registry, RegistryEntry};
use super::secret::IDENTITY;
use super::{Vault, kind};
use crate::access::{Action, Permit, Principal, Request, Resource, decide};
use crate::audit::{Event, ObjectKind, ObjectRef, Operation, Outcome, Receipt};
use crate::id::AuthorizationId;
use crate::secret::{Identity, OutputMap, Secret};
use crate::store::{RecordKey, Term};

/// A secret with its values, on its way to a client.
pub struct OpenedSecret {
    /// Its metadata.
    pub secret: Arc<Stored<Secret>>,
    /// The name of its engine.
    pub engine: String,
    /// Its values in the output form.
    pub data: Vec<OutputMap>,
}

impl fmt::Debug for OpenedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedSecret")
            .field("secret", &self.secret.id)
            .finish_non_exhaustive()
    }
}

/// What a client sees of its application.
#[derive(Debug)]
pub struct ApplicationView {
    /// The name of the system of its authorization.
    pub system: String,
    /// The name of the environment of its authorization.
    pub environment: String,
    /// The secrets it may read, with their values.
    pub secrets: Vec<OpenedSecret>,
}

impl Vault {
    /// Gives a client one secret.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] by the first rule that fails. A secret that is absent and one that is not
    /// attached look the same.
    pub async fn read_secret(
        &self,
        principal: &Principal,
        identity: &Identity,
    ) -> Result<OpenedSecret, Error> {
        let operation = Operation::ReadSecret;
        let (found, target) = self
            .secret_and_target(principal.authorization_id(), identity)
            .await?;
        let request = Request::new(Resource::SecretManagement, Action::ReadSecret(target));
        let Some(secret) = found else {
            let object = ObjectRef::absent(ObjectKind::Secret, identity.as_str());
            drop(
                self.decide(principal, request, operation, Some(object))
                    .await?,
            );
            // No rule permits what does not exist; should one ever, there is nothing to give.
            return Err(Error::NotFound(ObjectKind::Secret));
        };
        let permit = match decide(principal, request, self.clock.now()) {
            Ok(permit) => permit,
            Err(denial) => {
                let object = Some(secret.object());
                let ip = principal.origin().ip;
                return Err(self
                    .refuse(principal.actor(), ip, operation, object, denial)
                    .await);
            }
        };
        let event = event(
            self,
            permit.actor().clone(),
            principal.origin().ip,
            operation,
            Some(secret.object()),
        );
        if let Err(error) = self.sealing_of(&permit).await {
            return Err(self.record_failed(vec![event], error).await);
        }
        let receipt = self.trail.record(&event).await?;
        match self.open(permit, receipt, secret).await {
            Ok(opened) => Ok(opened),
            Err(error) => Err(self.record_failed(vec![event], error).await),
        }
    }

    /// Records that what was to be given was not, and gives the error that says so. Boxed like
    /// [`refuse`](Self::refuse).
    pub(crate) fn record_failed(
        &self,
        mut events: Vec<Event>,
        error: Error,
    ) -> BoxFuture<'_, Error> {
        for event in &mut events {
            event.outcome = Outcome::Failed {
                reason: error.to_string(),
            };
        }
        Box::pin(async move {
            match self.trail.append(events).await {
                Ok(_) => error,
                Err(unrecorded) => unrecorded.into(),
            }
        })
    }

    /// Gives a client every secret of its authorization that it may read now; one event for each.
    pub async fn read_secrets(&self, principal: &Principal) -> Result<Vec<OpenedSecret>, Error> {
        let request = Request::new(Resource::SecretManagement, Action::ListSecrets);
        let operation = Operation::ViewAuthorization;
        let object = authorization_object(principal);
        let permit = self
            .decide(principal, request, operation, Some(object.clone()))
            .await?;
        let event = event(
            self,
            principal.actor(),
            principal.origin().ip,
            operation,
            Some(object),
        );
        drop(self.act(permit, vec![event]).await?);
        self.read_attached(principal, Resource::SecretManagement)
            .await
    }

    /// Gives a client its application with every secret that it may read now.
    pub async fn read_application(&self, principal: &Principal) -> Result<ApplicationView, Error> {
        let request = Request::new(Resource::Application, Action::ReadApplication);
        let operation = Operation::ViewApplication;
        let object = ObjectRef::new(
            ObjectKind::Application,
            principal.application_id(),
            &principal.application().name,
        );
        let permit = self
            .decide(principal, request, operation, Some(object.clone()))
            .await?;
        let event = event(
            self,
            principal.actor(),
            principal.origin().ip,
            operation,
            Some(object),
        );
        drop(self.act(permit, vec![event]).await?);
        let secrets = self.read_attached(principal, Resource::Application).await?;
        let authorization = principal.authorization();
        Ok(ApplicationView {
            system: self
                .registry_name(Registry::System, authorization.system)
                .await?,
            environment: self
                .registry_name(Registry::Environment, authorization.environment)
                .await?,
            secrets,
        })
    }

    /// Opens what a permit and a receipt are for.
    pub(crate) async fn open(
        &self,
        permit: Permit,
        receipt: Receipt,
        secret: Arc<Stored<Secret>>,
    ) -> Result<OpenedSecret, Error> {
        if permit.discloses() != Some(secret.id) {
            return Err(Error::Internal {
                reason: format!("the permit is not for the values of secret {}", secret.id),
                source: None,
            });
        }
        let seal = self.sealing_of(&permit).await?;
        let sealed = secret.sealed_value.as_deref();
        let mut data = self
            .unseal_with(&receipt, secret.id, &secret, sealed)?
            .into_output();
        if let Some(seal) = &seal {
            Box::pin(self.seal_output(seal, &secret, &mut data)).await?;
        }
        let engine = self.engine_name(&secret).await?;
        Ok(OpenedSecret {
            secret,
            engine,
            data,
        })
    }

    async fn read_attached(
        &self,
        principal: &Principal,
        resource: Resource,
    ) -> Result<Vec<OpenedSecret>, Error> {
        let now = self.clock.now();
        let mut permitted = Vec::new();
        let mut events = Vec::new();
        for id in self.attached_secrets(principal.authorization_id()).await? {
            let found = self.records.cached::<Secret>(kind::SECRET, id).await?;
            let Some(secret) = found else { continue };
            let target = self.target(principal.authorization_id(), &secret).await?;
            let request = Request::new(resource, Action::ReadSecret(Some(target)));
            // What is disabled or expired is left out; the client did not ask for it by name.
            let Ok(permit) = decide(principal, request, now) else {
                continue;
            };
            let (ip, object) = (principal.origin().ip, Some(secret.object()));
            let event = event(self, principal.actor(), ip, Operation::ReadSecret, object);
            if let Err(error) = self.sealing_of(&permit).await {
                return Err(self.record_failed(vec![event], error).await);
            }
            events.push(event);
            permitted.push((permit, secret));
        }
        let receipts = self.trail.append(events.clone()).await?;
        let mut opened = Vec::with_capacity(permitted.len());
        for ((permit, secret), receipt) in permitted.into_iter().zip(receipts) {
            match self.open(permit, receipt, secret).await {
                Ok(secret) => opened.push(secret),
                // None of them is given.
                Err(error) => return Err(self.record_failed(events, error).await),
            }
        }
        Ok(opened)
    }

    /// The action of reading this identity, for an explanation.
    pub(crate) async fn read_action(
        &self,
        authorization: AuthorizationId,
        identity: &str,
    ) -> Result<Action, Error> {
        let identity: Identity = identity
            .parse()
            .map_err(|error| Error::invalid("identity", format!("{error}")))?;
        let (_, target) = self.secret_and_target(authorization, &identity).await?;
        Ok(Action::ReadSecret(target))
    }

    pub(crate) fn identity_term(&self, identity: &Identity) -> Term {
        self.records.term(kind::SECRET, IDENTITY, identity.as_str())
    }

    /// The secret, if it was found, and is the one that was looked for.
    #[allow(clippy::unused_self, reason = "reads as a step of the lookups")]
    pub(crate) fn of_identity(
        &self,
        found: Option<Arc<Stored<Secret>>>,
        identity: &Identity,
    ) -> Result<Option<Arc<Stored<Secret>>>, Error> {
        match found {
            Some(secret) if secret.identity != *identity => Err(Error::damaged(
                RecordKey::new(kind::SECRET, secret.id),
                crate::crypto::CryptoError::Open,
            )),
            found => Ok(found),
        }
    }

    pub(crate) async fn engine_name(&self, secret: &Secret) -> Result<String, Error> {
        let kind = Registry::Engine.kind();
        let entry = self
            .records
            .cached::<RegistryEntry>(kind, secret.engine)
            .await?;
        entry
            .map(|entry| entry.name.clone())
            .ok_or(Error::NotFound(ObjectKind::Engine))
    }
}

pub(crate) fn authorization_object(principal: &Principal) -> ObjectRef {
    ObjectRef::new(
        ObjectKind::Authorization,
        principal.authorization_id(),
        &principal.authorization().code,
    )
}
