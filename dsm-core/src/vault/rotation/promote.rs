//! The promotion: one commit after which readers are served the candidate.

use std::time::Duration;

use chrono::TimeDelta;

use super::attempt::{Attempt, Cause, Method, Promotion};
use super::drive::{Ended, Run};
use super::held::Held;
use super::points;
use super::round::{Timer, renewal_job};
use crate::audit::{Actor, Operation};
use crate::id::AttemptId;
use crate::provider::ProviderError;
use crate::renewal::schedule::overlap;
use crate::renewal::{Event, Progress, Stage, State, step};
use crate::secret::Secret;
use crate::store::{ChangeSet, Job, JobKey, Settlement};
use crate::vault::act::event;
use crate::vault::error::Error;
use crate::vault::secret::Revision;
use crate::vault::{Vault, kind};

/// The job that retires what an attempt replaced.
pub(super) fn retirement_job(attempt: AttemptId) -> JobKey {
    JobKey {
        topic: kind::RETIRE,
        subject: attempt.0,
    }
}

impl Vault {
    /// Serves the candidate: a new version of the secret, guarded by the secret's revision and the
    /// lease. The job that retires the old one is part of the same commit.
    pub(super) async fn promote(&self, held: &Held, mut run: Run) -> Result<Ended, Error> {
        let now = self.clock.now();
        let (Some(plan), Some(candidate)) = (run.attempt.plan.clone(), run.candidate.take()) else {
            return Err(Self::unplanned(&run));
        };
        let secret = &run.secret;
        let mut data = self.unseal(&run.act, secret.id, secret, secret.sealed_value.as_deref())?;
        if candidate.serve(&mut data, &run.attempt.item).is_none() {
            run.candidate = self.open_candidate(&run.stored)?;
            return self.stop_without_item(held, run).await;
        }
        let revision = Revision {
            content: Secret::clone(secret),
            patch: None,
            kinds: vec![run.attempt.item.kind.as_str()],
            data: Some(data),
        };
        let promoted = event(
            self,
            Actor::Vault,
            None,
            Operation::PromoteSecret,
            Some(secret.object()),
        )
        .with_changes(revision.changes(secret))
        .with_change("attempt", &run.stored.id);
        let act = self.act_alone(vec![promoted]).await?;
        let next = self.next_version(&act, secret, revision, "vault").await?;
        let Some((new, set)) = next else {
            return Err(Self::unplanned(&run));
        };
        let retire_after = match plan.method {
            Method::InPlace => Duration::ZERO,
            Method::TwoAccounts | Method::TwoKeys => self.overlap_of(&run),
        };
        let retire_at = now + TimeDelta::from_std(retire_after).unwrap_or(TimeDelta::days(365));
        (run.attempt.progress, _) = step(run.attempt.progress, Event::Promoted);
        let since = run
            .uncertain_since
            .filter(|_| plan.method == Method::InPlace);
        run.attempt.promotion = Some(Promotion {
            version: new.version,
            at: now,
            retire_at,
            window_ms: since
                .map(|since| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)),
        });
        run.attempt.try_at = None;
        let mut set = set;
        if plan.method == Method::InPlace {
            // The change itself has retired the old password.
            (run.attempt.progress, _) = step(run.attempt.progress, Event::Retired);
            let interval = run
                .interval
                .map(|interval| Duration::from_mins(u64::from(interval.minutes())));
            run.attempt.end(now, interval);
        } else {
            set = set.put_job(Job {
                key: retirement_job(run.stored.id),
                due_at: retire_at,
                body: Vec::new(),
            });
        }
        let settlement = self
            .next_tick(&run)
            .map_or(Settlement::Done, Settlement::RetryAt);
        let (_, set) = self.with_attempt(&run, set);
        let set = set.settle(&held.lease(), settlement);
        self.fail_point(points::BEFORE_PROMOTE).await;
        held.check()?;
        self.commit(act, set).await?;
        self.fail_point(points::AFTER_PROMOTE).await;
        Ok(Ended::Promoted)
    }

    /// The item was taken out of the secret while its credential was changed: somebody has to say
    /// what shall become of the candidate.
    async fn stop_without_item(&self, held: &Held, mut run: Run) -> Result<Ended, Error> {
        let gone = ProviderError::Refused("the secret has no such item any more".to_owned());
        run.fail(self.clock.now(), "promote", &gone);
        run.attempt.progress = Progress {
            state: State::NeedsOperator(Stage::Change),
            ..run.attempt.progress
        };
        self.park(held, run).await
    }

    /// How long the old credential stays good.
    fn overlap_of(&self, run: &Run) -> Duration {
        let asked = run.attempt.overlap_seconds.map(Duration::from_secs);
        overlap(asked.unwrap_or(self.options.overlap()), run.interval)
    }

    /// Adds the attempt that follows one whose overlap was cut short.
    pub(super) async fn begin_again(&self, run: &Run, set: ChangeSet) -> Result<ChangeSet, Error> {
        let found = self
            .records
            .find::<Secret>(kind::SECRET, run.secret.id)
            .await?;
        let item = found.and_then(|secret| {
            let mut items = secret.managed.iter();
            items.find(|item| item.is_same(&run.attempt.item)).cloned()
        });
        let Some(item) = item else { return Ok(set) };
        let timer = Timer::of(item.kind);
        let mut next = Attempt::new(run.secret.id, item, Cause::Request);
        next.overlap_seconds = Some(0);
        let next = self.records.draft(next, "vault").await?;
        Ok(set.create(self.records.encode(&next)).put_job(Job {
            key: renewal_job(run.secret.id, timer),
            due_at: self.clock.now(),
            body: Vec::new(),
        }))
    }
}
