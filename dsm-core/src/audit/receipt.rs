use super::{Event, ObjectKind, Operation, Outcome};
use crate::store::ServerId;

/// Proof that an event is recorded and durable. Only a [`Trail`](super::Trail) makes one, and what
/// reveals or changes something takes it away: it cannot be copied or kept.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a receipt is there to be handed to what it permits"]
pub struct Receipt {
    server: ServerId,
    sequence: u64,
    operation: Operation,
    object: Option<(ObjectKind, Option<u64>)>,
    version: Option<u64>,
    allowed: bool,
}

/// What of an event its receipt names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    operation: Operation,
    object: Option<(ObjectKind, Option<u64>)>,
    version: Option<u64>,
    allowed: bool,
}

impl Subject {
    pub(super) fn of(event: &Event) -> Self {
        let object = event.object.as_ref();
        Self {
            operation: event.operation,
            object: object.map(|object| (object.kind, object.id)),
            version: object.and_then(|object| object.version),
            allowed: event.outcome == Outcome::Allowed,
        }
    }
}

impl Receipt {
    pub(super) fn new(server: ServerId, sequence: u64, subject: Subject) -> Self {
        Self {
            server,
            sequence,
            operation: subject.operation,
            object: subject.object,
            version: subject.version,
            allowed: subject.allowed,
        }
    }

    /// Whether it is for this operation on this object and says that it was allowed.
    pub fn covers(&self, operation: Operation, kind: ObjectKind, id: impl Into<u64>) -> bool {
        self.allowed && self.operation == operation && self.object == Some((kind, Some(id.into())))
    }

    /// Which server recorded it.
    pub fn server(&self) -> ServerId {
        self.server
    }

    /// The entry's number in that server's chain.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What was recorded.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// With what, and its id if it has one.
    pub fn object(&self) -> Option<(ObjectKind, Option<u64>)> {
        self.object
    }

    /// The object's version, if the event names one.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// Whether the event says that it was allowed.
    pub fn allowed(&self) -> bool {
        self.allowed
    }
}
