//! How many statements, and so round trips, a call takes.

use dsm_core::store::{ChangeSet, Page, Query, Store as _};
use dsm_store_postgres::PostgresStore;
use dsm_test_servers::postgres::Postgres;

use crate::support::{KIND, Lent, create, key, open, operation, options, record, term};

/// The statements that were run since the mark.
fn since(server: &Postgres, mark: usize) -> Vec<String> {
    let log = server.log().unwrap();
    let statements = log[mark..]
        .lines()
        .filter(|line| line.contains("execute") || line.contains("statement:"));
    // The connection that listens asks now and then whether the server is there.
    let others = statements.filter(|line| !line.ends_with("SHOW transaction_read_only"));
    others.map(str::to_owned).collect()
}

fn mark(server: &Postgres) -> usize {
    server.log().unwrap().len()
}

#[tokio::test]
async fn every_read_and_every_commit_is_one_statement() {
    let server = Postgres::start_with(&["log_statement=all"]).unwrap();
    let options = options(&server.url()).max_connections(1);
    let store = PostgresStore::open(options).await.unwrap();
    for id in 1..=9 {
        create(&store, id).await.unwrap();
    }
    let query = Query::new(KIND).with(term(1));

    for round in 0..3 {
        let before = mark(&server);
        store.find(key(1)).await.unwrap().unwrap();
        assert_eq!(since(&server, before).len(), 1, "round {round}");
        let before = mark(&server);
        store.find_by(KIND, &term(1)).await.unwrap().unwrap();
        assert_eq!(since(&server, before).len(), 1, "round {round}");
        let before = mark(&server);
        store.list(&query, Page::first(5)).await.unwrap();
        assert_eq!(since(&server, before).len(), 1, "round {round}");
        let before = mark(&server);
        let set = ChangeSet::default()
            .create(record(100 + round))
            .delete(key(2 + round), 1)
            .check_at(key(1), 1)
            .named(operation(round));
        store.commit(set).await.unwrap();
        let statements = since(&server, before);
        assert_eq!(statements.len(), 1, "{statements:?}");
    }
    let all = server.log().unwrap();
    let after_opening = all.split("dsm.commit($1").nth(1).unwrap();
    assert!(!after_opening.contains("BEGIN ISOLATION"));
    assert!(!after_opening.contains("statement: BEGIN"));
    store.close().await;
}

#[tokio::test]
async fn thousands_of_changes_in_one_set_end_in_time() {
    const RECORDS: u64 = 5_000;
    let database = Lent::new();
    let store = open(database.url()).await;
    let ids = 0..RECORDS;
    let created = ids.clone().map(record);
    let set = created.fold(ChangeSet::default(), ChangeSet::create);
    store.commit(set).await.unwrap();
    let set = ids.clone().fold(ChangeSet::default(), |set, id| {
        let mut new = record(id + RECORDS);
        new.key = key(id);
        new.revision = 2;
        set.update(new, 1)
    });
    store.commit(set).await.unwrap();
    assert!(store.find_by(KIND, &term(0)).await.unwrap().is_none());
    let last = store.find_by(KIND, &term(2 * RECORDS - 1)).await.unwrap();
    assert_eq!(last.unwrap().key, key(RECORDS - 1));
    let set = ids.fold(ChangeSet::default(), |set, id| set.delete(key(id), 2));
    store.commit(set).await.unwrap();
    let left = database.sql("SELECT count(*) FROM dsm.term");
    assert_eq!(left.unwrap(), "0");
    store.close().await;
}
