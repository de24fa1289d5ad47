//! The way of every effect: a permit, a durable record of it, then the commit.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::error::Error;
use super::once::Once;
use super::{Vault, kind};
use crate::access::{self, Basis, Denial, Operator, Permission, Permit, Principal, Request};
use crate::audit::{Actor, Event, FieldChange, ObjectKind, ObjectRef, Operation, Outcome, Receipt};
use crate::id::SecretId;
use crate::store::{Change, ChangeSet, Changed, OperationId, RecordKey, StoreError};

/// How long a caller waits for a commit at most. What becomes of it later is in the audit trail.
const ANSWER_WITHIN: Duration = Duration::from_millis(4_500);

/// Who manages the vault in one call.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The operator.
    pub operator: Operator,
    /// From which address.
    pub ip: Option<IpAddr>,
    /// Makes a creation that is repeated with the same key happen once.
    pub once: Option<Once>,
}

impl Caller {
    /// The program that embeds the vault, with every permission.
    pub fn embedded(name: impl Into<String>) -> Self {
        Operator::embedded(name).into()
    }

    pub(crate) fn event(&self, vault: &Vault, operation: Operation, object: ObjectRef) -> Event {
        event(
            vault,
            self.operator.actor(),
            self.ip,
            operation,
            Some(object),
        )
    }
}

impl From<Operator> for Caller {
    fn from(operator: Operator) -> Self {
        Self {
            operator,
            ip: None,
            once: None,
        }
    }
}

/// Something permitted and durably recorded, not done yet.
#[derive(Debug)]
#[must_use = "what is recorded as allowed is to be done or recorded as failed"]
pub(crate) struct Act {
    events: Vec<Event>,
    receipts: Vec<Receipt>,
    basis: Basis,
}

impl Act {
    /// The receipt of the first event, for what reveals a value.
    pub(crate) fn receipt(&self) -> &Receipt {
        &self.receipts[0]
    }

    /// The receipt of the first event about this object; of the first event if none is about it.
    pub(crate) fn receipt_of(&self, kind: ObjectKind, id: impl Into<u64>) -> &Receipt {
        let object = Some((kind, Some(id.into())));
        let mut receipts = self.receipts.iter();
        let found = receipts.find(|receipt| receipt.object() == object);
        found.unwrap_or_else(|| self.receipt())
    }
}

impl Vault {
    /// Permits an operator's call or records its refusal.
    pub(crate) async fn permit(
        &self,
        caller: &Caller,
        permission: Permission,
        operation: Operation,
        object: Option<ObjectRef>,
    ) -> Result<Permit, Error> {
        match access::permit(&caller.operator, permission, self.clock.now()) {
            Ok(permit) => Ok(permit),
            Err(denial) => Err(self
                .refuse(
                    caller.operator.actor(),
                    caller.ip,
                    operation,
                    object,
                    denial,
                )
                .await),
        }
    }

    /// As [`permit`](Self::permit), for the values of one secret.
    pub(crate) async fn permit_secret(
        &self,
        caller: &Caller,
        permission: Permission,
        operation: Operation,
        secret: SecretId,
        object: ObjectRef,
    ) -> Result<Permit, Error> {
        match access::permit_secret(&caller.operator, permission, secret, self.clock.now()) {
            Ok(permit) => Ok(permit),
            Err(denial) => {
                let actor = caller.operator.actor();
                Err(self
                    .refuse(actor, caller.ip, operation, Some(object), denial)
                    .await)
            }
        }
    }

    /// Permits and records a look at metadata.
    pub(crate) async fn view(
        &self,
        caller: &Caller,
        permission: Permission,
        operation: Operation,
        object: Option<ObjectRef>,
    ) -> Result<(), Error> {
        let permit = self
            .permit(caller, permission, operation, object.clone())
            .await?;
        let event = event(self, permit.actor().clone(), caller.ip, operation, object);
        self.act(permit, vec![event]).await.map(|_| ())
    }

    /// Decides a client's request or records its refusal.
    pub(crate) async fn decide(
        &self,
        principal: &Principal,
        request: Request,
        operation: Operation,
        object: Option<ObjectRef>,
    ) -> Result<Permit, Error> {
        match access::decide(principal, request, self.clock.now()) {
            Ok(permit) => Ok(permit),
            Err(denial) => {
                let ip = principal.origin().ip;
                Err(self
                    .refuse(principal.actor(), ip, operation, object, denial)
                    .await)
            }
        }
    }

    /// Records a refusal and gives the error that says so. When it cannot be recorded, the caller
    /// learns only that the vault is unavailable.
    ///
    /// Boxed, as whoever may refuse would carry its state along otherwise.
    pub(crate) fn refuse(
        &self,
        actor: Actor,
        ip: Option<IpAddr>,
        operation: Operation,
        object: Option<ObjectRef>,
        denial: Denial,
    ) -> BoxFuture<'_, Error> {
        let mut event = event(self, actor, ip, operation, object);
        event.outcome = denial.outcome();
        Box::pin(async move {
            match self.trail.record(&event).await {
                Ok(_) => Error::Denied(denial),
                Err(error) => error.into(),
            }
        })
    }

    /// Records what a permit allows. It is durable when this returns.
    pub(crate) async fn act(&self, permit: Permit, events: Vec<Event>) -> Result<Act, Error> {
        let basis = permit.basis();
        drop(permit);
        let act = self.act_alone(events).await?;
        Ok(Act { basis, ..act })
    }

    /// Records that what an act allowed cannot be done, and gives the error that says so.
    pub(crate) async fn failed(&self, act: &Act, error: Error) -> Error {
        self.record_failed(act.events.clone(), error).await
    }

    /// Records what the vault does of its own accord.
    pub(crate) async fn act_alone(&self, events: Vec<Event>) -> Result<Act, Error> {
        debug_assert!(!events.is_empty(), "an act has at least one event");
        let receipts = self.trail.append(events.clone()).await?;
        Ok(Act {
            events,
            receipts,
            basis: Basis::default(),
        })
    }

    /// Does what was recorded, if what it was decided on still holds. A commit that fails is recorded
    /// as failed.
    ///
    /// It goes on when the caller stops waiting, and when the store's answer is lost until the store
    /// tells what became of it. A caller is not kept waiting for that for longer than a request may
    /// take.
    pub(crate) async fn commit(&self, act: Act, set: ChangeSet) -> Result<(), Error> {
        let (records, trail) = (Arc::clone(&self.records), Arc::clone(&self.trail));
        let operation = OperationId::new(self.clock.now(), self.entropy.array());
        let set = guarded(set.named(operation), act.basis);
        // Closing waits for what is under way.
        let under_way = Arc::clone(&self.committing).read_owned().await;
        let task = tokio::spawn(async move {
            let _under_way = under_way;
            let keys = |set: &ChangeSet, all: bool| -> Vec<RecordKey> {
                let changes = set.records.iter();
                let changes = changes.filter(|change| all || change.alters());
                changes.map(Change::key).collect()
            };
            let (altered, touched, result) = match set {
                Ok(set) => {
                    let (altered, touched) = (keys(&set, false), keys(&set, true));
                    (altered, touched, records.commit(set).await)
                }
                Err(key) => {
                    let result = Err(StoreError::RevisionMismatch(key));
                    (Vec::new(), vec![key], result)
                }
            };
            // After an error all of them: the outcome may be unknown, and what was only checked may
            // have changed elsewhere.
            let forgotten = if result.is_ok() { altered } else { touched };
            for key in forgotten {
                records.cache.forget(Changed::Record(key));
            }
            if let Err(error) = &result {
                let events = act.events.into_iter().map(|event| Event {
                    at: records.clock.now(),
                    outcome: Outcome::Failed {
                        reason: error.to_string(),
                    },
                    ..event
                });
                if let Err(error) = trail.append(events.collect()).await {
                    tracing::error!(%error, "a failed commit could not be recorded as failed");
                }
            }
            result
        });
        match tokio::time::timeout(ANSWER_WITHIN, task).await {
            Ok(Ok(result)) => Ok(result?),
            Ok(Err(error)) => Err(Error::Internal {
                reason: "the commit was interrupted".to_owned(),
                source: Some(error.into()),
            }),
            Err(_) => Err(Error::Unavailable {
                reason: "the store has not said yet what became of the change; the audit trail \
                         will have it"
                    .to_owned(),
                source: None,
            }),
        }
    }
}

/// The set, to take effect only while the policy is the one that was decided on; or what has changed
/// already.
fn guarded(set: ChangeSet, basis: Basis) -> Result<ChangeSet, RecordKey> {
    let checks = [
        basis
            .application
            .map(|(id, at)| (RecordKey::new(kind::APPLICATION, id), at)),
        basis
            .authorization
            .map(|(id, at)| (RecordKey::new(kind::AUTHORIZATION, id), at)),
        basis
            .operator
            .map(|(id, at)| (RecordKey::new(kind::OPERATOR, id), at)),
        basis
            .attachment
            .map(|(id, at)| (RecordKey::new(kind::ATTACHMENT, id), at)),
    ];
    checks
        .into_iter()
        .flatten()
        .try_fold(set, |set, (key, at)| {
            // What the set itself changes is guarded already, at the revision that it was made from.
            match set.records.iter().find(|change| change.key() == key) {
                None => Ok(set.check_at(key, at)),
                Some(change) if change.expected() == Some(at) => Ok(set),
                Some(_) => Err(key),
            }
        })
}

/// An event that happens now and is allowed.
pub(crate) fn event(
    vault: &Vault,
    actor: Actor,
    ip: Option<IpAddr>,
    operation: Operation,
    object: Option<ObjectRef>,
) -> Event {
    Event {
        at: vault.clock.now(),
        actor,
        ip,
        operation,
        object,
        outcome: Outcome::Allowed,
        changes: Vec::new(),
        part: None,
    }
}

/// Which fields of two contents differ, as text. Contents hold no values of secrets.
pub(crate) fn changes<T: Serialize>(old: &T, new: &T) -> Vec<FieldChange> {
    let fields = |content| match serde_json::to_value(content) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (fields(old), fields(new));
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| FieldChange {
            field: name.clone(),
            // The key is a credential of AWS clients.
            from: old.get(name).filter(|_| name != "unique_key").map(text),
            to: new.get(name).filter(|_| name != "unique_key").map(text),
        })
        .collect()
}
