use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read as _, Seek as _};
use std::path::Path;

use super::{Report, Verifier};
use crate::audit::file::journal::{self, Found};
use crate::audit::file::segment::{self, Lines};
use crate::audit::store::{self, Listing};
use crate::audit::{AuditError, Wrong, line};
use crate::crypto::Sealer;
use crate::store::{LogQuery, Order, Store};

/// How many batches are read at a time.
const PAGE: usize = 32;

/// Checks the folder of a [`FileSink`](crate::audit::FileSink), its journal included. While a server
/// writes to it, or after a crash, the last line may be incomplete and is reported as such.
///
/// # Errors
///
/// Only when the folder cannot be read; what is wrong with the trail is in the report.
pub fn verify_folder(mut verifier: Verifier<'_>, folder: &Path) -> Result<Report, AuditError> {
    let journal = journal::find(folder, verifier.keyring())?;
    for (name, path) in segment::list(folder)? {
        let failed = |error| AuditError::io(&path, error);
        let file = path.file_name().map(|n| n.to_string_lossy().into_owned());
        verifier.next_file(file);
        let held = journal.as_ref().filter(|held| held.path(folder) == path);
        let mut lines = with_journal(&path, held).map_err(failed)?;
        let mut first = true;
        while let Some(line) = lines.next().map_err(failed)? {
            take(&mut verifier, line);
            if std::mem::take(&mut first)
                && verifier
                    .current()
                    .is_some_and(|chain| chain.head.sequence + 1 != name.first)
            {
                verifier.fault(Wrong::Start);
            }
        }
        if first {
            verifier.fault(Wrong::Torn);
        }
    }
    Ok(verifier.finish())
}

/// The lines of a segment, of which a crash may have left some in the journal only.
fn with_journal(path: &Path, held: Option<&Found>) -> io::Result<Lines<Box<dyn BufRead>>> {
    let file = File::open(path)?;
    let rest = held.map(|held| held.rest(&file)).transpose()?;
    let own = held.map_or(u64::MAX, Found::offset);
    let mut file = BufReader::with_capacity(1 << 16, file);
    file.rewind()?;
    let all = file.take(own).chain(Cursor::new(rest.unwrap_or_default()));
    Ok(Lines::new(Box::new(all)))
}

/// Checks an export: the lines of one or several segments or of [`export`](crate::audit::export).
pub fn verify_lines(mut verifier: Verifier<'_>, lines: impl BufRead) -> io::Result<Report> {
    let mut lines = Lines::new(lines);
    while let Some(line) = lines.next()? {
        take(&mut verifier, line);
    }
    Ok(verifier.finish())
}

fn take(verifier: &mut Verifier<'_>, line: &[u8]) {
    match line.strip_suffix(b"\n") {
        Some(line) => verifier.line(line),
        None => verifier.fault(Wrong::Torn),
    }
}

/// Checks the log of `store`: every batch, and if the keyring is at hand also what it is found by.
///
/// # Errors
///
/// When the store cannot be read or the root key of a batch is not at hand; what is wrong with the
/// trail is in the report.
pub async fn verify_store(
    mut verifier: Verifier<'_>,
    store: &dyn Store,
    sealer: &Sealer,
) -> Result<Report, AuditError> {
    let mut query = LogQuery::newest(PAGE);
    query.order = Order::OldestFirst;
    loop {
        let page = store.read_log(&query).await?;
        for (_, record) in &page.records {
            let batch = match store::open(sealer, record) {
                Ok(batch) => batch,
                Err(AuditError::Damaged { fault, .. }) => {
                    verifier.fault_at(record.server, record.sequence, fault.wrong);
                    continue;
                }
                Err(error) => return Err(error),
            };
            verifier.next_file(None);
            let mut start = Vec::new();
            line::push_start(&mut start, batch.after());
            for line in start
                .split_inclusive(|b| *b == b'\n')
                .chain(batch.lines().split_inclusive(|b| *b == b'\n'))
            {
                take(&mut verifier, line);
            }
            if let Some(keyring) = verifier.keyring() {
                let mut listed = Listing {
                    from: record.from,
                    until: record.until,
                    terms: record.terms.clone(),
                };
                listed.terms.sort_unstable();
                if listed != Listing::of(keyring, &batch) {
                    verifier.fault_at(record.server, record.sequence, Wrong::Listing);
                }
            }
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(verifier.finish()),
        }
    }
}
