//! What is asked and what comes back.

use dsm_core::store::{
    Job, JobKey, Kind, Lease, LogQuery, LogRecord, Order, Page, Query, Record, RecordKey,
    StoreError, Topic,
};
use redis::Value;

use crate::encoding::{
    decode_batch, decode_job, decode_job_key, decode_lease, decode_number, decode_record,
    decode_record_key, lower, number, range, upper,
};
use crate::fault::unexpected;

pub(crate) fn bytes(value: Value) -> Result<Vec<u8>, StoreError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(unexpected()),
    }
}

pub(crate) fn text(value: Value) -> Result<String, StoreError> {
    String::from_utf8(bytes(value)?).map_err(|_| unexpected())
}

pub(crate) fn array(value: Value) -> Result<std::vec::IntoIter<Value>, StoreError> {
    match value {
        Value::Array(values) => Ok(values.into_iter()),
        _ => Err(unexpected()),
    }
}

pub(crate) fn next(values: &mut std::vec::IntoIter<Value>) -> Result<Value, StoreError> {
    values.next().ok_or_else(unexpected)
}

pub(crate) fn integer(value: &Value) -> Result<i64, StoreError> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(unexpected()),
    }
}

/// Keys with what they are of, one after the other.
pub(crate) fn pairs<T>(
    mut values: std::vec::IntoIter<Value>,
    decode: impl Fn(&[u8], &[u8]) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut items = Vec::with_capacity(values.len() / 2);
    while let Some(key) = values.next() {
        let content = bytes(next(&mut values)?)?;
        items.push(decode(&bytes(key)?, &content)?);
    }
    Ok(items)
}

/// As [`pairs`], where there is nothing in some places.
pub(crate) fn optional_pairs<T>(
    mut values: std::vec::IntoIter<Value>,
    decode: impl Fn(&[u8], &[u8]) -> Result<T, StoreError>,
) -> Result<Vec<Option<T>>, StoreError> {
    let mut items = Vec::with_capacity(values.len() / 2);
    while let Some(key) = values.next() {
        items.push(match (key, next(&mut values)?) {
            (Value::Nil | Value::Boolean(false), _) => None,
            (key, content) => Some(decode(&bytes(key)?, &bytes(content)?)?),
        });
    }
    Ok(items)
}

pub(crate) fn record(key: &[u8], content: &[u8]) -> Result<Record, StoreError> {
    decode_record(decode_record_key(key)?, content)
}

pub(crate) fn job(key: &[u8], content: &[u8]) -> Result<Job, StoreError> {
    decode_job(decode_job_key(key)?, content)
}

pub(crate) fn lease(key: &[u8], content: &[u8]) -> Result<Lease, StoreError> {
    decode_lease(decode_job_key(key)?, content)
}

pub(crate) fn batch(key: &[u8], content: &[u8]) -> Result<(u64, LogRecord), StoreError> {
    Ok((decode_number(key)?, decode_batch(content)?))
}

/// How a script ended that reads a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing follows.
    Last,
    /// The limit is reached and more follow.
    Full,
    /// It was enough work for one call: go on after this.
    Part(u64),
}

/// One answer of such a script.
pub(crate) fn page<T>(
    answer: Value,
    decode: impl Fn(&[u8], &[u8]) -> Result<T, StoreError>,
) -> Result<(Vec<T>, End), StoreError> {
    let mut values = array(answer)?;
    let status = bytes(next(&mut values)?)?;
    let after = bytes(next(&mut values)?)?;
    let end = match status.as_slice() {
        b"end" => End::Last,
        b"full" => End::Full,
        b"part" => End::Part(decode_number(&after)?),
        _ => return Err(unexpected()),
    };
    Ok((pairs(values, decode)?, end))
}

/// The arguments of `list.lua`.
pub(crate) fn list_arguments(query: &Query, page: Page) -> Vec<Vec<u8>> {
    let mut arguments = vec![
        query.kind.0.to_be_bytes().to_vec(),
        cursor(page.after),
        order(query.order),
        limit(page.limit),
    ];
    arguments.extend(range(query.created));
    arguments.extend(range(query.expires));
    arguments.extend(query.terms.iter().map(|term| term.0.to_vec()));
    arguments
}

/// The arguments of `read_log.lua`.
pub(crate) fn log_arguments(query: &LogQuery, after: Option<u64>, count: usize) -> Vec<Vec<u8>> {
    let (from, until) = query.time;
    let bound = |bound: Option<[u8; 8]>| bound.map_or_else(Vec::new, |at| at.to_vec());
    // No position is beyond what scripts count to.
    let after = after.map(|after| after.min(1 << 52));
    let mut arguments = vec![
        query.server.map_or_else(Vec::new, |id| id.0.to_vec()),
        cursor(after),
        order(query.order),
        limit(count),
        bound(lower(from)),
        bound(upper(until)),
    ];
    arguments.extend(query.terms.iter().map(|term| term.0.to_vec()));
    arguments
}

/// Topics without doubles.
pub(crate) fn topics(topics: &[Topic]) -> Vec<Vec<u8>> {
    let mut topics = topics.to_vec();
    topics.sort_unstable();
    topics.dedup();
    let bytes = topics.iter().map(|topic| topic.0.to_be_bytes().to_vec());
    bytes.collect()
}

pub(crate) fn limit(limit: usize) -> Vec<u8> {
    // More than fits in memory, and exact as a double.
    limit.min(1 << 31).to_string().into_bytes()
}

fn cursor(after: Option<u64>) -> Vec<u8> {
    after.map_or_else(Vec::new, |after| number(after).to_vec())
}

fn order(order: Order) -> Vec<u8> {
    match order {
        Order::NewestFirst => b"newest".to_vec(),
        Order::OldestFirst => b"oldest".to_vec(),
    }
}

/// Numbers by kind, as they are stored.
pub(crate) fn sequences(values: Value) -> Result<Vec<(Kind, u64)>, StoreError> {
    let mut sequences = pairs(array(values)?, |kind, last| {
        let last = std::str::from_utf8(last).ok();
        let last = last.and_then(|last| last.parse().ok());
        Ok((
            crate::encoding::decode_kind(kind)?,
            last.ok_or_else(unexpected)?,
        ))
    })?;
    sequences.sort_unstable();
    Ok(sequences)
}

/// The refusal that a script named with a key.
pub(crate) fn refusal(status: &[u8], key: &[u8]) -> Result<StoreError, StoreError> {
    let record = || -> Result<RecordKey, StoreError> { decode_record_key(key) };
    let job = || -> Result<JobKey, StoreError> { decode_job_key(key) };
    Ok(match status {
        b"exists" => StoreError::AlreadyExists(record()?),
        b"revision" => StoreError::RevisionMismatch(record()?),
        b"lease" => StoreError::LeaseLost(job()?),
        b"damaged" => StoreError::Corrupt(format!("{} is cut off", record()?)),
        _ => return Err(unexpected()),
    })
}
