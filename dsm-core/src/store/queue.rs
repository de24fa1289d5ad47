use std::fmt;
use std::time::Duration;

use chrono::{SubsecRound as _, TimeDelta};

use crate::time::Timestamp;

/// What a job is about; a worker claims the topics it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(pub u16);

/// Names a job: at most one job exists for a topic and subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    /// What it is about.
    pub topic: Topic,
    /// Which object, usually a record's id. At most `i64::MAX`.
    pub subject: u64,
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {}/{}", self.topic.0, self.subject)
    }
}

/// Work that is due at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub key: JobKey,
    /// When it may be claimed.
    pub due_at: Timestamp,
    /// What the worker needs beyond the subject; sealed, often empty.
    pub body: Vec<u8>,
}

/// A worker's temporary claim on a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: Job,
    /// Higher than that of every earlier lease on this job key since it was last scheduled or
    /// leased; the fencing token.
    pub generation: u64,
    /// Until when nobody else may claim it.
    pub leased_until: Timestamp,
}

impl Lease {
    /// When a lease that starts at `now` ends, in whole microseconds; at most the last instant there
    /// is.
    pub fn end(now: Timestamp, lease_for: Duration) -> Timestamp {
        TimeDelta::from_std(lease_for)
            .ok()
            .and_then(|span| now.checked_add_signed(span))
            .unwrap_or(Timestamp::MAX_UTC)
            .trunc_subsecs(6)
    }
}

/// How a lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The job is done and removed.
    Done,
    /// The job is due again at this instant.
    RetryAt(Timestamp),
    /// The lease does not end: the set only takes effect while it is the job's latest.
    Held,
}
