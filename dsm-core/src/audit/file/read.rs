use std::path::{Path, PathBuf};

use super::segment::{self, Lines};
use crate::audit::chain::Head;
use crate::audit::line::Line;
use crate::audit::{AuditError, Batch, Fault, Wrong};

/// A place between two lines: what follows at `offset` of the segment comes after `after`.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    path: PathBuf,
    offset: u64,
    after: Head,
}

/// Reads up to `limit` entries from number `from` on, none beyond `head`, out of one segment. Goes
/// on from `mark` where that helps and returns the next one.
pub(super) fn batch(
    folder: &Path,
    head: &Head,
    from: u64,
    limit: usize,
    mark: Option<Mark>,
) -> Result<(Option<Batch>, Option<Mark>), AuditError> {
    let segments = segment::list(folder)?;
    let Some((_, path)) = segments.iter().rev().find(|(name, _)| name.first <= from) else {
        return Ok((None, None));
    };
    let failed = |error| AuditError::io(path, error);
    let mark = mark.filter(|mark| mark.path == *path && mark.after.sequence < from);
    let (mut offset, mut at) = mark.map_or((0, Head::start(head.server)), |mark| {
        (mark.offset, mark.after)
    });

    let mut lines = Lines::open_at(path, offset).map_err(failed)?;
    let mut entries = Vec::new();
    let mut after = at;
    let mut left = limit.max(1);
    // What stands beyond the head may be half written.
    while left > 0
        && at.sequence < head.sequence
        && let Some(line) = lines.next().map_err(failed)?
    {
        match Line::parse(line.strip_suffix(b"\n").unwrap_or(line)) {
            Some(Line::Start(start)) => (at, after) = (start, start),
            Some(Line::Checkpoint(_)) => {}
            Some(Line::Entry { sequence, link, .. }) => {
                if sequence >= from {
                    entries.extend_from_slice(line);
                    left -= 1;
                }
                at.sequence = sequence;
                at.link = link;
                if sequence < from {
                    after = at;
                }
            }
            None => {
                let fault = Fault::new(head.server, at.sequence, Wrong::Malformed);
                return Err(segment::damaged(path, fault));
            }
        }
        offset += line.len() as u64;
    }
    if entries.is_empty() {
        return Ok((None, None));
    }
    let batch = Batch::read(after, &entries).map_err(|fault| segment::damaged(path, fault))?;
    let mark = Mark {
        path: path.clone(),
        offset,
        after: at,
    };
    Ok((Some(batch), Some(mark)))
}
