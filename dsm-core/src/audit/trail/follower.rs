use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Shared, lock};
use crate::audit::{AuditError, AuditSink, Batch, Head};

/// The pause after the first failure; it doubles with each that follows.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// The longest pause between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Batches on their way to the follower. What does not fit is left out and read again later.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Notify,
    max_bytes: usize,
    enough: u64,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    entries: u64,
    /// The last number that was pushed, kept or not.
    newest: u64,
    /// Whether the follower waits to be woken.
    idle: bool,
    closed: bool,
}

impl Queue {
    /// Holds up to `max_bytes`; `enough` entries are passed on without waiting for more.
    pub(super) fn new(max_bytes: usize, enough: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            max_bytes,
            enough: enough as u64,
        }
    }

    pub(super) fn push(&self, batch: Arc<Batch>) {
        let wake = {
            let mut state = lock(&self.state);
            state.newest = batch.last();
            let bytes = state.bytes + batch.lines().len();
            if bytes <= self.max_bytes {
                state.bytes = bytes;
                state.entries += batch.count();
                state.batches.push_back(batch);
            }
            std::mem::replace(&mut state.idle, false) || state.entries >= self.enough
        };
        if wake {
            self.changed.notify_one();
        }
    }

    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_one();
    }

    /// Takes batches from number `next` on, of about `limit` entries; `None` when they are not
    /// here.
    fn take(&self, next: u64, limit: u64) -> Option<Arc<Batch>> {
        let mut state = lock(&self.state);
        state.forget(next);
        if state.batches.front().is_none_or(|b| b.first() != next) {
            return None;
        }
        let first = state.pop()?;
        let mut merged = first;
        while state
            .batches
            .front()
            .is_some_and(|b| b.after() == merged.head() && merged.count() + b.count() <= limit)
        {
            let Some(more) = state.pop() else { break };
            Arc::make_mut(&mut merged).extend(&more);
        }
        Some(merged)
    }

    fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// Waits for number `next` or the end.
    async fn reached(&self, next: u64) {
        loop {
            {
                let mut state = lock(&self.state);
                state.forget(next);
                if state.closed || state.newest >= next {
                    return;
                }
                state.idle = true;
            }
            self.changed.notified().await;
        }
    }

    /// Waits for enough entries, the end or the end of time.
    async fn gather(&self, time: Duration) {
        let full = async {
            while !self.is_closed() && lock(&self.state).entries < self.enough {
                self.changed.notified().await;
            }
        };
        // Time being up is as good as enough.
        let _ = tokio::time::timeout(time, full).await;
    }

    async fn closed_within(&self, time: Duration) {
        let closed = async {
            while !self.is_closed() {
                self.changed.notified().await;
            }
        };
        // The next attempt is made in either case.
        let _ = tokio::time::timeout(time, closed).await;
    }
}

impl State {
    /// Drops what stands before number `next`.
    fn forget(&mut self, next: u64) {
        while self.batches.front().is_some_and(|b| b.last() < next) {
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<Arc<Batch>> {
        let batch = self.batches.pop_front()?;
        self.bytes -= batch.lines().len();
        self.entries -= batch.count();
        Some(batch)
    }
}

/// Passes everything on, in order, until the trail is closed and everything was passed on or the
/// follower fails.
pub(super) async fn run(
    shared: Arc<Shared>,
    awaited: Arc<dyn AuditSink>,
    follower: Arc<dyn AuditSink>,
    gather: Duration,
    limit: usize,
) {
    let mut at: Option<Head> = None;
    let mut backoff = Duration::ZERO;
    loop {
        let closed = shared.queue.is_closed();
        if let Some(at) = at.filter(|at| at.sequence >= shared.head().sequence) {
            if closed {
                return;
            }
            shared.queue.reached(at.sequence + 1).await;
            shared.queue.gather(gather).await;
            continue;
        }
        match step(&shared, &*awaited, &*follower, at, limit).await {
            Ok(head) => {
                if backoff > Duration::ZERO {
                    tracing::info!(at = head.sequence, "the second audit sink answers again");
                }
                backoff = Duration::ZERO;
                shared.followed.store(head.sequence, Ordering::Relaxed);
                at = Some(head);
            }
            Err(error) => {
                let lag = shared.lag();
                tracing::warn!(%error, lag, "the second audit sink does not follow");
                if closed {
                    return;
                }
                // Whether it took the batch is not known: it is asked where it stands.
                at = None;
                backoff = (backoff * 2).clamp(MIN_BACKOFF, MAX_BACKOFF);
                shared.queue.closed_within(backoff).await;
            }
        }
    }
}

/// Passes on what comes next; tells where the follower stands then.
async fn step(
    shared: &Shared,
    awaited: &dyn AuditSink,
    follower: &dyn AuditSink,
    at: Option<Head>,
    limit: usize,
) -> Result<Head, AuditError> {
    let server = shared.server;
    let at = if let Some(at) = at {
        at
    } else {
        let found = follower.head(server).await?;
        let found = found.unwrap_or_else(|| Head::start(server));
        agree(awaited, &found).await?;
        found
    };
    if at.sequence >= shared.head().sequence {
        return Ok(at);
    }
    let next = at.sequence + 1;
    let batch = match shared.queue.take(next, limit as u64) {
        Some(batch) => Some(batch),
        None => awaited.read(server, next, limit).await?,
    };
    let batch = batch.filter(|batch| *batch.after() == at);
    let batch = batch.ok_or(AuditError::Diverged {
        server,
        sequence: next,
    })?;
    let head = *batch.head();
    follower.append(batch).await?;
    Ok(head)
}

/// Brings entries back to the awaited sink that only the follower has: its disk was set back. Tells
/// where the awaited sink stands then.
pub(super) async fn bring_back(
    awaited: &dyn AuditSink,
    follower: &dyn AuditSink,
    mut head: Head,
) -> Result<Head, AuditError> {
    let server = head.server;
    let found = match follower.head(server).await {
        Ok(found) => found.unwrap_or_else(|| Head::start(server)),
        Err(error @ (AuditError::Store(_) | AuditError::Io { .. } | AuditError::NoRoom { .. })) => {
            tracing::warn!(%error, "the second audit sink does not answer yet");
            return Ok(head);
        }
        Err(error) => return Err(error),
    };
    if found.sequence <= head.sequence {
        agree(awaited, &found).await?;
        return Ok(head);
    }
    tracing::warn!(
        from = head.sequence + 1,
        to = found.sequence,
        "the audit trail was set back; its end is brought back from the second sink"
    );
    while head.sequence < found.sequence {
        let sequence = head.sequence + 1;
        let batch = follower.read(server, sequence, 512).await?;
        let batch = batch.filter(|batch| *batch.after() == head);
        let batch = batch.ok_or(AuditError::Diverged { server, sequence })?;
        head = *batch.head();
        awaited.append(batch).await?;
    }
    Ok(head)
}

/// Checks that `awaited` has the entry at which a follower stands.
async fn agree(awaited: &dyn AuditSink, found: &Head) -> Result<(), AuditError> {
    if *found == Head::start(found.server) {
        return Ok(());
    }
    let batch = awaited.read(found.server, found.sequence, 1).await?;
    let link = batch.and_then(|batch| batch.entries().next().map(|entry| entry.link));
    if link == Some(found.link) {
        return Ok(());
    }
    Err(AuditError::Diverged {
        server: found.server,
        sequence: found.sequence,
    })
}
