//! Files of earlier versions: everything in them is found after they were brought up to date.

use std::fmt::Write as _;
use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

use dsm_core::store::{
    Change, ChangeSet, IndexTerm, Job, JobKey, Kind, LogQuery, LogRecord, OperationId, Page, Query,
    Record, RecordKey, ServerId, SnapshotPart, Store, StoreError, Term, Topic,
};
use dsm_core::time::Timestamp;
use dsm_store_sqlite::SqliteStore;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

const KINDS: [Kind; 2] = [Kind(1), Kind(2)];
/// Of each kind: in all more than are moved at a time.
const RECORDS: u64 = 2500;
const TOPIC: Topic = Topic(4);

/// Makes a file by the steps up to a version, and runs SQL in it.
async fn earlier(path: &Path, steps: &[&str], sql: &str) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    let mut connection = options.connect().await.expect("a connection");
    for part in steps.iter().chain([&sql]) {
        let done = sqlx::raw_sql(AssertSqlSafe(*part)).execute(&mut connection);
        done.await.expect("the statements are right");
    }
    connection.close().await.expect("it closes");
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn term(group: u8, id: u64) -> Term {
    let mut bytes = [group; 16];
    bytes[8..].copy_from_slice(&id.to_be_bytes());
    Term(bytes)
}

/// Every third expires; all have a unique term, and a plain one that ten share.
fn record(kind: Kind, id: u64) -> Record {
    Record {
        key: RecordKey::new(kind, id),
        revision: 1 + id % 3,
        // Some go on in pages of their own.
        body: vec![id.to_be_bytes()[7]; if id.is_multiple_of(97) { 9000 } else { 60 }],
        terms: vec![
            IndexTerm {
                term: term(1, id),
                unique: true,
            },
            IndexTerm {
                term: term(2, id / 10),
                unique: false,
            },
        ],
        created_at: at(RECORDS - id),
        expires_at: id.is_multiple_of(3).then(|| at(10_000 + id)),
    }
}

fn log_record() -> LogRecord {
    LogRecord {
        server: ServerId([7; 16]),
        sequence: 1,
        last_sequence: 9,
        from: at(1),
        until: at(2),
        terms: vec![term(3, 3)],
        body: b"a batch".to_vec(),
    }
}

fn job() -> Job {
    Job {
        key: JobKey {
            topic: TOPIC,
            subject: 12,
        },
        due_at: at(50),
        body: b"a job".to_vec(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut literal = String::from("x'");
    for byte in bytes {
        write!(literal, "{byte:02x}").expect("a string takes everything");
    }
    literal.push('\'');
    literal
}

/// The rows that the program of the second version wrote.
fn rows_of_the_second_version() -> String {
    let mut sql = vec!["BEGIN;".to_owned()];
    // Not in the order of their numbers, as they come about.
    for id in (1..=RECORDS).rev() {
        for kind in KINDS {
            let Record {
                revision,
                body,
                terms,
                expires_at,
                ..
            } = record(kind, id);
            let number = kind.0;
            let created_at = (RECORDS - id) * 1_000_000;
            let expires_at = expires_at.map_or("NULL".to_owned(), |_| {
                ((10_000 + id) * 1_000_000).to_string()
            });
            let mut packed = Vec::new();
            for index in &terms {
                packed.push(u8::from(index.unique));
                packed.extend_from_slice(&index.term.0);
                let (term, unique) = (hex(&index.term.0), u8::from(index.unique));
                sql.push(format!(
                    "INSERT INTO term VALUES ({number}, {term}, {id}, {unique});"
                ));
            }
            let (packed, body) = (hex(&packed), hex(&body));
            sql.push(format!(
                "INSERT INTO record VALUES \
                 ({number}, {id}, {revision}, {created_at}, {expires_at}, {packed}, {body});"
            ));
        }
    }
    let (server, term, batch) = (hex(&[7; 16]), hex(&term(3, 3).0), hex(b"a batch"));
    let (job, done, given_up) = (hex(b"a job"), hex(&[1; 16]), hex(&[2; 16]));
    sql.push(format!(
        "INSERT INTO log VALUES (1, {server}, 1, 9, 1000000, 2000000, {term}, {batch}); \
         INSERT INTO log_term VALUES ({term}, 1); \
         INSERT INTO job VALUES (4, 12, 50000000, NULL, NULL, {job}); \
         INSERT INTO sequence VALUES (1, 640); \
         UPDATE sequence SET last = 5 WHERE kind = -1; \
         INSERT INTO operation (id, done) VALUES ({done}, 1), ({given_up}, 0); \
         COMMIT;"
    ));
    sql.concat()
}

async fn second_version(path: &Path) {
    let steps = [
        include_str!("../migrations/0001_initial.sql"),
        include_str!("../migrations/0002_operations.sql"),
    ];
    earlier(path, &steps, &rows_of_the_second_version()).await;
}

async fn integrity(path: &Path) -> String {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.expect("a connection");
    let told = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection);
    told.await.expect("the pragma exists")
}

/// Every record, log record, job and sequence of a store.
async fn everything(
    store: &SqliteStore,
) -> (Vec<Record>, Vec<LogRecord>, Vec<Job>, Vec<(Kind, u64)>) {
    let mut all = (vec![], vec![], vec![], vec![]);
    let mut snapshot = store.snapshot().await.expect("a snapshot");
    while let Some(part) = snapshot.next().await.expect("a part") {
        match part {
            SnapshotPart::Records(records) => all.0.extend(records),
            SnapshotPart::Log(records) => all.1.extend(records),
            SnapshotPart::Jobs(jobs) => all.2.extend(jobs),
            SnapshotPart::Sequences(sequences) => all.3.extend(sequences),
            other => panic!("{other:?}"),
        }
    }
    all
}

#[tokio::test]
async fn a_file_of_the_second_version_keeps_every_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    second_version(&path).await;
    let store = SqliteStore::open(path.as_path()).await.unwrap();
    let (records, log, jobs, sequences) = everything(&store).await;
    let expected = KINDS
        .iter()
        .flat_map(|kind| (1..=RECORDS).map(|id| record(*kind, id)));
    assert_eq!(records, expected.collect::<Vec<_>>());
    assert_eq!(log, [log_record()]);
    assert_eq!(jobs, [job()]);
    assert_eq!(sequences, [(KINDS[0], 640)]);
    assert_eq!(store.next_id(KINDS[0]).await.unwrap(), 641);

    let query = LogQuery {
        terms: vec![term(3, 3)],
        ..LogQuery::newest(10)
    };
    let found = store.read_log(&query).await.unwrap().records;
    assert_eq!(found, [(1, log_record())]);
    let lease = store
        .claim_due(&[TOPIC], at(60), Duration::from_secs(1), 1)
        .await
        .unwrap();
    assert_eq!(lease[0].job, job());
    // Longer ago than the last lease.
    assert!(lease[0].generation > 5, "{lease:?}");
    // Names of operations mean the same as before.
    assert!(store.resolve(OperationId([1; 16])).await.unwrap());
    assert!(!store.resolve(OperationId([2; 16])).await.unwrap());
    store.close().await;
    assert_eq!(integrity(&path).await, "ok");
}

#[tokio::test]
async fn records_of_the_second_version_are_found_in_every_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    second_version(&path).await;
    let store = SqliteStore::open(path.as_path()).await.unwrap();
    for kind in KINDS {
        let mut wanted = Vec::new();
        for id in 1..=RECORDS {
            let found = store.find(RecordKey::new(kind, id)).await.unwrap();
            assert_eq!(found, Some(record(kind, id)));
            let found = store.find_by(kind, &term(1, id)).await.unwrap();
            assert_eq!(found, Some(record(kind, id)));
            wanted.push((kind, term(1, id)));
        }
        wanted.push((kind, term(2, 3)));
        let mut found = store.find_each(&wanted).await.unwrap();
        assert_eq!(found.pop(), Some(None), "a plain term names no record");
        let expected = (1..=RECORDS).map(|id| Some(record(kind, id)));
        assert_eq!(found, expected.collect::<Vec<_>>());

        let mut query = Query::new(kind).oldest_first();
        query.terms = vec![term(2, 3)];
        let found = store.list(&query, Page::first(100)).await.unwrap().records;
        assert_eq!(
            found,
            (30..40).map(|id| record(kind, id)).collect::<Vec<_>>()
        );
        query.terms.push(term(1, 35));
        let found = store.list(&query, Page::first(100)).await.unwrap().records;
        assert_eq!(found, [record(kind, 35)]);

        let mut query = Query::new(kind).oldest_first();
        query.created = (Bound::Unbounded, Bound::Excluded(at(5)));
        let found = store.list(&query, Page::first(100)).await.unwrap().records;
        assert_eq!(
            found,
            (RECORDS - 4..=RECORDS)
                .map(|id| record(kind, id))
                .collect::<Vec<_>>()
        );
        let mut query = Query::new(kind).oldest_first();
        query.expires = (Bound::Unbounded, Bound::Included(at(10_009)));
        let found = store.list(&query, Page::first(100)).await.unwrap().records;
        assert_eq!(found, [3, 6, 9].map(|id| record(kind, id)));
    }
    store.close().await;
}

#[tokio::test]
async fn unique_terms_of_the_second_version_stay_unique_and_pass_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    second_version(&path).await;
    let store = SqliteStore::open(path.as_path()).await.unwrap();
    let kind = KINDS[0];
    let first = record(kind, 20);
    let second = Record {
        key: RecordKey::new(kind, RECORDS + 1),
        ..first.clone()
    };
    let refused = store
        .commit(ChangeSet::default().create(second.clone()))
        .await;
    assert!(
        matches!(&refused, Err(StoreError::AlreadyExists(key)) if *key == second.key),
        "{refused:?}"
    );
    let mut set = ChangeSet::default().create(second.clone());
    set.records.push(Change::Delete {
        key: first.key,
        expected: first.revision,
    });
    store.commit(set).await.unwrap();
    assert_eq!(
        store.find_by(kind, &term(1, 20)).await.unwrap(),
        Some(second)
    );
    assert_eq!(store.find(first.key).await.unwrap(), None);
    let other = store.find_by(KINDS[1], &term(1, 20)).await.unwrap();
    assert_eq!(other, Some(record(KINDS[1], 20)));
    store.close().await;
}
