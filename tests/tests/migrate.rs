//! A vault goes around all stores by the program, killed on the way, and comes back as it was.
//!
//! `DSM_RECORDS` (3,000) records in all, of secrets with three versions each.

#![allow(clippy::print_stdout, reason = "what a run was")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use dsm_core::store::Store;
use dsm_core::transfer::{self, Contents};
use dsm_store_sqlite::SqliteStore;
use dsm_test_servers::postgres::Postgres;
use dsm_test_servers::redis::Redis;
use dsm_tests::fill::fill;
use dsm_tests::server::command;

const VERSIONS: usize = 3;
/// A secret, its attachment and its versions.
const RECORDS_EACH: usize = 2 + VERSIONS;

fn records() -> usize {
    let text = std::env::var("DSM_RECORDS").unwrap_or_default();
    text.parse().unwrap_or(3_000)
}

/// Kills the migration when this share of it is done; tells whether it came to that.
fn killed_at(from: &str, to: &str, share: u64) -> bool {
    let mut child = command(&["migrate", "--from", from, "--to", to])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut came = false;
    for line in stderr.lines().map_while(Result::ok) {
        let Some((done, total)) = line.split_once(" of ") else {
            continue;
        };
        let (Ok(done), Ok(total)) = (done.parse::<u64>(), total.parse::<u64>()) else {
            continue;
        };
        if done * 100 >= total * share && done < total {
            came = true;
            break;
        }
    }
    child.kill().expect("it can be killed");
    let status = child.wait().expect("it ended");
    came && !status.success()
}

/// Migrates to the end and gives what was printed.
fn migrated(from: &str, to: &str) -> String {
    let output = command(&["migrate", "--from", from, "--to", to]).output();
    let output = output.expect("the program runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn contents(path: &Path) -> Contents {
    let store = SqliteStore::open(path).await.expect("the file opens");
    let mut snapshot = store.snapshot().await.expect("a snapshot");
    let to = dsm_core::store::MemoryStore::new();
    let origin = transfer::origin_of(&store).await.expect("a vault");
    let copied = transfer::copy(&mut *snapshot, origin, &to, |_| ()).await;
    store.close().await;
    copied.expect("copied")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_goes_around_all_stores_and_is_killed_on_the_way() {
    for available in [Postgres::available(), Redis::available()] {
        if !dsm_test_servers::is_there(available) {
            return;
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (first, last) = (
        folder.path().join("first.db"),
        folder.path().join("last.db"),
    );
    let filled = fill(records() / RECORDS_EACH, VERSIONS).await;
    let filled = filled.expect("a filled vault");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&*first).await.expect("a file"));
    let origin = transfer::origin_of(&*filled.store).await.expect("a vault");
    let mut snapshot = filled.store.snapshot().await.expect("a snapshot");
    let before = transfer::copy(&mut *snapshot, origin, &*store, |_| ()).await;
    let before = before.expect("copied");
    store.close().await;
    drop(filled);

    let (postgres, redis) = (Postgres::start(), Redis::start());
    let (postgres, redis) = (postgres.expect("started"), redis.expect("started"));
    let database = postgres.database().expect("a database");
    let way = [
        format!("sqlite:{}", first.display()),
        database.url().to_owned(),
        redis.fresh_url(),
        format!("sqlite:{}", last.display()),
    ];
    let mut kills = 0;
    for leg in way.windows(2) {
        let (from, to) = (&leg[0], &leg[1]);
        for share in [25, 60] {
            kills += u32::from(killed_at(from, to, share));
        }
        let started = Instant::now();
        let told = migrated(from, to);
        let scheme = |url: &str| url.split(':').next().unwrap_or_default().to_owned();
        println!(
            "{} to {} after two kills: {:.1?}; {}",
            scheme(from),
            scheme(to),
            started.elapsed(),
            told.lines().next().unwrap_or_default()
        );
    }
    assert!(kills >= 2, "only {kills} kills came in time");
    let after = contents(&last).await;
    assert_eq!(after, before, "what came back is what was sent");
    println!("{before}, {kills} kills: digests equal");
}
