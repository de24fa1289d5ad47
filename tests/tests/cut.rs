//! The way to the database is cut, reset or swallows everything: requests are refused in time,
//! nothing stale is given, service comes back by itself, and what became of each write is what the
//! audit trail says.
//!
//! `DSM_CYCLES` (2) times each.

#![allow(clippy::print_stdout, reason = "what a run was")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use dsm_core::time::{Clock as _, SystemClock};
use dsm_test_servers::proxy::Proxy;
use dsm_tests::api::{Bearer, eventually, is_unavailable};
use dsm_tests::client;
use dsm_tests::place::{Backend, Place, through};
use dsm_tests::server::Server;
use dsm_tests::writers::{Then, Writers, Written, setting};

/// How long what another server may have changed is used at most.
const MAX_STALENESS: Duration = Duration::from_secs(1);
/// Within which every request is answered.
const ANSWERED: Duration = Duration::from_secs(5);
/// Within which service is back.
const BACK: Duration = Duration::from_secs(15);
/// Within which the trail has what became of every write.
const TOLD: Duration = Duration::from_secs(40);

dsm_tests::stamp!([postgres, redis] [
    a_cut_is_survived,
    a_reset_is_survived,
    a_black_hole_is_survived,
]);

async fn a_cut_is_survived(place: Place) {
    survive(&place, "cut", Proxy::cut).await;
}

async fn a_reset_is_survived(place: Place) {
    survive(&place, "reset", Proxy::reset).await;
}

async fn a_black_hole_is_survived(place: Place) {
    survive(&place, "black hole", Proxy::black_hole).await;
}

async fn survive(place: &Place, name: &str, fail: impl Fn(&Proxy)) {
    let cycles = setting("DSM_CYCLES", 2);
    let proxy = Proxy::start(place.address()).expect("a proxy starts");
    let url = through(place.store(), &proxy.address().to_string());
    let server = place.server_named("first", &url, &[]);
    let server = server.expect("the server starts");
    let mut last = Written::default();
    let mut since = String::new();
    let (mut writes, mut unknown, mut slowest, mut back) =
        (0, 0, Duration::ZERO, Vec::<Duration>::new());
    for cycle in 0..cycles {
        since = SystemClock
            .now()
            .to_rfc3339_opts(SecondsFormat::Micros, true);
        let token = server.token().await.expect("a token");
        let writers = Writers::start(&server, &token, 4, &format!("c{cycle}"), Then::GoOn);
        writers.wait_for(20, BACK).await;
        let reader = Bearer::new(&server, &token);
        slowest = slowest.max(fail_once(&server, &reader, || fail(&proxy)).await);

        proxy.pass();
        let passed = Instant::now();
        writers.wait_for(1, BACK).await;
        back.push(passed.elapsed());
        server.ready(BACK).await.expect("it is ready again");
        let written = writers.end().await;
        if place.backend() == Backend::Postgres {
            eventually(
                "no transaction is open",
                Duration::from_secs(10),
                async || idle_transactions(place) == "0",
            )
            .await;
        }
        let operator = Bearer::operator(&server);
        agrees(&written, &reader, &operator, &since).await;
        writes += written.acknowledged.len();
        unknown += written.unknown.len();
        last = written;
    }
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(server.stop().expect("stopped"), Some(0));
    place.succeeds(&["audit", "verify"]);

    // Nothing is under way any more.
    let server = place.server().expect("it starts again");
    let reader = Bearer::application(&server).await.expect("a token");
    let wrong = disagreements(&last, &reader, &Bearer::operator(&server), &since).await;
    assert_eq!(wrong, Vec::<String>::new());
    back.sort();
    println!(
        "{:?}: {cycles} times {name}: {writes} writes acknowledged, {unknown} not; the slowest \
         answer took {slowest:.1?}; writing again after {:.1?} (median), {:.1?} (worst)",
        place.backend(),
        back[back.len() / 2],
        back[back.len() - 1],
    );
}

/// What a client sees while the database cannot be reached. Gives the time of the slowest answer.
async fn fail_once(server: &Server, reader: &Bearer, fail: impl FnOnce()) -> Duration {
    let path = format!("/iso/sctm/secret/{}", server.printed.identity);
    // Now it is in the cache.
    assert_eq!(
        reader
            .ask("GET", &path, None)
            .await
            .expect("an answer")
            .status,
        200
    );
    fail();
    let failed = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut refused = 0;
    while refused < 3 {
        let asked = Instant::now();
        let answer = reader.ask("GET", &path, None).await.expect("an answer");
        slowest = slowest.max(asked.elapsed());
        if asked - failed >= MAX_STALENESS {
            assert!(is_unavailable(&answer), "{answer:?}");
            refused += 1;
        } else {
            assert!(
                answer.status == 200 || is_unavailable(&answer),
                "{answer:?}"
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let asked = Instant::now();
    let (written, ready) = tokio::join!(
        async {
            let answer = reader.write("during", "x").await.expect("an answer");
            (answer, asked.elapsed())
        },
        client::send(server.addr(), "GET", "/readyz", &[], b""),
    );
    let (answer, took) = written;
    assert!(is_unavailable(&answer), "{answer:?}");
    slowest = slowest.max(took);
    assert!(slowest <= ANSWERED, "an answer took {slowest:?}");
    let ready = ready.expect("an answer");
    assert_eq!(ready.status, 503, "{ready:?}");
    let parts = ready.json();
    assert_eq!(
        (&parts["store"], &parts["audit"], &parts["key"]),
        (&"failing".into(), &"ok".into(), &"ok".into())
    );
    slowest
}

fn idle_transactions(place: &Place) -> String {
    let database = place.database().expect("a database of its own");
    let count = database.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND state LIKE 'idle in transaction%'",
    );
    count.expect("Postgres answers")
}

/// Waits until what is there and what the trail says are the same.
async fn agrees(written: &Written, reader: &Bearer, operator: &Bearer, since: &str) {
    let started = Instant::now();
    loop {
        let wrong = disagreements(written, reader, operator, since).await;
        if wrong.is_empty() {
            return;
        }
        assert!(started.elapsed() < TOLD, "{wrong:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn disagreements(
    written: &Written,
    reader: &Bearer,
    operator: &Bearer,
    since: &str,
) -> Vec<String> {
    let found = written.find(reader).await;
    let mut wrong: Vec<String> = Vec::new();
    wrong.extend(found.lost.iter().map(|name| format!("{name} is lost")));
    wrong.extend(found.torn.iter().map(|name| format!("{name} is torn")));
    let trail = creations(operator, since).await;
    let last = |name: &String| trail.get(name).and_then(|outcomes| outcomes.last());
    for name in written.acknowledged.keys().chain(&found.unknown_there) {
        if last(name).map(String::as_str) != Some("allowed") {
            wrong.push(format!("{name} is there: {:?}", trail.get(name)));
        }
    }
    for name in &found.unknown_absent {
        // What was refused before it was permitted has no entry.
        if last(name).is_some_and(|outcome| outcome != "failed") {
            wrong.push(format!("{name} is absent: {:?}", trail.get(name)));
        }
    }
    wrong
}

/// How the creation of each secret went, in the order of the trail.
async fn creations(operator: &Bearer, since: &str) -> BTreeMap<String, Vec<String>> {
    let mut outcomes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let query = format!("/api/v1/audit?limit=500&operation=secret.create&from={since}");
    let mut path = query.clone();
    loop {
        let page = operator.get(&path).await;
        for entry in page["items"].as_array().expect("a list") {
            // What was answered to a client that was not told the outcome is not the outcome.
            if !entry["answered"].is_null() {
                continue;
            }
            let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
            let name = text(&entry["object"]["name"]);
            // The newest comes first.
            outcomes
                .entry(name)
                .or_default()
                .insert(0, text(&entry["outcome"]["result"]));
        }
        match page["next"].as_str() {
            Some(next) => path = format!("{query}&after={next}"),
            None => return outcomes,
        }
    }
}
