//! What a job of the queue is about now.

use chrono::TimeDelta;

use super::attempt::{Attempt, Cause, ITEM, item_key};
use crate::id::SecretId;
use crate::renewal::schedule::next_due;
use crate::renewal::{Stage, State};
use crate::secret::{ItemKind, ManagedItem, Renewal, RenewalInterval, Secret, Status};
use crate::store::{JobKey, Page, Query};
use crate::time::Timestamp;
use crate::vault::error::Error;
use crate::vault::record::Stored;
use crate::vault::{Vault, kind};

/// A timer of a secret; each is a job of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// For cloud access keys.
    Cloud,
    /// For credentials and SSH keys.
    Credential,
    /// For ephemeral credentials.
    Ephemeral,
}

impl Timer {
    pub(crate) const ALL: [Self; 3] = [Self::Cloud, Self::Credential, Self::Ephemeral];

    /// The timer that renews items of this kind.
    pub(crate) fn of(kind: ItemKind) -> Self {
        match kind {
            ItemKind::Credential | ItemKind::SshKey => Self::Credential,
            ItemKind::AccessKey => Self::Cloud,
        }
    }

    pub(crate) fn interval(self, renew: &Renewal) -> Option<RenewalInterval> {
        match self {
            Self::Cloud => renew.cloud,
            Self::Credential => renew.credential,
            Self::Ephemeral => renew.ephemeral,
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::Cloud => 0,
            Self::Credential => 1,
            Self::Ephemeral => 2,
        }
    }
}

/// The job of a secret's timer. The numbers of secrets are far below a quarter of what a subject
/// can be.
pub(crate) fn renewal_job(secret: SecretId, timer: Timer) -> JobKey {
    JobKey {
        topic: kind::ROTATE,
        subject: secret.0 * 4 + timer.number(),
    }
}

/// The inverse of [`renewal_job`].
pub(super) fn subject(job: JobKey) -> Option<(SecretId, Timer)> {
    let timer = Timer::ALL
        .into_iter()
        .find(|timer| timer.number() == job.subject % 4)?;
    Some((SecretId(job.subject / 4), timer))
}

/// What a worker has to do for a job, and when the job is due after that.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) secret: Stored<Secret>,
    pub(super) interval: Option<RenewalInterval>,
    /// The attempt to go on with; a new one is not committed yet.
    pub(super) work: Option<(Stored<Attempt>, bool)>,
    /// When something else of this job is due.
    pub(super) others: Option<Timestamp>,
}

/// What one item wants.
enum Due {
    Now(Stored<Attempt>),
    Begin,
    At(Timestamp),
    Never,
}

impl Vault {
    /// What the timer of a secret has to do now; none when there is nothing, for good.
    pub(super) async fn round(
        &self,
        secret: SecretId,
        timer: Timer,
    ) -> Result<Option<Round>, Error> {
        let now = self.clock.now();
        let found = self.records.find::<Secret>(kind::SECRET, secret).await?;
        let Some(secret) = found.filter(|secret| secret.status(now) != Status::Expired) else {
            return Ok(None);
        };
        let interval = timer.interval(&secret.renew);
        let mut round = Round {
            secret,
            interval,
            work: None,
            others: None,
        };
        let items = round.secret.managed.clone();
        for item in items.iter().filter(|item| Timer::of(item.kind) == timer) {
            let at = match self.due(&round.secret, item, interval).await? {
                Due::Never => continue,
                Due::At(at) => at,
                // One at a time: a lease ends with one commit.
                Due::Now(_) | Due::Begin if round.work.is_some() => now,
                Due::Now(attempt) => {
                    round.work = Some((attempt, false));
                    continue;
                }
                Due::Begin => {
                    let attempt = Attempt::new(round.secret.id, item.clone(), Cause::Timer);
                    let attempt = self.records.draft(attempt, "vault").await?;
                    round.work = Some((attempt, true));
                    continue;
                }
            };
            round.others = Some(round.others.map_or(at, |other| other.min(at)));
        }
        Ok(Some(round))
    }

    async fn due(
        &self,
        secret: &Stored<Secret>,
        item: &ManagedItem,
        interval: Option<RenewalInterval>,
    ) -> Result<Due, Error> {
        let now = self.clock.now();
        let Some(attempt) = self.newest_attempt(secret.id, item).await? else {
            return Ok(if interval.is_some() {
                Due::Begin
            } else {
                Due::Never
            });
        };
        let state = attempt.progress.state;
        Ok(match (state, interval) {
            (State::Retired | State::Withdrawn, None) => Due::Never,
            (State::Retired | State::Withdrawn, Some(interval)) => {
                let done = attempt.promotion.as_ref().map(|promotion| promotion.at);
                let done = done.or(attempt.ended_at).unwrap_or(attempt.updated_at);
                // The job was put at a place within the last tenth of the interval.
                if now >= next_due(done, interval, u64::MAX) {
                    Due::Begin
                } else {
                    Due::At(next_due(done, interval, 0))
                }
            }
            (State::NeedsOperator(stage), _) => {
                if attempt.settle.is_some() && stage != Stage::Retire {
                    Due::Now(attempt)
                } else {
                    Due::Never
                }
            }
            // The rest of it is a job of its own.
            (state, _) if state.stage() == Some(Stage::Retire) => match &attempt.promotion {
                Some(promotion) if interval.is_some() => {
                    Due::At(promotion.retire_at.max(now) + TimeDelta::seconds(5))
                }
                _ => Due::Never,
            },
            _ => match attempt.try_at {
                Some(at) if at > now => Due::At(at),
                _ => Due::Now(attempt),
            },
        })
    }

    /// The newest attempt of an item, over or not.
    pub(crate) async fn newest_attempt(
        &self,
        secret: SecretId,
        item: &ManagedItem,
    ) -> Result<Option<Stored<Attempt>>, Error> {
        Ok(self.attempts_of(secret, item, 1).await?.into_iter().next())
    }

    /// The newest attempts of an item, the newest first.
    pub(super) async fn attempts_of(
        &self,
        secret: SecretId,
        item: &ManagedItem,
        count: usize,
    ) -> Result<Vec<Stored<Attempt>>, Error> {
        let key = item_key(secret, item);
        let term = self.records.term(kind::ATTEMPT, ITEM, key);
        let query = Query::new(kind::ATTEMPT).with(term);
        Ok(self.records.list(&query, Page::first(count)).await?.items)
    }

    /// A number by chance, for times that shall not meet.
    pub(crate) fn chance(&self) -> u64 {
        u64::from_be_bytes(self.entropy.array())
    }
}
