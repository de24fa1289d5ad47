//! Listings: terms, ranges, orders and pages.

use std::collections::BTreeSet;
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::sync::Arc;

use chrono::TimeDelta;

use super::{KIND, at, commit, create, key, numbered, record, revised, term};
use crate::store::{ChangeSet, Kind, Order, Page, Query, Record, RecordKey, Store};
use crate::time::Timestamp;

/// How many records the case about paging under changes starts with.
const MANY: u64 = 10_000;

async fn ids(store: &dyn Store, query: &Query) -> Vec<u64> {
    let page = store.list(query, Page::first(100_000)).await;
    let page = page.expect("a page");
    assert_eq!(page.next, None);
    page.records.iter().map(|record| record.key.id).collect()
}

/// Creates records 1 to `count`.
async fn fill(store: &dyn Store, count: u64, make: impl Fn(u64) -> Record) {
    let set = (1..=count).fold(ChangeSet::default(), |set, id| set.create(make(id)));
    commit(store, set).await;
}

/// A listing is of one kind.
pub async fn kinds_are_listed_apart(store: Arc<dyn Store>) {
    for kind in [6, 7, 8] {
        for id in 1..=3 {
            let key = RecordKey::new(Kind(kind), u64::from(kind) * 10 + id);
            create(
                &*store,
                Record {
                    key,
                    ..record(1).plain(term(1))
                },
            )
            .await;
        }
    }
    assert_eq!(ids(&*store, &Query::new(Kind(7))).await, [73, 72, 71]);
    let by_term = Query::new(Kind(8)).with(term(1)).oldest_first();
    assert_eq!(ids(&*store, &by_term).await, [81, 82, 83]);
    assert_eq!(ids(&*store, &Query::new(Kind(9))).await, [0; 0]);
}

/// The order is that of the ids, as numbers, whatever the order of insertion.
pub async fn both_orders_are_by_id(store: Arc<dyn Store>) {
    for id in [300, 2, 1_000_000_007, 10, 1, 255, 256] {
        create(&*store, record(id).plain(term(1))).await;
    }
    let mut sorted = [1, 2, 10, 255, 256, 300, 1_000_000_007];
    for query in [Query::new(KIND), Query::new(KIND).with(term(1))] {
        assert_eq!(ids(&*store, &query.clone().oldest_first()).await, sorted);
        sorted.reverse();
        assert_eq!(ids(&*store, &query).await, sorted);
        sorted.reverse();
    }
}

/// `next` is `None` exactly when nothing follows.
pub async fn a_page_that_ends_the_listing_says_so(store: Arc<dyn Store>) {
    let empty = store.list(&Query::new(KIND), Page::first(1)).await;
    assert_eq!(empty.expect("a page").next, None);
    fill(&*store, 5, record).await;
    for (limit, next) in [(4, Some(2)), (5, None), (6, None), (usize::MAX, None)] {
        let page = store.list(&Query::new(KIND), Page::first(limit)).await;
        let page = page.expect("a page");
        assert_eq!((page.records.len(), page.next), (limit.min(5), next));
    }
}

/// Pages follow each other without gap or overlap, in both orders, with and without terms.
pub async fn pages_continue_after_their_cursor(store: Arc<dyn Store>) {
    fill(&*store, 25, |id| record(3 * id).plain(numbered(id % 2))).await;
    for order in [Order::OldestFirst, Order::NewestFirst] {
        for terms in [vec![], vec![term(0)]] {
            let query = Query {
                terms,
                order,
                ..Query::new(KIND)
            };
            let mut met = Vec::new();
            let mut page = Page::first(4);
            loop {
                let found = store.list(&query, page).await.expect("a page");
                assert!(found.records.len() == 4 || found.next.is_none());
                met.extend(found.records.iter().map(|record| record.key.id));
                let Some(next) = found.next else { break };
                page.after = Some(next);
            }
            assert_eq!(met, ids(&*store, &query).await);
        }
    }
}

/// A cursor is a place, not a record.
pub async fn a_cursor_outlives_its_record(store: Arc<dyn Store>) {
    fill(&*store, 5, record).await;
    commit(&*store, ChangeSet::default().delete(key(3), 1)).await;
    let after = Page {
        after: Some(3),
        limit: 9,
    };
    let newest = store.list(&Query::new(KIND), after).await.expect("a page");
    let oldest = store.list(&Query::new(KIND).oldest_first(), after).await;
    assert_eq!(newest.records, [record(2), record(1)]);
    assert_eq!(oldest.expect("a page").records, [record(4), record(5)]);
}

/// A record must carry all terms, unique or not.
pub async fn several_terms_are_all_required(store: Arc<dyn Store>) {
    fill(&*store, 30, |id| {
        let divisors = [2, 3, 5].into_iter().filter(|n| id % n == 0);
        divisors.fold(record(id).unique(numbered(100 + id)), |record, n| {
            record.plain(numbered(n))
        })
    })
    .await;
    let query = Query::new(KIND).with(term(2)).oldest_first();
    assert_eq!(ids(&*store, &query).await.len(), 15);
    let query = query.with(term(3));
    assert_eq!(ids(&*store, &query).await, [6, 12, 18, 24, 30]);
    let query = query.with(term(5)).with(term(2));
    assert_eq!(ids(&*store, &query).await, [30]);
    assert_eq!(ids(&*store, &query.clone().with(term(130))).await, [30]);
    assert_eq!(ids(&*store, &query.with(term(129))).await, [0; 0]);
}

/// A term that no record carries matches none.
pub async fn an_unknown_term_lists_nothing(store: Arc<dyn Store>) {
    fill(&*store, 3, |id| record(id).plain(term(1))).await;
    let query = Query::new(KIND).with(term(1)).with(term(2));
    assert_eq!(ids(&*store, &query).await, [0; 0]);
    assert_eq!(ids(&*store, &Query::new(KIND).with(term(2))).await, [0; 0]);
}

/// Listings follow updates and deletions.
pub async fn a_changed_term_is_listed_anew(store: Arc<dyn Store>) {
    fill(&*store, 3, |id| record(id).plain(term(1)).plain(term(2))).await;
    let set = ChangeSet::default()
        .update(revised(1, 2).plain(term(2)).plain(term(3)), 1)
        .delete(key(2), 1);
    commit(&*store, set).await;
    for (byte, expected) in [(1, vec![3]), (2, vec![3, 1]), (3, vec![1])] {
        assert_eq!(
            ids(&*store, &Query::new(KIND).with(term(byte))).await,
            expected
        );
    }
}

type Range = (Bound<Timestamp>, Bound<Timestamp>);

/// Record `id`'s instant: a microsecond after that of the record before, around 1970.
fn instant(id: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH + TimeDelta::microseconds(id.cast_signed() - 3)
}

/// Ranges and the ids expected of 1 to 5.
fn ranges() -> Vec<(Range, Vec<u64>)> {
    vec![
        ((Included(instant(2)), Included(instant(4))), vec![2, 3, 4]),
        ((Excluded(instant(2)), Excluded(instant(4))), vec![3]),
        ((Included(instant(4)), Unbounded), vec![4, 5]),
        ((Excluded(instant(4)), Unbounded), vec![5]),
        ((Unbounded, Included(instant(2))), vec![1, 2]),
        ((Unbounded, Excluded(instant(2))), vec![1]),
        ((Included(instant(3)), Included(instant(3))), vec![3]),
        ((Excluded(instant(5)), Unbounded), vec![]),
        ((Included(instant(4)), Included(instant(2))), vec![]),
    ]
}

/// Bounds of the creation include or exclude their instant.
pub async fn created_bounds_are_kept(store: Arc<dyn Store>) {
    fill(&*store, 5, |id| Record {
        created_at: instant(id),
        ..record(id)
    })
    .await;
    for (created, expected) in ranges() {
        let query = Query {
            created,
            ..Query::new(KIND).oldest_first()
        };
        assert_eq!(ids(&*store, &query).await, expected, "{created:?}");
    }
}

/// Bounds of the expiry include or exclude their instant, and leave out what has none.
pub async fn expires_bounds_leave_out_what_never_expires(store: Arc<dyn Store>) {
    fill(&*store, 5, |id| Record {
        expires_at: Some(instant(id)),
        ..record(id)
    })
    .await;
    create(&*store, record(6)).await;
    for (expires, expected) in ranges() {
        let query = Query {
            expires,
            ..Query::new(KIND).oldest_first()
        };
        assert_eq!(ids(&*store, &query).await, expected, "{expires:?}");
    }
    let all = Query::new(KIND).oldest_first();
    assert_eq!(ids(&*store, &all).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(ids(&*store, &all.expired_at(instant(2))).await, [1, 2]);
}

/// Terms, creation and expiry restrict together, page by page.
pub async fn terms_and_ranges_are_all_required(store: Arc<dyn Store>) {
    fill(&*store, 60, |id| Record {
        created_at: at(id.cast_signed()),
        expires_at: (id % 3 == 0).then(|| at(1000 - id.cast_signed())),
        ..record(id).plain(numbered(id % 2))
    })
    .await;
    let query = Query {
        created: (Included(at(10)), Excluded(at(50))),
        expires: (Excluded(at(960)), Unbounded),
        ..Query::new(KIND).with(term(0))
    };
    // Even multiples of three from 10 below 50, of which those below 40 expire after 960.
    assert_eq!(ids(&*store, &query).await, [36, 30, 24, 18, 12]);
    let plain = Query {
        terms: vec![],
        ..query.clone()
    };
    assert_eq!(
        ids(&*store, &plain).await,
        [39, 36, 33, 30, 27, 24, 21, 18, 15, 12]
    );
    for query in [query, plain] {
        let page = Page {
            after: Some(30),
            limit: 2,
        };
        let page = store.list(&query, page).await.expect("a page");
        assert_eq!(page.records.len(), 2);
        assert!(page.records[0].key.id < 30);
        assert_eq!(page.next, Some(page.records[1].key.id));
    }
}

/// The largest id is listed, and cursors at or beyond it are understood.
pub async fn extreme_ids_are_listed(store: Arc<dyn Store>) {
    let largest = i64::MAX as u64;
    create(&*store, record(0)).await;
    create(&*store, record(largest)).await;
    assert_eq!(ids(&*store, &Query::new(KIND)).await, [largest, 0]);
    for (after, older, newer) in [(0, 0, 1), (largest, 1, 0), (u64::MAX, 2, 0)] {
        let page = Page {
            after: Some(after),
            limit: 9,
        };
        let listed = store.list(&Query::new(KIND), page).await;
        assert_eq!(
            listed.expect("a page").records.len(),
            older,
            "before {after}"
        );
        let listed = store.list(&Query::new(KIND).oldest_first(), page).await;
        assert_eq!(
            listed.expect("a page").records.len(),
            newer,
            "after {after}"
        );
    }
}

/// Paging meets each untouched record once while others come and go.
pub async fn pages_meet_every_untouched_record_once(store: Arc<dyn Store>) {
    // Even ids stay, odd ones come and go.
    fill(&*store, MANY, |id| record(2 * id).plain(term(1))).await;
    fill(&*store, MANY / 4, |id| record(8 * id + 1).plain(term(1))).await;
    let changing = store.clone();
    let changing = tokio::spawn(async move {
        for round in 1..=MANY / 4 {
            let (old, new) = (8 * round + 1, 8 * (MANY / 4 - round) + 3);
            let set = ChangeSet::default()
                .delete(key(old), 1)
                .create(record(new).plain(term(1)));
            commit(&*changing, set).await;
        }
    });
    for order in [Order::OldestFirst, Order::NewestFirst] {
        for terms in [vec![], vec![term(1)]] {
            let query = Query {
                terms,
                order,
                ..Query::new(KIND)
            };
            let mut met = BTreeSet::new();
            let mut page = Page::first(37);
            loop {
                let found = store.list(&query, page).await.expect("a page");
                for record in found.records {
                    assert!(met.insert(record.key.id), "{} twice", record.key);
                }
                let Some(next) = found.next else { break };
                page.after = Some(next);
            }
            let missed = (1..=MANY).find(|id| !met.contains(&(2 * id)));
            assert_eq!(missed, None);
        }
    }
    changing.await.expect("no panic");
}
