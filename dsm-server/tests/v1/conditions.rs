use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::support::Server;

/// Every route that looks at `If-Match`, with a patch that changes something.
fn conditional() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("PATCH", "/environments/1", json!({"name": "changed"})),
        ("PATCH", "/systems/1", json!({"name": "changed"})),
        ("PATCH", "/engines/1", json!({"name": "changed"})),
        ("PATCH", "/application-types/1", json!({"name": "changed"})),
        ("PATCH", "/lines-of-business/1", json!({"name": "changed"})),
        ("PATCH", "/applications/1", json!({"name": "changed"})),
        ("PATCH", "/authorizations/1", json!({"name": "changed"})),
        ("PATCH", "/secrets/2", json!({"name": "changed"})),
        ("DELETE", "/secrets/2", Value::Null),
        ("DELETE", "/secrets/2?purge=true", Value::Null),
        ("DELETE", "/applications/2", Value::Null),
        ("DELETE", "/authorizations/1", Value::Null),
    ]
}

async fn with_tag(server: &Server, method: &str, path: &str, body: &Value, tag: &str) -> u16 {
    let ask = server.ask(method, path).header("if-match", tag);
    let ask = if body.is_null() { ask } else { ask.json(body) };
    let answer = ask.answer().await;
    if answer.status >= 400 {
        answer.problem(answer.status);
    }
    answer.status
}

#[tokio::test]
async fn only_the_revision_at_hand_is_changed() {
    for (method, path, body) in conditional() {
        let server = Server::start().await;
        server.furnish().await;
        let item = path.split('?').next().expect("a path");
        let before = server.get(item).await;
        assert_eq!(before.header("etag"), Some("\"1\""), "{path}");
        let stale = with_tag(&server, method, path, &body, "\"2\"").await;
        assert_eq!(stale, 412, "{method} {path}");
        assert_eq!(server.get(item).await.body, before.body, "{path}");
        let done = with_tag(&server, method, path, &body, "\"1\"").await;
        assert!([200, 204].contains(&done), "{method} {path}: {done}");
        if method == "PATCH" {
            let again = with_tag(&server, method, path, &body, "\"1\"").await;
            assert_eq!(again, 412, "{path}");
            assert_eq!(
                with_tag(&server, method, path, &body, "*").await,
                200,
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn who_loses_without_a_condition_has_a_conflict() {
    let server = Server::start().await;
    server.furnish().await;
    let patches = (0..4).map(|index| {
        let ask = server.ask("PATCH", "/secrets/2");
        ask.json(&json!({"name": format!("name {index}")})).answer()
    });
    let answers = futures_util::future::join_all(patches).await;
    let lost: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status != 200)
        .collect();
    assert!(!lost.is_empty(), "they did not meet");
    assert!(lost.len() < answers.len(), "nobody won");
    for answer in lost {
        answer.problem(409);
    }
}

#[tokio::test]
async fn malformed_conditions_are_refused() {
    let server = Server::start().await;
    server.furnish().await;
    let before = server.get("/secrets/2").await.body;
    for tag in [
        "1",
        "\"1",
        "1\"",
        "\"\"",
        "\"01\"",
        "\"+1\"",
        "\"-1\"",
        "W/\"1\"",
        "\"1\", \"2\"",
        "\"x\"",
        "",
        "\"99999999999999999999\"",
    ] {
        let ask = server.ask("PATCH", "/secrets/2").header("if-match", tag);
        let answer = ask.json(&json!({"name": "changed"})).answer().await;
        answer.problem(400);
        assert_eq!(answer.wrong(), ["If-Match"], "{tag}");
    }
    let mut request = http::Request::builder()
        .method("DELETE")
        .uri("/api/v1/secrets/2")
        .body(bytes::Bytes::new())
        .expect("a right request");
    let token = server.operator(dsm_core::access::Permissions::all()).await;
    let headers = request.headers_mut();
    for value in ["\"1\"", "\"2\""] {
        headers.append("if-match", HeaderValue::from_static(value));
    }
    let bearer = HeaderValue::try_from(format!("Bearer {token}")).expect("visible ASCII");
    headers.insert(HeaderName::from_static("authorization"), bearer);
    let peer = dsm_server::http::call::Peer::new(([127, 0, 0, 1], 1).into());
    assert_eq!(server.router.call(request, peer).await.status, 400);
    assert_eq!(server.get("/secrets/2").await.body, before);
}

#[tokio::test]
async fn conditions_that_nobody_looks_at_are_refused() {
    let server = Server::start().await;
    server.furnish().await;
    let operator = server.operator(dsm_core::access::Permissions::none()).await;
    for (method, path) in [
        ("POST", "/secrets"),
        ("POST", "/applications"),
        ("POST", "/systems"),
        ("POST", "/operators"),
        ("POST", "/applications/1/authorizations"),
        ("POST", "/secrets/1/enable"),
        ("POST", "/secrets/1/disable"),
        ("POST", "/secrets/1/expire"),
        ("POST", "/secrets/1/versions/1/reveal"),
        ("POST", "/secrets/1/versions/1/restore"),
        ("POST", "/authorizations/1/credentials"),
        ("POST", "/authorizations/1/clients/rotate"),
        ("DELETE", "/authorizations/1/clients/1"),
        ("POST", "/authorizations/1/explain"),
        ("PUT", "/authorizations/1/secrets/2"),
        ("DELETE", "/authorizations/1/secrets/1"),
        ("DELETE", "/operators/2"),
    ] {
        let answer = server
            .ask(method, path)
            .header("if-match", "\"1\"")
            .answer()
            .await;
        answer.problem(400);
        assert_eq!(answer.wrong(), ["If-Match"], "{method} {path}");
    }
    let me = server.ask("GET", "/me").by(&operator).answer().await;
    assert_eq!(me.status, 200, "the operator was not revoked");
}
