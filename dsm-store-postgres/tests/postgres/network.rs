//! A network that fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dsm_core::store::{ChangeSet, Changed, Store, StoreError};
use dsm_store_postgres::PostgresStore;
use dsm_test_servers::proxy::Proxy;

use crate::support::{
    Lent, create, eventually, is_unavailable, key, open, open_transactions, operation, options,
    record, server, through,
};

fn proxy(database: &Lent) -> (Proxy, String) {
    let target = SocketAddr::from(([127, 0, 0, 1], server().port()));
    let proxy = Proxy::start(target).unwrap();
    let url = through(database.url(), &proxy.address().to_string());
    (proxy, url)
}

async fn fails_and_recovers(fail: impl Fn(&Proxy)) {
    let database = Lent::new();
    let (proxy, url) = proxy(&database);
    let options = options(&url).max_connections(3);
    let store = PostgresStore::open(options).await.unwrap();
    let direct = open(database.url()).await;
    create(&store, 1).await.unwrap();
    let mut changes = store.changes();

    let started = Instant::now();
    fail(&proxy);
    let set = ChangeSet::default().create(record(2)).named(operation(2));
    let (committed, found, probed, reserved) = tokio::join!(
        store.commit(set),
        store.find(key(1)),
        store.probe(),
        store.next_id(crate::support::KIND)
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    // Whether it was sent before the network failed is a matter of luck.
    let unknown = matches!(committed, Err(StoreError::OutcomeUnknown { .. }));
    assert!(unknown || is_unavailable(&committed), "{committed:?}");
    assert!(is_unavailable(&found), "{found:?}");
    assert!(is_unavailable(&probed), "{probed:?}");
    assert!(is_unavailable(&reserved), "{reserved:?}");
    let told = tokio::time::timeout(Duration::from_secs(3), changes.next_change()).await;
    assert_eq!(told.unwrap(), Some(Changed::Unknown));
    // While the network is gone, the answer can be had by another way.
    eventually(
        "no transaction is open",
        Duration::from_secs(10),
        async || open_transactions(&database) == "0",
    )
    .await;

    proxy.pass();
    eventually(
        "the store serves again",
        Duration::from_secs(5),
        async || store.probe().await.is_ok(),
    )
    .await;
    let took_effect = store.resolve(operation(2)).await.unwrap();
    assert_eq!(store.find(key(2)).await.unwrap().is_some(), took_effect);
    create(&store, 3).await.unwrap();

    // Changes of others are heard again.
    let mut id = 10;
    eventually("changes are heard", Duration::from_secs(10), async || {
        id += 1;
        create(&direct, id).await.unwrap();
        let heard = tokio::time::timeout(Duration::from_millis(500), async {
            while changes.next_change().await != Some(Changed::Record(key(id))) {}
        });
        heard.await.is_ok()
    })
    .await;
    store.close().await;
    direct.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_is_told_and_replaced() {
    fails_and_recovers(Proxy::cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_connection_is_told_and_replaced() {
    fails_and_recovers(Proxy::reset).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_told_within_five_seconds_and_left_again() {
    fails_and_recovers(Proxy::black_hole).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_loss_of_the_listening_connection_is_told_within_four_seconds() {
    let database = Lent::new();
    let (proxy, url) = proxy(&database);
    let store = open(&url).await;
    let mut changes = store.changes();
    proxy.black_hole();
    let told = tokio::time::timeout(Duration::from_secs(4), changes.next_change()).await;
    assert_eq!(told.unwrap(), Some(Changed::Unknown));
    proxy.pass();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_stall_loses_no_connection() {
    let database = Lent::new();
    let (proxy, url) = proxy(&database);
    let store = open(&url).await;
    store.probe().await.unwrap();
    let mut changes = store.changes();
    let connections = proxy.accepted();
    proxy.black_hole();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    proxy.pass();
    let passed_at = Instant::now();
    loop {
        match changes.next().await {
            Some(Changed::UpToDate(at)) if at > passed_at => break,
            Some(Changed::UpToDate(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    store.probe().await.unwrap();
    assert_eq!(proxy.accepted(), connections);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_commit_whose_answer_was_lost_is_resolved_truly() {
    let database = Lent::new();
    let (proxy, url) = proxy(&database);
    let store = Arc::new(open(&url).await);
    let direct = open(database.url()).await;
    let mut lost = 0;
    for round in 0..40_u64 {
        let commits: Vec<_> = (round * 4..round * 4 + 4)
            .map(|id| {
                let store = store.clone();
                let set = ChangeSet::default().create(record(id)).named(operation(id));
                tokio::spawn(async move { (id, store.commit(set).await) })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(round)).await;
        if round % 2 == 0 {
            proxy.reset();
        } else {
            proxy.cut();
        }
        for commit in commits {
            let (id, result) = commit.await.unwrap();
            let told = direct.resolve(operation(id)).await.unwrap();
            assert_eq!(direct.find(key(id)).await.unwrap().is_some(), told);
            match result {
                Ok(()) => assert!(told),
                Err(StoreError::Unavailable { .. }) => assert!(!told),
                Err(StoreError::OutcomeUnknown { .. }) => lost += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        proxy.pass();
        eventually("the store serves", Duration::from_secs(5), async || {
            store.probe().await.is_ok()
        })
        .await;
    }
    assert!(lost > 0);
    assert_eq!(open_transactions(&database), "0");
    store.close().await;
    direct.close().await;
}
