use dsm_core::store::{ChangeSet, Kind, Record, RecordKey, Store as _, StoreError};
use dsm_core::time::Timestamp;
use futures_util::future::join_all;
use sqlx::ConnectOptions as _;

use super::SqliteStore;
use crate::options::OpenOptions;
use crate::writer::data_version;

fn record(id: u64, size: usize) -> Record {
    Record {
        key: RecordKey::new(Kind(1), id),
        revision: 1,
        body: vec![1; size],
        terms: vec![],
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
    }
}

async fn create(store: &SqliteStore, id: u64, size: usize) -> Result<(), StoreError> {
    let set = ChangeSet::default().create(record(id, size));
    store.commit(set).await
}

/// A store that runs out of room at 800 KiB.
async fn small(folder: &tempfile::TempDir) -> SqliteStore {
    let options = OpenOptions {
        max_pages: Some(200),
        ..OpenOptions::new(folder.path().join("store.db"))
    };
    SqliteStore::open(options).await.unwrap()
}

fn no_room(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable { reason, .. }) if reason.contains("no room"))
}

#[tokio::test]
async fn a_full_store_says_so_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let store = small(&folder).await;
    let mut stored = 0;
    let refused = loop {
        match create(&store, stored + 1, 16 << 10).await {
            Ok(()) => stored += 1,
            refused => break refused,
        }
    };
    assert!(no_room(&refused), "{refused:?}");
    assert!(stored > 10);
    for id in 1..=stored {
        let found = store.find(record(id, 0).key).await.unwrap();
        assert_eq!(found, Some(record(id, 16 << 10)));
    }
    assert!(no_room(&create(&store, stored + 1, 16 << 10).await));

    let room = (1..=4).fold(ChangeSet::default(), |set, id| {
        set.delete(record(id, 0).key, 1)
    });
    store.commit(room).await.unwrap();
    create(&store, stored + 1, 16 << 10).await.unwrap();
    store.probe().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_set_without_room_does_not_fail_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let store = small(&folder).await;
    let sizes = [100, 2 << 20, 100, 100, 3 << 20, 100];
    let sets = (0..).zip(sizes).map(|(id, size)| create(&store, id, size));
    for (result, size) in join_all(sets).await.iter().zip(sizes) {
        if size > 100 {
            assert!(no_room(result), "{result:?}");
        } else {
            assert!(result.is_ok(), "{result:?}");
        }
    }
    store.close().await;
}

#[tokio::test]
async fn own_commits_do_not_look_like_those_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions::new(folder.path().join("store.db"));
    SqliteStore::open(options.clone())
        .await
        .unwrap()
        .close()
        .await;
    let mut own = options.writing().connect().await.unwrap();
    let mut other = options.writing().connect().await.unwrap();
    let write = "UPDATE sequence SET last = last + 1";
    let first = data_version(&mut own).await.unwrap();
    for _ in 0..3 {
        sqlx::query(write).execute(&mut own).await.unwrap();
        assert_eq!(data_version(&mut own).await.unwrap(), first);
    }
    sqlx::query(write).execute(&mut other).await.unwrap();
    // Even when the own connection writes before it looks.
    sqlx::query(write).execute(&mut own).await.unwrap();
    let second = data_version(&mut own).await.unwrap();
    assert_ne!(second, first);
    sqlx::query(write).execute(&mut own).await.unwrap();
    assert_eq!(data_version(&mut own).await.unwrap(), second);
}
