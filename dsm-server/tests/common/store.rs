//! The store that the suites in this process run over: `DSM_TEST_STORE`, one of `memory` (unless
//! said), `sqlite`, `postgres` and `redis`.

use std::any::Any;
use std::sync::Arc;

use dsm_core::store::{MemoryStore, Store};

/// A store that nobody else uses and that was empty, and what goes with it.
pub(crate) struct TestStore {
    pub(crate) store: Arc<dyn Store>,
    /// Its folder or database.
    _place: Box<dyn Any + Send + Sync>,
}

impl TestStore {
    pub(crate) async fn new() -> Self {
        match std::env::var("DSM_TEST_STORE").as_deref() {
            Err(_) | Ok("memory") => Self::of(MemoryStore::default(), ()),
            Ok("sqlite") => sqlite().await,
            Ok("postgres") => postgres().await,
            Ok("redis") => redis().await,
            Ok(other) => panic!("DSM_TEST_STORE: there is no store {other}"),
        }
    }

    fn of(store: impl Store + 'static, place: impl Any + Send + Sync) -> Self {
        Self {
            store: Arc::new(store),
            _place: Box::new(place),
        }
    }
}

#[cfg(feature = "sqlite")]
async fn sqlite() -> TestStore {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = dsm_store_sqlite::SqliteStore::open(folder.path().join("vault.db"));
    TestStore::of(store.await.expect("a new file"), folder)
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite() -> TestStore {
    panic!("built without the feature sqlite")
}

#[cfg(feature = "postgres")]
async fn postgres() -> TestStore {
    use std::sync::OnceLock;

    use dsm_store_postgres::{PostgresOptions, PostgresStore};
    use dsm_test_servers::postgres::Postgres;

    // Of the whole test program; it ends with it.
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    // Nothing here is about power failures, and there is a new database for each test.
    let start = || Postgres::start_with(&["fsync=off"]).or_else(|_| Postgres::start());
    let server = SERVER.get_or_init(|| start().expect("Postgres starts"));
    let database = server.database().expect("a new database");
    let options: PostgresOptions = database.url().parse().expect("a URL");
    let options = options.max_connections(4).accept_data_loss(true);
    let store = PostgresStore::open(options).await;
    TestStore::of(store.expect("an empty database"), database)
}

#[cfg(not(feature = "postgres"))]
async fn postgres() -> TestStore {
    panic!("built without the feature postgres")
}

#[cfg(feature = "redis")]
async fn redis() -> TestStore {
    use std::sync::OnceLock;

    use dsm_store_redis::{RedisOptions, RedisStore};
    use dsm_test_servers::redis::Redis;

    // Of the whole test program; it ends with it.
    static SERVER: OnceLock<Redis> = OnceLock::new();
    let server = SERVER.get_or_init(|| Redis::start().expect("Redis starts"));
    let options = RedisOptions::parse(&server.fresh_url()).expect("a URL");
    TestStore::of(
        RedisStore::open(options).await.expect("an empty prefix"),
        (),
    )
}

#[cfg(not(feature = "redis"))]
async fn redis() -> TestStore {
    panic!("built without the feature redis")
}
