//! The log: idempotent appending, order and search.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use futures_util::future::join_all;

use super::{at, numbered, refused, term};
use crate::store::{LogQuery, LogRecord, Order, ServerId, Store};

const SERVER: ServerId = ServerId([3; 16]);

fn batch(sequence: u64) -> LogRecord {
    LogRecord {
        server: SERVER,
        sequence,
        last_sequence: sequence + 9,
        from: at(0),
        until: at(1),
        terms: Vec::new(),
        body: format!("batch {sequence}").into_bytes(),
    }
}

async fn append(store: &dyn Store, records: Vec<LogRecord>) {
    store.append_log(records).await.expect("it is appended");
}

async fn read(store: &dyn Store, query: &LogQuery) -> Vec<(u64, LogRecord)> {
    let page = store.read_log(query).await.expect("a page");
    assert_eq!(page.next, None);
    page.records
}

/// The sequences found, oldest first.
async fn sequences(store: &dyn Store, query: LogQuery) -> Vec<u64> {
    let order = Order::OldestFirst;
    let found = read(store, &LogQuery { order, ..query }).await;
    found.iter().map(|(_, record)| record.sequence).collect()
}

/// A batch comes back as it was given.
pub async fn an_appended_batch_is_read_back(store: Arc<dyn Store>) {
    let given = LogRecord {
        from: at(-3_000_000_000),
        until: at(1),
        last_sequence: i64::MAX as u64,
        terms: vec![term(9), term(0), term(255)],
        body: (0..=u8::MAX).cycle().take(70_000).collect(),
        ..batch(i64::MAX as u64 - 1)
    };
    append(&*store, vec![]).await;
    append(&*store, vec![given.clone()]).await;
    let found = read(&*store, &LogQuery::newest(9)).await;
    assert!(found.len() == 1 && found[0].1 == given);
}

/// Server and sequence name a batch; the first one stays.
pub async fn a_repeated_batch_is_passed_over(store: Arc<dyn Store>) {
    append(&*store, vec![batch(1), batch(2)]).await;
    let other = LogRecord {
        body: b"other".to_vec(),
        terms: vec![term(1)],
        ..batch(2)
    };
    let elsewhere = LogRecord {
        server: ServerId([4; 16]),
        ..batch(2)
    };
    append(
        &*store,
        vec![other.clone(), batch(3), other, elsewhere.clone()],
    )
    .await;
    let found = read(&*store, &LogQuery::newest(9)).await;
    let found: Vec<_> = found.into_iter().map(|(_, record)| record).collect();
    assert_eq!(found, [elsewhere, batch(3), batch(2), batch(1)]);
    let by_term = LogQuery {
        terms: vec![term(1)],
        ..LogQuery::newest(9)
    };
    assert_eq!(read(&*store, &by_term).await, []);
}

/// The order is that of appending, not that of sequences or times.
pub async fn positions_grow_in_the_order_of_appending(store: Arc<dyn Store>) {
    let order = [5, 3, 9, 1, 7];
    append(&*store, vec![batch(5), batch(3)]).await;
    for sequence in [9, 1, 7_u64] {
        let from = at(-sequence.cast_signed());
        append(
            &*store,
            vec![LogRecord {
                from,
                ..batch(sequence)
            }],
        )
        .await;
    }
    assert_eq!(sequences(&*store, LogQuery::newest(9)).await, order);
    let oldest = LogQuery {
        order: Order::OldestFirst,
        ..LogQuery::newest(9)
    };
    let mut found = read(&*store, &oldest).await;
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0));
    found.reverse();
    assert_eq!(read(&*store, &LogQuery::newest(9)).await, found);
}

/// Pages follow each other without gap or overlap while batches are appended.
pub async fn log_pages_continue_after_their_cursor(store: Arc<dyn Store>) {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        for terms in [vec![], vec![term(1)]] {
            let mut query = LogQuery {
                terms,
                order,
                ..LogQuery::newest(3)
            };
            let before = sequences(&*store, LogQuery::newest(1000)).await.len() as u64;
            let fresh = |n| LogRecord {
                terms: vec![term(1)],
                ..batch(before + n)
            };
            append(&*store, (0..10).map(fresh).collect()).await;
            let mut met = Vec::new();
            loop {
                let page = store.read_log(&query).await.expect("a page");
                assert!(page.records.len() == 3 || page.next.is_none());
                met.extend(page.records.iter().map(|(_, record)| record.sequence));
                let Some(next) = page.next else { break };
                query.after = Some(next);
                if met.len() == 6 {
                    append(&*store, vec![fresh(10)]).await;
                }
            }
            if order == Order::NewestFirst {
                met.reverse();
            }
            let appended = u64::from(order == Order::OldestFirst);
            assert_eq!(met, (0..before + 10 + appended).collect::<Vec<_>>());
        }
    }
}

/// A query may be of one writer.
pub async fn a_server_reads_its_own_batches(store: Arc<dyn Store>) {
    let server = ServerId([4; 16]);
    append(
        &*store,
        vec![batch(1), LogRecord { server, ..batch(2) }, batch(3)],
    )
    .await;
    let query = LogQuery::newest(9);
    assert_eq!(sequences(&*store, query.clone().of(server)).await, [2]);
    assert_eq!(sequences(&*store, query.clone().of(SERVER)).await, [1, 3]);
    assert_eq!(
        sequences(&*store, query.of(ServerId([5; 16]))).await,
        [0; 0]
    );
}

/// A batch must carry all terms.
pub async fn batches_are_found_by_all_terms(store: Arc<dyn Store>) {
    let batches = (1..=30).map(|n| {
        let terms = [2, 3, 5].into_iter().filter(|m| n % m == 0);
        let terms = terms.map(numbered).collect();
        LogRecord { terms, ..batch(n) }
    });
    append(&*store, batches.collect()).await;
    let query = |bytes: &[u8]| LogQuery {
        terms: bytes.iter().map(|&byte| term(byte)).collect(),
        ..LogQuery::newest(99)
    };
    assert_eq!(
        sequences(&*store, query(&[5])).await,
        [5, 10, 15, 20, 25, 30]
    );
    assert_eq!(sequences(&*store, query(&[3, 5])).await, [15, 30]);
    assert_eq!(sequences(&*store, query(&[5, 2, 3])).await, [30]);
    assert_eq!(sequences(&*store, query(&[2, 7])).await, [0; 0]);
    assert_eq!(
        sequences(&*store, query(&[5]).of(ServerId([9; 16]))).await,
        [0; 0]
    );
}

/// A batch is found when its span and the query's have an instant in common.
pub async fn batches_are_found_by_overlap(store: Arc<dyn Store>) {
    // Batch n lasts from 10 n to 10 n + 5, the last one over all of them.
    let mut batches: Vec<_> = (1..=4)
        .map(|n| LogRecord {
            from: at(10 * n),
            until: at(10 * n + 5),
            ..batch(n.cast_unsigned())
        })
        .collect();
    batches.push(LogRecord {
        from: at(0),
        until: at(100),
        ..batch(5)
    });
    append(&*store, batches).await;
    for (time, expected) in [
        ((Unbounded, Unbounded), vec![1, 2, 3, 4, 5]),
        ((Included(at(22)), Included(at(23))), vec![2, 5]),
        ((Included(at(16)), Included(at(19))), vec![5]),
        ((Included(at(15)), Included(at(20))), vec![1, 2, 5]),
        ((Excluded(at(15)), Excluded(at(20))), vec![5]),
        ((Excluded(at(15)), Unbounded), vec![2, 3, 4, 5]),
        ((Unbounded, Excluded(at(20))), vec![1, 5]),
        ((Unbounded, Included(at(20))), vec![1, 2, 5]),
        ((Excluded(at(100)), Unbounded), vec![]),
    ] {
        let query = LogQuery {
            time,
            ..LogQuery::newest(9)
        };
        assert_eq!(sequences(&*store, query).await, expected, "{time:?}");
    }
}

/// Writers that append at the same time lose nothing and keep their own order.
pub async fn racing_servers_lose_no_batch(store: Arc<dyn Store>) {
    let servers = (0..8).map(|n| {
        let store = store.clone();
        let server = ServerId([n; 16]);
        tokio::spawn(async move {
            for sequence in 1..=20 {
                append(
                    &*store,
                    vec![LogRecord {
                        server,
                        ..batch(sequence)
                    }],
                )
                .await;
            }
        })
    });
    for joined in join_all(servers).await {
        joined.expect("no panic");
    }
    for n in 0..8 {
        let query = LogQuery::newest(99).of(ServerId([n; 16]));
        let expected: Vec<u64> = (1..=20).collect();
        assert_eq!(sequences(&*store, query).await, expected);
    }
    let all = read(&*store, &LogQuery::newest(999)).await;
    let positions: BTreeSet<u64> = all.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions.len(), 160);
}

/// A sequence that a signed number cannot hold is refused, and the whole batch with it.
pub async fn a_sequence_beyond_i64_is_refused(store: Arc<dyn Store>) {
    let large = LogRecord {
        sequence: u64::MAX,
        ..batch(2)
    };
    refused!(
        store.append_log(vec![batch(1), large]).await,
        Backend { .. }
    );
    assert_eq!(read(&*store, &LogQuery::newest(9)).await, []);
}
