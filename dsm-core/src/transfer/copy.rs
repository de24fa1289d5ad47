//! From a snapshot into a store, in steps that can be repeated.

use serde::{Deserialize, Serialize};

use super::item::{Contents, Origin, Tally};
use super::{Progress, TransferError};
use crate::store::{
    Change, ChangeSet, Job, JobChange, LogRecord, Record, RecordKey, Snapshot, SnapshotPart, Store,
    StoreError,
};
use crate::time::Timestamp;
use crate::vault::{TRANSFER, find_vault_record};

/// The record that remembers an unfinished transfer.
const MARKER: RecordKey = RecordKey {
    kind: TRANSFER,
    id: 1,
};

/// At most so much is written by one commit.
const BATCH_ITEMS: usize = 256;
const BATCH_BYTES: usize = 4 << 20;

/// Up to where everything is in the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reached {
    Nothing,
    Record(u16, u64),
    Log(u64),
    Job(u16, u64),
    All,
}

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    origin: String,
    reached: Reached,
}

/// Whether a transfer into the store was begun and not finished.
pub async fn unfinished(store: &dyn Store) -> Result<bool, StoreError> {
    Ok(store.find(MARKER).await?.is_some())
}

/// What a migration out of a store is named after: the vault in it.
///
/// # Errors
///
/// [`TransferError::NoVault`] when there is none, or one that another transfer has not finished.
pub async fn origin_of(store: &dyn Store) -> Result<Origin, TransferError> {
    if unfinished(store).await? {
        return Err(TransferError::NoVault);
    }
    let found = find_vault_record(store).await?;
    let vault = found.and_then(|record| record.body.first_chunk().copied());
    let vault: [u8; 16] = vault.ok_or(TransferError::NoVault)?;
    Ok(Origin::of("vault", &vault, vault))
}

/// Copies everything from one store into another, empty one, and compares the two. After a failure,
/// and after the end of the process at any point, it can be called again and goes on where it was.
/// Nothing may be written to `from` meanwhile.
///
/// # Errors
///
/// [`TransferError::NotEmpty`] for a store that holds anything but what this migration brought;
/// [`TransferError::Differs`] when the two are not the same in the end, be it because `from` was
/// written to.
pub async fn migrate(
    from: &dyn Store,
    to: &dyn Store,
    progress: impl FnMut(Progress) + Send,
) -> Result<Contents, TransferError> {
    let origin = origin_of(from).await?;
    let (writing, found) = fill(&mut *from.snapshot().await?, origin, to, progress).await?;
    let expected = contents(from).await?;
    if found != expected {
        return Err(TransferError::Differs { expected, found });
    }
    writing.finish().await?;
    Ok(found)
}

/// Copies everything of `source` into the empty store `to`, and compares the two; as
/// [`migrate`](migrate()), for what cannot be read anew.
///
/// # Errors
///
/// Those of [`migrate`](migrate()).
pub async fn copy(
    source: &mut dyn Snapshot,
    origin: Origin,
    to: &dyn Store,
    progress: impl FnMut(Progress) + Send,
) -> Result<Contents, TransferError> {
    let (writing, found) = fill(source, origin, to, progress).await?;
    writing.finish().await?;
    Ok(found)
}

/// Copies everything and compares; what is left is to say that it is finished.
async fn fill<'a>(
    source: &mut dyn Snapshot,
    origin: Origin,
    to: &'a dyn Store,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<(Writing<'a>, Contents), TransferError> {
    let mut writing = Writing::begin(to, origin).await?;
    let total = source.size();
    let mut tally = Tally::default();
    let mut sequences = Vec::new();
    let mut part = source.next().await?;
    while let Some(present) = part {
        tally.add(&present);
        // The source is read while the destination is written.
        part = match present {
            SnapshotPart::Records(records) => {
                let records = records.into_iter().filter(|r| r.key.kind != TRANSFER);
                both(source, writing.records(records.collect())).await?
            }
            SnapshotPart::Log(log) => both(source, writing.log(log)).await?,
            SnapshotPart::Jobs(jobs) => both(source, writing.jobs(jobs)).await?,
            SnapshotPart::Sequences(more) => {
                sequences.extend(more);
                source.next().await?
            }
        };
        progress(Progress {
            done: tally.count(),
            total,
        });
    }
    for (kind, past) in sequences {
        to.advance_ids(kind, past).await?;
    }
    let expected = tally.finish();
    let found = contents(to).await?;
    if found == expected {
        return Ok((writing, found));
    }
    if writing.marker.is_none() {
        let what = "it holds another state of this vault".to_owned();
        return Err(TransferError::NotEmpty(what));
    }
    Err(TransferError::Differs { expected, found })
}

async fn both(
    source: &mut dyn Snapshot,
    write: impl Future<Output = Result<(), StoreError>>,
) -> Result<Option<SnapshotPart>, StoreError> {
    let (next, ()) = futures_util::future::try_join(source.next(), write).await?;
    Ok(next)
}

/// What a store holds.
pub(super) async fn contents(store: &dyn Store) -> Result<Contents, StoreError> {
    let mut tally = Tally::default();
    let mut snapshot = store.snapshot().await?;
    while let Some(part) = snapshot.next().await? {
        tally.add(&part);
    }
    Ok(tally.finish())
}

/// A destination and how far it is. What is there already is passed over.
struct Writing<'a> {
    to: &'a dyn Store,
    /// None where the transfer seems to be finished: then all there is to do is to compare.
    marker: Option<Record>,
    origin: Origin,
    reached: Reached,
    /// How many batches of the log the source has given.
    seen: u64,
}

impl<'a> Writing<'a> {
    async fn begin(to: &'a dyn Store, origin: Origin) -> Result<Self, TransferError> {
        let (marker, reached) = if let Some(found) = to.find(MARKER).await? {
            let marker: Option<Marker> = serde_json::from_slice(&found.body).ok();
            let marker = marker.filter(|marker| marker.origin == origin.to_string());
            let marker = marker.ok_or_else(|| {
                let what = "it holds the beginning of a transfer from elsewhere";
                TransferError::NotEmpty(what.to_owned())
            })?;
            (Some(found), marker.reached)
        } else if let Some(vault) = find_vault_record(to).await? {
            if !vault.body.starts_with(&origin.vault) {
                return Err(TransferError::NotEmpty("it holds another vault".to_owned()));
            }
            (None, Reached::All)
        } else {
            let size = to.snapshot().await?.size();
            if size > 0 {
                let what = format!("it holds {size} records, batches of the log and jobs");
                return Err(TransferError::NotEmpty(what));
            }
            let marker = Record {
                key: MARKER,
                revision: 1,
                body: body(origin, Reached::Nothing),
                terms: Vec::new(),
                created_at: Timestamp::UNIX_EPOCH,
                expires_at: None,
            };
            let set = ChangeSet::default().create(marker.clone());
            to.commit(set).await?;
            (Some(marker), Reached::Nothing)
        };
        Ok(Self {
            to,
            marker,
            origin,
            reached,
            seen: 0,
        })
    }

    async fn records(&mut self, mut records: Vec<Record>) -> Result<(), StoreError> {
        records.retain(|record| at(record.key) > self.reached);
        for batch in batches(records, |record| record.body.len()) {
            let Some(last) = batch.last() else { continue };
            let reached = at(last.key);
            let set = ChangeSet {
                records: batch.into_iter().map(Change::Create).collect(),
                ..ChangeSet::default()
            };
            self.commit(set, reached).await?;
        }
        Ok(())
    }

    async fn log(&mut self, log: Vec<LogRecord>) -> Result<(), StoreError> {
        let first = self.seen + 1;
        self.seen += log.len() as u64;
        let log = (first..).zip(log);
        let log = log.filter(|(number, _)| Reached::Log(*number) > self.reached);
        for batch in batches(log.collect(), |(_, record)| record.body.len()) {
            let Some((number, _)) = batch.last() else {
                continue;
            };
            let reached = Reached::Log(*number);
            // Batches that are there already are passed over by the store.
            let batch = batch.into_iter().map(|(_, record)| record);
            self.to.append_log(batch.collect()).await?;
            self.commit(ChangeSet::default(), reached).await?;
        }
        Ok(())
    }

    async fn jobs(&mut self, mut jobs: Vec<Job>) -> Result<(), StoreError> {
        let at = |job: &Job| Reached::Job(job.key.topic.0, job.key.subject);
        jobs.retain(|job| at(job) > self.reached);
        for batch in batches(jobs, |job| job.body.len()) {
            let Some(reached) = batch.last().map(at) else {
                continue;
            };
            let set = ChangeSet {
                jobs: batch.into_iter().map(JobChange::Put).collect(),
                ..ChangeSet::default()
            };
            self.commit(set, reached).await?;
        }
        Ok(())
    }

    /// Commits together with the mark of how far that is.
    async fn commit(&mut self, set: ChangeSet, reached: Reached) -> Result<(), StoreError> {
        let Some(marker) = &self.marker else {
            return Ok(());
        };
        let expected = marker.revision;
        let marker = Record {
            revision: expected + 1,
            body: body(self.origin, reached),
            ..marker.clone()
        };
        self.to.commit(set.update(marker.clone(), expected)).await?;
        self.marker = Some(marker);
        self.reached = reached;
        Ok(())
    }

    async fn finish(self) -> Result<(), StoreError> {
        match self.marker {
            Some(marker) => {
                let set = ChangeSet::default().delete(MARKER, marker.revision);
                self.to.commit(set).await
            }
            None => Ok(()),
        }
    }
}

fn at(key: RecordKey) -> Reached {
    Reached::Record(key.kind.0, key.id)
}

fn body(origin: Origin, reached: Reached) -> Vec<u8> {
    let marker = Marker {
        origin: origin.to_string(),
        reached,
    };
    serde_json::to_vec(&marker).expect("a marker is plain data")
}

/// Cuts into batches that one commit takes.
fn batches<T>(items: Vec<T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut batches = Vec::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for item in items {
        let more = size(&item);
        if batch.len() >= BATCH_ITEMS || (bytes + more > BATCH_BYTES && !batch.is_empty()) {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += more;
        batch.push(item);
    }
    batches.push(batch);
    batches
}
