use super::{JobKey, OperationId, RecordKey};

/// Why a store did not do as asked. Messages carry keys, never values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The key or one of the unique terms is taken.
    #[error("{0} already exists, or another record has one of its unique terms")]
    AlreadyExists(RecordKey),
    /// The record changed since it was read, or is gone.
    #[error("{0} is not at the expected revision")]
    RevisionMismatch(RecordKey),
    /// The job was leased to another worker, rescheduled or removed.
    #[error("the lease on {0} was lost")]
    LeaseLost(JobKey),
    /// The set was given up: [`Store::resolve`](super::Store::resolve) told that it did not take
    /// effect, so it never will.
    #[error("operation {0} was given up before it took effect")]
    GivenUp(OperationId),
    /// What is stored cannot be read as this backend wrote it.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// A commit was sent and its answer lost. [`Store::resolve`](super::Store::resolve) tells what
    /// became of it.
    #[error("the store did not say whether the change took effect: {reason}")]
    OutcomeUnknown {
        /// What to look at, in one sentence.
        reason: String,
        /// The backend's own error.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The backend cannot be reached, has no room or is closed. A commit did not take effect and
    /// will not; another write may have, and can be repeated.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// What to look at, in one sentence.
        reason: String,
        /// The backend's own error.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The store was written by a newer version of this program.
    #[error(
        "the store's schema is version {found}, this program knows up to {known}: use a newer program"
    )]
    NewerSchema {
        /// The version found.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The store is empty, or was written by an older version of this program, and was opened by
    /// somebody who leaves its schema as it is.
    #[error("{}", older(*found, *known))]
    OlderSchema {
        /// The version found; 0 where there is none.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// Another process serves from this store and the backend admits one.
    #[error("{0}")]
    Locked(String),
    /// The backend refused; none of the above.
    #[error("the store's backend failed")]
    Backend {
        /// The backend's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn older(found: i64, known: i64) -> String {
    match found {
        0 => "the store is empty".to_owned(),
        _ => format!(
            "the store's schema is version {found}, this program's is {known}: start a server with \
             this program, which brings it up to date"
        ),
    }
}

impl StoreError {
    /// An [`StoreError::Unavailable`] with its cause.
    pub fn unavailable(
        reason: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            source: Some(source.into()),
        }
    }

    /// An [`StoreError::Backend`].
    pub fn backend(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Backend {
            source: source.into(),
        }
    }
}
