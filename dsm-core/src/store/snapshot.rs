use std::fmt::Debug;

use async_trait::async_trait;

use super::{Job, Kind, LogRecord, Record, StoreError};

/// The whole of a store at one instant, read part by part.
///
/// The parts come in a fixed order: records by kind and id, then the log in the order of appending,
/// then jobs by topic and subject, then the numbers that were given, by kind. Two stores of the same
/// content give the same sequence up to the numbers, however it is cut into parts. Leases and names
/// of operations are not part of it: they mean nothing elsewhere.
#[async_trait]
pub trait Snapshot: Send + Debug {
    /// How many records, log records and jobs there are in all.
    fn size(&self) -> u64;

    /// The next part, never empty; `None` at the end. A part is small enough to be held in memory.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] also when the backend could not keep the instant any longer; the
    /// snapshot is of no use then.
    async fn next(&mut self) -> Result<Option<SnapshotPart>, StoreError>;
}

/// A piece of a [`Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotPart {
    /// Records, by kind and id.
    Records(Vec<Record>),
    /// Batches of the log, in the order of appending.
    Log(Vec<LogRecord>),
    /// Jobs, by topic and subject.
    Jobs(Vec<Job>),
    /// For each kind a number that none given by [`Store::next_id`](super::Store::next_id) exceeds.
    Sequences(Vec<(Kind, u64)>),
}
