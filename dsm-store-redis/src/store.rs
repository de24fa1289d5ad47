use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dsm_core::store::{
    ChangeSet, Changes, Job, Kind, Lease, LogPage, LogQuery, LogRecord, Notifier, OperationId,
    Page, Query, Record, RecordKey, RecordPage, Snapshot, Store, StoreError, Term, Topic,
};
use dsm_core::time::Timestamp;
use redis::{Cmd, Value, cmd};
use tokio::sync::RwLock;

use crate::encoding::{
    decode_record, encode_batch, instant, job_key, kind_term, number, record_key,
};
use crate::fault::{Fault, closed, unexpected};
use crate::gather::gather;
use crate::keys::Keys;
use crate::link::{Link, Resend, Sending};
use crate::options::RedisOptions;
use crate::read;
use crate::scripts::{self, Script};
use crate::snapshot::RedisSnapshot;
use crate::target::Target;
use crate::watch::Watch;
use crate::{open, write};

/// Within which every call answers, but for a commit's wait for its own change.
const CALL: Duration = Duration::from_millis(3_500);
/// For how long a page is looked for, so that the next call goes on where this one stopped instead of
/// beginning again.
const SEARCH: Duration = Duration::from_secs(2);
/// How many numbers are reserved at once.
const BLOCK: u64 = 32;

/// A store in one Redis.
///
/// Every call answers within four seconds, with [`StoreError::Unavailable`] or
/// [`StoreError::OutcomeUnknown`] when Redis does not; lost connections are made anew by later calls.
/// A page of a listing is one script, unless more than 5,000 entries or 8 MiB are looked through
/// for it, when it is put together from several; after two seconds of that it ends with what was
/// found. Numbers of [`next_id`](Store::next_id) are reserved
/// by the block: those of several processes differ, and each process sees its own grow.
#[derive(Debug)]
pub struct RedisStore {
    inner: Arc<Inner>,
    /// The numbers reserved and not given out yet.
    ids: tokio::sync::Mutex<HashMap<Kind, RangeInclusive<u64>>>,
    open: Mutex<Option<Open>>,
}

/// What ends when the store is closed.
#[derive(Debug)]
struct Open {
    notifier: Arc<Notifier>,
    watch: Watch,
}

/// What snapshots need as well.
#[derive(Debug)]
pub(crate) struct Inner {
    target: Arc<Target>,
    keys: Arc<Keys>,
    replicas: u32,
    reading: Link,
    /// Of its own when writes wait for replicas, which holds up a connection.
    writing: Option<Link>,
    /// Whether it is open. Held by every call while it runs.
    gate: RwLock<bool>,
}

impl RedisStore {
    /// Connects within a Tokio runtime, checks what durability depends on, and makes a new store
    /// where the prefix has none, unless the options say otherwise. It does not try again.
    ///
    /// # Errors
    ///
    /// - [`StoreError::OlderSchema`]: the prefix has no store or one of an older version, and stays as
    ///   it is by [`RedisOptions::schema`].
    /// - [`StoreError::Unavailable`]: Redis cannot be reached, is not ready or refuses the login.
    /// - [`StoreError::Backend`]: Redis is too old, a cluster, or has settings that lose acknowledged
    ///   writes; its source says what to set. [`RedisOptions::accept_data_loss`] passes over the
    ///   settings.
    /// - [`StoreError::NewerSchema`]: a later version of this program made the store.
    /// - [`StoreError::Corrupt`]: there are keys of another program under the prefix.
    pub async fn open(options: RedisOptions) -> Result<Self, StoreError> {
        let target = Arc::new(Target::new(&options)?);
        let opening = Self::connect(&options, target.clone());
        let result = tokio::time::timeout(2 * CALL, opening).await;
        result.unwrap_or_else(|_| Err(target.slow(2 * CALL)))
    }

    async fn connect(options: &RedisOptions, target: Arc<Target>) -> Result<Self, StoreError> {
        let keys = target.keys().clone();
        let reading = Link::new(target.clone());
        open::check_schema(&reading, &keys, options.schema).await?;
        target.opened();
        let notifier = Arc::new(Notifier::default());
        let watch = Watch::start(target.clone(), keys.clone(), notifier.clone()).await?;
        let inner = Inner {
            writing: (options.min_replicas > 0).then(|| Link::new(target.clone())),
            target,
            keys,
            replicas: options.min_replicas,
            reading,
            gate: RwLock::new(true),
        };
        Ok(Self {
            inner: Arc::new(inner),
            ids: tokio::sync::Mutex::default(),
            open: Mutex::new(Some(Open { notifier, watch })),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        // Nothing is done under the lock but to take or clone a part.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn commit_within(&self, set: &ChangeSet, sent: &AtomicBool) -> Result<i64, StoreError> {
        let arguments = write::commit_arguments(set)?;
        let script = write::script(set);
        // It is never sent twice: the first one may come after the second.
        let sending = Sending::Script(script, &self.inner.keys, &arguments);
        sent.store(true, Ordering::Relaxed);
        let answer = self.inner.send(sending, Resend::Never).await;
        let answer = answer.map_err(|fault| {
            sent.store(fault.sent, Ordering::Relaxed);
            fault.of_commit()
        })?;
        write::outcome(answer, set.operation)
    }

    async fn reserve(&self, kind: Kind, count: u64) -> Result<u64, StoreError> {
        let arguments = [
            kind.0.to_be_bytes().to_vec(),
            count.to_string().into_bytes(),
        ];
        let last = self.inner.change(&scripts::RESERVE, &arguments).await?;
        read::text(last)?.parse().map_err(|_| unexpected())
    }

    async fn next(&self, kind: Kind) -> Result<u64, StoreError> {
        let mut ids = self.ids.lock().await;
        if let Some(next) = ids.get_mut(&kind).and_then(Iterator::next) {
            return Ok(next);
        }
        match self.reserve(kind, BLOCK).await {
            Ok(last) => {
                let first = last - (BLOCK - 1);
                ids.insert(kind, first + 1..=last);
                Ok(first)
            }
            // So near the end of all numbers there is no room for a block.
            Err(StoreError::Backend { .. }) => self.reserve(kind, 1).await,
            Err(error) => Err(error),
        }
    }
}

impl Inner {
    /// Runs a call: not when the store is closed, and not for too long.
    async fn run<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let call = async {
            let open = self.gate.read().await;
            if *open { call.await } else { Err(closed()) }
        };
        let result = tokio::time::timeout(CALL, call).await;
        result.unwrap_or_else(|_| Err(self.target.slow(CALL)))
    }

    async fn ask(&self, script: &Script, arguments: &[Vec<u8>]) -> Result<Value, StoreError> {
        let keys = &self.keys;
        let answer = self.reading.script(script, keys, arguments, Resend::Once);
        Ok(answer.await?)
    }

    async fn send(&self, sending: Sending<'_>, resend: Resend) -> Result<Value, Fault> {
        let link = self.writing.as_ref().unwrap_or(&self.reading);
        link.write(sending, resend, self.replicas).await
    }

    async fn change(&self, script: &Script, arguments: &[Vec<u8>]) -> Result<Value, StoreError> {
        let sending = Sending::Script(script, &self.keys, arguments);
        Ok(self.send(sending, Resend::Once).await?)
    }

    /// Runs a script for a snapshot, which outlives the call that made it.
    pub(crate) async fn write(
        &self,
        script: &Script,
        arguments: &[Vec<u8>],
        resend: Resend,
    ) -> Result<Value, StoreError> {
        self.run(async {
            let keys = &self.keys;
            let answer = self.reading.script(script, keys, arguments, resend);
            Ok(answer.await?)
        })
        .await
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn find(&self, key: RecordKey) -> Result<Option<Record>, StoreError> {
        let inner = &self.inner;
        inner
            .run(async {
                let command = hget(&inner.keys.records(), &record_key(key));
                match inner.reading.command(&command, Resend::Once).await? {
                    Value::Nil => Ok(None),
                    found => decode_record(key, &read::bytes(found)?).map(Some),
                }
            })
            .await
    }

    async fn find_by(&self, kind: Kind, term: &Term) -> Result<Option<Record>, StoreError> {
        let found = self.find_each(&[(kind, *term)]).await?;
        Ok(found.into_iter().flatten().next())
    }

    async fn find_each(&self, wanted: &[(Kind, Term)]) -> Result<Vec<Option<Record>>, StoreError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let arguments: Vec<Vec<u8>> = wanted
            .iter()
            .map(|(kind, term)| kind_term(*kind, term).to_vec())
            .collect();
        self.inner
            .run(async {
                let found = self.inner.ask(&scripts::FIND_BY, &arguments).await?;
                read::optional_pairs(read::array(found)?, read::record)
            })
            .await
    }

    async fn list(&self, query: &Query, page: Page) -> Result<RecordPage, StoreError> {
        let inner = &self.inner;
        inner
            .run(async {
                let ask = |after, limit| async move {
                    let arguments = read::list_arguments(query, Page { after, limit });
                    let answer = inner.ask(&scripts::LIST, &arguments).await?;
                    read::page(answer, read::record)
                };
                let at = |record: &Record| record.key.id;
                let (records, next) = gather(page.after, page.limit, SEARCH, at, ask).await?;
                Ok(RecordPage { records, next })
            })
            .await
    }

    async fn commit(&self, set: ChangeSet) -> Result<(), StoreError> {
        set.check()?;
        let sent = AtomicBool::new(false);
        let result = self.inner.run(self.commit_within(&set, &sent)).await;
        match result {
            Ok(0) => Ok(()),
            Ok(count) => {
                let told = self.lock().as_ref().map(|open| open.watch.told(count));
                if let Some(told) = told {
                    told.await;
                }
                Ok(())
            }
            // The time of the whole call ran out after it was sent.
            Err(StoreError::Unavailable { reason, source }) if sent.into_inner() => {
                Err(StoreError::OutcomeUnknown { reason, source })
            }
            Err(error) => Err(error),
        }
    }

    async fn resolve(&self, operation: OperationId) -> Result<bool, StoreError> {
        let arguments = write::operation_arguments(operation);
        let answer = self.inner.change(&scripts::RESOLVE, &arguments);
        let known = read::bytes(self.inner.run(answer).await?)?;
        Ok(known == b"done")
    }

    async fn next_id(&self, kind: Kind) -> Result<u64, StoreError> {
        self.inner.run(self.next(kind)).await
    }

    async fn advance_ids(&self, kind: Kind, past: u64) -> Result<(), StoreError> {
        i64::try_from(past).map_err(StoreError::backend)?;
        let arguments = [kind.0.to_be_bytes().to_vec(), past.to_string().into_bytes()];
        self.inner
            .run(async {
                let mut ids = self.ids.lock().await;
                self.inner.change(&scripts::ADVANCE, &arguments).await?;
                if ids.get(&kind).is_some_and(|block| *block.start() <= past) {
                    ids.remove(&kind);
                }
                Ok(())
            })
            .await
    }

    async fn append_log(&self, records: Vec<LogRecord>) -> Result<(), StoreError> {
        for record in &records {
            record.check()?;
        }
        let arguments: Vec<Vec<u8>> = records.iter().map(encode_batch).collect::<Result<_, _>>()?;
        self.inner
            .run(async {
                if !arguments.is_empty() {
                    self.inner.change(&scripts::APPEND, &arguments).await?;
                }
                Ok(())
            })
            .await
    }

    async fn read_log(&self, query: &LogQuery) -> Result<LogPage, StoreError> {
        let inner = &self.inner;
        inner
            .run(async {
                let ask = |after, limit| async move {
                    let arguments = read::log_arguments(query, after, limit);
                    let answer = inner.ask(&scripts::READ_LOG, &arguments).await?;
                    read::page(answer, read::batch)
                };
                let at = |record: &(u64, LogRecord)| record.0;
                let (records, next) = gather(query.after, query.limit, SEARCH, at, ask).await?;
                Ok(LogPage { records, next })
            })
            .await
    }

    async fn claim_due(
        &self,
        topics: &[Topic],
        now: Timestamp,
        lease_for: Duration,
        limit: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        let until = Lease::end(now, lease_for);
        let mut arguments = vec![
            instant(now).to_vec(),
            instant(until).to_vec(),
            read::limit(limit),
        ];
        arguments.extend(read::topics(topics));
        let sending = Sending::Script(&scripts::CLAIM, &self.inner.keys, &arguments);
        self.inner
            .run(async {
                // A second claim would take other jobs, and nobody would work on the first ones.
                let answer = self.inner.send(sending, Resend::Never).await?;
                read::pairs(read::array(answer)?, read::lease)
            })
            .await
    }

    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<Lease, StoreError> {
        let key = lease.job.key;
        let arguments = [
            job_key(key).to_vec(),
            number(lease.generation).to_vec(),
            instant(until).to_vec(),
        ];
        let answer = self.inner.change(&scripts::EXTEND, &arguments);
        match self.inner.run(answer).await? {
            Value::Nil => Err(StoreError::LeaseLost(key)),
            _ => Ok(Lease {
                leased_until: until,
                ..lease.clone()
            }),
        }
    }

    async fn list_jobs(&self, topics: &[Topic], limit: usize) -> Result<Vec<Job>, StoreError> {
        let mut arguments = vec![read::limit(limit)];
        arguments.extend(read::topics(topics));
        let answer = self.inner.ask(&scripts::LIST_JOBS, &arguments);
        let answer = self.inner.run(answer).await?;
        let mut jobs = read::pairs(read::array(answer)?, read::job)?;
        jobs.sort_by_key(|job| (job.due_at, job.key));
        jobs.truncate(limit);
        Ok(jobs)
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(RedisSnapshot::begin(self.inner.clone()).await?))
    }

    fn changes(&self) -> Changes {
        match &*self.lock() {
            Some(open) => open.notifier.subscribe(),
            // A stream whose sender is gone ends at once.
            None => Notifier::default().subscribe(),
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let mut write = cmd("SET");
        write
            .arg(self.inner.keys.probe())
            .arg("")
            .arg("PX")
            .arg(1000);
        let sending = Sending::Command(&write);
        self.inner
            .run(async {
                self.inner.send(sending, Resend::Once).await?;
                Ok(())
            })
            .await
    }

    async fn close(&self) {
        // Calls that run are waited for; each ends within its time.
        *self.inner.gate.write().await = false;
        let open = self.lock().take();
        if let Some(Open { notifier, watch }) = open {
            drop(notifier);
            watch.stop().await;
        }
        self.inner.reading.close().await;
        if let Some(writing) = &self.inner.writing {
            writing.close().await;
        }
    }
}

fn hget(hash: &str, field: &[u8]) -> Cmd {
    let mut command = cmd("HGET");
    command.arg(hash).arg(field);
    command
}
