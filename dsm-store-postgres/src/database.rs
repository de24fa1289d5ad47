use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dsm_core::store::StoreError;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::fault::{Fault, Remedy, closed, unavailable};
use crate::hosts::{Hosts, Session};
use crate::options::PostgresOptions;

/// How long a call may take in all. Statements end before, by the limits of their session.
const CALL: Duration = Duration::from_secs(4);

/// How long a call waits for a connection that is free.
const ACQUIRE: Duration = Duration::from_secs(3);

/// How often work is begun anew after it failed without effect.
const ATTEMPTS: u32 = 5;

/// Statements that are done as a whole or not at all, each in a transaction of its own that the
/// server begins and ends.
#[async_trait]
pub(crate) trait Work: Send + Sync + 'static {
    type Output: Send + 'static;

    async fn run(&self, connection: &mut PgConnection) -> Result<Self::Output, Fault>;

    /// Whether it does no harm to do it again when it may have been done.
    fn is_repeatable(&self) -> bool {
        true
    }
}

/// The connections that serve.
///
/// `sqlx::Pool` hands out a connection that it cannot know to be sound after a future was dropped,
/// unless it asks the server each time. Here work runs on a task of its own, so that nobody's
/// impatience stops it half-way, and a connection is used again only after a whole answer.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) hosts: Hosts,
    idle: Mutex<Idle>,
    permits: Semaphore,
    connections: u32,
}

#[derive(Debug, Default)]
struct Idle {
    sessions: Vec<Session>,
    /// Counts the losses; a connection from before one is not kept.
    era: u64,
}

/// Why work was not done.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: StoreError,
    /// Whether it was sent and the answer lost, by the last attempt or one before.
    pub(crate) unanswered: bool,
}

/// A connection on loan.
struct Loan {
    session: Session,
    era: u64,
    /// Whether it served before, so that its server may be gone by now.
    used: bool,
}

impl Database {
    pub(crate) fn new(options: &PostgresOptions) -> Self {
        Self {
            hosts: Hosts::new(options),
            idle: Mutex::default(),
            permits: Semaphore::new(options.max_connections as usize),
            connections: options.max_connections,
        }
    }

    /// Does the work and answers within [`CALL`]. Work that was begun goes on when nobody waits any
    /// more.
    pub(crate) async fn run<W: Work>(self: &Arc<Self>, work: W) -> Result<W::Output, StoreError> {
        let database = self.clone();
        let task = tokio::spawn(async move { database.serve(&work).await });
        // The task ends early only together with its runtime.
        let result = task.await.map_err(|_| closed())?;
        // What is not a commit can be repeated, whether or not it was done.
        result.map_err(|failure| failure.error)
    }

    /// As [`run`](Self::run), on the task of the caller.
    pub(crate) async fn serve<W: Work>(&self, work: &W) -> Result<W::Output, Failure> {
        let end = Instant::now() + CALL;
        let permit = timeout(ACQUIRE, self.permits.acquire()).await;
        let _permit = permit
            .map_err(|_| unavailable("all connections to the database are busy"))?
            .map_err(|_| closed())?;
        let mut attempt = 1;
        let mut unanswered = false;
        loop {
            let loan = timeout_at(end, self.lend()).await;
            let loan = loan
                .map_err(|_| late())
                .and_then(|l| l.map_err(Fault::told));
            let mut loan = loan.map_err(|error| Failure { error, unanswered })?;
            let result = timeout_at(end, work.run(&mut loan.session.connection)).await;
            let Ok(result) = result else {
                // The answer may still come; whoever used this connection next would read it.
                self.forget_idle();
                return Err(Failure {
                    error: late(),
                    unanswered: true,
                });
            };
            let fault = match result {
                Ok(output) => {
                    self.take_back(loan);
                    return Ok(output);
                }
                Err(fault) => fault,
            };
            let again = match fault.remedy() {
                Remedy::Tell => {
                    self.take_back(loan);
                    false
                }
                Remedy::Again => {
                    self.take_back(loan);
                    true
                }
                Remedy::Elsewhere => {
                    self.forget_idle();
                    true
                }
                Remedy::Lost => {
                    unanswered = true;
                    self.forget_idle();
                    loan.used && work.is_repeatable()
                }
            };
            if !again || attempt == ATTEMPTS {
                return Err(Failure {
                    error: fault.told(),
                    unanswered,
                });
            }
            tracing::debug!(?fault, "the database is asked again");
            attempt += 1;
        }
    }

    async fn lend(&self) -> Result<Loan, Fault> {
        let era = {
            let mut idle = self.lock();
            let epoch = self.hosts.epoch();
            idle.sessions.retain(|session| session.epoch == epoch);
            if let Some(session) = idle.sessions.pop() {
                return Ok(Loan {
                    session,
                    era: idle.era,
                    used: true,
                });
            }
            idle.era
        };
        Ok(Loan {
            session: self.hosts.connect().await?,
            era,
            used: false,
        })
    }

    fn take_back(&self, loan: Loan) {
        let mut idle = self.lock();
        if loan.era == idle.era && loan.session.epoch == self.hosts.epoch() {
            idle.sessions.push(loan.session);
        }
    }

    /// Adds a connection that was made elsewhere.
    pub(crate) fn keep(&self, session: Session) {
        let mut idle = self.lock();
        if idle.sessions.len() < self.connections as usize {
            idle.sessions.push(session);
        }
    }

    /// Makes all connections anew: one was lost, and the others probably with it.
    pub(crate) fn forget_idle(&self) {
        let forgotten = {
            let mut idle = self.lock();
            idle.era += 1;
            std::mem::take(&mut idle.sessions)
        };
        drop(forgotten);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }

    /// Waits for work under way and closes all connections.
    pub(crate) async fn close(&self) {
        // No work takes longer than a call may.
        let all = self.permits.acquire_many(self.connections).await;
        self.permits.close();
        drop(all);
        let idle = std::mem::take(&mut self.lock().sessions);
        for session in idle {
            if !matches!(timeout(CALL, session.connection.close()).await, Ok(Ok(()))) {
                tracing::debug!("a connection did not close");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        // A list of connections is whole whenever it can be locked.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    /// What a commit is told: whatever was found later, an attempt that was not answered may have
    /// taken effect or be under way still. Only one that was given up never takes effect.
    pub(crate) fn of_commit(self) -> StoreError {
        if !self.unanswered {
            return self.error;
        }
        let (reason, source) = match self.error {
            error @ StoreError::GivenUp(_) => return error,
            StoreError::Unavailable { reason, source } => (reason, source),
            error => (
                "its answer was lost and, asked again, the database failed or refused".to_owned(),
                Some(error.into()),
            ),
        };
        StoreError::OutcomeUnknown { reason, source }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self {
            error,
            unanswered: false,
        }
    }
}

fn late() -> StoreError {
    let seconds = CALL.as_secs();
    unavailable(format!("the database did not answer within {seconds} s"))
}

#[cfg(test)]
mod tests {
    use dsm_core::store::{JobKey, Kind, OperationId, RecordKey, Topic};

    use super::*;

    #[test]
    fn after_a_lost_answer_only_what_was_given_up_is_certain() {
        let key = RecordKey::new(Kind(1), 2_u64);
        let job = JobKey {
            topic: Topic(1),
            subject: 2,
        };
        let errors = || {
            [
                StoreError::AlreadyExists(key),
                StoreError::RevisionMismatch(key),
                StoreError::LeaseLost(job),
                StoreError::Corrupt("a page".into()),
                StoreError::backend("a bug"),
                unavailable("gone"),
            ]
        };
        for error in errors() {
            let unanswered = true;
            let told = Failure { error, unanswered }.of_commit();
            assert!(
                matches!(told, StoreError::OutcomeUnknown { .. }),
                "{told:?}"
            );
        }
        for error in errors() {
            let expected = error.to_string();
            assert_eq!(Failure::from(error).of_commit().to_string(), expected);
        }
        let failure = Failure {
            error: StoreError::GivenUp(OperationId([7; 16])),
            unanswered: true,
        };
        assert!(matches!(failure.of_commit(), StoreError::GivenUp(_)));
    }
}
