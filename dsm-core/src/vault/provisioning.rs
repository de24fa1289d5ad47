//! Provisioning: accounts that are made on targets to be served by secrets, and removed again.
//!
//! A lease is committed, with a job that removes its account, before the target hears of the
//! account. Whoever makes it may die: the job comes when the time to make it is over. The commit by
//! which readers are served the account, after it logged in, moves the job to the account's end.

mod begin;
mod client;
mod due;
mod make;
mod plan;
mod reconcile;
mod revoke;
mod run;
mod serve;
mod who;

pub(crate) use self::client::items_of;
pub use self::client::{Container, Provisioned};
pub(crate) use self::reconcile::reconcile_job;
pub(crate) use self::revoke::revocation_job;
use crate::provider::ProviderError;
use crate::renewal::Failure;
use crate::vault::error::Error;

/// Where a worker or a caller can be stopped by a test: before and after everything that it does
/// outside.
#[cfg(feature = "testing")]
pub const FAIL_POINTS: &[&str] = points::ALL;

points! {
    BEFORE_LEASE = "before a lease is committed",
    AFTER_LEASE = "after a lease is committed",
    BEFORE_CREATE = "before an account is made",
    AFTER_CREATE = "after an account is made",
    BEFORE_CHECK = "before an account is tried",
    AFTER_CHECK = "after an account is tried",
    BEFORE_SERVE = "before an account is served",
    AFTER_SERVE = "after an account is served",
    BEFORE_GIVE_UP = "before a lease is given up",
    AFTER_GIVE_UP = "after a lease is given up",
    BEFORE_REMOVE = "before an account is removed",
    AFTER_REMOVE = "after an account is removed",
    BEFORE_END = "before the end of a lease is committed",
    AFTER_END = "after the end of a lease is committed",
}

/// An account that could not be provisioned. What was served before is served still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisionFailure {
    /// By which profile.
    pub profile: String,
    /// What was being done, such as `create account`.
    pub step: &'static str,
    /// How it failed.
    pub kind: Failure,
    /// What is wrong, for a target in its own words without values.
    pub message: String,
}

impl ProvisionFailure {
    fn new(profile: &str, step: &'static str, error: &ProviderError) -> Self {
        Self {
            profile: profile.to_owned(),
            step,
            kind: error.into(),
            message: error.message().to_owned(),
        }
    }

    fn refused(profile: &str, step: &'static str, message: impl Into<String>) -> Self {
        Self {
            profile: profile.to_owned(),
            step,
            kind: Failure::Refused,
            message: message.into(),
        }
    }

    /// In one sentence.
    pub fn detail(&self) -> String {
        format!("{}: {}: {}", self.profile, self.step, self.message)
    }

    /// As the error of a call that does nothing else.
    pub(crate) fn into_error(self) -> Error {
        let reason = self.detail();
        match self.kind {
            Failure::Refused => Error::Conflict(reason),
            Failure::Unavailable | Failure::OutcomeUnknown => Error::Unavailable {
                reason,
                source: None,
            },
        }
    }
}
