//! The trail on the server's own disk: JSON lines in segments.

mod disk;
pub(super) mod journal;
mod pace;
mod read;
pub(super) mod segment;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::oneshot;

use self::disk::{Disk, Medium, Plain};
use self::pace::Pace;
use self::read::Mark;
use super::{AuditError, AuditSink, Batch, Head};
use crate::crypto::Keyring;
use crate::entropy::Entropy;
use crate::store::ServerId;
use crate::time::Clock;

/// Where and how a [`FileSink`] writes.
#[derive(Debug, Clone)]
pub struct FileSinkOptions {
    /// The folder; made with mode 0700 if it is not there.
    pub folder: PathBuf,
    /// What signs checkpoints.
    pub keyring: Arc<Keyring>,
    /// The time of checkpoints and of the daily rotation.
    pub clock: Arc<dyn Clock>,
    /// Names the server when the folder is new.
    pub entropy: Arc<dyn Entropy>,
    /// A segment that has reached so many bytes is followed by a new one.
    pub segment_bytes: u64,
    /// A checkpoint is due after so many entries, or ten seconds.
    pub checkpoint_every: u64,
}

impl FileSinkOptions {
    /// The usual: segments of 64 MiB, a checkpoint every 512 entries.
    pub fn new(
        folder: impl Into<PathBuf>,
        keyring: Arc<Keyring>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            folder: folder.into(),
            keyring,
            clock,
            entropy,
            segment_bytes: 64 << 20,
            checkpoint_every: 512,
        }
    }
}

/// The trail as JSON lines in a folder: one segment per UTC day or 64 MiB, files of mode 0600.
///
/// A batch is durable (`fdatasync`) before [`append`](AuditSink::append) returns. One process
/// writes to a folder at a time. Opening it removes what a crash left incomplete at the end, checks
/// the newest segment and goes on with its chain.
///
/// Under load batches are durable in a journal beside the segments first, two files that are
/// overwritten in turn (8 MiB together). What a crash kept from the newest segment is restored from
/// there; the segments are complete by themselves once the sink is closed or opened again.
///
/// A disk that has been quick is written to on the thread that asks, if its runtime has others:
/// handing a batch over and back costs more than such a sync.
pub struct FileSink {
    server: ServerId,
    folder: PathBuf,
    writing: Arc<Writing>,
    // Where the last read ended, since the next one usually goes on there.
    mark: Arc<Mutex<Option<Mark>>>,
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread and those who write in its place share.
struct Writing {
    head: Mutex<Head>,
    /// None when it is closed.
    disk: Mutex<Option<Disk>>,
    pace: Pace,
}

impl Writing {
    fn append(&self, disk: &mut Option<Disk>, batch: &Batch) -> Result<(), AuditError> {
        let disk = disk.as_mut().ok_or(AuditError::Closed)?;
        let result = self.pace.time(|| disk.append(batch));
        *lock(&self.head) = *disk.head();
        result
    }
}

enum Job {
    Append(Arc<Batch>, oneshot::Sender<Result<(), AuditError>>),
    Close(oneshot::Sender<()>),
}

impl FileSink {
    /// Opens the folder. Blocks while the newest segment is checked.
    ///
    /// # Errors
    ///
    /// [`AuditError::Locked`] when another process has it, [`AuditError::Damaged`] when its newest
    /// segment was changed.
    pub fn open(options: FileSinkOptions) -> Result<Self, AuditError> {
        Self::open_on(Arc::new(Plain), options)
    }

    fn open_on(medium: Arc<dyn Medium>, options: FileSinkOptions) -> Result<Self, AuditError> {
        let folder = options.folder.clone();
        let disk = Disk::open(medium, options)?;
        let server = disk.head().server;
        let writing = Arc::new(Writing {
            head: Mutex::new(*disk.head()),
            disk: Mutex::new(Some(disk)),
            pace: Pace::default(),
        });
        let (jobs, queue) = channel();
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn({
                let writing = Arc::clone(&writing);
                move || work(&writing, &queue)
            })
            .map_err(|error| AuditError::io(&folder, error))?;
        Ok(Self {
            server,
            folder,
            writing,
            mark: Arc::default(),
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Whose chain is in the folder.
    pub fn server(&self) -> ServerId {
        self.server
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn send(&self, job: Job) -> Result<(), AuditError> {
        let jobs = lock(&self.jobs);
        let jobs = jobs.as_ref().ok_or(AuditError::Closed)?;
        jobs.send(job).map_err(|_| AuditError::Closed)
    }
}

/// Writes on a thread of its own: a sync that takes long holds up nothing else.
fn work(writing: &Writing, queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        match job {
            Job::Append(batch, reply) => {
                let result = writing.append(&mut lock(&writing.disk), &batch);
                // Who asked may have stopped waiting.
                let _ = reply.send(result);
            }
            Job::Close(reply) => {
                if let Some(mut disk) = lock(&writing.disk).take() {
                    disk.finish();
                }
                let _ = reply.send(());
                return;
            }
        }
    }
}

#[async_trait]
impl AuditSink for FileSink {
    async fn append(&self, batch: Arc<Batch>) -> Result<(), AuditError> {
        if pace::others_go_on()
            && self.writing.pace.is_quick()
            && let Ok(mut disk) = self.writing.disk.try_lock()
            && disk.as_ref().is_none_or(|disk| !disk.takes_long(&batch))
        {
            return self.writing.append(&mut disk, &batch);
        }
        let (reply, result) = oneshot::channel();
        self.send(Job::Append(batch, reply))?;
        result.await.unwrap_or(Err(AuditError::Closed))
    }

    async fn head(&self, server: ServerId) -> Result<Option<Head>, AuditError> {
        let head = *lock(&self.writing.head);
        Ok((head.server == server && head.sequence > 0).then_some(head))
    }

    async fn read(
        &self,
        server: ServerId,
        from: u64,
        limit: usize,
    ) -> Result<Option<Arc<Batch>>, AuditError> {
        let head = *lock(&self.writing.head);
        if head.server != server || from > head.sequence || from == 0 {
            return Ok(None);
        }
        let folder = self.folder.clone();
        let mark = Arc::clone(&self.mark);
        let read = move || {
            let start = lock(&mark).take();
            let (batch, next) = read::batch(&folder, &head, from, limit, start)?;
            *lock(&mark) = next;
            Ok(batch.map(Arc::new))
        };
        tokio::task::spawn_blocking(read)
            .await
            .unwrap_or(Err(AuditError::Closed))
    }

    async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.send(Job::Close(reply)).is_ok() {
            // Without an answer the thread is gone, and with it what was to be closed.
            let _ = closed.await;
        }
        lock(&self.jobs).take();
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        lock(&self.jobs).take();
        // The folder is free once this returns.
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the audit trail panicked");
        }
    }
}

impl fmt::Debug for FileSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSink")
            .field("folder", &self.folder)
            .field("head", &*lock(&self.writing.head))
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
