use std::collections::HashSet;
use std::fmt;

use super::{Job, JobKey, Lease, Record, RecordKey, Settlement, StoreError};
use crate::time::Timestamp;

/// The largest id, revision, subject or sequence; databases count in signed numbers.
pub(super) const MAX_NUMBER: u64 = i64::MAX as u64;

/// Refuses a number that no store takes.
pub(super) fn check_number(number: u64) -> Result<(), StoreError> {
    if number > MAX_NUMBER {
        return Err(StoreError::backend("a number is beyond i64::MAX"));
    }
    Ok(())
}

/// Changes that take effect together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// Changes of records. No key occurs twice.
    pub records: Vec<Change>,
    /// Changes of the queue. No job key occurs twice, those of `settled` included.
    pub jobs: Vec<JobChange>,
    /// Leases that end with this set, or that it depends on; a lost one refuses the whole set.
    pub settled: Vec<(Lease, Settlement)>,
    /// Names the set, so that what became of it can be told when the answer to its commit was lost:
    /// see [`Store::resolve`](super::Store::resolve).
    pub operation: Option<OperationId>,
}

/// One guarded change of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The record must not exist; its revision is 1, or what it was when it is restored.
    Create(Record),
    /// The record must be at `expected`. The new one carries `expected + 1`, or `expected` itself
    /// when only its sealing changes (a rewrap under another root key).
    Update {
        /// The record as it shall be.
        record: Record,
        /// The revision it must have now.
        expected: u64,
    },
    /// The record must be at `expected`.
    Delete {
        /// Which record.
        key: RecordKey,
        /// The revision it must have now.
        expected: u64,
    },
    /// The record must be at `expected` and stays as it is: what the set was decided on still holds
    /// when the set takes effect.
    Check {
        /// Which record.
        key: RecordKey,
        /// The revision it must have now.
        expected: u64,
    },
}

impl Change {
    /// The record concerned.
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Create(record) | Self::Update { record, .. } => record.key,
            Self::Delete { key, .. } | Self::Check { key, .. } => *key,
        }
    }

    /// The revision the record must have now; none if it must not exist.
    pub fn expected(&self) -> Option<u64> {
        match self {
            Self::Create(_) => None,
            Self::Update { expected, .. }
            | Self::Delete { expected, .. }
            | Self::Check { expected, .. } => Some(*expected),
        }
    }

    /// Whether the record is another one, or none, afterwards.
    pub fn alters(&self) -> bool {
        !matches!(self, Self::Check { .. })
    }
}

/// Names one commit: the milliseconds since the Unix epoch in 6 bytes, big-endian, then 10 random
/// ones. Only equality matters to a store; that new names come after old ones keeps an index small.
/// A persistent store remembers it for at least an hour by its own clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub [u8; 16]);

impl OperationId {
    /// A name for a commit that begins at `now`.
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&milliseconds(now));
        id[6..].copy_from_slice(&random);
        Self(id)
    }
}

fn milliseconds(at: Timestamp) -> [u8; 6] {
    let millis = at.timestamp_millis().clamp(0, (1 << 48) - 1);
    let [_, _, bytes @ ..] = millis.to_be_bytes();
    bytes
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationId({self})")
    }
}

/// One change of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobChange {
    /// Schedules the job, in place of what the key had; a lease on that is lost.
    Put(Job),
    /// Removes the job if it is there; a lease on it is lost.
    Remove(JobKey),
}

impl ChangeSet {
    /// Whether there is nothing to do and nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.jobs.is_empty()
            && self.settled.is_empty()
            && self.operation.is_none()
    }

    /// Refuses, for a backend before it begins, what no store takes: a key that occurs twice, a
    /// number beyond `i64::MAX`.
    pub fn check(&self) -> Result<(), StoreError> {
        let mut records = HashSet::new();
        for change in &self.records {
            let key = change.key();
            let revision = match change {
                Change::Create(record) | Change::Update { record, .. } => record.revision,
                Change::Delete { .. } | Change::Check { .. } => 0,
            };
            if key.id > MAX_NUMBER || revision > MAX_NUMBER {
                return Err(StoreError::backend(format!(
                    "{key}: its id or revision is beyond i64::MAX"
                )));
            }
            if !records.insert(key) {
                return Err(StoreError::backend(format!("{key} occurs twice in a set")));
            }
        }
        let mut jobs = HashSet::new();
        let changed = self.jobs.iter().map(|change| match change {
            JobChange::Put(job) => job.key,
            JobChange::Remove(key) => *key,
        });
        for key in changed.chain(self.settled.iter().map(|(lease, _)| lease.job.key)) {
            if key.subject > MAX_NUMBER {
                return Err(StoreError::backend(format!(
                    "{key}: its subject is beyond i64::MAX"
                )));
            }
            if !jobs.insert(key) {
                return Err(StoreError::backend(format!("{key} occurs twice in a set")));
            }
        }
        Ok(())
    }

    /// The keys of records that exist before the set: those it updates or deletes.
    pub fn changed_keys(&self) -> Vec<RecordKey> {
        let changed = self
            .records
            .iter()
            .filter(|change| matches!(change, Change::Update { .. } | Change::Delete { .. }));
        changed.map(Change::key).collect()
    }

    /// Adds the creation of `record`.
    pub fn create(mut self, record: Record) -> Self {
        self.records.push(Change::Create(record));
        self
    }

    /// Adds the replacement of the record at revision `expected`.
    pub fn update(mut self, record: Record, expected: u64) -> Self {
        self.records.push(Change::Update { record, expected });
        self
    }

    /// Adds the removal of the record at revision `expected`.
    pub fn delete(mut self, key: RecordKey, expected: u64) -> Self {
        self.records.push(Change::Delete { key, expected });
        self
    }

    /// Adds the condition that a record is at revision `expected`.
    pub fn check_at(mut self, key: RecordKey, expected: u64) -> Self {
        self.records.push(Change::Check { key, expected });
        self
    }

    /// Adds everything that `other` does; the name is this set's.
    pub fn and(mut self, other: Self) -> Self {
        self.records.extend(other.records);
        self.jobs.extend(other.jobs);
        self.settled.extend(other.settled);
        self
    }

    /// Names the set.
    pub fn named(mut self, operation: OperationId) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Schedules a job.
    pub fn put_job(mut self, job: Job) -> Self {
        self.jobs.push(JobChange::Put(job));
        self
    }

    /// Removes a job.
    pub fn remove_job(mut self, key: JobKey) -> Self {
        self.jobs.push(JobChange::Remove(key));
        self
    }

    /// Adds the condition that a lease is the job's latest. It goes on.
    pub fn hold(self, lease: &Lease) -> Self {
        self.settle(lease, Settlement::Held)
    }

    /// Ends a lease.
    pub fn settle(mut self, lease: &Lease, settlement: Settlement) -> Self {
        self.settled.push((lease.clone(), settlement));
        self
    }
}
