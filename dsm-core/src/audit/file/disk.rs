use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::TimeDelta;

use super::FileSinkOptions;
use super::journal::{self, Journal, Place};
use super::segment::{self, Name, Scan};
use crate::audit::chain::{Checkpoint, Head};
use crate::audit::{AuditError, Batch, Fault, Wrong, line};
use crate::store::ServerId;
use crate::time::Timestamp;

/// How many batches within a second make a journal worth its room.
pub(super) const BUSY: u32 = 256;

/// The calls that reach the disk when entries are written.
pub(super) trait Medium: Send + Sync {
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }
}

/// The system's own.
pub(super) struct Plain;

impl Medium for Plain {}

/// The folder as its one writer holds it.
pub(super) struct Disk {
    medium: Arc<dyn Medium>,
    options: FileSinkOptions,
    head: Head,
    segment: Segment,
    /// None until there was much to write, and where there is no room.
    journal: Option<Journal>,
    busy: Busy,
    /// Up to where checkpoints speak, and when the last one was written.
    signed: u64,
    signed_at: Timestamp,
    // Held, not read: the system lets go of the lock when the process ends. The last to be dropped.
    _lock: File,
}

struct Segment {
    name: Name,
    file: File,
    /// Bytes known to be durable, here or in the journal.
    good: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Ends at `good`.
    Whole,
    /// May have more than `good` bytes.
    Torn,
    /// A sync failed, after which the system no longer says what is on the disk.
    Unknown,
}

/// How many batches there were of late.
struct Busy {
    since: Timestamp,
    batches: u32,
    /// Whether a journal was refused by the disk.
    refused: bool,
}

impl Busy {
    fn new(since: Timestamp) -> Self {
        Self {
            since,
            batches: 0,
            refused: false,
        }
    }

    /// Whether they follow each other so closely that the next one has a journal made.
    fn is_due(&self) -> bool {
        self.batches >= BUSY && !self.refused
    }

    /// Counts a batch, and tells whether there is to be a journal.
    fn count(&mut self, now: Timestamp) -> bool {
        if now - self.since >= TimeDelta::seconds(1) || now < self.since {
            *self = Self {
                refused: self.refused,
                ..Self::new(now)
            };
        }
        let due = self.is_due();
        self.batches = self.batches.saturating_add(1);
        due
    }
}

impl Disk {
    pub(super) fn open(
        medium: Arc<dyn Medium>,
        options: FileSinkOptions,
    ) -> Result<Self, AuditError> {
        let folder = &options.folder;
        let failed = |error| AuditError::io(folder, error);
        DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(folder)
            .map_err(failed)?;
        let lock = lock(folder)?;
        if let Some(found) = journal::find(folder, Some(&options.keyring))? {
            found.restore(folder, &options.keyring)?;
        }

        let now = options.clock.now();
        let (head, segment, signed) = if let Some((name, path, scan)) = newest(&options)? {
            let failed = |error| AuditError::io(&path, error);
            let file = open_segment(&path).map_err(failed)?;
            if scan.torn {
                medium.truncate(&file, scan.good).map_err(failed)?;
            }
            // What was read may be in memory only: from here on it counts as written.
            file.sync_all().map_err(failed)?;
            let segment = Segment {
                name,
                file,
                good: scan.good,
                state: State::Whole,
            };
            // What stands before a segment without entries was signed or will be with the next one.
            let empty = scan.head == scan.after;
            let signed = if empty {
                scan.head.sequence
            } else {
                scan.signed
            };
            (scan.head, segment, signed)
        } else {
            let head = Head::start(ServerId(options.entropy.array()));
            let name = Name {
                first: 1,
                day: now.date_naive(),
            };
            let segment = create(&*medium, folder, &head, name)?;
            (head, segment, 0)
        };
        journal::remove(folder).map_err(failed)?;
        Ok(Self {
            medium,
            options,
            _lock: lock,
            head,
            segment,
            journal: None,
            busy: Busy::new(now),
            signed,
            signed_at: now,
        })
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    pub(super) fn append(&mut self, batch: &Batch) -> Result<(), AuditError> {
        if *batch.after() != self.head {
            return Err(AuditError::Diverged {
                server: batch.server(),
                sequence: batch.first(),
            });
        }
        let now = self.options.clock.now();
        self.mend(now)?;
        if self.is_over(now) {
            self.rotate(now)?;
        }

        if self.busy.count(now) && self.journal.is_none() {
            self.begin_journal();
        }

        // A checkpoint speaks of what was durable before: found behind a hole that the journal does
        // not fill, it proves that the hole was not left by a crash.
        let due = self.head.sequence - self.signed >= self.options.checkpoint_every
            || now - self.signed_at >= TimeDelta::seconds(10);
        if due && self.signed < self.head.sequence {
            let mut bytes = self.checkpoint(now);
            bytes.extend_from_slice(batch.lines());
            self.write(&bytes)?;
            self.signed = self.head.sequence;
            self.signed_at = now;
        } else {
            self.write(batch.lines())?;
        }
        self.head = *batch.head();
        Ok(())
    }

    /// Whether a batch needs more of the disk than a sync.
    pub(super) fn takes_long(&self, batch: &Batch) -> bool {
        let len = batch.lines().len();
        let journal = self.journal.as_ref();
        self.segment.state != State::Whole
            || self.is_over(self.options.clock.now())
            || journal.map_or(self.busy.is_due(), |journal| journal.is_held_up(len))
    }

    /// Whether the segment is to be followed by another one.
    fn is_over(&self, now: Timestamp) -> bool {
        let full = self.segment.good >= self.options.segment_bytes
            && self.segment.name.first <= self.head.sequence;
        full || self.segment.name.day != now.date_naive()
    }

    /// Signs the end. What fails here is left to the next start, which does not depend on it.
    pub(super) fn finish(&mut self) {
        let now = self.options.clock.now();
        let signed = self.mend(now).and_then(|()| self.sign(now));
        let signed = signed.and_then(|()| self.end_journal());
        if let Err(error) = signed {
            tracing::warn!(%error, "the audit trail is closed without a checkpoint");
        }
    }

    fn sign(&mut self, now: Timestamp) -> Result<(), AuditError> {
        if self.signed < self.head.sequence {
            let bytes = self.checkpoint(now);
            self.write(&bytes)?;
            self.signed = self.head.sequence;
            self.signed_at = now;
        }
        Ok(())
    }

    fn checkpoint(&self, now: Timestamp) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        let checkpoint = Checkpoint::sign(&self.options.keyring, &self.head, now);
        line::push_checkpoint(&mut bytes, &checkpoint);
        bytes
    }

    /// Writes and syncs, or takes back what was written.
    fn write(&mut self, bytes: &[u8]) -> Result<(), AuditError> {
        let segment = &mut self.segment;
        segment.state = State::Torn;
        if let Err(error) = self.medium.write(&segment.file, bytes) {
            if self.medium.truncate(&segment.file, segment.good).is_ok() {
                segment.state = State::Whole;
            }
            return Err(self.failed(error));
        }
        segment.state = State::Unknown;
        self.sync(bytes).map_err(|error| self.failed(error))?;
        self.segment.state = State::Whole;
        self.segment.good += bytes.len() as u64;
        Ok(())
    }

    /// Makes durable what was just written behind the good bytes of the segment.
    fn sync(&mut self, written: &[u8]) -> io::Result<()> {
        if let Some(journal) = &mut self.journal {
            let place = Place {
                segment: &self.segment.name,
                file: &self.segment.file,
                offset: self.segment.good,
                after: &self.head,
            };
            if journal.append(&self.medium, &place, written)? {
                return Ok(());
            }
        }
        self.medium.sync(&self.segment.file)?;
        self.journal.as_mut().map_or(Ok(()), Journal::restart)
    }

    fn begin_journal(&mut self) {
        match Journal::create(&*self.medium, &self.options.folder) {
            Ok(journal) => self.journal = Some(journal),
            // Without one everything is as safe, and slower.
            Err(error) => {
                self.busy.refused = true;
                tracing::info!(%error, "the audit trail is written without a journal");
            }
        }
    }

    /// Makes the segment durable by itself.
    fn end_journal(&mut self) -> Result<(), AuditError> {
        let Some(mut journal) = self.journal.take() else {
            return Ok(());
        };
        let ended = journal
            .restart()
            .and_then(|()| self.medium.sync(&self.segment.file))
            .and_then(|()| journal::remove(&self.options.folder));
        ended.map_err(|error| {
            self.segment.state = State::Unknown;
            self.failed(error)
        })
    }

    /// Makes the newest segment one that can be written to.
    fn mend(&mut self, now: Timestamp) -> Result<(), AuditError> {
        match self.segment.state {
            State::Whole => Ok(()),
            State::Torn => {
                self.medium
                    .truncate(&self.segment.file, self.segment.good)
                    .map_err(|error| self.failed(error))?;
                self.segment.state = State::Whole;
                Ok(())
            }
            State::Unknown => self.abandon(now),
        }
    }

    /// After a failed sync: what was acknowledged is read again through a new handle, and a new
    /// segment takes over. The old handle could report success for pages that were thrown away.
    fn abandon(&mut self, now: Timestamp) -> Result<(), AuditError> {
        let path = self.path();
        let failed = |error| AuditError::io(&path, error);
        let (folder, keyring) = (&self.options.folder, &self.options.keyring);
        self.journal = None;
        if let Some(found) = journal::find(folder, Some(keyring))? {
            found.restore(folder, keyring)?;
        }
        let file = open_segment(&path).map_err(failed)?;
        self.medium
            .truncate(&file, self.segment.good)
            .map_err(failed)?;
        file.sync_all().map_err(failed)?;
        let scan = segment::scan(&path, &self.options.keyring)?;
        if scan.is_none_or(|scan| scan.torn || scan.head != self.head) {
            let fault = Fault::new(self.head.server, self.head.sequence, Wrong::Torn);
            return Err(segment::damaged(&path, fault));
        }
        journal::remove(folder).map_err(failed)?;
        tracing::warn!(segment = %path.display(), "a sync failed; the audit trail goes on in a new segment");
        self.next_segment(now)
    }

    fn rotate(&mut self, now: Timestamp) -> Result<(), AuditError> {
        self.sign(now)?;
        if let Some(journal) = &mut self.journal {
            // The journal is of the newest segment only.
            let ended = journal.restart();
            if let Err(error) = ended.and_then(|()| self.medium.sync(&self.segment.file)) {
                self.segment.state = State::Unknown;
                return Err(self.failed(error));
            }
        }
        self.next_segment(now)
    }

    fn next_segment(&mut self, now: Timestamp) -> Result<(), AuditError> {
        let old = self.path();
        let name = Name {
            first: self.head.sequence + 1,
            day: now.date_naive(),
        };
        let path = name.path(&self.options.folder);
        match create(&*self.medium, &self.options.folder, &self.head, name) {
            Ok(segment) => {
                let empty = self.segment.name.first > self.head.sequence;
                self.segment = segment;
                if empty && old != path {
                    // Should it stay, it is a segment without entries and does no harm.
                    let _ = std::fs::remove_file(old);
                }
                Ok(())
            }
            Err(error) => {
                if old != path {
                    // The old segment goes on, and nothing may claim to come after it.
                    let _ = std::fs::remove_file(&path);
                }
                Err(error)
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.segment.name.path(&self.options.folder)
    }

    fn failed(&self, error: io::Error) -> AuditError {
        AuditError::io(&self.options.folder, error)
    }
}

fn lock(folder: &Path) -> Result<File, AuditError> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| AuditError::io(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AuditError::Locked(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(AuditError::io(&path, error)),
    }
}

/// The newest segment that has a beginning, checked against the one before it if it has no entries
/// of its own. Segments that a crash left without a first line are removed.
fn newest(options: &FileSinkOptions) -> Result<Option<(Name, PathBuf, Scan)>, AuditError> {
    let mut segments = segment::list(&options.folder)?;
    while let Some((name, path)) = segments.pop() {
        let Some(scan) = segment::scan(&path, &options.keyring)? else {
            std::fs::remove_file(&path).map_err(|error| AuditError::io(&path, error))?;
            continue;
        };
        let mut fits = scan.after.sequence + 1 == name.first;
        if let Some((_, before)) = segments.last()
            && scan.head == scan.after
        {
            let before = segment::scan(before, &options.keyring)?;
            fits &= before.is_some_and(|before| before.head == scan.after);
        }
        if !fits {
            let fault = Fault::new(scan.head.server, scan.after.sequence, Wrong::Start);
            return Err(segment::damaged(&path, fault));
        }
        return Ok(Some((name, path, scan)));
    }
    Ok(None)
}

/// Starts the segment of what follows `after`, in place of one with the same name.
fn create(
    medium: &dyn Medium,
    folder: &Path,
    after: &Head,
    name: Name,
) -> Result<Segment, AuditError> {
    let path = name.path(folder);
    let new = folder.join("new");
    let mut start = Vec::with_capacity(160);
    line::push_start(&mut start, after);
    let write = || -> io::Result<File> {
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .mode(0o600)
            .open(&new)?;
        medium.write(&file, &start)?;
        medium.sync(&file)?;
        std::fs::rename(&new, &path)?;
        // The file's name is durable only with the folder.
        sync_folder(folder)?;
        Ok(file)
    };
    let file = write().map_err(|error| AuditError::io(&path, error))?;
    Ok(Segment {
        name,
        file,
        good: start.len() as u64,
        state: State::Whole,
    })
}

/// Makes the names in the folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn open_segment(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}
