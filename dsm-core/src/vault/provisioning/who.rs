//! On whose behalf accounts are provisioned.

use crate::access::{Action, Permission, Principal, Request, Resource, SecretTarget};
use crate::audit::{Actor, Event, ObjectRef, Operation};
use crate::secret::Secret;
use crate::vault::act::{Act, Caller, event};
use crate::vault::error::Error;
use crate::vault::record::Stored;
use crate::vault::rotation::Held;
use crate::vault::writing::actor_name;
use crate::vault::{Vault, kind};

/// Who provisions.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who<'a> {
    /// A client, which the rules permit to act on the secret in this way.
    Client {
        principal: &'a Principal,
        resource: Resource,
        action: fn(Option<SecretTarget>) -> Action,
    },
    /// An operator.
    Operator(&'a Caller),
    /// A worker, for a timer.
    Worker(&'a Held),
}

impl Who<'_> {
    /// As it stands in what it writes.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Client { principal, .. } => actor_name(principal),
            Self::Operator(caller) => caller.operator.name.clone(),
            Self::Worker(_) => "vault".to_owned(),
        }
    }

    pub(super) fn event(&self, vault: &Vault, operation: Operation, object: ObjectRef) -> Event {
        match self {
            Self::Client { principal, .. } => {
                let ip = principal.origin().ip;
                event(vault, principal.actor(), ip, operation, Some(object))
            }
            Self::Operator(caller) => caller.event(vault, operation, object),
            Self::Worker(_) => event(vault, Actor::Vault, None, operation, Some(object)),
        }
    }

    /// Refuses to go on when another worker may have taken over.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Worker(held) => held.check(),
            Self::Client { .. } | Self::Operator(_) => Ok(()),
        }
    }
}

impl Vault {
    /// Permits something done for a secret, anew at each step, and records it. What it is decided on
    /// is checked again by the commit.
    pub(super) async fn act_for(
        &self,
        who: Who<'_>,
        secret: &Stored<Secret>,
        events: Vec<Event>,
    ) -> Result<Act, Error> {
        let operation = events.first().map(|event| event.operation);
        let operation = operation.unwrap_or(Operation::ProvisionSecret);
        let object = Some(secret.object());
        let permit = match who {
            Who::Client {
                principal,
                resource,
                action,
            } => {
                let target = self.target(principal.authorization_id(), secret).await?;
                let request = Request::new(resource, action(Some(target)));
                self.decide(principal, request, operation, object).await?
            }
            Who::Operator(caller) => {
                self.permit(caller, Permission::SecretsRotate, operation, object)
                    .await?
            }
            Who::Worker(_) => return self.act_alone(events).await,
        };
        self.act(permit, events).await
    }

    /// A secret as the store has it now.
    pub(super) async fn fresh_secret(
        &self,
        secret: &Stored<Secret>,
    ) -> Result<Option<Stored<Secret>>, Error> {
        self.records.find(kind::SECRET, secret.id).await
    }
}
