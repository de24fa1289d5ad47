//! The task that writes.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dsm_core::store::{Changed, Notifier, RecordKey, StoreError};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::fault::Fault;
use crate::options::OpenOptions;
use crate::readers::closed;
use crate::write::Work;

/// How many requests are written by one commit at most.
const BATCH: usize = 256;

/// How often the task looks whether another process has written.
const LOOK: Duration = Duration::from_millis(200);

/// Where work for the writer is handed in.
#[derive(Debug)]
pub(crate) struct WriterHandle {
    requests: mpsc::Sender<Box<dyn Request>>,
}

impl WriterHandle {
    /// Starts the task on a connection whose schema is up to date. It ends when `closing` is told or
    /// dropped, after what was handed in until then.
    pub(crate) fn start(
        options: OpenOptions,
        connection: SqliteConnection,
        data_version: i64,
        notifier: Arc<Notifier>,
        closing: oneshot::Receiver<()>,
    ) -> (Self, JoinHandle<()>) {
        let (requests, received) = mpsc::channel(4 * BATCH);
        let writer = Writer {
            options,
            connection: Some(connection),
            data_version,
            notifier,
        };
        (
            Self { requests },
            tokio::spawn(writer.run(received, closing)),
        )
    }

    /// Hands in work and waits until it is durable. Work that was handed in is done even when
    /// nobody waits any more.
    pub(crate) async fn run<W: Work>(&self, work: W) -> Result<W::Output, StoreError> {
        let (answer, answered) = oneshot::channel();
        let pending = Pending {
            work,
            result: None,
            answer,
        };
        self.requests
            .send(Box::new(pending))
            .await
            .map_err(|_| closed())?;
        // The task ends early only together with its runtime.
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}

/// Work of any kind and whoever waits for it.
#[async_trait]
trait Request: Send {
    /// Does the work and keeps the answer, which may be a refusal. An error means that the
    /// transaction cannot go on.
    async fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), Fault>;

    /// Whether the answer is other than a refusal.
    fn is_done(&self) -> bool;

    /// The records that it has changed.
    fn changes(&self) -> Vec<RecordKey>;

    /// Gives the answer, now that it is durable.
    fn answer(self: Box<Self>);

    /// Says why there is no answer.
    fn fail(self: Box<Self>, error: StoreError);
}

struct Pending<W: Work> {
    work: W,
    result: Option<Result<W::Output, StoreError>>,
    answer: oneshot::Sender<Result<W::Output, StoreError>>,
}

#[async_trait]
impl<W: Work> Request for Pending<W> {
    async fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        let result = self.work.run(connection).await;
        self.result = Some(match result {
            Ok(output) => Ok(output),
            Err(fault) => Err(fault.refusal()?),
        });
        Ok(())
    }

    fn is_done(&self) -> bool {
        matches!(self.result, Some(Ok(_)))
    }

    fn changes(&self) -> Vec<RecordKey> {
        if self.is_done() {
            self.work.changes()
        } else {
            Vec::new()
        }
    }

    fn answer(self: Box<Self>) {
        if let Some(result) = self.result {
            // Whoever dropped the future does not want to know.
            let _ = self.answer.send(result);
        }
    }

    fn fail(self: Box<Self>, error: StoreError) {
        let _ = self.answer.send(Err(error));
    }
}

/// Why a transaction was given up.
enum Abort {
    /// One request could not be carried out.
    Request(Fault),
    /// The transaction could not begin or end.
    Transaction(Fault),
}

impl From<sqlx::Error> for Abort {
    fn from(error: sqlx::Error) -> Self {
        Self::Transaction(error.into())
    }
}

struct Writer {
    options: OpenOptions,
    /// `None` after a failure, until it is needed again.
    connection: Option<SqliteConnection>,
    /// See [`data_version`].
    data_version: i64,
    notifier: Arc<Notifier>,
}

impl Writer {
    async fn run(
        mut self,
        mut requests: mpsc::Receiver<Box<dyn Request>>,
        mut closing: oneshot::Receiver<()>,
    ) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut closing, if !requests.is_closed() => requests.close(),
                count = requests.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    self.write(std::mem::take(&mut batch)).await;
                }
                _ = look.tick() => self.look().await,
            }
        }
        self.disconnect().await;
    }

    /// Writes all requests by one commit and then answers them.
    async fn write(&mut self, mut batch: Vec<Box<dyn Request>>) {
        let fault = match self.attempt(&mut batch).await {
            Ok(()) => {
                for key in batch.iter().flat_map(|request| request.changes()) {
                    self.notifier.notify(Changed::Record(key));
                }
                for request in batch {
                    request.answer();
                }
                return;
            }
            Err(Abort::Request(_)) if batch.len() > 1 => {
                // One of them may be at fault, such as by a body for which there is no room.
                self.disconnect().await;
                for request in batch {
                    Box::pin(self.write(vec![request])).await;
                }
                return;
            }
            Err(Abort::Request(fault) | Abort::Transaction(fault)) => fault,
        };
        // SQLite may have ended the transaction by itself. A new connection knows no old state.
        self.disconnect().await;
        let error = fault.at(&self.options.path);
        tracing::error!(%error, source = ?error.source(), "nothing can be written");
        let others: Vec<StoreError> = batch.iter().skip(1).map(|_| same(&error)).collect();
        for (request, error) in batch.into_iter().zip(std::iter::once(error).chain(others)) {
            request.fail(error);
        }
    }

    async fn attempt(&mut self, batch: &mut [Box<dyn Request>]) -> Result<(), Abort> {
        let connection = self.connection().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        if let [request] = batch {
            request
                .run(&mut transaction)
                .await
                .map_err(Abort::Request)?;
            if request.is_done() {
                transaction.commit().await?;
            } else {
                transaction.rollback().await?;
            }
            return Ok(());
        }
        for request in batch {
            let mut savepoint = transaction.begin().await?;
            request.run(&mut savepoint).await.map_err(Abort::Request)?;
            if request.is_done() {
                savepoint.commit().await?;
            } else {
                savepoint.rollback().await?;
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Tells subscribers whether another process has written.
    async fn look(&mut self) {
        let asked = Instant::now();
        let seen = self.data_version;
        let found = match self.connection().await {
            Ok(connection) => data_version(connection).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(found) => {
                if found != seen {
                    self.data_version = found;
                    self.notifier.notify(Changed::Unknown);
                }
                self.notifier.notify(Changed::UpToDate(asked));
            }
            Err(error) => {
                tracing::warn!(%error, "changes by other processes cannot be noticed now");
                self.disconnect().await;
            }
        }
    }

    async fn connection(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        let connection = if let Some(connection) = self.connection.take() {
            connection
        } else {
            let mut connection = self.options.writing().connect().await?;
            self.data_version = data_version(&mut connection).await?;
            // Nobody looked meanwhile.
            self.notifier.notify(Changed::Unknown);
            connection
        };
        Ok(self.connection.insert(connection))
    }

    async fn disconnect(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the connection that writes did not close");
        }
    }
}

/// A number that changes when another connection has committed, and not by own commits.
/// See <https://www.sqlite.org/pragma.html#pragma_data_version>.
pub(crate) async fn data_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA data_version")
        .fetch_one(connection)
        .await
}

/// The same error for another caller; its cause goes to the first one and to the log.
fn same(error: &StoreError) -> StoreError {
    match error {
        StoreError::Corrupt(what) => StoreError::Corrupt(what.clone()),
        StoreError::Unavailable { reason, .. } => StoreError::Unavailable {
            reason: reason.clone(),
            source: None,
        },
        other => StoreError::backend(other.to_string()),
    }
}
