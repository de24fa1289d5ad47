use std::time::Duration;

use async_trait::async_trait;
use dsm_core::store::{JobChange, Lease, Settlement, StoreError, Topic};
use dsm_core::time::{Timestamp, to_micros};
use sqlx::SqliteConnection;

use super::Work;
use crate::encoding::{limit, signed, unsigned};
use crate::fault::Fault;
use crate::read;

pub(super) async fn settle(
    connection: &mut SqliteConnection,
    lease: &Lease,
    settlement: Settlement,
) -> Result<(), Fault> {
    let key = lease.job.key;
    let topic = i64::from(key.topic.0);
    let subject = signed(key.subject)?;
    let generation = generation(lease)?;
    let done = match settlement {
        Settlement::Done => {
            sqlx::query!(
                "DELETE FROM job WHERE topic = ? AND subject = ? AND generation = ?",
                topic,
                subject,
                generation
            )
            .execute(connection)
            .await?
        }
        Settlement::RetryAt(due_at) => {
            let due_at = to_micros(due_at);
            sqlx::query!(
                "UPDATE job SET due_at = ?, generation = NULL, leased_until = NULL \
                 WHERE topic = ? AND subject = ? AND generation = ?",
                due_at,
                topic,
                subject,
                generation
            )
            .execute(connection)
            .await?
        }
        Settlement::Held => {
            sqlx::query!(
                "UPDATE job SET generation = generation \
                 WHERE topic = ? AND subject = ? AND generation = ?",
                topic,
                subject,
                generation
            )
            .execute(connection)
            .await?
        }
    };
    if done.rows_affected() == 0 {
        return Err(StoreError::LeaseLost(key).into());
    }
    Ok(())
}

/// The lease's generation; one that this store never gave out is lost.
fn generation(lease: &Lease) -> Result<i64, StoreError> {
    i64::try_from(lease.generation).map_err(|_| StoreError::LeaseLost(lease.job.key))
}

pub(super) async fn change_job(
    connection: &mut SqliteConnection,
    change: &JobChange,
) -> Result<(), Fault> {
    match change {
        JobChange::Put(job) => {
            let topic = i64::from(job.key.topic.0);
            let subject = signed(job.key.subject)?;
            let due_at = to_micros(job.due_at);
            let body = job.body.as_slice();
            sqlx::query!(
                "INSERT INTO job (topic, subject, due_at, body) VALUES (?, ?, ?, ?) \
                 ON CONFLICT (topic, subject) DO UPDATE SET due_at = excluded.due_at, \
                 body = excluded.body, generation = NULL, leased_until = NULL",
                topic,
                subject,
                due_at,
                body
            )
            .execute(connection)
            .await?;
        }
        JobChange::Remove(key) => {
            let topic = i64::from(key.topic.0);
            let subject = signed(key.subject)?;
            sqlx::query!(
                "DELETE FROM job WHERE topic = ? AND subject = ?",
                topic,
                subject
            )
            .execute(connection)
            .await?;
        }
    }
    Ok(())
}

/// Leases jobs that are due.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) topics: Vec<Topic>,
    pub(crate) now: Timestamp,
    pub(crate) lease_for: Duration,
    pub(crate) limit: usize,
}

#[async_trait]
impl Work for Claim {
    type Output = Vec<Lease>;

    async fn run(&self, connection: &mut SqliteConnection) -> Result<Vec<Lease>, Fault> {
        let topics = read::array(&self.topics);
        let now = to_micros(self.now);
        let leased_until = Lease::end(self.now, self.lease_for);
        let until = to_micros(leased_until);
        let at_most = limit(self.limit);
        // All leases of a claim share one generation: none is of a job that had it before.
        let rows = sqlx::query!(
            r#"UPDATE job SET leased_until = ?1,
                   generation = (SELECT last + 1 FROM sequence WHERE kind = -1)
               WHERE (topic, subject) IN (SELECT topic, subject FROM job
                   WHERE topic IN (SELECT value FROM json_each(?2)) AND due_at <= ?3
                   AND (leased_until IS NULL OR leased_until <= ?3)
                   ORDER BY due_at, topic, subject LIMIT ?4)
               RETURNING topic AS "topic!: i64", subject AS "subject!: i64",
                   due_at AS "due_at!: i64", generation AS "generation!: i64",
                   body AS "body!: Vec<u8>""#,
            until,
            topics,
            now,
            at_most
        )
        .fetch_all(&mut *connection)
        .await?;
        let mut leases = Vec::with_capacity(rows.len());
        for row in rows {
            leases.push(Lease {
                job: read::job(row.topic, row.subject, row.due_at, row.body)?,
                generation: unsigned(row.generation)?,
                leased_until,
            });
        }
        if !leases.is_empty() {
            sqlx::query!("UPDATE sequence SET last = last + 1 WHERE kind = -1")
                .execute(connection)
                .await?;
        }
        // Rows are returned in no particular order.
        leases.sort_unstable_by_key(|lease| (lease.job.due_at, lease.job.key));
        Ok(leases)
    }
}

/// Prolongs a lease.
#[derive(Debug)]
pub(crate) struct Extend(pub(crate) Lease, pub(crate) Timestamp);

#[async_trait]
impl Work for Extend {
    type Output = Lease;

    async fn run(&self, connection: &mut SqliteConnection) -> Result<Lease, Fault> {
        let Self(lease, leased_until) = self;
        let lost = || StoreError::LeaseLost(lease.job.key);
        let topic = i64::from(lease.job.key.topic.0);
        let subject = i64::try_from(lease.job.key.subject).map_err(|_| lost())?;
        let generation = generation(lease)?;
        let until = to_micros(*leased_until);
        let done = sqlx::query!(
            "UPDATE job SET leased_until = ? WHERE topic = ? AND subject = ? AND generation = ?",
            until,
            topic,
            subject,
            generation
        )
        .execute(connection)
        .await?;
        if done.rows_affected() == 0 {
            return Err(lost().into());
        }
        Ok(Lease {
            leased_until: *leased_until,
            ..lease.clone()
        })
    }
}
