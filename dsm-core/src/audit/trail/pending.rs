use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::{Shared, lock};
use crate::audit::AuditError;

/// What waits for the next batch.
#[derive(Default)]
pub(super) struct Pending {
    events: Events,
    done: Arc<Done>,
    closed: bool,
    /// Whether the writer waits to be woken; while it writes, nobody needs to wake it.
    idle: bool,
}

/// Serialised events one after the other.
#[derive(Default)]
pub(super) struct Events {
    pub(super) bytes: Vec<u8>,
    pub(super) ends: Vec<usize>,
}

impl Events {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.bytes.shrink_to(1 << 20);
    }
}

impl Pending {
    pub(super) fn close(&mut self) {
        self.closed = true;
    }
}

/// How a batch ended, for all who wait for it: one cell and one list of wakers per batch instead of
/// a channel per caller.
#[derive(Default)]
pub(super) struct Done {
    result: OnceLock<Result<u64, AuditError>>,
    notify: Notify,
}

impl Done {
    /// Ends the batch: its first sequence number, or why it failed. Later calls change nothing.
    pub(super) fn complete(&self, result: Result<u64, AuditError>) {
        if self.result.set(result).is_ok() {
            self.notify.notify_waiters();
        }
    }

    async fn wait(&self) -> Result<u64, AuditError> {
        // Made before the look, so that what completes in between is not missed.
        let notified = self.notify.notified();
        if let Some(result) = self.result.get() {
            return result.clone();
        }
        notified.await;
        self.result
            .get()
            .cloned()
            .unwrap_or(Err(AuditError::Closed))
    }
}

/// A caller's place in a batch.
pub(super) struct Ticket {
    done: Arc<Done>,
    index: u64,
}

impl Ticket {
    /// The sequence number of the caller's first event, once it is durable.
    pub(super) async fn wait(self) -> Result<u64, AuditError> {
        Ok(self.done.wait().await? + self.index)
    }
}

/// Events taken by the writer. Dropped without an end, those who wait learn that too.
pub(super) struct Taken {
    pub(super) events: Events,
    done: Arc<Done>,
}

impl Taken {
    pub(super) fn complete(self, result: Result<u64, AuditError>) -> Events {
        self.done.complete(result);
        let mut this = self;
        let mut events = std::mem::take(&mut this.events);
        events.clear();
        events
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.done.complete(Err(AuditError::Closed));
    }
}

impl Shared {
    /// Puts serialised events, the bytes of each ending where `ends` says, into the next batch.
    pub(super) fn submit(&self, bytes: &[u8], ends: &[usize]) -> Result<Ticket, AuditError> {
        let (ticket, wake) = {
            let mut pending = lock(&self.pending);
            if pending.closed {
                return Err(AuditError::Closed);
            }
            let base = pending.events.bytes.len();
            let index = pending.events.ends.len() as u64;
            pending.events.bytes.extend_from_slice(bytes);
            pending
                .events
                .ends
                .extend(ends.iter().map(|end| base + end));
            let done = Arc::clone(&pending.done);
            (
                Ticket { done, index },
                std::mem::replace(&mut pending.idle, false),
            )
        };
        if wake {
            self.wake_writer.notify_one();
        }
        Ok(ticket)
    }

    /// Waits for events and takes all there are, leaving `spare` for those that follow; `None` when
    /// the trail is closed and everything was taken.
    pub(super) async fn take(&self, mut spare: Events) -> Option<Taken> {
        loop {
            // Whoever is ready to run may have something to add. Without this, the first of all the
            // callers that a batch woke would be written alone; where nobody is ready, it takes no
            // time.
            tokio::task::yield_now().await;
            {
                let mut pending = lock(&self.pending);
                if !pending.events.ends.is_empty() {
                    std::mem::swap(&mut pending.events, &mut spare);
                    let done = std::mem::take(&mut pending.done);
                    return Some(Taken {
                        events: spare,
                        done,
                    });
                }
                if pending.closed {
                    return None;
                }
                pending.idle = true;
            }
            self.wake_writer.notified().await;
        }
    }

    /// Ends the trail for good: nobody is left who would write.
    pub(super) fn abandon(&self) {
        let done = {
            let mut pending = lock(&self.pending);
            pending.closed = true;
            Arc::clone(&pending.done)
        };
        done.complete(Err(AuditError::Closed));
        self.queue.close();
    }
}
