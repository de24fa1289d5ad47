use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::changes::Subscribers;
use crate::database::Database;
use crate::fault::{Fault, unavailable};
use crate::write::Prune;

/// The channel of the notifications.
const CHANNEL: &str = "dsm";

/// How often the server is asked whether it is still there.
const ASK: Duration = Duration::from_millis(300);

/// How long it has to answer. Together with [`ASK`], how late a loss is noticed.
const ANSWER: Duration = Duration::from_secs(2);

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(4);

/// How long until it is tried again, and how often subscribers are told meanwhile.
const RETRY: Duration = Duration::from_millis(250);

/// How often forgotten operations are removed.
const PRUNE: Duration = Duration::from_mins(10);

/// How the connection was lost.
#[derive(Debug, PartialEq, Eq)]
enum Loss {
    /// The server did not answer in time. It may be slow, so that other connections are sound.
    Silent,
    /// The connection failed, or its server is not the one that takes writes.
    Gone,
}

/// The connection that listens for changes.
pub(crate) struct Listener {
    connection: PgListener,
    /// That of the hosts when it was connected.
    epoch: u64,
    database: Arc<Database>,
    subscribers: Arc<Subscribers>,
    pruned_at: Option<Instant>,
}

impl Listener {
    /// What is committed from now on is heard.
    pub(crate) async fn connect(
        database: Arc<Database>,
        subscribers: Arc<Subscribers>,
    ) -> Result<Self, Fault> {
        let (connection, epoch) = listen(&database).await?;
        Ok(Self {
            connection,
            epoch,
            database,
            subscribers,
            pruned_at: None,
        })
    }

    /// Listens until `closing` is told or dropped.
    pub(crate) async fn run(mut self, mut closing: oneshot::Receiver<()>) {
        loop {
            let loss = tokio::select! {
                _ = &mut closing => return,
                loss = self.hear() => loss,
            };
            tracing::warn!(?loss, "the connection that hears of changes was lost");
            if loss == Loss::Gone {
                self.database.forget_idle();
            }
            let database = self.database.clone();
            let connected = reconnect(&database);
            tokio::pin!(connected);
            let mut tell = interval(RETRY);
            (self.connection, self.epoch) = loop {
                tokio::select! {
                    _ = &mut closing => return,
                    connection = &mut connected => break connection,
                    // Not once: what is read now is old from the next change on.
                    _ = tell.tick() => self.subscribers.deaf(),
                }
            };
            self.subscribers.hears_again();
            tracing::info!("changes are heard again");
        }
    }

    /// Hears until the connection is lost.
    async fn hear(&mut self) -> Loss {
        let mut ask = interval(ASK);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = self.connection.try_recv() => match heard {
                    Ok(Some(notification)) => self.subscribers.heard(notification.payload()),
                    Ok(None) | Err(_) => return Loss::Gone,
                },
                _ = ask.tick() => {
                    if let Err(loss) = self.ask().await {
                        return loss;
                    }
                    self.prune();
                }
            }
        }
    }

    /// Asks the server whether it is still there and takes writes: a connection that lost its peer is
    /// silent as well, and so is a server that nobody writes to any more. Notifications of what was
    /// committed before the question come before the answer.
    async fn ask(&mut self) -> Result<(), Loss> {
        let asked = std::time::Instant::now();
        // On at a standby, and by the default of new transactions.
        let question = sqlx::raw_sql("SHOW transaction_read_only");
        // To its end: a notification may come after the row.
        let question = question.fetch_all(&mut self.connection);
        let answer = timeout(ANSWER, question).await.map_err(|_| Loss::Silent)?;
        let answer = answer.map_err(|_| Loss::Gone)?;
        let read_only = answer.first().map(|row| row.try_get(0));
        let takes_writes = matches!(read_only, Some(Ok("off")));
        if !takes_writes || self.epoch != self.database.hosts.epoch() {
            return Err(Loss::Gone);
        }
        while let Some(notification) = self.connection.next_buffered() {
            self.subscribers.heard(notification.payload());
        }
        self.subscribers.up_to_date(asked);
        Ok(())
    }

    fn prune(&mut self) {
        if self.pruned_at.is_none_or(|at| at.elapsed() > PRUNE) {
            self.pruned_at = Some(Instant::now());
            let database = self.database.clone();
            tokio::spawn(async move {
                loop {
                    match database.run(Prune).await {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(error) => {
                            tracing::debug!(%error, "old operations were not removed");
                            break;
                        }
                    }
                }
            });
        }
    }
}

async fn reconnect(database: &Database) -> (PgListener, u64) {
    loop {
        match listen(database).await {
            Ok(listening) => return listening,
            Err(fault) => tracing::debug!(?fault, "changes cannot be heard yet"),
        }
        sleep(RETRY).await;
    }
}

/// The connection and the epoch of the hosts in which it was made.
async fn listen(database: &Database) -> Result<(PgListener, u64), Fault> {
    let listening = timeout(CONNECT, async {
        // Finds out which host takes writes.
        database.keep(database.hosts.connect().await?);
        let (host, epoch) = database.hosts.writable();
        // The driver listens only on a connection of one of its pools.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(host);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.ignore_pool_close_event(true);
        listener.listen(CHANNEL).await?;
        Ok((listener, epoch))
    });
    listening
        .await
        .unwrap_or_else(|_| Err(unavailable("the database did not answer").into()))
}
