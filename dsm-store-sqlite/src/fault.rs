use std::path::Path;

use dsm_core::store::StoreError;

/// Why a statement, or what is made of its rows, failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is clear already what the caller is told.
    Store(StoreError),
    /// SQLite or its driver failed.
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

// The primary result codes of https://www.sqlite.org/rescode.html
const PERM: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const AUTH: i32 = 23;
const NOTADB: i32 = 26;

impl Fault {
    /// What the caller is told, with the file's name.
    pub(crate) fn at(self, path: &Path) -> StoreError {
        let error = match self {
            Self::Store(error) => return error,
            Self::Sql(error) => error,
        };
        let path = path.display();
        let reason = match primary_code(&error) {
            Some(CORRUPT | NOTADB) => {
                return StoreError::Corrupt(format!("{path} is no sound SQLite database: {error}"));
            }
            Some(FULL) => format!("no room on the disk of {path}: make room and it goes on"),
            Some(IOERR) => format!("{path} cannot be read or written: check its disk and room"),
            Some(CANTOPEN | PERM | AUTH) => {
                format!("{path} cannot be opened: check the owner and mode of it and its folder")
            }
            Some(READONLY) => format!("{path} is read-only: check its mode and file system"),
            Some(BUSY | LOCKED) => {
                format!("another process keeps {path} locked: end it or try again")
            }
            Some(NOMEM) => "out of memory".into(),
            Some(_) => return StoreError::backend(error),
            None => match error {
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                    return StoreError::Corrupt(format!("{path}: {error}"));
                }
                _ => format!("the connection to {path} failed: try again"),
            },
        };
        StoreError::unavailable(reason, error)
    }

    /// The refusal, after which the transaction can go on, or else the fault again.
    pub(crate) fn refusal(self) -> Result<StoreError, Self> {
        match self {
            Self::Store(
                error @ (StoreError::AlreadyExists(_)
                | StoreError::RevisionMismatch(_)
                | StoreError::LeaseLost(_)
                | StoreError::GivenUp(_)
                | StoreError::Backend { .. }),
            ) => Ok(error),
            fault => Err(fault),
        }
    }
}

/// Whether a unique index or primary key refused a row.
pub(crate) fn is_taken(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_unique_violation())
}

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let sqlx::Error::Database(error) = error else {
        return None;
    };
    let extended: i32 = error.code()?.parse().ok()?;
    Some(extended & 0xff)
}
