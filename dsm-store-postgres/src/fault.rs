use std::io;

use dsm_core::store::{JobKey, Kind, OperationId, RecordKey, StoreError, Topic};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

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
            sqlx::Error::Database(error) if ends_session(&**error) => Remedy::Lost,
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

/// Whether the server ends the session, whatever it was about to answer.
fn ends_session(error: &dyn DatabaseError) -> bool {
    let error = error.try_downcast_ref::<PgDatabaseError>();
    let severity = error.map(PgDatabaseError::severity);
    matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use sqlx::ConnectOptions as _;
    use sqlx::postgres::{PgConnectOptions, PgSslMode};

    use super::*;

    /// What is done when a server answers by an error.
    async fn remedy(severity: &str, code: &str) -> Remedy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = format!("S{severity}\0V{severity}\0C{code}\0Mit failed\0\0");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut message = [0; 4096];
            assert!(stream.read(&mut message).unwrap() > 0);
            // No password is asked for, and it is ready.
            let ready = b"Z\0\0\0\x05I";
            stream.write_all(b"R\0\0\0\x08\0\0\0\0").unwrap();
            stream.write_all(ready).unwrap();
            assert!(stream.read(&mut message).unwrap() > 0);
            let length = u32::try_from(error.len() + 4).unwrap().to_be_bytes();
            let answer = [b"E", &length[..], error.as_bytes(), ready].concat();
            stream.write_all(&answer).unwrap();
        });
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port)
            .username("dsm")
            .ssl_mode(PgSslMode::Disable);
        let mut connection = options.connect().await.unwrap();
        let answer = sqlx::raw_sql("SELECT 1").execute(&mut connection).await;
        server.join().unwrap();
        Fault::from(answer.unwrap_err()).remedy()
    }

    #[tokio::test]
    async fn a_session_that_ends_is_lost_whatever_its_code_says() {
        assert_eq!(remedy("ERROR", SERIALIZATION).await, Remedy::Again);
        assert_eq!(remedy("ERROR", READ_ONLY).await, Remedy::Elsewhere);
        assert_eq!(remedy("ERROR", "XX000").await, Remedy::Tell);
        for severity in ["FATAL", "PANIC"] {
            for code in [SERIALIZATION, READ_ONLY, "XX000", "53200"] {
                assert_eq!(remedy(severity, code).await, Remedy::Lost, "{code}");
            }
        }
    }
}
