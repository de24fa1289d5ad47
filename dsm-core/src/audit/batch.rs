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
        let starts = std::iter::once(&0).chain(ends);
        let each = starts.zip(ends).map(|(&start, &end)| &events[start..end]);
        Self::link(after, each, events.len() + ends.len() * line::FRAME)
    }

    fn link<'a>(after: Head, events: impl Iterator<Item = &'a [u8]>, room: usize) -> Self {
        let mut lines = Vec::with_capacity(room);
        let mut head = after;
        for event in events {
            head.sequence += 1;
            head.link = head.link.next(event);
            line::push_entry(&mut lines, head.sequence, &head.link, event);
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

    /// The self-contained form: a start line, the link of the last entry, and the events without
    /// their frames, compressed ([LZ4](https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md),
    /// after their length). The frames follow from the events.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut events = Vec::with_capacity(self.lines.len());
        for entry in self.entries() {
            events.extend_from_slice(entry.event);
            events.push(b'\n');
        }
        let mut bytes = Vec::new();
        line::push_start(&mut bytes, &self.after);
        bytes.extend_from_slice(&self.head.link.0);
        bytes.extend_from_slice(&lz4_flex::compress_prepend_size(&events));
        bytes
    }

    /// Reads [`to_bytes`](Self::to_bytes) and checks that the chain ends as it did.
    ///
    /// Only for bytes that were authenticated: they say how much memory to take.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        let malformed = || Fault::unplaced(Wrong::Malformed);
        let start = bytes.iter().position(|b| *b == b'\n').unwrap_or(0);
        let Some(Line::Start(after)) = Line::parse(&bytes[..start]) else {
            return Err(malformed());
        };
        let (link, packed) = bytes[start + 1..]
            .split_first_chunk::<32>()
            .ok_or_else(malformed)?;
        let events = lz4_flex::decompress_size_prepended(packed).map_err(|_| malformed())?;
        let batch = Self::link(after, lines_of(&events), 2 * events.len());
        if batch.head.link != Link(*link) {
            return Err(Fault::new(after.server, batch.head.sequence, Wrong::Hash));
        }
        Ok(batch)
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
