//! Rotations: credentials on targets that change by themselves, driven over the store's queue.
//!
//! Each timer of a secret is a job, and each credential that is being changed an [`Attempt`]. A
//! worker that claims a job reads what is committed, asks the machine in
//! [`renewal`](crate::renewal) for the one thing to do, does it, and so on until there is something
//! to commit that ends its lease. Whoever is killed on the way leaves a lease that runs out and a
//! record from which the next one goes on.

mod ask;
mod attempt;
mod calls;
mod candidate;
mod drive;
mod held;
mod promote;
mod round;
mod worker;

pub use self::attempt::{Attempt, Cause, Method, Plan, Promotion, Tried};
pub(crate) use self::candidate::candidate_place;
pub(in crate::vault) use self::drive::Ended;
pub(in crate::vault) use self::held::Held;
pub(crate) use self::round::{Timer, renewal_job};
pub use self::worker::Renewed;
pub(in crate::vault) use self::worker::{COME_BACK, Turns};

/// Where a worker can be stopped by a test: before and after everything that it does outside.
#[cfg(feature = "testing")]
pub const FAIL_POINTS: &[&str] = points::ALL;

points! {
    CLAIMED = "after the claim",
    BEFORE_PLAN = "before the candidate is committed",
    AFTER_PLAN = "after the candidate is committed",
    BEFORE_CHANGE = "before the target is changed",
    AFTER_CHANGE = "after the target is changed",
    AFTER_ISSUE = "after an issued key is committed",
    BEFORE_LOG_IN = "before a log-in",
    AFTER_LOG_IN = "after a log-in",
    BEFORE_LIST = "before keys are listed",
    AFTER_LIST = "after keys are listed",
    BEFORE_PROMOTE = "before the promotion",
    AFTER_PROMOTE = "after the promotion",
    BEFORE_RETIRE = "before the old one is retired",
    AFTER_RETIRE = "after the old one is retired",
    BEFORE_PARK = "before the job is put off",
    AFTER_PARK = "after the job is put off",
}
