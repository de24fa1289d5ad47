use std::fmt;

use crate::access::Denial;
use crate::audit::{AuditError, ObjectKind};
use crate::crypto::{CryptoError, KeyError};
use crate::store::{RecordKey, StoreError};

/// Why a use case did not do as asked. Nothing was changed and nothing was revealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Refused by a rule; recorded.
    #[error("refused by the rule {}", .0.rule())]
    Denied(Denial),
    /// There is no such object.
    #[error("there is no such {}", kind_name(*.0))]
    NotFound(ObjectKind),
    /// The object's state or another object stands in the way.
    #[error("{0}")]
    Conflict(String),
    /// The object is at another revision than the caller expects.
    #[error("the object has changed since it was read")]
    Stale,
    /// The values were destroyed when the secret expired.
    #[error("the secret has expired and its values are destroyed")]
    Gone,
    /// The input is wrong; every wrong field is named.
    #[error("{}", Fields(.0))]
    Invalid(Vec<FieldError>),
    /// The store or the audit trail cannot be used now.
    #[error("the vault is unavailable: {reason}")]
    Unavailable {
        /// What to look at.
        reason: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// What is stored cannot be trusted, or a fault of this library.
    #[error("{reason}")]
    Internal {
        /// What to look at.
        reason: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Its name as the caller wrote or should have written it.
    pub field: String,
    /// What is wrong, without the value.
    pub message: String,
}

impl FieldError {
    /// A field and what is wrong with it.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

impl Error {
    /// One wrong field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    /// A record that does not open or decode.
    pub(crate) fn damaged(key: RecordKey, source: CryptoError) -> Self {
        Self::Internal {
            reason: format!("{key} does not open"),
            source: Some(source.into()),
        }
    }
}

struct Fields<'a>(&'a [FieldError]);

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", error.field, error.message)?;
        }
        Ok(())
    }
}

fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Vault => "vault",
        ObjectKind::Secret => "secret",
        ObjectKind::Application => "application",
        ObjectKind::Authorization => "authorization",
        ObjectKind::Client => "client",
        ObjectKind::SealingKey => "key: none was made or registered for this authorization",
        ObjectKind::Operator => "operator",
        ObjectKind::Environment => "environment",
        ObjectKind::System => "system",
        ObjectKind::Engine => "engine",
        ObjectKind::ApplicationType => "application type",
        ObjectKind::LineOfBusiness => "line of business",
        ObjectKind::Variable => "variable",
        ObjectKind::Deploy => "deploy",
        ObjectKind::Audit => "audit record",
        ObjectKind::Target => "target",
        ObjectKind::Attempt => "attempt",
        ObjectKind::Profile => "profile",
        ObjectKind::Lease => "lease",
        ObjectKind::Route => "route",
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::RevisionMismatch(_) | StoreError::LeaseLost(_) => Self::Stale,
            StoreError::AlreadyExists(_) => Self::Conflict("the name is taken".to_owned()),
            StoreError::Unavailable { reason, source }
            | StoreError::OutcomeUnknown { reason, source } => Self::Unavailable { reason, source },
            other => Self::Internal {
                reason: other.to_string(),
                source: Some(other.into()),
            },
        }
    }
}

impl From<AuditError> for Error {
    fn from(error: AuditError) -> Self {
        let reason = format!("the audit trail cannot be written, so nothing is done: {error}");
        Self::Unavailable {
            reason,
            source: Some(error.into()),
        }
    }
}

/// Why a vault could not be opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store holds no vault yet.
    #[error("the store holds no vault yet; initialise it first")]
    NotInitialised,
    /// The store holds a vault, or records of one, already.
    #[error("the store is not empty; nothing is initialised over existing data")]
    NotEmpty,
    /// A migration or restore into the store was begun and not finished.
    #[error("a migration or restore into this store has not finished; run it again to its end")]
    Unfinished,
    /// The root keys cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The root keys at hand do not open this vault.
    #[error("the root key does not open this vault: {0}; find the key file that was made with it")]
    WrongKey(CryptoError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit trail cannot be written or is damaged.
    #[error("the audit trail cannot be used: {0}")]
    Audit(#[from] AuditError),
}
