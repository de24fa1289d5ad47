use std::collections::BTreeSet;
use std::fmt;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

type Plan = Box<dyn FnMut(&'static str) -> bool + Send>;

/// Stops a worker where a test wants it to. The test waits for [`stopped`](Self::stopped) and either
/// drops the worker's future, as a kill would, or lets it be for a while and then [go
/// on](Self::go_on), as SIGSTOP and SIGCONT would.
#[derive(Default)]
pub struct FailPoints {
    plan: Mutex<Option<Plan>>,
    seen: Mutex<BTreeSet<&'static str>>,
    stopped: Notify,
    going_on: Notify,
}

impl FailPoints {
    /// From now on a worker stops at a point when `plan` says so.
    pub fn stop_when(&self, plan: impl FnMut(&'static str) -> bool + Send + 'static) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(plan));
    }

    /// Nobody stops any more.
    pub fn heal(&self) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns when a worker has come to where it stops.
    pub async fn stopped(&self) {
        self.stopped.notified().await;
    }

    /// Nobody stops any more, and the one that did goes on when it is polled again.
    pub fn go_on(&self) {
        self.heal();
        self.going_on.notify_waiters();
    }

    /// The points that workers came to so far.
    pub fn seen(&self) -> BTreeSet<&'static str> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A worker is here.
    pub(crate) async fn reach(&self, point: &'static str) {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(point);
        let stops = {
            let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
            plan.as_mut().is_some_and(|plan| plan(point))
        };
        if stops {
            // Registered before anybody can tell it to go on.
            let mut going_on = pin!(self.going_on.notified());
            going_on.as_mut().enable();
            self.stopped.notify_one();
            going_on.await;
        }
    }
}

impl fmt::Debug for FailPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailPoints").finish_non_exhaustive()
    }
}
