//! Commits whose answer may be lost.

use std::time::Duration;

use super::record::Records;
use crate::store::{ChangeSet, OperationId, StoreError};

/// The pause after the first question that was not answered; it doubles with each that follows.
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two questions.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// For how long the store is asked. It remembers for an hour.
const ASK_FOR: Duration = Duration::from_mins(30);

impl Records {
    /// Commits a set. When the store's answer is lost, asks until it tells what became of the set:
    /// [`StoreError::Unavailable`] then means that it did not and will not take effect.
    pub(crate) async fn commit(&self, set: ChangeSet) -> Result<(), StoreError> {
        let operation = set.operation;
        let result = self.store.commit(set).await;
        match (result, operation) {
            (Err(StoreError::OutcomeUnknown { reason, source }), Some(operation)) => {
                match self.outcome(operation).await {
                    Some(true) => Ok(()),
                    Some(false) => Err(StoreError::Unavailable { reason, source }),
                    None => Err(StoreError::OutcomeUnknown { reason, source }),
                }
            }
            (result, _) => result,
        }
    }

    async fn outcome(&self, operation: OperationId) -> Option<bool> {
        let asking = async {
            let mut pause = MIN_PAUSE;
            loop {
                match self.store.resolve(operation).await {
                    Ok(done) => {
                        tracing::info!(%operation, done, "a lost answer of the store is known");
                        break done;
                    }
                    Err(error) => {
                        tracing::debug!(%operation, %error, "a lost answer is not known yet");
                    }
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        };
        tokio::time::timeout(ASK_FOR, asking).await.ok()
    }
}
