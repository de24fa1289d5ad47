//! The stream of changes, and the end of a store.

use std::sync::Arc;
use std::time::Duration;

use super::{KIND, at, commit, create, find, key, record, refused, revised, term};
use crate::store::{
    ChangeSet, Changed, Changes, Job, JobKey, LogQuery, Page, Query, RecordKey, Store, Topic,
};

/// The next `count` changes that name a record. A store may say the rest at any time.
async fn named(changes: &mut Changes, count: usize) -> Vec<RecordKey> {
    let mut keys = Vec::new();
    while keys.len() < count {
        let changed = tokio::time::timeout(Duration::from_secs(30), changes.next()).await;
        match changed
            .expect("a change is told")
            .expect("the store is open")
        {
            Changed::Record(key) => keys.push(key),
            Changed::Unknown | Changed::UpToDate(_) => {}
        }
    }
    keys
}

/// Every created, updated and deleted record is told, in order, and nothing from before.
pub async fn changes_come_in_the_order_of_commits(store: Arc<dyn Store>) {
    create(&*store, record(99)).await;
    let mut changes = store.changes();
    let set = ChangeSet::default().create(record(2)).create(record(1));
    commit(&*store, set).await;
    commit(&*store, ChangeSet::default().update(revised(1, 2), 1)).await;
    commit(&*store, ChangeSet::default().delete(key(2), 1)).await;
    create(&*store, record(3)).await;
    let told = named(&mut changes, 5).await;
    assert_eq!(told, [2, 1, 1, 2, 3].map(key));
}

/// What did not take effect is not told.
pub async fn a_failing_set_changes_nothing(store: Arc<dyn Store>) {
    create(&*store, record(1)).await;
    let mut changes = store.changes();
    let set = ChangeSet::default().create(record(2)).create(record(1));
    refused!(store.commit(set).await, AlreadyExists(_));
    create(&*store, record(3)).await;
    assert_eq!(named(&mut changes, 1).await, [key(3)]);
}

/// Subscribers do not take changes from each other.
pub async fn every_subscriber_learns_of_a_change(store: Arc<dyn Store>) {
    let mut streams = [store.changes(), store.changes(), store.changes()];
    create(&*store, record(1)).await;
    for changes in &mut streams {
        assert_eq!(named(changes, 1).await, [key(1)]);
    }
}

/// Whoever hears of a change can read it.
pub async fn a_change_can_be_read_when_it_is_told(store: Arc<dyn Store>) {
    let mut changes = store.changes();
    let writer = store.clone();
    let writer = tokio::spawn(async move {
        for id in 1..=50 {
            create(&*writer, record(id)).await;
        }
    });
    for id in 1..=50 {
        assert_eq!(named(&mut changes, 1).await, [key(id)]);
        assert_eq!(find(&*store, id).await, Some(record(id)));
    }
    writer.await.expect("no panic");
}

/// A subscriber that missed changes is told so, before it hears of later ones.
pub async fn a_subscriber_that_lags_is_told_to_forget(store: Arc<dyn Store>) {
    let mut changes = store.changes();
    for batch in 0..10 {
        let ids = batch * 500..(batch + 1) * 500;
        let set = ids.fold(ChangeSet::default(), |set, id| set.create(record(id)));
        commit(&*store, set).await;
    }
    loop {
        match changes.next().await.expect("the store is open") {
            Changed::Unknown => break,
            Changed::UpToDate(_) => {}
            Changed::Record(key) => panic!("{key} before it is told that something was missed"),
        }
    }
    loop {
        if named(&mut changes, 1).await == [key(4_999)] {
            break;
        }
    }
}

/// An open store can serve.
pub async fn the_store_answers_a_probe(store: Arc<dyn Store>) {
    store.probe().await.expect("it can serve");
}

/// After closing every call is refused and streams end.
pub async fn a_closed_store_refuses_and_ends_its_streams(store: Arc<dyn Store>) {
    create(&*store, record(1).unique(term(1))).await;
    let mut changes = store.changes();
    store.close().await;
    while let Some(changed) = changes.next().await {
        assert!(matches!(changed, Changed::Unknown | Changed::UpToDate(_)));
    }
    assert_eq!(store.changes().next().await, None);
    refused!(store.find(key(1)).await, Unavailable { .. });
    refused!(store.find_by(KIND, &term(1)).await, Unavailable { .. });
    let listed = store.list(&Query::new(KIND), Page::first(1)).await;
    refused!(listed, Unavailable { .. });
    let set = ChangeSet::default().create(record(2));
    refused!(store.commit(set).await, Unavailable { .. });
    refused!(store.next_id(KIND).await, Unavailable { .. });
    refused!(store.append_log(vec![]).await, Unavailable { .. });
    refused!(
        store.read_log(&LogQuery::newest(1)).await,
        Unavailable { .. }
    );
    let minute = Duration::from_mins(1);
    let claimed = store.claim_due(&[Topic(1)], at(0), minute, 1).await;
    refused!(claimed, Unavailable { .. });
    let lease = crate::store::Lease {
        job: Job {
            key: JobKey {
                topic: Topic(1),
                subject: 1,
            },
            due_at: at(0),
            body: vec![],
        },
        generation: 1,
        leased_until: at(1),
    };
    refused!(store.extend(&lease, at(2)).await, Unavailable { .. });
    refused!(store.list_jobs(&[Topic(1)], 1).await, Unavailable { .. });
    refused!(store.probe().await, Unavailable { .. });
    store.close().await;
}
