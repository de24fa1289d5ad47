//! The stream of changes.
//!
//! A task reads it with a connection of its own, which waits for entries. A blocking read is both the
//! notice and the catching up, so nothing can fall between the two as it could between a published
//! message and a stream; and that it returns every second shows that the connection is alive.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dsm_core::store::{Changed, Notifier, RecordKey, StoreError};
use redis::{Cmd, Value, cmd, from_redis_value};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::current::Term;
use crate::encoding::{decode_number, decode_record_key};
use crate::fault::{is_answer, is_elsewhere, is_vanished, unexpected};
use crate::keys::Keys;
use crate::link::Sending;
use crate::read::{array, bytes, integer, next, text};
use crate::scripts;
use crate::target::{Live, Target};

/// How long a read waits for an entry.
const BLOCK_MILLIS: u32 = 300;
/// How many entries a read takes.
const ENTRIES: u32 = 1_000;
/// The pauses between attempts to connect.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// Before the first entry.
const NONE: &str = "0-0";
/// How long a commit waits at most until its change was told.
const TOLD_WITHIN: Duration = Duration::from_millis(500);

/// The task that tells subscribers.
#[derive(Debug)]
pub(crate) struct Watch {
    told: watch::Receiver<Told>,
    task: JoinHandle<()>,
}

/// Up to which change subscribers were told.
#[derive(Debug, Clone, Copy)]
struct Told {
    count: i64,
    connected: bool,
}

impl Watch {
    /// Tells what changes from now on.
    pub(crate) async fn start(
        target: Arc<Target>,
        keys: Arc<Keys>,
        notifier: Arc<Notifier>,
    ) -> Result<Self, StoreError> {
        let mut live = target.connect().await?;
        let position = Position::now(&mut live, &keys, "").await?.0;
        let (tell, told) = watch::channel(Told {
            count: position.count,
            connected: true,
        });
        let reader = Reader {
            target,
            keys,
            notifier,
            term: live.term().cloned(),
            position,
            tell,
            pause: MIN_PAUSE,
        };
        let task = tokio::spawn(reader.run(live));
        Ok(Self { told, task })
    }

    /// A wait until subscribers were told of a change, so that who subscribes after a commit does not
    /// hear of it, and who heard of it cached nothing older. It does not wait for a lost connection.
    pub(crate) fn told(&self, count: i64) -> impl Future<Output = ()> + Send + use<> {
        let mut told = self.told.clone();
        async move {
            let reached = told.wait_for(|told| !told.connected || told.count >= count);
            // When it takes too long the change is told later.
            let _ = tokio::time::timeout(TOLD_WITHIN, reached).await;
        }
    }

    /// Ends the task.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        // It was aborted, or had panicked, which is seen in the log.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A place in the stream.
#[derive(Debug, Clone)]
struct Position {
    /// The number of the last change met. It finds gaps.
    count: i64,
    /// Its entry.
    entry: String,
}

impl Position {
    /// The end of the stream, and whether `met` is still in it.
    async fn now(live: &mut Live, keys: &Keys, met: &str) -> Result<(Self, bool), StoreError> {
        let arguments = [met.as_bytes().to_vec()];
        let asking = Sending::Script(&scripts::POSITION, keys, &arguments);
        let answer = asking.run(live).await.map_err(|error| {
            StoreError::unavailable("the stream of changes cannot be read", error)
        })?;
        let mut values = array(answer)?;
        let count = integer(&next(&mut values)?)?;
        let entry = text(next(&mut values)?)?;
        let is_there = integer(&next(&mut values)?)? == 1;
        Ok((Self { count, entry }, is_there))
    }
}

struct Reader {
    target: Arc<Target>,
    keys: Arc<Keys>,
    notifier: Arc<Notifier>,
    /// Of the server that subscribers were told of.
    term: Option<Term>,
    position: Position,
    tell: watch::Sender<Told>,
    /// How long to wait before connecting again.
    pause: Duration,
}

impl Reader {
    async fn run(mut self, mut live: Live) {
        loop {
            let Err(error) = self.read(&mut live).await;
            tracing::warn!(%error, "the stream of changes was interrupted");
            self.forget(false);
            live = self.reconnect().await;
        }
    }

    /// Reads until it fails.
    async fn read(&mut self, live: &mut Live) -> Result<std::convert::Infallible, StoreError> {
        loop {
            let asked = Instant::now();
            let answer = self.wait().query_async(&mut live.connection).await;
            let answer: Value = answer.map_err(|error| {
                StoreError::unavailable("the connection for changes was lost", error)
            })?;
            let is_all = self.meet(answer)? < ENTRIES as usize;
            if self.is_master(live).await? && is_all {
                self.notifier.notify(Changed::UpToDate(asked));
            }
            self.pause = MIN_PAUSE;
        }
    }

    /// Whether this is still the server that takes all writes, and that is read. A former master
    /// goes on to answer, as a replica that lags behind or cut off from the others, and nothing that
    /// it says is up to date.
    async fn is_master(&self, live: &mut Live) -> Result<bool, StoreError> {
        let asking = Sending::Script(&scripts::WRITABLE, &self.keys, &[]);
        match asking.run(live).await {
            Ok(_) if live.is_current() => Ok(true),
            Ok(_) => Err(StoreError::Unavailable {
                reason: "another server is used by now".into(),
                source: None,
            }),
            // It does not write at present, and may again.
            Err(error) if is_answer(&error) && !is_elsewhere(&error) && !is_vanished(&error) => {
                tracing::debug!(%error, "it is not known whether all changes were told");
                Ok(false)
            }
            Err(error) => Err(StoreError::unavailable(
                "the server for changes is no longer the master, or without the store",
                error,
            )),
        }
    }

    fn wait(&self) -> Cmd {
        let mut read = cmd("XREAD");
        read.arg("BLOCK").arg(BLOCK_MILLIS);
        read.arg("COUNT").arg(ENTRIES);
        read.arg("STREAMS").arg(self.keys.changes());
        read.arg(&self.position.entry);
        read
    }

    /// Tells subscribers of entries; how many there were.
    fn meet(&mut self, answer: Value) -> Result<usize, StoreError> {
        let streams: redis::streams::StreamReadReply =
            from_redis_value(answer).map_err(|_| unexpected())?;
        let mut met = 0;
        for entry in streams.keys.into_iter().flat_map(|stream| stream.ids) {
            met += 1;
            match Entry::decode(entry.map) {
                Ok(Entry { count, keys }) => {
                    if count != self.position.count + 1 {
                        // The stream was cut before it was read.
                        self.notifier.notify(Changed::Unknown);
                    }
                    for key in keys {
                        self.notifier.notify(Changed::Record(key));
                    }
                    self.position.count = count;
                }
                Err(error) => {
                    tracing::warn!(%error, entry = entry.id, "a change cannot be read");
                    self.notifier.notify(Changed::Unknown);
                }
            }
            self.position.entry = entry.id;
        }
        let count = self.position.count;
        self.tell.send_replace(Told {
            count,
            connected: true,
        });
        Ok(met)
    }

    /// Tells subscribers that anything may have changed.
    fn forget(&self, connected: bool) {
        self.notifier.notify(Changed::Unknown);
        let count = self.position.count;
        self.tell.send_replace(Told { count, connected });
    }

    /// A new connection, at the place where the last one was lost if that still exists.
    async fn reconnect(&mut self) -> Live {
        loop {
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(MAX_PAUSE);
            match self.resume().await {
                Ok(live) => {
                    tracing::info!("the stream of changes is read on");
                    return live;
                }
                Err(error) => tracing::debug!(%error, "the stream of changes is not there yet"),
            }
        }
    }

    async fn resume(&mut self) -> Result<Live, StoreError> {
        let mut live = self.target.connect().await?;
        let met = &self.position.entry;
        let (end, is_there) = Position::now(&mut live, &self.keys, met).await?;
        let is_lost = !is_there && met != NONE;
        if is_lost {
            // It was cut, or this is a server that never had it: what was missed cannot be told.
            // A stream that was empty is read from its start, and its numbers tell of a gap.
            self.position = end;
        }
        // Another server may lack what was read from the last one. Nothing more is read from that.
        let is_other = self.term.as_ref() != live.term();
        self.term = live.term().cloned();
        if is_lost || is_other {
            self.forget(true);
        }
        Ok(live)
    }
}

/// What one set changed.
struct Entry {
    count: i64,
    keys: Vec<RecordKey>,
}

impl Entry {
    fn decode(mut fields: HashMap<String, Value>) -> Result<Self, StoreError> {
        let mut field = |name: &str| bytes(fields.remove(name).ok_or_else(unexpected)?);
        let count = decode_number(&field("n")?)?.cast_signed();
        let keys = field("keys")?;
        let keys = keys.chunks(10).map(decode_record_key);
        Ok(Self {
            count,
            keys: keys.collect::<Result<_, _>>()?,
        })
    }
}
