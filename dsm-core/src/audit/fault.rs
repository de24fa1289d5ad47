use std::fmt;

use crate::store::ServerId;

/// One thing that is wrong with a trail, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whose chain; none where that cannot be read.
    pub server: Option<ServerId>,
    /// At which entry, or after which for what is no entry; 0 before the first.
    pub sequence: u64,
    /// The name of the file, where there are several.
    pub file: Option<String>,
    /// The line of the file or export, from 1; 0 where there are no lines.
    pub line: u64,
    /// What.
    pub wrong: Wrong,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// Not a line of a trail, or not spelled as one is written.
    #[error("the line is not one that was written as it stands")]
    Malformed,
    /// Entries are missing, doubled or in another order.
    #[error("entry {sequence} was to be here: entries were removed, doubled or moved")]
    Sequence {
        /// The number that was expected.
        sequence: u64,
    },
    /// The event or its hash was changed, or does not follow the entry before.
    #[error("the hash does not match: the entry was changed, or one before it")]
    Hash,
    /// A segment does not continue the chain.
    #[error("the segment does not continue the chain that stands before it")]
    Start,
    /// The chain's beginning is not there.
    #[error("the chain begins at entry {0}: what stood before was removed")]
    Beginning(u64),
    /// A checkpoint speaks of another state of the chain.
    #[error("the checkpoint does not match the entry before it")]
    Checkpoint,
    /// A checkpoint is not signed by the vault's keyring.
    #[error("the checkpoint is not signed by this vault")]
    Signature,
    /// The last line is incomplete.
    #[error("the last line is incomplete")]
    Torn,
    /// Entries that are known elsewhere are missing at the end.
    #[error("the chain ends here, but entry {0} is known elsewhere: its end was removed")]
    End(u64),
    /// The entry differs from the one that is known elsewhere.
    #[error("another entry with this number is known elsewhere: the chain was replaced")]
    Replaced,
    /// A batch of the store does not open.
    #[error("the batch in the store does not open: it is damaged, forged or stands elsewhere")]
    Sealed,
    /// What the store says about a batch is not what the batch holds.
    #[error("the store lists the batch under other numbers, times or terms than it holds")]
    Listing,
}

impl Fault {
    pub(super) fn new(server: ServerId, sequence: u64, wrong: Wrong) -> Self {
        Self {
            server: Some(server),
            sequence,
            file: None,
            line: 0,
            wrong,
        }
    }

    pub(super) fn unplaced(wrong: Wrong) -> Self {
        Self {
            server: None,
            sequence: 0,
            file: None,
            line: 0,
            wrong,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}, ")?;
        }
        if self.line > 0 {
            write!(f, "line {}, ", self.line)?;
        }
        match self.server {
            Some(server) => write!(f, "server {server}, entry {}: ", self.sequence)?,
            None => f.write_str("unknown server: ")?,
        }
        self.wrong.fmt(f)
    }
}
