//! A store of `dsm-core` for several servers: one Redis, version 7 or newer, with persistence.
//!
//! Every write is one script, which Redis runs alone: it checks everything first and then cannot
//! fail. Redis answers after it has synced its append-only file (`appendfsync always`), which is
//! asked for by every connection. Changes are told by a stream that is read on, without gaps, after a lost
//! connection.
//!
//! Redis may be alone or looked after by Sentinel; [`RedisOptions::parse`] has the forms of a URL.
//! Redis Cluster is refused: a change set needs all its keys in one place, so that a store would be
//! one hash slot of the cluster and gain nothing.
//!
//! # What Redis must allow
//!
//! The user needs all commands that read and write keys, scripts (`EVALSHA`, `EVAL`), `INFO`, `SCAN`,
//! `WAIT`, and `CONFIG GET` unless its settings are taken on trust; and of
//! the keys those of `{prefix}:*`. In the terms of an access control list:
//! `~{prefix}:* +@all -@dangerous +info +config|get`.
//!
//! # What a failover can lose
//!
//! Redis replicates asynchronously. What the old master acknowledged and had not sent is gone with
//! it, and a master that was cut off goes on acknowledging what will be thrown away. `min_replicas`
//! makes every write wait until so many replicas have received it; with one replica more than that
//! and a Sentinel that promotes the most advanced one, acknowledged writes survive the loss of the
//! master. Set `min-replicas-to-write` in Redis as well, so that a master that was cut off stops.
//!
//! # Examples
//!
//! ```no_run
//! use dsm_core::store::{Kind, Store as _};
//! use dsm_store_redis::{RedisOptions, RedisStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options = RedisOptions::parse("redis://127.0.0.1:6379/0?prefix=vault")?;
//! let store = RedisStore::open(options).await?;
//! assert_eq!(store.next_id(Kind(1)).await?, 1);
//! store.close().await;
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]

mod current;
mod encoding;
mod fault;
mod gather;
mod keys;
mod link;
mod open;
mod options;
mod read;
mod rounds;
mod scripts;
mod server;
mod snapshot;
mod store;
mod target;
mod watch;
mod write;

pub use self::options::{InvalidUrl, RedisOptions};
pub use self::store::RedisStore;
