use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use dsm_core::store::{Kind, Snapshot, SnapshotPart, StoreError};
use redis::Value;

use crate::encoding::number;
use crate::fault::unexpected;
use crate::link::Resend;
use crate::read::{array, batch, bytes, integer, job, next, pairs, record, sequences};
use crate::scripts::{SNAPSHOT_BEGIN, SNAPSHOT_END, SNAPSHOT_MILLIS, SNAPSHOT_PAGE};
use crate::store::Inner;

/// How many snapshots there may be at the same time, since each makes commits dearer.
const MOST: u32 = 8;

/// The state at one instant: what commits replace since is kept beside it until it was read.
///
/// It lasts for five minutes from the last part that was read.
pub(crate) struct RedisSnapshot {
    inner: Arc<Inner>,
    name: Vec<u8>,
    size: u64,
    log_end: u64,
    sequences: Vec<(Kind, u64)>,
    stage: Stage,
    after: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Records,
    Log,
    Jobs,
    Sequences,
    End,
}

impl fmt::Debug for RedisSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSnapshot")
            .field("size", &self.size)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl RedisSnapshot {
    pub(crate) async fn begin(inner: Arc<Inner>) -> Result<Self, StoreError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| StoreError::backend(error.to_string()))?;
        let name = HEXLOWER.encode(&random).into_bytes();
        let arguments = [
            name.clone(),
            SNAPSHOT_MILLIS.to_string().into_bytes(),
            MOST.to_string().into_bytes(),
        ];
        let mut snapshot = Self {
            inner: inner.clone(),
            name,
            size: 0,
            log_end: 0,
            sequences: Vec::new(),
            stage: Stage::Records,
            after: Vec::new(),
        };
        // From here on its end is told to Redis when it is dropped. It is not begun twice: the
        // second time would be another instant.
        let answer = inner.write(&SNAPSHOT_BEGIN, &arguments, Resend::Never);
        let mut values = array(answer.await?)?;
        if bytes(next(&mut values)?)? != b"ok" {
            return Err(StoreError::Unavailable {
                reason: format!("{MOST} snapshots are being read: wait until one has ended"),
                source: None,
            });
        }
        let mut count = || -> Result<u64, StoreError> {
            u64::try_from(integer(&next(&mut values)?)?).map_err(|_| unexpected())
        };
        let (records, log, jobs) = (count()?, count()?, count()?);
        snapshot.size = records + log + jobs;
        snapshot.log_end = log;
        snapshot.sequences = sequences(next(&mut values)?)?;
        Ok(snapshot)
    }

    /// Items of the present stage, and moves on.
    async fn page(
        &mut self,
        part: &str,
        then: Stage,
    ) -> Result<std::vec::IntoIter<Value>, StoreError> {
        let arguments = [
            self.name.clone(),
            SNAPSHOT_MILLIS.to_string().into_bytes(),
            part.as_bytes().to_vec(),
            self.after.clone(),
            number(self.log_end).to_vec(),
        ];
        let answer = self.inner.write(&SNAPSHOT_PAGE, &arguments, Resend::Once);
        let mut values = array(answer.await?)?;
        if bytes(next(&mut values)?)? != b"ok" {
            return Err(StoreError::Unavailable {
                reason: "the snapshot was not read for too long: take another".into(),
                source: None,
            });
        }
        self.after = bytes(next(&mut values)?)?;
        if self.after.is_empty() {
            self.stage = then;
        }
        Ok(values)
    }
}

#[async_trait]
impl Snapshot for RedisSnapshot {
    fn size(&self) -> u64 {
        self.size
    }

    async fn next(&mut self) -> Result<Option<SnapshotPart>, StoreError> {
        loop {
            let part = match self.stage {
                Stage::Records => {
                    let values = self.page("records", Stage::Log).await?;
                    SnapshotPart::Records(pairs(values, record)?)
                }
                Stage::Log => {
                    let values = self.page("log", Stage::Jobs).await?;
                    let batches = pairs(values, batch)?;
                    SnapshotPart::Log(batches.into_iter().map(|(_, batch)| batch).collect())
                }
                Stage::Jobs => {
                    let values = self.page("jobs", Stage::Sequences).await?;
                    SnapshotPart::Jobs(pairs(values, job)?)
                }
                Stage::Sequences => {
                    self.stage = Stage::End;
                    SnapshotPart::Sequences(std::mem::take(&mut self.sequences))
                }
                Stage::End => return Ok(None),
            };
            let is_empty = match &part {
                SnapshotPart::Records(records) => records.is_empty(),
                SnapshotPart::Log(log) => log.is_empty(),
                SnapshotPart::Jobs(jobs) => jobs.is_empty(),
                SnapshotPart::Sequences(sequences) => sequences.is_empty(),
                _ => false,
            };
            if !is_empty {
                return Ok(Some(part));
            }
        }
    }
}

impl Drop for RedisSnapshot {
    fn drop(&mut self) {
        // Without a runtime, or when this fails, it ends by itself after some minutes.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (inner, name) = (self.inner.clone(), std::mem::take(&mut self.name));
        runtime.spawn(async move {
            if let Err(error) = inner.write(&SNAPSHOT_END, &[name], Resend::Once).await {
                tracing::debug!(%error, "a snapshot is left to its time-out");
            }
        });
    }
}
