//! Several servers over one database: what is changed through one holds at the others.

#![allow(clippy::print_stdout, reason = "what a run was")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, TimeDelta};
use dsm_core::time::{Clock as _, SystemClock};
use dsm_test_servers::proxy::Proxy;
use dsm_tests::api::{Bearer, eventually, is_unavailable, secret};
use dsm_tests::place::{Place, through};
use dsm_tests::server::{Refused, Server};
use serde_json::{Value, json};

/// How long what another server has changed is used at most.
const MAX_STALENESS: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

dsm_tests::stamp!([postgres, redis] [
    a_token_of_one_server_is_good_at_the_others,
    a_disabled_authorization_is_refused_by_all_within_a_second,
    a_disabled_authorization_is_refused_through_a_cut_link,
    a_disabled_authorization_is_refused_through_a_black_hole,
    a_secret_that_is_due_expires_once,
    ten_servers_start_at_once_on_an_empty_database,
]);

/// Three servers, each with data of its own.
fn three(place: &Place) -> [Server; 3] {
    ["one", "two", "three"].map(|name| {
        let server = place.server_named(name, place.store(), &[]);
        server.expect("the server starts")
    })
}

async fn a_token_of_one_server_is_good_at_the_others(place: Place) {
    let servers = three(&place);
    let [one, ..] = &servers;
    let writer = Bearer::application(one).await.expect("a token");
    let readers = servers.each_ref().map(|server| writer.at(server));
    for reader in &readers {
        assert_eq!(reader.value("shared").await.expect("an answer"), None);
    }
    for round in 0..5 {
        let value = format!("value {round}");
        // Each in turn changes it.
        let written = readers[round % 3].write("shared", &value).await;
        let status = written.expect("an answer").status;
        assert_eq!(status, if round == 0 { 201 } else { 200 });
        let changed = Instant::now();
        for reader in &readers {
            eventually("the change is read", MAX_STALENESS, async || {
                reader.value("shared").await.expect("an answer").as_ref() == Some(&value)
            })
            .await;
        }
        assert!(changed.elapsed() < MAX_STALENESS);
    }
    // An operator's token as well.
    let operator = Bearer::operator(one).at(&servers[2]);
    let me = operator.get("/api/v1/me").await;
    assert_eq!(me["name"], "quickstart");
}

/// Disables the authorization of the example and tells when that was acknowledged.
async fn disable_example(operator: &Bearer, enabled: bool) -> Instant {
    let listed = operator.get("/api/v1/authorizations").await;
    let id = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v1/authorizations/{id}");
    let patch = Some(json!({"enabled": enabled}));
    operator.gives(200, "PATCH", &path, patch).await;
    Instant::now()
}

async fn read_example(reader: &Bearer, server: &Server) -> dsm_tests::client::Answer {
    let path = format!("/iso/sctm/secret/{}", server.printed.identity);
    reader.ask("GET", &path, None).await.expect("an answer")
}

async fn a_disabled_authorization_is_refused_by_all_within_a_second(place: Place) {
    let servers = three(&place);
    let operator = Bearer::operator(&servers[0]);
    let token = servers[0].token().await.expect("a token");
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        for server in &servers {
            let reader = Bearer::new(server, &token);
            eventually("it is enabled", PATIENCE, async || {
                read_example(&reader, server).await.status == 200
            })
            .await;
        }
        let disabled = disable_example(&operator, false).await;
        for server in &servers {
            let reader = Bearer::new(server, &token);
            loop {
                let asked = disabled.elapsed();
                let answer = read_example(&reader, server).await;
                if answer.status == 401 {
                    slowest = slowest.max(asked);
                    break;
                }
                assert_eq!(answer.status, 200, "{answer:?}");
                assert!(asked < MAX_STALENESS, "still given after {asked:?}");
            }
        }
        disable_example(&operator, true).await;
    }
    println!(
        "{:?}: refused by all after {slowest:.1?} at most",
        place.backend()
    );
}

async fn a_disabled_authorization_is_refused_through_a_cut_link(place: Place) {
    refused_through(&place, Proxy::cut).await;
}

async fn a_disabled_authorization_is_refused_through_a_black_hole(place: Place) {
    refused_through(&place, Proxy::black_hole).await;
}

/// A server that hears nothing of the change gives nothing on a grant that is older than it may be.
async fn refused_through(place: &Place, fail: impl Fn(&Proxy)) {
    let proxy = Proxy::start(place.address()).expect("a proxy starts");
    let url = through(place.store(), &proxy.address().to_string());
    let near = place
        .server_named("near", place.store(), &[])
        .expect("it starts");
    let far = place.server_named("far", &url, &[]).expect("it starts");
    let operator = Bearer::operator(&near);
    let reader = Bearer::application(&far).await.expect("a token");
    for _ in 0..2 {
        eventually("it is enabled", PATIENCE, async || {
            read_example(&reader, &far).await.status == 200
        })
        .await;
        // From now on it hears nothing, and has just read.
        fail(&proxy);
        let disabled = disable_example(&operator, false).await;
        let mut refused = 0;
        while refused < 3 {
            let asked = disabled.elapsed();
            let answer = read_example(&reader, &far).await;
            if answer.status == 200 {
                assert!(asked < MAX_STALENESS, "still given after {asked:?}");
            } else {
                assert!(
                    answer.status == 401 || is_unavailable(&answer),
                    "{answer:?}"
                );
                refused += 1;
            }
        }
        // Reachable again it knows at once.
        proxy.pass();
        eventually("it is refused", PATIENCE, async || {
            let answer = read_example(&reader, &far).await;
            assert!(
                answer.status == 401 || is_unavailable(&answer),
                "{answer:?}"
            );
            answer.status == 401
        })
        .await;
        disable_example(&operator, true).await;
    }
}

async fn a_secret_that_is_due_expires_once(place: Place) {
    let servers = three(&place);
    let operator = Bearer::operator(&servers[0]);
    let due = SystemClock.now() + TimeDelta::seconds(2);
    let mut ids = BTreeSet::new();
    for n in 0..20 {
        let mut body = secret(&format!("due/{n}"), "x");
        body["expires_at"] = due.to_rfc3339_opts(SecondsFormat::Micros, true).into();
        let made = operator.make("/api/v1/secrets", body).await;
        ids.insert(made["id"].as_str().expect("an id").to_owned());
    }
    let path = "/api/v1/audit?limit=500&operation=secret.expire";
    let entries = async || -> Vec<Value> {
        let page = operator.get(path).await;
        page["items"].as_array().expect("a list").clone()
    };
    eventually("all are destroyed", PATIENCE, async || {
        let listed = operator.get("/api/v1/secrets?limit=500").await;
        let items = listed["items"].as_array().expect("a list");
        let destroyed = items.iter().filter(|item| item["destroyed_at"].is_string());
        destroyed.count() == ids.len() && entries().await.len() >= ids.len()
    })
    .await;
    for server in servers {
        assert_eq!(server.stop().expect("stopped"), Some(0));
    }
    // With all trails in the store.
    let server = place.server().expect("it starts");
    let operator = Bearer::operator(&server);
    let page = operator.get(path).await;
    let entries = page["items"].as_array().expect("a list");
    let mut done = BTreeSet::new();
    for entry in entries {
        assert_eq!(entry["outcome"]["result"], "allowed", "{entry}");
        let id = entry["object"]["id"].as_str().expect("an id");
        assert!(done.insert(id.to_owned()), "{id} was destroyed twice");
    }
    assert_eq!(done, ids);
}

/// There is one vault in the end, and whoever could not help to make it says so in a sentence.
async fn ten_servers_start_at_once_on_an_empty_database(place: Place) {
    let starting: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..10)
            .map(|n| {
                let place = &place;
                scope.spawn(move || {
                    let name = format!("server{n}");
                    (place.server_named(&name, place.store(), &[]), name)
                })
            })
            .collect();
        let started = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        started.map(|server| server.expect("no panic")).collect()
    });
    let mut serving = 0;
    for (server, name) in &starting {
        match server {
            Ok(_) => serving += 1,
            Err(error) => {
                let refused = error.get_ref().and_then(|error| error.downcast_ref());
                let Refused { code, said } = refused.expect("it said something");
                assert!(!said.contains("panicked"), "{name}: {said}");
                assert_eq!(*code, Some(78), "{name}: {said}");
                assert!(said.contains("not empty"), "{name}: {said}");
            }
        }
    }
    assert!(serving > 0, "{starting:?}");
    println!("{:?}: {serving} of ten serve", place.backend());
    drop(starting);
    // Whoever was late serves the same vault the next time.
    let all: Vec<Server> = (0..10)
        .map(|n| {
            let server = place.server_named(&format!("server{n}"), place.store(), &[]);
            server.expect("it starts")
        })
        .collect();
    let writer = Bearer::application(&all[0]).await.expect("a token");
    let written = writer.write("one/vault", "x").await.expect("an answer");
    assert_eq!(written.status, 201, "{written:?}");
    for server in &all {
        let found = writer.at(server).value("one/vault").await;
        assert_eq!(found.expect("an answer").as_deref(), Some("x"));
    }
}
