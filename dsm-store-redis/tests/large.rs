//! Listings that need more than one script, since each does a bounded amount of work.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::ops::Bound;

use dsm_core::store::{
    ChangeSet, LogQuery, LogRecord, Order, Page, Query, Record, ServerId, Store as _,
};
use dsm_core::time::Timestamp;

use common::{KIND, open, record, server, term};

/// More than two calls look through.
const MANY: u64 = 42_000;
const MATCHING: u64 = 3_000;

fn at(micros: u64) -> Timestamp {
    Timestamp::from_timestamp_micros(micros.cast_signed()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_beyond_the_work_of_one_script_is_whole() {
    let store = open(&server().fresh_url()).await.unwrap();
    let all = MANY + MATCHING;
    for first in (0..all).step_by(1_000) {
        let set = (first..first + 1_000).fold(ChangeSet::default(), |set, id| {
            set.create(Record {
                created_at: at(id),
                ..record(id, 0)
            })
        });
        store.commit(set).await.unwrap();
    }
    // The last ones in the order of the listing, and too many to be sorted.
    let query = Query {
        created: (Bound::Included(at(MANY)), Bound::Unbounded),
        ..Query::new(KIND).oldest_first()
    };
    let page = store.list(&query, Page::first(10)).await.unwrap();
    let ids: Vec<u64> = page.records.iter().map(|record| record.key.id).collect();
    assert_eq!(ids, (MANY..MANY + 10).collect::<Vec<_>>());
    assert_eq!(page.next, Some(MANY + 9));
    let after = Page {
        after: page.next,
        limit: 5_000,
    };
    let rest = store.list(&query, after).await.unwrap();
    assert_eq!(rest.records.len() as u64, MATCHING - 10);
    assert_eq!(rest.next, None);
    // The page is full before the last ones were looked through, and nothing follows.
    let query = Query {
        created: (Bound::Unbounded, Bound::Excluded(at(MATCHING))),
        ..Query::new(KIND).oldest_first()
    };
    let limit = usize::try_from(MATCHING).unwrap();
    let page = store.list(&query, Page::first(limit)).await.unwrap();
    assert_eq!((page.records.len(), page.next), (limit, None));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_log_beyond_the_work_of_one_script_is_whole() {
    let store = open(&server().fresh_url()).await.unwrap();
    let batch = |sequence: u64, terms| LogRecord {
        server: ServerId([1; 16]),
        sequence,
        last_sequence: sequence,
        from: at(sequence),
        until: at(sequence),
        terms,
        body: Vec::new(),
    };
    for first in (0..MANY).step_by(1_000) {
        let batches = (first..first + 1_000).map(|n| match n {
            0 => batch(n, vec![term(1), term(2)]),
            n => batch(n, vec![term(1 + n % 2)]),
        });
        store.append_log(batches.collect()).await.unwrap();
    }
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let query = LogQuery {
            terms: vec![term(1), term(2)],
            order,
            ..LogQuery::newest(1)
        };
        let page = store.read_log(&query).await.unwrap();
        assert_eq!(page.records.len(), 1);
        assert_eq!(page.records[0].1.sequence, 0);
        assert_eq!(page.next, None);
    }
    store.close().await;
}
