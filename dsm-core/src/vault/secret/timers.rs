//! The timers of a secret, and what it has on targets.

use super::entity::MANAGED;
use crate::renewal::Stage;
use crate::renewal::schedule::next_due;
use crate::secret::{DataPatch, ManagedItem, Secret};
use crate::store::{ChangeSet, Job};
use crate::vault::error::{Error, FieldError};
use crate::vault::record::Stored;
use crate::vault::rotation::{Timer, renewal_job};
use crate::vault::{Vault, kind};

impl Vault {
    /// Puts, moves or removes the jobs of the timers that are other than they were. A rotation under
    /// way keeps its job, and its end minds the new interval.
    pub(super) async fn schedule_renewals(
        &self,
        new: &Stored<Secret>,
        old: Option<&Secret>,
        mut set: ChangeSet,
    ) -> Result<ChangeSet, Error> {
        for timer in Timer::ALL {
            let before = old.and_then(|old| timer.interval(&old.renew));
            let after = timer.interval(&new.renew);
            if before == after || self.is_rotating(new, timer).await? {
                continue;
            }
            let key = renewal_job(new.id, timer);
            set = match after {
                Some(interval) => set.put_job(Job {
                    key,
                    due_at: next_due(self.clock.now(), interval, self.chance()),
                    body: Vec::new(),
                }),
                None => set.remove_job(key),
            };
        }
        Ok(set)
    }

    /// Refuses to replace an item whose credential is being changed at this moment.
    pub(super) async fn refuse_while_rotating(
        &self,
        secret: &Stored<Secret>,
        patch: &DataPatch,
    ) -> Result<(), Error> {
        for item in secret
            .managed
            .iter()
            .filter(|item| patch.replaces(item.kind))
        {
            let newest = self.newest_attempt(secret.id, item).await?;
            if newest.is_some_and(|attempt| attempt.progress.state.stage() == Some(Stage::Change)) {
                let message = "the credential is being rotated; settle or await that first";
                return Err(Error::Conflict(message.to_owned()));
            }
        }
        Ok(())
    }

    async fn is_rotating(&self, secret: &Stored<Secret>, timer: Timer) -> Result<bool, Error> {
        for item in &secret.managed {
            if Timer::of(item.kind) == timer
                && let Some(attempt) = self.newest_attempt(secret.id, item).await?
                && let Some(Stage::Plan | Stage::Change) = attempt.progress.state.stage()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Refuses managed items of the calling client's write: they change by rotation only.
    pub(crate) fn refuse_managed(secret: &Secret, patch: &DataPatch) -> Result<(), Error> {
        if secret.managed.iter().any(|item| patch.replaces(item.kind)) {
            let message = "the credential is managed on a target and changes by rotation only";
            return Err(Error::Conflict(message.to_owned()));
        }
        Ok(())
    }

    /// Refuses managed items whose target there is not, or whose account another secret manages.
    pub(super) async fn check_managed(
        &self,
        errors: &mut Vec<FieldError>,
        old: Option<&Secret>,
        items: &[ManagedItem],
    ) -> Result<(), Error> {
        for item in items {
            if old.is_some_and(|old| old.managed.iter().any(|held| held.is_same(item))) {
                continue;
            }
            if self.target_named(&item.target).await?.is_none() {
                errors.push(FieldError::new("data", "there is no such target"));
            }
            for claim in item.claims() {
                let other: Option<Stored<Secret>> =
                    self.records.find_by(kind::SECRET, MANAGED, claim).await?;
                if other.is_some_and(|other| Some(&other.identity) != old.map(|old| &old.identity))
                {
                    let message = "another secret has this account on this target";
                    errors.push(FieldError::new("data", message));
                }
            }
        }
        Ok(())
    }
}
