//! Time, handed in.

use std::fmt::Debug;

use chrono::{DateTime, SubsecRound as _, Utc};

/// An instant in UTC with microsecond precision, which every store keeps exactly.
pub type Timestamp = DateTime<Utc>;

/// Where the vault reads the time. Nothing in this crate asks the system on its own.
pub trait Clock: Send + Sync + Debug {
    /// The present instant, truncated to microseconds.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    fn now(&self) -> Timestamp {
        Utc::now().trunc_subsecs(6)
    }
}

/// Microseconds since the Unix epoch: how instants are stored and bound into associated data.
pub fn to_micros(at: Timestamp) -> i64 {
    at.timestamp_micros()
}

/// The inverse of [`to_micros`]; `None` for a number that no [`Timestamp`] can hold.
pub fn from_micros(micros: i64) -> Option<Timestamp> {
    DateTime::from_timestamp_micros(micros)
}
