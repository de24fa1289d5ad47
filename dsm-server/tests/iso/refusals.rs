use dsm_server::api::iso::refuse;
use dsm_server::http::call::Surface;
use dsm_server::http::router::Refusal;
use http::Method;
use http::header::ALLOW;
use serde_json::{Value, json};

use crate::check::{default_object_ok, go_types_ok};
use crate::world::{FORM, World};

#[tokio::test]
async fn unknown_paths_and_methods() {
    let world = World::new().await;
    let token = world.token().await;
    for path in ["/", "/iso", "/iso/nothing", "/api/nothing", "/elsewhere"] {
        let answer = world.get(&token, path).await;
        answer.fails(404, "Resource sub not found");
        assert_eq!(answer.body["response"]["error_code"], 4);
    }
    for (method, path, allow) in [
        (Method::GET, "/iso/oauth2/token", "POST"),
        (Method::PUT, "/iso/sctm/secret", "GET, POST"),
        (Method::POST, "/iso/sctm/secret/x", "GET, DELETE"),
        (Method::POST, "/iso/sctm/secrets", "GET"),
        (Method::DELETE, "/iso/dapp/application", "GET, POST"),
    ] {
        let answer = world.with_token(&token, method, path, FORM, "").await;
        answer.fails(405, "Method not allowed");
        assert_eq!(answer.headers[ALLOW], allow);
    }
}

#[tokio::test]
async fn bodies_beyond_the_limit() {
    let world = World::new().await;
    let token = world.token().await;
    let body = "x".repeat(256 * 1024 + 1);
    let path = "/iso/sctm/secret";
    let answer = world
        .with_token(&token, Method::POST, path, FORM, body)
        .await;
    answer.fails(413, "The request is too large");
}

#[test]
fn every_refusal_of_the_router_has_the_shape() {
    for refusal in [
        Refusal::NotFound,
        Refusal::MethodNotAllowed,
        Refusal::BodyTooLarge,
        Refusal::BodyTimedOut,
        Refusal::BodyBroken,
        Refusal::TimedOut,
        Refusal::Failed,
    ] {
        let reply = refuse(Surface::Iso, refusal);
        assert_eq!(reply.status, refusal.status());
        let body = reply.body_bytes().expect("not a stream");
        let body: Value = serde_json::from_slice(body).expect("JSON");
        assert_eq!(go_types_ok(&body), Ok(()));
        assert_eq!(default_object_ok(reply.status, &body), Ok(()));
    }
    let failed = refuse(Surface::Iso, Refusal::Failed);
    let body: Value = serde_json::from_slice(failed.body_bytes().expect("bytes")).expect("JSON");
    let exception = json!({"code": 500, "message": "500: Unexpected error", "detail": null});
    assert_eq!(body["exception"], exception);
}

#[tokio::test]
async fn without_its_store_the_server_says_so() {
    let world = World::new().await;
    let token = world.token().await;
    world.break_store().await;
    // Long enough that nothing known counts any more.
    world.clock.advance(chrono::TimeDelta::seconds(10));
    for (method, path, body) in [
        (
            Method::POST,
            "/iso/oauth2/token",
            "grant_type=client_credentials&client_id=a&client_secret=b",
        ),
        (Method::GET, "/iso/sctm/secret/Team/db.main", ""),
        (Method::GET, "/iso/dapp/application", ""),
        (Method::POST, "/iso/sctm/secret", "identity=x&name=n"),
    ] {
        let answer = world.with_token(&token, method, path, FORM, body).await;
        answer.fails(503, "The service is unavailable for the moment");
        assert!(!answer.body.to_string().contains("closed"));
    }
}
