use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

type Plan = Box<dyn FnMut(&'static str) -> bool + Send>;

/// Stops a worker where a test wants it to die: it comes to the point and never leaves it. The test
/// waits for [`stopped`](Self::stopped) and drops the worker's future, as a kill would.
#[derive(Default)]
pub struct FailPoints {
    plan: Mutex<Option<Plan>>,
    seen: Mutex<BTreeSet<&'static str>>,
    stopped: Notify,
}

impl FailPoints {
    /// From now on a worker dies at a point when `plan` says so.
    pub fn stop_when(&self, plan: impl FnMut(&'static str) -> bool + Send + 'static) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(plan));
    }

    /// Nobody dies any more.
    pub fn heal(&self) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns when a worker has come to where it dies.
    pub async fn stopped(&self) {
        self.stopped.notified().await;
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
            self.stopped.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Debug for FailPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailPoints").finish_non_exhaustive()
    }
}
