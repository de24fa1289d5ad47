//! What the vault does by itself: values of expired secrets end, old tokens go.

use std::time::Duration;

use chrono::TimeDelta;

use super::act::event;
use super::error::Error;
use super::{Vault, kind};
use crate::audit::{Actor, ObjectKind, ObjectRef, Operation};
use crate::secret::{Secret, SecretError};
use crate::store::{ChangeSet, Kind, Lease, Page, Query, Settlement, StoreExt as _};

/// How long a worker may take before another takes over.
const LEASE: Duration = Duration::from_secs(5);
/// How long after a failure a job is tried again.
const RETRY: TimeDelta = TimeDelta::seconds(30);

/// What one round of work did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Worked {
    /// Secrets whose values were destroyed.
    pub expired: usize,
    /// Jobs that failed and will be tried again.
    pub failed: usize,
    /// Tokens, credentials, nonces and remembered calls that were removed.
    pub swept: usize,
}

impl Vault {
    /// Does what is due, at most `limit` jobs. Call it about once a second; any number of servers
    /// may. Nothing depends on it being on time: what is over is refused from its instant on.
    pub async fn work(&self, limit: usize) -> Result<Worked, Error> {
        let mut worked = Worked::default();
        let now = self.clock.now();
        let leases = self
            .records
            .store
            .claim_due(&[kind::EXPIRE_SECRET], now, LEASE, limit)
            .await?;
        for lease in leases {
            match self.expire_due(&lease).await {
                Ok(()) => worked.expired += 1,
                // Another worker or an operator was faster; the job is theirs.
                Err(Error::Stale) => {}
                Err(error) => {
                    worked.failed += 1;
                    self.retry_later(&lease, &error).await;
                }
            }
        }
        Ok(worked)
    }

    /// Removes tokens, replaced credentials, nonces, remembered calls, and rotations and leases that
    /// ended a while ago, at most `limit` of each, and writes when clients were last used.
    pub async fn sweep(&self, limit: usize) -> Result<Worked, Error> {
        let mut worked = Worked::default();
        self.write_uses().await?;
        for kind in [
            kind::TOKEN,
            kind::CLIENT,
            kind::ONCE,
            kind::NONCE,
            kind::ATTEMPT,
            kind::LEASE,
        ] {
            worked.swept += self.sweep_kind(kind, limit).await?;
        }
        Ok(worked)
    }

    async fn sweep_kind(&self, kind: Kind, limit: usize) -> Result<usize, Error> {
        let query = Query::new(kind).oldest_first().expired_at(self.clock.now());
        let page = self.records.store.list(&query, Page::first(limit)).await?;
        if page.records.is_empty() {
            return Ok(0);
        }
        let count = page.records.len();
        let mut set = ChangeSet::default();
        for record in page.records {
            set = set.delete(record.key, record.revision);
            if kind == kind::CLIENT {
                set = self.without_use(set, record.key.id.into()).await?;
            }
        }
        let object = ObjectRef::absent(ObjectKind::Vault, format!("{count} records"));
        let event = event(
            self,
            Actor::Vault,
            None,
            Operation::SweepTokens,
            Some(object),
        );
        let act = self.act_alone(vec![event]).await?;
        match self.commit(act, set).await {
            Ok(()) => Ok(count),
            // Another server swept the same records.
            Err(Error::Stale) => Ok(0),
            Err(error) => Err(error),
        }
    }

    async fn retry_later(&self, lease: &Lease, error: &Error) {
        let id = lease.job.key.subject;
        tracing::error!(secret = id, %error, "the values of an expired secret could not be destroyed");
        let now = self.clock.now();
        let settlement = Settlement::RetryAt(now + RETRY);
        if let Err(error) = self.records.store.settle(lease, settlement).await {
            tracing::warn!(secret = id, %error, "the job could not be put off");
        }
        let entry = SecretError {
            at: now,
            operation: "expire".to_owned(),
            item: None,
            step: None,
            kind: None,
            next_try_at: Some(now + RETRY),
            message: format!("the values could not be destroyed yet: {error}"),
        };
        if let Ok(Some(secret)) = self.records.find::<Secret>(kind::SECRET, id.into()).await
            && let Err(error) = self.record_secret_error(&secret, entry).await
        {
            tracing::warn!(secret = id, %error, "the error history could not be written");
        }
    }
}
