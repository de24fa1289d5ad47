//! The storage port: sealed records, a log, a queue and a stream of changes.
//!
//! A store is untrusted and small. It never sees plaintext, policy included, and decides nothing:
//! the vault hands it sealed bytes and keyed hashes and authenticates whatever comes back. A new
//! kind of object therefore costs a backend no line.
//!
//! # Adding a backend
//!
//! Implement [`Store`] and run the conformance suite over it:
//!
//! ```text
//! dsm_core::store_conformance!(persistent || async { MyFixture::new().await });
//! ```

mod change;
mod error;
mod log;
mod memory;
mod query;
mod queue;
mod record;
mod schema;
mod snapshot;
mod watch;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

pub use self::change::{Change, ChangeSet, JobChange, OperationId};
pub use self::error::StoreError;
pub use self::log::{LogPage, LogQuery, LogRecord, ServerId};
pub use self::memory::MemoryStore;
pub use self::query::{Order, Page, Query, RecordPage};
pub use self::queue::{Job, JobKey, Lease, Settlement, Topic};
pub use self::record::{IndexTerm, Kind, Record, RecordKey, Term};
pub use self::schema::SchemaChanges;
pub use self::snapshot::{Snapshot, SnapshotPart};
pub use self::watch::{Changed, Changes, Notifier};
use crate::time::Timestamp;

/// What a backend provides.
///
/// # Guarantees every backend gives
///
/// - **Durability**: [`commit`](Store::commit) and [`append_log`](Store::append_log) return `Ok`
///   only after the effect survives the loss of the process and of the machine's power.
/// - **Atomicity**: a [`ChangeSet`] takes effect whole or not at all, for readers as well.
/// - **Visibility**: what a call acknowledged is seen by every later call on the same store.
/// - **Cancellation**: dropping a future leaves the effect whole or absent, never in part, and the
///   store usable.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// The record with this key.
    async fn find(&self, key: RecordKey) -> Result<Option<Record>, StoreError>;

    /// The record of `kind` that carries `term` as a *unique* term.
    async fn find_by(&self, kind: Kind, term: &Term) -> Result<Option<Record>, StoreError>;

    /// The record that each of these unique terms finds, in their order. Where a backend is far away
    /// it answers in one round trip.
    async fn find_each(&self, wanted: &[(Kind, Term)]) -> Result<Vec<Option<Record>>, StoreError> {
        let mut found = Vec::with_capacity(wanted.len());
        for (kind, term) in wanted {
            found.push(self.find_by(*kind, term).await?);
        }
        Ok(found)
    }

    /// One page of the records that match `query`.
    ///
    /// Paging by the returned cursor meets every record that existed before the first page and
    /// still exists exactly once, whatever is inserted or deleted meanwhile.
    async fn list(&self, query: &Query, page: Page) -> Result<RecordPage, StoreError>;

    /// Applies every change of the set, or none.
    ///
    /// # Errors
    ///
    /// - [`StoreError::AlreadyExists`]: a created key, or a unique term of a created or updated
    ///   record, is taken by another record (of the store as it is after the whole set).
    /// - [`StoreError::RevisionMismatch`]: an updated, deleted or checked record is absent or has
    ///   another revision than expected.
    /// - [`StoreError::LeaseLost`]: a settled lease is not the job's latest.
    /// - [`StoreError::Backend`]: the set is malformed, as [`ChangeSet::check`] tells.
    /// - [`StoreError::GivenUp`]: the set's operation was resolved before as not having happened.
    /// - [`StoreError::Unavailable`]: nothing was done, nor will be.
    /// - [`StoreError::OutcomeUnknown`]: the answer was lost; [`resolve`](Store::resolve) tells what
    ///   became of the set.
    ///
    /// A set whose operation took effect before is accepted and changes nothing.
    async fn commit(&self, set: ChangeSet) -> Result<(), StoreError>;

    /// Tells whether the set of this name took effect. If it did not, it never will: a commit of
    /// it that is still on its way is refused. To be asked within an hour of the commit.
    async fn resolve(&self, operation: OperationId) -> Result<bool, StoreError>;

    /// A number greater than any that this instance returned for `kind`, starting at 1. Numbers may
    /// be skipped and are never returned twice, across restarts and instances as well.
    async fn next_id(&self, kind: Kind) -> Result<u64, StoreError>;

    /// Makes every later number of `kind` greater than `past`, for records that were brought here
    /// from elsewhere. Numbers never go back.
    async fn advance_ids(&self, kind: Kind, past: u64) -> Result<(), StoreError>;

    /// Appends log records in order. A record whose `(server, sequence)` is present already is
    /// passed over, so that a batch can be repeated.
    async fn append_log(&self, records: Vec<LogRecord>) -> Result<(), StoreError>;

    /// One page of the log.
    async fn read_log(&self, query: &LogQuery) -> Result<LogPage, StoreError>;

    /// Leases up to `limit` jobs of `topics` that are due at `now` and under no lease that is still
    /// running, the longest due first. Each lease has a higher generation than any before it of the
    /// same job; two callers never hold the same generation.
    async fn claim_due(
        &self,
        topics: &[Topic],
        now: Timestamp,
        lease_for: Duration,
        limit: usize,
    ) -> Result<Vec<Lease>, StoreError>;

    /// Prolongs a lease to `until`.
    ///
    /// # Errors
    ///
    /// [`StoreError::LeaseLost`] when the job was leased again, rescheduled or removed since.
    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<Lease, StoreError>;

    /// Jobs of `topics` by due time, for reports; leases do not matter.
    async fn list_jobs(&self, topics: &[Topic], limit: usize) -> Result<Vec<Job>, StoreError>;

    /// Everything there is, as it is at one instant between this call and its return, however long
    /// it takes to read and whatever is written meanwhile.
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;

    /// A stream of what changes from now on.
    fn changes(&self) -> Changes;

    /// Answers when the store can serve reads and writes.
    async fn probe(&self) -> Result<(), StoreError>;

    /// Waits for what is under way and releases the backend's resources. Later calls fail with
    /// [`StoreError::Unavailable`].
    async fn close(&self);
}

/// What follows from the methods of [`Store`].
#[async_trait]
pub trait StoreExt: Store {
    /// Ends a lease: the job is removed or due again later.
    ///
    /// # Errors
    ///
    /// [`StoreError::LeaseLost`] as for [`Store::commit`].
    async fn settle(&self, lease: &Lease, settlement: Settlement) -> Result<(), StoreError> {
        self.commit(ChangeSet::default().settle(lease, settlement))
            .await
    }
}

impl<S: Store + ?Sized> StoreExt for S {}
