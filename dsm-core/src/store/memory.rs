mod snapshot;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use async_trait::async_trait;

use self::snapshot::Frozen;
use super::change::check_number;
use super::{
    Change, ChangeSet, Changed, Changes, Job, JobChange, JobKey, Kind, Lease, LogPage, LogQuery,
    LogRecord, Notifier, OperationId, Order, Page, Query, Record, RecordKey, RecordPage, ServerId,
    Settlement, Snapshot, Store, StoreError, Term, Topic,
};
use crate::time::Timestamp;

/// Of how many operations it is remembered what became of them: nobody asks about one of a process
/// that is gone, and a running one asks at once.
const OPERATIONS_KEPT: usize = 1 << 16;

/// A store in the process's memory: for tests and trials, and the reference for other backends.
///
/// All guarantees of [`Store`] hold except durability.
#[derive(Debug)]
pub struct MemoryStore(RwLock<Option<State>>);

impl Default for MemoryStore {
    fn default() -> Self {
        Self(RwLock::new(Some(State::default())))
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `read` over the open store.
    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, StoreError> {
        // A panic under the lock comes from an allocation that failed; no change is left half done
        // by one, since everything is checked before anything is applied.
        let guard: RwLockReadGuard<'_, _> = self.0.read().unwrap_or_else(PoisonError::into_inner);
        guard.as_ref().map(read).ok_or_else(closed)
    }

    /// Runs `write` over the open store, alone.
    fn write<T>(
        &self,
        write: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut guard: RwLockWriteGuard<'_, _> =
            self.0.write().unwrap_or_else(PoisonError::into_inner);
        guard.as_mut().ok_or_else(closed).and_then(write)
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable {
        reason: "it is closed".into(),
        source: None,
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn find(&self, key: RecordKey) -> Result<Option<Record>, StoreError> {
        self.read(|state| state.records.get(&key).map(|found| Record::clone(found)))
    }

    async fn find_by(&self, kind: Kind, term: &Term) -> Result<Option<Record>, StoreError> {
        self.read(|state| {
            let id = *state.unique.get(&(kind, *term))?;
            let found = state.records.get(&RecordKey { kind, id });
            found.map(|found| Record::clone(found))
        })
    }

    async fn list(&self, query: &Query, page: Page) -> Result<RecordPage, StoreError> {
        self.read(|state| state.list(query, page))
    }

    async fn commit(&self, set: ChangeSet) -> Result<(), StoreError> {
        set.check()?;
        self.write(|state| {
            if let Some(operation) = set.operation {
                match state.operations.get(&operation) {
                    Some(true) => return Ok(()),
                    Some(false) => return Err(StoreError::GivenUp(operation)),
                    None => {}
                }
            }
            state.check(&set)?;
            state.apply(set);
            Ok(())
        })
    }

    async fn resolve(&self, operation: OperationId) -> Result<bool, StoreError> {
        self.write(|state| Ok(state.remember(operation, false)))
    }

    async fn next_id(&self, kind: Kind) -> Result<u64, StoreError> {
        self.write(|state| {
            let last = state.sequences.entry(kind).or_default();
            *last += 1;
            Ok(*last)
        })
    }

    async fn advance_ids(&self, kind: Kind, past: u64) -> Result<(), StoreError> {
        check_number(past)?;
        self.write(|state| {
            let last = state.sequences.entry(kind).or_default();
            *last = past.max(*last);
            Ok(())
        })
    }

    async fn append_log(&self, records: Vec<LogRecord>) -> Result<(), StoreError> {
        for record in &records {
            record.check()?;
        }
        self.write(|state| {
            for record in records {
                let key = (record.server, record.sequence);
                if state.batches.insert(key) {
                    state.log.push(Arc::new(record));
                }
            }
            Ok(())
        })
    }

    async fn read_log(&self, query: &LogQuery) -> Result<LogPage, StoreError> {
        self.read(|state| state.read_log(query))
    }

    async fn claim_due(
        &self,
        topics: &[Topic],
        now: Timestamp,
        lease_for: Duration,
        limit: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        self.write(|state| Ok(state.claim_due(topics, now, lease_for, limit)))
    }

    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<Lease, StoreError> {
        self.write(|state| {
            let held = state.held(lease)?;
            held.1 = until;
            Ok(Lease {
                leased_until: until,
                ..lease.clone()
            })
        })
    }

    async fn list_jobs(&self, topics: &[Topic], limit: usize) -> Result<Vec<Job>, StoreError> {
        self.read(|state| {
            state
                .by_due(topics, Bound::Unbounded, limit, |_| true)
                .into_iter()
                .map(|key| state.jobs[&key].job.clone())
                .collect()
        })
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.read(|state| -> Box<dyn Snapshot> { Box::new(state.snapshot()) })
    }

    fn changes(&self) -> Changes {
        self.read(|state| state.notifier.subscribe())
            // A stream whose sender is gone ends at once, as those of a closed store do.
            .unwrap_or_else(|_| Notifier::default().subscribe())
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.read(|_| ())
    }

    async fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[derive(Debug, Default)]
struct State {
    /// Shared with snapshots.
    records: BTreeMap<RecordKey, Arc<Record>>,
    /// The ids that carry a term, unique or not.
    carriers: HashMap<(Kind, Term), BTreeSet<u64>>,
    unique: HashMap<(Kind, Term), u64>,
    sequences: HashMap<Kind, u64>,
    /// Position `n` is at index `n - 1`.
    log: Vec<Arc<LogRecord>>,
    batches: BTreeSet<(ServerId, u64)>,
    jobs: HashMap<JobKey, Slot>,
    due: BTreeSet<(Topic, Timestamp, u64)>,
    /// Counts the leases of all jobs, so that a job put again never repeats a generation.
    generation: u64,
    /// Whether the commits of these names took effect.
    operations: HashMap<OperationId, bool>,
    /// Their names, the oldest first.
    remembered: VecDeque<OperationId>,
    notifier: Notifier,
}

#[derive(Debug)]
struct Slot {
    job: Job,
    /// Generation and end of the latest lease.
    lease: Option<(u64, Timestamp)>,
}

impl State {
    fn check(&mut self, set: &ChangeSet) -> Result<(), StoreError> {
        for (lease, _) in &set.settled {
            self.held(lease)?;
        }
        for change in &set.records {
            let revision = self.records.get(&change.key()).map(|found| found.revision);
            match change {
                Change::Create(record) if revision.is_some() => {
                    return Err(StoreError::AlreadyExists(record.key));
                }
                Change::Create(_) => {}
                Change::Update { expected, .. }
                | Change::Delete { expected, .. }
                | Change::Check { expected, .. } => {
                    if revision != Some(*expected) {
                        return Err(StoreError::RevisionMismatch(change.key()));
                    }
                }
            }
        }
        self.check_unique(set)
    }

    /// Whether the unique terms are still unique once the whole set is applied.
    fn check_unique(&self, set: &ChangeSet) -> Result<(), StoreError> {
        let touched: BTreeSet<RecordKey> = altered(set).collect();
        let mut claimed = HashMap::new();
        for change in &set.records {
            let (Change::Create(record) | Change::Update { record, .. }) = change else {
                continue;
            };
            let RecordKey { kind, id } = record.key;
            for index in record.terms.iter().filter(|index| index.unique) {
                let term = (kind, index.term);
                let stays = self
                    .unique
                    .get(&term)
                    .is_some_and(|&id| !touched.contains(&RecordKey { kind, id }));
                if stays || *claimed.entry(term).or_insert(id) != id {
                    return Err(StoreError::AlreadyExists(record.key));
                }
            }
        }
        Ok(())
    }

    /// Applies a set that was found to be applicable.
    fn apply(&mut self, set: ChangeSet) {
        let keys: Vec<RecordKey> = altered(&set).collect();
        // First all removals: a term may pass from one record of the set to another.
        for &key in &keys {
            self.remove(key);
        }
        for change in set.records {
            match change {
                Change::Create(record) | Change::Update { record, .. } => self.insert(record),
                Change::Delete { .. } | Change::Check { .. } => {}
            }
        }
        for (lease, settlement) in set.settled {
            if settlement == Settlement::Held {
                continue;
            }
            let removed = self.remove_job(lease.job.key);
            if let (Settlement::RetryAt(due_at), Some(job)) = (settlement, removed) {
                self.put_job(Job { due_at, ..job });
            }
        }
        for change in set.jobs {
            match change {
                JobChange::Put(job) => {
                    self.remove_job(job.key);
                    self.put_job(job);
                }
                JobChange::Remove(key) => {
                    self.remove_job(key);
                }
            }
        }
        if let Some(operation) = set.operation {
            self.remember(operation, true);
        }
        for key in keys {
            self.notifier.notify(Changed::Record(key));
        }
    }

    /// Remembers what became of an operation, unless that is known, and tells it.
    fn remember(&mut self, operation: OperationId, done: bool) -> bool {
        let known = self.operations.entry(operation).or_insert_with(|| {
            self.remembered.push_back(operation);
            done
        });
        let known = *known;
        if self.remembered.len() > OPERATIONS_KEPT
            && let Some(oldest) = self.remembered.pop_front()
        {
            self.operations.remove(&oldest);
        }
        known
    }

    fn snapshot(&self) -> Frozen {
        let mut jobs: Vec<Job> = self.jobs.values().map(|slot| slot.job.clone()).collect();
        jobs.sort_unstable_by_key(|job| job.key);
        let mut sequences: Vec<(Kind, u64)> = self.sequences.clone().into_iter().collect();
        sequences.sort_unstable();
        let records = self.records.values().cloned().collect();
        Frozen::new(records, self.log.clone(), jobs, sequences)
    }

    fn remove(&mut self, key: RecordKey) {
        let Some(record) = self.records.remove(&key) else {
            return;
        };
        for index in &record.terms {
            let term = (key.kind, index.term);
            if let Some(ids) = self.carriers.get_mut(&term) {
                ids.remove(&key.id);
                if ids.is_empty() {
                    self.carriers.remove(&term);
                }
            }
            if index.unique {
                self.unique.remove(&term);
            }
        }
    }

    fn insert(&mut self, record: Record) {
        let RecordKey { kind, id } = record.key;
        for index in &record.terms {
            let term = (kind, index.term);
            self.carriers.entry(term).or_default().insert(id);
            if index.unique {
                self.unique.insert(term, id);
            }
        }
        self.records.insert(record.key, Arc::new(record));
    }

    fn list(&self, query: &Query, page: Page) -> RecordPage {
        let kind = query.kind;
        let (low, high) = match (query.order, page.after) {
            (_, None) => (Bound::Included(0), Bound::Included(u64::MAX)),
            (Order::OldestFirst, Some(id)) => (Bound::Excluded(id), Bound::Included(u64::MAX)),
            (Order::NewestFirst, Some(id)) => (Bound::Included(0), Bound::Excluded(id)),
        };
        let carriers: Option<Vec<&BTreeSet<u64>>> = query
            .terms
            .iter()
            .map(|term| self.carriers.get(&(kind, *term)))
            .collect();
        let Some(mut carriers) = carriers else {
            return RecordPage {
                records: Vec::new(),
                next: None,
            };
        };
        carriers.sort_by_key(|ids| ids.len());

        let found: Box<dyn DoubleEndedIterator<Item = &Arc<Record>>> = match carriers.split_first()
        {
            Some((fewest, others)) => Box::new(
                fewest
                    .range((low, high))
                    .filter(move |id| others.iter().all(|ids| ids.contains(id)))
                    .filter_map(move |&id| self.records.get(&RecordKey { kind, id })),
            ),
            None => Box::new(
                self.records
                    .range((
                        low.map(|id| RecordKey { kind, id }),
                        high.map(|id| RecordKey { kind, id }),
                    ))
                    .map(|(_, record)| record),
            ),
        };
        let found = found.filter(|record| {
            query.created.contains(&record.created_at)
                && match record.expires_at {
                    Some(at) => query.expires.contains(&at),
                    None => query.expires == (Bound::Unbounded, Bound::Unbounded),
                }
        });
        let (records, more) = match query.order {
            Order::OldestFirst => take(found, page.limit),
            Order::NewestFirst => take(found.rev(), page.limit),
        };
        let records: Vec<Record> = records
            .into_iter()
            .map(|record| Record::clone(record))
            .collect();
        RecordPage {
            next: records.last().filter(|_| more).map(|last| last.key.id),
            records,
        }
    }

    fn read_log(&self, query: &LogQuery) -> LogPage {
        let (from, until) = query.time;
        let positioned = self.log.iter().enumerate();
        let positioned = positioned.map(|(index, record)| (index as u64 + 1, record));
        let found = positioned.filter(|(position, record)| {
            let continues = match (query.order, query.after) {
                (_, None) => true,
                (Order::OldestFirst, Some(after)) => *position > after,
                (Order::NewestFirst, Some(after)) => *position < after,
            };
            continues
                && query.server.is_none_or(|server| record.server == server)
                && query.terms.iter().all(|term| record.terms.contains(term))
                && (from, Bound::Unbounded).contains(&record.until)
                && (Bound::Unbounded, until).contains(&record.from)
        });
        let (records, more) = match query.order {
            Order::OldestFirst => take(found, query.limit),
            Order::NewestFirst => take(found.rev(), query.limit),
        };
        let records: Vec<(u64, LogRecord)> = records
            .into_iter()
            .map(|(position, record)| (position, LogRecord::clone(record)))
            .collect();
        LogPage {
            next: records.last().filter(|_| more).map(|last| last.0),
            records,
        }
    }

    fn put_job(&mut self, job: Job) {
        self.due
            .insert((job.key.topic, job.due_at, job.key.subject));
        self.jobs.insert(job.key, Slot { job, lease: None });
    }

    fn remove_job(&mut self, key: JobKey) -> Option<Job> {
        let job = self.jobs.remove(&key)?.job;
        self.due.remove(&(key.topic, job.due_at, key.subject));
        Some(job)
    }

    /// The first `limit` jobs of `topics` by due time, up to `until`, of those that pass.
    fn by_due(
        &self,
        topics: &[Topic],
        until: Bound<Timestamp>,
        limit: usize,
        pass: impl Fn(&Slot) -> bool,
    ) -> Vec<JobKey> {
        let topics: BTreeSet<Topic> = topics.iter().copied().collect();
        let mut due: Vec<(Timestamp, JobKey)> = topics
            .into_iter()
            .flat_map(|topic| {
                self.due
                    .range((topic, Timestamp::MIN_UTC, 0)..=(topic, Timestamp::MAX_UTC, u64::MAX))
                    .map(|&(topic, at, subject)| (at, JobKey { topic, subject }))
                    .take_while(|(at, _)| (Bound::Unbounded, until).contains(at))
                    .filter(|(_, key)| pass(&self.jobs[key]))
                    .take(limit)
            })
            .collect();
        due.sort_unstable();
        due.truncate(limit);
        due.into_iter().map(|(_, key)| key).collect()
    }

    fn claim_due(
        &mut self,
        topics: &[Topic],
        now: Timestamp,
        lease_for: Duration,
        limit: usize,
    ) -> Vec<Lease> {
        let leased_until = Lease::end(now, lease_for);
        let free = |slot: &Slot| slot.lease.is_none_or(|(_, until)| until <= now);
        let keys = self.by_due(topics, Bound::Included(now), limit, free);
        keys.into_iter()
            .filter_map(|key| {
                let slot = self.jobs.get_mut(&key)?;
                self.generation += 1;
                slot.lease = Some((self.generation, leased_until));
                Some(Lease {
                    job: slot.job.clone(),
                    generation: self.generation,
                    leased_until,
                })
            })
            .collect()
    }

    /// The running state of `lease`, unless it was lost.
    fn held(&mut self, lease: &Lease) -> Result<&mut (u64, Timestamp), StoreError> {
        let key = lease.job.key;
        self.jobs
            .get_mut(&key)
            .and_then(|slot| slot.lease.as_mut())
            .filter(|(generation, _)| *generation == lease.generation)
            .ok_or(StoreError::LeaseLost(key))
    }
}

/// The records that the set leaves otherwise than they were.
fn altered(set: &ChangeSet) -> impl Iterator<Item = RecordKey> {
    let altering = set.records.iter().filter(|change| change.alters());
    altering.map(Change::key)
}

/// The first `limit` of `found`, and whether there are more.
fn take<T>(mut found: impl Iterator<Item = T>, limit: usize) -> (Vec<T>, bool) {
    let taken = found.by_ref().take(limit.max(1)).collect();
    (taken, found.next().is_some())
}
