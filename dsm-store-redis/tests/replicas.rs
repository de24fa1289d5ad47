//! Replicas, and Sentinel when the master is gone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dsm_core::store::{Changed, LogRecord, ServerId, Store as _, StoreError};
use dsm_core::time::Timestamp;
use dsm_test_servers::redis::{Redis, with_parameter};

use common::proxy::Proxy;
use common::{KIND, create, next, open, operation, record, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_refused() {
    let master = start(&[]);
    let replica = master.replica().unwrap();
    let error = open(&replica.url())
        .await
        .expect_err("it cannot be written");
    let told = error.to_string();
    assert!(told.contains("is a replica"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_its_replicas() {
    let master = start(&[]);
    let url = with_parameter(&master.url(), "min_replicas", "1");
    let replica = master.replica().unwrap();
    let store = open(&url).await.unwrap();
    store.commit(create(1).named(operation(1))).await.unwrap();
    let keys = replica.cli(&["hlen", "{dsm}:records"]).unwrap();
    assert_eq!(keys.trim(), "1");
    store.probe().await.unwrap();

    replica.freeze().unwrap();
    let set = create(2).named(operation(2));
    let error = store.commit(set).await.expect_err("nobody confirms");
    let StoreError::OutcomeUnknown { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(reason.contains("0 of 1 replicas"), "{reason}");
    // It is there, and nobody is told so before it is safe.
    assert_eq!(
        store.find(record(2, 0).key).await.unwrap(),
        Some(record(2, 10))
    );
    let error = store
        .resolve(operation(2))
        .await
        .expect_err("nobody confirms");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    replica.thaw().unwrap();
    assert!(until_it_answers(|| store.resolve(operation(2))).await);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writes_wait_for_a_frozen_replica_together() {
    let master = start(&[]);
    let url = with_parameter(&master.url(), "min_replicas", "1");
    let replica = master.replica().unwrap();
    let store = Arc::new(open(&url).await.unwrap());
    until_it_answers(|| store.probe()).await;

    replica.freeze().unwrap();
    let commits: Vec<_> = (1..=12)
        .map(|id| {
            let store = Arc::clone(&store);
            let set = create(u64::from(id)).named(operation(id));
            tokio::spawn(async move { store.commit(set).await })
        })
        .collect();
    for commit in commits {
        let error = commit.await.unwrap().expect_err("nobody confirms");
        let StoreError::OutcomeUnknown { reason, .. } = &error else {
            panic!("{error:?}");
        };
        // One after the other most of them would have run out of time.
        assert!(reason.contains("0 of 1 replicas"), "{reason}");
    }
    replica.thaw().unwrap();
    for id in 1..=12 {
        assert!(until_it_answers(|| store.resolve(operation(id))).await);
    }
    store.close().await;
}

/// The answer, once there is one.
async fn until_it_answers<T, F>(call: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let start = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(30), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_by_sentinel_is_followed() {
    let mut master = start(&[]);
    let replica = master.replica().unwrap();
    let sentinels = master.sentinels("primary", 3).unwrap();
    let url = with_parameter(&sentinels.url(), "min_replicas", "1");
    let store = open(&url).await.unwrap();
    for id in 1..=50 {
        store.commit(create(id)).await.unwrap();
    }
    let mut changes = store.changes();

    master.kill9().unwrap();
    let killed = Instant::now();
    assert_eq!(next(&mut changes).await, Changed::Unknown);
    let asked = Instant::now();
    let early = store.commit(create(51).named(operation(1))).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "{early:?}");
    assert!(early.is_err(), "no replica is left that could confirm");
    until_it_answers(|| store.find(record(1, 0).key)).await;
    eprintln!(
        "reads are back {:?} after the master was killed",
        killed.elapsed()
    );
    for id in 1..=50 {
        assert_eq!(
            store.find(record(id, 0).key).await.unwrap(),
            Some(record(id, 10))
        );
    }
    store.close().await;

    // The new master has no replica yet, so that its writes are confirmed by nobody.
    let store = open(&sentinels.url()).await.unwrap();
    let mut changes = store.changes();
    store.commit(create(60)).await.unwrap();
    while next(&mut changes).await != Changed::Record(record(60, 0).key) {}
    assert!(replica.cli(&["role"]).unwrap().starts_with("master"));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_master_is_told() {
    let master = start(&[]);
    let sentinels = master.sentinels("primary", 1).unwrap();
    let url = sentinels.url().replace("/primary/", "/other/");
    let error = open(&url).await.expect_err("nobody knows it");
    assert!(
        error.to_string().contains("a master called other"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_master_is_not_believed() {
    let master = start(&[]);
    let replica = master.replica().unwrap();
    // What it commits is at the replica before that is promoted.
    let url = with_parameter(&master.url(), "min_replicas", "1");
    let store = open(&url).await.unwrap();
    until_it_answers(|| store.probe()).await;
    store.commit(create(1)).await.unwrap();
    let mut changes = store.changes();
    let port = replica.port().to_string();
    replica.cli(&["replicaof", "no", "one"]).unwrap();
    master.cli(&["replicaof", "127.0.0.1", &port]).unwrap();
    assert_eq!(next(&mut changes).await, Changed::Unknown);

    // Nor is it read, once that is known.
    let start = Instant::now();
    let error = loop {
        match store.find(record(1, 0).key).await {
            Err(error) => break error.to_string(),
            Ok(_) => assert!(start.elapsed() < Duration::from_secs(30), "it is read"),
        }
    };
    assert!(error.contains("is a replica"), "{error}");
    let other = open(&replica.url()).await.unwrap();
    other.commit(create(2)).await.unwrap();
    let replicated = || master.cli(&["hlen", "{dsm}:records"]).unwrap();
    while replicated().trim() != "2" {
        assert!(start.elapsed() < Duration::from_secs(30), "no replication");
    }

    let back = Instant::now();
    master.cli(&["replicaof", "no", "one"]).unwrap();
    loop {
        match changes.next().await {
            Some(Changed::UpToDate(at)) => {
                assert!(at >= back, "told so while it was a replica");
                break;
            }
            changed => assert!(changed.is_some()),
        }
    }
    let found = until_it_answers(|| store.find(record(2, 0).key)).await;
    assert_eq!(found, Some(record(2, 10)));
    other.close().await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_reads_are_of_one_server() {
    let old = start(&[]);
    let new = old.replica().unwrap();
    let proxy = Proxy::start(old.port()).await;
    // What it commits is at the replica before that is promoted.
    let url = with_parameter(&old.url_at(proxy.port()), "min_replicas", "1");
    let store = open(&url).await.unwrap();
    until_it_answers(|| store.probe()).await;
    store.commit(create(1)).await.unwrap();
    store.find(record(1, 0).key).await.unwrap();
    let mut changes = store.changes();

    // Only the connection that reads is moved.
    new.cli(&["replicaof", "no", "one"]).unwrap();
    let other = open(&new.url()).await.unwrap();
    other.commit(create(2)).await.unwrap();
    proxy.lead_to(new.port());
    let clients = old.cli(&["client", "list"]).unwrap();
    let reading = clients.lines().find(|line| line.contains("cmd=hget"));
    let id = reading.unwrap().split_once(' ').unwrap().0;
    let id = id.strip_prefix("id=").unwrap();
    old.cli(&["client", "kill", "id", id]).unwrap();
    let start = Instant::now();
    while until_it_answers(|| store.find(record(2, 0).key))
        .await
        .is_none()
    {
        assert!(start.elapsed() < Duration::from_secs(30), "it stays");
    }
    let moved = Instant::now();
    loop {
        match changes.next().await {
            Some(Changed::Unknown) => break,
            Some(Changed::UpToDate(at)) => assert!(at < moved, "told of another server"),
            changed => assert!(changed.is_some()),
        }
    }
    // Now the changes are those of the new one.
    other.commit(create(3)).await.unwrap();
    while next(&mut changes).await != Changed::Record(record(3, 0).key) {}
    other.close().await;
    store.close().await;
}

/// How many changes of keys the server has made.
fn written(server: &Redis) -> u64 {
    let info = server.cli(&["info", "persistence"]).unwrap();
    let mut lines = info.lines();
    let count = lines.find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
    count.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_already_is_written_again_for_the_replicas() {
    let master = start(&[]);
    let store = open(&master.url()).await.unwrap();
    let batch = LogRecord {
        server: ServerId([1; 16]),
        sequence: 1,
        last_sequence: 1,
        from: Timestamp::UNIX_EPOCH,
        until: Timestamp::UNIX_EPOCH,
        terms: Vec::new(),
        body: vec![1],
    };
    let set = || create(1).named(operation(1));
    store.commit(set()).await.unwrap();
    assert!(!store.resolve(operation(2)).await.unwrap());
    store.append_log(vec![batch.clone()]).await.unwrap();
    store.advance_ids(KIND, 7).await.unwrap();

    let before = written(&master);
    store.commit(set()).await.unwrap();
    assert_eq!(written(&master), before + 1, "a set that took effect");
    assert!(store.resolve(operation(1)).await.unwrap());
    assert_eq!(written(&master), before + 2, "that it took effect");
    assert!(!store.resolve(operation(2)).await.unwrap());
    assert_eq!(written(&master), before + 3, "that it did not");
    let given_up = store.commit(create(2).named(operation(2))).await;
    assert!(
        matches!(given_up, Err(StoreError::GivenUp(_))),
        "{given_up:?}"
    );
    assert_eq!(written(&master), before + 4, "a set that was given up");
    store.append_log(vec![batch]).await.unwrap();
    assert_eq!(written(&master), before + 5, "a batch that is there");
    store.advance_ids(KIND, 3).await.unwrap();
    assert_eq!(written(&master), before + 6, "numbers that are beyond");
    assert_eq!(store.next_id(KIND).await.unwrap(), 8);
    store.close().await;
}
