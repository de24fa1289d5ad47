//! Taking a whole vault elsewhere: to another store, into a file, and back.
//!
//! All of it is written over [`Store`](crate::store::Store) and [`Snapshot`](crate::store::Snapshot)
//! alone, so it works between any two backends. What is moved stays sealed: [`copy`](copy()) needs no
//! key.
//!
//! # Formats
//!
//! A backup file is, in this order:
//!
//! - `dsm-backup\n`
//! - the length of the header in 4 bytes, big-endian, and the header: a JSON object with `format`
//!   (1), `vault`, `backup` (a random name), `root_key` and `created_at`
//! - chunks, each with its length in 4 bytes, sealed like a record under the root key and bound to
//!   the header, to its number and to whether it is the last. A chunk holds items of a
//!   [`SnapshotPart`](crate::store::SnapshotPart), the last one what all of them come to
//! - the length 0, and the SHA-256 of everything before it

mod backup;
mod copy;
mod item;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;

pub use self::backup::{Backup, write_backup};
pub use self::copy::{copy, migrate, origin_of, unfinished};
pub use self::item::{Contents, Origin};
use crate::crypto::{CryptoError, KeyError, RootKeyId};
use crate::store::StoreError;
use crate::time::Timestamp;

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Records, log records and jobs that are done.
    pub done: u64,
    /// Of how many.
    pub total: u64,
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupHeader {
    /// Of which vault.
    pub vault: [u8; 16],
    /// Which backup.
    pub backup: [u8; 16],
    /// Under which root key it is sealed.
    pub root_key: RootKeyId,
    /// When it was begun.
    pub created_at: Timestamp,
}

/// Why a transfer did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// A store failed. The transfer can be repeated and goes on where it was.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The destination holds something that this transfer did not bring.
    #[error("the destination is not empty: {0}; give an empty one")]
    NotEmpty(String),
    /// The destination holds a vault that the backup is not of.
    #[error(
        "the backup is of vault {}, the destination holds vault {}; give an empty one",
        Hex(.backup),
        Hex(.found)
    )]
    OtherVault {
        /// The vault of the backup.
        backup: [u8; 16],
        /// The vault in the destination.
        found: [u8; 16],
    },
    /// The source has no vault.
    #[error("there is no vault in the source")]
    NoVault,
    /// The destination has other contents than the source after the transfer.
    #[error(
        "the destination has {found} where the source has {expected}: the source was written to \
         meanwhile, or one of the two is damaged. Stop what writes to the source, empty the \
         destination and begin anew"
    )]
    Differs {
        /// What the source has.
        expected: Contents,
        /// What the destination has.
        found: Contents,
    },
    /// The file cannot be read or written.
    #[error("the backup cannot be read or written")]
    Io(#[from] io::Error),
    /// The file is not a whole backup.
    #[error("not a whole backup: {0}; nothing was restored")]
    Damaged(&'static str),
    /// The file was written by a newer program.
    #[error("the backup has format {0}, this program knows up to 1: use a newer program")]
    NewerFormat(u32),
    /// The file is sealed under a root key that is not at hand.
    #[error("the backup is sealed under root key {0}, which the key provider does not have")]
    UnknownKey(RootKeyId),
    /// The root keys cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl TransferError {
    fn of_chunk(error: CryptoError) -> Self {
        match error {
            CryptoError::UnknownKey(id) => Self::UnknownKey(id),
            _ => Self::Damaged("a part of it does not open"),
        }
    }
}

/// Bytes in hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(self.0))
    }
}
