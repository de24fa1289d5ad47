//! Futures that are dropped.

use std::sync::Arc;
use std::time::Duration;

use dsm_core::store::{ChangeSet, Job, JobKey, Store, Topic};
use dsm_core::time::Timestamp;
use dsm_store_postgres::PostgresStore;

use crate::support::{Lent, create, eventually, key, open_transactions, options, record};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_cancelled_at_any_point_leave_no_transaction_open() {
    let database = Lent::new();
    let options = options(database.url()).max_connections(2);
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(options).await.unwrap());
    for attempt in 0..300_u64 {
        let (first, second) = (attempt * 2 + 1, attempt * 2 + 2);
        let writer = store.clone();
        let task = tokio::spawn(async move {
            let set = ChangeSet::default()
                .create(record(first))
                .create(record(second));
            writer.commit(set).await
        });
        tokio::time::sleep(Duration::from_micros(attempt * 20)).await;
        task.abort();
        if attempt % 50 == 49 {
            eventually(
                "no transaction is open",
                Duration::from_secs(10),
                async || open_transactions(&database) == "0",
            )
            .await;
        }
    }
    eventually(
        "no transaction is open",
        Duration::from_secs(10),
        async || open_transactions(&database) == "0",
    )
    .await;
    let mut whole = 0;
    for attempt in 0..300 {
        let first = store.find(key(attempt * 2 + 1)).await.unwrap();
        let second = store.find(key(attempt * 2 + 2)).await.unwrap();
        assert_eq!(first.is_some(), second.is_some());
        whole += u32::from(first.is_some());
    }
    assert!(whole > 0);
    create(&*store, 1_000).await.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_and_claims_cancelled_at_any_point_spoil_no_answer() {
    let database = Lent::new();
    let options = options(database.url()).max_connections(2);
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(options).await.unwrap());
    let topic = Topic(1);
    let mut set = ChangeSet::default();
    for id in 1..=20 {
        let job = Job {
            key: JobKey { topic, subject: id },
            due_at: Timestamp::UNIX_EPOCH,
            body: vec![],
        };
        set = set.create(record(id)).put_job(job);
    }
    store.commit(set).await.unwrap();
    for attempt in 0..300_u64 {
        let reader = store.clone();
        let task = tokio::spawn(async move {
            reader.find(key(attempt % 20 + 1)).await.unwrap();
            let minute = Duration::from_mins(1);
            reader
                .claim_due(&[topic], Timestamp::UNIX_EPOCH, minute, 1)
                .await
                .unwrap();
        });
        tokio::time::sleep(Duration::from_micros(attempt * 10)).await;
        task.abort();
        let id = (attempt + 7) % 20 + 1;
        assert_eq!(store.find(key(id)).await.unwrap(), Some(record(id)));
    }
    // Each job is leased or not, and all can be had once the leases have ended.
    let later = Timestamp::UNIX_EPOCH + Duration::from_hours(1);
    let minute = Duration::from_mins(1);
    let leases = store.claim_due(&[topic], later, minute, 99).await.unwrap();
    assert_eq!(leases.len(), 20);
    eventually(
        "no transaction is open",
        Duration::from_secs(10),
        async || open_transactions(&database) == "0",
    )
    .await;
    store.close().await;
}

#[tokio::test]
async fn a_dropped_snapshot_ends_its_transaction() {
    let database = Lent::new();
    let store = PostgresStore::open(options(database.url())).await.unwrap();
    create(&store, 1).await.unwrap();
    let mut snapshot = store.snapshot().await.unwrap();
    assert_eq!(open_transactions(&database), "1");
    snapshot.next().await.unwrap().unwrap();
    drop(snapshot);
    eventually(
        "no transaction is open",
        Duration::from_secs(10),
        async || open_transactions(&database) == "0",
    )
    .await;
    store.close().await;
}

#[tokio::test]
async fn a_snapshot_may_be_read_slowly() {
    let database = Lent::new();
    let store = PostgresStore::open(options(database.url())).await.unwrap();
    create(&store, 1).await.unwrap();
    let mut snapshot = store.snapshot().await.unwrap();
    let limit = database.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND state = 'idle in transaction' AND now() - state_change > interval '6 s'",
    );
    assert_eq!(limit.unwrap(), "0");
    // Other sessions that idle within a transaction end after five seconds.
    eventually("six seconds pass", Duration::from_secs(30), async || {
        let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND state = 'idle in transaction' AND now() - state_change > interval '6 s'";
        database.sql(idle).unwrap() == "1"
    })
    .await;
    assert!(snapshot.next().await.unwrap().is_some());
    store.close().await;
}
