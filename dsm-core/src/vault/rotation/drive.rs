//! One worker at one attempt: from event to effect to event, until something is to be committed
//! that ends the lease.

use std::sync::Arc;

use tokio::time::Instant;

use super::attempt::{Attempt, Tried};
use super::candidate::Credential;
use super::held::Held;
use super::points;
use crate::audit::{Actor, Operation};
use crate::crypto::CryptoError;
use crate::provider::ProviderError;
use crate::renewal::schedule::{next_due, next_try};
use crate::renewal::{Effect, Event, Failure, State, step};
use crate::secret::{RenewalInterval, Secret, SecretError};
use crate::store::{ChangeSet, OperationId, RecordKey, Settlement};
use crate::time::Timestamp;
use crate::vault::act::{Act, event};
use crate::vault::error::Error;
use crate::vault::record::Stored;
use crate::vault::secret::SecretErrorEntry;
use crate::vault::target::Reach;
use crate::vault::{Vault, kind};

/// An attempt while it is worked on.
#[derive(Debug)]
pub(super) struct Run {
    /// The secret as it was read; a promotion is guarded by its revision.
    pub(super) secret: Stored<Secret>,
    /// The attempt as it is committed, if it is.
    pub(super) stored: Stored<Attempt>,
    pub(super) is_new: bool,
    /// The attempt as it will be committed.
    pub(super) attempt: Attempt,
    pub(super) candidate: Option<Credential>,
    /// Proof that this is recorded: for opening what is needed and touching the target.
    pub(super) act: Act,
    pub(super) reach: Option<Arc<Reach>>,
    /// Since when it is not certain which password logs in.
    pub(super) uncertain_since: Option<Instant>,
    pub(super) failed: Option<Tried>,
    pub(super) interval: Option<RenewalInterval>,
    /// When something else of this job is due.
    pub(super) others: Option<Timestamp>,
}

/// What came of working on a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::vault) enum Ended {
    /// A new credential is served.
    Promoted,
    /// An old one is retired, or the attempt is over otherwise.
    Over,
    /// It is tried again later, or waits for an operator.
    Failed,
    /// There was nothing to do.
    Idle,
}

impl Run {
    /// Notes a failure for the history, as an event.
    pub(super) fn fail(&mut self, now: Timestamp, doing: &str, error: &ProviderError) -> Event {
        let failure = Failure::from(error);
        self.failed = Some(Tried {
            at: now,
            step: doing.to_owned(),
            failure: Some(failure),
            message: error.message().to_owned(),
        });
        Event::Failed(failure)
    }

    /// Notes that nothing that was tried logs in.
    pub(super) fn rejected(&mut self, now: Timestamp, message: &str) {
        self.failed = Some(Tried {
            at: now,
            step: "log in".to_owned(),
            failure: None,
            message: message.to_owned(),
        });
    }
}

impl Vault {
    /// Records that an attempt is worked on, and opens what it has.
    pub(super) async fn take_up(
        &self,
        secret: Stored<Secret>,
        stored: Stored<Attempt>,
        is_new: bool,
        interval: Option<RenewalInterval>,
        others: Option<Timestamp>,
    ) -> Result<Run, Error> {
        let object = Some(secret.object());
        let renew = event(self, Actor::Vault, None, Operation::RenewSecret, object);
        let renew = renew.with_change("attempt", &stored.id);
        let act = self.act_alone(vec![renew]).await?;
        let candidate = self.open_candidate(&stored)?;
        Ok(Run {
            attempt: Attempt::clone(&stored),
            secret,
            stored,
            is_new,
            candidate,
            act,
            reach: None,
            uncertain_since: None,
            failed: None,
            interval,
            others,
        })
    }

    /// Goes on with an attempt until its lease is to end.
    pub(super) async fn drive(&self, held: &Held, mut run: Run) -> Result<Ended, Error> {
        let mut event = run
            .attempt
            .settle
            .take()
            .map_or(Event::Begin, Event::Settle);
        loop {
            let (progress, effect) = step(run.attempt.progress, event);
            run.attempt.progress = progress;
            held.check()?;
            event = match effect {
                Effect::Plan => self.plan(held, &mut run).await?,
                Effect::Probe => self.probe(held, &mut run).await?,
                Effect::Change => self.change(held, &mut run).await?,
                Effect::LogIn => self.check_candidate(&mut run).await?,
                Effect::CheckCurrent => self.check_current(&mut run).await?,
                Effect::Withdraw => self.withdraw(&mut run).await?,
                Effect::Retire => self.retire(&mut run).await?,
                Effect::Promote => return self.promote(held, run).await,
                Effect::WaitOverlap
                | Effect::WaitRetry
                | Effect::CallOperator
                | Effect::End
                | Effect::Nothing => return self.park(held, run).await,
            };
        }
    }

    /// Commits where an attempt is while its lease goes on.
    pub(super) async fn keep(
        &self,
        held: &Held,
        run: &mut Run,
        set: ChangeSet,
    ) -> Result<(), Error> {
        let (stored, set) = self.with_attempt(run, set);
        let set = set.hold(&held.lease());
        let operation = OperationId::new(self.clock.now(), self.entropy.array());
        self.records.commit(set.named(operation)).await?;
        run.stored = stored;
        run.is_new = false;
        Ok(())
    }

    /// The attempt as it will be committed, and its change.
    pub(super) fn with_attempt(&self, run: &Run, set: ChangeSet) -> (Stored<Attempt>, ChangeSet) {
        let seal = |stored: &mut Stored<Attempt>| {
            let kept = run.candidate.as_ref();
            let kept = kept.filter(|_| !run.attempt.progress.state.is_promoted());
            let kept = kept.filter(|_| !run.attempt.progress.state.is_over());
            stored.sealed_value = kept.map(|it| self.seal_candidate(stored.id, it).into());
        };
        if run.is_new {
            let mut stored = run.stored.clone();
            stored.content = Arc::new(run.attempt.clone());
            seal(&mut stored);
            let record = self.records.encode(&stored);
            return (stored, set.create(record));
        }
        let mut stored = self
            .records
            .revise(&run.stored, run.attempt.clone(), "vault");
        seal(&mut stored);
        let record = self.records.encode(&stored);
        (stored, set.update(record, run.stored.revision))
    }

    /// Puts a job off, or ends it, with what there is to say about it.
    pub(super) async fn park(&self, held: &Held, mut run: Run) -> Result<Ended, Error> {
        let now = self.clock.now();
        let state = run.attempt.progress.state;
        let progress = run.attempt.progress;
        run.attempt.try_at = match state {
            State::RetryWait(_) => {
                let count = progress.failures.max(progress.refusals);
                Some(next_try(now, count, self.chance()))
            }
            _ => None,
        };
        if state.is_over() {
            let interval = run
                .interval
                .map(|interval| std::time::Duration::from_mins(u64::from(interval.minutes())));
            run.attempt.end(now, interval);
        }
        let mut set = ChangeSet::default();
        let mut events = Vec::new();
        let failed = run.failed.take();
        let ended = if state.is_over() {
            Ended::Over
        } else {
            Ended::Failed
        };
        if let Some(failed) = failed.filter(|_| !state.is_over()) {
            run.attempt.note(failed.clone());
            set = self.with_history(&run, failed, set).await?;
            let object = Some(run.secret.object());
            events.push(event(
                self,
                Actor::Vault,
                None,
                Operation::RecordError,
                object,
            ));
        }
        let next = self.next_of_job(&run);
        if run.attempt.again && state.is_over() {
            set = self.begin_again(&run, set).await?;
        }
        let (_, set) = self.with_attempt(&run, set);
        let settlement = next.map_or(Settlement::Done, Settlement::RetryAt);
        let set = set.settle(&held.lease(), settlement);
        self.fail_point(points::BEFORE_PARK).await;
        let act = if events.is_empty() {
            run.act
        } else {
            self.act_alone(events).await?
        };
        self.commit(act, set).await?;
        self.fail_point(points::AFTER_PARK).await;
        Ok(ended)
    }

    /// When the job of this run is due next.
    fn next_of_job(&self, run: &Run) -> Option<Timestamp> {
        if let Some(at) = run.attempt.try_at {
            return Some(run.others.map_or(at, |other| other.min(at)));
        }
        // What is left after a promotion is a job of its own, and ends with it.
        if run.attempt.promotion.is_some() {
            return None;
        }
        self.next_tick(run)
    }

    /// When the timer of this run comes next, or something else of its job.
    pub(super) fn next_tick(&self, run: &Run) -> Option<Timestamp> {
        let tick = run
            .interval
            .map(|interval| next_due(self.clock.now(), interval, self.chance()));
        run.others.into_iter().chain(tick).min()
    }

    /// Adds a failure to the history of its secret.
    async fn with_history(
        &self,
        run: &Run,
        failed: Tried,
        set: ChangeSet,
    ) -> Result<ChangeSet, Error> {
        let needs_operator = matches!(run.attempt.progress.state, State::NeedsOperator(_));
        let error = SecretError {
            at: failed.at,
            operation: "rotate".to_owned(),
            item: Some(format!(
                "{} {}@{}",
                run.attempt.item.kind.as_str(),
                run.attempt.item.user,
                run.attempt.item.target
            )),
            message: failed.message,
            step: Some(failed.step),
            kind: Some(if needs_operator {
                "needs_operator".to_owned()
            } else {
                failed
                    .failure
                    .map_or("rejected", Failure::as_str)
                    .to_owned()
            }),
            next_try_at: run.attempt.try_at,
        };
        let entry = SecretErrorEntry {
            secret: run.secret.id,
            error,
        };
        let entry = self.records.draft(entry, "vault").await?;
        let set = set.create(self.records.encode(&entry));
        if run.secret.has_error {
            return Ok(set);
        }
        let content = Secret {
            has_error: true,
            ..Secret::clone(&run.secret)
        };
        let flagged = self.records.revise(&run.secret, content, "vault");
        Ok(set.update(self.records.encode(&flagged), run.secret.revision))
    }

    /// What a secret's item holds now; none if it holds nothing to log in with.
    pub(super) fn current(&self, run: &Run) -> Result<Option<Credential>, Error> {
        let secret = &run.secret;
        let data = self.unseal(&run.act, secret.id, secret, secret.sealed_value.as_deref())?;
        Ok(Credential::of(data, &run.attempt.item))
    }

    /// What the item held before the values that are served now.
    pub(super) async fn previous(&self, run: &Run) -> Result<Option<Credential>, Error> {
        let before = run.secret.values_of.saturating_sub(1);
        let Some(version) = self.version_if(run.secret.id, before).await? else {
            return Ok(None);
        };
        let sealed = version.sealed_value.as_deref();
        let data = self.unseal(&run.act, run.secret.id, &version.snapshot, sealed)?;
        Ok(Credential::of(data, &run.attempt.item))
    }

    /// The target of an attempt, at the place where the attempt began.
    pub(super) async fn reached(
        &self,
        run: &mut Run,
    ) -> Result<Result<Arc<Reach>, ProviderError>, Error> {
        if let Some(reach) = &run.reach {
            return Ok(Ok(Arc::clone(reach)));
        }
        let Some(target) = self.target_named(&run.attempt.item.target).await? else {
            let message = "there is no such target any more".to_owned();
            return Ok(Err(ProviderError::Refused(message)));
        };
        if let Some(plan) = &run.attempt.plan
            && (plan.provider != target.provider || plan.address != target.address)
        {
            let message = "the target is at another address than when the rotation began";
            return Ok(Err(ProviderError::Refused(message.to_owned())));
        }
        let reach = match self.reach(&target, run.act.receipt()).await? {
            Ok(reach) => Arc::new(reach),
            Err(error) => return Ok(Err(error)),
        };
        run.reach = Some(Arc::clone(&reach));
        Ok(Ok(reach))
    }

    /// Where a test can stop a worker.
    #[cfg(feature = "testing")]
    pub(in crate::vault) async fn fail_point(&self, point: &'static str) {
        if let Some(points) = &self.fail_points {
            points.reach(point).await;
        }
    }

    /// Where a test can stop a worker: nowhere.
    #[cfg(not(feature = "testing"))]
    #[allow(clippy::unused_self, clippy::unused_async, reason = "as with tests")]
    #[inline]
    pub(in crate::vault) async fn fail_point(&self, _: &'static str) {}

    pub(super) fn unplanned(run: &Run) -> Error {
        Error::damaged(
            RecordKey::new(kind::ATTEMPT, run.stored.id),
            CryptoError::UnsupportedFormat,
        )
    }
}
