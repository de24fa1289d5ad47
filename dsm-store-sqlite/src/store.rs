use std::collections::HashMap;
use std::fs::File;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dsm_core::store::{
    ChangeSet, Changes, Job, Kind, Lease, LogPage, LogQuery, LogRecord, Notifier, OperationId,
    Page, Query, Record, RecordKey, RecordPage, Snapshot, Store, StoreError, Term, Topic,
};
use dsm_core::time::Timestamp;
use sqlx::ConnectOptions as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fault::Fault;
use crate::options::OpenOptions;
use crate::readers::{Readers, closed};
use crate::snapshot::SqliteSnapshot;
use crate::write::{Advance, Append, BLOCK, Claim, Extend, Reserve, Resolve, Touch};
use crate::writer::{WriterHandle, data_version};
use crate::{file, read, schema};

/// A store in one SQLite file.
///
/// Numbers of [`next_id`](Store::next_id) are reserved by the block: those of several processes
/// differ, and each process sees its own grow.
#[derive(Debug)]
pub struct SqliteStore {
    readers: Readers,
    writer: WriterHandle,
    /// The numbers reserved and not given out yet.
    ids: tokio::sync::Mutex<HashMap<Kind, RangeInclusive<u64>>>,
    open: Mutex<Option<Open>>,
}

/// What ends when the store is closed.
#[derive(Debug)]
struct Open {
    notifier: Arc<Notifier>,
    closing: oneshot::Sender<()>,
    task: JoinHandle<()>,
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens the store within a Tokio runtime, creates it when it is absent, and brings its schema
    /// up to date, unless the options say otherwise.
    ///
    /// # Errors
    ///
    /// - [`StoreError::OlderSchema`]: the file is empty or of an older version, and stays as it is by
    ///   [`OpenOptions::schema`].
    /// - [`StoreError::Locked`]: another process serves from the file, as this one was to.
    /// - [`StoreError::NewerSchema`]: a later version of this program wrote the file.
    /// - [`StoreError::Corrupt`]: the file is damaged or of another program.
    /// - [`StoreError::Unavailable`]: the file cannot be opened.
    pub async fn open(options: impl Into<OpenOptions>) -> Result<Self, StoreError> {
        let options = options.into();
        if options.create {
            file::create(&options.path)?;
        }
        let lock = options
            .serve
            .then(|| file::lock(&options.path))
            .transpose()?;
        let at_path = |fault: Fault| fault.at(&options.path);
        let connection = options.writing().connect().await;
        let mut connection = connection.map_err(|error| at_path(error.into()))?;
        let migrated = schema::migrate(&mut connection, options.schema).await;
        migrated.map_err(at_path)?;
        // Not before: it would write to a file that is to stay as it is. It stays in the file.
        let wal = sqlx::raw_sql("PRAGMA journal_mode = WAL");
        let wal = wal.execute(&mut connection).await;
        wal.map_err(|error| at_path(error.into()))?;
        let version = data_version(&mut connection).await;
        let version = version.map_err(|error| at_path(error.into()))?;

        let notifier = Arc::new(Notifier::default());
        let (closing, closed) = oneshot::channel();
        let (writer, task) = WriterHandle::start(
            options.clone(),
            connection,
            version,
            notifier.clone(),
            closed,
        );
        Ok(Self {
            readers: Readers::new(options),
            writer,
            ids: tokio::sync::Mutex::default(),
            open: Mutex::new(Some(Open {
                notifier,
                closing,
                task,
                _lock: lock,
            })),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        // Nothing is done under the lock but to take or clone a part.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn find(&self, key: RecordKey) -> Result<Option<Record>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let found = read::find(&mut reader, key).await;
        reader.finish(found)
    }

    async fn find_by(&self, kind: Kind, term: &Term) -> Result<Option<Record>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let found = read::find_by(&mut reader, kind, term).await;
        reader.finish(found)
    }

    async fn find_each(&self, wanted: &[(Kind, Term)]) -> Result<Vec<Option<Record>>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let found = read::find_each(&mut reader, wanted).await;
        reader.finish(found)
    }

    async fn list(&self, query: &Query, page: Page) -> Result<RecordPage, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let found = read::list(&mut reader, query, page).await;
        reader.finish(found)
    }

    async fn commit(&self, set: ChangeSet) -> Result<(), StoreError> {
        set.check()?;
        self.writer.run(set).await
    }

    async fn resolve(&self, operation: OperationId) -> Result<bool, StoreError> {
        self.writer.run(Resolve(operation)).await
    }

    async fn next_id(&self, kind: Kind) -> Result<u64, StoreError> {
        let mut ids = self.ids.lock().await;
        if self.readers.is_closed() {
            return Err(closed());
        }
        if let Some(next) = ids.get_mut(&kind).and_then(Iterator::next) {
            return Ok(next);
        }
        let last = self.writer.run(Reserve(kind)).await?;
        let first = last - (BLOCK - 1);
        ids.insert(kind, first + 1..=last);
        Ok(first)
    }

    async fn advance_ids(&self, kind: Kind, past: u64) -> Result<(), StoreError> {
        let mut ids = self.ids.lock().await;
        self.writer.run(Advance(kind, past)).await?;
        if ids.get(&kind).is_some_and(|block| *block.start() <= past) {
            ids.remove(&kind);
        }
        Ok(())
    }

    async fn append_log(&self, records: Vec<LogRecord>) -> Result<(), StoreError> {
        for record in &records {
            record.check()?;
        }
        self.writer.run(Append(records)).await
    }

    async fn read_log(&self, query: &LogQuery) -> Result<LogPage, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let found = read::read_log(&mut reader, query).await;
        reader.finish(found)
    }

    async fn claim_due(
        &self,
        topics: &[Topic],
        now: Timestamp,
        lease_for: Duration,
        limit: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        // Workers ask often and mostly in vain, which need not keep writers waiting.
        let mut reader = self.readers.acquire().await?;
        let due = read::is_due(&mut reader, topics, now).await;
        if limit == 0 || !reader.finish(due)? {
            return Ok(Vec::new());
        }
        let claim = Claim {
            topics: topics.to_vec(),
            now,
            lease_for,
            limit,
        };
        self.writer.run(claim).await
    }

    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<Lease, StoreError> {
        self.writer.run(Extend(lease.clone(), until)).await
    }

    async fn list_jobs(&self, topics: &[Topic], limit: usize) -> Result<Vec<Job>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let found = read::list_jobs(&mut reader, topics, limit).await;
        reader.finish(found)
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        if self.readers.is_closed() {
            return Err(closed());
        }
        Ok(Box::new(
            SqliteSnapshot::begin(self.readers.options()).await?,
        ))
    }

    fn changes(&self) -> Changes {
        match &*self.lock() {
            Some(open) => open.notifier.subscribe(),
            // A stream whose sender is gone ends at once.
            None => Notifier::default().subscribe(),
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let mut reader = self.readers.acquire().await?;
        let found = read::probe(&mut reader).await;
        reader.finish(found)?;
        self.writer.run(Touch).await
    }

    async fn close(&self) {
        let Some(open) = self.lock().take() else {
            return;
        };
        drop(open.notifier);
        // First: only a connection that writes, as the last one, folds the write-ahead log into
        // the file and removes it.
        self.readers.close().await;
        // The task has ended already when there is nobody to tell.
        let _ = open.closing.send(());
        if let Err(error) = open.task.await {
            tracing::error!(%error, "the task that writes did not end well");
        }
    }
}

#[cfg(test)]
mod tests;
