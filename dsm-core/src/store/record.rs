use std::fmt;

use crate::time::Timestamp;

/// What a record is, as a number that stays what it is for ever. Stores do not interpret it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

/// The primary key of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// What it is.
    pub kind: Kind,
    /// Which one, from [`Store::next_id`](super::Store::next_id). At most `i64::MAX`.
    pub id: u64,
}

impl RecordKey {
    /// The key of record `id` of `kind`.
    pub fn new(kind: Kind, id: impl Into<u64>) -> Self {
        Self {
            kind,
            id: id.into(),
        }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}/{}", self.kind.0, self.id)
    }
}

/// A keyed hash of a field's name and value, for lookup by equality. Any 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub [u8; 16]);

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Term({})", data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// A term under which a record is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexTerm {
    /// The hash.
    pub term: Term,
    /// Whether at most one record of the kind may carry it as a unique term.
    pub unique: bool,
}

/// A sealed record with the little that a store needs to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The primary key.
    pub key: RecordKey,
    /// Counts the record's changes from 1.
    pub revision: u64,
    /// Sealed bytes.
    pub body: Vec<u8>,
    /// The terms it is found by; the store returns them in the order given.
    pub terms: Vec<IndexTerm>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it stops counting, if ever. The store keeps it all the same.
    pub expires_at: Option<Timestamp>,
}
