//! A store of your own. This one counts what it is asked; the rest it leaves to another store.
//!
//! A real one implements the same methods over its database and proves itself with
//! `dsm_core::store_conformance!`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dsm_core::crypto::StaticKeys;
use dsm_core::entropy::OsEntropy;
use dsm_core::secret::SecretData;
use dsm_core::store::{
    ChangeSet, Changes, Job, Kind, Lease, LogPage, LogQuery, LogRecord, MemoryStore, OperationId,
    Page, Query, Record, RecordKey, RecordPage, Snapshot, Store, StoreError, Term, Topic,
};
use dsm_core::time::Timestamp;
use dsm_core::vault::{Caller, SecretFields, Vault};

#[derive(Debug, Default)]
struct CountingStore {
    inner: MemoryStore,
    commits: AtomicU64,
}

#[async_trait]
impl Store for CountingStore {
    async fn find(&self, key: RecordKey) -> Result<Option<Record>, StoreError> {
        self.inner.find(key).await
    }

    async fn find_by(&self, kind: Kind, term: &Term) -> Result<Option<Record>, StoreError> {
        self.inner.find_by(kind, term).await
    }

    async fn list(&self, query: &Query, page: Page) -> Result<RecordPage, StoreError> {
        self.inner.list(query, page).await
    }

    async fn commit(&self, set: ChangeSet) -> Result<(), StoreError> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.inner.commit(set).await
    }

    async fn resolve(&self, operation: OperationId) -> Result<bool, StoreError> {
        self.inner.resolve(operation).await
    }

    async fn next_id(&self, kind: Kind) -> Result<u64, StoreError> {
        self.inner.next_id(kind).await
    }

    async fn advance_ids(&self, kind: Kind, past: u64) -> Result<(), StoreError> {
        self.inner.advance_ids(kind, past).await
    }

    async fn append_log(&self, records: Vec<LogRecord>) -> Result<(), StoreError> {
        self.inner.append_log(records).await
    }

    async fn read_log(&self, query: &LogQuery) -> Result<LogPage, StoreError> {
        self.inner.read_log(query).await
    }

    async fn claim_due(
        &self,
        topics: &[Topic],
        now: Timestamp,
        lease_for: Duration,
        limit: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        self.inner.claim_due(topics, now, lease_for, limit).await
    }

    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<Lease, StoreError> {
        self.inner.extend(lease, until).await
    }

    async fn list_jobs(&self, topics: &[Topic], limit: usize) -> Result<Vec<Job>, StoreError> {
        self.inner.list_jobs(topics, limit).await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.inner.snapshot().await
    }

    fn changes(&self) -> Changes {
        self.inner.changes()
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.inner.probe().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Arc::new(CountingStore::default());
    let keys = Arc::new(StaticKeys::generate(&OsEntropy));
    let vault = Vault::builder_dyn(store.clone(), keys).initialise().await?;
    let me = Caller::embedded("example");
    for n in 0..3 {
        let data = SecretData::key_values([("KEY", "value")]);
        vault
            .create_secret(&me, &format!("s{n}"), SecretFields::new("n", data))
            .await?;
    }
    println!("{} commits", store.commits.load(Ordering::Relaxed));
    vault.close().await;
    Ok(())
}
