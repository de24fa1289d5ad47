//! The Redis store against the conformance suite and the memory store.

use std::env;
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use dsm_core::store::{MemoryStore, Store};
use dsm_core::testing::store::{Fixture, compare, ops};
use dsm_store_redis::{RedisOptions, RedisStore};
use dsm_test_servers::redis::Redis;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

dsm_core::store_conformance!(persistent Prefix::new);

/// One server for all cases of this program.
fn server() -> &'static Redis {
    static SERVER: OnceLock<Redis> = OnceLock::new();
    SERVER.get_or_init(|| {
        Redis::available().unwrap_or_else(|missing| panic!("{missing}"));
        Redis::start().expect("the server starts")
    })
}

/// A prefix of its own.
struct Prefix {
    url: String,
    store: Mutex<Option<Arc<RedisStore>>>,
}

impl Prefix {
    async fn new() -> Self {
        let prefix = Self {
            url: server().fresh_url(),
            store: Mutex::default(),
        };
        prefix.reopen().await;
        prefix
    }
}

impl Drop for Prefix {
    /// A server that outlives the tests keeps nothing of theirs.
    fn drop(&mut self) {
        if env::var_os("DSM_TEST_REDIS_URL").is_none() {
            return;
        }
        let (url, prefix) = self.url.split_once("prefix=").expect("it has a prefix");
        let client = redis::Client::open(url.trim_end_matches(['?', '&']));
        let removed = client.and_then(|client| {
            let mut connection = client.get_connection()?;
            let mut find = redis::cmd("KEYS");
            let keys: Vec<Vec<u8>> = find.arg(format!("{{{prefix}}}:*")).query(&mut connection)?;
            redis::cmd("UNLINK").arg(keys).exec(&mut connection)
        });
        if let Err(error) = removed {
            eprintln!("keys of the tests were left behind: {error}");
        }
    }
}

#[async_trait]
impl Fixture for Prefix {
    async fn store(&self) -> Arc<dyn Store> {
        let store = self.store.lock().expect("no panic under the lock");
        store.clone().expect("it is open")
    }

    async fn reopen(&self) -> Option<Arc<dyn Store>> {
        self.store.lock().expect("no panic under the lock").take();
        let options = RedisOptions::parse(&self.url).expect("the URL is read");
        let store = RedisStore::open(options).await;
        let store = Arc::new(store.expect("the store opens"));
        *self.store.lock().expect("no panic under the lock") = Some(store.clone());
        Some(store)
    }
}

#[test]
fn the_store_agrees_with_the_memory_store() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut config = Config {
        source_file: Some(file!()),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    };
    if env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 48;
    }
    let result = TestRunner::new(config).run(&ops(), |ops| {
        runtime.block_on(async {
            let subject = Prefix::new().await;
            compare(&MemoryStore::new(), &*subject.store().await, &ops).await;
            subject.store().await.close().await;
        });
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
