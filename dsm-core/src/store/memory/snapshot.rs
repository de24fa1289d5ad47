use std::sync::Arc;
use std::vec::IntoIter;

use async_trait::async_trait;

use crate::store::{Job, Kind, LogRecord, Record, Snapshot, SnapshotPart, StoreError};

/// How many items a part has at most.
const PART: usize = 256;

/// Everything at one instant. What it has in common with the store is there once: only what a part
/// holds is copied, when it is its turn.
#[derive(Debug)]
pub(super) struct Frozen {
    size: u64,
    records: IntoIter<Arc<Record>>,
    log: IntoIter<Arc<LogRecord>>,
    jobs: IntoIter<Job>,
    sequences: Vec<(Kind, u64)>,
}

impl Frozen {
    pub(super) fn new(
        records: Vec<Arc<Record>>,
        log: Vec<Arc<LogRecord>>,
        jobs: Vec<Job>,
        sequences: Vec<(Kind, u64)>,
    ) -> Self {
        let size = records.len() + log.len() + jobs.len();
        Self {
            size: size as u64,
            records: records.into_iter(),
            log: log.into_iter(),
            jobs: jobs.into_iter(),
            sequences,
        }
    }
}

#[async_trait]
impl Snapshot for Frozen {
    fn size(&self) -> u64 {
        self.size
    }

    async fn next(&mut self) -> Result<Option<SnapshotPart>, StoreError> {
        let records = self.records.by_ref().take(PART).map(Arc::unwrap_or_clone);
        let records: Vec<Record> = records.collect();
        if !records.is_empty() {
            return Ok(Some(SnapshotPart::Records(records)));
        }
        let log = self.log.by_ref().take(PART).map(Arc::unwrap_or_clone);
        let log: Vec<LogRecord> = log.collect();
        if !log.is_empty() {
            return Ok(Some(SnapshotPart::Log(log)));
        }
        let jobs: Vec<Job> = self.jobs.by_ref().take(PART).collect();
        if !jobs.is_empty() {
            return Ok(Some(SnapshotPart::Jobs(jobs)));
        }
        let sequences = std::mem::take(&mut self.sequences);
        Ok((!sequences.is_empty()).then_some(SnapshotPart::Sequences(sequences)))
    }
}
