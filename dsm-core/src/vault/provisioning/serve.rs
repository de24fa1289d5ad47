//! Serving accounts: one commit after which readers are given them.

use std::time::Duration;

use chrono::TimeDelta;

use super::make::Made;
use super::plan::Owner;
use super::points;
use super::revoke::revocation_job;
use super::who::Who;
use crate::audit::{Actor, Operation};
use crate::provision::{LeaseEvent, LeaseState};
use crate::renewal::Failure;
use crate::secret::{Secret, Status};
use crate::store::{ChangeSet, Settlement};
use crate::vault::act::event;
use crate::vault::error::Error;
use crate::vault::lease::{AccountLease, LeaseEnd};
use crate::vault::record::Stored;
use crate::vault::rotation::Tried;
use crate::vault::secret::Revision;
use crate::vault::{Vault, kind};

/// How often a secret is read again that somebody changes at the same time.
const TRIES: usize = 5;

/// What else the commit does by which accounts come to be served.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    /// How long the accounts of before live on; to their end unless said.
    pub(super) overlap: Option<Duration>,
    /// How the worker's job goes on.
    pub(super) settlement: Option<Settlement>,
}

impl Vault {
    /// Serves accounts: a new version of the secret, their leases, the jobs that end them and that of
    /// the worker, all together. The secret's revision guards it, and those of the leases.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] when a lease has ended meanwhile, or the policy that it was decided on.
    pub(super) async fn serve_accounts(
        &self,
        who: Who<'_>,
        secret: &Stored<Secret>,
        made: &[Made],
        owner: &Owner,
        ending: Ending,
    ) -> Result<Stored<Secret>, Error> {
        for _ in 0..TRIES {
            let found = self.fresh_secret(secret).await?;
            let usable = |it: &Stored<Secret>| it.status(self.clock.now()) != Status::Expired;
            let Some(old) = found.filter(usable) else {
                return Err(Error::Conflict("the secret has ended".to_owned()));
            };
            match self.serve_once(who, &old, made, owner, ending).await {
                Err(Error::Stale) if self.all_as_made(made).await? => {}
                done => return done,
            }
        }
        Err(Error::Stale)
    }

    async fn serve_once(
        &self,
        who: Who<'_>,
        old: &Stored<Secret>,
        made: &[Made],
        owner: &Owner,
        ending: Ending,
    ) -> Result<Stored<Secret>, Error> {
        let now = self.clock.now();
        let mut served = who.event(self, Operation::ServeSecret, old.object());
        for made in made {
            served = served.with_change("lease", &made.lease.id);
        }
        let act = self.act_for(who, old, vec![served]).await?;
        let mut data = self.unseal(&act, old.id, old, old.sealed_value.as_deref())?;
        let mut set = owner.check(ChangeSet::default());
        for made in made {
            let Some(before) = made.serve(&mut data.ephemeral_credentials) else {
                let message = "the secret has no such item any more";
                return Err(self.failed(&act, Error::Conflict(message.to_owned())).await);
            };
            let lease = &made.lease;
            let mut content = AccountLease::clone(lease);
            content.progress = content.progress.after(LeaseEvent::Served);
            content.served_at = Some(now);
            content.made_until = now;
            let new = self.records.revise(lease, content, &who.name());
            set = set
                .update(self.records.encode(&new), lease.revision)
                .put_job(revocation_job(lease.id, lease.content.expires_at));
            if let (Some(overlap), Some(account)) = (ending.overlap, before.account) {
                set = self
                    .plan_replaced(who, &before.target, &account, overlap, set)
                    .await?;
            }
        }
        let revision = Revision {
            content: Secret::clone(old),
            patch: None,
            kinds: vec!["ephemeral_credentials"],
            data: Some(data),
        };
        let by = who.name();
        let Some((new, version)) = self.next_version(&act, old, revision, &by).await? else {
            return Err(Error::Stale);
        };
        let mut set = set.and(version);
        if let (Who::Worker(held), Some(settlement)) = (who, ending.settlement) {
            set = set.settle(&held.lease(), settlement);
        }
        self.fail_point(points::BEFORE_SERVE).await;
        who.check()?;
        self.commit(act, set).await?;
        self.fail_point(points::AFTER_SERVE).await;
        Ok(new)
    }

    /// Adds that the account of before ends after the overlap, if it lives longer.
    async fn plan_replaced(
        &self,
        who: Who<'_>,
        target: &str,
        account: &str,
        overlap: Duration,
        set: ChangeSet,
    ) -> Result<ChangeSet, Error> {
        let found = self.lease_of_account(target, account).await?;
        let end = TimeDelta::from_std(overlap).unwrap_or(TimeDelta::days(365));
        let end = self.clock.now() + end;
        let Some(old) = found
            .filter(|old| old.progress.state == LeaseState::Active && old.content.expires_at > end)
        else {
            return Ok(set);
        };
        let mut content = AccountLease::clone(&old);
        content.expires_at = end;
        content.end = Some(LeaseEnd::Replaced);
        let new = self.records.revise(&old, content, &who.name());
        Ok(set
            .update(self.records.encode(&new), old.revision)
            .put_job(revocation_job(old.id, end)))
    }

    /// Whether the leases are what they were when their accounts were made.
    async fn all_as_made(&self, made: &[Made]) -> Result<bool, Error> {
        for made in made {
            let found = self.lease(made.lease.id).await?;
            if found.revision != made.lease.revision {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends a lease whose account is not served. Its account is removed at once, also one that was
    /// made after the lease was given up by others; where it is not known whether it was made, once
    /// it cannot be made any more.
    pub(super) async fn give_up(
        &self,
        lease: &Stored<AccountLease>,
        step: &str,
        failure: Option<Failure>,
        message: &str,
    ) -> Result<(), Error> {
        for _ in 0..TRIES {
            let old = self.lease(lease.id).await?;
            if old.served_at.is_some() {
                return Ok(());
            }
            let now = self.clock.now();
            let mut content = AccountLease::clone(&old);
            content.reopen();
            content.progress = content.progress.after(LeaseEvent::Over);
            content.end.get_or_insert(LeaseEnd::GivenUp);
            // What may still be under way on the target is let come to its end first: removed before
            // it is made, the account would stay.
            if failure != Some(Failure::OutcomeUnknown) {
                content.made_until = now;
            }
            let remove_at = content.made_until.max(now);
            content.note(Tried {
                at: now,
                step: step.to_owned(),
                failure,
                message: message.to_owned(),
            });
            let new = self.records.revise(&old, content, "vault");
            let set = ChangeSet::default()
                .update(self.records.encode(&new), old.revision)
                .put_job(revocation_job(old.id, remove_at));
            let object = Some(old.object());
            let end = event(self, Actor::Vault, None, Operation::EndLease, object);
            self.fail_point(points::BEFORE_GIVE_UP).await;
            let act = self.act_alone(vec![end]).await?;
            match self.commit(act, set).await {
                Err(Error::Stale) => {}
                done => {
                    self.fail_point(points::AFTER_GIVE_UP).await;
                    return done;
                }
            }
        }
        Err(Error::Stale)
    }

    /// How often in a row provisioning failed for a secret, from its error history.
    pub(super) async fn failures_in_a_row(&self, secret: &Stored<Secret>) -> Result<u32, Error> {
        let id = secret.id.0.to_be_bytes();
        let term = self
            .records
            .term(kind::LEASE, crate::vault::secret::OF_SECRET, id);
        let query = crate::store::Query::new(kind::LEASE).with(term);
        let leases = self
            .records
            .list::<AccountLease>(&query, crate::store::Page::first(50))
            .await?;
        let served = leases
            .items
            .iter()
            .filter_map(|lease| lease.served_at)
            .max();
        let errors = self
            .secret_errors(secret.id, crate::store::Page::first(20))
            .await?;
        let failed = errors
            .items
            .iter()
            .filter(|error| error.operation == super::run::OPERATION)
            .filter(|error| served.is_none_or(|served| error.at > served));
        Ok(u32::try_from(failed.count()).unwrap_or(u32::MAX))
    }
}
