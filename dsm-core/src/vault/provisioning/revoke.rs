//! The end of leases: their accounts are removed, whatever it takes.

use super::points;
use crate::access::Authorization;
use crate::audit::{Actor, Operation};
use crate::id::{LeaseId, TargetId};
use crate::provider::{Provider, ProviderError};
use crate::provision::{LeaseEvent, LeaseState};
use crate::renewal::Failure;
use crate::renewal::schedule::next_try;
use crate::secret::{Secret, SecretError, Status};
use crate::store::{ChangeSet, Job, JobKey, Settlement};
use crate::time::Timestamp;
use crate::vault::act::{Act, event};
use crate::vault::error::Error;
use crate::vault::lease::{AccountLease, LeaseEnd};
use crate::vault::record::Stored;
use crate::vault::rotation::{COME_BACK, Ended, Held, Tried};
use crate::vault::target::Reach;
use crate::vault::{Vault, kind};

/// The job that removes the account of a lease.
pub(crate) fn revocation_job(lease: LeaseId, due_at: Timestamp) -> Job {
    Job {
        key: JobKey {
            topic: kind::REVOKE,
            subject: lease.0 * 2,
        },
        due_at,
        body: Vec::new(),
    }
}

impl Vault {
    /// Works on a job of leases.
    pub(in crate::vault) async fn revoke_due(
        &self,
        held: &Held,
        subject: u64,
    ) -> Result<Ended, Error> {
        if subject % 2 == 1 {
            return self.reconcile_due(held, TargetId(subject / 2)).await;
        }
        let found = self
            .records
            .find::<AccountLease>(kind::LEASE, LeaseId(subject / 2))
            .await?;
        let Some(lease) = found.filter(|lease| lease.progress.state.is_live()) else {
            return self.settle_idle(held, Settlement::Done).await;
        };
        let now = self.clock.now();
        if now < lease.made_until {
            let later = Settlement::RetryAt(lease.made_until);
            return self.settle_idle(held, later).await;
        }
        let Some(end) = self.end_of(&lease).await? else {
            let later = Settlement::RetryAt(lease.content.expires_at);
            return self.settle_idle(held, later).await;
        };
        if lease.progress.state == LeaseState::NeedsOperator {
            return self.settle_idle(held, Settlement::Done).await;
        }
        if let Some(at) = lease.try_at.filter(|at| now < *at) {
            return self.settle_idle(held, Settlement::RetryAt(at)).await;
        }
        let bound = self.options.rotations_per_target.get();
        let Some(_turn) = self.turns.take(&lease.target, bound).await else {
            let later = Settlement::RetryAt(now + COME_BACK);
            return self.settle_idle(held, later).await;
        };
        let object = Some(lease.object());
        let revoke = event(self, Actor::Vault, None, Operation::RevokeLease, object);
        let act = self.act_alone(vec![revoke]).await?;
        let removed = self.remove_account(held, &lease, &act).await?;
        self.end_lease(held, &lease, end, removed, act).await
    }

    /// Why a lease is over; the inner none is that its time is over, the outer one that it is not.
    #[allow(clippy::option_option, reason = "as the comment has it")]
    async fn end_of(&self, lease: &AccountLease) -> Result<Option<Option<LeaseEnd>>, Error> {
        let now = self.clock.now();
        Ok(match lease.progress.state {
            LeaseState::Pending => Some(Some(LeaseEnd::GivenUp)),
            LeaseState::Ending | LeaseState::Ended | LeaseState::NeedsOperator => Some(lease.end),
            LeaseState::Active if now >= lease.expires_at => Some(lease.end),
            LeaseState::Active if self.owner_ended(lease).await? => {
                Some(Some(LeaseEnd::OwnerEnded))
            }
            LeaseState::Active => None,
        })
    }

    /// Whether the authorization of a lease was revoked, or its secret is over.
    pub(super) async fn owner_ended(&self, lease: &AccountLease) -> Result<bool, Error> {
        let secret = self
            .records
            .find::<Secret>(kind::SECRET, lease.secret)
            .await?;
        let now = self.clock.now();
        if secret.is_none_or(|secret| secret.status(now) == Status::Expired) {
            return Ok(true);
        }
        let Some(id) = lease.authorization else {
            return Ok(false);
        };
        let found: Option<Stored<Authorization>> =
            self.records.find(kind::AUTHORIZATION, id).await?;
        Ok(found.is_none_or(|authorization| authorization.revoked_at.is_some()))
    }

    async fn remove_account(
        &self,
        held: &Held,
        lease: &Stored<AccountLease>,
        act: &Act,
    ) -> Result<Result<(), ProviderError>, Error> {
        let Some(target) = self.target_named(&lease.target).await? else {
            let message = format!("there is no target {} any more", lease.target);
            return Ok(Err(ProviderError::Refused(message)));
        };
        let reach = match self.reach(&target, act.receipt()).await? {
            Ok(reach) => reach,
            Err(error) => return Ok(Err(error)),
        };
        self.fail_point(points::BEFORE_REMOVE).await;
        held.check()?;
        let removed = drop_account(&reach, &lease.account, lease.removal.as_ref()).await;
        self.fail_point(points::AFTER_REMOVE).await;
        Ok(removed)
    }

    /// Commits what became of the removal.
    async fn end_lease(
        &self,
        held: &Held,
        lease: &Stored<AccountLease>,
        end: Option<LeaseEnd>,
        removed: Result<(), ProviderError>,
        act: Act,
    ) -> Result<Ended, Error> {
        let now = self.clock.now();
        let mut content = AccountLease::clone(lease);
        content.end = end;
        content.progress = content.progress.after(LeaseEvent::Over);
        let (settlement, ended) = match &removed {
            Ok(()) => {
                content.progress = content.progress.after(LeaseEvent::Removed);
                content.try_at = None;
                content.ended_at = Some(now);
                (Settlement::Done, Ended::Over)
            }
            Err(error) => {
                let failure = Failure::from(error);
                content.progress = content.progress.after(LeaseEvent::Failed(failure));
                content.note(Tried {
                    at: now,
                    step: "remove account".to_owned(),
                    failure: Some(failure),
                    message: error.message().to_owned(),
                });
                content.try_at = (content.progress.state == LeaseState::Ending)
                    .then(|| next_try(now, content.progress.failures, self.chance()));
                let settlement = content.try_at;
                let settlement = settlement.map_or(Settlement::Done, Settlement::RetryAt);
                (settlement, Ended::Failed)
            }
        };
        let new = self.records.revise(lease, content, "vault");
        let set = ChangeSet::default()
            .update(self.records.encode(&new), lease.revision)
            .settle(&held.lease(), settlement);
        self.fail_point(points::BEFORE_END).await;
        held.check()?;
        self.commit(act, set).await?;
        self.fail_point(points::AFTER_END).await;
        if let Err(error) = removed {
            self.tell_secret(&new, &error).await;
        }
        Ok(ended)
    }

    /// Adds a failed removal to the error history of the secret, if that is there still.
    async fn tell_secret(&self, lease: &Stored<AccountLease>, error: &ProviderError) {
        let needs_operator = lease.progress.state == LeaseState::NeedsOperator;
        let entry = SecretError {
            at: self.clock.now(),
            operation: "revoke".to_owned(),
            item: Some(format!(
                "ephemeral_credential {}@{}",
                lease.account, lease.target
            )),
            message: error.message().to_owned(),
            step: Some("remove account".to_owned()),
            kind: Some(if needs_operator {
                "needs_operator".to_owned()
            } else {
                Failure::from(error).as_str().to_owned()
            }),
            next_try_at: lease.try_at,
        };
        let found = self
            .records
            .find::<Secret>(kind::SECRET, lease.secret)
            .await;
        if let Ok(Some(secret)) = found
            && let Err(error) = self.record_secret_error(&secret, entry).await
        {
            tracing::warn!(lease = %lease.id, %error, "the error history could not be written");
        }
    }
}

/// Removes an account. Where a template does it, whether it is gone is looked at.
pub(super) async fn drop_account(
    reach: &Reach,
    account: &str,
    removal: Option<&crate::provider::Template>,
) -> Result<(), ProviderError> {
    let provider: &dyn Provider = &*reach.provider;
    let Some(accounts) = provider.accounts() else {
        let message = "the provider of this target makes no accounts";
        return Err(ProviderError::Refused(message.to_owned()));
    };
    let dropped = accounts.drop_account(&reach.target, account, removal);
    reach.ask(true, &[], dropped).await?;
    if removal.is_none() {
        return Ok(());
    }
    let listed = accounts.list_accounts(&reach.target, account);
    let left = reach.ask(false, &[], listed).await?;
    if left.iter().any(|name| name == account) {
        let message = "the removal template left the account on the target";
        return Err(ProviderError::Refused(message.to_owned()));
    }
    Ok(())
}
