//! Writers at the same time, and what they know afterwards: what was acknowledged must be there, and
//! what has an unknown end must be there whole or not at all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::api::{Bearer, secret};
use crate::client::{Connection, request};
use crate::server::Server;

/// A number from the environment.
pub fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

/// What a writer does after a write without an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Ends: the server is gone.
    End,
    /// Goes on with another secret: the server stays, and its store comes back.
    GoOn,
}

/// Secrets by identity, with the value that was written. None is written twice.
#[derive(Debug, Default)]
pub struct Written {
    /// Those whose write was acknowledged.
    pub acknowledged: BTreeMap<String, String>,
    /// Those whose write was not, by an answer of 503 or by none.
    pub unknown: BTreeMap<String, String>,
}

/// What became of what was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Acknowledged and not there.
    pub lost: Vec<String>,
    /// There with another value than the one written.
    pub torn: Vec<String>,
    /// Of those with an unknown end, the ones that are there.
    pub unknown_there: Vec<String>,
    /// Of those with an unknown end, the ones that are not.
    pub unknown_absent: Vec<String>,
}

impl Written {
    /// Takes another writer's as well.
    pub fn add(&mut self, other: Self) {
        self.acknowledged.extend(other.acknowledged);
        self.unknown.extend(other.unknown);
    }

    /// Looks for everything.
    ///
    /// # Panics
    ///
    /// When the server cannot say.
    pub async fn find(&self, reader: &Bearer) -> Found {
        let mut found = Found::default();
        for (identity, value) in &self.acknowledged {
            match read(reader, identity).await {
                None => found.lost.push(identity.clone()),
                Some(other) if other != *value => found.torn.push(identity.clone()),
                Some(_) => {}
            }
        }
        for (identity, value) in &self.unknown {
            match read(reader, identity).await {
                None => found.unknown_absent.push(identity.clone()),
                Some(other) if other != *value => found.torn.push(identity.clone()),
                Some(_) => found.unknown_there.push(identity.clone()),
            }
        }
        found
    }
}

async fn read(reader: &Bearer, identity: &str) -> Option<String> {
    let found = reader.value(identity).await;
    found.unwrap_or_else(|error| panic!("it cannot be told whether {identity} is there: {error}"))
}

/// Writers at work.
#[derive(Debug)]
pub struct Writers {
    tasks: Vec<JoinHandle<Written>>,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Writers {
    /// Starts so many, each with identities of its own that begin with `prefix`.
    pub fn start(server: &Server, token: &str, count: u64, prefix: &str, then: Then) -> Self {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..count).map(|writer| {
            let writer = Writer {
                addr: server.addr(),
                bearer: format!("Bearer {token}"),
                prefix: format!("{prefix}/w{writer}"),
                then,
                count: Arc::clone(&acknowledged),
                stop: Arc::clone(&stop),
            };
            tokio::spawn(writer.write())
        });
        Self {
            tasks: tasks.collect(),
            acknowledged,
            stop,
        }
    }

    /// How many writes were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits for so many more to be acknowledged.
    ///
    /// # Panics
    ///
    /// When that takes longer than the time.
    pub async fn wait_for(&self, more: u64, within: Duration) {
        let enough = self.acknowledged() + more;
        let reached = async {
            while self.acknowledged() < enough {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let reached = tokio::time::timeout(within, reached).await;
        reached.unwrap_or_else(|_| panic!("not {more} writes within {within:?}"));
    }

    /// Lets each end its last write and gives what they know.
    ///
    /// # Panics
    ///
    /// With a writer that was answered something else than it may be.
    pub async fn end(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Written::default();
        for task in self.tasks {
            all.add(task.await.expect("a writer ends"));
        }
        all
    }
}

struct Writer {
    addr: SocketAddr,
    bearer: String,
    prefix: String,
    then: Then,
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    async fn write(self) -> Written {
        let mut written = Written::default();
        let mut connection = None;
        for n in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let identity = format!("{}/n{n}", self.prefix);
            let value = format!("value of {identity}");
            match self.write_one(&mut connection, &identity, &value).await {
                Some(201) => {
                    written.acknowledged.insert(identity, value);
                    self.count.fetch_add(1, Ordering::Relaxed);
                }
                status => {
                    assert!(matches!(status, None | Some(503)), "{identity}: {status:?}");
                    written.unknown.insert(identity, value);
                    if self.then == Then::End {
                        break;
                    }
                    connection = None;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        written
    }

    /// The status, if there is an answer.
    async fn write_one(
        &self,
        connection: &mut Option<Connection>,
        identity: &str,
        value: &str,
    ) -> Option<u16> {
        let headers = [
            ("Authorization", self.bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = secret(identity, value).to_string();
        let post = request("POST", "/iso/sctm/secret", &headers, body.as_bytes());
        let open = match connection {
            Some(open) => open,
            None => connection.insert(Connection::open(self.addr).await.ok()?),
        };
        open.send_for_status(&post).await.ok()
    }
}
