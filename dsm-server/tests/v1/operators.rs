use chrono::TimeDelta;
use dsm_core::access::{Permission, Permissions};
use serde_json::{Value, json};

use crate::support::{Server, content};

#[tokio::test]
async fn an_operator_learns_who_they_are() {
    let server = Server::start().await;
    let permissions = [Permission::SecretsView, Permission::AuditView];
    let token = server.operator(permissions.into_iter().collect()).await;
    let me = server.ask("GET", "/me").by(&token).answer().await;
    assert_eq!(me.status, 200, "{me:?}");
    let expected = json!({
        "id": "2", "name": "ada", "permissions": ["Secrets.View", "Audit.View"],
        "expires_at": "2026-04-01T00:00:00Z",
    });
    assert_eq!(me.body, expected);
}

#[tokio::test]
async fn a_new_operator_gets_a_token_once() {
    let server = Server::start().await;
    let body = json!({
        "name": "grace", "permissions": ["Secrets.View"], "expires_in_days": 7,
    });
    let made = server.post("/operators", body).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.header("location"), Some("/api/v1/operators/2"));
    let token = made.body["token"].as_str().expect("a token").to_owned();
    let mut expected = json!({
        "id": "2", "name": "grace", "permissions": ["Secrets.View"], "status": "active",
        "expires_at": "2026-01-08T00:00:00Z", "revoked_at": null, "token": token,
    });
    assert_eq!(content(&made.body), expected);

    let listed = server.get("/operators").await;
    expected.as_object_mut().expect("an object").remove("token");
    assert_eq!(content(&listed.body["items"][0]), expected);
    assert!(!listed.body.to_string().contains(&token));

    let seen = server.ask("GET", "/secrets").by(&token).answer().await;
    assert_eq!(seen.status, 200);
    server
        .ask("GET", "/operators")
        .by(&token)
        .answer()
        .await
        .problem(403);
    server.advance(TimeDelta::days(7));
    server
        .ask("GET", "/me")
        .by(&token)
        .answer()
        .await
        .problem(401);
    assert_eq!(
        server.get("/operators").await.body["items"][0]["status"],
        "expired"
    );
}

#[tokio::test]
async fn an_end_may_be_an_instant_and_permissions_default_to_ones_own() {
    let server = Server::start().await;
    let permissions = [Permission::OperatorsWrite, Permission::SecretsView];
    let token = server.operator(permissions.into_iter().collect()).await;
    let body = json!({"name": "grace", "expires_at": "2026-01-01T00:00:00.5Z"});
    let ask = server.ask("POST", "/operators").by(&token).json(&body);
    let made = ask.answer().await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.body["expires_at"], "2026-01-01T00:00:00.500Z");
    assert_eq!(
        made.body["permissions"],
        json!(["Secrets.View", "Operators.Write"])
    );
}

#[tokio::test]
async fn a_revoked_token_is_refused_from_then_on() {
    let server = Server::start().await;
    let token = server.operator(Permissions::all()).await;
    assert_eq!(
        server.ask("GET", "/me").by(&token).answer().await.status,
        200
    );
    let revoked = server.delete("/operators/2").await;
    assert_eq!((revoked.status, revoked.body), (204, Value::Null));
    server
        .ask("GET", "/me")
        .by(&token)
        .answer()
        .await
        .problem(401);
    let listed = server.get("/operators").await;
    assert_eq!(listed.body["items"][0]["status"], "revoked");
    assert_eq!(
        listed.body["items"][0]["revoked_at"],
        "2026-01-01T00:00:00Z"
    );
    assert_eq!(server.delete("/operators/2").await.status, 204);
    server.delete("/operators/9").await.problem(404);
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let server = Server::start().await;
    for (body, expected) in [
        (json!({}), vec!["name"]),
        (
            json!({"name": " ", "permissions": ["Secrets.View", "Everything"], "expires_in_days": 0,
                "expires_at": "x", "surplus": 1}),
            vec![
                "expires_at",
                "expires_in_days",
                "name",
                "permissions[1]",
                "surplus",
            ],
        ),
        (
            json!({"name": "g", "expires_at": "2025-01-01T00:00:00Z"}),
            vec!["expires_at"],
        ),
        (
            json!({"name": "g", "expires_at": "2027-01-01T00:00:00Z", "expires_in_days": 1}),
            vec!["expires_in_days"],
        ),
        (
            json!({"name": "g", "expires_in_days": 3651}),
            vec!["expires_in_days"],
        ),
    ] {
        let answer = server.post("/operators", body.clone()).await;
        answer.problem(422);
        let mut wrong = answer.wrong();
        wrong.sort_unstable();
        assert_eq!(wrong, expected, "{body}");
    }
    let listed = server.get("/operators").await;
    assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn nobody_hands_out_what_they_do_not_have() {
    let server = Server::start().await;
    let token = server.operator_without(&[Permission::SecretsReveal]).await;
    let body = json!({"name": "grace", "permissions": ["Secrets.Reveal"]});
    let ask = server.ask("POST", "/operators").by(&token).json(&body);
    let answer = ask.answer().await;
    answer.problem(422);
    assert_eq!(answer.wrong(), ["permissions"]);
}
