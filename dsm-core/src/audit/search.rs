//! Finds entries in the store's log, and writes them out.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::ops::Bound;
use std::path::Path;
use std::str::FromStr;

use super::terms::{self, ActorFilter, Key};
use super::{Actor, AuditError, Event, Head, ObjectKind, Operation, Outcome, Part, line, store};
use crate::crypto::{Keyring, Sealer};
use crate::store::{LogQuery, Order, ServerId, Store};
use crate::time::Timestamp;

/// How many batches are asked for at a time.
const PAGE: usize = 32;
/// After how many batches a search gives back what it has, with a cursor to go on from.
const MAX_BATCHES: usize = 1024;

/// Which entries. Those that match everything that is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditQuery {
    /// The first instant.
    pub from: Option<Timestamp>,
    /// The last instant.
    pub until: Option<Timestamp>,
    /// Who.
    pub actor: Option<ActorFilter>,
    /// What.
    pub operation: Option<Operation>,
    /// With what.
    pub object: Option<ObjectFilter>,
    /// How it ended.
    pub outcome: Option<OutcomeFilter>,
    /// From where.
    pub ip: Option<IpAddr>,
    /// Which part of the trail.
    pub only: Option<Only>,
    /// Continue after this entry.
    pub after: Option<Cursor>,
    /// At most so many; at least 1.
    pub limit: usize,
}

impl AuditQuery {
    /// The newest `limit` entries.
    pub fn newest(limit: usize) -> Self {
        Self {
            from: None,
            until: None,
            actor: None,
            operation: None,
            object: None,
            outcome: None,
            ip: None,
            only: None,
            after: None,
            limit,
        }
    }

    fn matches(&self, event: &Event) -> bool {
        let object = event.object.as_ref();
        self.from.is_none_or(|from| event.at >= from)
            && self.until.is_none_or(|until| event.at <= until)
            && self.actor.as_ref().is_none_or(|f| f.matches(&event.actor))
            && self.operation.is_none_or(|o| event.operation == o)
            && self
                .outcome
                .is_none_or(|f| f.as_str() == terms::outcome(&event.outcome))
            && self.ip.is_none_or(|ip| event.ip == Some(ip))
            && self.only.is_none_or(|only| only.includes(event))
            && self.object.as_ref().is_none_or(|filter| {
                object.is_some_and(|object| match filter {
                    ObjectFilter::Kind(kind) => object.kind == *kind,
                    ObjectFilter::Id(kind, id) => object.kind == *kind && object.id == Some(*id),
                    ObjectFilter::Name(kind, name) => object.kind == *kind && object.name == *name,
                })
            })
    }

    fn keys(&self) -> impl Iterator<Item = Key<'_>> {
        let object = self.object.as_ref().map(|filter| match filter {
            ObjectFilter::Kind(kind) => Key::ObjectKind(*kind),
            ObjectFilter::Id(kind, id) => Key::ObjectId(*kind, *id),
            ObjectFilter::Name(kind, name) => Key::ObjectName(*kind, name),
        });
        [
            self.actor.as_ref().map(Key::Actor),
            self.operation.map(Key::Operation),
            object,
            self.outcome.map(|outcome| Key::Outcome(outcome.as_str())),
            self.ip.map(Key::Ip),
            (self.only == Some(Only::Answers)).then_some(Key::Answer),
        ]
        .into_iter()
        .flatten()
    }
}

/// A part of the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// The entries that stand for requests of applications and operators, those that were replaced
    /// by an answer among them.
    Requests,
    /// The entries that say what a request was answered.
    Answers,
}

impl Only {
    fn includes(self, event: &Event) -> bool {
        let answers = matches!(event.part, Some(Part::Answer { .. }));
        match self {
            Self::Answers => answers,
            Self::Requests => {
                let asked = match &event.actor {
                    Actor::Authorization { .. } | Actor::Unknown { .. } => true,
                    // Without an id it is the program around the vault.
                    Actor::Operator { id, .. } => id.is_some(),
                    Actor::Vault => false,
                };
                let ended = !matches!(event.outcome, Outcome::Failed { .. });
                asked && (answers || ended && event.part.is_none())
            }
        }
    }
}

/// With what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectFilter {
    /// Anything of this kind.
    Kind(ObjectKind),
    /// The object of this kind with this id.
    Id(ObjectKind, u64),
    /// Objects of this kind that had this name, for secrets the identity.
    Name(ObjectKind, String),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeFilter {
    /// Permitted.
    Allowed,
    /// Refused by a rule.
    Denied,
    /// Permitted but not done.
    Failed,
}

impl OutcomeFilter {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// Where an entry stands in the log; it stays there whatever is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    position: u64,
    index: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.position, self.index)
    }
}

/// A text that is no [`Cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a place in the audit trail; use one that an earlier answer gave")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let (position, index) = text.split_once('-').ok_or(NotACursor)?;
        Ok(Self {
            position: position.parse().map_err(|_| NotACursor)?,
            index: index.parse().map_err(|_| NotACursor)?,
        })
    }
}

/// An entry that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it stands.
    pub cursor: Cursor,
    /// Who recorded it.
    pub server: ServerId,
    /// Its number in that server's chain.
    pub sequence: u64,
    /// What was recorded.
    pub event: Event,
}

/// A page of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries, the newest first.
    pub found: Vec<Found>,
    /// Where the next page starts; `None` when this was the last one. A page can have fewer entries
    /// than asked for and a next one all the same.
    pub next: Option<Cursor>,
}

/// Finds entries in the log of `store`, the last appended first.
///
/// Every batch that is looked at is opened and checked; nothing the store says about one is taken
/// on trust. What a store leaves out is found by [`verify_store`](super::verify_store) only.
///
/// # Errors
///
/// [`AuditError::Damaged`] when a batch does not open or is not the one it is listed as.
pub async fn search(
    store: &dyn Store,
    sealer: &Sealer,
    keyring: &Keyring,
    query: &AuditQuery,
) -> Result<AuditPage, AuditError> {
    let bound = |at: Option<Timestamp>| at.map_or(Bound::Unbounded, Bound::Included);
    let mut log = LogQuery::newest(PAGE);
    log.terms = query.keys().map(|key| key.term(keyring)).collect();
    log.time = (bound(query.from), bound(query.until));
    // The batch of the cursor is looked at again, for what stands before it there.
    log.after = query.after.map(|after| after.position.saturating_add(1));

    let limit = query.limit.max(1);
    let mut found = Vec::new();
    let mut looked_at = 0;
    loop {
        let page = store.read_log(&log).await?;
        for (position, record) in &page.records {
            let batch = store::open(sealer, record)?;
            let entries: Vec<_> = batch.entries().collect();
            for entry in entries.iter().rev() {
                let index = entry.sequence - batch.first();
                let cursor = Cursor {
                    position: *position,
                    index,
                };
                let seen = query
                    .after
                    .is_some_and(|after| after.position == *position && after.index <= index);
                let Some(event) = entry.decode().filter(|e| !seen && query.matches(e)) else {
                    continue;
                };
                found.push(Found {
                    cursor,
                    server: record.server,
                    sequence: entry.sequence,
                    event,
                });
                if found.len() == limit {
                    return Ok(AuditPage {
                        found,
                        next: Some(cursor),
                    });
                }
            }
            looked_at += 1;
            if looked_at == MAX_BATCHES {
                let next = Some(Cursor {
                    position: *position,
                    index: 0,
                });
                return Ok(AuditPage { found, next });
            }
        }
        match page.next {
            Some(next) => log.after = Some(next),
            None => return Ok(AuditPage { found, next: None }),
        }
    }
}

/// Writes the log of `store`, or of one server in it, as JSON lines that
/// [`verify_lines`](super::verify_lines) checks; tells how many entries.
///
/// # Errors
///
/// [`AuditError::Damaged`] at the first batch that does not open; what stands before it is written.
pub async fn export(
    store: &dyn Store,
    sealer: &Sealer,
    server: Option<ServerId>,
    out: &mut (dyn Write + Send),
) -> Result<u64, AuditError> {
    let mut query = LogQuery::newest(PAGE);
    query.server = server;
    query.order = Order::OldestFirst;
    let mut at: Option<Head> = None;
    let mut entries = 0;
    loop {
        let page = store.read_log(&query).await?;
        for (_, record) in &page.records {
            let batch = store::open(sealer, record)?;
            let mut start = Vec::new();
            if at != Some(*batch.after()) {
                line::push_start(&mut start, batch.after());
            }
            out.write_all(&start)
                .and_then(|()| out.write_all(batch.lines()))
                .map_err(|error| AuditError::io(Path::new("the export"), error))?;
            entries += batch.count();
            at = Some(*batch.head());
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    out.flush()
        .map_err(|error| AuditError::io(Path::new("the export"), error))?;
    Ok(entries)
}
