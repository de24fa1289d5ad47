use dsm_core::store::Store as _;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use super::*;
use crate::{OpenOptions, SqliteStore};

#[tokio::test]
async fn a_lookup_by_a_unique_term_takes_two_searches() {
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions::new(folder.path().join("store.db"));
    let store = SqliteStore::open(options.clone()).await.unwrap();
    let mut connection = options.reading().connect().await.unwrap();
    let sql = lookups(&[(Kind(1), Term([1; 16]))]);
    let explained = format!("EXPLAIN QUERY PLAN {}", sql.sql().as_str());
    let plan = sqlx::query(AssertSqlSafe(explained)).fetch_all(&mut connection);
    let plan: Vec<String> = plan
        .await
        .unwrap()
        .iter()
        .map(|row| row.get("detail"))
        .collect();
    assert_eq!(
        plan,
        [
            "SEARCH unique_term USING PRIMARY KEY (kind=? AND term=?)",
            "SEARCH record USING INTEGER PRIMARY KEY (rowid=?)",
        ]
    );
    store.close().await;
}
