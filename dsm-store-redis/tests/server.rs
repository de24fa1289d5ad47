//! What is asked of a server at the start, and what it means when it has no room, is restarted or
//! speaks TLS.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dsm_core::store::{
    ChangeSet, Changed, OperationId, Page, Query, SchemaChanges, Store as _, StoreError,
};
use dsm_core::time::Timestamp;
use dsm_store_redis::{RedisOptions, RedisStore};
use dsm_test_servers::redis::{Redis, with_parameter};

use common::{KIND, chain, create, open, operation, record, server, start};

async fn refusal(server: &Redis) -> String {
    let error = open(&server.url()).await.expect_err("it is refused");
    assert!(matches!(error, StoreError::Backend { .. }), "{error:?}");
    error.source().expect("it says why").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_lose_data_are_refused() {
    for (setting, value, needed) in [
        ("appendonly", "no", "yes"),
        ("appendfsync", "everysec", "always"),
        ("no-appendfsync-on-rewrite", "yes", "no"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
    ] {
        let server = start(&[(setting, value)]);
        let told = refusal(&server).await;
        let asked = format!("set {setting} to {needed}");
        assert!(told.contains(&asked), "{told}");
        assert!(told.contains(&format!("{setting} {value}")), "{told}");

        let options = RedisOptions::parse(&server.url()).unwrap();
        let store = RedisStore::open(options.accept_data_loss(true)).await;
        store.unwrap().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_not_told_are_refused() {
    let server = start(&[]);
    let user = [
        "acl",
        "setuser",
        "app",
        "on",
        ">hunter2",
        "~{dsm}:*",
        "+@all",
        "-@dangerous",
        "+info",
        "+role",
    ];
    server.cli(&user).unwrap();
    let url = server.url().replace("//", "//app:hunter2@");
    let error = open(&url).await.expect_err("it is refused");
    let told = error.source().unwrap().to_string();
    assert!(told.contains("CONFIG GET"), "{told}");
    assert!(told.contains("--accept-data-loss"), "{told}");
    let options = RedisOptions::parse(&url).unwrap();
    let store = RedisStore::open(options.accept_data_loss(true))
        .await
        .unwrap();
    assert!(!format!("{store:?}").contains("hunter2"), "{store:?}");
    store.commit(create(1)).await.unwrap();
    store.close().await;

    let allowed = ["acl", "setuser", "app", "+config|get"];
    server.cli(&allowed).unwrap();
    let store = open(&url).await.unwrap();
    let mut changes = store.changes();
    store.commit(create(2)).await.unwrap();
    let changed = common::next(&mut changes).await;
    assert_eq!(changed, Changed::Record(record(2, 0).key));
    store.next_id(KIND).await.unwrap();
    store.probe().await.unwrap();
    drop(store.snapshot().await.unwrap());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_without_the_password() {
    let server = start(&[]);
    let set = ["config", "set", "requirepass", "hunter3"];
    server.cli(&set).unwrap();
    let url = server.url().replace("//", "//:hunter2@");
    let error = open(&url).await.expect_err("it is refused");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let told = chain(&error);
    assert!(told.contains("refuses the user name or password"), "{told}");
    assert!(!told.contains("hunter"), "{told}");
    let missing = open(&server.url()).await.expect_err("it is refused");
    assert!(chain(&missing).contains("password"), "{missing:?}");
    let store = open(&server.url().replace("//", "//:hunter3@")).await;
    store.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_told_at_once() {
    let mut server = start(&[]);
    server.kill9().unwrap();
    let error = open(&server.url()).await.expect_err("nobody is there");
    let told = error.to_string();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(told.contains("refuses connections"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_left_alone() {
    let server = start(&[]);
    open(&server.url()).await.unwrap().close().await;
    server.cli(&["set", "{dsm}:schema", "2"]).unwrap();
    let error = open(&server.url()).await.expect_err("it is refused");
    let newer = matches!(error, StoreError::NewerSchema { found: 2, known: 1 });
    assert!(newer, "{error:?}");
    assert_eq!(server.cli(&["get", "{dsm}:schema"]).unwrap().trim(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_server_stays_empty_unless_it_is_to_be_filled() {
    let server = start(&[]);
    let opened = async |changes| {
        let options = RedisOptions::parse(&server.url()).unwrap();
        RedisStore::open(options.schema(changes)).await
    };
    for changes in [SchemaChanges::Nothing, SchemaChanges::Update] {
        let error = opened(changes).await.expect_err("there is no store");
        let empty = matches!(error, StoreError::OlderSchema { found: 0, known: 1 });
        assert!(empty, "{changes:?}: {error:?}");
    }
    assert_eq!(server.cli(&["dbsize"]).unwrap().trim(), "0");
    opened(SchemaChanges::Make).await.unwrap().close().await;
    let store = opened(SchemaChanges::Nothing).await.unwrap();
    store.commit(create(1)).await.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_program_are_left_alone() {
    let server = start(&[]);
    server.cli(&["set", "{other}:records", "theirs"]).unwrap();
    open(&server.url()).await.unwrap().close().await;
    for key in ["{theirs}:records", "{unknown}:anything"] {
        server.cli(&["set", key, "theirs"]).unwrap();
        let prefix = &key[1..key.find('}').unwrap()];
        let url = with_parameter(&server.url(), "prefix", prefix);
        let error = open(&url).await.expect_err("it is refused");
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        let keys = server.cli(&["keys", &format!("{{{prefix}}}*")]).unwrap();
        assert_eq!(keys.trim(), key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_of_two_prefixes_do_not_meet() {
    let (one, two) = (server().fresh_url(), server().fresh_url());
    let (one, two) = (open(&one).await.unwrap(), open(&two).await.unwrap());
    one.commit(create(1)).await.unwrap();
    assert_eq!(two.find(record(1, 0).key).await.unwrap(), None);
    two.commit(create(1)).await.unwrap();
    one.close().await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_certificates_are_checked() {
    Redis::available().unwrap_or_else(|missing| panic!("{missing}"));
    let server = Redis::start_tls().unwrap();
    let store = open(&server.url()).await.unwrap();
    store.commit(create(1)).await.unwrap();
    let found = store.find(record(1, 0).key).await.unwrap();
    assert_eq!(found, Some(record(1, 10)));
    let mut changes = store.changes();
    store.commit(create(2)).await.unwrap();
    common::next(&mut changes).await;
    store.close().await;

    // Not trusted by the system.
    let untrusted = format!("rediss://127.0.0.1:{}/0", server.port());
    let error = open(&untrusted).await.expect_err("it is not trusted");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    // In clear.
    let clear = format!("redis://127.0.0.1:{}/0", server.port());
    let error = open(&clear).await.expect_err("it speaks TLS only");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
}

/// What a writer knows of its sets, of two records each, by the first id.
#[derive(Debug, Default)]
struct Known {
    done: Vec<u64>,
    not_done: Vec<u64>,
}

/// Commits sets until told to stop, and asks about those whose answer was lost.
async fn write(store: Arc<RedisStore>, writer: u8, stop: Arc<AtomicBool>) -> Known {
    let mut known = Known::default();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let first = (u64::from(writer) << 32) + 2 * number;
        let mut name = [writer; 10];
        name[..8].copy_from_slice(&first.to_le_bytes());
        let operation = OperationId::new(Timestamp::UNIX_EPOCH, name);
        let set = create(first).create(record(first + 1, 10));
        let done = match store.commit(set.named(operation)).await {
            Ok(()) => true,
            Err(StoreError::Unavailable { .. }) => false,
            Err(StoreError::OutcomeUnknown { .. }) => loop {
                if let Ok(done) = store.resolve(operation).await {
                    break done;
                }
            },
            Err(error) => panic!("{error:?}"),
        };
        if done {
            known.done.push(first);
        } else {
            known.not_done.push(first);
            // Until it is back there is nothing to be learned by trying.
            while store.probe().await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    }
    known
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_under_writers_lose_nothing_and_tear_nothing() {
    const KILLS: u64 = 6;
    let mut server = start(&[]);
    let store = Arc::new(open(&server.url()).await.unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|writer| tokio::spawn(write(store.clone(), writer, stop.clone())))
        .collect();
    let mut changes = store.changes();
    for kill in 0..KILLS {
        // Some sets, and then in the middle of others.
        for _ in 0..100 * (kill + 1) {
            common::next(&mut changes).await;
        }
        server.kill9().unwrap();
        server.start_again().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let (mut done, mut not_done) = (0, 0);
    for writer in writers {
        let known = writer.await.unwrap();
        for first in &known.done {
            for id in [*first, first + 1] {
                let found = store.find(record(id, 0).key).await.unwrap();
                assert_eq!(found, Some(record(id, 10)), "an acknowledged one is lost");
            }
        }
        for first in &known.not_done {
            for id in [*first, first + 1] {
                let found = store.find(record(id, 0).key).await.unwrap();
                assert_eq!(found, None, "one that was told not to be there is");
            }
        }
        done += known.done.len();
        not_done += known.not_done.len();
    }
    eprintln!("{KILLS} kills: {done} sets done, {not_done} not");
    let all = store.list(&Query::new(KIND), Page::first(1 << 20)).await;
    assert_eq!(all.unwrap().records.len(), 2 * done);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_script_cache_is_filled_again() {
    let url = server().fresh_url();
    let store = open(&url).await.unwrap();
    store.commit(create(1)).await.unwrap();
    server().cli(&["script", "flush"]).unwrap();
    store.commit(create(2)).await.unwrap();
    server().cli(&["script", "flush"]).unwrap();
    let found = store.find_by(KIND, &common::term(2)).await.unwrap();
    assert_eq!(found, Some(record(2, 10)));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_end_at_the_largest() {
    let store = open(&server().fresh_url()).await.unwrap();
    let largest = i64::MAX.unsigned_abs();
    // Beyond 2^53 the numbers of a script would not be exact.
    let far = (1 << 60) + 1;
    store.advance_ids(KIND, far).await.unwrap();
    store.advance_ids(KIND, far - 1).await.unwrap();
    assert_eq!(store.next_id(KIND).await.unwrap(), far + 1);
    store.advance_ids(KIND, largest - 2).await.unwrap();
    assert_eq!(store.next_id(KIND).await.unwrap(), largest - 1);
    assert_eq!(store.next_id(KIND).await.unwrap(), largest);
    let error = store.next_id(KIND).await.expect_err("there is none left");
    assert!(matches!(error, StoreError::Backend { .. }), "{error:?}");
    let error = store.advance_ids(KIND, largest + 1).await;
    assert!(
        matches!(error, Err(StoreError::Backend { .. })),
        "{error:?}"
    );
    store.close().await;
}

fn no_room(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable { reason, .. }) if reason.contains("no room"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_without_room_is_refused_whole() {
    let server = start(&[("maxmemory", "6mb")]);
    let store = open(&server.url()).await.unwrap();
    let mut stored = 0;
    let refused = loop {
        let first = 3 * stored;
        let set = (first..first + 3).fold(ChangeSet::default(), |set, id| {
            set.create(record(id, 20_000))
        });
        match store.commit(set.named(operation(1))).await {
            Ok(()) => stored += 1,
            refused => break refused,
        }
        // The name is free again, so that the set that is refused can be asked about.
        server
            .cli(&["del", &format!("{{dsm}}:operation:{}", operation(1))])
            .unwrap();
    };
    assert!(no_room(&refused), "{refused:?}");
    assert!(stored > 5, "{stored}");
    assert!(!store.resolve(operation(1)).await.unwrap());
    let all = store.list(&Query::new(KIND), Page::first(9_999)).await;
    assert_eq!(all.unwrap().records.len() as u64, 3 * stored);
    // What the refused set itself took is free again, which may be just enough for a probe.
    server.cli(&["config", "set", "maxmemory", "5mb"]).unwrap();
    assert!(no_room(&store.probe().await));
    for id in 3 * stored..3 * stored + 3 {
        assert_eq!(store.find(record(id, 0).key).await.unwrap(), None);
        let term = common::term(id);
        assert_eq!(store.find_by(KIND, &term).await.unwrap(), None);
    }

    // What makes room is let through.
    let set = (0..3 * stored / 2).fold(ChangeSet::default(), |set, id| {
        set.delete(record(id, 0).key, 1)
    });
    store.commit(set).await.unwrap();
    store.commit(create(99_999)).await.unwrap();
    store.probe().await.unwrap();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_stops_a_set_before_it_begins() {
    let server = start(&[]);
    let store = open(&server.url()).await.unwrap();
    store.commit(create(1)).await.unwrap();
    store.commit(create(2)).await.unwrap();

    // Kind 3 and id 2; revision 1 and nothing else, or more terms than there are bytes.
    let key = r"'\0\3\0\0\0\0\0\0\0\2'";
    for damage in [
        r"'\0\0\0\0\0\0\0\1'",
        r"'\0\0\0\0\0\0\0\1' .. string.rep('\255', 21)",
    ] {
        let script = format!("return redis.call('HSET', KEYS[1], {key}, {damage})");
        server
            .cli(&["eval", &script, "1", "{dsm}:records"])
            .unwrap();
        let set = ChangeSet::default()
            .delete(record(1, 0).key, 1)
            .delete(record(2, 0).key, 1)
            .create(record(3, 10));
        let refused = store.commit(set).await;
        assert!(
            matches!(refused, Err(StoreError::Corrupt(_))),
            "{refused:?}"
        );
        let found = store.find_by(KIND, &common::term(1)).await.unwrap();
        assert_eq!(found, Some(record(1, 10)));
        assert_eq!(store.find(record(3, 0).key).await.unwrap(), None);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_vanished_is_not_begun_anew() {
    let server = start(&[]);
    let store = open(&server.url()).await.unwrap();
    store.commit(create(1)).await.unwrap();
    store.next_id(KIND).await.unwrap();
    let mut changes = store.changes();
    server.cli(&["flushall"]).unwrap();
    let vanished = |error: StoreError| {
        let told = error.to_string();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{told}");
        assert!(told.contains("the store has vanished"), "{told}");
    };
    vanished(store.commit(create(1)).await.expect_err("a commit"));
    vanished(store.advance_ids(KIND, 9).await.expect_err("numbers"));
    assert_eq!(common::next(&mut changes).await, Changed::Unknown);
    vanished(store.find(record(1, 0).key).await.expect_err("a read"));
    assert_eq!(server.cli(&["dbsize"]).unwrap().trim(), "0");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_asked_for_again_by_every_connection() {
    let server = start(&[]);
    let store = open(&server.url()).await.unwrap();
    store.commit(create(1)).await.unwrap();
    let mut changes = store.changes();
    let set = ["config", "set", "appendfsync", "everysec"];
    server.cli(&set).unwrap();
    server.cli(&["client", "kill", "type", "normal"]).unwrap();
    assert_eq!(common::next(&mut changes).await, Changed::Unknown);
    let error = loop {
        match store.commit(create(2)).await {
            Err(StoreError::Unavailable { .. } | StoreError::OutcomeUnknown { .. }) => {}
            other => break other.expect_err("it is refused"),
        }
    };
    let told = error.source().expect("it says why").to_string();
    assert!(told.contains("set appendfsync to always"), "{told}");
    store.close().await;
}
