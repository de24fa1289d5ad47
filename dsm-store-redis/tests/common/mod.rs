//! What the tests of this crate share.

#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod proxy;

use std::sync::OnceLock;
use std::time::Duration;

use dsm_core::store::{
    ChangeSet, Changed, Changes, IndexTerm, Kind, OperationId, Record, RecordKey, StoreError, Term,
};
use dsm_core::time::Timestamp;
use dsm_store_redis::{RedisOptions, RedisStore};
use dsm_test_servers::redis::Redis;

pub(crate) const KIND: Kind = Kind(3);

/// One server for all cases of a program.
pub(crate) fn server() -> &'static Redis {
    static SERVER: OnceLock<Redis> = OnceLock::new();
    SERVER.get_or_init(|| start(&[]))
}

/// A server of a case's own.
pub(crate) fn start(settings: &[(&str, &str)]) -> Redis {
    Redis::available().unwrap_or_else(|missing| panic!("{missing}"));
    Redis::start_with(settings).expect("the server starts")
}

pub(crate) async fn open(url: &str) -> Result<RedisStore, StoreError> {
    RedisStore::open(RedisOptions::parse(url).expect("the URL is read")).await
}

pub(crate) fn record(id: u64, size: usize) -> Record {
    Record {
        key: RecordKey::new(KIND, id),
        revision: 1,
        body: vec![b'x'; size],
        terms: vec![IndexTerm {
            term: term(id),
            unique: true,
        }],
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
    }
}

pub(crate) fn term(id: u64) -> Term {
    let mut term = [0; 16];
    term[..8].copy_from_slice(&id.to_le_bytes());
    Term(term)
}

pub(crate) fn create(id: u64) -> ChangeSet {
    ChangeSet::default().create(record(id, 10))
}

pub(crate) fn operation(number: u8) -> OperationId {
    OperationId::new(Timestamp::UNIX_EPOCH, [number; 10])
}

/// The next change, which must come.
pub(crate) async fn next(changes: &mut Changes) -> Changed {
    let next = tokio::time::timeout(Duration::from_secs(30), changes.next()).await;
    next.expect("a change is told").expect("the store is open")
}

/// An error with all its causes, as a log has it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause} {cause:?}"));
        source = cause.source();
    }
    text
}
