use std::fmt;
use std::ops::Bound;

use super::change::MAX_NUMBER;
use super::{Order, StoreError, Term};
use crate::time::Timestamp;

/// Names the process that writes one chain of the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub [u8; 16]);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({self})")
    }
}

/// A sealed batch of log entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Who wrote it.
    pub server: ServerId,
    /// The sequence number of its first entry; the key together with `server`. At most `i64::MAX`.
    pub sequence: u64,
    /// The sequence number of its last entry.
    pub last_sequence: u64,
    /// When the first entry was made.
    pub from: Timestamp,
    /// When the last entry was made.
    pub until: Timestamp,
    /// Terms of all entries, without doubles.
    pub terms: Vec<Term>,
    /// Sealed entries.
    pub body: Vec<u8>,
}

impl LogRecord {
    /// Refuses, for a backend before it begins, what no store takes.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.sequence > MAX_NUMBER || self.last_sequence > MAX_NUMBER {
            return Err(StoreError::backend("a log sequence is beyond i64::MAX"));
        }
        Ok(())
    }
}

/// Which part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// Only of this writer.
    pub server: Option<ServerId>,
    /// Only batches that carry all these terms.
    pub terms: Vec<Term>,
    /// Only batches that overlap this span of time.
    pub time: (Bound<Timestamp>, Bound<Timestamp>),
    /// The order of appending, or its reverse.
    pub order: Order,
    /// Continue after this position.
    pub after: Option<u64>,
    /// At most so many batches; at least 1.
    pub limit: usize,
}

impl LogQuery {
    /// The newest `limit` batches of every writer.
    pub fn newest(limit: usize) -> Self {
        Self {
            server: None,
            terms: Vec::new(),
            time: (Bound::Unbounded, Bound::Unbounded),
            order: Order::NewestFirst,
            after: None,
            limit,
        }
    }

    /// Only those of `server`.
    pub fn of(mut self, server: ServerId) -> Self {
        self.server = Some(server);
        self
    }
}

/// A page of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// Position and batch. Positions grow in the order of appending.
    pub records: Vec<(u64, LogRecord)>,
    /// Where the next page starts; `None` when this was the last one.
    pub next: Option<u64>,
}
