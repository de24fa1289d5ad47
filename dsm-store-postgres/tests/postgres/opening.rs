//! What is found and refused when a store is opened.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use dsm_core::store::{SchemaChanges, Store as _, StoreError};
use dsm_store_postgres::PostgresStore;
use dsm_test_servers::postgres::Postgres;
use dsm_test_servers::proxy::Proxy;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::support::{
    KIND, Lent, chain, create, eventually, is_unavailable, open, options, server, through,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_servers_open_an_empty_database_at_once() {
    let database = Lent::new();
    let url = Arc::<str>::from(database.url());
    let opens = (0..10).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { open(&url).await })
    });
    let stores = join_all(opens).await;
    let mut ids = Vec::new();
    for store in stores {
        ids.push(store.unwrap().next_id(KIND).await.unwrap());
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10);
    let versions = database.sql("SELECT count(*) FROM dsm.schema_version");
    assert_eq!(versions.unwrap(), "1");
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_as_it_is() {
    let database = Lent::new();
    open(database.url()).await.close().await;
    database
        .sql("UPDATE dsm.schema_version SET version = 99")
        .unwrap();
    let refused = PostgresStore::open(options(database.url())).await;
    assert!(
        matches!(refused, Err(StoreError::NewerSchema { found: 99, .. })),
        "{refused:?}"
    );
    let version = database.sql("SELECT version FROM dsm.schema_version");
    assert_eq!(version.unwrap(), "99");
}

#[tokio::test]
async fn a_schema_that_is_to_stay_as_it_is_stays() {
    let database = Lent::new();
    let opened = async |changes| PostgresStore::open(options(database.url()).schema(changes)).await;
    for changes in [SchemaChanges::Nothing, SchemaChanges::Update] {
        let refused = opened(changes).await;
        assert!(
            matches!(refused, Err(StoreError::OlderSchema { found: 0, .. })),
            "{changes:?}: {refused:?}"
        );
    }
    let schemas = database.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'dsm'");
    assert_eq!(schemas.unwrap(), "0");
    open(database.url()).await.close().await;
    let store = opened(SchemaChanges::Nothing).await.unwrap();
    create(&store, 1).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn another_programs_schema_is_refused_and_left_as_it_is() {
    let database = Lent::new();
    database
        .sql("CREATE SCHEMA dsm; CREATE TABLE dsm.thing (a int)")
        .unwrap();
    let refused = PostgresStore::open(options(database.url())).await;
    assert!(
        matches!(refused, Err(StoreError::Corrupt(_))),
        "{refused:?}"
    );
    let tables = database.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'dsm'");
    assert_eq!(tables.unwrap(), "1");
}

#[tokio::test]
async fn a_schema_that_an_administrator_made_is_used() {
    let database = Lent::new();
    database.sql("CREATE SCHEMA dsm").unwrap();
    let store = open(database.url()).await;
    create(&store, 1).await.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_while_a_store_is_opened_is_told_in_time() {
    let server = Postgres::start_with(&[]).unwrap();
    open(&server.url()).await.close().await;
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port()))).unwrap();
    let url = through(&server.url(), &proxy.address().to_string());
    let is_any = |condition: &str| {
        let count = format!("SELECT count(*) FROM pg_stat_activity WHERE {condition}");
        server.sql(&count).unwrap() != "0"
    };
    let opened = thread::scope(|scope| {
        // Holds up the first look at the schema until the network is gone.
        scope.spawn(|| {
            let held = server.sql("LOCK TABLE dsm.schema_version; SELECT pg_sleep(60)");
            held.expect_err("its session is ended");
        });
        while !is_any("wait_event = 'PgSleep'") {}
        let opened = tokio::spawn(PostgresStore::open(options(&url)));
        while !is_any("wait_event_type = 'Lock'") {
            assert!(!opened.is_finished());
        }
        proxy.black_hole();
        let sleeping = "FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        let end = format!("SELECT pg_terminate_backend(pid) {sleeping}");
        server.sql(&end).unwrap();
        opened
    });
    let opened = timeout(Duration::from_secs(8), opened).await;
    let opened = opened.expect("it is told in time").unwrap();
    assert!(is_unavailable(&opened), "{opened:?}");
}

#[tokio::test]
async fn a_server_that_may_lose_commits_is_refused_by_the_name_of_its_setting() {
    let server = Postgres::start_with(&[]).unwrap();
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        server
            .sql(&format!("ALTER SYSTEM SET {setting} = off"))
            .unwrap();
        reload(&server, setting, "off").await;
        let refused = PostgresStore::open(options(&server.url())).await;
        let error = refused.expect_err("it is refused");
        assert!(matches!(error, StoreError::Backend { .. }), "{error:?}");
        assert!(chain(&error).contains(&format!("{setting} is off")));

        let accepting = options(&server.url()).accept_data_loss(true);
        PostgresStore::open(accepting).await.unwrap().close().await;
        server
            .sql(&format!("ALTER SYSTEM RESET {setting}"))
            .unwrap();
        reload(&server, setting, "on").await;
    }
    for level in ["local", "remote_write", "on", "remote_apply"] {
        let url = format!("{}?options=-csynchronous_commit%3D{level}", server.url());
        open(&url).await.close().await;
    }
}

async fn reload(server: &Postgres, setting: &str, value: &str) {
    server.sql("SELECT pg_reload_conf()").unwrap();
    eventually("the setting is read", Duration::from_secs(30), async || {
        server.sql(&format!("SHOW {setting}")).unwrap() == value
    })
    .await;
}

#[tokio::test]
async fn an_unreachable_database_is_told_at_once_and_without_the_password() {
    let nobody = "postgres://dsm:hunter2@127.0.0.1:1/dsm";
    let wrong = through(&server().url(), &format!("127.0.0.1:{}", server().port()));
    let (_, rest) = wrong.split_once('@').unwrap();
    let wrong = format!("postgres://postgres:hunter2@{rest}");
    for (url, reason) in [
        (nobody, "can be reached"),
        (wrong.as_str(), "refused the user or the password"),
    ] {
        let started = Instant::now();
        let error = PostgresStore::open(options(url)).await;
        let error = error.expect_err("it is refused");
        assert!(started.elapsed() < Duration::from_secs(4));
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(chain(&error).contains(reason), "{error:?}");
        assert!(!format!("{error:?} {}", chain(&error)).contains("hunter2"));
    }
}

#[tokio::test]
async fn a_store_does_not_show_the_password() {
    let database = Lent::new();
    let (_, rest) = database.url().split_once("postgres:").unwrap();
    let (_, password) = rest.split_once("postgres:").unwrap();
    let (password, _) = password.split_once('@').unwrap();
    let store = open(database.url()).await;
    let shown = format!("{store:?} {:?}", options(database.url()));
    assert!(password.len() > 20 && !shown.contains(password));
    store.close().await;
}

#[tokio::test]
async fn old_operations_are_forgotten() {
    let database = Lent::new();
    open(database.url()).await.close().await;
    database
        .sql(
            "INSERT INTO dsm.operation (id, done, at) \
             SELECT int4send(n), true, now() - interval '2 hours' FROM generate_series(1, 12000) n; \
             INSERT INTO dsm.operation (id, done, at) VALUES ('new', true, now() - interval '1 hour')",
        )
        .unwrap();
    let store = open(database.url()).await;
    eventually(
        "old ones are removed",
        Duration::from_secs(30),
        async || database.sql("SELECT count(*) FROM dsm.operation").unwrap() == "1",
    )
    .await;
    store.close().await;
}
