//! A primary that goes on while a standby takes its place.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dsm_core::store::{Changed, Changes, Store as _};
use dsm_store_postgres::PostgresStore;
use dsm_test_servers::postgres::Postgres;
use dsm_test_servers::proxy::Proxy;

use crate::support::{create, eventually, key, open, through};

/// A primary with the store's schema and a record, and a standby that has both.
async fn primary_and_standby() -> (Postgres, Postgres) {
    let primary = Postgres::start_with(&[]).unwrap();
    let store = open(&primary.url()).await;
    create(&store, 1).await.unwrap();
    store.close().await;
    let standby = primary.standby().unwrap();
    eventually("the standby follows", Duration::from_secs(30), async || {
        let count = standby.sql("SELECT count(*) FROM dsm.record");
        count.is_ok_and(|count| count == "1")
    })
    .await;
    (primary, standby)
}

/// Waits until changes are missed and asserts that nothing is up to date since the switch.
async fn told_unknown(changes: &mut Changes, switched_at: Instant) {
    let told = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            match changes.next().await {
                Some(Changed::Unknown) => return,
                Some(Changed::UpToDate(at)) => {
                    assert!(at <= switched_at, "{:?} after it", at - switched_at);
                }
                other => assert!(other.is_some(), "the store was closed"),
            }
        }
    });
    told.await.unwrap();
}

async fn hears(changes: &mut Changes, other: &PostgresStore) {
    let mut id = 100;
    eventually("changes are heard", Duration::from_secs(10), async || {
        id += 1;
        create(other, id).await.unwrap();
        let heard = tokio::time::timeout(Duration::from_millis(500), async {
            while changes.next_change().await != Some(Changed::Record(key(id))) {}
        });
        heard.await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_only_listens_leaves_a_host_that_takes_no_more_writes() {
    let (old, new) = primary_and_standby().await;
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", old.port(), new.port());
    let store = open(&through(&old.url(), &hosts)).await;
    let mut changes = store.changes();
    new.promote().unwrap();
    old.sql("ALTER SYSTEM SET default_transaction_read_only = on")
        .unwrap();
    old.sql("SELECT pg_reload_conf()").unwrap();
    let other = open(&new.url()).await;
    hears(&mut changes, &other).await;
    let found = store.find(key(101)).await.unwrap();
    assert!(found.is_some(), "it was asked of the old host");
    store.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_replaced_is_not_listened_to() {
    let (old, new) = primary_and_standby().await;
    let address = |server: &Postgres| SocketAddr::from(([127, 0, 0, 1], server.port()));
    let proxy = Proxy::start(address(&old)).unwrap();
    let hosts = format!("{},{}", proxy.address(), address(&new));
    let store = open(&through(&old.url(), &hosts)).await;
    new.promote().unwrap();
    let other = open(&new.url()).await;
    let mut changes = store.changes();

    // The connection that listens stays where it is, and its host takes writes.
    proxy.redirect(address(&new));
    old.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dsm' \
         AND query NOT LIKE 'LISTEN%' AND query <> 'SHOW transaction_read_only'",
    )
    .unwrap();
    store.probe().await.unwrap();
    create(&store, 2).await.unwrap();
    let switched_at = Instant::now();
    assert_eq!(new.sql("SELECT count(*) FROM dsm.record").unwrap(), "2");
    told_unknown(&mut changes, switched_at).await;
    hears(&mut changes, &other).await;
    store.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hosts_that_take_writes_a_new_store_takes_the_successor() {
    let (old, new) = primary_and_standby().await;
    new.promote().unwrap();
    let address = |server: &Postgres| SocketAddr::from(([127, 0, 0, 1], server.port()));
    for (id, hosts) in [(2, [&old, &new]), (3, [&new, &old])] {
        let hosts = hosts.map(|host| address(host).to_string()).join(",");
        let store = open(&through(&old.url(), &hosts)).await;
        create(&store, id).await.unwrap();
        store.close().await;
    }
    for (server, records) in [(&old, "1"), (&new, "3")] {
        let count = server.sql("SELECT count(*) FROM dsm.record");
        assert_eq!(count.unwrap(), records);
    }
    // One that does not answer is waited for in vain, and not for long.
    let silent = Proxy::start(address(&old)).unwrap();
    silent.black_hole();
    let hosts = format!("{},{}", silent.address(), address(&new));
    open(&through(&new.url(), &hosts)).await.close().await;
}
