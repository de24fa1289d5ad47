//! What errors of the server and of the way to it say about what was done.

use dsm_core::provider::ProviderError;
use mysql_async::Error;

use crate::outcome::{Stage, lost};

/// What the server says of a log-in.
pub(super) const ACCESS_DENIED: u16 = 1045;
/// Denied without a password having been asked for.
pub(super) const ACCESS_DENIED_NO_PASSWORD: u16 = 1698;
/// Both systems number this differently.
pub(super) const ACCOUNT_LOCKED: [u16; 2] = [3118, 4151];
/// The password is of the past.
pub(super) const PASSWORD_EXPIRED: [u16; 2] = [1862, 1820];
/// Nobody has this thread any more.
pub(super) const NO_SUCH_THREAD: u16 = 1094;

/// Lock waits, deadlocks, too many connections, no memory, a server that starts or only reads.
const PASSING: [u16; 10] = [1037, 1038, 1040, 1041, 1203, 1205, 1213, 1226, 1290, 1836];
/// The statement was ended on its way, or done and not written to the binary log.
const UNCERTAIN: [u16; 7] = [1026, 1053, 1078, 1317, 1598, 1969, 3024];

/// A failure of a statement.
pub(super) fn fault(error: &Error, stage: Stage) -> ProviderError {
    let Error::Server(said) = error else {
        return lost(error.to_string(), stage);
    };
    let message = said.to_string();
    if UNCERTAIN.contains(&said.code) {
        lost(message, stage)
    } else if PASSING.contains(&said.code) {
        ProviderError::Unavailable(message)
    } else {
        ProviderError::Refused(message)
    }
}

/// The number of an error of the server.
pub(super) fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Server(said) => Some(said.code),
        _ => None,
    }
}
