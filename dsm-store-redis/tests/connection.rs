//! Lost connections: how soon it is told, and that everything goes on by itself afterwards.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use dsm_core::store::{Changed, Store as _, StoreError};
use dsm_store_redis::RedisStore;
use futures_util::future::join_all;

use common::proxy::{Mode, Proxy};
use common::{KIND, create, next, open, operation, record, server};

const LIMIT: Duration = Duration::from_secs(5);

/// A store behind a proxy, and one beside it.
async fn behind() -> (Proxy, RedisStore, RedisStore) {
    behind_at(&server().fresh_url()).await
}

async fn behind_at(url: &str) -> (Proxy, RedisStore, RedisStore) {
    let proxy = Proxy::start(server().port()).await;
    let direct = open(url).await.unwrap();
    let port = format!(":{}/", server().port());
    let url = url.replace(&port, &format!(":{}/", proxy.port()));
    (proxy, open(&url).await.unwrap(), direct)
}

fn failed<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(
        result,
        Err(StoreError::Unavailable { .. } | StoreError::OutcomeUnknown { .. })
    )
}

/// Waits for the store to answer again.
async fn back(store: &RedisStore) {
    let start = Instant::now();
    while store.probe().await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(30), "it stays away");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_told_in_time_and_made_anew() {
    for mode in [Mode::Cut, Mode::BlackHole, Mode::NoAnswers] {
        let (proxy, store, direct) = behind().await;
        store.commit(create(1)).await.unwrap();
        proxy.set(mode);
        let start = Instant::now();
        let (set, first) = (create(2).named(operation(1)), common::term(1));
        let (commit, find, listed, id, probe) = tokio::join!(
            store.commit(set),
            store.find(record(1, 0).key),
            store.find_by(KIND, &first),
            store.next_id(KIND),
            store.probe(),
        );
        let waited = start.elapsed();
        eprintln!("{mode:?}: answered after {waited:?}, the commit with {commit:?}");
        assert!(waited < LIMIT, "{mode:?}: {waited:?}");
        assert!(failed(&commit), "{mode:?}: {commit:?}");
        assert!(failed(&find) && failed(&listed) && failed(&id) && failed(&probe));
        // Many who wait share an attempt.
        let start = Instant::now();
        let many = join_all((0..100).map(|_| store.find(record(1, 0).key))).await;
        assert!(many.iter().all(failed));
        assert!(start.elapsed() < LIMIT, "{mode:?}: {:?}", start.elapsed());

        proxy.set(Mode::Pass);
        let start = Instant::now();
        back(&store).await;
        eprintln!("{mode:?}: back after {:?}", start.elapsed());
        assert_eq!(
            store.find(record(1, 0).key).await.unwrap(),
            Some(record(1, 10))
        );
        // What is told of the commit holds for ever.
        let done = store.resolve(operation(1)).await.unwrap();
        let there = || direct.find(record(2, 0).key);
        assert_eq!(there().await.unwrap().is_some(), done, "{mode:?}");
        let repeated = store.commit(create(2).named(operation(1))).await;
        assert_eq!(repeated.is_ok(), done, "{repeated:?}");
        assert_eq!(there().await.unwrap().is_some(), done, "{mode:?}");
        store.close().await;
        direct.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_resolved_as_done() {
    let (proxy, store, direct) = behind().await;
    // Redis knows the script from now on.
    direct.commit(create(9)).await.unwrap();
    proxy.set(Mode::NoAnswers);
    let set = create(1).named(operation(1));
    let error = store.commit(set).await.expect_err("the answer is lost");
    assert!(
        matches!(error, StoreError::OutcomeUnknown { .. }),
        "{error:?}"
    );
    proxy.set(Mode::Pass);
    back(&store).await;
    assert!(store.resolve(operation(1)).await.unwrap());
    assert_eq!(
        direct.find(record(1, 0).key).await.unwrap(),
        Some(record(1, 10))
    );
    store.close().await;
    direct.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_held_up_is_given_up_for_good() {
    let (proxy, store, direct) = behind().await;
    proxy.set(Mode::BlackHole);
    let set = create(1).named(operation(1));
    let error = store.commit(set).await.expect_err("nothing comes through");
    assert!(
        matches!(error, StoreError::OutcomeUnknown { .. }),
        "{error:?}"
    );
    assert!(!direct.resolve(operation(1)).await.unwrap());
    // Now it may arrive.
    proxy.set(Mode::Pass);
    back(&store).await;
    assert!(!store.resolve(operation(1)).await.unwrap());
    assert_eq!(store.find(record(1, 0).key).await.unwrap(), None);
    store.close().await;
    direct.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_go_on_after_an_idle_connection_was_cut() {
    let (proxy, store, direct) = behind().await;
    let mut changes = store.changes();
    proxy.set(Mode::Cut);
    assert_eq!(next(&mut changes).await, Changed::Unknown);
    proxy.set(Mode::Pass);
    back(&store).await;
    store.commit(create(1)).await.unwrap();
    store.close().await;
    direct.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_told_after_a_lost_connection() {
    for mode in [Mode::Cut, Mode::BlackHole] {
        let (proxy, store, direct) = behind().await;
        let mut changes = store.changes();
        direct.commit(create(1)).await.unwrap();
        assert_eq!(next(&mut changes).await, Changed::Record(record(1, 0).key));
        proxy.set(mode);
        let start = Instant::now();
        assert_eq!(next(&mut changes).await, Changed::Unknown);
        let noticed = start.elapsed();
        eprintln!("{mode:?}: subscribers were told after {noticed:?}");
        assert!(
            noticed < Duration::from_millis(2_500),
            "{mode:?}: {noticed:?}"
        );
        for id in 2..=30 {
            direct.commit(create(id)).await.unwrap();
        }
        proxy.set(Mode::Pass);
        for id in 2..=30 {
            assert_eq!(next(&mut changes).await, Changed::Record(record(id, 0).key));
        }
        store.close().await;
        direct.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_cut_meanwhile_is_told_as_unknown() {
    let url = server().fresh_url();
    let (proxy, store, direct) = behind_at(&url).await;
    let mut changes = store.changes();
    direct.commit(create(1)).await.unwrap();
    assert_eq!(next(&mut changes).await, Changed::Record(record(1, 0).key));
    proxy.set(Mode::Cut);
    assert_eq!(next(&mut changes).await, Changed::Unknown);
    for id in 2..=30 {
        direct.commit(create(id)).await.unwrap();
    }
    let (_, prefix) = url.split_once("prefix=").unwrap();
    let stream = format!("{{{prefix}}}:changes");
    let trimmed = server().cli(&["xtrim", &stream, "MAXLEN", "3"]).unwrap();
    assert_eq!(trimmed.trim(), "27");
    proxy.set(Mode::Pass);
    assert_eq!(next(&mut changes).await, Changed::Unknown);
    direct.commit(create(31)).await.unwrap();
    assert_eq!(next(&mut changes).await, Changed::Record(record(31, 0).key));
    store.close().await;
    direct.close().await;
}
