use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use data_encoding::BASE64;
use dsm_core::crypto::{KeyFile, KeyProvider as _};
use dsm_core::vault::Vault;
use dsm_store_sqlite::SqliteStore;

use crate::harness::{Client, Line, PATIENCE, Place};

/// Reads and writes until told to stop; returns how often.
fn load(line: &Line, stop: &Arc<AtomicBool>, count: &Arc<AtomicU32>) {
    let client = Client::new(&line.url);
    let token = client.token(line);
    let path = format!("/iso/sctm/secret/{}", line.identity);
    while !stop.load(Ordering::Relaxed) {
        let (status, body) = client.get(&path, &token);
        assert_eq!(status, 200, "{body}");
        let number = count.fetch_add(1, Ordering::Relaxed);
        let identity = format!("load/{number}");
        let data = BASE64.encode(br#"{"key_value":{"fields":{"A":"b"}}}"#);
        let form = [("identity", &*identity), ("name", "load"), ("data", &data)];
        let (status, body) = client.post("/iso/sctm/secret", &token, &form);
        assert!(matches!(status, 200 | 201), "{body}");
    }
}

#[tokio::test]
async fn the_key_is_rotated_while_requests_go_on() {
    let place = Place::new();
    let (process, line) = place.quickstart();
    let client = Client::new(&line.url);
    let password = client.password(&line);
    let first = KeyFile::new(place.key()).load().expect("a key");

    let (stop, count) = (Arc::default(), Arc::default());
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (line, stop, count) = (line.clone(), Arc::clone(&stop), Arc::clone(&count));
            std::thread::spawn(move || load(&line, &stop, &count))
        })
        .collect();
    while count.load(Ordering::Relaxed) < 20 {
        std::thread::yield_now();
    }
    let rotated = place.run(&["key", "rotate"]).succeeded();
    let before = count.load(Ordering::Relaxed);
    while count.load(Ordering::Relaxed) < before + 20 {
        std::thread::yield_now();
    }
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("every request was answered");
    }
    assert!(rotated.out.contains("0 are left under older keys"));
    assert!(rotated.err.contains("wrapped anew"), "progress");
    assert_eq!(client.get("/readyz", "").0, 200);
    process.kill();

    let keys = KeyFile::new(place.key()).load().expect("keys");
    assert_ne!(keys.active().id(), first.active().id());
    assert!(keys.find(first.active().id()).is_some());
    let (process, line) = place.quickstart();
    assert_eq!(Client::new(&line.url).password(&line), password);
    process.stop();

    // What the server wrote after the rotation is under the new key as well.
    let store = SqliteStore::open(place.database()).await.expect("a store");
    let vault = Vault::builder(store, KeyFile::new(place.key()))
        .open()
        .await;
    let vault = vault.expect("a vault");
    let left = vault.count_not_under(keys.active().id()).await;
    assert_eq!(left.expect("counted"), 0);
    let all = vault.count_not_under(first.active().id()).await;
    assert!(all.expect("counted") > 40, "the count counts");
    vault.close().await;
}

#[tokio::test]
async fn a_server_without_requests_notices_the_new_key() {
    let place = Place::new();
    place.run(&["init"]).succeeded();
    let store = SqliteStore::open(place.database()).await.expect("a store");
    let idle = Vault::builder(store, KeyFile::new(place.key()))
        .open()
        .await;
    let idle = idle.expect("a vault");
    let before = idle.root_key();
    place.run(&["key", "rotate"]).succeeded();
    let active = KeyFile::new(place.key())
        .load()
        .expect("keys")
        .active()
        .id();
    assert_ne!(active, before);
    let noticed = async {
        while idle.root_key() != active {
            tokio::task::yield_now().await;
        }
    };
    let noticed = tokio::time::timeout(PATIENCE, noticed).await;
    noticed.expect("it still seals under the old key");
    idle.close().await;
}

#[test]
fn keys_of_the_environment_are_rotated_in_two_steps() {
    let place = Place::new();
    let other = Place::new();
    for place in [&place, &other] {
        place.run(&["init"]).succeeded();
    }
    let key = |place: &Place| {
        let text = fs::read_to_string(place.key()).expect("a key file");
        let line = text.lines().find(|line| !line.starts_with('#'));
        line.expect("a key").to_owned()
    };
    let (old, new) = (key(&place), key(&other));
    fs::remove_file(place.key()).expect("the key");
    let run = |keys: &str, arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("DSM_ROOT_KEY", "env:ROOT").env("ROOT", keys);
        let output = command.output().expect("the program");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        (output.status.code(), said)
    };
    let (code, said) = run(&old, &["key", "rotate"]);
    assert_eq!(code, Some(78));
    assert!(said.contains("--rewrap-only"), "{said}");
    let both = format!("{new},{old}");
    let (code, said) = run(&both, &["key", "rotate", "--rewrap-only"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(run(&both, &["check"]).0, Some(0));
    let (code, said) = run(&old, &["serve"]);
    assert_eq!(code, Some(78), "the old key alone is not enough: {said}");
}
