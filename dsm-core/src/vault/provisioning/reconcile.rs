//! Accounts of a target compared with leases: what nobody knows is told and removed.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::revoke::{drop_account, revocation_job};
use crate::audit::{Actor, ObjectKind, ObjectRef, Operation};
use crate::id::TargetId;
use crate::provider::{ProviderError, Template};
use crate::provision::{LeaseState, account_prefix};
use crate::store::{Job, JobKey, Settlement};
use crate::time::Timestamp;
use crate::vault::act::event;
use crate::vault::error::Error;
use crate::vault::lease::LIVE_OF_TARGET;
use crate::vault::record::Stored;
use crate::vault::rotation::{COME_BACK, Ended, Held};
use crate::vault::target::{Reach, TargetEntry};
use crate::vault::{Vault, kind};

/// How often accounts are compared with leases.
const EVERY: TimeDelta = TimeDelta::minutes(10);

/// The job that compares the accounts of a target with leases, first at `from` and a while.
pub(crate) fn reconcile_job(target: TargetId, from: Timestamp) -> Job {
    Job {
        key: JobKey {
            topic: kind::REVOKE,
            subject: target.0 * 2 + 1,
        },
        due_at: from + EVERY,
        body: Vec::new(),
    }
}

/// An account that no lease knows any more.
struct Leftover {
    account: String,
    profile: String,
    removal: Option<Template>,
}

impl Vault {
    /// Compares, for as long as the target has profiles.
    pub(super) async fn reconcile_due(&self, held: &Held, id: TargetId) -> Result<Ended, Error> {
        let found = self.records.find::<TargetEntry>(kind::TARGET, id).await?;
        let Some(target) = found else {
            return self.settle_idle(held, Settlement::Done).await;
        };
        let profiles = self.profiles_of(&target.name).await?;
        if profiles.is_empty() {
            return self.settle_idle(held, Settlement::Done).await;
        }
        let now = self.clock.now();
        let bound = self.options.rotations_per_target.get();
        let Some(_turn) = self.turns.take(&target.name, bound).await else {
            let later = Settlement::RetryAt(now + COME_BACK);
            return self.settle_idle(held, later).await;
        };
        self.wake_ended(&target.name).await?;
        let found = if target.enabled {
            self.find_leftovers(held, &target).await?
        } else {
            Ok(None)
        };
        let removed = match found {
            Ok(None) => 0,
            Ok(Some((reach, leftovers))) => {
                self.remove_leftovers(held, &target, &reach, leftovers)
                    .await?
            }
            Err(error) => {
                // Leases end without this; it comes again.
                tracing::warn!(target = %target.name, %error, "accounts could not be listed");
                0
            }
        };
        let next = Settlement::RetryAt(now + EVERY);
        self.settle_idle(held, next).await?;
        Ok(if removed > 0 {
            Ended::Over
        } else {
            Ended::Idle
        })
    }

    /// Puts the job of every lease whose owner ended while it came to be served.
    async fn wake_ended(&self, target: &str) -> Result<(), Error> {
        let now = self.clock.now();
        for lease in self.live_leases(LIVE_OF_TARGET, target).await? {
            if lease.progress.state == LeaseState::Active && self.owner_ended(&lease).await? {
                let job = revocation_job(lease.id, now);
                let set = crate::store::ChangeSet::default().put_job(job);
                self.records.commit(set).await?;
            }
        }
        Ok(())
    }

    /// Lists the accounts of every profile, and looks for their leases after that: a lease is
    /// committed before its account is made.
    #[allow(clippy::type_complexity, reason = "the outer error is the vault's")]
    async fn find_leftovers(
        &self,
        held: &Held,
        target: &Stored<TargetEntry>,
    ) -> Result<Result<Option<(Reach, Vec<Leftover>)>, ProviderError>, Error> {
        let test = event(
            self,
            Actor::Vault,
            None,
            Operation::TestTarget,
            Some(target.object()),
        );
        let act = self.act_alone(vec![test]).await?;
        let reach = match self.reach(target, act.receipt()).await? {
            Ok(reach) => reach,
            Err(error) => return Ok(Err(error)),
        };
        let Some(accounts) = reach.provider.accounts() else {
            return Ok(Ok(None));
        };
        let mut leftovers = Vec::new();
        for profile in self.profiles_of(&target.name).await? {
            held.check()?;
            let prefix = account_prefix(&profile.identifier);
            let listed = accounts.list_accounts(&reach.target, &prefix);
            let listed = match reach.ask(false, &[], listed).await {
                Ok(listed) => listed,
                Err(error) => return Ok(Err(error)),
            };
            let own: BTreeSet<String> = listed
                .into_iter()
                .filter(|name| self.is_own_account(&target.name, &profile.identifier, name))
                .collect();
            for account in own {
                let lease = self.lease_of_account(&target.name, &account).await?;
                if lease
                    .as_ref()
                    .is_some_and(|lease| lease.progress.state.is_live())
                {
                    continue;
                }
                let removal = match lease {
                    Some(lease) => lease.removal.clone(),
                    None => profile.removal_template.clone(),
                };
                leftovers.push(Leftover {
                    account,
                    profile: profile.identifier.clone(),
                    removal,
                });
            }
        }
        Ok(Ok(Some((reach, leftovers))))
    }

    /// Removes accounts, each recorded first; gives how many are gone.
    async fn remove_leftovers(
        &self,
        held: &Held,
        target: &Stored<TargetEntry>,
        reach: &Reach,
        leftovers: Vec<Leftover>,
    ) -> Result<usize, Error> {
        let mut removed = 0;
        for leftover in leftovers {
            let account = &leftover.account;
            let object = ObjectRef::absent(ObjectKind::Lease, account);
            let operation = Operation::RemoveLeftover;
            let remove = event(self, Actor::Vault, None, operation, Some(object))
                .with_change("target", &target.name)
                .with_change("profile", &leftover.profile);
            let act = self.act_alone(vec![remove]).await?;
            held.check()?;
            match drop_account(reach, account, leftover.removal.as_ref()).await {
                Ok(()) => {
                    removed += 1;
                    tracing::warn!(
                        target = %target.name, account,
                        "an account without a lease was found and removed"
                    );
                }
                Err(error) => {
                    let reason = error.to_string();
                    tracing::error!(
                        target = %target.name, account, reason,
                        "an account without a lease was found and cannot be removed"
                    );
                    let failed = Error::Unavailable {
                        reason,
                        source: None,
                    };
                    drop(self.failed(&act, failed).await);
                }
            }
        }
        Ok(removed)
    }
}
