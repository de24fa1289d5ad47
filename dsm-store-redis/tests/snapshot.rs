//! Snapshots under writes, several at a time, and what they leave behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dsm_core::store::{
    ChangeSet, Job, JobKey, Kind, Page, Query, Record, RecordKey, Settlement, Snapshot,
    SnapshotPart, Store as _, StoreError, StoreExt as _, Topic,
};
use dsm_core::time::Timestamp;
use dsm_store_redis::RedisStore;
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use common::{KIND, create, open, record, server, start};

const RECORDS: u64 = 3_000;
const TOPIC: Topic = Topic(1);

type Content = (BTreeMap<RecordKey, Record>, BTreeMap<JobKey, Job>);

async fn whole(snapshot: &mut dyn Snapshot) -> Result<Content, StoreError> {
    let (mut records, mut jobs) = (BTreeMap::new(), BTreeMap::new());
    while let Some(part) = snapshot.next().await? {
        match part {
            SnapshotPart::Records(part) => records.extend(part.into_iter().map(|r| (r.key, r))),
            SnapshotPart::Jobs(part) => jobs.extend(part.into_iter().map(|job| (job.key, job))),
            _ => {}
        }
    }
    Ok((records, jobs))
}

/// What the listings show.
async fn listed(store: &RedisStore) -> Content {
    let mut records = BTreeMap::new();
    for kind in [KIND, Kind(KIND.0 + 1)] {
        let page = store
            .list(&Query::new(kind), Page::first(99_999))
            .await
            .unwrap();
        records.extend(page.records.into_iter().map(|record| (record.key, record)));
    }
    let jobs = store.list_jobs(&[TOPIC], 99_999).await.unwrap();
    (
        records,
        jobs.into_iter().map(|job| (job.key, job)).collect(),
    )
}

fn job(subject: u64, due: i64) -> Job {
    Job {
        key: JobKey {
            topic: TOPIC,
            subject,
        },
        due_at: Timestamp::from_timestamp_nanos(due * 1_000),
        body: vec![1],
    }
}

/// One change of a record and of a job at random, as the present state allows it.
async fn change(store: &RedisStore, random: &mut TestRng, present: &mut BTreeMap<RecordKey, u64>) {
    let kind = Kind(KIND.0 + u16::from(random.next_u32().is_multiple_of(5)));
    let id = random.next_u64() % (RECORDS * 2);
    let key = RecordKey::new(kind, id);
    let new = |revision| Record {
        key,
        revision,
        ..record(id, random_size(revision))
    };
    let subject = random.next_u64() % 500;
    let set = match (present.get(&key).copied(), random.next_u32() % 3) {
        (None, _) => {
            present.insert(key, 1);
            ChangeSet::default().create(new(1))
        }
        (Some(at), 0) => {
            present.remove(&key);
            ChangeSet::default().delete(key, at)
        }
        (Some(at), _) => {
            present.insert(key, at + 1);
            ChangeSet::default().update(new(at + 1), at)
        }
    };
    let set = if random.next_u32().is_multiple_of(3) {
        set.remove_job(job(subject, 0).key)
    } else {
        set.put_job(job(subject, i64::from(random.next_u32() >> 8)))
    };
    store.commit(set).await.unwrap();
    if random.next_u32().is_multiple_of(8) {
        let now = Timestamp::from_timestamp_nanos(i64::MAX);
        let leases = store
            .claim_due(&[TOPIC], now, std::time::Duration::ZERO, 1)
            .await;
        if let Some(lease) = leases.unwrap().pop() {
            let retry = Settlement::RetryAt(job(0, 7).due_at);
            store.settle(&lease, retry).await.unwrap();
        }
    }
}

fn random_size(revision: u64) -> usize {
    usize::try_from(revision * 37 % 200).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_under_a_random_writer_show_their_beginning() {
    let store = Arc::new(open(&server().fresh_url()).await.unwrap());
    let set = (0..RECORDS).fold(ChangeSet::default(), |set, n| {
        set.create(record(2 * n, 50))
            .put_job(job(n % 500 + 1_000 * (n / 500), 1))
    });
    store.commit(set).await.unwrap();
    let seed = [7; 32];
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut present: BTreeMap<RecordKey, u64> =
        (0..RECORDS).map(|n| (record(2 * n, 0).key, 1)).collect();

    for round in 0..3 {
        // Three at a time, begun at different states.
        let mut taken = Vec::new();
        for _ in 0..3 {
            for _ in 0..100 {
                change(&store, &mut random, &mut present).await;
            }
            let expected = listed(&store).await;
            let snapshot = store.snapshot().await.unwrap();
            let size = (expected.0.len() + expected.1.len()) as u64;
            assert_eq!(snapshot.size(), size, "round {round}");
            taken.push((expected, snapshot));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let writer = tokio::spawn({
            let (store, stop) = (store.clone(), stop.clone());
            let mut random = random.clone();
            let mut present = present.clone();
            async move {
                let mut changes = 0;
                while !stop.load(Ordering::Relaxed) {
                    change(&store, &mut random, &mut present).await;
                    changes += 1;
                }
                (random, present, changes)
            }
        });
        for (expected, mut snapshot) in taken {
            let found = whole(&mut *snapshot).await.unwrap();
            assert!(
                found == expected,
                "round {round}: the snapshot shows another state"
            );
        }
        stop.store(true, Ordering::Relaxed);
        let changes;
        (random, present, changes) = writer.await.unwrap();
        eprintln!("round {round}: {changes} sets while three snapshots were read");
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_leaves_nothing_behind() {
    let server = start(&[]);
    let store = open(&server.url()).await.unwrap();
    store.commit(create(1)).await.unwrap();
    let snapshots = || server.cli(&["keys", "{dsm}:snapshot*"]).unwrap();
    let mut taken = store.snapshot().await.unwrap();
    let set = ChangeSet::default().delete(record(1, 0).key, 1);
    store.commit(set.put_job(job(1, 1))).await.unwrap();
    for key in snapshots().lines().filter(|key| *key != "{dsm}:snapshots") {
        let rest = server.cli(&["pttl", key]).unwrap();
        assert!(rest.trim().parse::<i64>().unwrap() > 0, "{key}: {rest}");
    }
    assert!(snapshots().contains(":records-order"), "{}", snapshots());
    taken.next().await.unwrap();
    drop(taken);
    while !snapshots().trim().is_empty() {
        tokio::task::yield_now().await;
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_was_left_alone_too_long_is_told() {
    let server = start(&[]);
    let store = open(&server.url()).await.unwrap();
    for id in 1..=600 {
        store.commit(create(id)).await.unwrap();
    }
    let mut taken = store.snapshot().await.unwrap();
    taken.next().await.unwrap();
    // As its time-out does.
    let names = server.cli(&["smembers", "{dsm}:snapshots"]).unwrap();
    let key = format!("{{dsm}}:snapshot:{}", names.trim());
    assert_eq!(server.cli(&["del", &key]).unwrap().trim(), "1");
    let error = taken.next().await.expect_err("it is gone");
    assert!(
        error.to_string().contains("not read for too long"),
        "{error}"
    );
    // The next commit forgets it.
    store.commit(create(601)).await.unwrap();
    assert_eq!(
        server.cli(&["scard", "{dsm}:snapshots"]).unwrap().trim(),
        "0"
    );
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_snapshots_are_refused() {
    let store = open(&server().fresh_url()).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..8 {
        taken.push(store.snapshot().await.unwrap());
    }
    let error = store.snapshot().await.expect_err("there are eight");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    taken.pop();
    while store.snapshot().await.is_err() {
        tokio::task::yield_now().await;
    }
    store.close().await;
}
