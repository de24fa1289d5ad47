//! Kills in the middle lose nothing that was acknowledged and tear nothing: of the server, and of the
//! database under it.
//!
//! `DSM_CYCLES` (2) kills with `DSM_WRITERS` (8) writers.

#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a run was and why it was not"
)]

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dsm_test_servers::postgres::Postgres;
use dsm_test_servers::redis::Redis;
use dsm_tests::api::Bearer;
use dsm_tests::client;
use dsm_tests::place::{Backend, Place};
use dsm_tests::server::Server;
use dsm_tests::writers::{Found, Then, Writers, Written, setting};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::block_in_place;

/// Longer than a server or its database takes to be back.
const PATIENCE: Duration = Duration::from_mins(1);

dsm_tests::stamp!([sqlite, postgres, redis] [
    kills_of_the_server_lose_no_acknowledged_write_and_tear_none,
]);

async fn kills_of_the_server_lose_no_acknowledged_write_and_tear_none(place: Place) {
    let (cycles, writers) = (setting("DSM_CYCLES", 2), setting("DSM_WRITERS", 8));
    let mut written = Written::default();
    let mut total = 0;
    let mut ready = Times::default();
    for cycle in 0..=cycles {
        let started = Instant::now();
        let server = place.server().expect("the server starts");
        server.ready(PATIENCE).await.expect("it gets ready");
        if cycle > 0 {
            ready.add(started.elapsed());
        }
        let token = server.token().await.expect("a token");
        nothing_is_lost(&server, &token, &written).await;
        if cycle == cycles {
            assert_eq!(server.stop().expect("stopped"), Some(0));
            break;
        }
        let at_work = Writers::start(&server, &token, writers, &format!("c{cycle}"), Then::End);
        // Killed while writes are under way: after a number of them that differs by cycle.
        at_work.wait_for(60 + 40 * (cycle % 5), PATIENCE).await;
        server.kill().expect("killed");
        written = at_work.end().await;
        total += written.acknowledged.len();
    }
    place.succeeds(&["audit", "verify"]);
    println!(
        "{:?}: {cycles} kills of the server, {total} acknowledged writes: 0 lost, 0 torn; ready \
         again after {ready}",
        place.backend(),
    );
}

async fn nothing_is_lost(server: &Server, token: &str, written: &Written) {
    let found = written.find(&Bearer::new(server, token)).await;
    assert_eq!((found.lost, found.torn), (vec![], vec![]));
}

/// A database of a test's own, to be killed.
enum Database {
    Postgres(Box<Postgres>),
    Redis(Redis),
    /// With a process that is stopped, and so must be killed as well.
    Lossy(Box<Postgres>, Pid),
}

impl Database {
    fn kill(&mut self) {
        block_in_place(|| match self {
            Self::Postgres(database) => database.kill9(),
            Self::Redis(database) => database.kill9(),
            Self::Lossy(database, stopped) => {
                kill_process(*stopped, Signal::KILL).expect("it is there");
                database.kill9()
            }
        })
        .expect("killed");
    }

    fn start_again(&mut self) {
        block_in_place(|| match self {
            Self::Postgres(database) | Self::Lossy(database, _) => database.start_again(),
            Self::Redis(database) => database.start_again(),
        })
        .expect("it starts again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_postgres_lose_no_acknowledged_write_and_tear_none() {
    if Backend::Postgres.is_there() {
        let database = Postgres::start_with(&[]).expect("Postgres starts");
        let place = Place::at(Backend::Postgres, database.url());
        kills_of_the_database(&place, Database::Postgres(Box::new(database))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_redis_lose_no_acknowledged_write_and_tear_none() {
    if Backend::Redis.is_there() {
        let database = Redis::start_with(&[]).expect("Redis starts");
        let place = Place::at(Backend::Redis, database.url());
        kills_of_the_database(&place, Database::Redis(database)).await;
    }
}

/// The server stays and serves again by itself.
async fn kills_of_the_database(place: &Place, mut database: Database) {
    let (cycles, writers) = (setting("DSM_CYCLES", 2), setting("DSM_WRITERS", 8));
    let server = place.server().expect("the server starts");
    let mut total = 0;
    let mut ready = Times::default();
    for cycle in 0..cycles {
        let token = server.token().await.expect("a token");
        let prefix = format!("c{cycle}");
        let (found, acknowledged, back) =
            kill_once(&server, &token, &mut database, writers, &prefix, cycle).await;
        assert_eq!((found.lost, found.torn), (vec![], vec![]));
        total += acknowledged;
        ready.add(back);
    }
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(server.stop().expect("stopped"), Some(0));
    place.succeeds(&["audit", "verify"]);
    place.succeeds(&["audit", "verify", "--in-store"]);
    println!(
        "{:?}: {cycles} kills of the database, {total} acknowledged writes: 0 lost, 0 torn; \
         written again after {ready} once it was up",
        place.backend(),
    );
}

/// What was found afterwards, how many writes were acknowledged, and how long after the database was
/// up again the next one was.
async fn kill_once(
    server: &Server,
    token: &str,
    database: &mut Database,
    writers: u64,
    prefix: &str,
    cycle: u64,
) -> (Found, usize, Duration) {
    let at_work = Writers::start(server, token, writers, prefix, Then::GoOn);
    at_work.wait_for(60 + 40 * (cycle % 5), PATIENCE).await;
    database.kill();
    database.start_again();
    let up = Instant::now();
    at_work.wait_for(1, PATIENCE).await;
    let back = up.elapsed();
    let written = at_work.end().await;
    server.ready(PATIENCE).await.expect("it is ready again");
    let found = written.find(&Bearer::new(server, token)).await;
    (found, written.acknowledged.len(), back)
}

/// The control: a database that acknowledges what it may lose is caught by the same look.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_loses_acknowledged_writes_is_caught() {
    if !Backend::Postgres.is_there() {
        return;
    }
    // What was acknowledged stays in memory: nobody but the one who is stopped below writes the log.
    let settings = [
        "synchronous_commit=off",
        "wal_buffers=64MB",
        "bgwriter_lru_maxpages=0",
        "autovacuum=off",
    ];
    let database = Postgres::start_with(&settings).expect("Postgres starts");
    let place = Place::at(Backend::Postgres, database.url());
    let refused = place.server().expect_err("it is told to be safe");
    assert!(
        refused.to_string().contains("synchronous_commit"),
        "{refused}"
    );
    let server = place.server_with(&["--accept-data-loss"]);
    let server = server.expect("the server starts");
    let token = server.token().await.expect("a token");
    // So that the vault itself is not lost.
    database.sql("CHECKPOINT").expect("on disk");
    let writer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'";
    let writer = database.sql(writer).expect("a process id");
    let writer = writer.parse().ok().and_then(Pid::from_raw);
    let writer = writer.expect("a process id");
    kill_process(writer, Signal::STOP).expect("stopped");
    let mut database = Database::Lossy(Box::new(database), writer);
    let (found, acknowledged, _) = kill_once(&server, &token, &mut database, 8, "lossy", 0).await;
    let lost = found.lost.len();
    assert!(lost > 0, "none of {acknowledged} was lost");
    println!("without synchronous_commit: {acknowledged} acknowledged writes, {lost} lost");
}

/// How long something took, each time.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn add(&mut self, time: Duration) {
        self.0.push(time);
        self.0.sort();
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (median, worst) = (self.0.get(self.0.len() / 2), self.0.last());
        let (median, worst) = (
            median.unwrap_or(&Duration::ZERO),
            worst.unwrap_or(&Duration::ZERO),
        );
        write!(f, "{median:.1?} (median), {worst:.1?} (worst)")
    }
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
