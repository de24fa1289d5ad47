#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::terms::Terms;
use super::{AuditError, AuditSink, Batch, Fault, Head, Wrong};
use crate::crypto::{Context, CryptoError, Keyring, Sealer};
use crate::store::{LogQuery, LogRecord, Order, ServerId, Store, Term};
use crate::time::Timestamp;

/// How many batches are looked through at a time.
const PAGE: usize = 64;

/// The trail in the store's log: one sealed record per batch, found by the terms of its entries.
///
/// The store sees who wrote a batch, when, and how long it is when compressed. A batch opens under
/// its own server and number only.
#[derive(Debug)]
pub struct StoreSink {
    store: Arc<dyn Store>,
    sealer: Arc<Sealer>,
    keyring: Arc<Keyring>,
    /// What is known to be the newest entry. Unknown after a failure, and at first: a batch of an
    /// attempt that was given up may still arrive and take the number of the next one.
    known: Mutex<Option<Head>>,
    /// Where the last read ended: the position of the batch that holds this number.
    mark: Mutex<Option<(ServerId, u64, u64)>>,
}

impl StoreSink {
    /// A sink over the log of `store`.
    pub fn new(store: Arc<dyn Store>, sealer: Arc<Sealer>, keyring: Arc<Keyring>) -> Self {
        Self {
            store,
            sealer,
            keyring,
            known: Mutex::default(),
            mark: Mutex::default(),
        }
    }

    async fn newest(&self, server: ServerId) -> Result<Option<LogRecord>, AuditError> {
        let page = self.store.read_log(&LogQuery::newest(1).of(server)).await?;
        Ok(page.records.into_iter().next().map(|(_, record)| record))
    }

    /// The position of the batch that holds entry `from` or, if none does, the one after.
    async fn position(&self, server: ServerId, from: u64) -> Result<Option<u64>, AuditError> {
        let mark = *lock(&self.mark);
        if let Some((of, sequence, position)) = mark
            && of == server
            && sequence <= from
        {
            return Ok(Some(position));
        }
        let mut query = LogQuery::newest(PAGE).of(server);
        let mut found = None;
        loop {
            let page = self.store.read_log(&query).await?;
            for (position, record) in &page.records {
                if record.last_sequence < from {
                    return Ok(found);
                }
                found = Some(*position);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(found),
            }
        }
    }
}

#[async_trait]
impl AuditSink for StoreSink {
    async fn append(&self, batch: Arc<Batch>) -> Result<(), AuditError> {
        let known = lock(&self.known).take();
        if known.is_some_and(|head| head != *batch.after()) {
            return Err(diverged(&batch));
        }
        let record = seal(&self.sealer, &self.keyring, &batch);
        if known.is_some() {
            self.store.append_log(vec![record]).await?;
        } else {
            // The store passes over a number that it has: only what comes back tells whose batch
            // that is.
            self.store.append_log(vec![record.clone()]).await?;
            if self.newest(batch.server()).await? != Some(record) {
                return Err(diverged(&batch));
            }
        }
        *lock(&self.known) = Some(*batch.head());
        Ok(())
    }

    async fn head(&self, server: ServerId) -> Result<Option<Head>, AuditError> {
        match self.newest(server).await? {
            Some(record) => Ok(Some(*open(&self.sealer, &record)?.head())),
            None => Ok(None),
        }
    }

    async fn read(
        &self,
        server: ServerId,
        from: u64,
        limit: usize,
    ) -> Result<Option<Arc<Batch>>, AuditError> {
        let Some(position) = self.position(server, from).await? else {
            return Ok(None);
        };
        let mut query = LogQuery::newest(PAGE).of(server);
        query.order = Order::OldestFirst;
        query.after = position.checked_sub(1);
        let mut found: Option<Batch> = None;
        loop {
            let page = self.store.read_log(&query).await?;
            for (position, record) in &page.records {
                if record.last_sequence < from {
                    continue;
                }
                let batch = open(&self.sealer, record)?;
                *lock(&self.mark) = Some((server, batch.first(), *position));
                let Some(batch) = batch.from(from) else {
                    continue;
                };
                match &mut found {
                    None => found = Some(batch),
                    Some(found) if found.head() == batch.after() => found.extend(&batch),
                    Some(_) => return Ok(found.map(Arc::new)),
                }
                if found.as_ref().is_some_and(|f| f.count() >= limit as u64) {
                    return Ok(found.map(Arc::new));
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(found.map(Arc::new)),
            }
        }
    }

    async fn close(&self) {}
}

fn diverged(batch: &Batch) -> AuditError {
    AuditError::Diverged {
        server: batch.server(),
        sequence: batch.first(),
    }
}

fn context(sealer: &Sealer, server: ServerId, sequence: u64) -> Context {
    sealer.context("audit", 0, sequence).bind_bytes(&server.0)
}

fn seal(sealer: &Sealer, keyring: &Keyring, batch: &Batch) -> LogRecord {
    let listing = Listing::of(keyring, batch);
    LogRecord {
        server: batch.server(),
        sequence: batch.first(),
        last_sequence: batch.last(),
        from: listing.from,
        until: listing.until,
        terms: listing.terms,
        body: sealer.seal(
            &context(sealer, batch.server(), batch.first()),
            &batch.to_bytes(),
        ),
    }
}

/// Opens a batch and checks that it is the one it is listed as.
pub(super) fn open(sealer: &Sealer, record: &LogRecord) -> Result<Batch, AuditError> {
    let context = context(sealer, record.server, record.sequence);
    let damaged = |wrong| AuditError::Damaged {
        path: Path::new("the store's log").to_owned(),
        fault: Box::new(Fault::new(record.server, record.sequence, wrong)),
    };
    let text = match sealer.open(&context, &record.body) {
        Ok(text) => text,
        Err(error @ CryptoError::UnknownKey(_)) => return Err(error.into()),
        Err(_) => return Err(damaged(Wrong::Sealed)),
    };
    let batch = Batch::from_bytes(&text).map_err(|fault| damaged(fault.wrong))?;
    let listed = (record.server, record.sequence, record.last_sequence);
    if (batch.server(), batch.first(), batch.last()) != listed {
        return Err(damaged(Wrong::Listing));
    }
    Ok(batch)
}

/// By what a batch is found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    pub(super) terms: Vec<Term>,
}

impl Listing {
    pub(super) fn of(keyring: &Keyring, batch: &Batch) -> Self {
        let mut terms = Terms::new(keyring);
        let mut span: Option<(Timestamp, Timestamp)> = None;
        let mut include = |at: Timestamp| {
            let (from, until) = span.unwrap_or((at, at));
            span = Some((from.min(at), until.max(at)));
        };
        // Entries that differ only in their instant have the same terms. A busy client makes
        // hundreds of them in a batch, and reading one costs more than all else here.
        let mut known: HashSet<&[u8]> = HashSet::new();
        let mut last: &[u8] = &[];
        // Instants sort as they are spelled.
        let mut spelled: Option<(&[u8], &[u8])> = None;
        for entry in batch.entries() {
            match split_instant(entry.event) {
                Some((at, rest)) if rest == last || known.contains(rest) => {
                    let (from, until) = spelled.unwrap_or((at, at));
                    spelled = Some((from.min(at), until.max(at)));
                    last = rest;
                }
                split => {
                    // What a later version wrote is kept, and found by number only.
                    let Some(event) = entry.decode() else {
                        continue;
                    };
                    terms.add(&event);
                    known.extend(split.map(|(_, rest)| rest));
                    include(event.at);
                }
            }
        }
        let spelled = spelled.map(|(from, until)| [from, until]);
        for at in spelled.into_iter().flatten().filter_map(read_instant) {
            include(at);
        }
        let (from, until) = span.unwrap_or_default();
        Self {
            from,
            until,
            terms: terms.finish(),
        }
    }
}

/// The instant that an event's bytes begin with, if it is spelled in the fixed form, and what
/// follows it.
fn split_instant(event: &[u8]) -> Option<(&[u8], &[u8])> {
    const FIXED: &[u8; 27] = b"0000-00-00T00:00:00.000000Z";
    let (at, rest) = event
        .strip_prefix(b"{\"at\":\"")?
        .split_at_checked(FIXED.len())?;
    let alike = |(byte, form): (&u8, &u8)| byte == form || (*form == b'0' && byte.is_ascii_digit());
    (at.iter().zip(FIXED).all(alike) && rest.first() == Some(&b'"')).then_some((at, rest))
}

fn read_instant(at: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(at).ok()?.parse().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
