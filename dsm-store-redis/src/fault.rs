use std::time::Duration;

use dsm_core::store::StoreError;
use redis::{ErrorKind, RedisError};

/// What a server is or has, by which the store would not keep its word.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unsafe(pub(crate) String);

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) error: StoreError,
    /// Whether the command may take effect all the same, or later.
    pub(crate) sent: bool,
}

impl Fault {
    /// The answer was lost.
    pub(crate) fn lost(error: StoreError) -> Self {
        Self { error, sent: true }
    }

    /// What the caller of a commit is told.
    pub(crate) fn of_commit(self) -> StoreError {
        match self.error {
            StoreError::Unavailable { reason, source } if self.sent => {
                StoreError::OutcomeUnknown { reason, source }
            }
            error => error,
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

/// Whether Redis itself answered, so that the command is over.
pub(crate) fn is_answer(error: &RedisError) -> bool {
    error.code().is_some()
}

/// Whether this is no longer the server to talk to.
pub(crate) fn is_elsewhere(error: &RedisError) -> bool {
    matches!(error.code(), Some("READONLY" | "MASTERDOWN"))
}

/// What the caller is told about an error of `name`.
pub(crate) fn told(name: &str, error: RedisError) -> StoreError {
    let reason = match error.code() {
        Some("OOM") => {
            format!("{name} has no room: raise maxmemory or free memory and it goes on")
        }
        Some("READONLY") => format!("{name} is a replica: name its master or use Sentinel"),
        Some("MASTERDOWN" | "LOADING") => format!("{name} is not ready yet: try again"),
        Some(VANISHED) => return vanished(name),
        Some("MISCONF") => format!("{name} cannot write to its disk: check its disk and log"),
        Some("BUSY") => format!("{name} is busy with a script of someone else"),
        Some("NOREPLICAS") => format!("{name} misses the replicas of min-replicas-to-write"),
        Some("NOAUTH" | "WRONGPASS") => format!("{name} refuses the user name or password"),
        Some("NOPERM") => format!("{name} does not allow the user a command that is needed"),
        Some("WRONGTYPE") => {
            return StoreError::Corrupt(format!("a key of the store in {name} is of another type"));
        }
        Some(_) => return StoreError::backend(error),
        None => match error.kind() {
            ErrorKind::AuthenticationFailed => {
                format!("{name} refuses the user name or password")
            }
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
                format!("{name} does not answer as Redis does")
            }
            ErrorKind::RESP3NotSupported => format!("{name} is older than version 7"),
            ErrorKind::InvalidClientConfig => return StoreError::backend(error),
            _ if error.is_timeout() => format!("{name} did not answer in time"),
            _ if error.is_connection_refusal() => {
                format!("{name} refuses connections: check that it is running")
            }
            _ => format!("the connection to {name} failed: try again"),
        },
    };
    StoreError::unavailable(reason, error)
}

/// What present.lua refuses with.
const VANISHED: &str = "VANISHED";

/// Whether what the store was opened with is gone.
pub(crate) fn is_vanished(error: &RedisError) -> bool {
    error.code() == Some(VANISHED)
}

/// What is said of a server that lost what the store was opened with.
pub(crate) fn vanished(name: &str) -> StoreError {
    StoreError::Unavailable {
        reason: format!("the store has vanished from {name}: bring its data back, or start anew"),
        source: None,
    }
}

/// What is said of a replica.
pub(crate) fn replica(name: &str) -> StoreError {
    StoreError::Unavailable {
        reason: format!("{name} is a replica: name its master or use Sentinel"),
        source: None,
    }
}

pub(crate) fn slow(name: &str, after: Duration) -> StoreError {
    StoreError::Unavailable {
        reason: format!("{name} did not answer within {} s", after.as_secs()),
        source: None,
    }
}

pub(crate) fn unexpected() -> StoreError {
    StoreError::Corrupt("Redis gave an answer of another form than was asked for".into())
}

pub(crate) fn closed() -> StoreError {
    StoreError::Unavailable {
        reason: "it is closed".into(),
        source: None,
    }
}
