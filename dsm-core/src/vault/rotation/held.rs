//! A lease while its job is worked on.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::{Lease, StoreError};
use crate::vault::Vault;
use crate::vault::error::Error;

/// For how long a job is leased at a time.
pub(super) const LEASE: Duration = Duration::from_secs(5);
/// How often the lease is prolonged.
const PROLONG_EVERY: Duration = Duration::from_millis(1_500);
/// How long before the end of the lease its holder stops, so that nobody else began already.
const MARGIN: Duration = Duration::from_millis(500);

/// A lease that is prolonged for as long as it is worked on.
#[derive(Debug)]
pub(in crate::vault) struct Held(Mutex<(Lease, Instant)>);

impl Held {
    /// A lease that was asked for at `since`.
    pub(super) fn new(lease: Lease, since: Instant) -> Self {
        Self(Mutex::new((lease, since + LEASE - MARGIN)))
    }

    /// The lease, for the commit that ends it.
    pub(in crate::vault) fn lease(&self) -> Lease {
        self.state().0.clone()
    }

    /// Refuses to go on when somebody else may have taken over.
    pub(in crate::vault) fn check(&self) -> Result<(), Error> {
        if Instant::now() < self.state().1 {
            Ok(())
        } else {
            Err(Error::Stale)
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, (Lease, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vault {
    /// Works under a lease. The end of the lease is looked at first whenever this is polled, so that
    /// a process that was stopped for a while touches nothing when it goes on.
    pub(super) async fn under<T>(
        &self,
        held: &Held,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.prolong(held) => Err(Error::Stale),
            done = work => done,
        }
    }

    /// Prolongs the lease again and again; returns when it is over.
    async fn prolong(&self, held: &Held) {
        loop {
            let over = held.state().1;
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(over) => return,
                () = tokio::time::sleep(PROLONG_EVERY) => {}
            }
            let since = Instant::now();
            let until = Lease::end(self.clock.now(), LEASE);
            match self.records.store.extend(&held.lease(), until).await {
                Ok(lease) => *held.state() = (lease, since + LEASE - MARGIN),
                Err(StoreError::LeaseLost(_)) => return,
                // The store may be back before the lease is over.
                Err(error) => tracing::debug!(%error, "a lease could not be prolonged"),
            }
        }
    }
}
