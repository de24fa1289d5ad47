//! The places for connections: how many there are, and who leaves when they run short.
//!
//! A connection that is not in use keeps its place only until somebody else needs it. Otherwise
//! whoever opens enough of them and says nothing would keep everybody out.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::http::timed::Progress;

/// How long a connection that was asked to leave has, before another one is asked.
const AGAIN: Duration = Duration::from_millis(20);

/// The places for connections.
#[derive(Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    all: u32,
    /// Those who may be asked to leave, and others who have left meanwhile.
    open: Arc<Mutex<Vec<Weak<Progress>>>>,
    wanted: Arc<AtomicBool>,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} places taken", self.taken(), self.all)
    }
}

impl Places {
    /// Places for `all` connections.
    pub(crate) fn new(all: u32) -> Self {
        Self {
            free: Arc::new(Semaphore::new(all as usize)),
            all,
            open: Arc::default(),
            wanted: Arc::default(),
        }
    }

    /// Connections that are open now, and those whose last request still runs.
    pub fn taken(&self) -> u32 {
        let free = u32::try_from(self.free.available_permits()).unwrap_or(u32::MAX);
        self.all.saturating_sub(free)
    }

    /// Whether somebody waits for a place.
    pub(crate) fn are_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Waits for a free place. Meanwhile the connection that has been unused for the longest is asked
    /// to leave.
    pub(crate) async fn vacancy(&self) {
        while self.free.available_permits() == 0 {
            self.wanted.store(true, Ordering::Relaxed);
            self.ask_one_to_leave();
            // Who was asked may have begun a request in the same moment.
            let _ = timeout(AGAIN, self.free.acquire()).await;
        }
        self.wanted.store(false, Ordering::Relaxed);
    }

    /// A place for the connection that `progress` is about, if there is one.
    pub(crate) fn take(&self, progress: &Arc<Progress>) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.free).try_acquire_owned().ok()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() > 2 * self.all as usize {
            open.retain(|connection| connection.strong_count() > 0);
        }
        open.push(Arc::downgrade(progress));
        Some(place)
    }

    /// Waits until all places are free.
    pub(crate) async fn vacated(&self) {
        // The semaphore is never closed.
        let _ = self.free.acquire_many(self.all).await;
    }

    fn ask_one_to_leave(&self) {
        let now = Instant::now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|connection| connection.strong_count() > 0);
        let unused = open.iter().filter_map(|connection| {
            let progress = connection.upgrade()?;
            Some((progress.unused(now)?, progress))
        });
        if let Some((_, longest)) = unused.max_by_key(|(time, _)| *time) {
            longest.ask_to_leave();
        }
    }
}
