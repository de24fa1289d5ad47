//! The log of requests: the audit trail, seen by request.
//!
//! The first entry that a request leaves stands for it, and what was answered follows from it. Where
//! it does not, or where there is none, an entry says what was answered; see
//! [`observe`](crate::audit::observe).

use std::collections::HashSet;
use std::net::IpAddr;

use chrono::TimeDelta;

use super::act::{Caller, event};
use super::error::Error;
use super::{Vault, kind};
use crate::access::{Application, Authorization, Permission};
use crate::audit::{
    self, Actor, AuditQuery, Cursor, Event, FirstEntry, Found, ObjectKind, ObjectRef, Only,
    Operation, Outcome, Part,
};
use crate::id::{ApplicationId, AuthorizationId};
use crate::store::ServerId;

/// How long after the first entry of a request its answer is recorded at most.
const ANSWERED_WITHIN: TimeDelta = TimeDelta::minutes(10);

/// What a request was answered, where its first entry does not say so.
#[derive(Debug)]
pub struct RequestAnswer {
    /// The entry that stands for the request until now.
    pub first: Option<FirstEntry>,
    /// Who asked, if no entry says so.
    pub actor: Actor,
    /// From where, if no entry says so.
    pub ip: Option<IpAddr>,
    /// Method and place, if no entry says what was asked for. Never what may be a value.
    pub request: String,
    /// The number by which the surface says how it ended.
    pub status: u16,
    /// Why it failed, if it did, without any value.
    pub failure: Option<String>,
}

/// A request and how it ended.
#[derive(Debug, Clone)]
pub struct LoggedRequest {
    /// The entry that stands for it.
    pub found: Found,
    /// The application that asked, with its name if it is still there.
    pub application: Option<(ApplicationId, Option<String>)>,
    /// The authorization that asked, with its code if it is still there.
    pub authorization: Option<(AuthorizationId, Option<String>)>,
}

/// A page of requests.
#[derive(Debug)]
pub struct RequestPage {
    /// The newest first.
    pub items: Vec<LoggedRequest>,
    /// Where the next page starts; `None` when this was the last one. A page can have fewer requests
    /// than asked for and a next one all the same.
    pub next: Option<Cursor>,
}

impl Vault {
    /// Records what a request was answered. It is durable when this returns.
    pub async fn record_answer(&self, answer: RequestAnswer) -> Result<(), Error> {
        let instead_of = answer.first.as_ref().map(|first| first.sequence);
        let event = if let Some(FirstEntry { event, .. }) = answer.first {
            Event {
                at: self.clock.now(),
                changes: Vec::new(),
                ..event
            }
        } else {
            let object = ObjectRef::absent(ObjectKind::Route, answer.request);
            event(
                self,
                answer.actor,
                answer.ip,
                Operation::Request,
                Some(object),
            )
        };
        let event = Event {
            outcome: match answer.failure {
                Some(reason) => Outcome::Failed { reason },
                None => Outcome::Allowed,
            },
            part: Some(Part::Answer {
                status: answer.status,
                instead_of,
            }),
            ..event
        };
        drop(self.trail.record(&event).await?);
        Ok(())
    }

    /// Who has this token, of an application's client or an operator, if it is in force. It decides
    /// nothing and records nothing: for the log of what is refused before anybody is asked.
    pub async fn actor_of(&self, token: &str) -> Actor {
        let client = self.client_of(token).await;
        let actor = match client {
            Ok(Some(actor)) => Some(actor),
            Ok(None) | Err(_) => self.operator_behind(token).await.ok().flatten(),
        };
        actor.unwrap_or(Actor::Unknown { claimed: None })
    }

    /// A page of the log of requests, the newest first.
    pub async fn list_requests(
        &self,
        caller: &Caller,
        query: &AuditQuery,
    ) -> Result<RequestPage, Error> {
        let object = ObjectRef::absent(ObjectKind::Audit, "requests");
        let (permission, operation) = (Permission::AuditView, Operation::ViewAudit);
        self.view(caller, permission, operation, Some(object))
            .await?;
        let query = AuditQuery {
            only: Some(Only::Requests),
            ..query.clone()
        };
        let records = &self.records;
        let page =
            audit::search(&*records.store, &records.sealer, &records.keyring, &query).await?;
        let overruled = self.overruled(&query, &page.found).await?;
        let mut items = Vec::with_capacity(page.found.len());
        for found in page.found {
            if !overruled.contains(&(found.server, found.sequence)) {
                items.push(self.logged(found).await?);
            }
        }
        Ok(RequestPage {
            items,
            next: page.next,
        })
    }

    /// The entries among these that a later one replaces. Such a one is about the same, so that the
    /// same filters find it, but for how it ended.
    async fn overruled(
        &self,
        query: &AuditQuery,
        found: &[Found],
    ) -> Result<HashSet<(ServerId, u64)>, Error> {
        let open = |found: &&Found| found.event.part.is_none();
        let instants = || found.iter().filter(open).map(|found| found.event.at);
        let mut overruled = HashSet::new();
        let (Some(from), Some(until)) = (instants().min(), instants().max()) else {
            return Ok(overruled);
        };
        let mut query = AuditQuery {
            only: Some(Only::Answers),
            outcome: None,
            from: Some(from),
            until: until.checked_add_signed(ANSWERED_WITHIN),
            after: None,
            limit: 500,
            ..query.clone()
        };
        let records = &self.records;
        loop {
            let page =
                audit::search(&*records.store, &records.sealer, &records.keyring, &query).await?;
            for found in &page.found {
                if let Some(Part::Answer {
                    instead_of: Some(sequence),
                    ..
                }) = found.event.part
                {
                    overruled.insert((found.server, sequence));
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(overruled),
            }
        }
    }

    async fn logged(&self, found: Found) -> Result<LoggedRequest, Error> {
        let Actor::Authorization {
            application,
            authorization,
            ..
        } = found.event.actor
        else {
            return Ok(LoggedRequest {
                found,
                application: None,
                authorization: None,
            });
        };
        let records = &self.records;
        let name = records.cached::<Application>(kind::APPLICATION, application);
        let name = name.await?.map(|application| application.name.clone());
        let code = records.cached::<Authorization>(kind::AUTHORIZATION, authorization);
        let code = code.await?.map(|authorization| authorization.code.clone());
        Ok(LoggedRequest {
            found,
            application: Some((application, name)),
            authorization: Some((authorization, code)),
        })
    }
}
