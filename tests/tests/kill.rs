//! A server that is killed in the middle loses nothing that it acknowledged and tears nothing.
//!
//! `DSM_CYCLES` (3) kills with `DSM_WRITERS` (8) writers.

#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a run was and why it was not"
)]

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dsm_tests::client::{self, Connection, request};
use dsm_tests::server::{Server, command};

fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

/// What a writer knows: what was acknowledged, and the one write whose end it did not see.
#[derive(Default)]
struct Written {
    acknowledged: BTreeMap<String, String>,
    unknown: Vec<(String, String)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_no_acknowledged_write_and_tear_none() {
    let (cycles, writers) = (setting("DSM_CYCLES", 3), setting("DSM_WRITERS", 8));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let mut all = Written::default();
    let mut ready = Vec::new();
    for cycle in 0..cycles {
        let started = Instant::now();
        let server = Server::quickstart(&data).expect("the server starts");
        server
            .ready(Duration::from_secs(20))
            .await
            .expect("it gets ready");
        if cycle > 0 {
            ready.push(started.elapsed());
        }
        let token = server.token().await.expect("a token");
        check(server.addr(), &token, &all.acknowledged, &mut all.unknown).await;
        all.acknowledged.clear();

        let count = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = (0..writers)
            .map(|writer| {
                let (addr, token, count) = (server.addr(), token.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    write_until_killed(addr, &token, &format!("c{cycle}/w{writer}"), &count).await
                })
            })
            .collect();
        // Killed while writes are under way: after a number of them that differs by cycle.
        let enough = 60 + 40 * (cycle % 5);
        while count.load(Ordering::Relaxed) < enough {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.kill().expect("killed");
        for task in tasks {
            let written = task.await.expect("a writer ends");
            all.acknowledged.extend(written.acknowledged);
            all.unknown.extend(written.unknown);
        }
    }
    let server = Server::quickstart(&data).expect("the server starts");
    let token = server.token().await.expect("a token");
    check(server.addr(), &token, &all.acknowledged, &mut all.unknown).await;
    assert_eq!(server.stop().expect("stopped"), Some(0));
    verify_trail(&data);
    ready.sort();
    let total = TOTAL.load(Ordering::Relaxed);
    println!(
        "{cycles} kills, {total} acknowledged writes: 0 lost, 0 torn; ready again after {:?} (median), {:?} (worst)",
        ready.get(ready.len() / 2),
        ready.last(),
    );
}

static TOTAL: AtomicU64 = AtomicU64::new(0);

async fn write_until_killed(
    addr: SocketAddr,
    token: &str,
    prefix: &str,
    count: &AtomicU64,
) -> Written {
    let mut written = Written::default();
    let Ok(mut connection) = Connection::open(addr).await else {
        return written;
    };
    for n in 0.. {
        let identity = format!("{prefix}/n{n}");
        let value = format!("value of {identity}");
        let bearer = format!("Bearer {token}");
        let body = format!(
            r#"{{"identity":"{identity}","name":"{identity}","data":{{"key_value":{{"fields":{{"KEY":"{value}"}}}}}}}}"#
        );
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        let post = request("POST", "/iso/sctm/secret", &headers, body.as_bytes());
        let Ok(answer) = connection.send(&post).await else {
            written.unknown.push((identity, value));
            break;
        };
        assert_eq!(answer.status, 201, "{answer:?}");
        written.acknowledged.insert(identity, value);
        count.fetch_add(1, Ordering::Relaxed);
        TOTAL.fetch_add(1, Ordering::Relaxed);
    }
    written
}

/// Everything acknowledged is there, and what has an unknown end is there whole or not at all.
async fn check(
    addr: SocketAddr,
    token: &str,
    acknowledged: &BTreeMap<String, String>,
    unknown: &mut Vec<(String, String)>,
) {
    let mut connection = Connection::open(addr).await.expect("a connection");
    for (identity, value) in acknowledged {
        let found = read(&mut connection, token, identity)
            .await
            .expect("an answer");
        assert_eq!(
            found.as_deref(),
            Some(value.as_str()),
            "{identity} was acknowledged"
        );
    }
    for (identity, value) in unknown.drain(..) {
        let found = read(&mut connection, token, &identity)
            .await
            .expect("an answer");
        assert!(
            found.is_none_or(|found| found == value),
            "{identity} is torn"
        );
    }
}

async fn read(
    connection: &mut Connection,
    token: &str,
    identity: &str,
) -> io::Result<Option<String>> {
    let bearer = format!("Bearer {token}");
    let path = format!("/iso/sctm/secret/{identity}");
    let answer = connection
        .send(&request("GET", &path, &[("Authorization", &bearer)], b""))
        .await?;
    match answer.status {
        200 => {
            let value = answer.json()["secret"]["data"][0]["KEY"]
                .as_str()
                .map(str::to_owned);
            assert!(value.is_some(), "{identity} is there without its value");
            Ok(value)
        }
        404 => Ok(None),
        _ => panic!("{identity}: {answer:?}"),
    }
}

fn verify_trail(data: &Path) {
    let data = data.to_str().expect("a path in UTF-8");
    let output = command(&["audit", "verify", "--data-dir", data])
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "the trail does not verify: {told}");
}

/// A kill leaves the page cache, so this looks at the order of system calls: between the request's
/// arrival and the answer's departure, both the trail and the database reach the disk.
#[tokio::test(flavor = "multi_thread")]
async fn the_answer_leaves_after_the_disk_has_it() {
    if Command::new("strace")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        assert!(
            std::env::var_os("CI").is_none(),
            "strace is needed: apt-get install strace"
        );
        eprintln!("ignored: strace is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let server = Server::quickstart(&data).expect("the server starts");
    let token = server.token().await.expect("a token");
    let log = folder.path().join("trace");
    let mut strace = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-ttt",
            "-e",
            "trace=fsync,fdatasync,sendto,writev,write,recvfrom,read",
        ])
        .args(["-s", "24", "-o"])
        .arg(&log)
        .args(["-p", &server.pid().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace starts");
    // It says so on standard error once it is attached.
    let stderr = strace.stderr.take().expect("a pipe");
    let mut first = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(stderr), &mut first).expect("a line");
    assert!(first.contains("attached"), "{first}");

    let bearer = format!("Bearer {token}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    let body = br#"{"identity":"traced","name":"t","data":{"key_value":{"fields":{"K":"V"}}}}"#;
    let answer = client::send(server.addr(), "POST", "/iso/sctm/secret", &headers, body)
        .await
        .unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    server.stop().expect("stopped");
    strace.wait().expect("strace ends with the server");

    let trace = std::fs::read_to_string(&log).expect("a trace");
    let lines: Vec<&str> = trace.lines().collect();
    let position = |what: &dyn Fn(&str) -> bool| lines.iter().position(|line| what(line));
    let arrived = position(&|line| line.contains("POST /iso/sctm/secret")).expect("the request");
    let left = position(&|line| line.contains("HTTP/1.1 201")).expect("the answer");
    let synced = |file: &str| {
        lines[arrived..left]
            .iter()
            .any(|line| line.contains("sync(") && line.contains(file))
    };
    assert!(
        synced("/audit/"),
        "the trail is synced before the answer:\n{trace}"
    );
    assert!(
        synced("vault.db"),
        "the database is synced before the answer:\n{trace}"
    );
}
