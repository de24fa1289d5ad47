use std::sync::{Mutex, PoisonError};

use chrono::{SubsecRound as _, TimeDelta};

use crate::time::{Clock, Timestamp};

/// A clock that stands still until it is told.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// Starts at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new(now.trunc_subsecs(6)))
    }

    /// Moves forward, or backward by a negative span.
    pub fn advance(&self, by: TimeDelta) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// Jumps to `now`.
    pub fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now.trunc_subsecs(6);
    }
}

impl Default for ManualClock {
    /// Starts on 2026-01-01.
    fn default() -> Self {
        Self::new("2026-01-01T00:00:00Z".parse().expect("a literal instant"))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
