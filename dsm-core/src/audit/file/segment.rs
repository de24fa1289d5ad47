use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use chrono::NaiveDate;

use crate::audit::chain::Head;
use crate::audit::line::Line;
use crate::audit::verify::Verifier;
use crate::audit::{AuditError, Fault, Wrong};
use crate::crypto::Keyring;

const EXTENSION: &str = "jsonl";
const DAY: &str = "%Y-%m-%d";

/// A file of the folder that bears a segment's name: `<first number, 20 digits>-<day>.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::audit) struct Name {
    pub(in crate::audit) first: u64,
    pub(super) day: NaiveDate,
}

impl Name {
    pub(super) fn file_name(&self) -> String {
        let day = self.day.format(DAY);
        format!("{:020}-{day}.{EXTENSION}", self.first)
    }

    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        folder.join(self.file_name())
    }

    fn parse(name: &str) -> Option<Self> {
        let (first, day) = name.strip_suffix(".jsonl")?.split_at_checked(20)?;
        Some(Self {
            first: first.parse().ok()?,
            day: NaiveDate::parse_from_str(day.strip_prefix('-')?, DAY).ok()?,
        })
    }
}

/// The segments of a folder in the order of their entries.
pub(in crate::audit) fn list(folder: &Path) -> Result<Vec<(Name, PathBuf)>, AuditError> {
    let failed = |error| AuditError::io(folder, error);
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Some(name) = entry.file_name().to_str().and_then(Name::parse) {
            segments.push((name, entry.path()));
        }
    }
    segments.sort();
    Ok(segments)
}

/// What a segment holds up to where it is whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan {
    /// What its first entry follows.
    pub(super) after: Head,
    /// Its last entry.
    pub(super) head: Head,
    /// The last entry a checkpoint speaks of.
    pub(super) signed: u64,
    /// Bytes up to the end of its last whole line.
    pub(super) good: u64,
    /// Whether there are more.
    pub(super) torn: bool,
}

/// Checks a segment; `None` when not even its first line is complete.
///
/// What a crash can leave is an incomplete last line, or a hole of zeros where the system had made
/// the file longer before it wrote: once the journal is restored, neither was ever acknowledged, and
/// `good` ends before it.
/// Whatever else is wrong was done to the file.
pub(super) fn scan(path: &Path, keyring: &Keyring) -> Result<Option<Scan>, AuditError> {
    let failed = |error| AuditError::io(path, error);
    let mut lines = Lines::open(path).map_err(failed)?;
    let mut verifier = Verifier::new(Some(keyring)).partial();
    let mut good = 0;
    let mut torn = false;
    while let Some(line) = lines.next().map_err(failed)? {
        let Some(text) = line.strip_suffix(b"\n").filter(|text| !text.contains(&0)) else {
            torn = true;
            break;
        };
        verifier.line(text);
        if verifier.fault_count() > 0 {
            break;
        }
        good += line.len() as u64;
    }
    let Some(chain) = verifier.current().copied() else {
        // The first line was durable before anything was written after it.
        if torn && lines.next().map_err(failed)?.is_some() {
            verifier.fault(Wrong::Malformed);
        }
        return match verifier.finish().faults.pop() {
            Some(fault) => Err(damaged(path, fault)),
            None => Ok(None),
        };
    };
    if torn {
        // A checkpoint speaks of entries that were durable before it was written.
        while let Some(line) = lines.next().map_err(failed)? {
            if let Some(Line::Checkpoint(checkpoint)) = Line::parse(line.trim_ascii_end())
                && checkpoint.sequence > chain.head.sequence
                && checkpoint.is_signed_by(keyring, chain.head.server)
            {
                verifier.fault(Wrong::Malformed);
            }
        }
    }
    if let Some(fault) = verifier.finish().faults.pop() {
        return Err(damaged(path, fault));
    }
    Ok(Some(Scan {
        after: chain.after,
        head: chain.head,
        signed: chain.signed,
        good,
        torn,
    }))
}

/// The last entry before `offset`, if a line ends there and all before it is sound.
pub(super) fn head_at(
    path: &Path,
    keyring: &Keyring,
    offset: u64,
) -> Result<Option<Head>, AuditError> {
    let failed = |error| AuditError::io(path, error);
    let mut lines = Lines::open(path).map_err(failed)?;
    let mut verifier = Verifier::new(Some(keyring)).partial();
    let mut at = 0;
    while at < offset
        && let Some(line) = lines.next().map_err(failed)?
    {
        at += line.len() as u64;
        verifier.line(line.strip_suffix(b"\n").unwrap_or(line));
    }
    let sound = at == offset && verifier.fault_count() == 0;
    let chain = verifier.current().filter(|_| sound);
    Ok(chain.map(|chain| chain.head))
}

pub(super) fn damaged(path: &Path, fault: Fault) -> AuditError {
    AuditError::Damaged {
        path: path.to_owned(),
        fault: Box::new(fault),
    }
}

/// The lines of a file, each with its line feed if it has one, through one buffer.
pub(in crate::audit) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
}

impl Lines<BufReader<File>> {
    pub(in crate::audit) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::new(BufReader::with_capacity(
            1 << 16,
            File::open(path)?,
        )))
    }

    pub(super) fn open_at(path: &Path, offset: u64) -> io::Result<Self> {
        let mut lines = Self::open(path)?;
        lines.reader.seek(SeekFrom::Start(offset))?;
        Ok(lines)
    }
}

impl<R: BufRead> Lines<R> {
    pub(in crate::audit) fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
        }
    }

    pub(in crate::audit) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let read = self.reader.read_until(b'\n', &mut self.line)?;
        Ok((read > 0).then_some(self.line.as_slice()))
    }
}
