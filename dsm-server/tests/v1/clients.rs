use chrono::TimeDelta;
use dsm_core::access::Origin;
use serde_json::{Value, json};

use crate::support::{Server, authorization};

fn members(object: &Value) -> Vec<&String> {
    object.as_object().expect("an object").keys().collect()
}

impl Server {
    /// Gets a token for the credentials that are shown now.
    async fn use_credentials(&self) -> bool {
        let shown = self.post("/authorizations/1/credentials", json!({})).await;
        self.use_these(&shown.body).await
    }

    async fn use_these(&self, shown: &Value) -> bool {
        let text = |name: &str| shown[name].as_str().expect("a text");
        let origin = Origin {
            ip: "10.1.2.3".parse().ok(),
            ..Origin::default()
        };
        self.vault
            .authenticate(text("client_id"), text("client_secret"), origin)
            .await
            .is_ok()
    }
}

#[tokio::test]
async fn clients_are_listed_with_their_last_use() {
    let server = Server::start().await;
    server.furnish().await;
    let listed = server.get("/authorizations/1/clients").await;
    assert_eq!(listed.status, 200, "{listed:?}");
    let client = &listed.body["items"][0];
    assert_eq!(
        members(client),
        [
            "client_id",
            "created_at",
            "created_by",
            "ends_at",
            "id",
            "last_ip",
            "last_used_at",
            "method"
        ]
    );
    assert_eq!(client["method"], "oauth2");
    assert_eq!(client["last_used_at"], Value::Null);
    server.advance(TimeDelta::hours(1));
    assert!(server.use_credentials().await);
    let listed = server.get("/authorizations/1/clients").await;
    let client = &listed.body["items"][0];
    assert_eq!(client["last_used_at"], "2026-01-01T01:00:00Z");
    assert_eq!(client["last_ip"], "10.1.2.3");
    server.get("/authorizations/9/clients").await.problem(404);
}

#[tokio::test]
async fn new_credentials_replace_others_after_an_overlap() {
    let server = Server::start().await;
    server.furnish().await;
    let old = server
        .post("/authorizations/1/credentials", json!({}))
        .await;
    let path = "/authorizations/1/clients/rotate";
    let rotated = server.post(path, json!({"overlap_seconds": 60})).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    assert_eq!(members(&rotated.body), ["client", "others_end_at"]);
    assert_eq!(rotated.body["others_end_at"], "2026-01-01T00:01:00Z");
    assert!(!rotated.body.to_string().contains("dsm_cs_"));
    let listed = server.get("/authorizations/1/clients").await;
    let items = listed.body["items"].as_array().expect("a list");
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["id"], rotated.body["client"]["id"]);
    assert_eq!(items[1]["ends_at"], "2026-01-01T00:01:00Z");
    assert!(server.use_these(&old.body).await && server.use_credentials().await);
    server.advance(TimeDelta::minutes(1));
    assert!(!server.use_these(&old.body).await && server.use_credentials().await);
    // Without a body the default overlap.
    let rotated = server.ask("POST", path).answer().await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    assert_eq!(rotated.body["others_end_at"], "2026-01-01T01:01:00Z");
    for wrong in [json!(-1), json!(2_592_001), json!("60"), json!(1.5)] {
        let answer = server.post(path, json!({"overlap_seconds": wrong})).await;
        answer.problem(422);
        assert_eq!(answer.wrong(), ["overlap_seconds"]);
    }
    let answer = server.post(path, json!({"overlap": 1})).await;
    assert_eq!(answer.wrong(), ["overlap"]);
}

#[tokio::test]
async fn one_client_is_revoked_and_no_other() {
    let server = Server::start().await;
    server.furnish().await;
    let old = server
        .post("/authorizations/1/credentials", json!({}))
        .await;
    server
        .post("/authorizations/1/clients/rotate", json!({}))
        .await;
    let listed = server.get("/authorizations/1/clients").await;
    let id = listed.body["items"][1]["id"].as_str().expect("an id");
    let path = format!("/authorizations/1/clients/{id}");
    let revoked = server.delete(&path).await;
    assert_eq!((revoked.status, revoked.body), (204, Value::Null));
    assert!(!server.use_these(&old.body).await && server.use_credentials().await);
    server.delete(&path).await.problem(404);
    server
        .delete("/authorizations/9/clients/2")
        .await
        .problem(404);
}

#[tokio::test]
async fn credentials_are_those_of_the_method() {
    let server = Server::start().await;
    server.furnish().await;
    for (number, method, expected) in [
        (
            2,
            "oauth1",
            &["consumer_key", "consumer_secret", "token", "token_secret"][..],
        ),
        (3, "aws", &["unique_key"]),
    ] {
        let body = json!({"name": method, "authentication_method": method});
        let application = server.make("/applications", body).await;
        let id = application["id"].as_str().expect("an id");
        let path = format!("/applications/{id}/authorizations");
        server.make(&path, authorization(&[])).await;
        let path = format!("/authorizations/{number}/credentials");
        let shown = server.post(&path, json!({})).await;
        assert_eq!(shown.status, 200, "{shown:?}");
        assert_eq!(members(&shown.body), expected);
        let path = format!("/authorizations/{number}/clients");
        let listed = server.get(&path).await;
        assert_eq!(listed.body["items"][0]["method"], method);
    }
}

#[tokio::test]
async fn a_unique_key_of_ones_own_is_kept() {
    let server = Server::start().await;
    server.furnish().await;
    let body = json!({"name": "cloud", "authentication_method": "aws"});
    server.make("/applications", body).await;
    let mut body = authorization(&[]);
    body["unique_key"] = json!("mine");
    server.make("/applications/3/authorizations", body).await;
    let path = "/authorizations/2/credentials";
    let shown = server.post(path, json!({})).await;
    assert_eq!(shown.body, json!({"unique_key": "mine"}));
    let removed = server
        .patch("/authorizations/2", json!({"unique_key": null}))
        .await;
    assert_eq!(removed.status, 200, "{removed:?}");
    server.post(path, json!({})).await.problem(409);
    server
        .post("/authorizations/2/clients/rotate", json!({}))
        .await;
    let shown = server.post(path, json!({})).await;
    let key = shown.body["unique_key"].as_str().expect("a key");
    assert!(key.starts_with("dsm_uk_"));
}
