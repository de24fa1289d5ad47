//! The conformance suite and the memory store.

use std::env;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dsm_core::store::{MemoryStore, Store};
use dsm_core::testing::store::{Fixture, compare, ops};
use dsm_store_postgres::PostgresStore;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

use crate::support::{Lent, open};

dsm_core::store_conformance!(persistent Opened::new);

/// A store in a database of its own.
struct Opened {
    store: Mutex<Option<Arc<PostgresStore>>>,
    database: Lent,
}

impl Opened {
    async fn new() -> Self {
        let opened = Self {
            store: Mutex::default(),
            database: Lent::new(),
        };
        opened.reopen().await;
        opened
    }
}

#[async_trait]
impl Fixture for Opened {
    async fn store(&self) -> Arc<dyn Store> {
        let store = self.store.lock().expect("no panic under the lock");
        store.clone().expect("it is open")
    }

    async fn reopen(&self) -> Option<Arc<dyn Store>> {
        self.store.lock().expect("no panic under the lock").take();
        let store = Arc::new(open(self.database.url()).await);
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
            let subject = Opened::new().await;
            compare(&MemoryStore::new(), &*subject.store().await, &ops).await;
            subject.store().await.close().await;
        });
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
