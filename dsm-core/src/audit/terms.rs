use std::collections::HashSet;
use std::io::Write as _;
use std::net::IpAddr;

use super::{Actor, Event, ObjectKind, Operation, Outcome, Part};
use crate::crypto::Keyring;
use crate::id::{ApplicationId, AuthorizationId, ClientId, OperatorId};
use crate::store::{Kind, Term};

/// Who, for a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActorFilter {
    /// Any authorization of this application.
    Application(ApplicationId),
    /// This authorization.
    Authorization(AuthorizationId),
    /// This client.
    Client(ClientId),
    /// The operator with this id.
    Operator(OperatorId),
    /// The operator with this name.
    OperatorName(String),
    /// Anybody who did not prove who they are.
    Unknown,
    /// Who named this client id and did not prove it.
    Claimed(String),
    /// The vault itself.
    Vault,
}

impl ActorFilter {
    /// Whether `actor` is meant.
    pub fn matches(&self, actor: &Actor) -> bool {
        match (self, actor) {
            (Self::Application(id), Actor::Authorization { application, .. }) => id == application,
            (Self::Authorization(id), Actor::Authorization { authorization, .. }) => {
                id == authorization
            }
            (Self::Client(id), Actor::Authorization { client, .. }) => id == client,
            (Self::Operator(id), Actor::Operator { id: actual, .. }) => Some(*id) == *actual,
            (Self::OperatorName(name), Actor::Operator { name: actual, .. }) => name == actual,
            (Self::Claimed(id), Actor::Unknown { claimed }) => Some(id) == claimed.as_ref(),
            (Self::Unknown, Actor::Unknown { .. }) | (Self::Vault, Actor::Vault) => true,
            _ => false,
        }
    }

    fn of(actor: &Actor) -> Vec<Self> {
        match actor {
            Actor::Unknown { claimed } => std::iter::once(Self::Unknown)
                .chain(claimed.clone().map(Self::Claimed))
                .collect(),
            Actor::Authorization {
                application,
                authorization,
                client,
            } => vec![
                Self::Application(*application),
                Self::Authorization(*authorization),
                Self::Client(*client),
            ],
            Actor::Operator { id, name } => std::iter::once(Self::OperatorName(name.clone()))
                .chain(id.map(Self::Operator))
                .collect(),
            Actor::Vault => vec![Self::Vault],
        }
    }
}

/// What a batch is found by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key<'a> {
    Actor(&'a ActorFilter),
    Operation(Operation),
    ObjectKind(ObjectKind),
    ObjectId(ObjectKind, u64),
    ObjectName(ObjectKind, &'a str),
    Outcome(&'static str),
    Ip(IpAddr),
    Answer,
}

impl Key<'_> {
    /// The field and its value, which stay what they are for as long as there are trails.
    fn write(self, value: &mut Vec<u8>) -> &'static str {
        let (field, written) = match self {
            Self::Actor(ActorFilter::Application(id)) => ("application", write!(value, "{id}")),
            Self::Actor(ActorFilter::Authorization(id)) => ("authorization", write!(value, "{id}")),
            Self::Actor(ActorFilter::Client(id)) => ("client", write!(value, "{id}")),
            Self::Actor(ActorFilter::Operator(id)) => ("operator", write!(value, "{id}")),
            Self::Actor(ActorFilter::OperatorName(name)) => {
                ("operator name", write!(value, "{name}"))
            }
            Self::Actor(ActorFilter::Unknown) => ("actor", write!(value, "unknown")),
            Self::Actor(ActorFilter::Claimed(id)) => ("claimed", write!(value, "{id}")),
            Self::Actor(ActorFilter::Vault) => ("actor", write!(value, "vault")),
            Self::Operation(operation) => ("operation", write!(value, "{}", operation.as_str())),
            Self::ObjectKind(kind) => ("object kind", write!(value, "{}", kind.as_str())),
            Self::ObjectId(kind, id) => ("object", write!(value, "{} {id}", kind.as_str())),
            Self::ObjectName(kind, name) => {
                ("object name", write!(value, "{} {name}", kind.as_str()))
            }
            Self::Outcome(name) => ("outcome", write!(value, "{name}")),
            Self::Ip(ip) => ("ip", write!(value, "{ip}")),
            Self::Answer => ("part", write!(value, "answer")),
        };
        written.expect("a vector takes every write");
        field
    }

    pub(super) fn term(self, keyring: &Keyring) -> Term {
        let mut value = Vec::new();
        let field = self.write(&mut value);
        term(keyring, field, &value)
    }
}

/// The kind that stands for entries of the trail; no record has it.
const ENTRY: Kind = Kind(0);

fn term(keyring: &Keyring, field: &str, value: &[u8]) -> Term {
    keyring.term(ENTRY, field, value)
}

/// The name by which an outcome is found.
pub(super) fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Allowed => "allowed",
        Outcome::Denied { .. } => "denied",
        Outcome::Failed { .. } => "failed",
    }
}

/// Collects the terms of a batch. The entries of one have much in common, and each thing they have
/// in common is hashed once.
pub(super) struct Terms<'a> {
    keyring: &'a Keyring,
    seen: HashSet<(&'static str, Vec<u8>)>,
    actors: Vec<Actor>,
    found: Vec<Term>,
    value: Vec<u8>,
}

impl<'a> Terms<'a> {
    pub(super) fn new(keyring: &'a Keyring) -> Self {
        Self {
            keyring,
            seen: HashSet::new(),
            actors: Vec::new(),
            found: Vec::new(),
            value: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, event: &Event) {
        if !self.actors.contains(&event.actor) {
            for actor in ActorFilter::of(&event.actor) {
                self.key(Key::Actor(&actor));
            }
            // A batch of strangers shall not be compared one by one.
            if self.actors.len() < 16 {
                self.actors.push(event.actor.clone());
            }
        }
        self.key(Key::Operation(event.operation));
        self.key(Key::Outcome(outcome(&event.outcome)));
        if let Some(ip) = event.ip {
            self.key(Key::Ip(ip));
        }
        if let Some(Part::Answer { .. }) = event.part {
            self.key(Key::Answer);
        }
        if let Some(object) = &event.object {
            self.key(Key::ObjectKind(object.kind));
            if let Some(id) = object.id {
                self.key(Key::ObjectId(object.kind, id));
            }
            if !object.name.is_empty() {
                self.key(Key::ObjectName(object.kind, &object.name));
            }
        }
    }

    fn key(&mut self, key: Key<'_>) {
        self.value.clear();
        let field = key.write(&mut self.value);
        let seen = (field, std::mem::take(&mut self.value));
        if self.seen.contains(&seen) {
            self.value = seen.1;
        } else {
            self.found.push(term(self.keyring, field, &seen.1));
            self.seen.insert(seen);
        }
    }

    pub(super) fn finish(mut self) -> Vec<Term> {
        self.found.sort_unstable();
        self.found.dedup();
        self.found
    }
}
