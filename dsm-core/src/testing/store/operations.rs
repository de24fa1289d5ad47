//! What became of a commit whose answer was lost.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{at, commit, create, find, key, record, refused, revised};
use crate::store::{ChangeSet, Changed, OperationId, Store};

fn operation(number: u8) -> OperationId {
    OperationId::new(at(0), [number; 10])
}

/// A commit that was acknowledged took effect, however often it is asked about.
pub async fn a_committed_operation_is_told(store: Arc<dyn Store>) {
    let set = ChangeSet::default().create(record(1)).named(operation(1));
    commit(&*store, set).await;
    for _ in 0..2 {
        assert!(store.resolve(operation(1)).await.expect("an answer"));
    }
}

/// What was told not to have happened never does.
pub async fn a_resolved_operation_is_given_up(store: Arc<dyn Store>) {
    assert!(!store.resolve(operation(1)).await.expect("an answer"));
    let set = ChangeSet::default().create(record(1)).named(operation(1));
    refused!(store.commit(set).await, GivenUp(id) if id == operation(1));
    assert_eq!(find(&*store, 1).await, None);
    assert!(!store.resolve(operation(1)).await.expect("an answer"));
}

/// A set that is sent again takes effect once.
pub async fn a_repeated_operation_changes_nothing(store: Arc<dyn Store>) {
    let set = ChangeSet::default().create(record(1)).named(operation(1));
    commit(&*store, set.clone()).await;
    commit(&*store, ChangeSet::default().update(revised(1, 2), 1)).await;
    commit(&*store, set).await;
    assert_eq!(find(&*store, 1).await, Some(revised(1, 2)));
}

/// A refused set did not take effect, and its name can be used for another attempt.
pub async fn a_refused_operation_did_not_happen(store: Arc<dyn Store>) {
    create(&*store, record(1)).await;
    let set = ChangeSet::default().create(record(1)).named(operation(1));
    refused!(store.commit(set).await, AlreadyExists(_));
    let set = ChangeSet::default().create(record(2)).named(operation(1));
    commit(&*store, set).await;
    assert!(store.resolve(operation(1)).await.expect("an answer"));
}

/// Names are told apart by every byte.
pub async fn operations_are_told_apart(store: Arc<dyn Store>) {
    let set = ChangeSet::default().named(operation(1));
    commit(&*store, set).await;
    for index in 0..16 {
        let mut other = operation(1);
        other.0[index] ^= 1;
        assert!(!store.resolve(other).await.expect("an answer"));
    }
    assert!(store.resolve(operation(1)).await.expect("an answer"));
}

/// An answer given while the commit is under way is true for ever.
pub async fn a_racing_commit_is_told_truly(store: Arc<dyn Store>) {
    let races = (1..=40_u8).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let set = ChangeSet::default()
                .create(record(u64::from(number)))
                .named(operation(number));
            let committing = tokio::spawn({
                let store = store.clone();
                async move { store.commit(set).await }
            });
            if number % 2 == 0 {
                tokio::task::yield_now().await;
            }
            let told = store.resolve(operation(number)).await.expect("an answer");
            let committed = committing.await.expect("no panic");
            assert_eq!(committed.is_ok(), told, "{committed:?}");
            let found = find(&*store, u64::from(number)).await;
            assert_eq!(found.is_some(), told);
        })
    });
    for joined in join_all(races).await {
        joined.expect("no panic");
    }
}

/// Asking is not a change.
pub async fn resolving_tells_no_subscriber(store: Arc<dyn Store>) {
    let mut changes = store.changes();
    store.resolve(operation(1)).await.expect("an answer");
    create(&*store, record(1)).await;
    loop {
        match changes.next().await.expect("the store is open") {
            Changed::Record(changed) => break assert_eq!(changed, key(1)),
            Changed::Unknown | Changed::UpToDate(_) => {}
        }
    }
}
