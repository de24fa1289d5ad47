use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsm_core::store::StoreError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{ConnectOptions as _, Row as _};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::fault::{Fault, unavailable};
use crate::options::{PostgresOptions, is_exposed, name};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);

/// How long one host has before the next is tried beside it.
const HEAD_START: Duration = Duration::from_millis(300);

/// How long the others have, while nobody knows which timeline is the newest, once a host that takes
/// writes was found.
const COMPARE: Duration = Duration::from_secs(1);

/// The oldest version of Postgres that has all that is used.
const OLDEST: i32 = 140_000;

/// The hosts of the database, of which one at a time takes writes.
#[derive(Debug)]
pub(crate) struct Hosts {
    all: Vec<Arc<Host>>,
    chosen: Mutex<Chosen>,
}

/// The host that took writes last.
#[derive(Debug, Default, Clone, Copy)]
struct Chosen {
    index: usize,
    /// Each promotion begins a new one, so that a host on an older one is a primary that was
    /// replaced. 0 while none was seen.
    timeline: u64,
    /// Counts the choices that differ from the one before.
    epoch: u64,
}

/// A connection to the host that was chosen.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: PgConnection,
    /// When the epoch of [`Hosts`] is another, another host may take writes.
    pub(crate) epoch: u64,
}

struct Host {
    options: PgConnectOptions,
    /// Whether it is one of several.
    replicated: bool,
    accept_data_loss: bool,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&name(&self.options))
    }
}

impl Hosts {
    pub(crate) fn new(options: &PostgresOptions) -> Self {
        let all = options.hosts.iter().map(|options| {
            if is_exposed(options) {
                let host = name(options);
                tracing::warn!(
                    %host,
                    "the database is used without sslmode=verify-full: others on the way may read \
                     along or answer in its place"
                );
            }
            options.clone()
        });
        let all = all.map(|host| {
            Arc::new(Host {
                options: host,
                replicated: options.hosts.len() > 1,
                accept_data_loss: options.accept_data_loss,
            })
        });
        Self {
            all: all.collect(),
            chosen: Mutex::default(),
        }
    }

    /// A connection to the host that takes writes: the last known one if it answers soon, at first
    /// the one on the newest timeline.
    pub(crate) async fn connect(&self) -> Result<Session, Fault> {
        let Chosen {
            index: first,
            timeline: known,
            ..
        } = *self.chosen();
        if let [host] = &*self.all {
            let (connection, _) = host.connect().await?;
            return Ok(Session {
                connection,
                epoch: self.epoch(),
            });
        }
        let mut attempts = JoinSet::new();
        for place in 0..self.all.len() {
            let index = (first + place) % self.all.len();
            let host = self.all[index].clone();
            let head_start = match known {
                0 => Duration::ZERO,
                _ => HEAD_START * u32::try_from(place).unwrap_or(u32::MAX),
            };
            attempts.spawn(async move {
                sleep(head_start).await;
                (index, host.connect().await)
            });
        }
        let mut refusal = None;
        let mut newest: Option<(usize, PgConnection, u64)> = None;
        let mut end = None;
        while let Some(attempt) = next(&mut attempts, end).await {
            match attempt {
                Ok((index, Ok((connection, timeline)))) if known == 0 => {
                    end.get_or_insert_with(|| Instant::now() + COMPARE);
                    if newest
                        .as_ref()
                        .is_none_or(|(.., newest)| timeline > *newest)
                    {
                        newest = Some((index, connection, timeline));
                    }
                }
                Ok((index, Ok((connection, timeline)))) => {
                    match self.choose(index, connection, timeline) {
                        Ok(session) => return Ok(session),
                        Err(fault) => refusal = Some(fault),
                    }
                }
                Ok((index, Err(fault))) => {
                    tracing::debug!(host = ?self.all[index], ?fault, "a host is of no use now");
                    // What a host that was reached says counts more than that another was not.
                    let telling = matches!(fault, Fault::Store(_));
                    if telling || refusal.is_none() {
                        refusal = Some(fault);
                    }
                }
                Err(_) => {}
            }
        }
        if let Some((index, connection, timeline)) = newest {
            return self.choose(index, connection, timeline);
        }
        Err(refusal.unwrap_or_else(|| unavailable("no host was reached").into()))
    }

    /// How to connect to the host that took writes last, and the epoch of such a connection.
    pub(crate) fn writable(&self) -> (PgConnectOptions, u64) {
        let Chosen { index, epoch, .. } = *self.chosen();
        (self.all[index].options.clone(), epoch)
    }

    /// Another one is not to be used together with what was connected before.
    pub(crate) fn epoch(&self) -> u64 {
        self.chosen().epoch
    }

    /// Chooses a host that takes writes on its timeline, unless it was replaced.
    fn choose(
        &self,
        index: usize,
        connection: PgConnection,
        timeline: u64,
    ) -> Result<Session, Fault> {
        let mut chosen = self.chosen();
        if timeline < chosen.timeline {
            let host = name(&self.all[index].options);
            let reason = format!("{host} was replaced by another host: keep it away");
            return Err(unavailable(reason).into());
        }
        if (index, timeline) != (chosen.index, chosen.timeline) {
            tracing::info!(host = ?self.all[index], timeline, "this host takes writes now");
            *chosen = Chosen {
                index,
                timeline,
                epoch: chosen.epoch + 1,
            };
        }
        let epoch = chosen.epoch;
        Ok(Session { connection, epoch })
    }

    fn chosen(&self) -> MutexGuard<'_, Chosen> {
        // It is replaced as a whole.
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    /// A connection and the timeline of the host.
    async fn connect(&self) -> Result<(PgConnection, u64), Fault> {
        let connected = timeout(CONNECT, async {
            let mut connection = self.options.connect().await?;
            self.check(&mut connection).await?;
            let timeline = if self.replicated {
                timeline(&mut connection).await?
            } else {
                0
            };
            Ok((connection, timeline))
        });
        connected.await.unwrap_or_else(|_| {
            let seconds = CONNECT.as_secs();
            let host = name(&self.options);
            Err(unavailable(format!("{host} did not answer within {seconds} s")).into())
        })
    }

    /// Refuses a host that does not take writes or would lose them.
    async fn check(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        let row = sqlx::raw_sql(
            "SELECT current_setting('server_version_num') AS version, \
             (pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean)\
             ::text AS read_only, current_setting('fsync') AS fsync, \
             current_setting('full_page_writes') AS full_page_writes, \
             current_setting('synchronous_commit') AS synchronous_commit",
        )
        .fetch_one(connection)
        .await?;
        let host = name(&self.options);
        let version: i32 = text(&row, "version")?.parse().unwrap_or(0);
        if version < OLDEST {
            let (is, needed) = (version / 10_000, OLDEST / 10_000);
            let what = format!("{host} is Postgres {is}, {needed} is needed at least");
            return Err(StoreError::backend(what).into());
        }
        if text(&row, "read_only")? == "true" {
            return Err(unavailable(format!("{host} takes no writes: it is a standby")).into());
        }
        for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
            if text(&row, setting)? == "off" && !self.accept_data_loss {
                return Err(StoreError::backend(format!(
                    "{setting} is off at {host}, so that commits can be lost when its power \
                     fails: switch {setting} on, or accept the loss of data"
                ))
                .into());
            }
        }
        Ok(())
    }
}

/// The next attempt that ends, before the instant if there is one.
async fn next<T: 'static>(
    attempts: &mut JoinSet<T>,
    end: Option<Instant>,
) -> Option<Result<T, JoinError>> {
    match end {
        Some(end) => timeout_at(end, attempts.join_next()).await.ok()?,
        None => attempts.join_next().await,
    }
}

/// The first digits of the name of a segment of the write-ahead log.
async fn timeline(connection: &mut PgConnection) -> Result<u64, Fault> {
    let row = sqlx::raw_sql("SELECT pg_walfile_name(pg_current_wal_lsn()) AS segment")
        .fetch_one(connection)
        .await?;
    let digits = text(&row, "segment")?.get(..8).unwrap_or_default();
    let timeline = u64::from_str_radix(digits, 16);
    Ok(timeline.map_err(StoreError::backend)?)
}

fn text<'r>(row: &'r PgRow, column: &str) -> Result<&'r str, sqlx::Error> {
    row.try_get(column)
}
