//! One run: leases, accounts, the commit that serves them, and what becomes of failures.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::ProvisionFailure;
use super::make::Made;
use super::plan::{Owner, Plan, Which};
use super::serve::Ending;
use super::who::Who;
use crate::audit::Operation;
use crate::secret::{EphemeralCredential, Secret, SecretError, Status};
use crate::store::Settlement;
use crate::time::Timestamp;
use crate::vault::Vault;
use crate::vault::error::Error;
use crate::vault::record::Stored;

/// What stands in error histories.
pub(super) const OPERATION: &str = "provision";

/// What is to be provisioned.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) who: Who<'a>,
    pub(super) which: Which,
    /// Items that the secret shall have.
    pub(super) added: Vec<EphemeralCredential>,
    /// How long the accounts of before live on; to their end unless said.
    pub(super) overlap: Option<Duration>,
    /// How a worker's job goes on when everything was done.
    pub(super) settlement: Option<Settlement>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Done {
    /// The secret, as it is now.
    pub(super) secret: Stored<Secret>,
    /// How many accounts came to be served.
    pub(super) served: usize,
    /// What could not be provisioned.
    pub(super) failures: Vec<ProvisionFailure>,
    /// When the first of those items is due whose account lasts.
    pub(super) again_at: Option<Timestamp>,
}

impl Vault {
    /// Provisions items of a secret. Those that fail leave what is served as it is; each failure is
    /// in the error history of the secret.
    pub(super) async fn provision(
        &self,
        secret: Stored<Secret>,
        order: Order<'_>,
    ) -> Result<Done, Error> {
        if secret.status(self.clock.now()) == Status::Expired {
            return Err(Error::Conflict("the secret has expired".to_owned()));
        }
        let who = order.who;
        let asked = who.event(self, Operation::ProvisionSecret, secret.object());
        let act = self.act_for(who, &secret, vec![asked]).await?;
        let data = self.unseal(&act, secret.id, &secret, secret.sealed_value.as_deref())?;
        let Plan {
            items,
            mut failures,
            again_at,
        } = self.plan_items(&data, &order.added, order.which).await?;
        drop(data);
        let owner = self.owner_of(who, &secret, &items).await?;
        let mut done = Done {
            secret,
            served: 0,
            failures: Vec::new(),
            again_at,
        };
        // Nobody could read what would be made.
        if items.is_empty() || matches!(owner, Owner::Over) {
            done.failures = failures;
            return Ok(done);
        }
        let leases = match self.begin_leases(who, &done.secret, &items, &owner).await? {
            Ok(leases) => leases,
            Err(failure) => {
                failures.push(failure);
                done.failures = failures;
                return Ok(done);
            }
        };
        let since = Instant::now();
        let made = join_all(
            items
                .iter()
                .zip(&leases)
                .map(|(item, lease)| self.make_account(who, item, lease, since, act.receipt())),
        )
        .await;
        let mut served = Vec::new();
        for ((item, lease), made) in items.into_iter().zip(leases).zip(made) {
            match made? {
                Ok(proof) => served.push(Made { item, lease, proof }),
                Err(failure) => {
                    let (step, kind) = (failure.step, Some(failure.kind));
                    self.give_up(&lease, step, kind, &failure.message).await?;
                    failures.push(failure);
                }
            }
        }
        if !served.is_empty() {
            let ending = Ending {
                overlap: order.overlap,
                // A failure has its own time to be tried again.
                settlement: order.settlement.filter(|_| failures.is_empty()),
            };
            let result = self
                .serve_accounts(who, &done.secret, &served, &owner, ending)
                .await;
            match result {
                Ok(secret) => {
                    done.secret = secret;
                    done.served = served.len();
                }
                Err(error) => {
                    for made in &served {
                        let message = error.to_string();
                        self.give_up(&made.lease, "serve", None, &message).await?;
                    }
                    return Err(error);
                }
            }
        }
        done.failures = failures;
        Ok(done)
    }

    /// Adds failures to the error history of a secret.
    pub(super) async fn record_failures(
        &self,
        secret: &Stored<Secret>,
        failures: &[ProvisionFailure],
        next_try_at: Option<Timestamp>,
    ) -> Result<(), Error> {
        for failure in failures {
            let error = SecretError {
                at: self.clock.now(),
                operation: OPERATION.to_owned(),
                item: Some(format!("ephemeral_credential {}", failure.profile)),
                message: failure.message.clone(),
                step: Some(failure.step.to_owned()),
                kind: Some(failure.kind.as_str().to_owned()),
                next_try_at,
            };
            // The first marks the secret.
            for _ in 0..5 {
                let Some(now) = self.fresh_secret(secret).await? else {
                    return Ok(());
                };
                match self.record_secret_error(&now, error.clone()).await {
                    Err(Error::Stale) => {}
                    done => {
                        done?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}
