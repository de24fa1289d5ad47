//! What is moved, as bytes that are the same whichever store it comes from.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Hex;
use crate::store::{
    IndexTerm, Job, JobKey, Kind, LogRecord, Record, RecordKey, ServerId, SnapshotPart, Term, Topic,
};
use crate::time::{Timestamp, from_micros, to_micros};
use crate::vault::TRANSFER;

/// Names where a transfer comes from, so that it goes on only with what it began with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    name: [u8; 32],
    pub(super) vault: [u8; 16],
}

impl Origin {
    /// Some bytes that are always those of the same source, which has this vault.
    pub(super) fn of(what: &str, bytes: &[u8], vault: [u8; 16]) -> Self {
        let hash = Sha256::new().chain_update(what).chain_update([0]);
        let name = hash.chain_update(bytes).finalize().into();
        Self { name, vault }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.name).fmt(f)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

/// A [`SnapshotPart`] in a form that is written down. The numbers of the variants and the order of
/// fields never change.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Part {
    Records(Vec<RecordItem>),
    Log(Vec<LogItem>),
    Jobs(Vec<JobItem>),
    Sequences(Vec<(u16, u64)>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RecordItem {
    kind: u16,
    id: u64,
    revision: u64,
    created_at: i64,
    expires_at: Option<i64>,
    terms: Vec<([u8; 16], bool)>,
    body: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LogItem {
    server: [u8; 16],
    sequence: u64,
    last_sequence: u64,
    from: i64,
    until: i64,
    terms: Vec<[u8; 16]>,
    body: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JobItem {
    topic: u16,
    subject: u64,
    due_at: i64,
    body: Vec<u8>,
}

impl From<SnapshotPart> for Part {
    fn from(part: SnapshotPart) -> Self {
        match part {
            SnapshotPart::Records(all) => Self::Records(all.into_iter().map(Into::into).collect()),
            SnapshotPart::Log(all) => Self::Log(all.into_iter().map(Into::into).collect()),
            SnapshotPart::Jobs(all) => Self::Jobs(all.into_iter().map(Into::into).collect()),
            SnapshotPart::Sequences(all) => {
                Self::Sequences(all.into_iter().map(|(kind, n)| (kind.0, n)).collect())
            }
        }
    }
}

impl Part {
    /// `None` for an instant that does not exist.
    pub(super) fn read(self) -> Option<SnapshotPart> {
        Some(match self {
            Self::Records(all) => SnapshotPart::Records(
                all.into_iter()
                    .map(RecordItem::read)
                    .collect::<Option<_>>()?,
            ),
            Self::Log(all) => {
                SnapshotPart::Log(all.into_iter().map(LogItem::read).collect::<Option<_>>()?)
            }
            Self::Jobs(all) => {
                SnapshotPart::Jobs(all.into_iter().map(JobItem::read).collect::<Option<_>>()?)
            }
            Self::Sequences(all) => {
                SnapshotPart::Sequences(all.into_iter().map(|(kind, n)| (Kind(kind), n)).collect())
            }
        })
    }
}

impl From<Record> for RecordItem {
    fn from(record: Record) -> Self {
        Self {
            kind: record.key.kind.0,
            id: record.key.id,
            revision: record.revision,
            created_at: to_micros(record.created_at),
            expires_at: record.expires_at.map(to_micros),
            terms: record.terms.iter().map(|t| (t.term.0, t.unique)).collect(),
            body: record.body,
        }
    }
}

impl RecordItem {
    fn read(self) -> Option<Record> {
        let terms = self.terms.into_iter().map(|(term, unique)| IndexTerm {
            term: Term(term),
            unique,
        });
        Some(Record {
            key: RecordKey::new(Kind(self.kind), self.id),
            revision: self.revision,
            created_at: from_micros(self.created_at)?,
            expires_at: match self.expires_at {
                Some(at) => Some(from_micros(at)?),
                None => None,
            },
            terms: terms.collect(),
            body: self.body,
        })
    }
}

impl From<LogRecord> for LogItem {
    fn from(record: LogRecord) -> Self {
        Self {
            server: record.server.0,
            sequence: record.sequence,
            last_sequence: record.last_sequence,
            from: to_micros(record.from),
            until: to_micros(record.until),
            terms: record.terms.iter().map(|term| term.0).collect(),
            body: record.body,
        }
    }
}

impl LogItem {
    fn read(self) -> Option<LogRecord> {
        Some(LogRecord {
            server: ServerId(self.server),
            sequence: self.sequence,
            last_sequence: self.last_sequence,
            from: from_micros(self.from)?,
            until: from_micros(self.until)?,
            terms: self.terms.into_iter().map(Term).collect(),
            body: self.body,
        })
    }
}

impl From<Job> for JobItem {
    fn from(job: Job) -> Self {
        Self {
            topic: job.key.topic.0,
            subject: job.key.subject,
            due_at: to_micros(job.due_at),
            body: job.body,
        }
    }
}

impl JobItem {
    fn read(self) -> Option<Job> {
        let due_at: Timestamp = from_micros(self.due_at)?;
        Some(Job {
            key: JobKey {
                topic: Topic(self.topic),
                subject: self.subject,
            },
            due_at,
            body: self.body,
        })
    }
}

/// What a store or a backup holds: how much of what, and a digest over all of it in order. The
/// numbers that were given are a backend's own and not part of it, nor is what is remembered of an
/// unfinished transfer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// How many records.
    pub records: u64,
    /// How many batches of the log.
    pub log: u64,
    /// How many jobs.
    pub jobs: u64,
    digest: [u8; 32],
}

impl Contents {
    /// The digest, SHA-256.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            records, log, jobs, ..
        } = self;
        let digest = Hex(&self.digest[..8]);
        write!(
            f,
            "{records} records, {log} batches of the log and {jobs} jobs (digest {digest}…)"
        )
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contents({self})")
    }
}

/// Adds up [`Contents`].
#[derive(Debug, Default)]
pub(super) struct Tally {
    records: u64,
    log: u64,
    jobs: u64,
    hash: Sha256,
}

impl Tally {
    pub(super) fn add(&mut self, part: &SnapshotPart) {
        match part {
            SnapshotPart::Records(all) => {
                for record in all.iter().filter(|record| record.key.kind != TRANSFER) {
                    self.records += 1;
                    self.hash(b'r', &RecordItem::from(record.clone()));
                }
            }
            SnapshotPart::Log(all) => {
                for record in all {
                    self.log += 1;
                    self.hash(b'l', &LogItem::from(record.clone()));
                }
            }
            SnapshotPart::Jobs(all) => {
                for job in all {
                    self.jobs += 1;
                    self.hash(b'j', &JobItem::from(job.clone()));
                }
            }
            SnapshotPart::Sequences(_) => {}
        }
    }

    /// One item, with its class and length before it.
    fn hash(&mut self, class: u8, item: &impl Serialize) {
        let bytes = encode(item);
        self.hash.update([class]);
        self.hash.update((bytes.len() as u64).to_be_bytes());
        self.hash.update(bytes);
    }

    /// How many items there are so far.
    pub(super) fn count(&self) -> u64 {
        self.records + self.log + self.jobs
    }

    pub(super) fn finish(self) -> Contents {
        Contents {
            records: self.records,
            log: self.log,
            jobs: self.jobs,
            digest: self.hash.finalize().into(),
        }
    }
}

/// In the [format of postcard](https://postcard.jamesmunns.com/wire-format), which is fixed.
pub(super) fn encode(item: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(item).expect("plain data is encoded and a vector takes every write")
}
