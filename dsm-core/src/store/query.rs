use std::ops::Bound;

use super::{Kind, Record, Term};
use crate::time::Timestamp;

/// Which records of one kind to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The kind.
    pub kind: Kind,
    /// Terms a record must carry, all of them, unique or not.
    pub terms: Vec<Term>,
    /// When it must have been created.
    pub created: (Bound<Timestamp>, Bound<Timestamp>),
    /// When it must expire; any bound leaves out records that never do.
    pub expires: (Bound<Timestamp>, Bound<Timestamp>),
    /// In which order of ids.
    pub order: Order,
}

impl Query {
    /// All records of `kind`, newest first.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            terms: Vec::new(),
            created: (Bound::Unbounded, Bound::Unbounded),
            expires: (Bound::Unbounded, Bound::Unbounded),
            order: Order::NewestFirst,
        }
    }

    /// Only those that carry `term` as well.
    pub fn with(mut self, term: Term) -> Self {
        self.terms.push(term);
        self
    }

    /// Oldest first.
    pub fn oldest_first(mut self) -> Self {
        self.order = Order::OldestFirst;
        self
    }

    /// Only those that expire at `until` or before.
    pub fn expired_at(mut self, until: Timestamp) -> Self {
        self.expires = (Bound::Unbounded, Bound::Included(until));
        self
    }
}

/// The order of a listing, by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Descending ids.
    NewestFirst,
    /// Ascending ids.
    OldestFirst,
}

/// Which part of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Continue after the record with this id.
    pub after: Option<u64>,
    /// At most so many records; at least 1.
    pub limit: usize,
}

impl Page {
    /// The first `limit` records.
    pub fn first(limit: usize) -> Self {
        Self { after: None, limit }
    }
}

/// A page of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPage {
    /// The records, in the query's order.
    pub records: Vec<Record>,
    /// Where the next page starts; `None` when this was the last one.
    pub next: Option<u64>,
}
