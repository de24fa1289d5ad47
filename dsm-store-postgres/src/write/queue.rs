use std::time::Duration;

use async_trait::async_trait;
use dsm_core::store::{Lease, StoreError, Topic};
use dsm_core::time::{Timestamp, to_micros};
use sqlx::postgres::PgConnection;

use crate::database::Work;
use crate::encoding::{comparable, limit, unsigned};
use crate::fault::Fault;
use crate::read::{job, numbers};

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

    async fn run(&self, connection: &mut PgConnection) -> Result<Vec<Lease>, Fault> {
        let leased_until = Lease::end(self.now, self.lease_for);
        let rows = sqlx::query!(
            r#"WITH due AS MATERIALIZED (
                   SELECT topic, subject FROM dsm.job
                   WHERE topic = ANY ($1) AND due_at <= $2
                   AND (leased_until IS NULL OR leased_until <= $2)
                   ORDER BY due_at, topic, subject LIMIT $3
                   FOR UPDATE SKIP LOCKED
               )
               UPDATE dsm.job SET generation = nextval('dsm.generation'), leased_until = $4
               FROM due WHERE job.topic = due.topic AND job.subject = due.subject
               RETURNING job.topic, job.subject, due_at, body, generation AS "generation!""#,
            &numbers(&self.topics),
            to_micros(self.now),
            limit(self.limit),
            to_micros(leased_until),
        )
        .fetch_all(connection)
        .await?;
        let mut leases = Vec::with_capacity(rows.len());
        for row in rows {
            leases.push(Lease {
                job: job(row.topic, row.subject, row.due_at, row.body)?,
                generation: unsigned(row.generation)?,
                leased_until,
            });
        }
        // Rows are returned in no particular order.
        leases.sort_unstable_by_key(|lease| (lease.job.due_at, lease.job.key));
        Ok(leases)
    }

    /// Jobs whose leases nobody heard of come back when these end; others must not be taken
    /// meanwhile.
    fn is_repeatable(&self) -> bool {
        false
    }
}

/// Prolongs a lease.
#[derive(Debug)]
pub(crate) struct Extend(pub(crate) Lease, pub(crate) Timestamp);

#[async_trait]
impl Work for Extend {
    type Output = Lease;

    async fn run(&self, connection: &mut PgConnection) -> Result<Lease, Fault> {
        let Self(lease, leased_until) = self;
        let key = lease.job.key;
        let done = sqlx::query!(
            "UPDATE dsm.job SET leased_until = $1 \
             WHERE topic = $2 AND subject = $3 AND generation = $4",
            to_micros(*leased_until),
            i32::from(key.topic.0),
            comparable(key.subject),
            comparable(lease.generation),
        )
        .execute(connection)
        .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::LeaseLost(key).into());
        }
        Ok(Lease {
            leased_until: *leased_until,
            ..lease.clone()
        })
    }
}
