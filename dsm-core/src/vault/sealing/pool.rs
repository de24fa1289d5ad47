//! Where the arithmetic of RSA is done: a few threads of their own, and a line for each client.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::id::AuthorizationId;
use crate::vault::error::Error;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that are started when they are first needed, and the line before them.
pub(super) struct Pool {
    name: &'static str,
    threads: usize,
    places: Arc<Semaphore>,
    jobs: OnceLock<Sender<Job>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// So many threads, and so many jobs under way or waiting.
    pub(super) fn new(name: &'static str, threads: usize, places: usize) -> Self {
        Self {
            name,
            threads,
            places: Arc::new(Semaphore::new(places)),
            jobs: OnceLock::new(),
        }
    }

    /// Does the work on one of the threads, in the order of the calls. Work that nobody waits for any
    /// more is left out.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when too much waits already.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let place = enter(&self.places)?;
        let (tell, told) = oneshot::channel();
        let job = Box::new(move || {
            let _place = place;
            if !tell.is_closed() {
                drop(tell.send(work()));
            }
        });
        let ended = || Error::Internal {
            reason: "the arithmetic of a key was interrupted".to_owned(),
            source: None,
        };
        let sent = self.jobs.get_or_init(|| self.start()).send(job);
        sent.map_err(|_| ended())?;
        told.await.map_err(|_| ended())
    }

    fn start(&self) -> Sender<Job> {
        let (sender, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..self.threads {
            let receiver = Arc::clone(&receiver);
            let started = std::thread::Builder::new()
                .name(self.name.to_owned())
                .spawn(move || {
                    step_back();
                    work_off(&receiver);
                });
            if let Err(error) = started {
                tracing::error!(%error, "a thread for the arithmetic of keys did not start");
            }
        }
        sender
    }
}

/// How much less a thread of the arithmetic weighs than those that serve. Those have a processor at once
/// when they wake, and where none is idle it still has a little of one.
#[cfg(target_os = "linux")]
const NICE: i32 = 19;

/// Puts the calling thread behind those that serve: a millisecond of arithmetic is not to stand before
/// a read that takes a tenth of that.
fn step_back() {
    // Elsewhere than on Linux this is a property of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "the arithmetic of keys runs at the priority of what serves");
    }
}

/// Until the pool is gone.
fn work_off(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // Whoever waits for it hears that it ended; the thread is there for the others.
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("the arithmetic of a key failed");
        }
    }
}

/// How many jobs of one client may stand before the threads: one is done, one is at hand.
const TURNS: usize = 2;
/// How many requests of one client may wait for that.
const WAITING: usize = 256;

/// A line for each client, so that one that has much sealed waits for itself and not others for it.
#[derive(Debug, Default)]
pub(super) struct Lines(Arc<Mutex<HashMap<AuthorizationId, Arc<Line>>>>);

#[derive(Debug)]
struct Line {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// The right to have jobs done, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _turn: OwnedSemaphorePermit,
    _member: Member,
}

/// In line; a line without members is gone.
#[derive(Debug)]
struct Member {
    lines: Arc<Mutex<HashMap<AuthorizationId, Arc<Line>>>>,
    of: AuthorizationId,
    place: Option<OwnedSemaphorePermit>,
}

impl Lines {
    /// Waits for one's turn.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when too many of this client wait already.
    pub(super) async fn turn(&self, of: AuthorizationId) -> Result<Turn, Error> {
        let (member, turns) = {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let line = lines.entry(of).or_insert_with(|| {
                Arc::new(Line {
                    places: Arc::new(Semaphore::new(WAITING)),
                    turns: Arc::new(Semaphore::new(TURNS)),
                })
            });
            let member = Member {
                lines: Arc::clone(&self.0),
                of,
                place: Some(enter(&line.places)?),
            };
            (member, Arc::clone(&line.turns))
        };
        let turn = turns.acquire_owned().await;
        Ok(Turn {
            _turn: turn.expect("a line is never closed"),
            _member: member,
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        self.place = None;
        let left = lines.get(&self.of);
        if left.is_some_and(|line| line.places.available_permits() == WAITING) {
            lines.remove(&self.of);
        }
    }
}

fn enter(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    Arc::clone(places)
        .try_acquire_owned()
        .map_err(|_| Error::Unavailable {
            reason: "too many wait for the arithmetic of keys; try again".to_owned(),
            source: None,
        })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const ONE: AuthorizationId = AuthorizationId(1);
    const TWO: AuthorizationId = AuthorizationId(2);

    #[tokio::test]
    async fn work_is_done_elsewhere_and_a_panic_ends_only_itself() {
        let pool = Pool::new("test", 1, 2);
        let here = std::thread::current().id();
        let there = pool.run(|| std::thread::current().id()).await;
        assert_ne!(there.expect("done"), here);
        let failed = pool.run(|| panic!("on purpose")).await;
        assert!(matches!(failed, Err::<(), _>(Error::Internal { .. })));
        assert_eq!(pool.run(|| 1).await.expect("done"), 1);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn its_threads_step_back_alone() {
        let own = || rustix::process::getpriority_process(None).expect("one's own is readable");
        let before = own();
        let there = Pool::new("test", 1, 1).run(own).await.expect("done");
        assert_eq!(there, (before + NICE).min(19));
        assert_eq!(own(), before);
    }

    #[tokio::test]
    async fn what_would_wait_too_long_is_refused() {
        let pool = Arc::new(Pool::new("test", 1, 2));
        let (go, wait) = mpsc::channel::<()>();
        let begin = |wait: Option<Receiver<()>>| {
            let pool = Arc::clone(&pool);
            async move {
                pool.run(move || wait.map(|wait| wait.recv()))
                    .await
                    .map(drop)
            }
        };
        let first = tokio::spawn(begin(Some(wait)));
        let second = tokio::spawn(begin(None));
        while pool.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = pool.run(|| ()).await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })));
        go.send(()).expect("is waited for");
        first.await.expect("ran").expect("done");
        second.await.expect("ran").expect("done");
        pool.run(|| ()).await.expect("there is room again");
    }

    #[tokio::test]
    async fn a_client_waits_for_itself_and_not_for_others() {
        let lines = Lines::default();
        let first = lines.turn(ONE).await.expect("at once");
        let _second = lines.turn(ONE).await.expect("at once");
        let third = lines.turn(ONE);
        tokio::pin!(third);
        assert!(third.as_mut().now_or_never().is_none());
        lines.turn(TWO).await.expect("at once");
        drop(first);
        assert!(third.as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_line_is_bounded_and_gone_with_its_last_member() {
        let lines = Lines::default();
        let mut members = Vec::new();
        for _ in 0..WAITING {
            // Polled once each; a task's budget is less than their number.
            let mut turn = Box::pin(tokio::task::unconstrained(lines.turn(ONE)));
            let held = turn.as_mut().now_or_never();
            members.push((held, turn));
        }
        let refused = lines.turn(ONE).now_or_never();
        assert!(matches!(refused, Some(Err(Error::Unavailable { .. }))));
        lines.turn(TWO).await.expect("others come in");
        drop(members);
        assert!(lines.0.lock().expect("not poisoned").is_empty());
    }
}
