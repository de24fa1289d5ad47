use super::chain::{Head, Link};
use super::line::{self, Line};
use super::{Event, Fault, Wrong};
use crate::store::ServerId;

/// Entries of one chain that follow each other, in their written form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    after: Head,
    head: Head,
    lines: Vec<u8>,
}

/// One entry of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number.
    pub sequence: u64,
    /// Its link.
    pub link: Link,
    /// The event's bytes as they are hashed: JSON.
    pub event: &'a [u8],
}

impl Entry<'_> {
    /// The event; `None` when it was written by a later version that knows more.
    pub fn decode(&self) -> Option<Event> {
        serde_json::from_slice(self.event).ok()
    }
}

impl Batch {
    /// Chains `events`, the bytes of each ending where `ends` says, after `after`.
    pub(super) fn chain(after: Head, events: &[u8], ends: &[usize]) -> Self {
        let mut lines = Vec::with_capacity(events.len() + ends.len() * line::FRAME);
        let mut head = after;
        let mut start = 0;
        for &end in ends {
            let event = &events[start..end];
            head.sequence += 1;
            head.link = head.link.next(event);
            line::push_entry(&mut lines, head.sequence, &head.link, event);
            start = end;
        }
        Self { after, head, lines }
    }

    /// Whose chain.
    pub fn server(&self) -> ServerId {
        self.head.server
    }

    /// What the first entry follows.
    pub fn after(&self) -> &Head {
        &self.after
    }

    /// The last entry.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The number of the first entry.
    pub fn first(&self) -> u64 {
        self.after.sequence + 1
    }

    /// The number of the last entry.
    pub fn last(&self) -> u64 {
        self.head.sequence
    }

    /// How many entries.
    pub fn count(&self) -> u64 {
        self.head.sequence - self.after.sequence
    }

    /// The entries as JSON lines, each with its line feed.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        lines_of(&self.lines).filter_map(|line| match Line::parse(line) {
            Some(Line::Entry {
                sequence,
                link,
                event,
            }) => Some(Entry {
                sequence,
                link,
                event,
            }),
            _ => None,
        })
    }

    /// Adds the entries of `other`, which follow.
    pub(super) fn extend(&mut self, other: &Self) {
        debug_assert_eq!(self.head, other.after, "batches follow each other");
        self.lines.extend_from_slice(&other.lines);
        self.head = other.head;
    }

    /// What is left from number `first` on; `None` when nothing is.
    pub(super) fn from(mut self, first: u64) -> Option<Self> {
        let mut skipped = 0;
        let mut after = self.after;
        for (entry, line) in self
            .entries()
            .zip(self.lines.split_inclusive(|b| *b == b'\n'))
        {
            if entry.sequence >= first {
                break;
            }
            after.sequence = entry.sequence;
            after.link = entry.link;
            skipped += line.len();
        }
        self.lines.drain(..skipped);
        self.after = after;
        (self.count() > 0).then_some(self)
    }

    /// The self-contained form: a start line and the entries.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.lines.len() + 160);
        line::push_start(&mut bytes, &self.after);
        bytes.extend_from_slice(&self.lines);
        bytes
    }

    /// Reads [`to_bytes`](Self::to_bytes) and checks the chain inside.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        let start = bytes.iter().position(|b| *b == b'\n').unwrap_or(0);
        match Line::parse(&bytes[..start]) {
            Some(Line::Start(after)) => Self::read(after, &bytes[start + 1..]),
            _ => Err(Fault::unplaced(Wrong::Malformed)),
        }
    }

    /// Checks that `lines` are entries that follow `after`.
    pub(super) fn read(after: Head, lines: &[u8]) -> Result<Self, Fault> {
        let mut head = after;
        for line in lines_of(lines) {
            let sequence = head.sequence + 1;
            match Line::parse(line) {
                Some(Line::Entry {
                    sequence: stated,
                    link,
                    event,
                }) => {
                    if stated != sequence {
                        return Err(Fault::new(
                            head.server,
                            stated,
                            Wrong::Sequence { sequence },
                        ));
                    }
                    if link != head.link.next(event) {
                        return Err(Fault::new(head.server, sequence, Wrong::Hash));
                    }
                    head.sequence = sequence;
                    head.link = link;
                }
                _ => return Err(Fault::new(head.server, sequence, Wrong::Malformed)),
            }
        }
        if !lines.is_empty() && lines.last() != Some(&b'\n') {
            return Err(Fault::new(head.server, head.sequence, Wrong::Malformed));
        }
        Ok(Self {
            after,
            head,
            lines: lines.to_vec(),
        })
    }
}

fn lines_of(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split_inclusive(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}
