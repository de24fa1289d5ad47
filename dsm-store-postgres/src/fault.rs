use std::io;

use dsm_core::store::{JobKey, Kind, OperationId, RecordKey, StoreError, Topic};
use sqlx::postgres::PgDatabaseError;

/// Why a statement, or what is made of its rows, failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is clear already what the caller is told.
    Store(StoreError),
    /// Postgres or its driver failed.
    Sql(sqlx::Error),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// What is to be done about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Surely nothing was done and the connection is sound: the same again may succeed.
    Again,
    /// Surely nothing was done; another host may be the one that writes.
    Elsewhere,
    /// The connection is lost, and with it the answer.
    Lost,
    /// The caller is told; the connection is sound.
    Tell,
}

// https://www.postgresql.org/docs/current/errcodes-appendix.html
const READ_ONLY: &str = "25006";
const SERIALIZATION: &str = "40001";
const DEADLOCK: &str = "40P01";

const INSECURE: &str = "no secure connection to the database could be made";

impl Fault {
    pub(crate) fn remedy(&self) -> Remedy {
        let error = match self {
            Self::Store(_) => return Remedy::Tell,
            Self::Sql(error) => error,
        };
        match error {
            sqlx::Error::Database(error) => match error.code().as_deref() {
                Some(SERIALIZATION | DEADLOCK) => Remedy::Again,
                Some(READ_ONLY) => Remedy::Elsewhere,
                // A session that ends says so by one of these, some of them by a mere ERROR.
                Some(code) if code.starts_with("08") || code.starts_with("57P") => Remedy::Lost,
                Some("25P02" | "25P03") => Remedy::Lost,
                _ => Remedy::Tell,
            },
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Encode(_)
            | sqlx::Error::RowNotFound => Remedy::Tell,
            // An I/O error, a message out of place, anything that leaves the protocol in doubt.
            _ => Remedy::Lost,
        }
    }

    /// What the caller is told.
    pub(crate) fn told(self) -> StoreError {
        let error = match self {
            Self::Store(error) => return error,
            Self::Sql(error) => error,
        };
        let reason = match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                match (code.get(..2).unwrap_or_default(), &*code) {
                    (_, READ_ONLY) => "no host of the database takes writes now",
                    (_, SERIALIZATION | DEADLOCK) => "other writers were in the way: try again",
                    (_, "55P03" | "57014") => {
                        "the database took too long: look at its load and at locks that are held"
                    }
                    ("53", "53100") => "the database has no room: make room on its disk",
                    ("53", _) => "the database has run out of connections or memory",
                    ("57" | "25", _) => "the database ended the session: try again",
                    ("28", _) => "the database refused the user or the password",
                    ("3D", _) => "the database of this name does not exist",
                    ("08", _) => "the connection to the database failed: try again",
                    ("58", _) => "the database cannot read or write its files: check its disk",
                    ("XX", "XX001" | "XX002") => return StoreError::Corrupt(error.to_string()),
                    _ => return StoreError::backend(error),
                }
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                return StoreError::Corrupt(error.to_string());
            }
            sqlx::Error::Tls(_) => INSECURE,
            // How a certificate that was refused arrives here.
            sqlx::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => INSECURE,
            sqlx::Error::Configuration(_) => "the options of the database do not fit",
            _ => "the connection to the database failed: check that it runs and can be reached",
        };
        StoreError::unavailable(reason, error)
    }
}

/// What a function of the schema refused, by the codes and details it raises.
pub(crate) fn refusal(error: sqlx::Error, operation: Option<OperationId>) -> Fault {
    let told = match &error {
        sqlx::Error::Database(database) => {
            let database = database.try_downcast_ref::<PgDatabaseError>();
            database.and_then(|database| refused(database, operation))
        }
        _ => None,
    };
    told.map_or(Fault::Sql(error), Fault::Store)
}

fn refused(error: &PgDatabaseError, operation: Option<OperationId>) -> Option<StoreError> {
    if error.code() == "DS004" {
        return operation.map(StoreError::GivenUp);
    }
    let (first, second) = error.detail()?.split_once(' ')?;
    let (first, second): (u16, u64) = (first.parse().ok()?, second.parse().ok()?);
    let key = RecordKey::new(Kind(first), second);
    match error.code() {
        "DS001" => Some(StoreError::AlreadyExists(key)),
        "DS002" => Some(StoreError::RevisionMismatch(key)),
        "DS003" => Some(StoreError::LeaseLost(JobKey {
            topic: Topic(first),
            subject: second,
        })),
        _ => None,
    }
}

pub(crate) fn closed() -> StoreError {
    unavailable("it is closed")
}

pub(crate) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable {
        reason: reason.into(),
        source: None,
    }
}
