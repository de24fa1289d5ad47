//! What rotations cost over SQLite: claiming what is due among few and many scheduled secrets, and
//! how many rotations a second one worker gets done.
#![allow(clippy::print_stdout, reason = "what it measures is for a reader")]

use std::sync::Arc;

use dsm_core::testing::rotation::{claim_cost, rotations_per_second};
use dsm_store_sqlite::SqliteStore;

async fn store(folder: &tempfile::TempDir) -> SqliteStore {
    let path = folder.path().join("store.db");
    SqliteStore::open(path).await.expect("the store opens")
}

#[tokio::main]
async fn main() {
    let mut costs = Vec::new();
    for scheduled in [1_000, 100_000] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cost = claim_cost(&store(&folder).await, scheduled).await;
        println!("claim of 16 among {scheduled:>7}: {cost:?}");
        costs.push(cost.as_secs_f64());
    }
    println!("ratio: {:.2}", costs[1] / costs[0]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rate = rotations_per_second(Arc::new(store(&folder).await), 2_000, 64).await;
    println!("rotations: {rate:.0} a second");
}
