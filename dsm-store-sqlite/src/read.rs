//! The statements that read. Each call takes its rows from one statement, and so
//! from one state of the store.

use std::ops::Bound;

use dsm_core::store::{
    Job, JobKey, Kind, LogPage, LogQuery, LogRecord, Order, Page, Query, Record, RecordKey,
    RecordPage, ServerId, StoreError, Term, Topic,
};
use dsm_core::time::{Timestamp, to_micros};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::encoding::{
    damaged, decode_index_terms, decode_terms, instant, limit, one_more, short, unsigned,
};
use crate::fault::Fault;

#[derive(sqlx::FromRow)]
struct RecordRow {
    id: i64,
    revision: i64,
    created_at: i64,
    expires_at: Option<i64>,
    terms: Vec<u8>,
    body: Vec<u8>,
}

impl RecordRow {
    fn decode(self, kind: Kind) -> Result<Record, StoreError> {
        Ok(Record {
            key: RecordKey {
                kind,
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

pub(crate) async fn find(
    connection: &mut SqliteConnection,
    key: RecordKey,
) -> Result<Option<Record>, Fault> {
    let Ok(id) = i64::try_from(key.id) else {
        return Ok(None);
    };
    let kind = i64::from(key.kind.0);
    let row = sqlx::query_as!(
        RecordRow,
        "SELECT id, revision, created_at, expires_at, terms, body FROM record \
         WHERE kind = ? AND id = ?",
        kind,
        id
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.decode(key.kind)).transpose()?)
}

pub(crate) async fn find_by(
    connection: &mut SqliteConnection,
    kind: Kind,
    term: &Term,
) -> Result<Option<Record>, Fault> {
    let number = i64::from(kind.0);
    let term = term.0.as_slice();
    let row = sqlx::query_as!(
        RecordRow,
        "SELECT id, revision, created_at, expires_at, terms, body \
         FROM unique_term CROSS JOIN record ON record.place = unique_term.place \
         WHERE unique_term.kind = ? AND term = ?",
        number,
        term
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.decode(kind)).transpose()?)
}

/// How many lookups one statement has; SQLite takes 500.
const LOOKUPS: usize = 100;

#[derive(sqlx::FromRow)]
struct FoundRow {
    nth: i64,
    #[sqlx(flatten)]
    record: RecordRow,
}

/// Each in the place of what was looked for.
pub(crate) async fn find_each(
    connection: &mut SqliteConnection,
    wanted: &[(Kind, Term)],
) -> Result<Vec<Option<Record>>, Fault> {
    let mut found = vec![None; wanted.len()];
    for (wanted, found) in wanted.chunks(LOOKUPS).zip(found.chunks_mut(LOOKUPS)) {
        let rows: Vec<FoundRow> = lookups(wanted)
            .build_query_as()
            .fetch_all(&mut *connection)
            .await?;
        for row in rows {
            let nth = usize::try_from(row.nth).ok();
            let nth = nth.filter(|nth| *nth < wanted.len());
            let nth = nth.ok_or_else(|| damaged("a lookup has another number"))?;
            found[nth] = Some(row.record.decode(wanted[nth].0)?);
        }
    }
    Ok(found)
}

fn lookups(wanted: &[(Kind, Term)]) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::<Sqlite>::new("");
    for (nth, (kind, term)) in wanted.iter().enumerate() {
        if nth > 0 {
            sql.push(" UNION ALL ");
        }
        sql.push("SELECT ").push(nth).push(
            " AS nth, id, revision, created_at, expires_at, terms, body \
             FROM unique_term CROSS JOIN record ON record.place = unique_term.place \
             WHERE unique_term.kind = ",
        );
        sql.push_bind(i64::from(kind.0));
        sql.push(" AND term = ").push_bind(term.0.to_vec());
    }
    sql
}

/// Walks the index of the rarest term, or that of a range, or the primary key.
pub(crate) async fn list(
    connection: &mut SqliteConnection,
    query: &Query,
    page: Page,
) -> Result<RecordPage, Fault> {
    let kind = i64::from(query.kind.0);
    let unbounded = (Bound::Unbounded, Bound::Unbounded);
    let mut sql = QueryBuilder::<Sqlite>::new(
        "SELECT record.id, revision, created_at, expires_at, terms, body FROM ",
    );
    let direction = match query.order {
        Order::OldestFirst => " ASC LIMIT ",
        Order::NewestFirst => " DESC LIMIT ",
    };
    let terms = rarest_first(connection, query).await?;
    if let Some((first, others)) = terms.split_first() {
        // A cross join keeps this order of the tables.
        sql.push("term CROSS JOIN record ON record.kind = term.kind AND record.id = term.id");
        sql.push(" WHERE term.kind = ").push_bind(kind);
        sql.push(" AND term.term = ").push_bind(first.0.to_vec());
        for other in others {
            sql.push(" AND EXISTS (SELECT 1 FROM term other WHERE other.kind = term.kind");
            sql.push(" AND other.id = term.id AND other.term = ");
            sql.push_bind(other.0.to_vec()).push(")");
        }
        push_after(&mut sql, "term.id", query.order, page.after);
        push_bounds(&mut sql, "created_at", query.created);
        push_bounds(&mut sql, "expires_at", query.expires);
        sql.push(" ORDER BY term.id").push(direction);
    } else if query.created != unbounded || query.expires != unbounded {
        let index = if query.expires == unbounded {
            "record_created"
        } else {
            "record_expires"
        };
        sql.push("(SELECT id AS hit FROM record INDEXED BY ")
            .push(index);
        sql.push(" WHERE kind = ").push_bind(kind);
        push_bounds(&mut sql, "created_at", query.created);
        push_bounds(&mut sql, "expires_at", query.expires);
        push_after(&mut sql, "id", query.order, page.after);
        sql.push(" ORDER BY id").push(direction);
        sql.push_bind(one_more(page.limit));
        sql.push(") CROSS JOIN record ON record.id = hit WHERE record.kind = ");
        sql.push_bind(kind).push(" ORDER BY hit").push(direction);
    } else {
        sql.push("record WHERE kind = ").push_bind(kind);
        push_after(&mut sql, "id", query.order, page.after);
        sql.push(" ORDER BY id").push(direction);
    }
    sql.push_bind(one_more(page.limit));

    let rows: Vec<RecordRow> = sql.build_query_as().fetch_all(connection).await?;
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        records.push(row.decode(query.kind)?);
    }
    let more = records.len() > page.limit.max(1);
    records.truncate(page.limit.max(1));
    Ok(RecordPage {
        next: records.last().filter(|_| more).map(|last| last.key.id),
        records,
    })
}

/// How far the records of a term are counted.
const COUNTED: i64 = 1000;

/// The query's terms, the one that the fewest records carry before the others.
async fn rarest_first(
    connection: &mut SqliteConnection,
    query: &Query,
) -> Result<Vec<Term>, sqlx::Error> {
    let mut terms = query.terms.clone();
    if terms.len() < 2 {
        return Ok(terms);
    }
    let kind = i64::from(query.kind.0);
    let mut fewest = COUNTED;
    for place in 0..terms.len() {
        let term = terms[place].0.as_slice();
        let count = sqlx::query_scalar!(
            "SELECT count(*) FROM (SELECT 1 FROM term WHERE kind = ? AND term = ? LIMIT ?)",
            kind,
            term,
            fewest
        )
        .fetch_one(&mut *connection)
        .await?;
        if count < fewest {
            fewest = count;
            terms.swap(0, place);
        }
    }
    Ok(terms)
}

#[derive(sqlx::FromRow)]
struct LogRow {
    position: i64,
    server: Vec<u8>,
    sequence: i64,
    last_sequence: i64,
    from_at: i64,
    until_at: i64,
    terms: Vec<u8>,
    body: Vec<u8>,
}

impl LogRow {
    fn decode(self) -> Result<(u64, LogRecord), StoreError> {
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

/// Records by kind and id, after a place.
pub(crate) async fn records_after(
    connection: &mut SqliteConnection,
    (kind, id): (i64, i64),
    at_most: i64,
) -> Result<Vec<Record>, Fault> {
    let rows = sqlx::query!(
        "SELECT kind, id, revision, created_at, expires_at, terms, body FROM record \
         WHERE (kind, id) > (?, ?) ORDER BY kind, id LIMIT ?",
        kind,
        id,
        at_most
    )
    .fetch_all(connection)
    .await?;
    let records = rows.into_iter().map(|row| {
        let kind = Kind(short(row.kind)?);
        let row = RecordRow {
            id: row.id,
            revision: row.revision,
            created_at: row.created_at,
            expires_at: row.expires_at,
            terms: row.terms,
            body: row.body,
        };
        row.decode(kind)
    });
    Ok(records.collect::<Result<_, _>>()?)
}

/// The log in the order of appending, after a position.
pub(crate) async fn log_after(
    connection: &mut SqliteConnection,
    position: i64,
    at_most: i64,
) -> Result<Vec<(u64, LogRecord)>, Fault> {
    let rows = sqlx::query_as!(
        LogRow,
        "SELECT position, server, sequence, last_sequence, from_at, until_at, terms, body FROM log \
         WHERE position > ? ORDER BY position LIMIT ?",
        position,
        at_most
    )
    .fetch_all(connection)
    .await?;
    let records = rows.into_iter().map(LogRow::decode);
    Ok(records.collect::<Result<_, _>>()?)
}

/// Walks the first term's index, or that of the times, of the servers, or the positions.
pub(crate) async fn read_log(
    connection: &mut SqliteConnection,
    query: &LogQuery,
) -> Result<LogPage, Fault> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "SELECT log.position, server, sequence, last_sequence, from_at, until_at, terms, body FROM ",
    );
    let (from, until) = query.time;
    let bounded = (from, until) != (Bound::Unbounded, Bound::Unbounded);
    let by_time = bounded && query.terms.is_empty();
    if let Some((first, others)) = query.terms.split_first() {
        sql.push("log_term term CROSS JOIN log ON log.position = term.position");
        sql.push(" WHERE term.term = ").push_bind(first.0.to_vec());
        for other in others {
            sql.push(" AND EXISTS (SELECT 1 FROM log_term other WHERE");
            sql.push(" other.position = term.position AND other.term = ");
            sql.push_bind(other.0.to_vec()).push(")");
        }
        push_after(&mut sql, "term.position", query.order, query.after);
    } else {
        if by_time {
            // The end of a batch tells what is recent, and reports are mostly about that.
            let index = if from == Bound::Unbounded {
                "log_from"
            } else {
                "log_until"
            };
            sql.push("(SELECT position AS hit FROM log INDEXED BY ")
                .push(index);
        } else {
            sql.push("log");
        }
        sql.push(" WHERE TRUE");
        push_after(&mut sql, "position", query.order, query.after);
    }
    if let Some(server) = query.server {
        sql.push(" AND server = ").push_bind(server.0.to_vec());
    }
    push_bounds(&mut sql, "until_at", (from, Bound::Unbounded));
    push_bounds(&mut sql, "from_at", (Bound::Unbounded, until));
    let direction = match query.order {
        Order::OldestFirst => " ASC LIMIT ",
        Order::NewestFirst => " DESC LIMIT ",
    };
    if by_time {
        sql.push(" ORDER BY position").push(direction);
        sql.push_bind(one_more(query.limit));
        sql.push(") CROSS JOIN log ON log.position = hit ORDER BY hit");
    } else if query.terms.is_empty() {
        sql.push(" ORDER BY position");
    } else {
        sql.push(" ORDER BY term.position");
    }
    sql.push(direction).push_bind(one_more(query.limit));

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

/// Jobs by due time, those of the same instant by key.
pub(crate) async fn list_jobs(
    connection: &mut SqliteConnection,
    topics: &[Topic],
    at_most: usize,
) -> Result<Vec<Job>, Fault> {
    let topics = array(topics);
    let at_most = limit(at_most);
    let rows = sqlx::query!(
        "SELECT topic, subject, due_at, body FROM job \
         WHERE topic IN (SELECT value FROM json_each(?)) \
         ORDER BY due_at, topic, subject LIMIT ?",
        topics,
        at_most
    )
    .fetch_all(connection)
    .await?;
    let jobs = rows
        .into_iter()
        .map(|row| job(row.topic, row.subject, row.due_at, row.body));
    Ok(jobs.collect::<Result<_, _>>()?)
}

/// Whether a claim would find something.
pub(crate) async fn is_due(
    connection: &mut SqliteConnection,
    topics: &[Topic],
    now: Timestamp,
) -> Result<bool, Fault> {
    let topics = array(topics);
    let now = to_micros(now);
    let found = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM job
           WHERE topic IN (SELECT value FROM json_each(?1)) AND due_at <= ?2
           AND (leased_until IS NULL OR leased_until <= ?2)) AS "found: bool""#,
        topics,
        now
    )
    .fetch_one(connection)
    .await?;
    Ok(found)
}

/// Fails when the file cannot be read.
pub(crate) async fn probe(connection: &mut SqliteConnection) -> Result<(), Fault> {
    sqlx::query_scalar!("SELECT last FROM sequence WHERE kind = -1")
        .fetch_one(connection)
        .await?;
    Ok(())
}

pub(crate) fn job(topic: i64, subject: i64, due_at: i64, body: Vec<u8>) -> Result<Job, StoreError> {
    Ok(Job {
        key: JobKey {
            topic: Topic(short(topic)?),
            subject: unsigned(subject)?,
        },
        due_at: instant(due_at)?,
        body,
    })
}

/// Topics as a JSON array, which one statement can take in any number.
pub(crate) fn array(topics: &[Topic]) -> String {
    let numbers: Vec<String> = topics.iter().map(|topic| topic.0.to_string()).collect();
    format!("[{}]", numbers.join(","))
}

fn push_after(sql: &mut QueryBuilder<Sqlite>, column: &str, order: Order, after: Option<u64>) {
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
    sql: &mut QueryBuilder<Sqlite>,
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

#[cfg(test)]
mod tests;
