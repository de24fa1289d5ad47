//! A process that is killed while it writes.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use dsm_core::store::{ChangeSet, Kind, Page, Query, Record, RecordKey, Store as _};
use dsm_core::time::Timestamp;
use dsm_store_sqlite::{OpenOptions, SqliteStore};
use futures_util::future::select_all;

const KIND: Kind = Kind(1);
const PATH: &str = "DSM_TEST_CRASH_PATH";
/// Records of one set.
const SET: u64 = 4;

fn record(id: u64) -> Record {
    Record {
        key: RecordKey::new(KIND, id),
        revision: 1,
        body: vec![7; 500],
        terms: vec![],
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that `acknowledged_sets_survive_a_killed_process` starts and kills"]
async fn writes_until_killed() {
    let path = env::var_os(PATH).expect("started with a path");
    let options = OpenOptions::new(path).serve(true);
    let store = std::sync::Arc::new(SqliteStore::open(options).await.unwrap());
    let writers = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                let number = store.next_id(KIND).await.unwrap();
                let ids = number * SET..(number + 1) * SET;
                let set = ids.fold(ChangeSet::default(), |set, id| set.create(record(id)));
                store.commit(set).await.unwrap();
                println!("\nacknowledged {number}");
            }
        })
    });
    // Only a failure ends one of them.
    let (ended, ..) = select_all(writers).await;
    ended.unwrap();
}

#[tokio::test]
async fn acknowledged_sets_survive_a_killed_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut acknowledged = Vec::new();
    for round in 1..=3 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "writes_until_killed", "--ignored", "--nocapture"])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let lines = output.lines().map_while(Result::ok);
        let mut numbers = lines.filter_map(|line| {
            let number = line.strip_prefix("acknowledged ")?.parse::<u64>();
            Some(number.expect("a line is written whole"))
        });
        acknowledged.extend(numbers.by_ref().take(40 * round));
        child.kill().unwrap();
        // What was written to the pipe before the end was acknowledged as well.
        acknowledged.extend(numbers);
        child.wait().unwrap();

        // The lock went with the process.
        let options = OpenOptions::new(&path).serve(true);
        let store = SqliteStore::open(options).await.unwrap();
        let query = Query::new(KIND).oldest_first();
        let page = store.list(&query, Page::first(1_000_000)).await.unwrap();
        let ids: Vec<u64> = page.records.iter().map(|record| record.key.id).collect();
        assert!(acknowledged.len() >= 40 * round);
        for number in &acknowledged {
            assert!(
                ids.binary_search(&(number * SET)).is_ok(),
                "{number} was lost"
            );
        }
        let sets = ids.chunk_by(|a, b| a / SET == b / SET);
        assert!(
            sets.clone().all(|set| set.len() as u64 == SET),
            "half of a set"
        );
        let last = ids.last().unwrap() / SET;
        assert!(store.next_id(KIND).await.unwrap() > last);
        store.close().await;
    }
}
