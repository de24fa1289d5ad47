//! The stream of changes.
//!
//! A task reads it with a connection of its own, which waits for entries. A blocking read is both the
//! notice and the catching up, so nothing can fall between the two as it could between a published
//! message and a stream; and that it returns every second shows that the connection is alive.

use std::sync::Arc;
use std::time::Duration;

use dsm_core::store::{Changed, Notifier, StoreError};
use redis::{Cmd, Value, cmd, from_redis_value};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::encoding::{decode_number, decode_record_key};
use crate::fault::unexpected;
use crate::keys::Keys;
use crate::link::Sending;
use crate::read::{array, bytes, integer, next, text};
use crate::scripts;
use crate::target::{Live, Target};

/// How long a read waits for an entry. An answer must come within twice that.
const BLOCK_MILLIS: u32 = 1_000;
/// How many entries a read takes.
const ENTRIES: u32 = 1_000;
/// The pauses between attempts to connect.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);
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
            position,
            tell,
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
    position: Position,
    tell: watch::Sender<Told>,
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
            let answer = self.wait().query_async(&mut live.connection).await;
            let answer: Value = answer.map_err(|error| {
                StoreError::unavailable("the connection for changes was lost", error)
            })?;
            self.meet(answer)?;
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

    fn meet(&mut self, answer: Value) -> Result<(), StoreError> {
        let streams: redis::streams::StreamReadReply =
            from_redis_value(answer).map_err(|_| unexpected())?;
        for entry in streams.keys.into_iter().flat_map(|stream| stream.ids) {
            let mut fields = entry.map;
            let mut field = |name: &str| fields.remove(name).ok_or_else(unexpected);
            let count = decode_number(&bytes(field("n")?)?)?.cast_signed();
            let keys = bytes(field("keys")?)?;
            if count != self.position.count + 1 {
                // The stream was cut before it was read.
                self.notifier.notify(Changed::Unknown);
            }
            for key in keys.chunks(10) {
                let key = decode_record_key(key)?;
                self.notifier.notify(Changed::Record(key));
            }
            self.position = Position {
                count,
                entry: entry.id,
            };
        }
        let count = self.position.count;
        self.tell.send_replace(Told {
            count,
            connected: true,
        });
        Ok(())
    }

    /// Tells subscribers that anything may have changed.
    fn forget(&self, connected: bool) {
        self.notifier.notify(Changed::Unknown);
        let count = self.position.count;
        self.tell.send_replace(Told { count, connected });
    }

    /// A new connection, at the place where the last one was lost if that still exists.
    async fn reconnect(&mut self) -> Live {
        let mut pause = MIN_PAUSE;
        loop {
            match self.resume().await {
                Ok(live) => {
                    tracing::info!("the stream of changes is read on");
                    return live;
                }
                Err(error) => tracing::debug!(%error, "the stream of changes is not there yet"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    async fn resume(&mut self) -> Result<Live, StoreError> {
        let mut live = self.target.connect().await?;
        let met = &self.position.entry;
        let (end, is_there) = Position::now(&mut live, &self.keys, met).await?;
        let from_the_start = self.position.count == 0 && end.count >= 0;
        if !is_there && !(from_the_start && met == "0-0") {
            // It was cut, or this is a server that never had it: what was missed cannot be told.
            self.position = end;
            self.forget(true);
        }
        Ok(live)
    }
}
