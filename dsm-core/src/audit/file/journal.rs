//! Where lines are durable before their segment is.
//!
//! A sync of a file that grows writes its new length and blocks as well; one that overwrites what is
//! there takes less than half of the processor's time and of the wait. So under load the lines of a batch go to two places: unsynced to the segment, which
//! others read, and synced to one of two files of fixed size, which are used in turn. By the time
//! that one of them is used again, the segment is durable up to where the other one began.
//!
//! ```text
//! {"segment":"<file name>","offset":1234}                         where its lines belong
//! {"server":"<32 hex>","first":1,"previous":"<64 hex>"}           what they follow
//! {"seq":1,"hash":"<64 hex>","event":{…}}                         as in the segment
//! ```
//!
//! It ends where a line does not follow from those before: what is behind is of an earlier use.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::disk::{Medium, sync_folder};
use super::segment::{self, Lines, Name};
use crate::audit::chain::Head;
use crate::audit::line::{self, Line};
use crate::audit::verify::Verifier;
use crate::audit::{AuditError, Fault, Wrong};
use crate::crypto::Keyring;

/// Bytes of each file.
const SIZE: u64 = if cfg!(test) { 1 << 16 } else { 4 << 20 };

const FILES: [&str; 2] = ["journal-0", "journal-1"];

/// A place in a segment that lines are written to next.
pub(super) struct Place<'a> {
    pub(super) segment: &'a Name,
    pub(super) file: &'a File,
    pub(super) offset: u64,
    pub(super) after: &'a Head,
}

/// The two files as their one writer holds them.
pub(super) struct Journal {
    files: [File; 2],
    current: usize,
    /// Where the next lines go in the current file; none where it begins anew.
    end: Option<u64>,
    /// Makes the segment durable up to where the current file began, after which the other one is
    /// free.
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl Journal {
    /// Makes the files, or leaves nothing behind.
    pub(super) fn create(medium: &dyn Medium, folder: &Path) -> io::Result<Self> {
        let make = |name: &str| {
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(folder.join(name))?;
            let zeros = vec![0; 1 << 16];
            let mut filled = 0;
            while filled < SIZE {
                medium.write_at(&file, &zeros, filled)?;
                filled += zeros.len() as u64;
            }
            medium.sync(&file)?;
            Ok(file)
        };
        let files = make(FILES[0]).and_then(|first| Ok([first, make(FILES[1])?]));
        let files = files.and_then(|files| sync_folder(folder).map(|()| files));
        if files.is_err() {
            // What stays holds no lines.
            let _ = remove(folder);
        }
        Ok(Self {
            files: files?,
            current: 0,
            end: None,
            syncing: None,
        })
    }

    /// Makes lines durable that were written to `place`; `false` when they are too long, and then
    /// nothing was done.
    pub(super) fn append(
        &mut self,
        medium: &Arc<dyn Medium>,
        place: &Place<'_>,
        lines: &[u8],
    ) -> io::Result<bool> {
        if let Some(end) = self.end
            && end + lines.len() as u64 <= SIZE
        {
            self.write(&**medium, end, lines)?;
            return Ok(true);
        }
        let mut bytes = heading(place);
        bytes.extend_from_slice(lines);
        if bytes.len() as u64 > SIZE {
            return Ok(false);
        }
        if self.end.is_some() {
            self.turn(medium, place.file)?;
        }
        self.write(&**medium, 0, &bytes)?;
        Ok(true)
    }

    /// Whether so many bytes need the other file while it is not free yet.
    pub(super) fn is_held_up(&self, len: usize) -> bool {
        let turns = self.end.is_some_and(|end| end + len as u64 > SIZE);
        let syncing = self.syncing.as_ref();
        turns && syncing.is_some_and(|sync| !sync.is_finished())
    }

    /// The segment is durable by itself, and what is here no longer needed.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.end = None;
        self.settle()
    }

    fn write(&mut self, medium: &dyn Medium, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = &self.files[self.current];
        medium.write_at(file, bytes, offset)?;
        medium.sync(file)?;
        self.end = Some(offset + bytes.len() as u64);
        Ok(())
    }

    /// Takes the other file, and begins to make durable what the current one holds.
    fn turn(&mut self, medium: &Arc<dyn Medium>, segment: &File) -> io::Result<()> {
        self.settle()?;
        let (behind, file) = (Arc::clone(medium), segment.try_clone()?);
        let sync = std::thread::Builder::new()
            .name("audit sync".to_owned())
            .spawn(move || behind.sync(&file));
        match sync {
            Ok(sync) => self.syncing = Some(sync),
            // There is no thread to be had, and it is done here.
            Err(_) => medium.sync(segment)?,
        }
        self.current = 1 - self.current;
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        self.syncing.take().map_or(Ok(()), |sync| {
            sync.join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that syncs panicked")))
        })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // A failure matters to nobody any more: what is in the files is still there.
        let _ = self.settle();
    }
}

/// What one file of a journal holds.
pub(in crate::audit) struct Found {
    segment: String,
    offset: u64,
    after: Head,
    head: Head,
    lines: Vec<u8>,
    /// The file that ends before an entry that was signed, if one does: its lines were changed.
    cut: Option<PathBuf>,
}

/// What the journal holds of a segment, which may have lost it or never had it.
pub(in crate::audit) fn find(
    folder: &Path,
    keyring: Option<&Keyring>,
) -> Result<Option<Found>, AuditError> {
    let mut found = Vec::new();
    for name in FILES {
        let path = folder.join(name);
        let file = read(&path, keyring).map_err(|error| AuditError::io(&path, error))?;
        found.extend(file);
    }
    if found.is_empty() {
        return Ok(None);
    }
    let segments = segment::list(folder)?;
    let names: Vec<_> = segments.iter().map(|(name, _)| name.file_name()).collect();
    found.retain(|file| names.contains(&file.segment));
    // A segment is durable before another one begins.
    let newest = found.iter().map(|file| &file.segment).max().cloned();
    found.retain(|file| Some(&file.segment) == newest.as_ref());
    found.sort_by_key(|file| file.offset);
    let mut found = found.into_iter();
    Ok(found.next().map(|first| found.fold(first, Found::then)))
}

impl Found {
    fn then(mut self, next: Self) -> Self {
        // Otherwise the segment was durable by itself where the next one begins.
        let end = self.offset + self.lines.len() as u64;
        if (next.offset, next.after) != (end, self.head) {
            return next;
        }
        self.lines.extend_from_slice(&next.lines);
        self.head = next.head;
        self.cut = self.cut.or(next.cut);
        self
    }

    /// The segment's path.
    pub(in crate::audit) fn path(&self, folder: &Path) -> PathBuf {
        folder.join(&self.segment)
    }

    /// Up to where the segment was durable by itself.
    pub(in crate::audit) fn offset(&self) -> u64 {
        self.offset
    }

    /// What follows there: this, and what the segment has beyond.
    pub(in crate::audit) fn rest(&self, mut segment: &File) -> io::Result<Vec<u8>> {
        let mut rest = self.lines.clone();
        segment.seek(SeekFrom::Start(self.offset + rest.len() as u64))?;
        segment.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Writes to the segment what is here, and makes it durable. What the segment has of it may be in
    /// memory only, so that it is written in any case; what it has beyond stays.
    ///
    /// # Errors
    ///
    /// [`AuditError::Damaged`] when the segment is not the one that was written to, or the journal was
    /// changed; then nothing is touched.
    pub(super) fn restore(&self, folder: &Path, keyring: &Keyring) -> Result<(), AuditError> {
        let path = self.path(folder);
        if let Some(journal) = &self.cut {
            let next = self.head.sequence + 1;
            let fault = Fault::new(self.head.server, next, Wrong::Malformed);
            return Err(segment::damaged(journal, fault));
        }
        if segment::head_at(&path, keyring, self.offset)? != Some(self.after) {
            let fault = Fault::new(self.after.server, self.after.sequence, Wrong::Start);
            return Err(segment::damaged(&path, fault));
        }
        let write = || -> io::Result<()> {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.write_all_at(&self.lines, self.offset)?;
            file.sync_all()
        };
        write().map_err(|error| AuditError::io(&path, error))
    }
}

/// Removes the files for good. Only when the segment is durable.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let mut removed = false;
    for name in FILES {
        match fs::remove_file(folder.join(name)) {
            Ok(()) => removed = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if removed {
        sync_folder(folder)?;
    }
    Ok(())
}

const HEADING: [&str; 3] = [r#"{"segment":""#, r#"","offset":"#, "}\n"];

fn heading(place: &Place<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let [start, middle, end] = HEADING;
    let (name, offset) = (place.segment.file_name(), place.offset);
    write!(bytes, "{start}{name}{middle}{offset}{end}").expect("a vector takes every write");
    line::push_start(&mut bytes, place.after);
    bytes
}

fn read(path: &Path, keyring: Option<&Keyring>) -> io::Result<Option<Found>> {
    let mut lines = match Lines::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        lines => lines?,
    };
    let Some((segment, offset)) = lines.next()?.and_then(parse_heading) else {
        return Ok(None);
    };
    let mut verifier = Verifier::new(keyring).partial();
    let mut whole = Vec::new();
    let mut head = None;
    let mut is_cut = false;
    while let Some(line) = lines.next()? {
        let sound = line.strip_suffix(b"\n").is_some_and(|text| {
            verifier.line(text);
            verifier.fault_count() == 0
        });
        if !sound {
            is_cut = head.is_some_and(|head| is_signed_beyond(line, &head, keyring));
            break;
        }
        if head.is_some() {
            whole.extend_from_slice(line);
        }
        head = verifier.current().map(|chain| chain.head);
    }
    while !is_cut
        && let Some(head) = &head
        && let Some(line) = lines.next()?
    {
        is_cut = is_signed_beyond(line, head, keyring);
    }
    Ok(verifier.current().zip(head).map(|(chain, head)| Found {
        segment,
        offset,
        after: chain.after,
        head,
        lines: whole,
        cut: is_cut.then(|| path.to_owned()),
    }))
}

/// Whether this is a checkpoint of a later entry, which was durable before it was written. What is
/// behind the end is of an earlier use, or of a batch that speaks of the end at most.
fn is_signed_beyond(line: &[u8], head: &Head, keyring: Option<&Keyring>) -> bool {
    keyring.is_some_and(|keyring| match Line::parse(line.trim_ascii_end()) {
        Some(Line::Checkpoint(checkpoint)) => {
            checkpoint.sequence > head.sequence && checkpoint.is_signed_by(keyring, head.server)
        }
        _ => false,
    })
}

fn parse_heading(line: &[u8]) -> Option<(String, u64)> {
    let [start, middle, end] = HEADING;
    let line = std::str::from_utf8(line).ok()?;
    let line = line.strip_prefix(start)?.strip_suffix(end)?;
    let (name, offset) = line.split_once(middle)?;
    Some((name.to_owned(), offset.parse().ok()?))
}

#[cfg(test)]
mod tests;
