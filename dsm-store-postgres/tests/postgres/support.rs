//! What the tests share: one server, and databases of it.

use std::ops::Deref;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use dsm_core::store::{
    ChangeSet, IndexTerm, Kind, OperationId, Record, RecordKey, Store, StoreError, Term,
};
use dsm_core::time::Timestamp;
use dsm_store_postgres::{PostgresOptions, PostgresStore};
use dsm_test_servers::postgres::{Database, Postgres};

pub(crate) const KIND: Kind = Kind(3);

/// The server of this process, which ends with it.
pub(crate) fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| {
        Postgres::available().unwrap_or_else(|what| panic!("{what}"));
        Postgres::start().unwrap()
    })
}

/// Databases that are free; to make one takes longer than to empty one.
static FREE: Mutex<Vec<Database>> = Mutex::new(Vec::new());

/// A database of [`server`] that nobody else uses, without the store's schema.
#[derive(Debug)]
pub(crate) struct Lent(Option<Database>);

impl Lent {
    pub(crate) fn new() -> Self {
        let free = FREE.lock().unwrap().pop();
        let database = free.unwrap_or_else(|| server().database().unwrap());
        database.sql("DROP SCHEMA IF EXISTS dsm CASCADE").unwrap();
        Self(Some(database))
    }
}

impl Deref for Lent {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(database) = self.0.take().filter(|database| !database.outlives()) {
            FREE.lock().unwrap().push(database);
        }
    }
}

pub(crate) async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(options(url)).await.unwrap()
}

pub(crate) fn options(url: &str) -> PostgresOptions {
    url.parse().unwrap()
}

/// The URL with another host and port in it.
pub(crate) fn through(url: &str, hosts: &str) -> String {
    let (user, rest) = url.split_once('@').unwrap();
    let (_, database) = rest.split_once('/').unwrap();
    format!("{user}@{hosts}/{database}")
}

pub(crate) fn key(id: u64) -> RecordKey {
    RecordKey::new(KIND, id)
}

pub(crate) fn term(id: u64) -> Term {
    Term(u128::from(id).to_be_bytes())
}

/// A record with a unique term.
pub(crate) fn record(id: u64) -> Record {
    Record {
        key: key(id),
        revision: 1,
        body: vec![7; 100],
        terms: vec![IndexTerm {
            term: term(id),
            unique: true,
        }],
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
    }
}

pub(crate) async fn create(store: &dyn Store, id: u64) -> Result<(), StoreError> {
    store.commit(ChangeSet::default().create(record(id))).await
}

pub(crate) fn operation(id: u64) -> OperationId {
    OperationId(u128::from(id).to_be_bytes())
}

pub(crate) fn is_unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable { .. }))
}

/// Asks until it is so.
pub(crate) async fn eventually(what: &str, within: Duration, mut so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !so().await {
        assert!(started.elapsed() < within, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many sessions of the database are within a transaction.
pub(crate) fn open_transactions(database: &Database) -> String {
    database
        .sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND xact_start IS NOT NULL AND pid <> pg_backend_pid()",
        )
        .unwrap()
}

/// The error and its causes, in a line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let lines: Vec<String> = causes.map(ToString::to_string).collect();
    lines.join(": ")
}
