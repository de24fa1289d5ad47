//! Terms: unique and plain, and how they pass between records.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;

use super::{KIND, commit, create, find, find_by, key, record, refused, revised, term, winners};
use crate::store::{ChangeSet, Kind, Page, Query, Record, RecordKey, Store, StoreError, Term};

async fn ids_with(store: &dyn Store, term: Term) -> BTreeSet<u64> {
    let query = Query::new(KIND).with(term);
    let page = store.list(&query, Page::first(1000)).await;
    let records = page.expect("a page").records;
    records.iter().map(|record| record.key.id).collect()
}

/// A unique term finds its record.
pub async fn a_unique_term_finds_its_record(store: Arc<dyn Store>) {
    let given = record(1).plain(term(9)).unique(term(1));
    create(&*store, given.clone()).await;
    assert_eq!(find_by(&*store, term(1)).await, Some(given));
    assert_eq!(find_by(&*store, term(2)).await, None);
}

/// Only unique terms find one record.
pub async fn a_plain_term_is_not_found_by(store: Arc<dyn Store>) {
    create(&*store, record(1).plain(term(1))).await;
    assert_eq!(find_by(&*store, term(1)).await, None);
}

/// A unique term belongs to one record.
pub async fn a_taken_unique_term_is_refused(store: Arc<dyn Store>) {
    create(&*store, record(1).unique(term(1))).await;
    let second = record(2).unique(term(2)).unique(term(1));
    let result = store.commit(ChangeSet::default().create(second)).await;
    refused!(result, AlreadyExists(refused) if refused == key(2));
    assert_eq!(find(&*store, 2).await, None);
    assert_eq!(find_by(&*store, term(2)).await, None);
}

/// An update takes no term of another record.
pub async fn an_update_to_a_taken_unique_term_is_refused(store: Arc<dyn Store>) {
    create(&*store, record(1).unique(term(1))).await;
    create(&*store, record(2).unique(term(2))).await;
    let set = ChangeSet::default().update(revised(2, 2).unique(term(1)), 1);
    refused!(store.commit(set).await, AlreadyExists(refused) if refused == key(2));
    let found = find_by(&*store, term(2)).await.expect("it kept its term");
    assert_eq!(found, record(2).unique(term(2)));
}

/// A record is no conflict with itself.
pub async fn an_update_keeps_its_own_unique_term(store: Arc<dyn Store>) {
    create(&*store, record(1).unique(term(1))).await;
    let new = revised(1, 2).unique(term(1)).plain(term(2));
    commit(&*store, ChangeSet::default().update(new.clone(), 1)).await;
    assert_eq!(find_by(&*store, term(1)).await, Some(new));
}

/// The term of a deleted record is free.
pub async fn a_delete_frees_a_unique_term(store: Arc<dyn Store>) {
    create(&*store, record(1).unique(term(1))).await;
    commit(&*store, ChangeSet::default().delete(key(1), 1)).await;
    assert_eq!(find_by(&*store, term(1)).await, None);
    create(&*store, record(2).unique(term(1))).await;
}

/// The term that a record gave up is free.
pub async fn an_update_frees_a_unique_term(store: Arc<dyn Store>) {
    create(&*store, record(1).unique(term(1))).await;
    commit(
        &*store,
        ChangeSet::default().update(revised(1, 2).plain(term(1)), 1),
    )
    .await;
    assert_eq!(find_by(&*store, term(1)).await, None);
    create(&*store, record(2).unique(term(1))).await;
}

/// Uniqueness is that of the store after the set, in whichever order its changes are given.
pub async fn a_unique_term_moves_within_a_set(store: Arc<dyn Store>) {
    create(&*store, record(1).unique(term(1))).await;
    create(&*store, record(2)).await;
    let taken_first = ChangeSet::default()
        .update(revised(2, 2).unique(term(1)), 1)
        .update(revised(1, 2), 1);
    commit(&*store, taken_first).await;
    let found = find_by(&*store, term(1)).await.expect("it was moved");
    assert_eq!(found.key, key(2));
    let given_first = ChangeSet::default()
        .update(revised(2, 3), 2)
        .update(revised(1, 3).unique(term(1)), 2);
    commit(&*store, given_first).await;
    let found = find_by(&*store, term(1)).await.expect("it was moved back");
    assert_eq!(found.key, key(1));
}

/// Two records exchange their terms.
pub async fn two_records_swap_unique_terms_within_a_set(store: Arc<dyn Store>) {
    create(&*store, record(1).unique(term(1))).await;
    create(&*store, record(2).unique(term(2))).await;
    let swap = ChangeSet::default()
        .update(revised(1, 2).unique(term(2)), 1)
        .update(revised(2, 2).unique(term(1)), 1);
    commit(&*store, swap).await;
    let found = find_by(&*store, term(1)).await.expect("swapped");
    assert_eq!(found.key, key(2));
    let found = find_by(&*store, term(2)).await.expect("swapped");
    assert_eq!(found.key, key(1));
}

/// A creation takes the term of a record that the same set deletes later.
pub async fn a_deleted_records_term_is_taken_over_within_the_set(store: Arc<dyn Store>) {
    create(&*store, record(1).unique(term(1))).await;
    let set = ChangeSet::default()
        .create(record(2).unique(term(1)))
        .delete(key(1), 1);
    commit(&*store, set).await;
    let found = find_by(&*store, term(1)).await.expect("taken over");
    assert_eq!(found.key, key(2));
}

/// Two records of one set do not share a unique term.
pub async fn a_unique_term_twice_in_a_set_is_refused(store: Arc<dyn Store>) {
    let set = ChangeSet::default()
        .create(record(1).unique(term(1)))
        .create(record(2).unique(term(1)));
    refused!(store.commit(set).await, AlreadyExists(_));
    assert_eq!(find(&*store, 1).await, None);
    assert_eq!(find(&*store, 2).await, None);
    assert_eq!(find_by(&*store, term(1)).await, None);
}

/// A plain term may be on any number of records.
pub async fn a_plain_term_is_on_many_records(store: Arc<dyn Store>) {
    let set = (1..=100).fold(ChangeSet::default(), |set, id| {
        set.create(record(id).plain(term(1)))
    });
    commit(&*store, set).await;
    assert_eq!(ids_with(&*store, term(1)).await, (1..=100).collect());
}

/// Kinds do not share terms.
pub async fn a_unique_term_is_taken_per_kind(store: Arc<dyn Store>) {
    let other = Kind(KIND.0 + 1);
    create(&*store, record(1).unique(term(1))).await;
    let key = RecordKey::new(other, 2_u64);
    create(
        &*store,
        Record {
            key,
            ..record(2).unique(term(1))
        },
    )
    .await;
    let found = store.find_by(other, &term(1)).await.expect("an answer");
    assert_eq!(found.expect("found in its kind").key, key);
    let found = find_by(&*store, term(1)).await.expect("found in its kind");
    assert_eq!(found.key.kind, KIND);
}

/// Only unique terms bar each other.
pub async fn a_unique_term_does_not_bar_a_plain_one(store: Arc<dyn Store>) {
    create(&*store, record(1).plain(term(1))).await;
    create(&*store, record(2).unique(term(1))).await;
    create(&*store, record(3).plain(term(1))).await;
    // Both forms on one record count as one.
    create(
        &*store,
        record(4).plain(term(2)).unique(term(2)).plain(term(2)),
    )
    .await;
    assert_eq!(ids_with(&*store, term(1)).await, [1, 2, 3].into());
    assert_eq!(ids_with(&*store, term(2)).await, [4].into());
    let found = find_by(&*store, term(1)).await.expect("the unique one");
    assert_eq!(found.key, key(2));
    let found = find_by(&*store, term(2)).await.expect("the unique one");
    assert_eq!(
        found,
        record(4).plain(term(2)).unique(term(2)).plain(term(2))
    );
}

/// A term stays with its record and becomes unique, and plain again.
pub async fn a_term_changes_from_plain_to_unique(store: Arc<dyn Store>) {
    create(&*store, record(1).plain(term(1))).await;
    commit(
        &*store,
        ChangeSet::default().update(revised(1, 2).unique(term(1)), 1),
    )
    .await;
    assert!(find_by(&*store, term(1)).await.is_some());
    let second = ChangeSet::default().create(record(2).unique(term(1)));
    refused!(store.commit(second).await, AlreadyExists(_));
    commit(
        &*store,
        ChangeSet::default().update(revised(1, 3).plain(term(1)), 2),
    )
    .await;
    assert_eq!(find_by(&*store, term(1)).await, None);
    assert_eq!(ids_with(&*store, term(1)).await, [1].into());
}

/// A term is any sixteen bytes.
pub async fn terms_with_every_byte_value_are_told_apart(store: Arc<dyn Store>) {
    let last = |byte: u8| {
        let mut term = [0; 16];
        term[15] = byte;
        Term(term)
    };
    let set = (0..=u8::MAX).fold(ChangeSet::default(), |set, byte| {
        set.create(record(byte.into()).unique(term(byte)).plain(last(byte)))
    });
    commit(&*store, set).await;
    for byte in 0..=u8::MAX {
        let found = find_by(&*store, term(byte)).await.expect("each is found");
        assert_eq!(found.key.id, u64::from(byte));
        let ids = ids_with(&*store, last(byte)).await;
        assert_eq!(ids, [u64::from(byte)].into());
    }
}

/// Terms come back in the order in which they were given.
pub async fn terms_keep_their_order(store: Arc<dyn Store>) {
    let given = (0..40_u8).fold(record(1), |record, n| {
        let term = term(n.wrapping_mul(83));
        if n % 3 == 0 {
            record.unique(term)
        } else {
            record.plain(term)
        }
    });
    create(&*store, given.clone()).await;
    assert_eq!(find(&*store, 1).await, Some(given));
}

/// Of many who want a unique term one gets it.
pub async fn one_of_sixteen_racing_for_a_unique_term_wins(store: Arc<dyn Store>) {
    let racers = (1..=16).map(|id| {
        let store = store.clone();
        let record = record(id).unique(term(1));
        tokio::spawn(async move { store.commit(ChangeSet::default().create(record)).await })
    });
    let results = join_all(racers).await;
    let results: Vec<_> = results.into_iter().map(|r| r.expect("no panic")).collect();
    let lost = |error: &StoreError| matches!(error, StoreError::AlreadyExists(_));
    assert_eq!(winners(&results, lost), 1);
    let all = store.list(&Query::new(KIND), Page::first(99)).await;
    assert_eq!(all.expect("a page").records.len(), 1);
}

/// Several lookups at once answer as each would alone, in their order, twice for the same term.
pub async fn several_unique_terms_find_each_their_record(store: Arc<dyn Store>) {
    create(&*store, record(1).unique(term(1)).plain(term(9))).await;
    create(&*store, record(2).unique(term(2))).await;
    let other = Kind(KIND.0 + 1);
    let elsewhere = Record {
        key: RecordKey::new(other, 7_u64),
        ..record(7).unique(term(1))
    };
    create(&*store, elsewhere.clone()).await;
    let wanted = [
        (KIND, term(2)),
        (KIND, term(9)),
        (other, term(1)),
        (KIND, term(1)),
        (KIND, term(200)),
        (KIND, term(2)),
    ];
    let found = store.find_each(&wanted).await.expect("the store answers");
    let second = record(2).unique(term(2));
    assert_eq!(
        found,
        [
            Some(second.clone()),
            None,
            Some(elsewhere),
            Some(record(1).unique(term(1)).plain(term(9))),
            None,
            Some(second),
        ]
    );
    assert_eq!(store.find_each(&[]).await.expect("the store answers"), []);
}
