use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::oneshot;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::changes::Subscribers;
use crate::database::Database;
use crate::fault::{Fault, unavailable};
use crate::write::Prune;

/// The channel of the notifications.
const CHANNEL: &str = "dsm";

/// After how much silence the server is asked whether it is still there.
const SILENCE: Duration = Duration::from_millis(300);

/// How long it has to answer. Together with [`SILENCE`], how late a loss is noticed.
const ANSWER: Duration = Duration::from_millis(700);

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(4);

/// How long until it is tried again, and how often subscribers are told meanwhile.
const RETRY: Duration = Duration::from_millis(250);

/// How often forgotten operations are removed.
const PRUNE: Duration = Duration::from_mins(10);

/// The connection that listens for changes.
pub(crate) struct Listener {
    connection: PgListener,
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
        Ok(Self {
            connection: listen(&database).await?,
            database,
            subscribers,
            pruned_at: None,
        })
    }

    /// Listens until `closing` is told or dropped.
    pub(crate) async fn run(mut self, mut closing: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                _ = &mut closing => return,
                () = self.hear() => {}
            }
            tracing::warn!("the connection that hears of changes was lost");
            // The server is gone, or another one took its place.
            self.database.forget_idle();
            let database = self.database.clone();
            let connected = reconnect(&database);
            tokio::pin!(connected);
            let mut tell = interval(RETRY);
            self.connection = loop {
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
    async fn hear(&mut self) {
        loop {
            match timeout(SILENCE, self.connection.try_recv()).await {
                Ok(Ok(Some(notification))) => self.subscribers.heard(notification.payload()),
                Ok(Ok(None) | Err(_)) => return,
                Err(_) => {
                    // A connection that lost its peer is silent as well.
                    let asked = sqlx::raw_sql("SELECT 1").execute(&mut self.connection);
                    if !matches!(timeout(ANSWER, asked).await, Ok(Ok(_))) {
                        return;
                    }
                    self.prune();
                }
            }
        }
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

async fn reconnect(database: &Database) -> PgListener {
    loop {
        match listen(database).await {
            Ok(connection) => return connection,
            Err(fault) => tracing::debug!(?fault, "changes cannot be heard yet"),
        }
        sleep(RETRY).await;
    }
}

async fn listen(database: &Database) -> Result<PgListener, Fault> {
    let listening = timeout(CONNECT, async {
        // Finds out which host takes writes.
        database.keep(database.hosts.connect().await?);
        // The driver listens only on a connection of one of its pools.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(database.hosts.writable());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.ignore_pool_close_event(true);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    });
    listening
        .await
        .unwrap_or_else(|_| Err(unavailable("the database did not answer").into()))
}
