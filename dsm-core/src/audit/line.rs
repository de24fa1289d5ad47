//! The written form: JSON lines in one spelling each, so that every byte of a trail is checked.
//!
//! ```text
//! {"server":"<32 hex>","first":1,"previous":"<64 hex>"}                 a segment starts
//! {"seq":1,"hash":"<64 hex>","event":{…}}                               an entry
//! {"checkpoint":{"seq":1,"hash":"<64 hex>","at":"<RFC 3339>"},"mac":"<64 hex>"}
//! ```
//!
//! The link covers the event's bytes exactly as they stand, so no canonical form of JSON is needed.

use std::io::Write as _;

use data_encoding::HEXLOWER;

use super::chain::{Checkpoint, Head, Link};
use crate::crypto::Mac;
use crate::store::ServerId;
use crate::time::Timestamp;

/// One line without its line feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// What follows continues this chain after this head.
    Start(Head),
    Entry {
        sequence: u64,
        link: Link,
        event: &'a [u8],
    },
    Checkpoint(Checkpoint),
}

const AT: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

/// Room for an entry's line around its event.
pub(super) const FRAME: usize = 112;

pub(super) fn push_start(out: &mut Vec<u8>, after: &Head) {
    writeln!(
        out,
        r#"{{"server":"{}","first":{},"previous":"{}"}}"#,
        after.server,
        after.sequence + 1,
        after.link
    )
    .expect("a vector takes every write");
}

pub(super) fn push_entry(out: &mut Vec<u8>, sequence: u64, link: &Link, event: &[u8]) {
    out.extend_from_slice(b"{\"seq\":");
    write!(out, "{sequence}").expect("a vector takes every write");
    out.extend_from_slice(b",\"hash\":\"");
    let start = out.len();
    out.resize(start + 64, 0);
    HEXLOWER.encode_mut(&link.0, &mut out[start..]);
    out.extend_from_slice(b"\",\"event\":");
    out.extend_from_slice(event);
    out.extend_from_slice(b"}\n");
}

pub(super) fn push_checkpoint(out: &mut Vec<u8>, checkpoint: &Checkpoint) {
    writeln!(
        out,
        r#"{{"checkpoint":{{"seq":{},"hash":"{}","at":"{}"}},"mac":"{}"}}"#,
        checkpoint.sequence,
        checkpoint.link,
        checkpoint.at.format(AT),
        HEXLOWER.encode(&checkpoint.mac.0)
    )
    .expect("a vector takes every write");
}

impl<'a> Line<'a> {
    /// Reads one line; `None` unless it is spelled exactly as it would be written.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(line);
        if rest.skip(b"{\"seq\":").is_some() {
            let sequence = rest.number()?;
            rest.skip(b",\"hash\":\"")?;
            let link = Link(rest.hex()?);
            rest.skip(b"\",\"event\":")?;
            let event = rest.0.strip_suffix(b"}")?;
            return (sequence > 0).then_some(Self::Entry {
                sequence,
                link,
                event,
            });
        }
        if rest.skip(b"{\"checkpoint\":{\"seq\":").is_some() {
            let sequence = rest.number()?;
            rest.skip(b",\"hash\":\"")?;
            let link = Link(rest.hex()?);
            rest.skip(b"\",\"at\":\"")?;
            let at = rest.take_until(b'"')?;
            let at: Timestamp = std::str::from_utf8(at).ok()?.parse().ok()?;
            rest.skip(b"\"},\"mac\":\"")?;
            let mac = Mac(rest.hex()?);
            let checkpoint = Checkpoint {
                sequence,
                link,
                at,
                mac,
            };
            // An instant has many spellings and one that is written.
            let mut again = Vec::with_capacity(line.len() + 1);
            push_checkpoint(&mut again, &checkpoint);
            return (again.strip_suffix(b"\n") == Some(line))
                .then_some(Self::Checkpoint(checkpoint));
        }
        rest.skip(b"{\"server\":\"")?;
        let server = ServerId(rest.hex()?);
        rest.skip(b"\",\"first\":")?;
        let first = rest.number()?;
        rest.skip(b",\"previous\":\"")?;
        let link = Link(rest.hex()?);
        rest.skip(b"\"}")?;
        rest.0.is_empty().then_some(Self::Start(Head {
            server,
            sequence: first.checked_sub(1)?,
            link,
        }))
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn skip(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    fn number(&mut self) -> Option<u64> {
        let len = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(len);
        if len > 1 && digits[0] == b'0' {
            return None;
        }
        let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
        self.0 = rest;
        // Stores keep it in 64 signed bits.
        i64::try_from(number).is_ok().then_some(number)
    }

    fn hex<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (text, rest) = self.0.split_at_checked(2 * N)?;
        let mut bytes = [0; N];
        HEXLOWER.decode_mut(text, &mut bytes).ok()?;
        self.0 = rest;
        Some(bytes)
    }

    fn take_until(&mut self, end: u8) -> Option<&'a [u8]> {
        let len = self.0.iter().position(|b| *b == end)?;
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Keyring;
    use crate::entropy::OsEntropy;

    fn head() -> Head {
        let start = Head::start(ServerId([7; 16]));
        Head {
            sequence: 41,
            link: start.link.next(b"{}"),
            ..start
        }
    }

    #[test]
    fn every_line_comes_back() {
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        let checkpoint = Checkpoint::sign(&Keyring::generate(&OsEntropy), &head(), at);
        let mut out = Vec::new();
        push_start(&mut out, &head());
        push_entry(&mut out, 42, &head().link, b"{\"a\":1}");
        push_checkpoint(&mut out, &checkpoint);
        let lines: Vec<_> = out
            .strip_suffix(b"\n")
            .unwrap()
            .split(|b| *b == b'\n')
            .map(|line| Line::parse(line).unwrap())
            .collect();
        let entry = Line::Entry {
            sequence: 42,
            link: head().link,
            event: b"{\"a\":1}",
        };
        assert_eq!(
            lines,
            [Line::Start(head()), entry, Line::Checkpoint(checkpoint)]
        );
    }

    #[test]
    fn a_line_has_one_spelling() {
        let mut out = Vec::new();
        push_entry(&mut out, 42, &head().link, b"{}");
        let text = String::from_utf8(out).unwrap();
        let line = text.trim_end();
        assert!(Line::parse(line.as_bytes()).is_some());
        for other in [
            line.replace(":42,", ":042,"),
            line.replace(":42,", ": 42,"),
            line.replace(":42,", ":0,"),
            line.replace(":42,", ":9223372036854775808,"),
            line.replace(
                &head().link.to_string(),
                &head().link.to_string().to_uppercase(),
            ),
            format!("{line} "),
        ] {
            assert_eq!(Line::parse(other.as_bytes()), None, "{other}");
        }
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        let checkpoint = Checkpoint::sign(&Keyring::generate(&OsEntropy), &head(), at);
        let mut out = Vec::new();
        push_checkpoint(&mut out, &checkpoint);
        let text = String::from_utf8(out).unwrap();
        let other = text.trim_end().replace("00.000000Z", "00Z");
        assert_eq!(Line::parse(other.as_bytes()), None);
    }
}
