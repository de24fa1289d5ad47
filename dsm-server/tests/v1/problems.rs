use std::collections::BTreeSet;

use dsm_server::api::v1;
use dsm_server::http::call::Surface;
use dsm_server::http::router::Refusal;
use dsm_server::openapi;
use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test]
async fn bodies_that_are_no_json_are_malformed() {
    let server = Server::start().await;
    server.furnish().await;
    for (method, path) in [
        ("POST", "/secrets"),
        ("PATCH", "/secrets/1"),
        ("POST", "/systems"),
        ("PATCH", "/systems/1"),
        ("POST", "/applications"),
        ("PATCH", "/applications/1"),
        ("POST", "/applications/1/authorizations"),
        ("PATCH", "/authorizations/1"),
        ("PUT", "/authorizations/1/secrets/2"),
        ("POST", "/authorizations/1/explain"),
        ("POST", "/authorizations/1/credentials"),
        ("POST", "/authorizations/1/clients/rotate"),
        ("POST", "/operators"),
        ("POST", "/secrets/1/enable"),
        ("POST", "/secrets/1/versions/1/reveal"),
    ] {
        for body in [
            "{",
            "[]",
            "7",
            "{\"name\":\"hunter2\",\"name\":\"x\"}",
            "{} {}",
            "\u{feff}{}",
        ] {
            let ask = server.ask(method, path).raw("application/json", body);
            let answer = ask.answer().await;
            answer.problem(400);
            assert!(!answer.body.to_string().contains("hunter2"));
        }
        let deep = ["{\"a\":".repeat(40), "1".to_owned(), "}".repeat(40)].concat();
        let ask = server.ask(method, path).raw("application/json", deep);
        ask.answer().await.problem(400);
    }
}

#[tokio::test]
async fn other_content_types_are_not_read() {
    let server = Server::start().await;
    server.furnish().await;
    for (method, content_type, status) in [
        ("POST", "application/json; charset=utf-8", 422),
        ("POST", "application/merge-patch+json", 415),
        ("POST", "application/x-www-form-urlencoded", 415),
        ("POST", "text/plain", 415),
        ("PATCH", "application/json", 422),
        ("PATCH", "Application/Merge-Patch+JSON", 422),
        ("PATCH", "application/json-patch+json", 415),
    ] {
        let path = if method == "POST" {
            "/secrets"
        } else {
            "/secrets/1"
        };
        let ask = server
            .ask(method, path)
            .raw(content_type, "{\"surplus\":1}");
        ask.answer().await.problem(status);
    }
    let ask = server.ask("POST", "/secrets").raw("text/plain", "{}");
    ask.without("content-type").answer().await.problem(415);
}

#[tokio::test]
async fn numbers_beyond_all_bounds_are_wrong_fields() {
    let server = Server::start().await;
    let body = r#"{"identity":"a","name":"A","renew":{"cloud":1e300}}"#;
    let answer = server
        .ask("POST", "/secrets")
        .raw("application/json", body)
        .answer()
        .await;
    answer.problem(422);
    assert_eq!(answer.wrong(), ["renew.cloud"]);
}

#[tokio::test]
async fn actions_take_no_fields() {
    let server = Server::start().await;
    server.furnish().await;
    for path in [
        "/secrets/1/enable",
        "/secrets/1/disable",
        "/secrets/1/expire",
        "/secrets/1/versions/1/reveal",
        "/secrets/1/versions/1/restore",
        "/authorizations/1/credentials",
    ] {
        let answer = server.post(path, json!({"reason": "x"})).await;
        answer.problem(422);
        assert_eq!(answer.wrong(), ["reason"], "{path}");
    }
    assert_eq!(server.get("/secrets/1").await.body["revision"], 2);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = Server::start().await;
    server.furnish().await;
    for path in [
        "/secrets/9",
        "/secrets/01",
        "/secrets/+1",
        "/secrets/-1",
        "/secrets/x",
        "/secrets/99999999999999999999",
        "/secrets/1/versions/x",
        "/applications/9",
        "/authorizations/9",
        "/systems/9",
        "/environments/x",
        "/engines/9",
        "/application-types/9",
        "/lines-of-business/9",
    ] {
        server.get(path).await.problem(404);
    }
    for path in [
        "/secrets/9",
        "/applications/9",
        "/authorizations/9",
        "/systems/9",
    ] {
        server.patch(path, json!({"name": "x"})).await.problem(404);
    }
    for path in [
        "/secrets/9/enable",
        "/secrets/9/disable",
        "/secrets/9/expire",
    ] {
        server.post(path, json!({})).await.problem(404);
    }
    server
        .post("/authorizations/9/credentials", json!({}))
        .await
        .problem(404);
    let explain = json!({"ip": "127.0.0.1", "resource": "Application"});
    server
        .post("/authorizations/9/explain", explain)
        .await
        .problem(404);
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let server = Server::start().await;
    server.furnish().await;
    server.vault.close().await;
    for path in ["/secrets", "/secrets/1", "/systems"] {
        server.get(path).await.problem(503);
    }
    server
        .post("/systems", json!({"name": "x"}))
        .await
        .problem(503);
}

#[tokio::test]
async fn the_router_refuses_in_the_same_shape() {
    let server = Server::start().await;
    server.get("/nothing").await.problem(404);
    let answer = server.ask("PUT", "/secrets").answer().await;
    answer.problem(405);
    assert_eq!(answer.header("allow"), Some("GET, POST"));
    let ask = server
        .ask("POST", "/secrets")
        .raw("application/json", vec![b' '; 300 * 1024]);
    ask.answer().await.problem(413);
    for refusal in [
        Refusal::BodyBroken,
        Refusal::BodyTimedOut,
        Refusal::TimedOut,
        Refusal::Failed,
    ] {
        let reply = v1::refuse(Surface::V1, refusal);
        assert_eq!(reply.status, refusal.status());
    }
}

/// What the vault insists on is told in two places, here and in the description of the interface.
#[tokio::test]
async fn what_must_be_given_is_what_is_described_so() {
    let server = Server::start().await;
    server.furnish().await;
    let document = openapi::document(server.router.routes());
    let mut compared = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let body = &methods["post"]["requestBody"];
        let schema = &body["content"]["application/json"]["schema"];
        let Some(names) = schema["required"].as_array() else {
            assert_ne!(body["required"], true, "{path}");
            continue;
        };
        let described: BTreeSet<&str> = names.iter().filter_map(Value::as_str).collect();
        let target = path
            .trim_start_matches("/api/v1")
            .replace("{id}", "1")
            .replace("{n}", "1");
        let answer = server.post(&target, json!({})).await;
        let missing = answer.problem(422).iter();
        let missing = missing.filter(|error| error["message"] == "is required");
        let missing: BTreeSet<&str> = missing
            .filter_map(|error| error["field"].as_str())
            .collect();
        assert_eq!(missing, described, "{path}");
        compared += 1;
    }
    assert!(compared >= 8, "only {compared}");
}
