use std::collections::BTreeMap;

use dsm_core::store::{IndexTerm, Record, RecordKey, StoreError, Term};
use dsm_core::time::to_micros;
use sqlx::SqliteConnection;

use crate::encoding::{decode_index_terms, encode_index_terms, encode_terms, signed};
use crate::fault::{Fault, is_taken};

/// A record's number in the table, by which its unique terms lead to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(i64);

pub(super) async fn create(
    connection: &mut SqliteConnection,
    record: &Record,
) -> Result<Place, Fault> {
    let kind = i64::from(record.key.kind.0);
    let id = signed(record.key.id)?;
    let revision = signed(record.revision)?;
    let created_at = to_micros(record.created_at);
    let expires_at = record.expires_at.map(to_micros);
    let terms = encode_index_terms(&record.terms);
    let body = record.body.as_slice();
    let done = sqlx::query!(
        "INSERT INTO record (kind, id, revision, created_at, expires_at, terms, body) \
         VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, id) DO NOTHING",
        kind,
        id,
        revision,
        created_at,
        expires_at,
        terms,
        body
    )
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::AlreadyExists(record.key).into());
    }
    Ok(Place(done.last_insert_rowid()))
}

/// The place and the terms of a record that is at the expected revision.
pub(super) async fn present(
    connection: &mut SqliteConnection,
    key: RecordKey,
    expected: u64,
) -> Result<(Place, Terms), Fault> {
    let mismatch = || StoreError::RevisionMismatch(key);
    let kind = i64::from(key.kind.0);
    let id = signed(key.id)?;
    let expected = i64::try_from(expected).map_err(|_| mismatch())?;
    let found = sqlx::query!(
        "SELECT place, terms FROM record WHERE kind = ? AND id = ? AND revision = ?",
        kind,
        id,
        expected
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(mismatch)?;
    let terms = effective(&decode_index_terms(&found.terms)?);
    Ok((Place(found.place), terms))
}

pub(super) async fn replace(
    connection: &mut SqliteConnection,
    record: &Record,
) -> Result<(), Fault> {
    let kind = i64::from(record.key.kind.0);
    let id = signed(record.key.id)?;
    let revision = signed(record.revision)?;
    let created_at = to_micros(record.created_at);
    let expires_at = record.expires_at.map(to_micros);
    let terms = encode_index_terms(&record.terms);
    let body = record.body.as_slice();
    sqlx::query!(
        "UPDATE record SET revision = ?, created_at = ?, expires_at = ?, terms = ?, body = ? \
         WHERE kind = ? AND id = ?",
        revision,
        created_at,
        expires_at,
        terms,
        body,
        kind,
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn delete(connection: &mut SqliteConnection, key: RecordKey) -> Result<(), Fault> {
    let kind = i64::from(key.kind.0);
    let id = signed(key.id)?;
    sqlx::query!("DELETE FROM record WHERE kind = ? AND id = ?", kind, id)
        .execute(connection)
        .await?;
    Ok(())
}

/// The terms of a record without doubles, unique where any of the doubles is.
pub(super) type Terms = BTreeMap<Term, bool>;

pub(super) fn effective(terms: &[IndexTerm]) -> Terms {
    let mut effective = Terms::new();
    for index in terms {
        *effective.entry(index.term).or_default() |= index.unique;
    }
    effective
}

/// What is in `of` and not in `without` in the same way.
pub(super) fn difference(of: &Terms, without: &Terms) -> Terms {
    of.iter()
        .filter(|(term, unique)| without.get(term) != Some(unique))
        .map(|(term, unique)| (*term, *unique))
        .collect()
}

pub(super) async fn add_terms(
    connection: &mut SqliteConnection,
    key: RecordKey,
    place: Place,
    terms: &Terms,
) -> Result<(), Fault> {
    if terms.is_empty() {
        return Ok(());
    }
    let kind = i64::from(key.kind.0);
    let id = signed(key.id)?;
    let all: Vec<Term> = terms.keys().copied().collect();
    let all = encode_terms(&all);
    sqlx::query!(
        "WITH RECURSIVE start (at) AS \
             (SELECT 1 UNION ALL SELECT at + 16 FROM start WHERE at + 16 < length(?3)) \
         INSERT INTO term (kind, term, id) SELECT ?1, substr(?3, at, 16), ?2 FROM start",
        kind,
        id,
        all
    )
    .execute(&mut *connection)
    .await?;
    for term in unique(terms) {
        let term = term.0.as_slice();
        sqlx::query!(
            "INSERT INTO unique_term (kind, term, place) VALUES (?, ?, ?)",
            kind,
            term,
            place.0
        )
        .execute(&mut *connection)
        .await
        .map_err(|error| {
            if is_taken(&error) {
                StoreError::AlreadyExists(key).into()
            } else {
                Fault::from(error)
            }
        })?;
    }
    Ok(())
}

pub(super) async fn remove_terms(
    connection: &mut SqliteConnection,
    key: RecordKey,
    terms: &Terms,
) -> Result<(), Fault> {
    let kind = i64::from(key.kind.0);
    let id = signed(key.id)?;
    for term in terms.keys() {
        let term = term.0.as_slice();
        sqlx::query!(
            "DELETE FROM term WHERE kind = ? AND term = ? AND id = ?",
            kind,
            term,
            id
        )
        .execute(&mut *connection)
        .await?;
    }
    for term in unique(terms) {
        let term = term.0.as_slice();
        sqlx::query!(
            "DELETE FROM unique_term WHERE kind = ? AND term = ?",
            kind,
            term
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn unique(terms: &Terms) -> impl Iterator<Item = &Term> {
    let unique = terms.iter().filter(|(_, unique)| **unique);
    unique.map(|(term, _)| term)
}
