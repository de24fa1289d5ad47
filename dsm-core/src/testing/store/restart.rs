//! What a store keeps when its process ends without warning.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Fixture, KIND, at, commit, create, find, find_by, record, refused, revised, term};
use crate::store::{
    ChangeSet, Job, JobKey, LogQuery, LogRecord, OperationId, Page, Query, ServerId, Settlement,
    Store, StoreExt as _, Topic,
};

async fn reopened(fixture: &dyn Fixture) -> Arc<dyn Store> {
    let store = fixture.reopen().await;
    store.expect("a store that persists can be opened again")
}

/// Records are as they were, and unique terms still taken.
pub async fn records_and_terms_survive_a_restart(fixture: &dyn Fixture) {
    let store = fixture.store().await;
    create(&*store, record(1).unique(term(1)).plain(term(3))).await;
    create(&*store, record(2).unique(term(2))).await;
    let new = revised(1, 2).plain(term(3)).unique(term(4));
    commit(&*store, ChangeSet::default().update(new.clone(), 1)).await;
    drop(store);
    let store = reopened(fixture).await;
    assert_eq!(find(&*store, 1).await, Some(new.clone()));
    assert_eq!(find_by(&*store, term(4)).await, Some(new));
    assert_eq!(find_by(&*store, term(1)).await, None);
    let taken = ChangeSet::default().create(record(3).unique(term(2)));
    refused!(store.commit(taken).await, AlreadyExists(_));
    let query = Query::new(KIND).with(term(3));
    let listed = store.list(&query, Page::first(9)).await;
    assert_eq!(listed.expect("a page").records.len(), 1);
    commit(&*store, ChangeSet::default().update(revised(1, 3), 2)).await;
}

/// No number is given again, however often the store is opened.
pub async fn ids_go_on_after_a_restart(fixture: &dyn Fixture) {
    let mut store = fixture.store().await;
    let mut last = 0;
    for _ in 0..4 {
        for _ in 0..5 {
            let next = store.next_id(KIND).await.expect("a number");
            assert!(next > last);
            last = next;
        }
        drop(store);
        store = reopened(fixture).await;
    }
}

/// Batches keep their positions, later ones come after, and repeated ones are known.
pub async fn the_log_goes_on_after_a_restart(fixture: &dyn Fixture) {
    let batch = |sequence| LogRecord {
        server: ServerId([1; 16]),
        sequence,
        last_sequence: sequence,
        from: at(0),
        until: at(0),
        terms: vec![term(1)],
        body: vec![7],
    };
    let store = fixture.store().await;
    store
        .append_log(vec![batch(1), batch(2)])
        .await
        .expect("appended");
    let before = store.read_log(&LogQuery::newest(9)).await.expect("a page");
    drop(store);
    let store = reopened(fixture).await;
    store
        .append_log(vec![batch(2), batch(3)])
        .await
        .expect("appended");
    let after = store.read_log(&LogQuery::newest(9)).await.expect("a page");
    assert_eq!(after.records[1..], before.records);
    assert!(after.records[0].0 > before.records[0].0);
    assert_eq!(after.records[0].1, batch(3));
}

/// What became of a commit is known after its process ended.
pub async fn operations_survive_a_restart(fixture: &dyn Fixture) {
    let [done, given_up] = [1, 2].map(|number| OperationId::new(at(0), [number; 10]));
    let store = fixture.store().await;
    let set = ChangeSet::default().create(record(1)).named(done);
    commit(&*store, set.clone()).await;
    assert!(!store.resolve(given_up).await.expect("an answer"));
    drop(store);
    let store = reopened(fixture).await;
    assert!(store.resolve(done).await.expect("an answer"));
    commit(&*store, set).await;
    let set = ChangeSet::default().create(record(2)).named(given_up);
    refused!(store.commit(set).await, GivenUp(_));
}

/// A lease outlives the process, and its generation is not given out again.
pub async fn leases_survive_a_restart(fixture: &dyn Fixture) {
    let topic = Topic(1);
    let minute = Duration::from_mins(1);
    let job = |subject| Job {
        key: JobKey { topic, subject },
        due_at: at(subject.cast_signed()),
        body: vec![1, 2, 3],
    };
    let store = fixture.store().await;
    let set = ChangeSet::default().put_job(job(1)).put_job(job(2));
    commit(&*store, set).await;
    let leases = store.claim_due(&[topic], at(10), minute, 2).await;
    let leases = leases.expect("an answer");
    drop(store);
    let store = reopened(fixture).await;
    let none = store.claim_due(&[topic], at(11), minute, 9).await;
    assert_eq!(none.expect("an answer"), []);
    store
        .settle(&leases[0], Settlement::Done)
        .await
        .expect("it holds");
    commit(&*store, ChangeSet::default().put_job(job(2))).await;
    let again = store.claim_due(&[topic], at(11), minute, 9).await;
    let again = again.expect("an answer");
    assert_eq!(again[0].job, job(2));
    assert!(again[0].generation > leases[1].generation);
}

/// Sets that were under way are whole or absent, and what was acknowledged is there.
pub async fn an_abandoned_batch_is_whole_or_absent(fixture: &dyn Fixture) {
    const SETS: u64 = 60;
    const RECORDS: u64 = 5;
    let store = fixture.store().await;
    let (acknowledge, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
    let writers: Vec<_> = (0..SETS)
        .map(|n| {
            let (store, acknowledge) = (store.clone(), acknowledge.clone());
            tokio::spawn(async move {
                let ids = n * RECORDS..(n + 1) * RECORDS;
                let set = ids.fold(ChangeSet::default(), |set, id| set.create(record(id)));
                if store.commit(set).await.is_ok() {
                    // The case ends while some writers are still under way.
                    let _ = acknowledge.send(n);
                }
            })
        })
        .collect();
    drop(acknowledge);
    let mut done = BTreeSet::new();
    while done.len() < 8 {
        done.insert(acknowledged.recv().await.expect("sets are committed"));
    }
    for writer in &writers {
        writer.abort();
    }
    drop(store);
    let store = reopened(fixture).await;
    while let Ok(n) = acknowledged.try_recv() {
        done.insert(n);
    }
    for n in 0..SETS {
        let ids = n * RECORDS..(n + 1) * RECORDS;
        // One listing, since a set that was under way may still take effect between two reads.
        let page = Page {
            after: ids.start.checked_sub(1),
            limit: 5,
        };
        let page = store.list(&Query::new(KIND).oldest_first(), page).await;
        let records = page.expect("a page").records;
        let present = records.iter().filter(|found| ids.contains(&found.key.id));
        let present = present.count() as u64;
        assert!(
            present == RECORDS || present == 0 && !done.contains(&n),
            "set {n}: {present}"
        );
    }
}
