//! The backup file; see the [module](super) for its format.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::item::{Contents, Origin, Part, Tally, encode};
use super::{BackupHeader, Progress, TransferError, copy};
use crate::crypto::{Context, KeyProvider, RootKeyId, Sealer};
use crate::entropy::Entropy;
use crate::store::{Snapshot, SnapshotPart, Store, StoreError};
use crate::time::{Clock, Timestamp};
use crate::vault::find_vault_record;

const MAGIC: &[u8] = b"dsm-backup\n";
const FORMAT: u32 = 1;
/// A part of a snapshot is split so that no chunk is much longer than this.
const CHUNK: usize = 4 << 20;
/// No chunk is as long as this; a length that is says that the file is damaged.
const MAX_CHUNK: u32 = 64 << 20;
const MAX_HEADER: u32 = 64 << 10;

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    vault: String,
    backup: String,
    root_key: String,
    created_at: Timestamp,
}

/// Writes everything of `source` as a backup and flushes `out`. That the file is durable is left to
/// whoever opened it.
///
/// # Errors
///
/// Those of the source and of `out`.
pub async fn write_backup(
    source: &mut dyn Snapshot,
    sealer: &Sealer,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    out: &mut (dyn Write + Send),
    mut progress: impl FnMut(Progress) + Send,
) -> Result<(BackupHeader, Contents), TransferError> {
    let header = BackupHeader {
        vault: *sealer.vault(),
        backup: entropy.array(),
        root_key: sealer.active(),
        created_at: clock.now(),
    };
    let mut out = Hashing::new(out);
    out.write_all(MAGIC)?;
    let bytes = header.to_bytes();
    write_framed(&mut out, &bytes)?;
    let total = source.size();
    let mut chunks = Chunks::new(&header.vault, &bytes);
    let mut tally = Tally::default();
    while let Some(part) = source.next().await? {
        for part in split(part) {
            tally.add(&part);
            let text = encode(&Part::from(part));
            write_framed(&mut out, &sealer.seal(&chunks.next(false), &text))?;
        }
        progress(Progress {
            done: tally.count(),
            total,
        });
    }
    let contents = tally.finish();
    let end = sealer.seal(&chunks.next(true), &encode(&contents));
    write_framed(&mut out, &end)?;
    out.write_all(&0u32.to_be_bytes())?;
    let sum = out.sum();
    out.inner.write_all(&sum)?;
    out.inner.flush()?;
    Ok((header, contents))
}

/// A backup that was read from its beginning to its end and found whole.
#[derive(Debug)]
pub struct Backup {
    path: PathBuf,
    header: BackupHeader,
    contents: Contents,
    sealer: Arc<Sealer>,
}

impl Backup {
    /// Reads and checks the whole file. Blocks meanwhile.
    ///
    /// # Errors
    ///
    /// [`TransferError::Damaged`] for a file that is cut off, altered or no backup;
    /// [`TransferError::UnknownKey`] for one under a root key that is not at hand.
    pub fn open(
        path: impl Into<PathBuf>,
        keys: Arc<dyn KeyProvider>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, TransferError> {
        let path = path.into();
        let header = read_header(&mut start(&path)?)?.0;
        check_sum(&path)?;
        let sealer = Arc::new(Sealer::new(header.vault, keys, entropy)?);
        let mut reading = Reading::begin(&path, Arc::clone(&sealer))?;
        let mut tally = Tally::default();
        while let Some(part) = reading.part()? {
            tally.add(&part);
        }
        let contents = tally.finish();
        if reading.end != Some(contents.clone()) {
            return Err(TransferError::Damaged("parts of it are missing"));
        }
        reading.finish()?;
        Ok(Self {
            path,
            header,
            contents,
            sealer,
        })
    }

    /// What it says of itself.
    pub fn header(&self) -> &BackupHeader {
        &self.header
    }

    /// What it holds.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Copies everything into the empty store `to`, as [`copy`](super::copy()) does.
    ///
    /// # Errors
    ///
    /// [`TransferError::OtherVault`] when `to` holds another vault, [`TransferError::NotEmpty`] when
    /// it holds the same one or anything else.
    pub async fn restore(
        &self,
        to: &dyn Store,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Contents, TransferError> {
        let found = find_vault_record(to).await?;
        let found = found.and_then(|record| record.body.first_chunk().copied());
        if let Some(found) = found.filter(|found| *found != self.header.vault) {
            let backup = self.header.vault;
            return Err(TransferError::OtherVault { backup, found });
        }
        let header = &self.header;
        let origin = Origin::of("backup", &header.backup, header.vault);
        let copied = copy(&mut self.snapshot()?, origin, to, progress).await?;
        if copied != self.contents {
            return Err(TransferError::Damaged("it was exchanged while it was read"));
        }
        Ok(copied)
    }

    /// Reads it again.
    pub fn snapshot(&self) -> Result<impl Snapshot + use<>, TransferError> {
        let contents = &self.contents;
        let size = contents.records + contents.log + contents.jobs;
        let reading = Reading::begin(&self.path, Arc::clone(&self.sealer))?;
        Ok(FileSnapshot { size, reading })
    }
}

#[derive(Debug)]
struct FileSnapshot {
    size: u64,
    reading: Reading,
}

#[async_trait]
impl Snapshot for FileSnapshot {
    fn size(&self) -> u64 {
        self.size
    }

    async fn next(&mut self) -> Result<Option<SnapshotPart>, StoreError> {
        let part = self.reading.part();
        part.map_err(|error| StoreError::unavailable("the backup file has changed", error))
    }
}

/// A file between two chunks.
#[derive(Debug)]
struct Reading {
    file: BufReader<File>,
    sealer: Arc<Sealer>,
    chunks: Chunks,
    /// What the last chunk said, once it was met.
    end: Option<Contents>,
}

impl Reading {
    fn begin(path: &Path, sealer: Arc<Sealer>) -> Result<Self, TransferError> {
        let mut file = start(path)?;
        let (header, bytes) = read_header(&mut file)?;
        Ok(Self {
            file,
            sealer,
            chunks: Chunks::new(&header.vault, &bytes),
            end: None,
        })
    }

    /// What follows the last chunk is its end and the checksum, nothing else.
    fn finish(mut self) -> Result<(), TransferError> {
        let end = read_framed(&mut self.file, MAX_CHUNK)?;
        let mut rest = Vec::new();
        self.file.take(33).read_to_end(&mut rest)?;
        if end.is_empty() && rest.len() == 32 {
            Ok(())
        } else {
            Err(TransferError::Damaged("it goes on after its end"))
        }
    }

    fn part(&mut self) -> Result<Option<SnapshotPart>, TransferError> {
        const UNREADABLE: TransferError = TransferError::Damaged("a part of it cannot be read");
        if self.end.is_some() {
            return Ok(None);
        }
        let sealed = read_framed(&mut self.file, MAX_CHUNK)?;
        if sealed.is_empty() {
            return Err(TransferError::Damaged("its end is missing"));
        }
        let (context, last) = self.chunks.either();
        match self.sealer.open(&context, &sealed) {
            Ok(text) => {
                let part: Part = postcard::from_bytes(&text).map_err(|_| UNREADABLE)?;
                part.read().ok_or(UNREADABLE).map(Some)
            }
            Err(error) => {
                let Ok(text) = self.sealer.open(&last, &sealed) else {
                    return Err(TransferError::of_chunk(error));
                };
                self.end = Some(postcard::from_bytes(&text).map_err(|_| UNREADABLE)?);
                Ok(None)
            }
        }
    }
}

/// The contexts of chunks, one after the other.
#[derive(Debug)]
struct Chunks {
    vault: [u8; 16],
    header: [u8; 32],
    number: u64,
}

impl Chunks {
    fn new(vault: &[u8; 16], header: &[u8]) -> Self {
        Self {
            vault: *vault,
            header: Sha256::digest(header).into(),
            number: 0,
        }
    }

    fn next(&mut self, last: bool) -> Context {
        let (one, end) = self.either();
        if last { end } else { one }
    }

    /// The context of the next chunk, and what it is if that is the last one.
    fn either(&mut self) -> (Context, Context) {
        let number = self.number;
        self.number += 1;
        let context = |label| {
            let context = Context::new(label, &self.vault, 0, number);
            context.bind_bytes(&self.header)
        };
        (context("backup"), context("end of backup"))
    }
}

impl BackupHeader {
    fn to_bytes(&self) -> Vec<u8> {
        let header = Header {
            format: FORMAT,
            vault: HEXLOWER.encode(&self.vault),
            backup: HEXLOWER.encode(&self.backup),
            root_key: self.root_key.to_string(),
            created_at: self.created_at,
        };
        serde_json::to_vec(&header).expect("a header is plain data")
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, TransferError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        const WRONG: TransferError = TransferError::Damaged("its header cannot be read");
        let Format { format } = serde_json::from_slice(bytes).map_err(|_| WRONG)?;
        if format > FORMAT {
            return Err(TransferError::NewerFormat(format));
        }
        if format != FORMAT {
            return Err(WRONG);
        }
        let header: Header = serde_json::from_slice(bytes).map_err(|_| WRONG)?;
        Ok(Self {
            vault: array(&header.vault).ok_or(WRONG)?,
            backup: array(&header.backup).ok_or(WRONG)?,
            root_key: RootKeyId(array(&header.root_key).ok_or(WRONG)?),
            created_at: header.created_at,
        })
    }
}

fn array<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

fn start(path: &Path) -> io::Result<BufReader<File>> {
    Ok(BufReader::with_capacity(1 << 20, File::open(path)?))
}

fn read_header(file: &mut impl Read) -> Result<(BackupHeader, Vec<u8>), TransferError> {
    let mut magic = [0; MAGIC.len()];
    let read = file.read_exact(&mut magic);
    if read.is_err() || magic != MAGIC {
        return Err(TransferError::Damaged("it does not begin like one"));
    }
    let bytes = read_framed(file, MAX_HEADER)?;
    Ok((BackupHeader::from_bytes(&bytes)?, bytes))
}

/// Compares the sum at the end with what is before it.
fn check_sum(path: &Path) -> Result<(), TransferError> {
    const CUT: TransferError = TransferError::Damaged("it is cut off");
    let file = start(path)?;
    let length = file.get_ref().metadata()?.len();
    let before = length.checked_sub(32).ok_or(CUT)?;
    let mut hash = Hashing::new(io::sink());
    let mut file = file;
    if io::copy(&mut Read::by_ref(&mut file).take(before), &mut hash)? != before {
        return Err(CUT);
    }
    let mut sum = [0; 32];
    file.read_exact(&mut sum)?;
    if hash.sum() != sum {
        return Err(TransferError::Damaged(
            "its checksum is wrong: it is cut off or was altered",
        ));
    }
    Ok(())
}

fn write_framed(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    if length > MAX_CHUNK {
        return Err(io::Error::other("a record is too large for a backup"));
    }
    out.write_all(&length.to_be_bytes())?;
    out.write_all(bytes)
}

fn read_framed(file: &mut impl Read, max: u32) -> Result<Vec<u8>, TransferError> {
    let mut length = [0; 4];
    file.read_exact(&mut length).map_err(cut_off)?;
    let length = u32::from_be_bytes(length);
    if length > max {
        return Err(TransferError::Damaged("it has a part of impossible length"));
    }
    // Not more is set aside than is there.
    let mut bytes = Vec::new();
    file.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != u64::from(length) {
        return Err(TransferError::Damaged("it is cut off"));
    }
    Ok(bytes)
}

fn cut_off(error: io::Error) -> TransferError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => TransferError::Damaged("it is cut off"),
        _ => error.into(),
    }
}

/// Cuts a part where it would be too long for a chunk.
fn split(part: SnapshotPart) -> Vec<SnapshotPart> {
    fn cut<T>(items: Vec<T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
        let (mut all, mut bytes) = (vec![Vec::new()], 0);
        for item in items {
            bytes += size(&item);
            if bytes > CHUNK && all.last().is_some_and(|last| !last.is_empty()) {
                bytes = size(&item);
                all.push(Vec::new());
            }
            all.last_mut().expect("there is one always").push(item);
        }
        all
    }
    match part {
        SnapshotPart::Records(records) => {
            let parts = cut(records, |record| record.body.len());
            parts.into_iter().map(SnapshotPart::Records).collect()
        }
        SnapshotPart::Log(log) => {
            let parts = cut(log, |record| record.body.len());
            parts.into_iter().map(SnapshotPart::Log).collect()
        }
        part => vec![part],
    }
}

/// Hashes what is written.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
        }
    }

    fn sum(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
