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
pub(crate) use self::round::{Timer, renewal_job};
pub use self::worker::Renewed;
pub(crate) use self::worker::Turns;

/// Where a worker can be stopped by a test: before and after everything that it does outside.
#[cfg(feature = "testing")]
pub const FAIL_POINTS: &[&str] = points::ALL;

/// Declares the fail points, so that a test finds all of them.
macro_rules! points {
    ($($name:ident = $text:literal,)+) => {
        pub(super) mod points {
            $(pub(crate) const $name: &str = $text;)+
            #[cfg(feature = "testing")]
            pub(crate) const ALL: &[&str] = &[$($text),+];
        }
    };
}

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
