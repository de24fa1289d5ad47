//! Why a command failed: a sentence for a person and a code for a script.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

use dsm_core::audit::AuditError;
use dsm_core::crypto::KeyError;
use dsm_core::store::StoreError;
use dsm_core::transfer::TransferError;
use dsm_core::vault::{self, OpenError};

use super::terminal;
use crate::config::ConfigErrors;

/// Exit codes, those of `sysexits.h` where it has one.
pub mod exit {
    /// Something was looked at and is wrong.
    pub const WRONG: u8 = 1;
    /// An argument names what is not there or cannot be.
    pub const DATA: u8 = 65;
    /// The store cannot be used now.
    pub const UNAVAILABLE: u8 = 69;
    /// A fault of this program.
    pub const SOFTWARE: u8 = 70;
    /// The system refused: an address that is taken, a limit.
    pub const SYSTEM: u8 = 71;
    /// The audit log or another file cannot be read or written.
    pub const IO: u8 = 74;
    /// Another process holds what is needed; later it may work.
    pub const BUSY: u8 = 75;
    /// Configuration or root key.
    pub const CONFIG: u8 = 78;
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    sentence: String,
}

impl Failure {
    pub(super) fn new(code: u8, sentence: impl Into<String>) -> Self {
        Self {
            code,
            sentence: sentence.into(),
        }
    }

    /// Configuration or root key.
    pub(super) fn config(sentence: impl Into<String>) -> Self {
        Self::new(exit::CONFIG, sentence)
    }

    /// As [`config`](Self::config), for an error that says so.
    pub(super) fn config_error(error: &dyn Error) -> Self {
        Self::config(sentence(error))
    }

    /// The system refused.
    pub(super) fn os(what: &str, error: &io::Error) -> Self {
        Self::new(exit::SYSTEM, format!("{what}: {error}"))
    }

    /// A fault of this program.
    pub(super) fn fault(error: &dyn Error) -> Self {
        Self::new(exit::SOFTWARE, sentence(error))
    }

    /// A file cannot be read or written.
    pub(super) fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        Self::new(exit::IO, format!("{what}: {error}"))
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Says it on standard error.
    pub(super) fn report(&self) -> ExitCode {
        terminal::note(format_args!("dsm-server: {}", self.sentence));
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Error for Failure {}

/// The error and what caused it, each said once.
fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::config(format!("the configuration is wrong\n{errors}"))
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::config(sentence(&error))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(of_store(&error), sentence(&error))
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        Self::new(of_audit(&error), sentence(&error))
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::Store(error) => of_store(error),
            OpenError::Audit(error) => of_audit(error),
            _ => exit::CONFIG,
        };
        let mut text = sentence(&error);
        if matches!(error, OpenError::NotInitialised) {
            text.push_str(": run `dsm-server init`, or `dsm-server quickstart` to try it");
        }
        Self::new(code, text)
    }
}

impl From<vault::Error> for Failure {
    fn from(error: vault::Error) -> Self {
        let code = match &error {
            vault::Error::Unavailable { .. } | vault::Error::Stale => exit::UNAVAILABLE,
            vault::Error::Internal { .. } => exit::SOFTWARE,
            _ => exit::DATA,
        };
        Self::new(code, sentence(&error))
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        let code = match &error {
            TransferError::Store(error) => of_store(error),
            TransferError::Io(_) => exit::IO,
            TransferError::UnknownKey(_) | TransferError::Key(_) => exit::CONFIG,
            _ => exit::DATA,
        };
        Self::new(code, sentence(&error))
    }
}

fn of_store(error: &StoreError) -> u8 {
    match error {
        StoreError::Locked(_) => exit::BUSY,
        StoreError::Corrupt(_) => exit::DATA,
        StoreError::NewerSchema { .. } | StoreError::OlderSchema { .. } => exit::CONFIG,
        _ => exit::UNAVAILABLE,
    }
}

fn of_audit(error: &AuditError) -> u8 {
    match error {
        AuditError::Locked(_) => exit::BUSY,
        AuditError::Damaged { .. } | AuditError::Diverged { .. } | AuditError::Sealed(_) => {
            exit::DATA
        }
        AuditError::Store(error) => of_store(error),
        _ => exit::IO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_says_every_cause_once() {
        let source = io::Error::other("no such device");
        let error = OpenError::Store(StoreError::unavailable("check the disk", source));
        let failure = Failure::from(error);
        assert_eq!(
            failure.to_string(),
            "the store is unavailable: check the disk: no such device"
        );
        assert_eq!(failure.code(), exit::UNAVAILABLE);
    }

    #[test]
    fn an_empty_store_is_answered_with_what_to_run() {
        let failure = Failure::from(OpenError::NotInitialised);
        assert!(failure.to_string().contains("dsm-server init"));
        assert_eq!(failure.code(), exit::CONFIG);
    }
}
