//! Disks that fill up: nothing is revealed without its record, nothing is damaged, and service
//! comes back by itself when there is room.
//!
//! `DSM_CYCLES` (2) times each. Needs root, for small file systems in memory.

#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a run was and why it was not"
)]

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dsm_core::store::{ChangeSet, Kind, Record, RecordKey, Store as _, StoreError};
use dsm_core::time::Timestamp;
use dsm_store_sqlite::SqliteStore;
use dsm_tests::client::{Answer, Connection, request};
use dsm_tests::server::{Server, command};

fn cycles() -> u64 {
    std::env::var("DSM_CYCLES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2)
}

/// A file system of a few megabytes, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(&at).expect("a folder");
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&at)
            .output()
            .is_ok_and(|output| output.status.success());
        if mounted {
            return Some(Self(at));
        }
        assert!(
            std::env::var_os("CI").is_none(),
            "mounting a tmpfs needs root"
        );
        eprintln!("ignored: mounting a tmpfs needs root");
        None
    }

    /// Takes all the room there is; the file that has it.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = fs::File::create(&path).expect("a file");
        for size in [1 << 16, 1 << 12, 1 << 8, 1] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

struct Client {
    connection: Connection,
    bearer: String,
    identity: String,
}

impl Client {
    async fn new(server: &Server) -> Self {
        let token = server.token().await.expect("a token");
        let connection = Connection::open(server.addr()).await.expect("a connection");
        let identity = server.printed.identity.clone();
        Self {
            connection,
            bearer: format!("Bearer {token}"),
            identity,
        }
    }

    async fn read(&mut self) -> io::Result<Answer> {
        let path = format!("/iso/sctm/secret/{}", self.identity);
        let headers = [("Authorization", self.bearer.as_str())];
        self.connection
            .send(&request("GET", &path, &headers, b""))
            .await
    }

    async fn write(&mut self, identity: &str, value: &str) -> io::Result<Answer> {
        let body = format!(
            r#"{{"identity":"{identity}","name":"n","data":{{"key_value":{{"fields":{{"KEY":"{value}"}}}}}}}}"#
        );
        let headers = [
            ("Authorization", self.bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        let post = request("POST", "/iso/sctm/secret", &headers, body.as_bytes());
        self.connection.send(&post).await
    }

    /// Whether reads are answered again within the patience.
    async fn recovers(&mut self) -> bool {
        for _ in 0..200 {
            if self.read().await.is_ok_and(|answer| answer.status == 200) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_audit_disk_stops_every_answer_until_there_is_room() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(small) = Small::mount(folder.path().join("audit-disk"), 4) else {
        return;
    };
    let (data, audit) = (folder.path().join("data"), small.0.join("audit"));
    let set = format!("audit.dir={}", audit.display());
    let server = Server::quickstart_with(&data, &["--set", &set]).expect("the server starts");
    let mut client = Client::new(&server).await;
    let secret = client.read().await.expect("an answer").json()["secret"]["data"].to_string();
    let mut revealed = 1;
    for cycle in 0..cycles() {
        let filler = small.fill();
        // What was buffered before may still find room; soon nothing does.
        let mut refused = 0;
        for _ in 0..400 {
            let answer = client.read().await.expect("an answer");
            match answer.status {
                200 => revealed += 1,
                503 => {
                    refused += 1;
                    let text = String::from_utf8_lossy(&answer.body);
                    for value in secret_values(&secret) {
                        assert!(!text.contains(&value), "a refusal reveals");
                    }
                }
                _ => panic!("cycle {cycle}: {answer:?}"),
            }
            if refused == 20 {
                break;
            }
        }
        assert_eq!(refused, 20, "cycle {cycle}: the disk is full");
        let answer = client
            .write(&format!("full/c{cycle}"), "x")
            .await
            .expect("an answer");
        assert_eq!(
            answer.status, 503,
            "nothing is changed without its record: {answer:?}"
        );
        fs::remove_file(filler).expect("room again");
        assert!(client.recovers().await, "cycle {cycle}: service comes back");
        revealed += 1;
        let answer = client
            .write(&format!("full/c{cycle}"), "x")
            .await
            .expect("an answer");
        assert_eq!(answer.status, 201, "it was not made before: {answer:?}");
        // The writer gets back what it wrote, which is a read of its own.
        revealed += 1;
    }
    assert_eq!(server.stop().expect("stopped"), Some(0));
    let recorded = count_reads(&audit);
    assert!(
        recorded >= revealed,
        "{revealed} values left, {recorded} records"
    );
    let (data, set) = (data.display().to_string(), set.as_str());
    let output = command(&["audit", "verify", "--data-dir", &data, "--set", set]).output();
    let output = output.expect("runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_data_disk_loses_nothing_and_damages_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(small) = Small::mount(folder.path().join("data-disk"), 16) else {
        return;
    };
    let (data, audit) = (small.0.join("data"), folder.path().join("audit"));
    let set = format!("audit.dir={}", audit.display());
    let server = Server::quickstart_with(&data, &["--set", &set]).expect("the server starts");
    let mut client = Client::new(&server).await;
    let mut acknowledged = Vec::new();
    let large = "x".repeat(20_000);
    for cycle in 0..cycles() {
        let filler = small.fill();
        let mut refused = 0;
        for n in 0..400 {
            let identity = format!("c{cycle}/n{n}");
            let answer = client.write(&identity, &large).await.expect("an answer");
            match answer.status {
                201 => acknowledged.push(identity),
                503 => refused += 1,
                _ => panic!("cycle {cycle}: {answer:?}"),
            }
            if refused == 10 {
                break;
            }
        }
        assert_eq!(refused, 10, "cycle {cycle}: the disk is full");
        fs::remove_file(filler).expect("room again");
        assert!(client.recovers().await, "cycle {cycle}: reads come back");
        let identity = format!("c{cycle}/after");
        let mut status = 0;
        for _ in 0..100 {
            status = client
                .write(&identity, "x")
                .await
                .expect("an answer")
                .status;
            if matches!(status, 200 | 201) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(
            matches!(status, 200 | 201),
            "cycle {cycle}: writes come back, not {status}"
        );
        acknowledged.push(identity);
    }
    server.kill().expect("killed");
    let server = Server::quickstart_with(&data, &["--set", &set]).expect("it starts again");
    let mut client = Client::new(&server).await;
    for identity in acknowledged {
        client.identity = identity.clone();
        let answer = client.read().await.expect("an answer");
        assert_eq!(
            answer.status, 200,
            "{identity} was acknowledged: {answer:?}"
        );
    }
}

/// The store alone, without the server's patience around it: what it acknowledged is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_tells_of_a_full_disk_and_survives_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(small) = Small::mount(folder.path().join("store-disk"), 6) else {
        return;
    };
    let store = SqliteStore::open(small.0.join("store.db"))
        .await
        .expect("an empty store");
    let create = async |id: u64| {
        let record = Record {
            key: RecordKey::new(Kind(1), id),
            revision: 1,
            body: vec![7; 64 << 10],
            terms: Vec::new(),
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
        };
        store.commit(ChangeSet::default().create(record)).await
    };
    let ballast = small.0.join("ballast");
    fs::write(&ballast, vec![1; 256 << 10]).expect("room for it");
    let mut stored = 0;
    let refused = loop {
        match create(stored + 1).await {
            Ok(()) => stored += 1,
            Err(refused) => break refused,
        }
    };
    assert!(
        matches!(refused, StoreError::Unavailable { .. }),
        "{refused:?}"
    );
    fs::remove_file(&ballast).expect("room again");
    create(stored + 1).await.expect("service resumes");
    for id in 1..=stored + 1 {
        let found = store
            .find(RecordKey::new(Kind(1), id))
            .await
            .expect("it can be read");
        assert!(found.is_some(), "record {id} was acknowledged");
    }
    store.close().await;
}

fn secret_values(data: &str) -> Vec<String> {
    let data: serde_json::Value = serde_json::from_str(data).expect("data");
    let maps = data.as_array().expect("a list").iter();
    maps.flat_map(|map| map.as_object().expect("a map").values())
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}

fn count_reads(audit: &Path) -> u64 {
    let mut count = 0;
    for entry in fs::read_dir(audit).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "jsonl")
        {
            let text = fs::read_to_string(path).expect("a segment");
            let reads = text.lines().filter(|line| {
                line.contains("\"operation\":\"secret.read\"")
                    && line.contains("\"result\":\"allowed\"")
            });
            count += reads.count() as u64;
        }
    }
    count
}
