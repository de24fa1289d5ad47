//! The store of `dsm-core` for several servers: one Postgres database, version 14 or later.
//!
//! Everything is in the schema `dsm`, so one database holds one store. A commit is one statement:
//! a function in the database that locks, checks, applies, notifies, or raises what was wrong. No
//! transaction is ever left open between two messages to the server, except by a snapshot.
//!
//! Changes travel by `LISTEN`/`NOTIFY`. Whenever the connection that listens was lost,
//! subscribers are told [`Changed::Unknown`](dsm_core::store::Changed::Unknown).
//!
//! # Durability
//!
//! A server whose `fsync` or `full_page_writes` is off, or a session whose `synchronous_commit` is,
//! is refused unless [`PostgresOptions::accept_data_loss`] is set. What `synchronous_commit` says
//! is what an acknowledged commit has survived:
//!
//! - `local`: the loss of this server's power, not of its disk;
//! - `on`: with `synchronous_standby_names`, that of this server's disk; a standby has it on its;
//! - `remote_write`: the same, but a standby that loses its power may have lost it;
//! - `remote_apply`: as `on`, and reads on the standby see it.
//!
//! A promoted standby lacks what it had not received. With `local`, or without synchronous
//! standbys, acknowledged commits can be lost by a failover.
//!
//! # Examples
//!
//! ```no_run
//! use dsm_core::store::{Kind, Store as _};
//! use dsm_store_postgres::{PostgresOptions, PostgresStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let url = "postgres://dsm@db1,db2/vault?sslmode=verify-full&sslrootcert=/etc/dsm/ca.pem";
//! let store = PostgresStore::open(url.parse::<PostgresOptions>()?).await?;
//! assert!(store.next_id(Kind(1)).await? > 0);
//! store.close().await;
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]

mod changes;
mod database;
mod encoding;
mod fault;
mod hosts;
mod listener;
mod options;
mod read;
mod schema;
mod snapshot;
mod store;
mod write;

pub use self::options::PostgresOptions;
pub use self::store::PostgresStore;
