use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{AuditError, Batch, Head};
use crate::store::ServerId;

/// A place where the trail is kept.
///
/// A sink holds for each server one chain without gaps or doubles. Dropping a future leaves a batch
/// whole or absent.
#[async_trait]
pub trait AuditSink: Send + Sync + Debug {
    /// Adds the batch; it is durable when this returns `Ok`.
    ///
    /// # Errors
    ///
    /// After an error the batch is there whole or not at all; [`head`](Self::head) tells which. The
    /// same or another batch may be tried again. [`AuditError::Diverged`] when the batch does not
    /// follow what is there.
    async fn append(&self, batch: Arc<Batch>) -> Result<(), AuditError>;

    /// The newest durable entry of `server`; `None` when there is none.
    async fn head(&self, server: ServerId) -> Result<Option<Head>, AuditError>;

    /// Durable entries of `server` from number `from` on, at least one and about `limit`; `None`
    /// when there are none. The chain inside is checked.
    async fn read(
        &self,
        server: ServerId,
        from: u64,
        limit: usize,
    ) -> Result<Option<Arc<Batch>>, AuditError>;

    /// Writes what should end the trail and releases what is held. Later appends fail.
    async fn close(&self);
}
