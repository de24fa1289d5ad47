//! The worker: claims what is due and works on it, bounded per target and apart from serving.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::attempt::Attempt;
use super::drive::Ended;
use super::held::{Held, LEASE};
use super::points;
use super::promote::retirement_job;
use super::round::{Timer, subject};
use crate::id::AttemptId;
use crate::secret::Secret;
use crate::store::{Lease, Settlement, StoreExt as _};
use crate::vault::error::Error;
use crate::vault::{Vault, kind};

/// How often a worker with room looks for something to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a job waits for its turn at a busy target before others get its place.
const WAIT_FOR_TURN: Duration = Duration::from_secs(2);
/// When a job comes back that could not go on: a busy target, a failing store.
pub(in crate::vault) const COME_BACK: TimeDelta = TimeDelta::seconds(2);

/// What one round of rotations did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Renewed {
    /// New credentials that are served, of rotations and of profiles.
    pub promoted: usize,
    /// Old ones that are retired, attempts that are over otherwise, and leases that ended.
    pub over: usize,
    /// What is tried again later or waits for an operator.
    pub failed: usize,
    /// Jobs with nothing to do.
    pub idle: usize,
    /// Jobs that others took over, or that the store failed.
    pub lost: usize,
}

impl Renewed {
    /// How many jobs there were.
    pub fn total(&self) -> usize {
        self.promoted + self.over + self.failed + self.idle + self.lost
    }

    fn count(&mut self, ended: Option<Ended>) {
        *match ended {
            Some(Ended::Promoted) => &mut self.promoted,
            Some(Ended::Over) => &mut self.over,
            Some(Ended::Failed) => &mut self.failed,
            Some(Ended::Idle) => &mut self.idle,
            None => &mut self.lost,
        } += 1;
    }
}

/// Turns at targets.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<BTreeMap<String, Arc<Semaphore>>>);

impl Turns {
    /// Waits a while for one of `bound` turns at a target.
    pub(in crate::vault) async fn take(
        &self,
        target: &str,
        bound: usize,
    ) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Targets that nobody waits for are forgotten when there are many.
            if all.len() > 1_000 {
                all.retain(|_, turns| Arc::strong_count(turns) > 1);
            }
            let turns = all.entry(target.to_owned());
            Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(bound))))
        };
        let turn = tokio::time::timeout(WAIT_FOR_TURN, turns.acquire_owned()).await;
        turn.ok()?.ok()
    }
}

impl Vault {
    /// Rotates what is due, at most `limit` jobs, all at the same time but for the bound per target.
    pub async fn renew(&self, limit: usize) -> Result<Renewed, Error> {
        let mut renewed = Renewed::default();
        let claimed = self.claim_renewals(limit).await?;
        let mut running: FuturesUnordered<_> = claimed.into_iter().collect();
        while let Some(ended) = running.next().await {
            renewed.count(ended);
        }
        Ok(renewed)
    }

    /// Rotates what is due for as long as `stop` does not end, up to `room` jobs at the same time.
    /// Any number of servers may. What is under way then is brought to the end of its step.
    pub async fn renew_until(&self, room: usize, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        let mut running = FuturesUnordered::new();
        let mut look_at = Instant::now();
        let mut failing = false;
        loop {
            let free = room.saturating_sub(running.len());
            if free > 0 && (Instant::now() >= look_at || free * 2 >= room.max(2)) {
                match self.claim_renewals(free).await {
                    Ok(claimed) => {
                        let full = claimed.len() == free;
                        running.extend(claimed);
                        failing = false;
                        look_at = Instant::now() + if full { Duration::ZERO } else { LOOK_EVERY };
                    }
                    Err(error) => {
                        // A fault that lasts is said once.
                        if !failing {
                            tracing::error!(%error, "rotations that are due cannot be claimed");
                        }
                        failing = true;
                        look_at = Instant::now() + LOOK_EVERY;
                    }
                }
            }
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = running.next(), if !running.is_empty() => {}
                () = tokio::time::sleep_until(look_at) => {}
            }
        }
        while running.next().await.is_some() {}
    }

    async fn claim_renewals(
        &self,
        limit: usize,
    ) -> Result<Vec<impl Future<Output = Option<Ended>>>, Error> {
        let since = Instant::now();
        let topics = [kind::ROTATE, kind::RETIRE, kind::REVOKE];
        let now = self.clock.now();
        let store = &self.records.store;
        let leases = store.claim_due(&topics, now, LEASE, limit).await?;
        let works = leases.into_iter().map(|lease| self.renew_one(lease, since));
        Ok(works.collect())
    }

    /// Works on one job; none when it was lost to another worker or to the store.
    async fn renew_one(&self, lease: Lease, since: Instant) -> Option<Ended> {
        let job = lease.job.key;
        self.fail_point(points::CLAIMED).await;
        let held = Held::new(lease, since);
        let error = match Box::pin(self.under(&held, self.work_on(&held))).await {
            Ok(ended) => return Some(ended),
            Err(error) => error,
        };
        match &error {
            Error::Stale | Error::Conflict(_) => {
                tracing::debug!(%job, "a rotation goes on elsewhere or anew");
            }
            error => tracing::error!(%job, %error, "a rotation could not go on"),
        }
        // If the lease is still held; else it is nobody's business here.
        let later = Settlement::RetryAt(self.clock.now() + COME_BACK);
        if let Err(error) = self.records.store.settle(&held.lease(), later).await {
            tracing::debug!(%job, %error, "the job comes back when its lease is over");
        }
        None
    }

    async fn work_on(&self, held: &Held) -> Result<Ended, Error> {
        let job = held.lease().job.key;
        if job.topic == kind::RETIRE {
            return self.retire_due(held, AttemptId(job.subject)).await;
        }
        if job.topic == kind::REVOKE {
            return self.revoke_due(held, job.subject).await;
        }
        match subject(job) {
            Some((secret, Timer::Ephemeral)) => self.provision_due(held, secret).await,
            Some((secret, timer)) => self.rotate_due(held, secret, timer).await,
            None => self.settle_idle(held, Settlement::Done).await,
        }
    }

    async fn rotate_due(
        &self,
        held: &Held,
        secret: crate::id::SecretId,
        timer: Timer,
    ) -> Result<Ended, Error> {
        let Some(round) = self.round(secret, timer).await? else {
            return self.settle_idle(held, Settlement::Done).await;
        };
        let Some((attempt, is_new)) = round.work else {
            let tick = round.interval.map(|interval| {
                crate::renewal::schedule::next_due(self.clock.now(), interval, self.chance())
            });
            let next = round.others.into_iter().chain(tick).min();
            let next = next.map_or(Settlement::Done, Settlement::RetryAt);
            return self.settle_idle(held, next).await;
        };
        let bound = self.options.rotations_per_target.get();
        let Some(_turn) = self.turns.take(&attempt.item.target, bound).await else {
            let later = Settlement::RetryAt(self.clock.now() + COME_BACK);
            return self.settle_idle(held, later).await;
        };
        let (interval, others) = (round.interval, round.others);
        let run = self
            .take_up(round.secret, attempt, is_new, interval, others)
            .await?;
        self.drive(held, run).await
    }

    /// What is left to do after a promotion, when the overlap is over.
    async fn retire_due(&self, held: &Held, id: AttemptId) -> Result<Ended, Error> {
        let found = self.records.find::<Attempt>(kind::ATTEMPT, id).await?;
        let Some(attempt) = found.filter(|it| it.promotion.is_some() && it.ended_at.is_none())
        else {
            return self.settle_idle(held, Settlement::Done).await;
        };
        debug_assert_eq!(retirement_job(attempt.id), held.lease().job.key);
        let secret = attempt.secret;
        let found = self.records.find::<Secret>(kind::SECRET, secret).await?;
        let Some(secret) = found else {
            return self.settle_idle(held, Settlement::Done).await;
        };
        let bound = self.options.rotations_per_target.get();
        let Some(_turn) = self.turns.take(&attempt.item.target, bound).await else {
            let later = Settlement::RetryAt(self.clock.now() + COME_BACK);
            return self.settle_idle(held, later).await;
        };
        let interval = Timer::of(attempt.item.kind).interval(&secret.renew);
        let run = self.take_up(secret, attempt, false, interval, None).await?;
        self.drive(held, run).await
    }

    pub(in crate::vault) async fn settle_idle(
        &self,
        held: &Held,
        settlement: Settlement,
    ) -> Result<Ended, Error> {
        self.records.store.settle(&held.lease(), settlement).await?;
        Ok(Ended::Idle)
    }
}
