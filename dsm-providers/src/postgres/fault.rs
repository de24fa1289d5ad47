//! What errors of the server and of the way to it say about what was done.

use dsm_core::provider::ProviderError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::outcome::{Stage, lost};

/// A failure of a statement.
pub(super) fn fault(error: &Error, stage: Stage) -> ProviderError {
    let Some(said) = error.as_db_error() else {
        return lost(described(error), stage);
    };
    let message = told(said);
    // The server ends the session, which it also does while it waits for standbys after a commit.
    let fatal = matches!(
        said.parsed_severity(),
        Some(Severity::Fatal | Severity::Panic)
    );
    if fatal {
        return lost(message, stage);
    }
    if passes(said.code()) {
        ProviderError::Unavailable(message)
    } else {
        ProviderError::Refused(message)
    }
}

/// What the server said, with its code.
pub(super) fn told(said: &DbError) -> String {
    let detail = said.detail().map(|detail| format!(": {detail}"));
    let detail = detail.unwrap_or_default();
    format!("{}{detail} ({})", said.message(), said.code().code())
}

/// An error of the connection with its causes.
pub(super) fn described(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Whether the same statement may succeed later without anybody's help.
fn passes(code: &SqlState) -> bool {
    // A change that came too late divides by zero, see `Session::change_in_time`.
    let codes = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::INTERNAL_ERROR,
        SqlState::DIVISION_BY_ZERO,
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_OBJECT,
    ];
    // Rolled back, no resources, the server's operator, the system below it.
    let classes = ["40", "53", "57", "58"];
    codes.contains(code) || classes.iter().any(|class| code.code().starts_with(class))
}
