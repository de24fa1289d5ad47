//! Random operations on two stores that must agree.

use std::ops::Bound;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::at;
use crate::store::{
    Change, ChangeSet, IndexTerm, Job, JobChange, JobKey, Kind, Lease, LogQuery, LogRecord, Order,
    Page, Query, Record, RecordKey, ServerId, Settlement, SnapshotPart, Store, StoreError, Term,
    Topic,
};
use crate::time::Timestamp;

const KINDS: u16 = 2;
const TERMS: u8 = 6;
const TOPICS: u16 = 2;
const SERVERS: u8 = 2;

/// One call of a store.
#[derive(Debug, Clone)]
pub enum Op {
    /// [`Store::commit`] of these changes. A change may be in the wrong place; see [`Guard`].
    Commit {
        /// What happens to records.
        records: Vec<(Guard, Change)>,
        /// What happens to jobs.
        jobs: Vec<JobChange>,
        /// Which of the leases held so far are settled.
        settled: Vec<(usize, Settlement)>,
    },
    /// [`Store::find`].
    Find(RecordKey),
    /// [`Store::find_by`].
    FindBy(Kind, Term),
    /// [`Store::list`], all pages of this size.
    List(Query, usize),
    /// [`Store::append_log`].
    Append(Vec<LogRecord>),
    /// [`Store::read_log`], all pages.
    ReadLog(LogQuery),
    /// [`Store::claim_due`] at this instant.
    Claim(Vec<Topic>, Timestamp, Duration, usize),
    /// [`Store::extend`] of one of the leases held so far.
    Extend(usize, Timestamp),
    /// [`Store::list_jobs`].
    ListJobs(Vec<Topic>, usize),
}

/// Which revision a change expects.
#[derive(Debug, Clone, Copy)]
pub enum Guard {
    /// The present one, so that the change is likely to succeed.
    Present,
    /// The generated one.
    Generated,
}

/// Sequences of operations over few keys, terms and jobs, so that they meet often; some are invalid.
pub fn ops() -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 1..60)
}

fn op() -> impl Strategy<Value = Op> {
    let settlement = prop_oneof![
        Just(Settlement::Done),
        Just(Settlement::Held),
        (0..50_i64).prop_map(|seconds| Settlement::RetryAt(at(seconds)))
    ];
    let settled = prop_oneof![
        2 => Just(Vec::new()),
        1 => vec((any::<usize>(), settlement), 1..3),
    ];
    prop_oneof![
        8 => (vec(change(), 0..4), vec(job_change(), 0..3), settled).prop_map(
            |(records, jobs, settled)| Op::Commit { records, jobs, settled }
        ),
        2 => key().prop_map(Op::Find),
        2 => (kind(), term()).prop_map(|(kind, term)| Op::FindBy(kind, term)),
        3 => (query(), 1..5_usize).prop_map(|(query, limit)| Op::List(query, limit)),
        2 => vec(log_record(), 0..4).prop_map(Op::Append),
        2 => log_query().prop_map(Op::ReadLog),
        3 => (topics(), instant(), 0..40_u64, 0..4_usize).prop_map(|(topics, now, span, limit)| {
            Op::Claim(topics, now, Duration::from_secs(span), limit)
        }),
        1 => (any::<usize>(), instant()).prop_map(|(nth, until)| Op::Extend(nth, until)),
        1 => (topics(), 0..6_usize).prop_map(|(topics, limit)| Op::ListJobs(topics, limit)),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    (0..KINDS).prop_map(Kind)
}

fn key() -> impl Strategy<Value = RecordKey> {
    let id = prop_oneof![
        30 => 0..8_u64,
        2 => Just(i64::MAX as u64),
        1 => Just(u64::MAX),
    ];
    (kind(), id).prop_map(|(kind, id)| RecordKey { kind, id })
}

fn term() -> impl Strategy<Value = Term> {
    (0..TERMS).prop_map(super::term)
}

fn instant() -> impl Strategy<Value = Timestamp> {
    (-20..50_i64).prop_map(at)
}

fn bounds() -> impl Strategy<Value = (Bound<Timestamp>, Bound<Timestamp>)> {
    let bound = || {
        prop_oneof![
            2 => Just(Bound::Unbounded),
            1 => instant().prop_map(Bound::Included),
            1 => instant().prop_map(Bound::Excluded),
        ]
    };
    prop_oneof![
        Just((Bound::Unbounded, Bound::Unbounded)),
        (bound(), bound())
    ]
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::NewestFirst), Just(Order::OldestFirst)]
}

fn record() -> impl Strategy<Value = Record> {
    let terms = vec(
        (term(), any::<bool>()).prop_map(|(term, unique)| IndexTerm { term, unique }),
        0..4,
    );
    let expiry = prop::option::of(instant());
    (
        key(),
        1..4_u64,
        vec(any::<u8>(), 0..20),
        terms,
        instant(),
        expiry,
    )
        .prop_map(
            |(key, revision, body, terms, created_at, expires_at)| Record {
                key,
                revision,
                body,
                terms,
                created_at,
                expires_at,
            },
        )
}

fn change() -> impl Strategy<Value = (Guard, Change)> {
    let guard = prop_oneof![
        4 => Just(Guard::Present),
        1 => Just(Guard::Generated),
    ];
    let change = prop_oneof![
        3 => record().prop_map(Change::Create),
        3 => (record(), 0..4_u64).prop_map(|(record, expected)| Change::Update { record, expected }),
        1 => (key(), 0..4_u64).prop_map(|(key, expected)| Change::Delete { key, expected }),
        1 => (key(), 0..4_u64).prop_map(|(key, expected)| Change::Check { key, expected }),
    ];
    (guard, change)
}

fn query() -> impl Strategy<Value = Query> {
    (kind(), vec(term(), 0..3), bounds(), bounds(), order()).prop_map(
        |(kind, terms, created, expires, order)| Query {
            kind,
            terms,
            created,
            expires,
            order,
        },
    )
}

fn job_key() -> impl Strategy<Value = JobKey> {
    (0..TOPICS, 0..5_u64).prop_map(|(topic, subject)| JobKey {
        topic: Topic(topic),
        subject,
    })
}

fn job_change() -> impl Strategy<Value = JobChange> {
    prop_oneof![
        3 => (job_key(), instant(), vec(any::<u8>(), 0..9)).prop_map(|(key, due_at, body)| {
            JobChange::Put(Job { key, due_at, body })
        }),
        1 => job_key().prop_map(JobChange::Remove),
    ]
}

fn topics() -> impl Strategy<Value = Vec<Topic>> {
    vec((0..TOPICS).prop_map(Topic), 0..3)
}

fn log_record() -> impl Strategy<Value = LogRecord> {
    let numbers = (0..SERVERS, 0..30_u64, -20..50_i64, 0..20_i64);
    let terms = prop::collection::btree_set(term(), 0..3);
    (numbers, terms, vec(any::<u8>(), 0..9)).prop_map(
        |((server, sequence, from, span), terms, body)| LogRecord {
            server: ServerId([server; 16]),
            sequence,
            last_sequence: sequence,
            from: at(from),
            until: at(from + span),
            terms: terms.into_iter().collect(),
            body,
        },
    )
}

fn log_query() -> impl Strategy<Value = LogQuery> {
    let server = prop::option::of((0..SERVERS).prop_map(|server| ServerId([server; 16])));
    (server, vec(term(), 0..3), bounds(), order(), 1..5_usize).prop_map(
        |(server, terms, time, order, limit)| LogQuery {
            server,
            terms,
            time,
            order,
            after: None,
            limit,
        },
    )
}

/// Runs the operations on both stores, empty at first, and compares every answer and, at the end,
/// everything that is stored. Generations, positions and the choice between several reasons to
/// refuse a set are a backend's own.
///
/// # Panics
///
/// Where the stores differ.
pub async fn compare(reference: &dyn Store, subject: &dyn Store, ops: &[Op]) {
    let mut pair = Pair {
        reference,
        subject,
        leases: Vec::new(),
    };
    for op in ops {
        pair.run(op).await;
    }
    pair.compare_all().await;
}

struct Pair<'a> {
    reference: &'a dyn Store,
    subject: &'a dyn Store,
    /// The leases that both gave out, those of the reference first.
    leases: Vec<(Lease, Lease)>,
}

impl Pair<'_> {
    async fn run(&mut self, op: &Op) {
        let (reference, subject) = (self.reference, self.subject);
        match op {
            Op::Commit {
                records,
                jobs,
                settled,
            } => self.commit(records, jobs, settled).await,
            Op::Find(key) => same(op, reference.find(*key).await, subject.find(*key).await),
            Op::FindBy(kind, term) => same(
                op,
                reference.find_by(*kind, term).await,
                subject.find_by(*kind, term).await,
            ),
            Op::List(query, limit) => {
                let expected = list_all(reference, query, *limit).await;
                assert_eq!(list_all(subject, query, *limit).await, expected, "{op:?}");
            }
            Op::Append(records) => same(
                op,
                reference.append_log(records.clone()).await,
                subject.append_log(records.clone()).await,
            ),
            Op::ReadLog(query) => {
                let expected = read_all(reference, query).await;
                assert_eq!(read_all(subject, query).await, expected, "{op:?}");
            }
            Op::Claim(topics, now, span, limit) => {
                let expected = reference.claim_due(topics, *now, *span, *limit).await;
                let claimed = subject.claim_due(topics, *now, *span, *limit).await;
                let expected = expected.expect("the store answers");
                let claimed = claimed.expect("the store answers");
                assert_eq!(claimed.len(), expected.len(), "{op:?}");
                for (expected, claimed) in expected.into_iter().zip(claimed) {
                    same_lease(&expected, &claimed);
                    self.leases.push((expected, claimed));
                }
            }
            Op::Extend(nth, until) => {
                let Some(index) = nth.checked_rem(self.leases.len()) else {
                    return;
                };
                let (expected, held) = &self.leases[index];
                let expected = reference.extend(expected, *until).await;
                match (expected, subject.extend(held, *until).await) {
                    (Ok(expected), Ok(extended)) => same_lease(&expected, &extended),
                    (expected, extended) => {
                        assert_eq!(outcome(&extended), outcome(&expected), "{op:?}");
                    }
                }
            }
            Op::ListJobs(topics, limit) => same(
                op,
                reference.list_jobs(topics, *limit).await,
                subject.list_jobs(topics, *limit).await,
            ),
        }
    }

    async fn commit(
        &self,
        records: &[(Guard, Change)],
        jobs: &[JobChange],
        settled: &[(usize, Settlement)],
    ) {
        let mut set = ChangeSet::default();
        for (guard, change) in records {
            set.records.push(self.guarded(*guard, change.clone()).await);
        }
        set.jobs = jobs.to_vec();
        for change in &mut set.jobs {
            if let JobChange::Put(job) = change {
                job.due_at = distinct(job.key, job.due_at);
            }
        }
        let mut expected = set.clone();
        for (nth, settlement) in settled {
            if let Some(index) = nth.checked_rem(self.leases.len()) {
                let (first, second) = &self.leases[index];
                let settlement = match *settlement {
                    Settlement::RetryAt(due) => Settlement::RetryAt(distinct(first.job.key, due)),
                    other => other,
                };
                expected = expected.settle(first, settlement);
                set = set.settle(second, settlement);
            }
        }
        let single = set.records.len() + set.settled.len() <= 1;
        let shown = format!("{set:?}");
        let expected = self.reference.commit(expected).await;
        let result = self.subject.commit(set).await;
        if single {
            assert_eq!(outcome(&result), outcome(&expected), "{shown}");
        } else {
            assert_eq!(result.is_ok(), expected.is_ok(), "{shown}: {result:?}");
        }
    }

    /// The change as the present state of the reference needs it, where it may be right.
    async fn guarded(&self, guard: Guard, mut change: Change) -> Change {
        let found = self.reference.find(change.key()).await;
        let found = found.expect("the store answers");
        match (&mut change, guard, found) {
            (Change::Update { record, expected }, Guard::Present, Some(found)) => {
                *expected = found.revision;
                // A third of the updates are rewraps.
                record.revision = found.revision + u64::from(record.revision != 1);
            }
            (
                Change::Delete { expected, .. } | Change::Check { expected, .. },
                Guard::Present,
                Some(found),
            ) => {
                *expected = found.revision;
            }
            _ => {}
        }
        change
    }

    async fn compare_all(&self) {
        for kind in (0..KINDS).map(Kind) {
            let query = Query::new(kind).oldest_first();
            let expected = list_all(self.reference, &query, 7).await;
            assert_eq!(list_all(self.subject, &query, 7).await, expected);
            for term in (0..TERMS).map(super::term) {
                let op = Op::FindBy(kind, term);
                let expected = self.reference.find_by(kind, &term).await;
                same(&op, expected, self.subject.find_by(kind, &term).await);
                let query = Query::new(kind).with(term);
                let expected = list_all(self.reference, &query, 7).await;
                assert_eq!(list_all(self.subject, &query, 7).await, expected);
            }
        }
        let topics: Vec<Topic> = (0..TOPICS).map(Topic).collect();
        let op = Op::ListJobs(topics.clone(), 99);
        let expected = self.reference.list_jobs(&topics, 99).await;
        same(&op, expected, self.subject.list_jobs(&topics, 99).await);
        let query = LogQuery::newest(7);
        let expected = read_all(self.reference, &query).await;
        assert_eq!(read_all(self.subject, &query).await, expected);
        assert_eq!(snapshot(self.subject).await, snapshot(self.reference).await);
    }
}

/// Which of two jobs due at the same instant comes first is a backend's own, so none are.
fn distinct(key: JobKey, due_at: Timestamp) -> Timestamp {
    let offset = u64::from(key.topic.0) * 100 + key.subject;
    due_at + Duration::from_millis(offset)
}

async fn list_all(store: &dyn Store, query: &Query, limit: usize) -> Vec<Record> {
    let mut all = Vec::new();
    let mut page = Page::first(limit);
    loop {
        let found = store.list(query, page).await.expect("the store answers");
        all.extend(found.records);
        match found.next {
            Some(next) => page.after = Some(next),
            None => return all,
        }
    }
}

async fn read_all(store: &dyn Store, query: &LogQuery) -> Vec<LogRecord> {
    let mut all = Vec::new();
    let mut query = query.clone();
    loop {
        let found = store.read_log(&query).await.expect("the store answers");
        all.extend(found.records.into_iter().map(|(_, record)| record));
        match found.next {
            Some(next) => query.after = Some(next),
            None => return all,
        }
    }
}

/// All items of a snapshot; the numbers that were given are a backend's own.
async fn snapshot(store: &dyn Store) -> (Vec<Record>, Vec<LogRecord>, Vec<Job>) {
    let mut snapshot = store.snapshot().await.expect("a snapshot");
    let (mut records, mut log, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(part) = snapshot.next().await.expect("a part") {
        match part {
            SnapshotPart::Records(more) => records.extend(more),
            SnapshotPart::Log(more) => log.extend(more),
            SnapshotPart::Jobs(more) => jobs.extend(more),
            SnapshotPart::Sequences(_) => {}
        }
    }
    (records, log, jobs)
}

fn same<T: std::fmt::Debug + PartialEq>(
    op: &Op,
    expected: Result<T, StoreError>,
    result: Result<T, StoreError>,
) {
    assert_eq!(outcome(&result), outcome(&expected), "{op:?}");
    if let (Ok(result), Ok(expected)) = (result, expected) {
        assert_eq!(result, expected, "{op:?}");
    }
}

fn same_lease(expected: &Lease, claimed: &Lease) {
    assert_eq!(claimed.job, expected.job);
    assert_eq!(claimed.leased_until, expected.leased_until);
}

fn outcome<T>(result: &Result<T, StoreError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(StoreError::AlreadyExists(_)) => "already exists",
        Err(StoreError::RevisionMismatch(_)) => "revision mismatch",
        Err(StoreError::LeaseLost(_)) => "lease lost",
        Err(StoreError::Backend { .. }) => "malformed",
        Err(other) => panic!("the store is broken: {other:?}"),
    }
}
