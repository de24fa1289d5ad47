//! What the tests of the trail have in common.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{
    Actor, AuditError, AuditSink, Batch, Event, Head, ObjectKind, ObjectRef, Operation, Outcome,
};
use crate::crypto::{Keyring, RootKey, RootKeys, Sealer, StaticKeys};
use crate::entropy::OsEntropy;
use crate::id::{ApplicationId, AuthorizationId, ClientId};
use crate::store::{ServerId, StoreError};

/// The read of secret `id`.
pub(super) fn event(id: u64) -> Event {
    Event {
        at: "2026-01-01T00:00:00.000001Z".parse().unwrap(),
        actor: Actor::Authorization {
            application: ApplicationId(1),
            authorization: AuthorizationId(2),
            client: ClientId(3),
        },
        ip: Some([10, 0, 0, 1].into()),
        operation: Operation::ReadSecret,
        object: Some(ObjectRef::new(ObjectKind::Secret, id, format!("secret-{id}")).version(1)),
        outcome: Outcome::Allowed,
        changes: Vec::new(),
        part: None,
    }
}

/// A sink in memory that fails as it is told.
#[derive(Debug, Default)]
pub(super) struct Sink(pub(super) Mutex<Kept>);

#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) batches: Vec<Arc<Batch>>,
    /// What becomes of the next appends.
    pub(super) down: Down,
    pub(super) appends: usize,
    pub(super) reads: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Down {
    #[default]
    No,
    /// Nothing happens.
    Refuses,
    /// The batch is kept and the answer lost.
    Forgets,
    Panics,
}

impl Sink {
    pub(super) fn set(&self, down: Down) {
        self.0.lock().unwrap().down = down;
    }

    pub(super) fn batches(&self) -> Vec<Arc<Batch>> {
        self.0.lock().unwrap().batches.clone()
    }

    /// All entries as one batch, which checks that they follow each other.
    pub(super) fn chain(&self, server: ServerId) -> Batch {
        let mut lines = Vec::new();
        for batch in self.batches() {
            lines.extend_from_slice(batch.lines());
        }
        Batch::read(Head::start(server), &lines).expect("a sound chain")
    }
}

#[async_trait]
impl AuditSink for Sink {
    async fn append(&self, batch: Arc<Batch>) -> Result<(), AuditError> {
        let mut kept = self.0.lock().unwrap();
        kept.appends += 1;
        let failure = Err(StoreError::Unavailable {
            reason: "told so".to_owned(),
            source: None,
        }
        .into());
        match kept.down {
            Down::No => {}
            Down::Refuses => return failure,
            Down::Forgets => {
                kept.batches.push(batch);
                return failure;
            }
            Down::Panics => {
                drop(kept);
                panic!("told so")
            }
        }
        kept.batches.push(batch);
        Ok(())
    }

    async fn head(&self, _server: ServerId) -> Result<Option<Head>, AuditError> {
        Ok(self.batches().last().map(|batch| *batch.head()))
    }

    async fn read(
        &self,
        _server: ServerId,
        from: u64,
        limit: usize,
    ) -> Result<Option<Arc<Batch>>, AuditError> {
        self.0.lock().unwrap().reads += 1;
        let mut after = None;
        let mut lines = Vec::new();
        for batch in self.batches() {
            let mut at = *batch.after();
            for (entry, line) in batch
                .entries()
                .zip(batch.lines().split_inclusive(|b| *b == b'\n'))
            {
                if entry.sequence >= from && entry.sequence < from + limit as u64 {
                    after.get_or_insert(at);
                    lines.extend_from_slice(line);
                }
                at.sequence = entry.sequence;
                at.link = entry.link;
            }
        }
        Ok(after.map(|after| Arc::new(Batch::read(after, &lines).expect("a sound chain"))))
    }

    async fn close(&self) {}
}

/// The keys of a vault.
pub(super) fn vault() -> (Arc<Sealer>, Arc<Keyring>) {
    let roots = RootKeys::only(RootKey::generate(&OsEntropy));
    let provider = Arc::new(StaticKeys::new(roots));
    let sealer = Sealer::new([9; 16], provider, Arc::new(OsEntropy)).unwrap();
    (Arc::new(sealer), Arc::new(Keyring::generate(&OsEntropy)))
}

/// These events after `after`.
pub(super) fn chained(after: Head, events: &[Event]) -> Arc<Batch> {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for event in events {
        serde_json::to_writer(&mut bytes, event).unwrap();
        ends.push(bytes.len());
    }
    Arc::new(Batch::chain(after, &bytes, &ends))
}
