use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::{Answer, Server, authorization};

/// Every creation, with a body and another one.
fn creations() -> Vec<(&'static str, Value, Value)> {
    let mut other = authorization(&[]);
    other["name"] = json!("weekly");
    vec![
        ("/environments", json!({"name": "a"}), json!({"name": "b"})),
        ("/systems", json!({"name": "a"}), json!({"name": "b"})),
        ("/engines", json!({"name": "a"}), json!({"name": "b"})),
        (
            "/application-types",
            json!({"name": "a"}),
            json!({"name": "b"}),
        ),
        (
            "/lines-of-business",
            json!({"name": "a"}),
            json!({"name": "b"}),
        ),
        (
            "/applications",
            json!({"name": "a", "authentication_method": "oauth2"}),
            json!({"name": "b", "authentication_method": "oauth2"}),
        ),
        ("/applications/1/authorizations", authorization(&[]), other),
        (
            "/secrets",
            json!({"identity": "a", "name": "A"}),
            json!({"identity": "b", "name": "B"}),
        ),
    ]
}

async fn keyed(server: &Server, path: &str, key: &str, body: &Value) -> Answer {
    let ask = server.ask("POST", path).header("idempotency-key", key);
    ask.json(body).answer().await
}

async fn count(server: &Server, path: &str) -> usize {
    let listed = server.get(&format!("{path}?limit=500")).await;
    listed.body["items"].as_array().expect("a list").len()
}

#[tokio::test]
async fn the_same_creation_happens_once() {
    let server = Server::start().await;
    server.furnish().await;
    for (path, body, other) in creations() {
        let key = format!("key for {path}");
        let before = count(&server, path).await;
        let first = keyed(&server, path, &key, &body).await;
        assert_eq!(first.status, 201, "{path}: {first:?}");
        let second = keyed(&server, path, &key, &body).await;
        assert_eq!((second.status, &second.body), (201, &first.body), "{path}");
        assert_eq!(second.header("location"), first.header("location"));
        assert_eq!(count(&server, path).await, before + 1, "{path}");
        let refused = keyed(&server, path, &key, &other).await;
        refused.problem(422);
        assert_eq!(refused.wrong(), ["Idempotency-Key"], "{path}");
        assert_eq!(count(&server, path).await, before + 1, "{path}");
    }
}

#[tokio::test]
async fn at_the_same_time_as_well() {
    let server = Server::start().await;
    server.furnish().await;
    for (path, body, other) in creations() {
        let key = format!("key for {path}");
        let before = count(&server, path).await;
        let asks = (0..8).map(|_| keyed(&server, path, &key, &body));
        let answers = futures_util::future::join_all(asks).await;
        for answer in &answers {
            assert_eq!(answer.status, 201, "{path}: {answer:?}");
            assert_eq!(answer.body, answers[0].body, "{path}");
        }
        assert_eq!(count(&server, path).await, before + 1, "{path}");

        let key = format!("another key for {path}");
        let mut third = other.clone();
        if let Some(identity) = third.get_mut("identity") {
            *identity = json!("c");
        }
        third["name"] = json!("C");
        let (one, two) = futures_util::future::join(
            keyed(&server, path, &key, &other),
            keyed(&server, path, &key, &third),
        )
        .await;
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 422], "{path}");
        assert_eq!(count(&server, path).await, before + 2, "{path}");
    }
    // They did meet: some lost at the commit, not before it.
    let failed = server.get("/audit?outcome=failed").await;
    let lost = failed.body["items"].as_array().expect("a list");
    assert!(lost.len() >= creations().len(), "{lost:?}");
}

#[tokio::test]
async fn a_token_is_not_shown_twice() {
    let server = Server::start().await;
    let body = json!({"name": "grace"});
    let first = keyed(&server, "/operators", "k", &body).await;
    assert_eq!(first.status, 201, "{first:?}");
    keyed(&server, "/operators", "k", &body).await.problem(409);
    assert_eq!(count(&server, "/operators").await, 2);
}

#[tokio::test]
async fn a_restore_is_repeated_once() {
    let server = Server::start().await;
    server.furnish().await;
    for key in ["k", "k", "l"] {
        let restored = keyed(&server, "/secrets/1/versions/1/restore", key, &json!({})).await;
        let version = if key == "k" { 3 } else { 4 };
        assert_eq!(
            (restored.status, &restored.body["version"]),
            (200, &json!(version))
        );
    }
}

#[tokio::test]
async fn a_key_belongs_to_its_operator_and_lasts_a_day() {
    let server = Server::start().await;
    let token = server.operator(dsm_core::access::Permissions::all()).await;
    let first = json!({"name": "first"});
    let second = json!({"name": "second"});
    assert_eq!(keyed(&server, "/systems", "k", &first).await.status, 201);
    let ask = server
        .ask("POST", "/systems")
        .header("idempotency-key", "k");
    assert_eq!(ask.by(&token).json(&second).answer().await.status, 201);
    server.advance(TimeDelta::hours(24) - TimeDelta::microseconds(1));
    let third = json!({"name": "third"});
    keyed(&server, "/systems", "k", &third).await.problem(422);
    server.advance(TimeDelta::microseconds(1));
    assert_eq!(keyed(&server, "/systems", "k", &third).await.status, 201);
    assert_eq!(keyed(&server, "/systems", "k", &third).await.status, 201);
    // The first result is forgotten, so that its name is taken.
    keyed(&server, "/systems", "l", &first).await.problem(409);
}

#[tokio::test]
async fn a_failure_uses_no_key_up() {
    let server = Server::start().await;
    let body = json!({"name": "a", "enabled": "x"});
    let answer = keyed(&server, "/systems", "k", &body).await;
    assert_eq!(answer.wrong(), ["enabled"]);
    let answer = keyed(&server, "/systems", "k", &json!({"name": "a"})).await;
    assert_eq!(answer.status, 201);
}

#[tokio::test]
async fn a_key_has_bounds() {
    let server = Server::start().await;
    for key in ["", &"k".repeat(257)] {
        let answer = keyed(&server, "/systems", key, &json!({"name": "a"})).await;
        answer.problem(422);
        assert_eq!(answer.wrong(), ["Idempotency-Key"]);
    }
    let answer = keyed(&server, "/systems", &"k".repeat(256), &json!({"name": "a"})).await;
    assert_eq!(answer.status, 201);
    let ask = server
        .ask("POST", "/systems")
        .header("idempotency-key", "ü");
    let answer = ask.json(&json!({"name": "b"})).answer().await;
    answer.problem(400);
    assert_eq!(answer.wrong(), ["Idempotency-Key"]);
}
