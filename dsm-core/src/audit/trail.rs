//! The trail: what callers append to and wait for.

mod follower;
mod pending;
#[cfg(test)]
mod tests;
mod writer;

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use self::follower::Queue;
use self::pending::Pending;
use super::receipt::Subject;
use super::{AuditError, AuditSink, Event, Head, Receipt, request};
use crate::store::ServerId;

/// How long the follower may take to catch up when the trail is closed.
const CATCH_UP: Duration = Duration::from_secs(10);

/// What a [`Trail`] consists of.
#[derive(Debug, Clone)]
pub struct TrailOptions {
    /// Whose chain is written: [`FileSink::server`](super::FileSink::server), or a random name
    /// where no disk remembers one.
    pub server: ServerId,
    /// The sink that is durable before a receipt is given.
    pub awaited: Arc<dyn AuditSink>,
    /// The sink that follows in order, if any.
    pub follower: Option<Arc<dyn AuditSink>>,
    /// How long the follower waits for more entries before it passes on what there is.
    pub gather: Duration,
    /// After how many entries it waits no longer; also the most it passes on at once.
    pub follower_batch: usize,
    /// How many bytes are kept in memory for the follower; what is beyond is read again from the
    /// awaited sink.
    pub queue_bytes: usize,
}

impl TrailOptions {
    /// The usual: a follower that passes on up to 4096 entries every 250 ms, with 8 MiB of memory.
    pub fn new(server: ServerId, awaited: Arc<dyn AuditSink>) -> Self {
        Self {
            server,
            awaited,
            follower: None,
            gather: Duration::from_millis(250),
            follower_batch: 4096,
            queue_bytes: 8 << 20,
        }
    }

    /// With a sink that follows.
    pub fn follower(mut self, follower: Arc<dyn AuditSink>) -> Self {
        self.follower = Some(follower);
        self
    }
}

/// The audit trail of one server process.
///
/// An event gets its [`Receipt`] only after it is durable in the awaited sink. Events that are
/// appended while a batch is being written go together into the next one.
pub struct Trail {
    shared: Arc<Shared>,
    awaited: Arc<dyn AuditSink>,
    follower: Option<Arc<dyn AuditSink>>,
    writing: Mutex<Option<JoinHandle<()>>>,
    following: Mutex<Option<JoinHandle<()>>>,
}

/// What the trail, its writer and its follower have in common.
pub(super) struct Shared {
    server: ServerId,
    pending: Mutex<Pending>,
    wake_writer: Notify,
    durable: Mutex<Head>,
    // Numbers for `lag`, readable without the lock.
    written: AtomicU64,
    followed: AtomicU64,
    queue: Queue,
}

impl Trail {
    /// Resumes the server's chain where the awaited sink has it. Must be called within a Tokio
    /// runtime, which then runs the writer.
    ///
    /// Entries that only the follower has, after the disk was set back, are first brought back from
    /// there. A follower that cannot be reached is waited for in the background.
    ///
    /// # Errors
    ///
    /// [`AuditError::Diverged`] when the sinks hold different entries under the same number.
    pub async fn start(options: TrailOptions) -> Result<Self, AuditError> {
        let server = options.server;
        let (awaited, follower) = (options.awaited, options.follower);
        let mut head = awaited
            .head(server)
            .await?
            .unwrap_or_else(|| Head::start(server));
        if let Some(follower) = &follower {
            head = follower::bring_back(&*awaited, &**follower, head).await?;
        }

        let shared = Arc::new(Shared {
            server,
            pending: Mutex::default(),
            wake_writer: Notify::new(),
            durable: Mutex::new(head),
            written: AtomicU64::new(head.sequence),
            followed: AtomicU64::new(0),
            queue: Queue::new(options.queue_bytes, options.follower_batch),
        });
        let writing = tokio::spawn(writer::run(
            Arc::clone(&shared),
            Arc::clone(&awaited),
            head,
            follower.is_some(),
        ));
        let following = follower.as_ref().map(|follower| {
            tokio::spawn(follower::run(
                Arc::clone(&shared),
                Arc::clone(&awaited),
                Arc::clone(follower),
                options.gather,
                options.follower_batch.max(1),
            ))
        });
        Ok(Self {
            shared,
            awaited,
            follower,
            writing: Mutex::new(Some(writing)),
            following: Mutex::new(following),
        })
    }

    /// Records one event; see [`append`](Self::append).
    pub async fn record(&self, event: &Event) -> Result<Receipt, AuditError> {
        let ticket = with_buffer(|bytes| {
            write_event(bytes, &request::marked(event));
            self.shared.submit(bytes, &[bytes.len()])
        })?;
        let sequence = ticket.wait().await?;
        request::note(sequence, [event]);
        Ok(Receipt::new(
            self.shared.server,
            sequence,
            Subject::of(event),
        ))
    }

    /// Records events, which stand together in the chain, and gives their receipts in the same
    /// order once all are durable.
    ///
    /// A caller that stops waiting may find its events recorded all the same.
    ///
    /// # Errors
    ///
    /// Those of the awaited sink. There is no receipt then; the trail goes on with the next call.
    pub async fn append(&self, mut events: Vec<Event>) -> Result<Vec<Receipt>, AuditError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        request::mark_all(&mut events);
        let ticket = with_buffer(|bytes| {
            let mut ends = Vec::with_capacity(events.len());
            for event in &events {
                write_event(bytes, event);
                ends.push(bytes.len());
            }
            self.shared.submit(bytes, &ends)
        })?;
        let first = ticket.wait().await?;
        request::note(first, &events);
        let receipts = (first..).zip(&events).map(|(sequence, event)| {
            Receipt::new(self.shared.server, sequence, Subject::of(event))
        });
        Ok(receipts.collect())
    }

    /// Whose chain this is.
    pub fn server(&self) -> ServerId {
        self.shared.server
    }

    /// The newest durable entry.
    pub fn head(&self) -> Head {
        self.shared.head()
    }

    /// By how many entries the follower is behind; 0 without one. Before the follower was reached
    /// for the first time this is the length of the chain.
    pub fn lag(&self) -> u64 {
        self.follower.as_ref().map_or(0, |_| self.shared.lag())
    }

    /// Writes what is pending, gives the follower up to ten seconds to catch up, and closes the
    /// sinks. Later appends fail with [`AuditError::Closed`].
    pub async fn close(&self) {
        self.shared.close();
        let writing = lock(&self.writing).take();
        if let Some(Err(error)) = join(writing).await {
            tracing::error!(%error, "the writer of the audit trail ended early");
        }
        let mut following = lock(&self.following).take();
        if let Some(task) = &mut following
            && tokio::time::timeout(CATCH_UP, &mut *task).await.is_err()
        {
            tracing::warn!(lag = self.lag(), "the second audit sink is left behind");
            task.abort();
        }
        self.awaited.close().await;
        if let Some(follower) = &self.follower {
            follower.close().await;
        }
    }
}

async fn join(task: Option<JoinHandle<()>>) -> Option<Result<(), tokio::task::JoinError>> {
    match task {
        Some(task) => Some(task.await),
        None => None,
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail")
            .field("head", &self.head())
            .field("lag", &self.lag())
            .field("awaited", &self.awaited)
            .field("follower", &self.follower)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn head(&self) -> Head {
        *lock(&self.durable)
    }

    /// Says that the chain is durable up to `head`.
    fn advance(&self, head: Head) {
        *lock(&self.durable) = head;
        self.written.store(head.sequence, Ordering::Relaxed);
    }

    fn lag(&self) -> u64 {
        let written = self.written.load(Ordering::Relaxed);
        written.saturating_sub(self.followed.load(Ordering::Relaxed))
    }

    /// Admits nothing more. The writer ends when it has written what is pending, the follower after
    /// it.
    fn close(&self) {
        lock(&self.pending).close();
        self.wake_writer.notify_one();
    }
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends a buffer that keeps its room between calls.
fn with_buffer<T>(write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    BUFFER.with_borrow_mut(|bytes| {
        bytes.clear();
        let result = write(bytes);
        // An exceptional batch shall not keep its memory for ever.
        bytes.shrink_to(64 << 10);
        result
    })
}

fn write_event(bytes: &mut Vec<u8>, event: &Event) {
    serde_json::to_writer(bytes, event)
        .expect("an event has only string keys and a vector takes every write");
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
