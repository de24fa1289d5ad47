//! How numbers, instants, records, jobs and batches are stored.
//!
//! Numbers are eight bytes, most significant first, so that they order as bytes do and scripts
//! compare them exactly. Instants are microseconds since the Unix epoch with the sign bit turned, so
//! that earlier ones come first.
//!
//! ```text
//! record  revision 8 | created 8 | 1 or 0 | expires 8 | number of terms 4 | terms 17 each | body
//! job     due 8 | generation 8 | leased until 8 | body
//! batch   server 16 | sequence 8 | last 8 | from 8 | until 8 | number of terms 4 | terms 16 each | body
//! ```

use std::ops::Bound;

use dsm_core::store::{
    IndexTerm, Job, JobKey, Kind, Lease, LogRecord, Record, RecordKey, ServerId, StoreError, Term,
    Topic,
};
use dsm_core::time::{Timestamp, from_micros, to_micros};

const SIGN: u64 = 1 << 63;

pub(crate) fn number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

pub(crate) fn instant(at: Timestamp) -> [u8; 8] {
    micros(to_micros(at))
}

fn micros(micros: i64) -> [u8; 8] {
    (micros.cast_unsigned() ^ SIGN).to_be_bytes()
}

pub(crate) fn record_key(key: RecordKey) -> [u8; 10] {
    pair(key.kind.0, key.id)
}

pub(crate) fn job_key(key: JobKey) -> [u8; 10] {
    pair(key.topic.0, key.subject)
}

fn pair(first: u16, second: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&first.to_be_bytes());
    bytes[2..].copy_from_slice(&second.to_be_bytes());
    bytes
}

/// Kind and term, as indexes begin.
pub(crate) fn kind_term(kind: Kind, term: &Term) -> [u8; 18] {
    let mut bytes = [0; 18];
    bytes[..2].copy_from_slice(&kind.0.to_be_bytes());
    bytes[2..].copy_from_slice(&term.0);
    bytes
}

/// The first and the last instant of a range, inclusive; nothing where there is no bound at all.
pub(crate) fn range(range: (Bound<Timestamp>, Bound<Timestamp>)) -> [Vec<u8>; 2] {
    match range {
        (Bound::Unbounded, Bound::Unbounded) => [Vec::new(), Vec::new()],
        (low, high) => [
            lower(low).unwrap_or([0; 8]).to_vec(),
            upper(high).unwrap_or([u8::MAX; 8]).to_vec(),
        ],
    }
}

/// The first instant within a lower bound. Instants that are stored are whole microseconds, bounds
/// need not be.
pub(crate) fn lower(bound: Bound<Timestamp>) -> Option<[u8; 8]> {
    match bound {
        Bound::Unbounded => None,
        Bound::Included(at) if is_whole(at) => Some(instant(at)),
        Bound::Included(at) | Bound::Excluded(at) => Some(micros(to_micros(at) + 1)),
    }
}

/// The last instant within an upper bound.
pub(crate) fn upper(bound: Bound<Timestamp>) -> Option<[u8; 8]> {
    match bound {
        Bound::Unbounded => None,
        Bound::Excluded(at) if is_whole(at) => Some(micros(to_micros(at) - 1)),
        Bound::Included(at) | Bound::Excluded(at) => Some(instant(at)),
    }
}

fn is_whole(at: Timestamp) -> bool {
    at.timestamp_subsec_nanos().is_multiple_of(1000)
}

pub(crate) fn encode_record(record: &Record) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::with_capacity(29 + 17 * record.terms.len() + record.body.len());
    bytes.extend(number(record.revision));
    bytes.extend(instant(record.created_at));
    bytes.push(u8::from(record.expires_at.is_some()));
    bytes.extend(record.expires_at.map(instant).unwrap_or_default());
    bytes.extend(count(record.terms.len())?);
    for index in &record.terms {
        bytes.push(u8::from(index.unique));
        bytes.extend(index.term.0);
    }
    bytes.extend(&record.body);
    Ok(bytes)
}

pub(crate) fn encode_job(job: &Job) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(24 + job.body.len());
    bytes.extend(instant(job.due_at));
    bytes.extend([0; 16]);
    bytes.extend(&job.body);
    bytes
}

pub(crate) fn encode_batch(batch: &LogRecord) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::with_capacity(52 + 16 * batch.terms.len() + batch.body.len());
    bytes.extend(batch.server.0);
    bytes.extend(number(batch.sequence));
    bytes.extend(number(batch.last_sequence));
    bytes.extend(instant(batch.from));
    bytes.extend(instant(batch.until));
    bytes.extend(count(batch.terms.len())?);
    for term in &batch.terms {
        bytes.extend(term.0);
    }
    bytes.extend(&batch.body);
    Ok(bytes)
}

fn count(terms: usize) -> Result<[u8; 4], StoreError> {
    let terms = u32::try_from(terms).map_err(StoreError::backend)?;
    Ok(terms.to_be_bytes())
}

/// What remains to be decoded.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let Some((taken, rest)) = self.0.split_first_chunk() else {
            return Err(damaged("an item is cut off"));
        };
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64, StoreError> {
        self.take().map(u64::from_be_bytes)
    }

    fn short(&mut self) -> Result<u16, StoreError> {
        self.take().map(u16::from_be_bytes)
    }

    fn instant(&mut self) -> Result<Timestamp, StoreError> {
        let micros = (self.number()? ^ SIGN).cast_signed();
        from_micros(micros).ok_or_else(|| damaged("an instant is out of range"))
    }

    fn count(&mut self) -> Result<u32, StoreError> {
        self.take().map(u32::from_be_bytes)
    }

    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).to_vec()
    }

    fn end(&self) -> Result<(), StoreError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(damaged("a key is too long"))
        }
    }
}

/// A number of eight bytes.
pub(crate) fn decode_number(bytes: &[u8]) -> Result<u64, StoreError> {
    let mut reader = Reader(bytes);
    let number = reader.number()?;
    reader.end()?;
    Ok(number)
}

pub(crate) fn decode_kind(bytes: &[u8]) -> Result<Kind, StoreError> {
    let mut reader = Reader(bytes);
    let kind = reader.short()?;
    reader.end()?;
    Ok(Kind(kind))
}

pub(crate) fn decode_record_key(bytes: &[u8]) -> Result<RecordKey, StoreError> {
    let mut reader = Reader(bytes);
    let kind = Kind(reader.short()?);
    let id = reader.number()?;
    reader.end()?;
    Ok(RecordKey { kind, id })
}

pub(crate) fn decode_job_key(bytes: &[u8]) -> Result<JobKey, StoreError> {
    let mut reader = Reader(bytes);
    let topic = Topic(reader.short()?);
    let subject = reader.number()?;
    reader.end()?;
    Ok(JobKey { topic, subject })
}

pub(crate) fn decode_record(key: RecordKey, bytes: &[u8]) -> Result<Record, StoreError> {
    let mut reader = Reader(bytes);
    let revision = reader.number()?;
    let created_at = reader.instant()?;
    let expires = reader.take::<1>()? == [1];
    let expires_at = reader.take::<8>()?;
    let expires_at = expires.then(|| Reader(&expires_at).instant()).transpose()?;
    let terms = (0..reader.count()?)
        .map(|_| {
            Ok(IndexTerm {
                unique: reader.take::<1>()? == [1],
                term: Term(reader.take()?),
            })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(Record {
        key,
        revision,
        body: reader.rest(),
        terms,
        created_at,
        expires_at,
    })
}

pub(crate) fn decode_job(key: JobKey, bytes: &[u8]) -> Result<Job, StoreError> {
    Ok(decode_lease(key, bytes)?.job)
}

pub(crate) fn decode_lease(key: JobKey, bytes: &[u8]) -> Result<Lease, StoreError> {
    let mut reader = Reader(bytes);
    let due_at = reader.instant()?;
    let generation = reader.number()?;
    let until = reader.take::<8>()?;
    let leased_until = match generation {
        0 => Timestamp::MIN_UTC,
        _ => Reader(&until).instant()?,
    };
    let body = reader.rest();
    Ok(Lease {
        job: Job { key, due_at, body },
        generation,
        leased_until,
    })
}

pub(crate) fn decode_batch(bytes: &[u8]) -> Result<LogRecord, StoreError> {
    let mut reader = Reader(bytes);
    Ok(LogRecord {
        server: ServerId(reader.take()?),
        sequence: reader.number()?,
        last_sequence: reader.number()?,
        from: reader.instant()?,
        until: reader.instant()?,
        terms: (0..reader.count()?)
            .map(|_| Ok(Term(reader.take()?)))
            .collect::<Result<_, StoreError>>()?,
        body: reader.rest(),
    })
}

pub(crate) fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_order_as_their_bytes() {
        let micros = [
            -8_000_000_000_000_000_000,
            -1_000_001,
            -1,
            0,
            1,
            1 << 53,
            1 << 60,
        ];
        let bytes: Vec<_> = micros
            .iter()
            .map(|&at| instant(from_micros(at).unwrap_or(Timestamp::MIN_UTC)))
            .collect();
        assert!(bytes.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn bounds_between_microseconds_are_rounded_inwards() {
        let at = |nanos| Timestamp::from_timestamp_nanos(nanos);
        let first = |bound| lower(bound).expect("a bound");
        let last = |bound| upper(bound).expect("a bound");
        assert_eq!(first(Bound::Included(at(1_500))), instant(at(2_000)));
        assert_eq!(first(Bound::Excluded(at(1_500))), instant(at(2_000)));
        assert_eq!(first(Bound::Excluded(at(2_000))), instant(at(3_000)));
        assert_eq!(last(Bound::Included(at(1_500))), instant(at(1_000)));
        assert_eq!(last(Bound::Excluded(at(1_500))), instant(at(1_000)));
        assert_eq!(last(Bound::Excluded(at(2_000))), instant(at(1_000)));
        assert_eq!(first(Bound::Included(at(-1_500))), instant(at(-1_000)));
        assert_eq!(last(Bound::Included(at(-1_500))), instant(at(-2_000)));
    }

    #[test]
    fn a_cut_item_is_damage() {
        let key = RecordKey::new(Kind(1), 1_u64);
        let record = Record {
            key,
            revision: 1,
            body: Vec::new(),
            terms: vec![IndexTerm {
                term: Term([1; 16]),
                unique: true,
            }],
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
        };
        let bytes = encode_record(&record).expect("few terms");
        assert_eq!(decode_record(key, &bytes).expect("whole"), record);
        for end in 0..bytes.len() {
            let cut = decode_record(key, &bytes[..end]);
            assert!(matches!(cut, Err(StoreError::Corrupt(_))), "{end}");
        }
    }
}
