use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Fault;
use crate::crypto::CryptoError;
use crate::store::{ServerId, StoreError};

/// Why nothing was recorded, or a record cannot be read. Every caller of a batch gets a copy; each
/// message says what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The disk is full.
    #[error(
        "the disk that holds the audit trail in {path} is full; free some room there: until then nothing is revealed or changed"
    )]
    NoRoom {
        /// The folder or file.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The file system failed.
    #[error(
        "the audit trail in {path} cannot be used; check the disk, its mount and the permissions: until then nothing is revealed or changed"
    )]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// Another process writes to the folder.
    #[error(
        "another process writes the audit trail in {0}; stop it, or give this one a folder of its own"
    )]
    Locked(PathBuf),
    /// What is stored is not what was written.
    #[error(
        "the audit trail in {path} is damaged: {fault}; run `audit verify`, keep a copy of the folder, move it away and start again"
    )]
    Damaged {
        /// The segment, or the store.
        path: PathBuf,
        /// The first thing that is wrong.
        fault: Box<Fault>,
    },
    /// The two sinks do not hold the same chain, or a batch does not continue the one it is for.
    #[error(
        "the audit trail of server {server} does not continue at entry {sequence}: one copy was cut or replaced; run `audit verify`, keep a copy of the folder, move it away and start again"
    )]
    Diverged {
        /// Whose chain.
        server: ServerId,
        /// The first entry that does not fit.
        sequence: u64,
    },
    /// The store failed.
    #[error(
        "the audit trail cannot be kept in the store; look after the store: until then nothing is revealed or changed"
    )]
    Store(#[source] Arc<StoreError>),
    /// A sealed batch does not open.
    #[error("a batch of the audit trail does not open; run `audit verify` to learn which")]
    Sealed(#[from] CryptoError),
    /// The trail was closed or its writer is gone.
    #[error("the audit trail is closed; the server is stopping or must be started again")]
    Closed,
}

impl AuditError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        let full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        let source = Arc::new(source);
        if full {
            Self::NoRoom { path, source }
        } else {
            Self::Io { path, source }
        }
    }
}

impl From<StoreError> for AuditError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}
