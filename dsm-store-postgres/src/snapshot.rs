//! The whole store at one instant: a transaction that reads, page by page.

use std::time::Duration;

use async_trait::async_trait;
use dsm_core::store::{Job, JobKey, Kind, LogRecord, Record, Snapshot, SnapshotPart, StoreError};
use sqlx::postgres::PgConnection;
use tokio::time::timeout;

use crate::encoding::{short, signed, unsigned};
use crate::fault::{Fault, unavailable};
use crate::hosts::Hosts;
use crate::read::{LogRow, RecordRow, job};

/// How many rows are read at once.
const PAGE: i64 = 256;

/// How many bytes they have in all, after the first.
const BYTES: i64 = 4 << 20;

/// How long a page may take, and the count at the beginning.
const LIMIT: Duration = Duration::from_secs(30);

/// Dropping it ends its connection and with that the transaction.
#[derive(Debug)]
pub(crate) struct PostgresSnapshot {
    connection: PgConnection,
    size: u64,
    place: Place,
}

/// After what the reading goes on.
#[derive(Debug, Clone, Copy)]
enum Place {
    Records(i32, i64),
    Log(i64),
    Jobs(i32, i64),
    Sequences,
    End,
}

impl PostgresSnapshot {
    pub(crate) async fn begin(hosts: &Hosts) -> Result<Self, StoreError> {
        let begun = timeout(LIMIT, async {
            let mut connection = hosts.connect().await?.connection;
            // Not by `Transaction`, which borrows its connection. Whoever reads may take long from
            // page to page.
            sqlx::raw_sql(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                 SET LOCAL idle_in_transaction_session_timeout = 0; \
                 SET LOCAL statement_timeout = '30s'",
            )
            .execute(&mut connection)
            .await?;
            let size = sqlx::query_scalar!(
                r#"SELECT (SELECT count(*) FROM dsm.record) + (SELECT count(*) FROM dsm.log)
                   + (SELECT count(*) FROM dsm.job) AS "size!""#
            );
            let size = size.fetch_one(&mut connection).await?;
            Ok::<_, Fault>((connection, unsigned(size)?))
        });
        let (connection, size) = begun.await.map_err(|_| late())?.map_err(Fault::told)?;
        Ok(Self {
            connection,
            size,
            place: Place::Records(-1, -1),
        })
    }

    /// The page after the place and the place after it; no page at the end of a table.
    async fn page(&mut self) -> Result<(Option<SnapshotPart>, Place), Fault> {
        let connection = &mut self.connection;
        Ok(match self.place {
            Place::Records(kind, id) => {
                let records = records_after(connection, (kind, id)).await?;
                match records.last() {
                    Some(last) => {
                        let place = Place::Records(last.key.kind.0.into(), signed(last.key.id)?);
                        (Some(SnapshotPart::Records(records)), place)
                    }
                    None => (None, Place::Log(0)),
                }
            }
            Place::Log(position) => {
                let log = log_after(connection, position).await?;
                match log.last() {
                    Some((last, _)) => {
                        let place = Place::Log(signed(*last)?);
                        let log = log.into_iter().map(|(_, record)| record);
                        (Some(SnapshotPart::Log(log.collect())), place)
                    }
                    None => (None, Place::Jobs(-1, -1)),
                }
            }
            Place::Jobs(topic, subject) => {
                let jobs = jobs_after(connection, (topic, subject)).await?;
                match jobs.last() {
                    Some(last) => {
                        let JobKey { topic, subject } = last.key;
                        let place = Place::Jobs(topic.0.into(), signed(subject)?);
                        (Some(SnapshotPart::Jobs(jobs)), place)
                    }
                    None => (None, Place::Sequences),
                }
            }
            Place::Sequences => {
                let sequences = sequences(connection).await?;
                let part = (!sequences.is_empty()).then_some(SnapshotPart::Sequences(sequences));
                (part, Place::End)
            }
            Place::End => (None, Place::End),
        })
    }
}

#[async_trait]
impl Snapshot for PostgresSnapshot {
    fn size(&self) -> u64 {
        self.size
    }

    async fn next(&mut self) -> Result<Option<SnapshotPart>, StoreError> {
        loop {
            let page = timeout(LIMIT, self.page()).await;
            let (part, place) = page.map_err(|_| late())?.map_err(Fault::told)?;
            self.place = place;
            if part.is_some() || matches!(place, Place::End) {
                return Ok(part);
            }
        }
    }
}

fn late() -> StoreError {
    unavailable("the database did not answer: the snapshot is lost")
}

async fn records_after(
    connection: &mut PgConnection,
    (kind, id): (i32, i64),
) -> Result<Vec<Record>, Fault> {
    let rows = sqlx::query_as!(
        RecordRow,
        r#"SELECT kind AS "kind!", id AS "id!", revision AS "revision!",
               created_at AS "created_at!", expires_at, terms AS "terms!", body AS "body!"
           FROM (
               SELECT *, sum(octet_length(body)) OVER (ORDER BY kind, id) - octet_length(body) AS before
               FROM (
                   SELECT * FROM dsm.record WHERE (kind, id) > ($1, $2)
                   ORDER BY kind, id LIMIT $3
               ) AS page
           ) AS measured
           WHERE before < $4 ORDER BY kind, id"#,
        kind,
        id,
        PAGE,
        BYTES,
    )
    .fetch_all(connection)
    .await?;
    let records = rows.into_iter().map(RecordRow::decode);
    Ok(records.collect::<Result<_, _>>()?)
}

async fn log_after(
    connection: &mut PgConnection,
    position: i64,
) -> Result<Vec<(u64, LogRecord)>, Fault> {
    let rows = sqlx::query_as!(
        LogRow,
        r#"SELECT position AS "position!", server AS "server!", sequence AS "sequence!",
               last_sequence AS "last_sequence!", from_at AS "from_at!", until_at AS "until_at!",
               terms AS "terms!", body AS "body!"
           FROM (
               SELECT *, sum(octet_length(body)) OVER (ORDER BY position) - octet_length(body) AS before
               FROM (
                   SELECT * FROM dsm.log WHERE position > $1 ORDER BY position LIMIT $2
               ) AS page
           ) AS measured
           WHERE before < $3 ORDER BY position"#,
        position,
        PAGE,
        BYTES,
    )
    .fetch_all(connection)
    .await?;
    let records = rows.into_iter().map(LogRow::decode);
    Ok(records.collect::<Result<_, _>>()?)
}

async fn jobs_after(
    connection: &mut PgConnection,
    (topic, subject): (i32, i64),
) -> Result<Vec<Job>, Fault> {
    let rows = sqlx::query!(
        "SELECT topic, subject, due_at, body FROM dsm.job WHERE (topic, subject) > ($1, $2) \
         ORDER BY topic, subject LIMIT $3",
        topic,
        subject,
        PAGE,
    )
    .fetch_all(connection)
    .await?;
    let jobs = rows
        .into_iter()
        .map(|row| job(row.topic, row.subject, row.due_at, row.body));
    Ok(jobs.collect::<Result<_, _>>()?)
}

async fn sequences(connection: &mut PgConnection) -> Result<Vec<(Kind, u64)>, Fault> {
    let rows = sqlx::query!("SELECT kind, last FROM dsm.sequence ORDER BY kind")
        .fetch_all(connection)
        .await?;
    let sequences = rows
        .into_iter()
        .map(|row| Ok((Kind(short(row.kind)?), unsigned(row.last)?)));
    Ok(sequences.collect::<Result<_, StoreError>>()?)
}
