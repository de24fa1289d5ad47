//! How numbers, instants and terms are stored.

use dsm_core::store::{IndexTerm, StoreError, Term};
use dsm_core::time::{Timestamp, from_micros};

const TERM: usize = 16;
const INDEX_TERM: usize = TERM + 1;

/// A number that the caller has checked, as Postgres holds it.
pub(crate) fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(StoreError::backend)
}

/// A stored number that was never negative.
pub(crate) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| damaged("a number is negative"))
}

/// A stored number of sixteen bits.
pub(crate) fn short(number: i32) -> Result<u16, StoreError> {
    u16::try_from(number).map_err(|_| damaged("a kind or topic is out of range"))
}

/// A number to compare with stored ones; what is beyond them equals none.
pub(crate) fn comparable(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(-1)
}

/// A stored instant.
pub(crate) fn instant(micros: i64) -> Result<Timestamp, StoreError> {
    from_micros(micros).ok_or_else(|| damaged("an instant is out of range"))
}

/// How many rows to ask for to learn whether there are more than `limit`.
pub(crate) fn one_more(limit: usize) -> i64 {
    self::limit(limit.max(1)).saturating_add(1)
}

/// A limit as Postgres takes it.
pub(crate) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Seventeen bytes for each term.
pub(crate) fn encode_index_terms<'a>(terms: impl IntoIterator<Item = &'a IndexTerm>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for index in terms {
        bytes.push(u8::from(index.unique));
        bytes.extend_from_slice(&index.term.0);
    }
    bytes
}

pub(crate) fn decode_index_terms(bytes: &[u8]) -> Result<Vec<IndexTerm>, StoreError> {
    let (chunks, rest) = bytes.as_chunks::<INDEX_TERM>();
    let terms = chunks.iter().map(|[unique, term @ ..]| match unique {
        0 | 1 => Ok(IndexTerm {
            term: Term(*term),
            unique: *unique == 1,
        }),
        _ => Err(damaged("a term is neither unique nor plain")),
    });
    if !rest.is_empty() {
        return Err(damaged("terms of a record are cut off"));
    }
    terms.collect()
}

/// Sixteen bytes for each term.
pub(crate) fn encode_terms(terms: &[Term]) -> Vec<u8> {
    terms.iter().flat_map(|term| term.0).collect()
}

pub(crate) fn decode_terms(bytes: &[u8]) -> Result<Vec<Term>, StoreError> {
    let (chunks, rest) = bytes.as_chunks::<TERM>();
    if !rest.is_empty() {
        return Err(damaged("terms of the log are cut off"));
    }
    Ok(chunks.iter().copied().map(Term).collect())
}

pub(crate) fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(what.into())
}
