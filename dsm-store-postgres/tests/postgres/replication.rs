//! What is acknowledged is at the standby.

use std::time::Duration;

use dsm_core::store::{ChangeSet, LogRecord, ServerId, Store as _, StoreError};
use dsm_core::time::Timestamp;
use dsm_test_servers::postgres::Postgres;

use crate::support::{eventually, is_unavailable, open, operation, record};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_before_is_not_confirmed_until_it_is_replicated() {
    let primary = Postgres::start_with(&[]).unwrap();
    let mut standby = primary.standby().unwrap();
    primary
        .sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        .unwrap();
    primary.sql("SELECT pg_reload_conf()").unwrap();
    eventually(
        "the standby is waited for",
        Duration::from_secs(30),
        async || {
            let states = primary.sql("SELECT sync_state FROM pg_stat_replication");
            states.unwrap() == "sync"
        },
    )
    .await;
    let store = open(&primary.url()).await;
    let set = || ChangeSet::default().create(record(1)).named(operation(1));
    let log = || {
        vec![LogRecord {
            server: ServerId([1; 16]),
            sequence: 1,
            last_sequence: 1,
            from: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            terms: vec![],
            body: vec![1],
        }]
    };
    for _ in 0..2 {
        store.commit(set()).await.unwrap();
        store.append_log(log()).await.unwrap();
        assert!(store.resolve(operation(1)).await.unwrap());
    }

    standby.stop().unwrap();
    let (committed, appended, resolved) = tokio::join!(
        store.commit(set()),
        store.append_log(log()),
        store.resolve(operation(1))
    );
    assert!(
        matches!(committed, Err(StoreError::OutcomeUnknown { .. })),
        "{committed:?}"
    );
    assert!(is_unavailable(&appended), "{appended:?}");
    assert!(is_unavailable(&resolved), "{resolved:?}");

    standby.start_again().unwrap();
    eventually("the store serves", Duration::from_secs(30), async || {
        store.commit(set()).await.is_ok()
    })
    .await;
    store.close().await;
}
