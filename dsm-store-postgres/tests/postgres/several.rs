//! Several servers over one database.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dsm_core::store::{
    ChangeSet, Changed, Changes, LogQuery, LogRecord, Order, ServerId, Store, StoreError,
};
use dsm_core::time::Timestamp;

use crate::support::{Lent, create, key, open, operation, record};

async fn next(changes: &mut Changes) -> Changed {
    let changed = tokio::time::timeout(Duration::from_secs(30), changes.next()).await;
    changed.unwrap().unwrap()
}

#[tokio::test]
async fn a_server_learns_what_another_has_changed() {
    let database = Lent::new();
    let (here, there) = (open(database.url()).await, open(database.url()).await);
    let (mut own, mut others) = (here.changes(), there.changes());
    create(&here, 1).await.unwrap();
    let set = ChangeSet::default().delete(key(1), 1).create(record(2));
    here.commit(set).await.unwrap();
    for id in [1, 1, 2] {
        assert_eq!(next(&mut own).await, Changed::Record(key(id)));
        assert_eq!(next(&mut others).await, Changed::Record(key(id)));
    }
    // More keys than a notification names.
    let ids = 10..2_010;
    let many = ids.fold(ChangeSet::default(), |set, id| set.create(record(id)));
    here.commit(many).await.unwrap();
    assert_eq!(next(&mut others).await, Changed::Unknown);
    create(&there, 5_000).await.unwrap();
    assert_eq!(next(&mut others).await, Changed::Record(key(5_000)));
    here.close().await;
    there.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_and_an_update_of_one_record_never_both_pass_by() {
    let database = Lent::new();
    let here = Arc::new(open(database.url()).await);
    let there = Arc::new(open(database.url()).await);
    // Each set changes one record on the condition that the other one is as it was: at most one of
    // two that race may take effect.
    for round in 0..60 {
        let (left, right) = (round * 2 + 1, round * 2 + 2);
        let set = ChangeSet::default()
            .create(record(left))
            .create(record(right));
        here.commit(set).await.unwrap();
        let attempt = |store: &Arc<_>, changed: u64, checked: u64| {
            let store: Arc<dsm_store_postgres::PostgresStore> = Arc::clone(store);
            tokio::spawn(async move {
                let mut new = record(changed);
                new.revision = 2;
                let set = ChangeSet::default()
                    .update(new, 1)
                    .check_at(key(checked), 1);
                store.commit(set).await
            })
        };
        let first = attempt(&here, left, right);
        let second = attempt(&there, right, left);
        let results = [first.await.unwrap(), second.await.unwrap()];
        let passed = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(passed, 1, "{results:?}");
        for result in results {
            assert!(
                matches!(result, Ok(()) | Err(StoreError::RevisionMismatch(_))),
                "{result:?}"
            );
        }
    }
    here.close().await;
    there.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_follows_the_log_misses_no_batch() {
    const WRITERS: u8 = 4;
    const BATCHES: u64 = 50;
    let database = Lent::new();
    let mut writers = Vec::new();
    for server in 0..WRITERS {
        let store = open(database.url()).await;
        writers.push(tokio::spawn(async move {
            for sequence in 0..BATCHES {
                let record = LogRecord {
                    server: ServerId([server; 16]),
                    sequence,
                    last_sequence: sequence,
                    from: Timestamp::UNIX_EPOCH,
                    until: Timestamp::UNIX_EPOCH,
                    terms: vec![],
                    body: vec![server; 3_000],
                };
                store.append_log(vec![record]).await.unwrap();
            }
            store.close().await;
        }));
    }
    let reader = open(database.url()).await;
    let mut query = LogQuery::newest(7);
    query.order = Order::OldestFirst;
    let mut seen = BTreeSet::new();
    while seen.len() < usize::from(WRITERS) * usize::try_from(BATCHES).unwrap() {
        let done = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let page = reader.read_log(&query).await.unwrap();
        assert!(!done || !page.records.is_empty(), "only {}", seen.len());
        for (position, record) in page.records {
            query.after = Some(position);
            assert!(seen.insert((record.server, record.sequence)));
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_resolved_elsewhere_while_it_is_under_way_is_told_truly() {
    let database = Lent::new();
    let here = Arc::new(open(database.url()).await);
    let there = open(database.url()).await;
    let mut outcomes = BTreeSet::new();
    for id in 1..=100 {
        let writer = here.clone();
        let set = ChangeSet::default().create(record(id)).named(operation(id));
        let commit = tokio::spawn(async move { writer.commit(set).await });
        tokio::time::sleep(Duration::from_micros(id * 30)).await;
        let told = there.resolve(operation(id)).await.unwrap();
        let found = there.find(key(id)).await.unwrap().is_some();
        assert_eq!(told, found);
        match commit.await.unwrap() {
            Ok(()) => assert!(told),
            Err(StoreError::GivenUp(name)) => assert!(!told && name == operation(id)),
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(there.find(key(id)).await.unwrap().is_some(), told);
        outcomes.insert(told);
    }
    assert!(outcomes.contains(&true));
    here.close().await;
    there.close().await;
}
