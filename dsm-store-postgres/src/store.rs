use std::collections::HashMap;
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dsm_core::store::{
    Change, ChangeSet, Changes, Job, Kind, Lease, LogPage, LogQuery, LogRecord, OperationId, Page,
    Query, Record, RecordKey, RecordPage, Snapshot, Store, StoreError, Term, Topic,
};
use dsm_core::time::Timestamp;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::changes::Subscribers;
use crate::database::{Database, Failure, Work};
use crate::fault::{Fault, closed, unavailable};
use crate::listener::Listener;
use crate::options::PostgresOptions;
use crate::read::{Find, FindBy, FindEach, List, ListJobs, Probe, ReadLog};
use crate::schema;
use crate::snapshot::PostgresSnapshot;
use crate::write::{Advance, Append, BLOCK, Claim, Commit, Extend, Reserve, Resolve};

/// How long a call waits for the numbers that another is reserving, and for its own.
const NUMBERS: Duration = Duration::from_secs(4);

/// A store in one Postgres database, which several servers may have open.
///
/// Every call answers within 4 seconds, only those of a snapshot may take 30; what is begun goes on
/// when its future is dropped. Numbers of [`next_id`](Store::next_id) are reserved by the block.
#[derive(Debug)]
pub struct PostgresStore {
    database: Arc<Database>,
    subscribers: Arc<Subscribers>,
    /// The numbers reserved and not given out yet.
    ids: tokio::sync::Mutex<HashMap<Kind, RangeInclusive<u64>>>,
    listening: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl PostgresStore {
    /// Opens the store within a Tokio runtime and brings its schema up to date, unless the options say
    /// otherwise. Several servers may do so at once.
    ///
    /// # Errors
    ///
    /// - [`StoreError::OlderSchema`]: the database is empty or of an older version, and stays as it
    ///   is by [`PostgresOptions::schema`].
    /// - [`StoreError::NewerSchema`]: a later version of this program wrote the schema.
    /// - [`StoreError::Corrupt`]: the schema `dsm` is of another program.
    /// - [`StoreError::Backend`]: the server may lose commits, see
    ///   [`PostgresOptions::accept_data_loss`], or is too old.
    /// - [`StoreError::Unavailable`]: no host that takes writes was reached, or it did not answer.
    pub async fn open(options: impl Into<PostgresOptions>) -> Result<Self, StoreError> {
        let options = options.into();
        let database = Arc::new(Database::new(&options));
        let mut session = database.hosts.connect().await.map_err(Fault::told)?;
        let migrated = schema::migrate(&mut session.connection, options.schema).await;
        migrated.map_err(Fault::told)?;
        database.keep(session);
        let subscribers = Arc::new(Subscribers::new()?);
        let listener = Listener::connect(database.clone(), subscribers.clone()).await;
        let listener = listener.map_err(Fault::told)?;
        let (closing, closed) = oneshot::channel();
        let task = tokio::spawn(listener.run(closed));
        Ok(Self {
            database,
            subscribers,
            ids: tokio::sync::Mutex::default(),
            listening: Mutex::new(Some((closing, task))),
        })
    }

    /// Does the work on a task of its own: what is begun goes on when nobody waits any more.
    async fn run<W: Work>(&self, work: W) -> Result<W::Output, StoreError> {
        self.database.run(work).await
    }

    /// Bounds the wait for the lock of the numbers as well.
    async fn in_time<T: Send>(
        &self,
        numbers: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let answer = timeout(NUMBERS, numbers).await;
        answer.unwrap_or_else(|_| Err(unavailable("the database did not answer in time")))
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn find(&self, key: RecordKey) -> Result<Option<Record>, StoreError> {
        self.run(Find(key)).await
    }

    async fn find_by(&self, kind: Kind, term: &Term) -> Result<Option<Record>, StoreError> {
        self.run(FindBy(kind, *term)).await
    }

    async fn find_each(&self, wanted: &[(Kind, Term)]) -> Result<Vec<Option<Record>>, StoreError> {
        self.run(FindEach(wanted.to_vec())).await
    }

    async fn list(&self, query: &Query, page: Page) -> Result<RecordPage, StoreError> {
        self.run(List(query.clone(), page)).await
    }

    async fn commit(&self, set: ChangeSet) -> Result<(), StoreError> {
        set.check()?;
        let altered = set.records.iter().filter(|change| change.alters());
        let keys = altered.map(Change::key).collect();
        let commit = Commit::new(set)?;
        let notice = self.subscribers.announce(keys);
        let payload = notice.as_ref().map(|notice| notice.payload.clone());
        let commit = commit.notifying(payload);
        let (database, subscribers) = (self.database.clone(), self.subscribers.clone());
        // Subscribers are told even when nobody waits any more.
        let task = tokio::spawn(async move {
            let result = database.serve(&commit).await.map_err(Failure::of_commit);
            if let Some(notice) = &notice {
                match &result {
                    Ok(()) => subscribers.done(notice),
                    Err(StoreError::OutcomeUnknown { .. }) => subscribers.unanswered(notice),
                    Err(_) => subscribers.refused(notice),
                }
            }
            result
        });
        task.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn resolve(&self, operation: OperationId) -> Result<bool, StoreError> {
        self.run(Resolve(operation)).await
    }

    async fn next_id(&self, kind: Kind) -> Result<u64, StoreError> {
        self.in_time(async {
            let mut ids = self.ids.lock().await;
            if self.database.is_closed() {
                return Err(closed());
            }
            if let Some(next) = ids.get_mut(&kind).and_then(Iterator::next) {
                return Ok(next);
            }
            let last = self.run(Reserve(kind)).await?;
            let first = last - (BLOCK - 1);
            ids.insert(kind, first + 1..=last);
            Ok(first)
        })
        .await
    }

    async fn advance_ids(&self, kind: Kind, past: u64) -> Result<(), StoreError> {
        self.in_time(async {
            let mut ids = self.ids.lock().await;
            // Those reserved already may be lower.
            ids.remove(&kind);
            self.run(Advance(kind, past)).await
        })
        .await
    }

    async fn append_log(&self, records: Vec<LogRecord>) -> Result<(), StoreError> {
        for record in &records {
            record.check()?;
        }
        self.run(Append::new(records)?).await
    }

    async fn read_log(&self, query: &LogQuery) -> Result<LogPage, StoreError> {
        self.run(ReadLog(query.clone())).await
    }

    async fn claim_due(
        &self,
        topics: &[Topic],
        now: Timestamp,
        lease_for: Duration,
        limit: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        let claim = Claim {
            topics: topics.to_vec(),
            now,
            lease_for,
            limit,
        };
        self.run(claim).await
    }

    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<Lease, StoreError> {
        self.run(Extend(lease.clone(), until)).await
    }

    async fn list_jobs(&self, topics: &[Topic], limit: usize) -> Result<Vec<Job>, StoreError> {
        self.run(ListJobs(topics.to_vec(), limit)).await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        if self.database.is_closed() {
            return Err(closed());
        }
        let snapshot = PostgresSnapshot::begin(&self.database.hosts).await?;
        Ok(Box::new(snapshot))
    }

    fn changes(&self) -> Changes {
        self.subscribers.subscribe()
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.run(Probe).await
    }

    async fn close(&self) {
        let listening = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.database.close().await;
        if let Some((closing, task)) = listening {
            // The task has ended already when there is nobody to tell.
            let _ = closing.send(());
            if let Err(error) = task.await {
                tracing::error!(%error, "the task that listens did not end well");
            }
        }
        self.subscribers.close();
    }
}
