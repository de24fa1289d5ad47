//! The whole store at one instant: a transaction that reads, page by page.

use async_trait::async_trait;
use dsm_core::store::{Job, JobKey, Kind, Snapshot, SnapshotPart, StoreError};
use sqlx::{ConnectOptions as _, SqliteConnection};

use crate::encoding::{short, signed, unsigned};
use crate::fault::Fault;
use crate::options::OpenOptions;
use crate::read;

/// How many rows are read at once.
const PAGE: i64 = 256;

/// Dropping it ends its connection and with that the transaction.
#[derive(Debug)]
pub(crate) struct SqliteSnapshot {
    options: OpenOptions,
    connection: SqliteConnection,
    size: u64,
    place: Place,
}

/// After what the reading goes on.
#[derive(Debug, Clone, Copy)]
enum Place {
    Records(i64, i64),
    Log(i64),
    Jobs(i64, i64),
    Sequences,
    End,
}

impl SqliteSnapshot {
    pub(crate) async fn begin(options: &OpenOptions) -> Result<Self, StoreError> {
        let begun = async {
            let mut connection = options.reading().connect().await?;
            // Not by `Transaction`, which borrows its connection.
            sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
            let size = sqlx::query_scalar!(
                r#"SELECT (SELECT count(*) FROM record) + (SELECT count(*) FROM log)
                   + (SELECT count(*) FROM job) AS "size!: i64""#
            );
            let size = size.fetch_one(&mut connection).await?;
            Ok::<_, Fault>((connection, unsigned(size)?))
        };
        let (connection, size) = begun.await.map_err(|fault| fault.at(&options.path))?;
        Ok(Self {
            options: options.clone(),
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
                let records = read::records_after(connection, (kind, id), PAGE).await?;
                match records.last() {
                    Some(last) => {
                        let place =
                            Place::Records(i64::from(last.key.kind.0), signed(last.key.id)?);
                        (Some(SnapshotPart::Records(records)), place)
                    }
                    None => (None, Place::Log(0)),
                }
            }
            Place::Log(position) => {
                let log = read::log_after(connection, position, PAGE).await?;
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
                        let place = Place::Jobs(i64::from(topic.0), signed(subject)?);
                        (Some(SnapshotPart::Jobs(jobs)), place)
                    }
                    None => (None, Place::Sequences),
                }
            }
            Place::Sequences => {
                let sequences = sequences(connection).await?;
                let part = SnapshotPart::Sequences(sequences);
                let empty = matches!(&part, SnapshotPart::Sequences(all) if all.is_empty());
                ((!empty).then_some(part), Place::End)
            }
            Place::End => (None, Place::End),
        })
    }
}

#[async_trait]
impl Snapshot for SqliteSnapshot {
    fn size(&self) -> u64 {
        self.size
    }

    async fn next(&mut self) -> Result<Option<SnapshotPart>, StoreError> {
        loop {
            let page = self.page().await;
            let (part, place) = page.map_err(|fault| fault.at(&self.options.path))?;
            self.place = place;
            if part.is_some() || matches!(place, Place::End) {
                return Ok(part);
            }
        }
    }
}

async fn jobs_after(
    connection: &mut SqliteConnection,
    (topic, subject): (i64, i64),
) -> Result<Vec<Job>, Fault> {
    let rows = sqlx::query!(
        "SELECT topic, subject, due_at, body FROM job WHERE (topic, subject) > (?, ?) \
         ORDER BY topic, subject LIMIT ?",
        topic,
        subject,
        PAGE
    )
    .fetch_all(connection)
    .await?;
    let jobs = rows
        .into_iter()
        .map(|row| read::job(row.topic, row.subject, row.due_at, row.body));
    Ok(jobs.collect::<Result<_, _>>()?)
}

async fn sequences(connection: &mut SqliteConnection) -> Result<Vec<(Kind, u64)>, Fault> {
    let rows = sqlx::query!("SELECT kind, last FROM sequence WHERE kind >= 0 ORDER BY kind")
        .fetch_all(connection)
        .await?;
    let sequences = rows
        .into_iter()
        .map(|row| Ok((Kind(short(row.kind)?), unsigned(row.last)?)));
    Ok(sequences.collect::<Result<_, StoreError>>()?)
}
