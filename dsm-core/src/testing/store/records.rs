//! Records: guarded changes, atomicity, faithful contents.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::{
    KIND, at, commit, create, find, find_by, key, record, refused, revised, term, winners,
};
use crate::store::{
    Change, ChangeSet, Changed, Kind, Page, Query, Record, RecordKey, Store, StoreError,
};
use crate::time::from_micros;

/// What was created is found as it was given.
pub async fn a_created_record_is_found(store: Arc<dyn Store>) {
    let given = Record {
        expires_at: Some(at(60)),
        ..record(1).plain(term(1)).unique(term(2))
    };
    create(&*store, given.clone()).await;
    assert_eq!(find(&*store, 1).await, Some(given));
}

/// An absent key is no error.
pub async fn an_absent_record_is_none(store: Arc<dyn Store>) {
    create(&*store, record(1)).await;
    assert_eq!(find(&*store, 2).await, None);
    let other = RecordKey::new(Kind(KIND.0 + 1), 1_u64);
    assert_eq!(store.find(other).await.expect("an answer"), None);
    assert_eq!(find(&*store, u64::MAX).await, None);
}

/// A key is created once.
pub async fn a_taken_key_is_refused(store: Arc<dyn Store>) {
    create(&*store, record(1)).await;
    let again = Record {
        body: b"other".to_vec(),
        ..record(1)
    };
    let result = store.commit(ChangeSet::default().create(again)).await;
    refused!(result, AlreadyExists(taken) if taken == key(1));
    assert_eq!(find(&*store, 1).await, Some(record(1)));
}

/// Kind and id name a record together.
pub async fn an_id_in_two_kinds_is_two_records(store: Arc<dyn Store>) {
    for kind in [0, 7, u16::MAX] {
        let key = RecordKey::new(Kind(kind), 1_u64);
        let body = kind.to_be_bytes().to_vec();
        create(
            &*store,
            Record {
                key,
                body,
                ..record(1)
            },
        )
        .await;
    }
    for kind in [0, 7, u16::MAX] {
        let found = store.find(RecordKey::new(Kind(kind), 1_u64)).await;
        let found = found.expect("an answer").expect("each is there");
        assert_eq!(found.body, kind.to_be_bytes());
    }
}

/// Nothing of the old record stays.
pub async fn an_update_replaces_the_whole_record(store: Arc<dyn Store>) {
    let old = Record {
        expires_at: Some(at(5)),
        ..record(1).plain(term(1)).unique(term(2))
    };
    create(&*store, old).await;
    let new = Record {
        created_at: at(1),
        ..revised(1, 2).unique(term(3))
    };
    commit(&*store, ChangeSet::default().update(new.clone(), 1)).await;
    assert_eq!(find(&*store, 1).await, Some(new));
}

/// The expected revision guards an update.
pub async fn an_update_at_another_revision_is_refused(store: Arc<dyn Store>) {
    create(&*store, record(1)).await;
    commit(&*store, ChangeSet::default().update(revised(1, 2), 1)).await;
    for expected in [0, 1, 3, 1 << 62] {
        let set = ChangeSet::default().update(revised(1, expected + 1), expected);
        refused!(store.commit(set).await, RevisionMismatch(found) if found == key(1));
    }
    assert_eq!(find(&*store, 1).await, Some(revised(1, 2)));
}

/// An absent record has no revision.
pub async fn an_update_of_an_absent_record_is_refused(store: Arc<dyn Store>) {
    for expected in [0, 1] {
        let set = ChangeSet::default().update(revised(1, expected + 1), expected);
        refused!(store.commit(set).await, RevisionMismatch(found) if found == key(1));
    }
    assert_eq!(find(&*store, 1).await, None);
}

/// A deleted record is gone and its key free.
pub async fn a_delete_removes_the_record(store: Arc<dyn Store>) {
    create(&*store, record(1)).await;
    create(&*store, record(2)).await;
    commit(&*store, ChangeSet::default().delete(key(1), 1)).await;
    assert_eq!(find(&*store, 1).await, None);
    assert_eq!(find(&*store, 2).await, Some(record(2)));
    create(&*store, record(1)).await;
}

/// The expected revision guards a deletion.
pub async fn a_delete_at_another_revision_is_refused(store: Arc<dyn Store>) {
    create(&*store, record(1)).await;
    for expected in [0, 2] {
        let set = ChangeSet::default().delete(key(1), expected);
        refused!(store.commit(set).await, RevisionMismatch(found) if found == key(1));
    }
    assert_eq!(find(&*store, 1).await, Some(record(1)));
}

/// What is gone cannot be deleted.
pub async fn a_delete_of_an_absent_record_is_refused(store: Arc<dyn Store>) {
    let set = ChangeSet::default().delete(key(1), 1);
    refused!(store.commit(set).await, RevisionMismatch(found) if found == key(1));
}

/// An update may keep the revision, when only the sealing changes.
pub async fn a_rewrap_keeps_the_revision(store: Arc<dyn Store>) {
    create(&*store, record(1).unique(term(1))).await;
    let rewrapped = Record {
        body: b"sealed anew".to_vec(),
        ..record(1).unique(term(1))
    };
    commit(&*store, ChangeSet::default().update(rewrapped.clone(), 1)).await;
    assert_eq!(find(&*store, 1).await, Some(rewrapped));
    commit(&*store, ChangeSet::default().update(revised(1, 2), 1)).await;
}

/// A creation keeps the revision that it carries, so that a backup can be restored.
pub async fn a_restored_record_keeps_its_revision(store: Arc<dyn Store>) {
    create(&*store, revised(1, 12)).await;
    assert_eq!(find(&*store, 1).await, Some(revised(1, 12)));
    commit(&*store, ChangeSet::default().update(revised(1, 13), 12)).await;
}

/// A set takes effect whole or not at all.
pub async fn a_failing_last_change_undoes_the_set(store: Arc<dyn Store>) {
    create(&*store, record(1).unique(term(1))).await;
    create(&*store, record(2).plain(term(2))).await;
    let changes = ChangeSet::default()
        .create(record(3).unique(term(3)).plain(term(2)))
        .update(revised(1, 2).unique(term(4)), 1)
        .delete(key(2), 1);
    for last in [
        Change::Create(record(4).unique(term(3))),
        Change::Update {
            record: revised(4, 2),
            expected: 1,
        },
        Change::Delete {
            key: key(4),
            expected: 1,
        },
    ] {
        let mut set = changes.clone();
        set.records.push(last);
        assert!(store.commit(set).await.is_err());
    }
    assert_eq!(find(&*store, 1).await, Some(record(1).unique(term(1))));
    assert_eq!(find(&*store, 2).await, Some(record(2).plain(term(2))));
    assert_eq!(find(&*store, 3).await, None);
    let query = Query::new(KIND).with(term(2));
    let listed = store.list(&query, Page::first(9)).await;
    assert_eq!(listed.expect("a page").records.len(), 1);
    // The terms that the set would have taken are free.
    create(&*store, record(5).unique(term(3)).unique(term(4))).await;
}

/// A set without changes is no error.
pub async fn an_empty_set_is_accepted(store: Arc<dyn Store>) {
    commit(&*store, ChangeSet::default()).await;
}

/// A set changes a record once.
pub async fn a_key_twice_in_a_set_is_refused(store: Arc<dyn Store>) {
    let set = ChangeSet::default()
        .create(record(1))
        .update(revised(1, 2), 1);
    refused!(store.commit(set).await, Backend { .. });
    assert_eq!(find(&*store, 1).await, None);
}

/// An id or revision that a signed number cannot hold is refused, not wrapped.
pub async fn numbers_beyond_i64_are_refused(store: Arc<dyn Store>) {
    for id in [1 << 63, u64::MAX] {
        let result = store.commit(ChangeSet::default().create(record(id))).await;
        refused!(result, Backend { .. });
        let result = store.commit(ChangeSet::default().create(revised(1, id)));
        refused!(result.await, Backend { .. });
        assert_eq!(find(&*store, id).await, None);
    }
    let all = store.list(&Query::new(KIND), Page::first(9)).await;
    assert_eq!(all.expect("a page").records, []);
}

/// Zero and the largest id are ids as others are.
pub async fn extreme_ids_are_kept(store: Arc<dyn Store>) {
    let largest = i64::MAX as u64;
    for id in [0, 1, largest - 1, largest] {
        create(&*store, revised(id, largest)).await;
    }
    for id in [0, 1, largest - 1, largest] {
        assert_eq!(find(&*store, id).await, Some(revised(id, largest)));
        commit(&*store, ChangeSet::default().delete(key(id), largest)).await;
    }
}

async fn body_is_kept(store: &dyn Store, body: Vec<u8>) {
    create(
        store,
        Record {
            body: body.clone(),
            ..record(1)
        },
    )
    .await;
    let found = find(store, 1).await.expect("it is there");
    assert!(found.body == body, "the body has changed");
    let page = store.list(&Query::new(KIND), Page::first(1)).await;
    assert!(page.expect("a page").records == [found]);
}

/// No bytes are bytes.
pub async fn an_empty_body_is_kept(store: Arc<dyn Store>) {
    body_is_kept(&*store, Vec::new()).await;
}

/// A body may be large.
pub async fn a_body_of_a_mebibyte_is_kept(store: Arc<dyn Store>) {
    body_is_kept(
        &*store,
        (0..1 << 20)
            .map(|n: u32| n.to_le_bytes()[n as usize % 3])
            .collect(),
    )
    .await;
}

/// A body may be any bytes.
pub async fn a_body_with_every_byte_is_kept(store: Arc<dyn Store>) {
    body_is_kept(&*store, (0..=u8::MAX).chain((0..=u8::MAX).rev()).collect()).await;
}

/// Instants come back exactly, those before 1970 and those far away as well.
pub async fn instants_are_kept_to_the_microsecond(store: Arc<dyn Store>) {
    let micros = [
        1_800_000_000_123_456,
        0,
        -1,
        -999_999,
        -1_000_001,
        -62_135_596_800_000_001,
        253_402_300_799_999_999,
    ];
    for (id, micros) in (1..).zip(micros) {
        let instant = from_micros(micros).expect("in range");
        let given = Record {
            created_at: instant,
            expires_at: Some(instant),
            ..record(id)
        };
        create(&*store, given.clone()).await;
        assert_eq!(find(&*store, id).await, Some(given));
    }
}

/// Of many who update the same revision one succeeds.
pub async fn one_of_sixteen_racing_updates_wins(store: Arc<dyn Store>) {
    create(&*store, record(1)).await;
    for revision in 1..=4 {
        let racers = (0..16).map(|racer: u8| {
            let store = store.clone();
            let new = Record {
                body: vec![racer],
                ..revised(1, revision + 1)
            };
            tokio::spawn(async move {
                store
                    .commit(ChangeSet::default().update(new, revision))
                    .await
            })
        });
        let results: Vec<_> = join_all(racers).await;
        let results: Vec<_> = results.into_iter().map(|r| r.expect("no panic")).collect();
        let winner = results.iter().position(Result::is_ok).expect("one wins");
        let lost = |error: &StoreError| matches!(error, StoreError::RevisionMismatch(_));
        assert_eq!(winners(&results, lost), 1);
        let found = find(&*store, 1).await.expect("it is there");
        assert_eq!(
            (found.revision, usize::from(found.body[0])),
            (revision + 1, winner)
        );
    }
}

/// Of many who create the same key one succeeds.
pub async fn one_of_sixteen_racing_creations_wins(store: Arc<dyn Store>) {
    let racers = (0..16).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.commit(ChangeSet::default().create(record(1))).await })
    });
    let results = join_all(racers).await;
    let results: Vec<_> = results.into_iter().map(|r| r.expect("no panic")).collect();
    let lost = |error: &StoreError| matches!(error, StoreError::AlreadyExists(_));
    assert_eq!(winners(&results, lost), 1);
}

/// A reader sees all records of a set at the same revision.
pub async fn readers_never_meet_half_a_set(store: Arc<dyn Store>) {
    const RECORDS: u64 = 8;
    let set = (1..=RECORDS).fold(ChangeSet::default(), |set, id| set.create(record(id)));
    commit(&*store, set).await;
    let writer = store.clone();
    let writer = tokio::spawn(async move {
        for expected in 1..=40 {
            let set = (1..=RECORDS).fold(ChangeSet::default(), |set, id| {
                set.update(revised(id, expected + 1), expected)
            });
            commit(&*writer, set).await;
        }
    });
    loop {
        let finished = writer.is_finished();
        let page = store.list(&Query::new(KIND), Page::first(99)).await;
        let records = page.expect("a page").records;
        assert_eq!(records.len() as u64, RECORDS);
        let first = records[0].revision;
        assert!(records.iter().all(|record| record.revision == first));
        if finished {
            break;
        }
    }
    writer.await.expect("no panic");
}

/// A commit whose future is dropped early is whole or absent, and the store goes on.
pub async fn a_dropped_commit_leaves_the_store_whole(store: Arc<dyn Store>) {
    for round in 0..32_u64 {
        let (first, second) = (2 * round, 2 * round + 1);
        let set = ChangeSet::default()
            .create(record(first))
            .create(record(second));
        let mut commit = store.commit(set);
        let mut ended = false;
        for _ in 0..round % 8 {
            if let Some(result) = (&mut commit).now_or_never() {
                result.expect("the keys are free");
                ended = true;
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(commit);
        // What was dropped may still come to pass: a key is taken or free, both alike.
        let probe = store
            .commit(ChangeSet::default().create(record(first)))
            .await;
        let whole = find(&*store, second).await.is_some();
        match probe {
            Ok(()) => assert!(!ended && !whole, "half of a set is there"),
            Err(StoreError::AlreadyExists(_)) => assert!(whole, "half of a set is there"),
            Err(other) => panic!("the store is not usable: {other:?}"),
        }
    }
}

/// Sets that are committed at the same time succeed or fail each on its own.
pub async fn a_failing_set_leaves_its_neighbours_alone(store: Arc<dyn Store>) {
    create(&*store, record(0)).await;
    let sets = (1..=64).map(|id| {
        let set = ChangeSet::default().create(record(id));
        // Every third set fails by its second change.
        let set = if id % 3 == 0 {
            set.create(record(0))
        } else {
            set
        };
        let store = store.clone();
        tokio::spawn(async move { (id, store.commit(set).await) })
    });
    for joined in join_all(sets).await {
        let (id, result) = joined.expect("no panic");
        assert_eq!(result.is_ok(), id % 3 != 0, "{id}: {result:?}");
        assert_eq!(find(&*store, id).await.is_some(), id % 3 != 0, "{id}");
    }
}

/// What a set was decided on must still hold: another revision or an absent record refuses it.
pub async fn a_check_guards_its_set(store: Arc<dyn Store>) {
    create(&*store, record(1)).await;
    for (id, expected) in [(1, 2), (1, 0), (9, 1)] {
        let set = ChangeSet::default()
            .create(record(2))
            .check_at(key(id), expected);
        refused!(store.commit(set).await, RevisionMismatch(k) if k == key(id));
        assert_eq!(find(&*store, 2).await, None);
    }
    let set = ChangeSet::default().check_at(key(1), 1).create(record(2));
    commit(&*store, set).await;
    assert_eq!(find(&*store, 2).await, Some(record(2)));
}

/// A checked record stays as it is, and nobody is told of it.
pub async fn a_check_changes_nothing(store: Arc<dyn Store>) {
    let checked = revised(1, 3).unique(term(1)).plain(term(2));
    create(&*store, checked.clone()).await;
    let mut changes = store.changes();
    let set = ChangeSet::default().check_at(key(1), 3).create(record(2));
    commit(&*store, set).await;
    loop {
        match changes.next().await.expect("the store is open") {
            Changed::Record(changed) => break assert_eq!(changed, key(2)),
            Changed::Unknown | Changed::UpToDate(_) => {}
        }
    }
    assert_eq!(find(&*store, 1).await, Some(checked.clone()));
    assert_eq!(find_by(&*store, term(1)).await, Some(checked));
    let taken = ChangeSet::default()
        .check_at(key(1), 3)
        .create(record(3).unique(term(1)));
    refused!(store.commit(taken).await, AlreadyExists(_));
}

/// Many sets decided on one record take effect side by side.
pub async fn racing_checks_let_each_other_pass(store: Arc<dyn Store>) {
    create(&*store, record(1)).await;
    let racing = (2..18).map(|id| {
        let store = store.clone();
        tokio::spawn(async move {
            let set = ChangeSet::default().check_at(key(1), 1).create(record(id));
            store.commit(set).await
        })
    });
    for joined in join_all(racing).await {
        joined.expect("no panic").expect("the set is committed");
    }
}

/// Two sets, each checking what the other changes, do not both take effect.
pub async fn a_check_and_an_update_exclude_each_other(store: Arc<dyn Store>) {
    for round in 0..20 {
        let (a, b) = (2 * round + 1, 2 * round + 2);
        create(&*store, record(a)).await;
        create(&*store, record(b)).await;
        let racing = [(a, b), (b, a)].map(|(checked, changed)| {
            let store = store.clone();
            tokio::spawn(async move {
                let set = ChangeSet::default()
                    .check_at(key(checked), 1)
                    .update(revised(changed, 2), 1);
                store.commit(set).await
            })
        });
        let results = join_all(racing).await;
        let results: Vec<_> = results.into_iter().map(|r| r.expect("no panic")).collect();
        let won = winners(&results, |error| {
            matches!(error, StoreError::RevisionMismatch(_))
        });
        assert_eq!(won, 1, "exactly one set takes effect");
    }
}
