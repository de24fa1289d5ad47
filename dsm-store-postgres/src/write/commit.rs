use async_trait::async_trait;
use dsm_core::store::{Change, ChangeSet, JobChange, OperationId, Record, Settlement, StoreError};
use dsm_core::time::to_micros;
use sqlx::postgres::PgConnection;

use crate::database::Work;
use crate::encoding::{comparable, encode_index_terms, signed};
use crate::fault::{Fault, refusal};

/// A change set as the function `dsm.commit` takes it: sorted by key, column by column.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    operation: Option<OperationId>,
    notice: Option<String>,
    records: Records,
    settled: Settled,
    puts: Puts,
    removed: Removed,
}

#[derive(Debug, Default)]
struct Records {
    actions: Vec<i32>,
    kinds: Vec<i32>,
    ids: Vec<i64>,
    expected: Vec<i64>,
    revisions: Vec<i64>,
    created: Vec<i64>,
    expires: Vec<Option<i64>>,
    terms: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Settled {
    topics: Vec<i32>,
    subjects: Vec<i64>,
    generations: Vec<i64>,
    retry_at: Vec<Option<i64>>,
}

#[derive(Debug, Default)]
struct Puts {
    topics: Vec<i32>,
    subjects: Vec<i64>,
    due_at: Vec<i64>,
    bodies: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Removed {
    topics: Vec<i32>,
    subjects: Vec<i64>,
}

// As `dsm.commit` names them.
const CREATE: i32 = 0;
const UPDATE: i32 = 1;
const DELETE: i32 = 2;
const CHECK: i32 = 3;
/// No instant is as early.
const HELD: i64 = i64::MIN;

impl Commit {
    /// The set, which was checked.
    pub(crate) fn new(mut set: ChangeSet) -> Result<Self, StoreError> {
        let mut commit = Self {
            operation: set.operation,
            ..Self::default()
        };
        set.records.sort_unstable_by_key(Change::key);
        for change in set.records {
            commit.records.push(change)?;
        }
        for (lease, settlement) in set.settled {
            let key = lease.job.key;
            let settled = &mut commit.settled;
            settled.topics.push(key.topic.0.into());
            settled.subjects.push(signed(key.subject)?);
            settled.generations.push(comparable(lease.generation));
            settled.retry_at.push(match settlement {
                Settlement::Done => None,
                Settlement::RetryAt(due_at) => Some(to_micros(due_at)),
                Settlement::Held => Some(HELD),
            });
        }
        set.jobs.sort_unstable_by_key(|change| match change {
            JobChange::Put(job) => job.key,
            JobChange::Remove(key) => *key,
        });
        for change in set.jobs {
            match change {
                JobChange::Put(job) => {
                    commit.puts.topics.push(job.key.topic.0.into());
                    commit.puts.subjects.push(signed(job.key.subject)?);
                    commit.puts.due_at.push(to_micros(job.due_at));
                    commit.puts.bodies.push(job.body);
                }
                JobChange::Remove(key) => {
                    commit.removed.topics.push(key.topic.0.into());
                    commit.removed.subjects.push(signed(key.subject)?);
                }
            }
        }
        Ok(commit)
    }

    /// With a notification of its changes.
    pub(crate) fn notifying(mut self, payload: Option<String>) -> Self {
        self.notice = payload;
        self
    }
}

impl Records {
    fn push(&mut self, change: Change) -> Result<(), StoreError> {
        let key = change.key();
        let (action, expected, record) = match change {
            Change::Create(record) => (CREATE, 0, Some(record)),
            Change::Update { record, expected } => (UPDATE, comparable(expected), Some(record)),
            Change::Delete { expected, .. } => (DELETE, comparable(expected), None),
            Change::Check { expected, .. } => (CHECK, comparable(expected), None),
        };
        self.actions.push(action);
        self.kinds.push(key.kind.0.into());
        self.ids.push(signed(key.id)?);
        self.expected.push(expected);
        self.revisions
            .push(signed(record.as_ref().map_or(0, |record| record.revision))?);
        let created_at = record.as_ref().map(|record| to_micros(record.created_at));
        self.created.push(created_at.unwrap_or_default());
        let expires_at = record.as_ref().and_then(|record| record.expires_at);
        self.expires.push(expires_at.map(to_micros));
        let (terms, body) = match record {
            Some(Record { terms, body, .. }) => (encode_index_terms(&terms), body),
            None => (Vec::new(), Vec::new()),
        };
        self.terms.push(terms);
        self.bodies.push(body);
        Ok(())
    }
}

#[async_trait]
impl Work for Commit {
    type Output = ();

    async fn run(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        let Self {
            records,
            settled,
            puts,
            removed,
            ..
        } = self;
        let operation = self.operation.as_ref().map(|operation| &operation.0[..]);
        sqlx::query_scalar!(
            "SELECT dsm.commit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
             $16, $17, $18, $19, $20, $21)",
            operation,
            self.notice.as_deref(),
            &records.actions,
            &records.kinds,
            &records.ids,
            &records.expected,
            &records.revisions,
            &records.created,
            &records.expires as &[Option<i64>],
            &records.terms,
            &records.bodies,
            &settled.topics,
            &settled.subjects,
            &settled.generations,
            &settled.retry_at as &[Option<i64>],
            &puts.topics,
            &puts.subjects,
            &puts.due_at,
            &puts.bodies,
            &removed.topics,
            &removed.subjects,
        )
        .fetch_one(connection)
        .await
        .map_err(|error| refusal(error, self.operation))?;
        Ok(())
    }

    fn is_repeatable(&self) -> bool {
        self.operation.is_some()
    }
}
