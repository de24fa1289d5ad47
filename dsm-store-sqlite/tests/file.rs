//! The file: its modes, its schema, its damage, and the processes that share it.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use dsm_core::store::{
    ChangeSet, Changed, Changes, Kind, Page, Query, Record, RecordKey, SchemaChanges, Store as _,
    StoreError,
};
use dsm_core::time::Timestamp;
use dsm_store_sqlite::{OpenOptions, SqliteStore};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

const KIND: Kind = Kind(1);

fn record(id: u64) -> Record {
    Record {
        key: RecordKey::new(KIND, id),
        revision: 1,
        body: vec![0x5a; 3000],
        terms: vec![],
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
    }
}

async fn create(store: &SqliteStore, id: u64) {
    let set = ChangeSet::default().create(record(id));
    store.commit(set).await.expect("the record is created");
}

/// Runs SQL as another program would.
async fn execute(path: &Path, sql: &str) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    let mut connection = options.connect().await.expect("a connection");
    let done = sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await;
    done.expect("the statement is right");
    connection.close().await.expect("it closes");
}

async fn next(changes: &mut Changes) -> Changed {
    let next = tokio::time::timeout(Duration::from_secs(30), changes.next_change()).await;
    next.expect("a change is told").expect("the store is open")
}

#[tokio::test]
async fn files_are_legible_to_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/store.db");
    let store = SqliteStore::open(OpenOptions::new(&path).serve(true))
        .await
        .unwrap();
    create(&store, 1).await;
    store.find(record(1).key).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut names: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["store.db", "store.db-shm", "store.db-wal", "store.db.lock"]
    );
    for name in names {
        assert_eq!(mode(&path.with_file_name(&name)), 0o600, "{name}");
    }
    assert_eq!(mode(&folder.path().join("a/b")), 0o700);
    assert_eq!(mode(&folder.path().join("a")), 0o700);
    store.close().await;
}

#[tokio::test]
async fn a_closed_store_is_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&*path).await.unwrap();
    create(&store, 1).await;
    store.find(record(1).key).await.unwrap();
    store.close().await;
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn an_absent_file_is_not_created_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let opened = SqliteStore::open(OpenOptions::new(&path).create(false)).await;
    assert!(
        matches!(opened, Err(StoreError::Unavailable { .. })),
        "{opened:?}"
    );
    assert!(!path.exists());
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(path.as_path()).await.unwrap();
    store.close().await;
    execute(&path, "PRAGMA user_version = 99").await;
    let before = fs::read(&path).unwrap();
    let opened = SqliteStore::open(path.as_path()).await;
    let refused = matches!(
        opened,
        Err(StoreError::NewerSchema {
            found: 99,
            known: 3
        })
    );
    assert!(refused, "{opened:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_schema_that_is_to_stay_as_it_is_stays() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.db");
    fs::write(&empty, "").unwrap();
    let older = folder.path().join("older.db");
    // Of the first version, and in no other mode than its program left it in.
    let first = include_str!("../migrations/0001_initial.sql");
    execute(&older, first).await;
    execute(&older, "PRAGMA journal_mode = WAL").await;
    for (path, version, changes) in [
        (&empty, 0, SchemaChanges::Nothing),
        (&empty, 0, SchemaChanges::Update),
        (&older, 1, SchemaChanges::Nothing),
    ] {
        let before = fs::read(path).unwrap();
        let options = || OpenOptions::new(path).schema(changes);
        let opened = SqliteStore::open(options()).await;
        let refused =
            matches!(opened, Err(StoreError::OlderSchema { found, .. }) if found == version);
        assert!(refused, "{changes:?}: {opened:?}");
        assert_eq!(fs::read(path).unwrap(), before, "{changes:?}");
    }
    let changed = OpenOptions::new(&older).schema(SchemaChanges::Update);
    SqliteStore::open(changed).await.unwrap().close().await;
    let as_it_is = OpenOptions::new(&older).schema(SchemaChanges::Nothing);
    let store = SqliteStore::open(as_it_is).await.unwrap();
    create(&store, 1).await;
    store.close().await;
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in [
        ("plain.db", "CREATE TABLE record (x)"),
        (
            "versioned.db",
            "PRAGMA user_version = 1; CREATE TABLE record (x)",
        ),
    ] {
        let path = folder.path().join(name);
        execute(&path, sql).await;
        let opened = SqliteStore::open(path).await;
        assert!(
            matches!(opened, Err(StoreError::Corrupt(_))),
            "{name}: {opened:?}"
        );
    }
}

#[tokio::test]
async fn one_process_serves_and_others_work_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let server = SqliteStore::open(OpenOptions::new(&path).serve(true))
        .await
        .unwrap();
    let second = SqliteStore::open(OpenOptions::new(&path).serve(true)).await;
    match second {
        Err(StoreError::Locked(text)) => {
            assert!(text.ends_with("is already served by another process"));
        }
        other => panic!("a second server was admitted: {other:?}"),
    }

    let command = SqliteStore::open(path.as_path()).await.unwrap();
    create(&command, 1).await;
    assert!(server.find(record(1).key).await.unwrap().is_some());
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(server.next_id(KIND).await.unwrap());
        ids.push(command.next_id(KIND).await.unwrap());
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    command.close().await;

    server.close().await;
    let next = SqliteStore::open(OpenOptions::new(&path).serve(true))
        .await
        .unwrap();
    next.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_in_two_processes_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let first = SqliteStore::open(path.as_path()).await.unwrap();
    let second = SqliteStore::open(path.as_path()).await.unwrap();
    let write = |store: SqliteStore, from: u64| async move {
        for id in from..from + 50 {
            create(&store, id).await;
        }
        store
    };
    let first = tokio::spawn(write(first, 0));
    let second = tokio::spawn(write(second, 1000));
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    for store in [first, second] {
        let page = store
            .list(&Query::new(KIND), Page::first(1000))
            .await
            .unwrap();
        assert_eq!(page.records.len(), 100);
        store.close().await;
    }
}

#[tokio::test]
async fn what_another_process_writes_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let server = SqliteStore::open(OpenOptions::new(&path).serve(true))
        .await
        .unwrap();
    let command = SqliteStore::open(path.as_path()).await.unwrap();
    let mut told = server.changes();
    for id in [1, 3, 5] {
        create(&server, id).await;
        assert_eq!(next(&mut told).await, Changed::Record(record(id).key));
        create(&command, id + 1).await;
        assert_eq!(next(&mut told).await, Changed::Unknown);
    }
    command.close().await;
    server.close().await;
}

#[tokio::test]
async fn a_damaged_page_is_told_as_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(path.as_path()).await.unwrap();
    for id in 1..=100 {
        create(&store, id).await;
    }
    store.close().await;

    // The header and the schema stay.
    let size = fs::metadata(&path).unwrap().len();
    let mut file = File::options().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xff; usize::try_from(size).unwrap() - 4096])
        .unwrap();
    drop(file);

    let store = SqliteStore::open(path.as_path()).await.unwrap();
    let listed = store.list(&Query::new(KIND), Page::first(1000)).await;
    assert!(matches!(listed, Err(StoreError::Corrupt(_))), "{listed:?}");
    let committed = store.commit(ChangeSet::default().create(record(101))).await;
    assert!(
        matches!(committed, Err(StoreError::Corrupt(_))),
        "{committed:?}"
    );
    store.close().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_told_as_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    fs::write(&path, "no database at all, ".repeat(1000)).unwrap();
    let opened = SqliteStore::open(path.as_path()).await;
    assert!(matches!(opened, Err(StoreError::Corrupt(_))), "{opened:?}");
}

#[tokio::test]
async fn a_row_that_was_tampered_with_is_told_as_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(path.as_path()).await.unwrap();
    create(&store, 1).await;
    for change in [
        "terms = x'00'",
        "revision = -1",
        "created_at = 9223372036854775807",
    ] {
        execute(&path, &format!("UPDATE record SET {change}")).await;
        let found = store.find(record(1).key).await;
        assert!(
            matches!(found, Err(StoreError::Corrupt(_))),
            "{change}: {found:?}"
        );
        let restore = "UPDATE record SET terms = x'', revision = 1, created_at = 0";
        execute(&path, restore).await;
        assert_eq!(store.find(record(1).key).await.unwrap(), Some(record(1)));
    }
    store.close().await;
}
