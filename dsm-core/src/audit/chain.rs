//! The hash chain: what ties an entry to all before it.
//!
//! `hash(n) = SHA-256(hash(n-1) ‖ the event's exact bytes)`, where `hash(0)` is a hash of the
//! server's name. A checkpoint signs one such hash with a key that is not on the server's disk in
//! clear, so that whoever can write the files cannot write a chain of their own.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::crypto::{Keyring, Mac};
use crate::store::ServerId;
use crate::time::{Timestamp, to_micros};

/// A link of the chain: SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link(pub [u8; 32]);

impl Link {
    /// What the first entry of a server's chain follows.
    pub fn start(server: ServerId) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"dsm audit chain 1\0");
        hash.update(server.0);
        Self(hash.finalize().into())
    }

    /// The link of an entry with these bytes after this one.
    pub fn next(&self, event: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(event);
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({self})")
    }
}

/// The newest entry of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Whose chain.
    pub server: ServerId,
    /// The entry's number, from 1 without gaps; 0 before the first.
    pub sequence: u64,
    /// Its link.
    pub link: Link,
}

impl Head {
    /// The head of a chain without entries.
    pub fn start(server: ServerId) -> Self {
        Self {
            server,
            sequence: 0,
            link: Link::start(server),
        }
    }
}

/// A signed statement that a chain stood at `sequence` with `link` at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) sequence: u64,
    pub(super) link: Link,
    pub(super) at: Timestamp,
    pub(super) mac: Mac,
}

impl Checkpoint {
    pub(super) fn sign(keyring: &Keyring, head: &Head, at: Timestamp) -> Self {
        Self {
            sequence: head.sequence,
            link: head.link,
            at,
            mac: mac(keyring, head, at),
        }
    }

    /// Whether the keyring's owner made it for the chain of `server`.
    pub(super) fn is_signed_by(&self, keyring: &Keyring, server: ServerId) -> bool {
        let head = Head {
            server,
            sequence: self.sequence,
            link: self.link,
        };
        mac(keyring, &head, self.at) == self.mac
    }
}

fn mac(keyring: &Keyring, head: &Head, at: Timestamp) -> Mac {
    let mut message = Vec::with_capacity(96);
    message.extend_from_slice(b"dsm audit checkpoint 1\0");
    message.extend_from_slice(&head.server.0);
    message.extend_from_slice(&head.sequence.to_be_bytes());
    message.extend_from_slice(&head.link.0);
    message.extend_from_slice(&to_micros(at).to_be_bytes());
    keyring.audit_mac(&message)
}
