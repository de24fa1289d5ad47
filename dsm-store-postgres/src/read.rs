//! The statements that read: one for each call, and so one round trip and one state of the store.

use std::ops::Bound;

use async_trait::async_trait;
use dsm_core::store::{
    Job, JobKey, Kind, LogPage, LogQuery, LogRecord, Order, Page, Query, Record, RecordKey,
    RecordPage, ServerId, StoreError, Term, Topic,
};
use dsm_core::time::{Timestamp, to_micros};
use sqlx::postgres::PgConnection;
use sqlx::{Postgres, QueryBuilder};

use crate::database::Work;
use crate::encoding::{
    damaged, decode_index_terms, decode_terms, instant, limit, one_more, short, unsigned,
};
use crate::fault::Fault;

#[derive(sqlx::FromRow)]
pub(crate) struct RecordRow {
    pub(crate) kind: i32,
    pub(crate) id: i64,
    pub(crate) revision: i64,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) terms: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl RecordRow {
    pub(crate) fn decode(self) -> Result<Record, StoreError> {
        Ok(Record {
            key: RecordKey {
                kind: Kind(short(self.kind)?),
                id: unsigned(self.id)?,
            },
            revision: unsigned(self.revision)?,
            body: self.body,
            terms: decode_index_terms(&self.terms)?,
            created_at: instant(self.created_at)?,
            expires_at: self.expires_at.map(instant).transpose()?,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct LogRow {
    pub(crate) position: i64,
    pub(crate) server: Vec<u8>,
    pub(crate) sequence: i64,
    pub(crate) last_sequence: i64,
    pub(crate) from_at: i64,
    pub(crate) until_at: i64,
    pub(crate) terms: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl LogRow {
    pub(crate) fn decode(self) -> Result<(u64, LogRecord), StoreError> {
        let server = self.server.try_into();
        let record = LogRecord {
            server: ServerId(server.map_err(|_| damaged("a server's name is not 16 bytes"))?),
            sequence: unsigned(self.sequence)?,
            last_sequence: unsigned(self.last_sequence)?,
            from: instant(self.from_at)?,
            until: instant(self.until_at)?,
            terms: decode_terms(&self.terms)?,
            body: self.body,
        };
        Ok((unsigned(self.position)?, record))
    }
}

pub(crate) fn job(topic: i32, subject: i64, due_at: i64, body: Vec<u8>) -> Result<Job, StoreError> {
    Ok(Job {
        key: JobKey {
            topic: Topic(short(topic)?),
            subject: unsigned(subject)?,
        },
        due_at: instant(due_at)?,
        body,
    })
}

pub(crate) fn numbers(topics: &[Topic]) -> Vec<i32> {
    topics.iter().map(|topic| topic.0.into()).collect()
}

/// The record with a key.
pub(crate) struct Find(pub(crate) RecordKey);

#[async_trait]
impl Work for Find {
    type Output = Option<Record>;

    async fn run(&self, connection: &mut PgConnection) -> Result<Option<Record>, Fault> {
        let Ok(id) = i64::try_from(self.0.id) else {
            return Ok(None);
        };
        let row = sqlx::query_as!(
            RecordRow,
            "SELECT kind, id, revision, created_at, expires_at, terms, body FROM dsm.record \
             WHERE kind = $1 AND id = $2",
            i32::from(self.0.kind.0),
            id,
        )
        .fetch_optional(connection)
        .await?;
        Ok(row.map(RecordRow::decode).transpose()?)
    }
}

/// The record with a unique term.
pub(crate) struct FindBy(pub(crate) Kind, pub(crate) Term);

#[async_trait]
impl Work for FindBy {
    type Output = Option<Record>;

    async fn run(&self, connection: &mut PgConnection) -> Result<Option<Record>, Fault> {
        let Self(kind, term) = self;
        let row = sqlx::query_as!(
            RecordRow,
            "SELECT record.kind, record.id, revision, created_at, expires_at, terms, body \
             FROM dsm.term JOIN dsm.record USING (kind, id) \
             WHERE term.kind = $1 AND term.term = $2 AND term.uniq",
            i32::from(kind.0),
            &term.0[..],
        )
        .fetch_optional(connection)
        .await?;
        Ok(row.map(RecordRow::decode).transpose()?)
    }
}

/// The records that carry unique terms, each in its place.
pub(crate) struct FindEach(pub(crate) Vec<(Kind, Term)>);

#[async_trait]
impl Work for FindEach {
    type Output = Vec<Option<Record>>;

    async fn run(&self, connection: &mut PgConnection) -> Result<Self::Output, Fault> {
        let kinds: Vec<i32> = self.0.iter().map(|(kind, _)| i32::from(kind.0)).collect();
        let terms: Vec<Vec<u8>> = self.0.iter().map(|(_, term)| term.0.to_vec()).collect();
        let rows = sqlx::query!(
            r#"SELECT place AS "place!", record.kind, record.id, revision, created_at, expires_at,
                   terms, body
               FROM unnest($1::integer[], $2::bytea[]) WITH ORDINALITY AS wanted (kind, term, place)
               JOIN dsm.term ON term.kind = wanted.kind AND term.term = wanted.term AND term.uniq
               JOIN dsm.record ON record.kind = term.kind AND record.id = term.id"#,
            &kinds,
            &terms,
        )
        .fetch_all(connection)
        .await?;
        let mut found: Vec<Option<Record>> = vec![None; self.0.len()];
        for row in rows {
            let record = RecordRow {
                kind: row.kind,
                id: row.id,
                revision: row.revision,
                created_at: row.created_at,
                expires_at: row.expires_at,
                terms: row.terms,
                body: row.body,
            };
            let place = usize::try_from(row.place - 1).ok();
            if let Some(slot) = place.and_then(|place| found.get_mut(place)) {
                *slot = Some(record.decode()?);
            }
        }
        Ok(found)
    }
}

/// A page of records.
pub(crate) struct List(pub(crate) Query, pub(crate) Page);

#[async_trait]
impl Work for List {
    type Output = RecordPage;

    async fn run(&self, connection: &mut PgConnection) -> Result<RecordPage, Fault> {
        let Self(query, page) = self;
        let mut sql = QueryBuilder::<Postgres>::new(
            "SELECT record.kind, record.id, revision, created_at, expires_at, terms, body FROM ",
        );
        let kind = i32::from(query.kind.0);
        // The ids of one term are in order in its index; so are those of a kind.
        let id = if let Some((first, others)) = query.terms.split_first() {
            sql.push("dsm.term JOIN dsm.record USING (kind, id)");
            sql.push(" WHERE term.kind = ").push_bind(kind);
            sql.push(" AND term.term = ").push_bind(first.0.to_vec());
            for other in others {
                sql.push(" AND EXISTS (SELECT 1 FROM dsm.term other WHERE other.kind = term.kind");
                sql.push(" AND other.id = term.id AND other.term = ");
                sql.push_bind(other.0.to_vec()).push(")");
            }
            "term.id"
        } else {
            sql.push("dsm.record WHERE record.kind = ").push_bind(kind);
            "record.id"
        };
        push_after(&mut sql, id, query.order, page.after);
        push_bounds(&mut sql, "created_at", query.created);
        push_bounds(&mut sql, "expires_at", query.expires);
        push_end(&mut sql, id, query.order, page.limit);

        let rows: Vec<RecordRow> = sql.build_query_as().fetch_all(connection).await?;
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            records.push(row.decode()?);
        }
        let more = records.len() > page.limit.max(1);
        records.truncate(page.limit.max(1));
        Ok(RecordPage {
            next: records.last().filter(|_| more).map(|last| last.key.id),
            records,
        })
    }
}

/// A page of the log.
pub(crate) struct ReadLog(pub(crate) LogQuery);

#[async_trait]
impl Work for ReadLog {
    type Output = LogPage;

    async fn run(&self, connection: &mut PgConnection) -> Result<LogPage, Fault> {
        let query = &self.0;
        let mut sql = QueryBuilder::<Postgres>::new(
            "SELECT log.position, server, sequence, last_sequence, from_at, until_at, terms, body \
             FROM ",
        );
        let position = if let Some((first, others)) = query.terms.split_first() {
            sql.push("dsm.log_term term JOIN dsm.log USING (position)");
            sql.push(" WHERE term.term = ").push_bind(first.0.to_vec());
            for other in others {
                sql.push(" AND EXISTS (SELECT 1 FROM dsm.log_term other WHERE");
                sql.push(" other.position = term.position AND other.term = ");
                sql.push_bind(other.0.to_vec()).push(")");
            }
            "term.position"
        } else {
            sql.push("dsm.log WHERE TRUE");
            "log.position"
        };
        push_after(&mut sql, position, query.order, query.after);
        if let Some(server) = query.server {
            sql.push(" AND server = ").push_bind(server.0.to_vec());
        }
        let (from, until) = query.time;
        push_bounds(&mut sql, "until_at", (from, Bound::Unbounded));
        push_bounds(&mut sql, "from_at", (Bound::Unbounded, until));
        push_end(&mut sql, position, query.order, query.limit);

        let rows: Vec<LogRow> = sql.build_query_as().fetch_all(connection).await?;
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            records.push(row.decode()?);
        }
        let more = records.len() > query.limit.max(1);
        records.truncate(query.limit.max(1));
        Ok(LogPage {
            next: records.last().filter(|_| more).map(|last| last.0),
            records,
        })
    }
}

/// Jobs by due time, those of the same instant by key.
pub(crate) struct ListJobs(pub(crate) Vec<Topic>, pub(crate) usize);

#[async_trait]
impl Work for ListJobs {
    type Output = Vec<Job>;

    async fn run(&self, connection: &mut PgConnection) -> Result<Vec<Job>, Fault> {
        let rows = sqlx::query!(
            "SELECT topic, subject, due_at, body FROM dsm.job WHERE topic = ANY ($1) \
             ORDER BY due_at, topic, subject LIMIT $2",
            &numbers(&self.0),
            limit(self.1),
        )
        .fetch_all(connection)
        .await?;
        let jobs = rows
            .into_iter()
            .map(|row| job(row.topic, row.subject, row.due_at, row.body));
        Ok(jobs.collect::<Result<_, _>>()?)
    }
}

/// Fails when nothing can be written: an empty message goes into the write-ahead log and is flushed
/// as a commit is.
pub(crate) struct Probe;

#[async_trait]
impl Work for Probe {
    type Output = ();

    async fn run(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        sqlx::query!(
            "SELECT pg_logical_emit_message(true, 'dsm', '')::text AS place FROM dsm.schema_version"
        )
        .fetch_one(connection)
        .await?;
        Ok(())
    }
}

fn push_after(sql: &mut QueryBuilder<Postgres>, column: &str, order: Order, after: Option<u64>) {
    let Some(after) = after else {
        return;
    };
    match (order, i64::try_from(after)) {
        (Order::OldestFirst, Ok(after)) => {
            sql.push(" AND ").push(column).push(" > ").push_bind(after);
        }
        (Order::NewestFirst, Ok(after)) => {
            sql.push(" AND ").push(column).push(" < ").push_bind(after);
        }
        // Every stored number is smaller.
        (Order::OldestFirst, Err(_)) => {
            sql.push(" AND FALSE");
        }
        (Order::NewestFirst, Err(_)) => {}
    }
}

fn push_bounds(
    sql: &mut QueryBuilder<Postgres>,
    column: &str,
    (low, high): (Bound<Timestamp>, Bound<Timestamp>),
) {
    let low = match low {
        Bound::Included(at) => Some((" >= ", at)),
        Bound::Excluded(at) => Some((" > ", at)),
        Bound::Unbounded => None,
    };
    let high = match high {
        Bound::Included(at) => Some((" <= ", at)),
        Bound::Excluded(at) => Some((" < ", at)),
        Bound::Unbounded => None,
    };
    for (operator, at) in low.into_iter().chain(high) {
        sql.push(" AND ").push(column).push(operator);
        sql.push_bind(to_micros(at));
    }
}

fn push_end(sql: &mut QueryBuilder<Postgres>, column: &str, order: Order, limit: usize) {
    sql.push(" ORDER BY ").push(column);
    sql.push(match order {
        Order::OldestFirst => " ASC LIMIT ",
        Order::NewestFirst => " DESC LIMIT ",
    });
    sql.push_bind(one_more(limit));
}
