//! A socket that notices when its client stops taking part.
//!
//! A time-out on headers leaves two doors open: a connection that idles between requests, and a
//! client that never reads its reply. Each phase of a connection has a time of its own here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long each phase of a connection may last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// From the connection, or the first byte after an idle time, to the end of the headers.
    pub(crate) head: Duration,
    /// From a reply to the first byte of the next request.
    pub(crate) idle: Duration,
    /// Without the client taking a byte of its reply.
    pub(crate) write: Duration,
}

/// A client that is refused while it still sends gets this long to read why: closing a socket
/// with unread input resets it, and a reset can destroy the reply on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

const HEAD: u8 = 0;
const BUSY: u8 = 1;
const IDLE: u8 = 2;

/// A client that has this long to send its first headers is not yet asked to leave.
const WELCOME: Duration = Duration::from_secs(1);

/// What is known above the socket of the requests on it.
#[derive(Debug)]
pub(crate) struct Progress {
    opened: Instant,
    phase: AtomicU8,
    /// When the phase began, in milliseconds since the connection was opened.
    since: AtomicU64,
    requests: AtomicU64,
    linger: AtomicBool,
    draining: AtomicBool,
    asked: Notify,
}

impl Default for Progress {
    /// Of a connection that begins now.
    fn default() -> Self {
        Self {
            opened: Instant::now(),
            phase: AtomicU8::new(HEAD),
            since: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            linger: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            asked: Notify::new(),
        }
    }
}

impl Progress {
    /// The headers of a request are complete.
    pub(crate) fn begin(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.phase.store(BUSY, Ordering::Relaxed);
    }

    /// The reply has been handed to the socket.
    pub(crate) fn end(&self) {
        self.enter(IDLE);
    }

    fn enter(&self, phase: u8) {
        let since = self.opened.elapsed().as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.since.store(since, Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }

    /// For how long the connection has been of no use to anybody: idle, or without the headers that
    /// it was opened for. `None` while it is in use or about to end.
    pub(crate) fn unused(&self, now: Instant) -> Option<Duration> {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase == BUSY || self.draining.load(Ordering::Relaxed) {
            return None;
        }
        let since = Duration::from_millis(self.since.load(Ordering::Relaxed));
        let unused = now.duration_since(self.opened).saturating_sub(since);
        (phase == IDLE || unused >= WELCOME).then_some(unused)
    }

    /// Asks the connection to end, unless a request comes first.
    pub(crate) fn ask_to_leave(&self) {
        self.drain();
        self.asked.notify_one();
    }

    /// Waits until the connection is asked to end.
    pub(crate) async fn asked_to_leave(&self) {
        self.asked.notified().await;
    }

    /// The client may be sending what nobody will read.
    pub(crate) fn linger(&self, linger: bool) {
        self.linger.store(linger, Ordering::Relaxed);
    }

    /// From now on the connection ends where it would wait for a request.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// `io` with the phases of an HTTP/1.1 connection timed. A phase that takes too long reads as the
/// end of the stream, and a reply that is not taken as an error.
#[derive(Debug)]
pub(crate) struct Timed<I> {
    io: I,
    times: Times,
    progress: Arc<Progress>,
    /// Woken at or before the deadline that matters, and set anew then: deadlines move with every
    /// request, the timer does not have to.
    sleep: Option<Pin<Box<Sleep>>>,
    read_by: Option<ReadBy>,
    write_by: Option<Instant>,
    lingering: Option<Lingering>,
}

/// The deadline of the phase it was made for.
#[derive(Debug, Clone, Copy)]
struct ReadBy {
    phase: u8,
    requests: u64,
    at: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Lingering {
    until: Instant,
    bytes: usize,
}

impl<I> Timed<I> {
    /// A connection that begins now.
    pub(crate) fn new(io: I, times: Times, progress: Arc<Progress>) -> Self {
        Self {
            io,
            times,
            read_by: Some(ReadBy {
                phase: HEAD,
                requests: 0,
                at: Instant::now() + times.head,
            }),
            progress,
            sleep: None,
            write_by: None,
            lingering: None,
        }
    }

    /// Whether `at` has passed; otherwise the task is woken then, or earlier.
    fn passed(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return true;
            }
            sleep.as_mut().reset(at);
        }
        false
    }

    /// Whether the wait for input is over, given that there is none.
    fn gave_up_reading(&mut self, cx: &mut Context<'_>) -> bool {
        let phase = self.progress.phase.load(Ordering::Relaxed);
        if phase == BUSY || self.write_by.is_some() {
            return false;
        }
        if self.progress.draining.load(Ordering::Relaxed) {
            return true;
        }
        let requests = self.progress.requests.load(Ordering::Relaxed);
        let at = match self.read_by {
            Some(by) if by.phase == phase && by.requests == requests => by.at,
            _ => {
                let time = if phase == HEAD {
                    self.times.head
                } else {
                    self.times.idle
                };
                let at = Instant::now() + time;
                self.read_by = Some(ReadBy {
                    phase,
                    requests,
                    at,
                });
                at
            }
        };
        self.passed(at, cx)
    }

    /// Times a write that is pending, and starts the idle time after one that is not.
    fn wrote<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_pending() {
            let time = self.times.write;
            let at = *self.write_by.get_or_insert_with(|| Instant::now() + time);
            if self.passed(at, cx) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            return Poll::Pending;
        }
        if self.write_by.take().is_some() {
            self.read_by = None;
        }
        outcome
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Timed<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let idle = self.progress.phase.load(Ordering::Relaxed) == IDLE;
                if idle && buf.filled().len() > before {
                    self.progress.enter(HEAD);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending if self.gave_up_reading(cx) => {
                // All that was sent has been read.
                self.progress.linger(false);
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Timed<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = ready!(Pin::new(&mut self.io).poll_flush(cx));
        // The connection may not ask for input again before there is some: this is the last call
        // after a reply that can set the idle timer.
        let idle = self.progress.phase.load(Ordering::Relaxed) == IDLE;
        if idle && self.gave_up_reading(cx) {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut lingering = if let Some(lingering) = self.lingering {
            lingering
        } else {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            if !self.progress.linger.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            Lingering {
                until: Instant::now() + LINGER,
                bytes: 0,
            }
        };
        let mut scratch = [0; 8 * 1024];
        while lingering.bytes < LINGER_BYTES {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    lingering.bytes += buf.filled().len();
                }
                Poll::Pending if !self.passed(lingering.until, cx) => {
                    self.lingering = Some(lingering);
                    return Poll::Pending;
                }
                Poll::Ready(_) | Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
