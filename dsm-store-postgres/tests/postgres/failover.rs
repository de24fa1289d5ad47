//! A primary that dies and a standby that takes its place.

use std::time::Duration;

use dsm_core::store::{Changed, Store as _, StoreError};
use dsm_store_postgres::PostgresStore;
use dsm_test_servers::postgres::Postgres;

use crate::support::{chain, create, eventually, key, open, options, through};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_is_found_within_ten_seconds() {
    let mut primary = Postgres::start_with(&["hot_standby_feedback=on"]).unwrap();
    let mut standby = primary.standby().unwrap();
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", standby.port(), primary.port());
    let url = through(&primary.url(), &hosts);
    let alone = PostgresStore::open(options(&standby.url())).await;
    let error = alone.expect_err("a standby takes no writes");
    assert!(chain(&error).contains("it is a standby"), "{error:?}");

    let store = open(&url).await;
    let other = open(&url).await;
    for id in 1..=20 {
        create(&store, id).await.unwrap();
    }
    eventually("the standby follows", Duration::from_secs(30), async || {
        standby
            .sql("SELECT count(*) FROM dsm.record")
            .is_ok_and(|count| count == "20")
    })
    .await;
    let mut changes = store.changes();

    primary.kill9().unwrap();
    let refused = create(&store, 21).await;
    assert!(
        // A session may outlive the server that was killed until it is told so.
        matches!(
            refused,
            Err(StoreError::Unavailable { .. } | StoreError::OutcomeUnknown { .. })
        ),
        "{refused:?}"
    );
    standby.promote().unwrap();
    eventually("the store serves", Duration::from_secs(10), async || {
        store.probe().await.is_ok()
    })
    .await;
    for id in 1..=20 {
        assert!(store.find(key(id)).await.unwrap().is_some());
    }
    create(&store, 22).await.unwrap();

    let mut id = 100;
    eventually("changes are heard", Duration::from_secs(10), async || {
        id += 1;
        if create(&other, id).await.is_err() {
            return false;
        }
        let heard = tokio::time::timeout(Duration::from_millis(500), async {
            while changes.next_change().await != Some(Changed::Record(key(id))) {}
        });
        heard.await.is_ok()
    })
    .await;
    other.close().await;

    // The old primary comes back and would take writes that nobody else sees.
    primary.start_again().unwrap();
    standby.stop().unwrap();
    eventually(
        "the old one is refused",
        Duration::from_secs(10),
        async || {
            let error = store.probe().await.expect_err("nobody may take writes");
            chain(&error).contains("was replaced by another host")
        },
    )
    .await;
    let refused = create(&store, 23).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable { .. })),
        "{refused:?}"
    );
    let written = primary.sql("SELECT count(*) FROM dsm.record WHERE id > 20");
    assert_eq!(written.unwrap(), "0");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_keeps_what_it_acknowledged() {
    let mut server = Postgres::start_with(&[]).unwrap();
    let store = open(&server.url()).await;
    for id in 1..=50 {
        create(&store, id).await.unwrap();
    }
    server.kill9().unwrap();
    assert!(store.find(key(1)).await.is_err());
    server.start_again().unwrap();
    eventually("the store serves", Duration::from_secs(10), async || {
        store.probe().await.is_ok()
    })
    .await;
    for id in 1..=50 {
        assert!(store.find(key(id)).await.unwrap().is_some());
    }
    server.stop().unwrap();
    server.start_again().unwrap();
    // All idle connections were lost at once, and no caller is to find out one by one.
    eventually("the store serves", Duration::from_secs(10), async || {
        create(&store, 51).await.is_ok()
    })
    .await;
    store.close().await;
}
