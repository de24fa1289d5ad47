//! The statements that write, each call within a transaction of the writer.

mod log;
mod operation;
mod queue;
mod records;

use async_trait::async_trait;
use dsm_core::store::{Change, ChangeSet, Kind, RecordKey};
use sqlx::SqliteConnection;

pub(crate) use self::log::Append;
use self::operation::Met;
pub(crate) use self::operation::Resolve;
pub(crate) use self::queue::{Claim, Extend};
use crate::encoding::{signed, unsigned};
use crate::fault::Fault;

/// How many numbers are reserved at once.
pub(crate) const BLOCK: u64 = 64;

/// Something that the writer does as a whole or not at all.
#[async_trait]
pub(crate) trait Work: Send + Sync + 'static {
    type Output: Send;

    async fn run(&self, connection: &mut SqliteConnection) -> Result<Self::Output, Fault>;

    /// The records that it changes.
    fn changes(&self) -> Vec<RecordKey> {
        Vec::new()
    }
}

#[async_trait]
impl Work for ChangeSet {
    type Output = ();

    async fn run(&self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        if let Some(operation) = self.operation
            && let Met::Done = operation::begin(connection, operation).await?
        {
            return Ok(());
        }
        for (lease, settlement) in &self.settled {
            queue::settle(connection, lease, *settlement).await?;
        }
        let mut added = Vec::new();
        for change in &self.records {
            let (key, place, terms) = match change {
                Change::Create(record) => {
                    let place = records::create(connection, record).await?;
                    (record.key, place, records::effective(&record.terms))
                }
                Change::Update { record, expected } => {
                    let (place, old) = records::present(connection, record.key, *expected).await?;
                    records::replace(connection, record).await?;
                    let new = records::effective(&record.terms);
                    records::remove_terms(connection, record.key, &records::difference(&old, &new))
                        .await?;
                    (record.key, place, records::difference(&new, &old))
                }
                Change::Delete { key, expected } => {
                    let (_, old) = records::present(connection, *key, *expected).await?;
                    records::delete(connection, *key).await?;
                    records::remove_terms(connection, *key, &old).await?;
                    continue;
                }
                Change::Check { key, expected } => {
                    records::present(connection, *key, *expected).await?;
                    continue;
                }
            };
            added.push((key, place, terms));
        }
        // Only now: a unique term may pass from one record of the set to another.
        for (key, place, terms) in added {
            records::add_terms(connection, key, place, &terms).await?;
        }
        for change in &self.jobs {
            queue::change_job(connection, change).await?;
        }
        Ok(())
    }

    fn changes(&self) -> Vec<RecordKey> {
        let altering = self.records.iter().filter(|change| change.alters());
        altering.map(Change::key).collect()
    }
}

/// Reserves [`BLOCK`] numbers and answers with the last of them.
#[derive(Debug)]
pub(crate) struct Reserve(pub(crate) Kind);

#[async_trait]
impl Work for Reserve {
    type Output = u64;

    async fn run(&self, connection: &mut SqliteConnection) -> Result<u64, Fault> {
        let kind = i64::from(self.0.0);
        let block = signed(BLOCK)?;
        let last = sqlx::query_scalar!(
            r#"INSERT INTO sequence (kind, last) VALUES (?1, ?2)
               ON CONFLICT (kind) DO UPDATE SET last = last + ?2
               RETURNING last AS "last!: i64""#,
            kind,
            block
        )
        .fetch_one(connection)
        .await?;
        Ok(unsigned(last)?)
    }
}

/// Makes later blocks begin after a number.
#[derive(Debug)]
pub(crate) struct Advance(pub(crate) Kind, pub(crate) u64);

#[async_trait]
impl Work for Advance {
    type Output = ();

    async fn run(&self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        let kind = i64::from(self.0.0);
        let past = signed(self.1)?;
        sqlx::query!(
            "INSERT INTO sequence (kind, last) VALUES (?1, ?2) \
             ON CONFLICT (kind) DO UPDATE SET last = max(last, ?2)",
            kind,
            past
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Writes a page, so that a full or failing disk is noticed.
#[derive(Debug)]
pub(crate) struct Touch;

#[async_trait]
impl Work for Touch {
    type Output = ();

    async fn run(&self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        sqlx::query!("UPDATE sequence SET last = last WHERE kind = -1")
            .execute(connection)
            .await?;
        Ok(())
    }
}
