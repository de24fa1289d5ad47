use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::store::{
    ChangeSet, Changes, Job, Kind, Lease, LogPage, LogQuery, LogRecord, OperationId, Page, Query,
    Record, RecordKey, RecordPage, Snapshot, Store, StoreError, Term, Topic,
};
use crate::time::Timestamp;

/// A call that a [`FaultyStore`] can be told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreCall {
    /// `find`, `find_by` and `list`.
    Read,
    /// `commit`.
    Commit,
    /// `commit`, after it took effect: the answer is lost.
    Answer,
    /// `resolve`.
    Resolve,
    /// `append_log`.
    AppendLog,
}

type Fail = Box<dyn FnMut(StoreCall) -> bool + Send>;
type Tamper = Box<dyn Fn(&mut Record) + Send>;

/// A store over another one that fails, or lies, when told.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    fail: Mutex<Option<Fail>>,
    tamper: Mutex<Option<Tamper>>,
}

impl FaultyStore {
    /// A store that does as `inner` until told otherwise.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            fail: Mutex::new(None),
            tamper: Mutex::new(None),
        }
    }

    /// From now on a call fails when `fail` says so.
    pub fn fail_when(&self, fail: impl FnMut(StoreCall) -> bool + Send + 'static) {
        *self.fail.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(fail));
    }

    /// From now on every record that is read goes through `tamper`.
    pub fn tamper(&self, tamper: impl Fn(&mut Record) + Send + 'static) {
        *self.tamper.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tamper));
    }

    /// Does as the inner store again.
    pub fn heal(&self) {
        *self.fail.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.tamper.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn check(&self, call: StoreCall) -> Result<(), StoreError> {
        let mut fail = self.fail.lock().unwrap_or_else(PoisonError::into_inner);
        if fail.as_mut().is_some_and(|fail| fail(call)) {
            let reason = "told to fail".to_owned();
            return Err(StoreError::Unavailable {
                reason,
                source: None,
            });
        }
        Ok(())
    }

    fn pass(&self, record: &mut Record) {
        let tamper = self.tamper.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tamper) = tamper.as_ref() {
            tamper(record);
        }
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn find(&self, key: RecordKey) -> Result<Option<Record>, StoreError> {
        self.check(StoreCall::Read)?;
        let mut found = self.inner.find(key).await?;
        if let Some(record) = &mut found {
            self.pass(record);
        }
        Ok(found)
    }

    async fn find_by(&self, kind: Kind, term: &Term) -> Result<Option<Record>, StoreError> {
        self.check(StoreCall::Read)?;
        let mut found = self.inner.find_by(kind, term).await?;
        if let Some(record) = &mut found {
            self.pass(record);
        }
        Ok(found)
    }

    async fn list(&self, query: &Query, page: Page) -> Result<RecordPage, StoreError> {
        self.check(StoreCall::Read)?;
        let mut found = self.inner.list(query, page).await?;
        for record in &mut found.records {
            self.pass(record);
        }
        Ok(found)
    }

    async fn commit(&self, set: ChangeSet) -> Result<(), StoreError> {
        self.check(StoreCall::Commit)?;
        self.inner.commit(set).await?;
        self.check(StoreCall::Answer).map_err(|error| match error {
            StoreError::Unavailable { reason, source } => {
                StoreError::OutcomeUnknown { reason, source }
            }
            error => error,
        })
    }

    async fn resolve(&self, operation: OperationId) -> Result<bool, StoreError> {
        self.check(StoreCall::Resolve)?;
        self.inner.resolve(operation).await
    }

    async fn next_id(&self, kind: Kind) -> Result<u64, StoreError> {
        self.inner.next_id(kind).await
    }

    async fn advance_ids(&self, kind: Kind, past: u64) -> Result<(), StoreError> {
        self.inner.advance_ids(kind, past).await
    }

    async fn append_log(&self, records: Vec<LogRecord>) -> Result<(), StoreError> {
        self.check(StoreCall::AppendLog)?;
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
