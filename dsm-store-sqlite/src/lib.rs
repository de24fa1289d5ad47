//! The embedded store of `dsm-core`: one SQLite file.
//!
//! One task owns the connection that writes. Change sets that wait for it are written together: each
//! in a savepoint of its own, all by one commit that is flushed to disk, and only then answered.
//! Reads have connections of their own, which writing does not hold up.
//!
//! Several processes may have the file open; [`OpenOptions::serve`] admits one of them as the server.
//!
//! # Examples
//!
//! ```
//! use dsm_core::store::{Kind, Store as _};
//! use dsm_store_sqlite::{OpenOptions, SqliteStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let options = OpenOptions::new(folder.path().join("vault.db")).serve(true);
//! let store = SqliteStore::open(options).await?;
//! assert_eq!(store.next_id(Kind(1)).await?, 1);
//! store.close().await;
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]

mod encoding;
mod fault;
mod file;
mod options;
mod read;
mod readers;
mod schema;
mod snapshot;
mod store;
mod write;
mod writer;

pub use self::options::OpenOptions;
pub use self::store::SqliteStore;
