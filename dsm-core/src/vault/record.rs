//! Objects as records: what is sealed, under which terms it is found, and what is checked when it
//! comes back from a store that is not trusted.

use std::any::Any;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cache::{Cache, ReadAt};
use super::error::Error;
use crate::crypto::{Context, CryptoError, Keyring, Sealer};
use crate::store::{IndexTerm, Kind, Page, Query, Record, RecordKey, Store, StoreError, Term};
use crate::time::{Clock, Timestamp, to_micros};

/// An object with what every object has.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored<T: Entity> {
    /// Which one.
    pub id: T::Id,
    /// Counts its changes from 1.
    pub revision: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom, as a name.
    pub created_by: String,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// By whom, as a name.
    pub updated_by: String,
    /// The object itself.
    pub content: Arc<T>,
    /// A value sealed apart from the content.
    pub(crate) sealed_value: Option<Arc<[u8]>>,
}

impl<T: Entity> Clone for Stored<T> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            revision: self.revision,
            created_at: self.created_at,
            created_by: self.created_by.clone(),
            updated_at: self.updated_at,
            updated_by: self.updated_by.clone(),
            content: Arc::clone(&self.content),
            sealed_value: self.sealed_value.clone(),
        }
    }
}

impl<T: Entity> std::ops::Deref for Stored<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.content
    }
}

/// What can be stored.
pub trait Entity: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its id.
    type Id: Copy + Into<u64> + From<u64> + Send + Sync + std::fmt::Debug + PartialEq + Eq;

    /// Its kind; the same for all objects of the type but registries, which have one each.
    fn kind(&self) -> Kind;

    /// Under what it is found.
    fn terms(&self, terms: &mut Terms<'_>);

    /// When the store may consider it over.
    fn expires_at(&self) -> Option<Timestamp> {
        None
    }
}

/// Collects the index terms of one object.
#[derive(Debug)]
pub struct Terms<'a> {
    keyring: &'a Keyring,
    kind: Kind,
    collected: Vec<IndexTerm>,
}

impl Terms<'_> {
    /// At most one object of the kind has this value in this field.
    pub fn unique(&mut self, field: &str, value: impl AsRef<[u8]>) {
        self.push(field, value.as_ref(), true);
    }

    /// Any number of objects may.
    pub fn plain(&mut self, field: &str, value: impl AsRef<[u8]>) {
        self.push(field, value.as_ref(), false);
    }

    fn push(&mut self, field: &str, value: &[u8], unique: bool) {
        let term = self.keyring.term(self.kind, field, value);
        self.collected.push(IndexTerm { term, unique });
    }
}

/// The sealed part beside the store's own columns.
#[derive(Serialize, Deserialize)]
struct Body<T> {
    created_by: String,
    updated_at: Timestamp,
    updated_by: String,
    content: T,
}

#[derive(Serialize)]
struct BodyRef<'a, T> {
    created_by: &'a str,
    updated_at: Timestamp,
    updated_by: &'a str,
    content: &'a T,
}

/// A page of objects.
#[derive(Debug)]
pub struct Listing<T> {
    /// In the order asked for.
    pub items: Vec<T>,
    /// Where the next page starts; `None` when this was the last one.
    pub next: Option<u64>,
}

impl<T> Listing<T> {
    /// The same page with every item changed.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Listing<U> {
        Listing {
            items: self.items.into_iter().map(change).collect(),
            next: self.next,
        }
    }
}

/// The typed and authenticated view of a store.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cache: Cache,
}

impl Records {
    /// A new object of revision 1, not committed yet.
    pub(crate) async fn draft<T: Entity>(&self, content: T, by: &str) -> Result<Stored<T>, Error> {
        let id = self.store.next_id(content.kind()).await?;
        Ok(self.object(id.into(), content, by))
    }

    /// An object of revision 1 made now.
    pub(crate) fn object<T: Entity>(&self, id: T::Id, content: T, by: &str) -> Stored<T> {
        let now = self.clock.now();
        Stored {
            id,
            revision: 1,
            created_at: now,
            created_by: by.to_owned(),
            updated_at: now,
            updated_by: by.to_owned(),
            content: Arc::new(content),
            sealed_value: None,
        }
    }

    /// The next revision of an object, not committed yet.
    pub(crate) fn revise<T: Entity>(&self, old: &Stored<T>, content: T, by: &str) -> Stored<T> {
        Stored {
            id: old.id,
            revision: old.revision + 1,
            created_at: old.created_at,
            created_by: old.created_by.clone(),
            updated_at: self.clock.now(),
            updated_by: by.to_owned(),
            content: Arc::new(content),
            sealed_value: old.sealed_value.clone(),
        }
    }

    pub(crate) fn term(&self, kind: Kind, field: &str, value: impl AsRef<[u8]>) -> Term {
        self.keyring.term(kind, field, value.as_ref())
    }

    /// The object with this id, as the store has it now.
    pub(crate) async fn find<T: Entity>(
        &self,
        kind: Kind,
        id: T::Id,
    ) -> Result<Option<Stored<T>>, Error> {
        let key = RecordKey::new(kind, id);
        let Some(record) = self.store.find(key).await? else {
            return Ok(None);
        };
        self.check(&record, key.kind, Some(key.id))?;
        self.decode(&record).map(Some)
    }

    /// The object with this unique value in this field, as the store has it now.
    pub(crate) async fn find_by<T: Entity>(
        &self,
        kind: Kind,
        field: &str,
        value: impl AsRef<[u8]>,
    ) -> Result<Option<Stored<T>>, Error> {
        let term = self.term(kind, field, value);
        let record = self.find_record(kind, term).await?;
        record.map(|record| self.decode(&record)).transpose()
    }

    /// The objects with these unique terms, each in its place, as the store has them now, which is
    /// asked once.
    pub(crate) async fn find_each<T: Entity>(
        &self,
        kind: Kind,
        terms: &[Term],
    ) -> Result<Vec<Option<Stored<T>>>, Error> {
        let wanted: Vec<_> = terms.iter().map(|term| (kind, *term)).collect();
        let found = self.store.find_each(&wanted).await?;
        if found.len() != terms.len() {
            let source = "the store answered lookups with another number of records".into();
            return Err(StoreError::Backend { source }.into());
        }
        let objects = found.into_iter().zip(terms).map(|(record, term)| {
            let Some(record) = record else {
                return Ok(None);
            };
            Self::check_term(&record, kind, *term)?;
            self.decode(&record).map(Some)
        });
        objects.collect()
    }

    /// The object with this id, at most `max_staleness` old.
    pub(crate) async fn cached<T: Entity>(
        &self,
        kind: Kind,
        id: T::Id,
    ) -> Result<Option<Arc<Stored<T>>>, Error> {
        Ok(self.dated(kind, id).await?.map(|(object, _)| object))
    }

    /// The object with this unique value in this field, at most `max_staleness` old.
    pub(crate) async fn cached_by<T: Entity>(
        &self,
        kind: Kind,
        term: Term,
    ) -> Result<Option<Arc<Stored<T>>>, Error> {
        Ok(self.dated_by(kind, term).await?.map(|(object, _)| object))
    }

    /// As [`cached`](Self::cached), with the instant at which it was read.
    pub(crate) async fn dated<T: Entity>(
        &self,
        kind: Kind,
        id: T::Id,
    ) -> Result<Option<(Arc<Stored<T>>, ReadAt)>, Error> {
        let key = RecordKey::new(kind, id);
        let now = ReadAt::now(&*self.clock);
        if let Some((object, read_at)) = self.cache.find(key, now) {
            return Ok(Some((downcast(object), read_at)));
        }
        let epoch = self.cache.epoch(kind);
        let Some(record) = self.store.find(key).await? else {
            return Ok(None);
        };
        self.check(&record, key.kind, Some(key.id))?;
        self.keep(epoch, &record, now).map(Some)
    }

    /// As [`cached_by`](Self::cached_by), with the instant at which it was read.
    pub(crate) async fn dated_by<T: Entity>(
        &self,
        kind: Kind,
        term: Term,
    ) -> Result<Option<(Arc<Stored<T>>, ReadAt)>, Error> {
        let now = ReadAt::now(&*self.clock);
        if let Some((object, read_at)) = self.cache.find_by(kind, term, now) {
            return Ok(Some((downcast(object), read_at)));
        }
        let epoch = self.cache.epoch(kind);
        let Some(record) = self.find_record(kind, term).await? else {
            return Ok(None);
        };
        self.keep(epoch, &record, now).map(Some)
    }

    /// As [`cached_by`](Self::cached_by) for two objects. When neither is remembered, the store is
    /// asked once for both.
    pub(crate) async fn cached_both<A: Entity, B: Entity>(
        &self,
        one: (Kind, Term),
        two: (Kind, Term),
    ) -> Result<(Option<Arc<Stored<A>>>, Option<Arc<Stored<B>>>), Error> {
        let now = ReadAt::now(&*self.clock);
        let [first, second] = [one, two].map(|(kind, term)| self.cache.find_by(kind, term, now));
        match (first, second) {
            (Some((first, _)), Some((second, _))) => {
                return Ok((Some(downcast(first)), Some(downcast(second))));
            }
            (Some((first, _)), None) => {
                let second = self.cached_by(two.0, two.1).await?;
                return Ok((Some(downcast(first)), second));
            }
            (None, Some((second, _))) => {
                let first = self.cached_by(one.0, one.1).await?;
                return Ok((first, Some(downcast(second))));
            }
            (None, None) => {}
        }
        let epochs = [one, two].map(|(kind, _)| self.cache.epoch(kind));
        let found = self.store.find_each(&[one, two]).await?;
        let Ok([first, second]) = <[Option<Record>; 2]>::try_from(found) else {
            let source = "the store answered two lookups with another number of records".into();
            return Err(StoreError::Backend { source }.into());
        };
        let first = first.map(|record| {
            Self::check_term(&record, one.0, one.1)?;
            self.keep(epochs[0], &record, now)
        });
        let second = second.map(|record| {
            Self::check_term(&record, two.0, two.1)?;
            self.keep(epochs[1], &record, now)
        });
        let (first, second) = (first.transpose()?, second.transpose()?);
        Ok((first.map(|(it, _)| it), second.map(|(it, _)| it)))
    }

    fn keep<T: Entity>(
        &self,
        epoch: u64,
        record: &Record,
        now: ReadAt,
    ) -> Result<(Arc<Stored<T>>, ReadAt), Error> {
        let object = Arc::new(self.decode::<T>(record)?);
        self.cache
            .put(epoch, record.key, &record.terms, object.clone(), now);
        Ok((object, now))
    }

    /// A page of objects, as the store has them now.
    pub(crate) async fn list<T: Entity>(
        &self,
        query: &Query,
        page: Page,
    ) -> Result<Listing<Stored<T>>, Error> {
        let found = self.store.list(query, page).await?;
        let mut items = Vec::with_capacity(found.records.len());
        for record in &found.records {
            self.check(record, query.kind, None)?;
            for term in &query.terms {
                if !record.terms.iter().any(|index| index.term == *term) {
                    return Err(Error::damaged(record.key, CryptoError::Open));
                }
            }
            items.push(self.decode(record)?);
        }
        Ok(Listing {
            items,
            next: found.next,
        })
    }

    /// Every object that matches, page by page.
    pub(crate) async fn list_all<T: Entity>(&self, query: &Query) -> Result<Vec<Stored<T>>, Error> {
        let mut all = Vec::new();
        let mut page = Page::first(500);
        loop {
            let found = self.list(query, page).await?;
            all.extend(found.items);
            match found.next {
                Some(next) => page.after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Seals an object as a record.
    pub(crate) fn encode<T: Entity>(&self, object: &Stored<T>) -> Record {
        let kind = object.content.kind();
        let mut terms = Terms {
            keyring: &self.keyring,
            kind,
            collected: Vec::new(),
        };
        object.content.terms(&mut terms);
        let mut record = Record {
            key: RecordKey::new(kind, object.id),
            revision: object.revision,
            body: Vec::new(),
            terms: terms.collected,
            created_at: object.created_at,
            expires_at: object.content.expires_at(),
        };
        let body = BodyRef {
            created_by: &object.created_by,
            updated_at: object.updated_at,
            updated_by: &object.updated_by,
            content: &object.content,
        };
        let text = serde_json::to_vec(&body).expect("objects have string keys only");
        let meta = self
            .sealer
            .seal(&record_context(&self.sealer, &record), &text);
        record.body = frame(&meta, object.sealed_value.as_deref());
        record
    }

    /// Opens a record's metadata; its value stays sealed.
    pub(crate) fn decode<T: Entity>(&self, record: &Record) -> Result<Stored<T>, Error> {
        let damaged = |source| Error::damaged(record.key, source);
        let (meta, value) =
            unframe(&record.body).ok_or_else(|| damaged(CryptoError::UnsupportedFormat))?;
        let text = self
            .sealer
            .open(&record_context(&self.sealer, record), meta)
            .map_err(damaged)?;
        let body: Body<T> =
            serde_json::from_slice(&text).map_err(|_| damaged(CryptoError::UnsupportedFormat))?;
        Ok(Stored {
            id: record.key.id.into(),
            revision: record.revision,
            created_at: record.created_at,
            created_by: body.created_by,
            updated_at: body.updated_at,
            updated_by: body.updated_by,
            content: Arc::new(body.content),
            sealed_value: value.map(Arc::from),
        })
    }

    async fn find_record(&self, kind: Kind, term: Term) -> Result<Option<Record>, Error> {
        let Some(record) = self.store.find_by(kind, &term).await? else {
            return Ok(None);
        };
        Self::check_term(&record, kind, term)?;
        Ok(Some(record))
    }

    /// The terms are authenticated with the record, so an index that points elsewhere shows.
    fn check_term(record: &Record, kind: Kind, term: Term) -> Result<(), Error> {
        let index = IndexTerm { term, unique: true };
        if record.key.kind != kind || !record.terms.contains(&index) {
            return Err(Error::damaged(record.key, CryptoError::Open));
        }
        Ok(())
    }

    #[allow(clippy::unused_self, reason = "reads as a step of the lookups")]
    fn check(&self, record: &Record, kind: Kind, id: Option<u64>) -> Result<(), Error> {
        if record.key.kind != kind || id.is_some_and(|id| record.key.id != id) {
            return Err(Error::damaged(record.key, CryptoError::Open));
        }
        Ok(())
    }
}

/// The context of a record's metadata: everything a store could exchange.
pub(crate) fn record_context(sealer: &Sealer, record: &Record) -> Context {
    let mut terms = Vec::with_capacity(record.terms.len() * 17);
    for index in &record.terms {
        terms.extend_from_slice(&index.term.0);
        terms.push(u8::from(index.unique));
    }
    let expires = record
        .expires_at
        .map_or_else(Vec::new, |at| to_micros(at).to_be_bytes().to_vec());
    sealer
        .context("record", record.key.kind.0, record.key.id)
        .bind(record.revision)
        .bind_bytes(&to_micros(record.created_at).to_be_bytes())
        .bind_bytes(&expires)
        .bind_bytes(&terms)
}

/// Puts the sealed metadata and the sealed value into one body.
pub(crate) fn frame(meta: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let length = u32::try_from(meta.len()).expect("metadata is bounded far below 4 GiB");
    let value = value.unwrap_or_default();
    let mut body = Vec::with_capacity(4 + meta.len() + value.len());
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(meta);
    body.extend_from_slice(value);
    body
}

/// The inverse of [`frame`].
pub(crate) fn unframe(body: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    let (meta, value) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((meta, (!value.is_empty()).then_some(value)))
}

fn downcast<T: Entity>(object: Arc<dyn Any + Send + Sync>) -> Arc<Stored<T>> {
    object
        .downcast()
        .expect("a kind is decoded as one type only")
}
