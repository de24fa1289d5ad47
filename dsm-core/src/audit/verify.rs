//! Checks a trail without the server that wrote it.

mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::source::{verify_folder, verify_lines, verify_store};
use super::chain::{Head, Link};
use super::line::Line;
use super::{Fault, Wrong};
use crate::crypto::Keyring;
use crate::store::ServerId;

/// The most faults that are listed; more are counted.
const MAX_FAULTS: usize = 1000;

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// One per server, in the order of their names.
    pub chains: Vec<ChainReport>,
    /// Everything that is wrong, in the order found, the first thousand.
    pub faults: Vec<Fault>,
    /// How many faults there are.
    pub fault_count: u64,
}

/// One server's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainReport {
    /// What its first entry here follows.
    pub after: Head,
    /// Its last entry.
    pub head: Head,
    /// How many entries were checked.
    pub entries: u64,
    /// The last entry a checkpoint speaks of; it was checked if the keyring was at hand.
    pub signed: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.fault_count == 0
    }

    /// The chain of `server`.
    pub fn chain(&self, server: ServerId) -> Option<&ChainReport> {
        self.chains.iter().find(|c| c.head.server == server)
    }

    fn add(&mut self, fault: Fault) {
        self.fault_count += 1;
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }
}

/// Takes a trail line by line. After a fault it goes on from what the line itself says, so that one
/// changed entry is one fault and not all that follow.
#[derive(Debug)]
pub struct Verifier<'a> {
    keyring: Option<&'a Keyring>,
    /// Entries known from elsewhere that are met on the way.
    known: BTreeMap<ServerId, Head>,
    partial: bool,
    chains: BTreeMap<ServerId, ChainReport>,
    current: Option<ServerId>,
    file: Option<String>,
    line: u64,
    /// Whether the last line started a chain.
    started: bool,
    report: Report,
}

impl<'a> Verifier<'a> {
    /// Checks signatures as well if the keyring is at hand.
    pub fn new(keyring: Option<&'a Keyring>) -> Self {
        Self {
            keyring,
            known: BTreeMap::new(),
            partial: false,
            chains: BTreeMap::new(),
            current: None,
            file: None,
            line: 0,
            started: false,
            report: Report::default(),
        }
    }

    /// Admits chains whose beginning is not there, as in the export of a span of time.
    pub fn partial(mut self) -> Self {
        self.partial = true;
        self
    }

    /// Compares with an entry known from elsewhere, such as the head kept in the store: the chain
    /// must have it, as it is known.
    pub fn expect(mut self, known: Head) -> Self {
        self.known.insert(known.server, known);
        self
    }

    /// The next line, without its line feed.
    pub fn line(&mut self, line: &[u8]) {
        self.line += 1;
        let started = std::mem::replace(&mut self.started, false);
        match Line::parse(line) {
            Some(Line::Start(after)) => {
                if started && self.current == Some(after.server) {
                    self.fault(Wrong::Start);
                }
                self.started = true;
                self.start(after);
            }
            Some(Line::Entry {
                sequence,
                link,
                event,
            }) => self.entry(sequence, link, event),
            Some(Line::Checkpoint(checkpoint)) => {
                let Some(chain) = self.chain() else {
                    return self.fault(Wrong::Malformed);
                };
                let head = chain.head;
                let matches = (checkpoint.sequence, checkpoint.link) == (head.sequence, head.link);
                // None is written twice.
                if !matches || checkpoint.sequence <= chain.signed {
                    self.fault(Wrong::Checkpoint);
                } else if self
                    .keyring
                    .is_some_and(|keyring| !checkpoint.is_signed_by(keyring, head.server))
                {
                    self.fault(Wrong::Signature);
                } else if let Some(chain) = self.chain() {
                    chain.signed = checkpoint.sequence;
                }
            }
            None => self.fault(Wrong::Malformed),
        }
    }

    /// Whatever is wrong at the present place and no line.
    pub(super) fn fault(&mut self, wrong: Wrong) {
        let chain = self.current.and_then(|server| self.chains.get(&server));
        self.report.add(Fault {
            server: self.current,
            sequence: chain.map_or(0, |chain| chain.head.sequence),
            file: self.file.clone(),
            line: self.line,
            wrong,
        });
    }

    /// What follows is from this file or other place; it says anew whose chain it continues.
    pub(super) fn next_file(&mut self, file: Option<String>) {
        self.file = file;
        self.line = 0;
        self.current = None;
        self.started = false;
    }

    pub(super) fn keyring(&self) -> Option<&'a Keyring> {
        self.keyring
    }

    /// What is wrong at an entry of which there is no line.
    pub(super) fn fault_at(&mut self, server: ServerId, sequence: u64, wrong: Wrong) {
        self.report.add(Fault::new(server, sequence, wrong));
    }

    pub(super) fn fault_count(&self) -> u64 {
        self.report.fault_count
    }

    /// The chain that the last line belongs to.
    pub(super) fn current(&self) -> Option<&ChainReport> {
        self.chains.get(&self.current?)
    }

    /// What was found.
    pub fn finish(mut self) -> Report {
        self.report.chains = self.chains.into_values().collect();
        for known in self.known.values() {
            let chain = self.report.chain(known.server);
            let last = chain.map_or(0, |chain| chain.head.sequence);
            if last < known.sequence {
                let wrong = Wrong::End(known.sequence);
                self.report.add(Fault::new(known.server, last, wrong));
            }
        }
        self.report
    }

    fn chain(&mut self) -> Option<&mut ChainReport> {
        self.chains.get_mut(&self.current?)
    }

    fn start(&mut self, after: Head) {
        self.current = Some(after.server);
        let Some(chain) = self.chains.get_mut(&after.server) else {
            self.chains.insert(
                after.server,
                ChainReport {
                    after,
                    head: after,
                    entries: 0,
                    signed: 0,
                },
            );
            if after.sequence == 0 {
                if after != Head::start(after.server) {
                    self.fault(Wrong::Start);
                }
            } else if !self.partial {
                self.fault(Wrong::Beginning(after.sequence + 1));
            }
            return;
        };
        if chain.head != after {
            self.fault(Wrong::Start);
            if let Some(chain) = self.chain() {
                chain.head = after;
            }
        }
    }

    fn entry(&mut self, sequence: u64, link: Link, event: &[u8]) {
        let Some(chain) = self.chain() else {
            return self.fault(Wrong::Malformed);
        };
        let expected = chain.head.sequence + 1;
        let follows = chain.head.link.next(event) == link;
        let server = chain.head.server;
        chain.head.sequence = sequence;
        chain.head.link = link;
        chain.entries += 1;
        let replaced = self
            .known
            .get(&server)
            .is_some_and(|known| known.sequence == sequence && known.link != link);
        // A gap makes the hash differ as well; the gap says more.
        if sequence != expected {
            self.fault(Wrong::Sequence { sequence: expected });
        } else if !follows {
            self.fault(Wrong::Hash);
        } else if replaced {
            self.fault(Wrong::Replaced);
        }
    }
}
