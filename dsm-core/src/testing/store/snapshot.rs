//! Everything at one instant.

use std::sync::Arc;
use std::time::Duration;

use super::{KIND, at, commit, create, key, record, revised, term};
use crate::store::{
    ChangeSet, Job, JobKey, Kind, LogRecord, Record, RecordKey, ServerId, Snapshot, SnapshotPart,
    Store, Topic,
};

/// A snapshot put together.
#[derive(Debug, Default, PartialEq)]
struct Whole {
    records: Vec<Record>,
    log: Vec<LogRecord>,
    jobs: Vec<Job>,
    sequences: Vec<(Kind, u64)>,
}

/// Reads the rest, and asserts the order of the parts.
async fn whole(mut snapshot: Box<dyn Snapshot>) -> Whole {
    let mut whole = Whole::default();
    let mut stage = 0;
    while let Some(part) = snapshot.next().await.expect("a part") {
        let (at, len) = match part {
            SnapshotPart::Records(records) => {
                let len = records.len();
                whole.records.extend(records);
                (1, len)
            }
            SnapshotPart::Log(log) => {
                let len = log.len();
                whole.log.extend(log);
                (2, len)
            }
            SnapshotPart::Jobs(jobs) => {
                let len = jobs.len();
                whole.jobs.extend(jobs);
                (3, len)
            }
            SnapshotPart::Sequences(sequences) => {
                let len = sequences.len();
                whole.sequences.extend(sequences);
                (4, len)
            }
        };
        assert!(len > 0, "no part is empty");
        assert!(at >= stage, "the parts come in order");
        stage = at;
    }
    assert!(whole.records.is_sorted_by_key(|record| record.key));
    assert!(whole.jobs.is_sorted_by_key(|job| job.key));
    assert!(whole.sequences.is_sorted());
    let items = whole.records.len() + whole.log.len() + whole.jobs.len();
    assert_eq!(snapshot.size(), items as u64);
    whole
}

async fn snapshot(store: &dyn Store) -> Box<dyn Snapshot> {
    store.snapshot().await.expect("a snapshot")
}

fn job(topic: u16, subject: u64, due: i64) -> Job {
    let topic = Topic(topic);
    Job {
        key: JobKey { topic, subject },
        due_at: at(due),
        body: vec![subject.to_le_bytes()[0]],
    }
}

fn batch(server: u8, sequence: u64) -> LogRecord {
    LogRecord {
        server: ServerId([server; 16]),
        sequence,
        last_sequence: sequence + 1,
        from: at(0),
        until: at(1),
        terms: vec![term(2), term(1)],
        body: vec![server],
    }
}

/// An empty store gives nothing.
pub async fn an_empty_store_is_an_empty_snapshot(store: Arc<dyn Store>) {
    assert_eq!(whole(snapshot(&*store).await).await, Whole::default());
}

/// Records of all kinds, the log, jobs and numbers are there as they were written.
pub async fn a_snapshot_holds_everything(store: Arc<dyn Store>) {
    let other = RecordKey::new(Kind(u16::MAX), i64::MAX.unsigned_abs());
    let first = RecordKey::new(Kind(0), 0_u64);
    let records = vec![
        Record {
            key: first,
            expires_at: Some(at(-9)),
            ..record(1)
        },
        record(2).unique(term(2)).plain(term(1)),
        revised(300, 7),
        Record {
            key: other,
            body: Vec::new(),
            ..record(1)
        },
    ];
    let set = records.iter().rev().cloned();
    let set = set.fold(ChangeSet::default(), ChangeSet::create);
    let jobs = vec![
        job(0, 9, 5),
        job(1, 1, 7),
        job(1, 300, 3),
        job(u16::MAX, 0, 4),
    ];
    let set = jobs.iter().rev().cloned().fold(set, ChangeSet::put_job);
    commit(&*store, set).await;
    let log = vec![batch(2, 5), batch(1, 1), batch(2, 1)];
    store.append_log(log.clone()).await.expect("appended");
    let given = store.next_id(Kind(3)).await.expect("a number");

    let whole = whole(snapshot(&*store).await).await;
    assert_eq!(whole.records, records);
    assert_eq!(whole.log, log);
    assert_eq!(whole.jobs, jobs);
    let number = whole.sequences.iter().find(|(kind, _)| *kind == Kind(3));
    assert!(number.is_some_and(|(_, number)| *number >= given));
}

/// A job under a lease is there like any other.
pub async fn a_leased_job_is_in_the_snapshot(store: Arc<dyn Store>) {
    commit(&*store, ChangeSet::default().put_job(job(1, 1, 0))).await;
    let leases = store
        .claim_due(&[Topic(1)], at(1), Duration::from_mins(1), 1)
        .await;
    assert_eq!(leases.expect("leases").len(), 1);
    let whole = whole(snapshot(&*store).await).await;
    assert_eq!(whole.jobs, [job(1, 1, 0)]);
}

/// What is written after the snapshot began, to records that were read and to those that were not,
/// is not in it.
pub async fn a_snapshot_stays_at_its_instant(store: Arc<dyn Store>) {
    const COUNT: u64 = 1_000;
    let set = (1..=COUNT).fold(ChangeSet::default(), |set, id| {
        set.create(record(2 * id)).put_job(job(1, 2 * id, 0))
    });
    commit(&*store, set).await;
    store.append_log(vec![batch(1, 1)]).await.expect("appended");
    let mut taken = snapshot(&*store).await;
    let first = taken.next().await.expect("a part").expect("a part");
    let SnapshotPart::Records(mut records) = first else {
        panic!("records come first");
    };

    // From both ends, so that some are changed before and some after they were read.
    for id in (1..=COUNT).filter(|id| id % 7 == 0) {
        let set = ChangeSet::default()
            .update(revised(2 * id, 2), 1)
            .create(record(2 * id + 1))
            .put_job(job(1, 2 * id, 9))
            .put_job(job(1, 2 * id + 1, 9));
        commit(&*store, set).await;
    }
    for id in (1..=COUNT).filter(|id| id % 11 == 0) {
        let revision = 1 + u64::from(id % 7 == 0);
        let set = ChangeSet::default()
            .delete(key(2 * id), revision)
            .remove_job(job(1, 2 * id, 0).key);
        commit(&*store, set).await;
    }
    // One that is gone and there again.
    commit(&*store, ChangeSet::default().create(revised(22, 9))).await;
    let late = Record {
        key: RecordKey::new(Kind(KIND.0 + 1), 1_u64),
        ..record(1)
    };
    create(&*store, late).await;
    store.append_log(vec![batch(1, 3)]).await.expect("appended");

    let size = taken.size();
    let mut rest = Whole::default();
    while let Some(part) = taken.next().await.expect("a part") {
        match part {
            SnapshotPart::Records(more) => records.extend(more),
            SnapshotPart::Log(more) => rest.log.extend(more),
            SnapshotPart::Jobs(more) => rest.jobs.extend(more),
            SnapshotPart::Sequences(_) => {}
        }
    }
    let expected: Vec<Record> = (1..=COUNT).map(|id| record(2 * id)).collect();
    assert_eq!(records, expected);
    let expected: Vec<Job> = (1..=COUNT).map(|id| job(1, 2 * id, 0)).collect();
    assert_eq!(rest.jobs, expected);
    assert_eq!(rest.log, [batch(1, 1)]);
    assert_eq!(size, 2 * COUNT + 1);
}

/// Sets committed while snapshots are taken are in them whole or not at all.
pub async fn a_snapshot_holds_no_half_set(store: Arc<dyn Store>) {
    let set = ChangeSet::default().create(record(1)).create(record(999));
    commit(&*store, set).await;
    let writer = store.clone();
    let writing = tokio::spawn(async move {
        for revision in 2..=60 {
            let set = ChangeSet::default()
                .update(revised(1, revision), revision - 1)
                .update(revised(999, revision), revision - 1)
                .put_job(job(1, revision, 0));
            commit(&*writer, set).await;
        }
    });
    while !writing.is_finished() {
        let whole = whole(snapshot(&*store).await).await;
        let revisions: Vec<u64> = whole.records.iter().map(|r| r.revision).collect();
        let [first, last] = revisions[..] else {
            panic!("two records are there, not {revisions:?}");
        };
        assert_eq!(first, last);
        assert_eq!(whole.jobs.len() as u64, first - 1);
    }
    writing.await.expect("no panic");
}

/// A snapshot that is not read to its end leaves the store as it was.
pub async fn a_dropped_snapshot_is_harmless(store: Arc<dyn Store>) {
    for id in 1..=20 {
        create(&*store, record(id)).await;
        let mut taken = snapshot(&*store).await;
        if id % 2 == 0 {
            taken.next().await.expect("a part");
        }
    }
    assert_eq!(whole(snapshot(&*store).await).await.records.len(), 20);
}
