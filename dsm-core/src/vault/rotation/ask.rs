//! What operators ask of rotations: one now, which there were, and how one is settled.

use std::time::Duration;

use super::attempt::{Attempt, Cause};
use super::promote::retirement_job;
use super::round::{Timer, renewal_job};
use crate::access::Permission;
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::id::{AttemptId, SecretId};
use crate::renewal::{Settle, Stage, State};
use crate::secret::{Secret, Status};
use crate::store::{ChangeSet, Job, JobKey, Page, Query};
use crate::vault::act::Caller;
use crate::vault::error::Error;
use crate::vault::record::{Listing, Stored};
use crate::vault::secret::OF_SECRET;
use crate::vault::{Vault, kind};

/// The longest overlap that can be asked for.
const MAX_OVERLAP: Duration = Duration::from_hours(24 * 365);

impl Vault {
    /// Asks for new credentials of every managed item of a secret, now. What is under way for an
    /// item is given again. Ephemeral items have a new account when this returns; the account of
    /// before lives to its end unless an overlap is given.
    ///
    /// An overlap of zero is for a leak: an overlap that still runs is cut short, and another
    /// rotation follows at once.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] for an expired secret, or one without a managed or ephemeral item, and for
    /// an account that the target refuses; [`Error::Unavailable`] when it could not be asked.
    pub async fn rotate_secret(
        &self,
        caller: &Caller,
        id: SecretId,
        overlap: Option<Duration>,
    ) -> Result<Vec<Stored<Attempt>>, Error> {
        let operation = Operation::RotateSecret;
        let object = ObjectRef::new(ObjectKind::Secret, id, "");
        let permit = self
            .permit(caller, Permission::SecretsRotate, operation, Some(object))
            .await?;
        if overlap.is_some_and(|overlap| overlap > MAX_OVERLAP) {
            let message = "must be at most 31536000, a year";
            return Err(Error::invalid("overlap_seconds", message));
        }
        let secret = self.secret(id).await?;
        let event = caller.event(self, operation, secret.object());
        let ephemeral = secret.items.ephemeral_credentials > 0;
        let (attempts, set) = if secret.managed.is_empty() && ephemeral {
            (Vec::new(), ChangeSet::default())
        } else {
            self.draft_attempts(&secret, overlap, &caller.operator.name)
                .await?
        };
        let act = self.act(permit, vec![event]).await?;
        if set.is_empty() {
            drop(act);
        } else {
            self.commit(act, set).await.map_err(|error| match error {
                // Another worker or caller began one of them at the same time.
                Error::Conflict(_) => Error::Stale,
                other => other,
            })?;
        }
        if ephemeral {
            self.provision_for(caller, secret, overlap).await?;
        }
        Ok(attempts)
    }

    /// Attempts for everything that is managed in a secret, and the jobs that work on them.
    pub(crate) async fn draft_attempts(
        &self,
        secret: &Stored<Secret>,
        overlap: Option<Duration>,
        by: &str,
    ) -> Result<(Vec<Stored<Attempt>>, ChangeSet), Error> {
        let now = self.clock.now();
        if secret.status(now) == Status::Expired {
            return Err(Error::Conflict("the secret has expired".to_owned()));
        }
        if secret.managed.is_empty() {
            let message = "the secret has no credential on a target";
            return Err(Error::Conflict(message.to_owned()));
        }
        let mut set = ChangeSet::default();
        let mut jobs: Vec<JobKey> = Vec::new();
        let mut attempts = Vec::new();
        for item in &secret.managed {
            let newest = self.newest_attempt(secret.id, item).await?;
            let open = newest.filter(|attempt| !attempt.progress.state.is_over());
            let attempt = match open {
                Some(open)
                    if overlap == Some(Duration::ZERO)
                        && open.progress.state == State::Promoted =>
                {
                    let mut content = Attempt::clone(&open);
                    content.again = true;
                    if let Some(promotion) = &mut content.promotion {
                        promotion.retire_at = promotion.retire_at.min(now);
                    }
                    let cut = self.records.revise(&open, content, by);
                    set = set.update(self.records.encode(&cut), open.revision);
                    jobs.push(retirement_job(cut.id));
                    cut
                }
                Some(open) => open,
                None => {
                    let mut attempt = Attempt::new(secret.id, item.clone(), Cause::Request);
                    attempt.overlap_seconds = overlap.map(|overlap| overlap.as_secs());
                    let attempt = self.records.draft(attempt, by).await?;
                    set = set.create(self.records.encode(&attempt));
                    jobs.push(renewal_job(secret.id, Timer::of(item.kind)));
                    attempt
                }
            };
            attempts.push(attempt);
        }
        jobs.sort_unstable();
        jobs.dedup();
        let set = jobs.into_iter().fold(set, |set, key| {
            set.put_job(Job {
                key,
                due_at: now,
                body: Vec::new(),
            })
        });
        Ok((attempts, set))
    }

    /// Whether the rotation of one of a secret's items waits for an operator.
    pub async fn needs_operator(&self, secret: &Stored<Secret>) -> Result<bool, Error> {
        for item in &secret.managed {
            let newest = self.newest_attempt(secret.id, item).await?;
            let state = newest.map(|attempt| attempt.progress.state);
            if matches!(state, Some(State::NeedsOperator(_))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A page of a secret's attempts, newest first.
    pub async fn list_attempts(
        &self,
        caller: &Caller,
        id: SecretId,
        page: Page,
    ) -> Result<Listing<Stored<Attempt>>, Error> {
        let object = ObjectRef::new(ObjectKind::Secret, id, "");
        let (permission, operation) = (Permission::SecretsView, Operation::ViewSecret);
        self.view(caller, permission, operation, Some(object))
            .await?;
        self.secret(id).await?;
        let term = self
            .records
            .term(kind::ATTEMPT, OF_SECRET, id.0.to_be_bytes());
        self.records
            .list(&Query::new(kind::ATTEMPT).with(term), page)
            .await
    }

    /// Settles an attempt that waits for an operator. A worker acts on it: what is to be served has
    /// to log in, whatever was decided.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when the attempt does not wait for anybody, or the decision is none of
    /// [those](Stage::decisions) of the stage in which it stopped.
    pub async fn settle_attempt(
        &self,
        caller: &Caller,
        secret: SecretId,
        id: AttemptId,
        how: Settle,
    ) -> Result<Stored<Attempt>, Error> {
        let operation = Operation::SettleRotation;
        let object = ObjectRef::new(ObjectKind::Secret, secret, "");
        let permit = self
            .permit(caller, Permission::SecretsRotate, operation, Some(object))
            .await?;
        let found = self.records.find::<Attempt>(kind::ATTEMPT, id).await?;
        let Some(old) = found.filter(|attempt| attempt.secret == secret) else {
            return Err(Error::NotFound(ObjectKind::Attempt));
        };
        let State::NeedsOperator(stage) = old.progress.state else {
            let message = "the rotation does not wait for an operator";
            return Err(Error::Conflict(message.to_owned()));
        };
        if !stage.decisions().contains(&how) {
            let message = format!("{how} decides nothing where the rotation stopped");
            return Err(Error::Conflict(message));
        }
        let mut content = Attempt::clone(&old);
        content.settle = Some(how);
        let new = self.records.revise(&old, content, &caller.operator.name);
        let key = match stage {
            Stage::Plan | Stage::Change => renewal_job(secret, Timer::of(old.item.kind)),
            Stage::Retire => retirement_job(id),
        };
        let set = ChangeSet::default()
            .update(self.records.encode(&new), old.revision)
            .put_job(Job {
                key,
                due_at: self.clock.now(),
                body: Vec::new(),
            });
        let object = self.secret(secret).await?.object();
        let event = caller.event(self, operation, object);
        let event = event
            .with_change("attempt", &id)
            .with_change("settle", &how);
        let act = self.act(permit, vec![event]).await?;
        self.commit(act, set).await?;
        Ok(new)
    }
}
