use dsm_core::secret::RenewalInterval;
use dsm_core::vault::{RenewalFields, SecretFields};
use http::Method;
use serde_json::{Value, json};

use crate::world::{FORM, IDENTITY, JSON, World, shown_data};

fn default_object(message: &str) -> Value {
    json!({"status": 200, "message": message, "error": false, "error_code": 0, "detail": "",
           "mensagem": message, "erro": false, "cod_erro": 0})
}

fn brief(world: &World) -> Value {
    json!({
        "secret_id": world.secret.to_string(), "secret_name": "Main database",
        "identity": IDENTITY, "version": "1", "description": "for the team",
        "expiration_date": "2026-02-03 04:05:06", "engine": "Generic", "data": shown_data(),
    })
}

fn full(world: &World) -> Value {
    let mut secret = brief(world);
    secret["renew_cloud_time"] = false.into();
    secret["renew_credential_time"] = false.into();
    secret["renew_ephemeral_credential_time"] = false.into();
    secret
}

#[tokio::test]
async fn one_secret() {
    let world = World::new().await;
    let token = world.token().await;
    for path in [
        "/iso/sctm/secret/Team/db.main",
        "/iso/sctm/secret/Team/db.main/",
        "/iso/sctm/secret/Team%2Fdb%2Emain",
        "/api/sctm/secret/Team/db.main",
        "/api/iso/SCTM/Secret/Team/db.main",
    ] {
        let answer = world.get(&token, path).await;
        let expected = json!({
            "code": 200, "response": default_object("Secret loaded successfully."),
            "secret": full(&world)});
        assert_eq!(answer.body, expected, "{path}");
    }
}

#[tokio::test]
async fn timers_that_are_on_are_minutes() {
    let world = World::new().await;
    let fields = SecretFields {
        renew: RenewalFields {
            cloud: Some(RenewalInterval::from_minutes(30).ok()),
            ..RenewalFields::default()
        },
        expires_at: Some(None),
        ..SecretFields::default()
    };
    let changed = world
        .vault
        .update_secret(&world.me, world.secret, fields, None);
    changed.await.expect("a change");
    let token = world.token().await;
    let answer = world.get(&token, "/iso/sctm/secret/Team/db.main").await;
    let secret = &answer.body["secret"];
    assert_eq!(secret["renew_cloud_time"], 30);
    assert_eq!(secret["renew_credential_time"], false);
    assert_eq!(secret["version"], "2");
    assert_eq!(secret["expiration_date"], "");
}

#[tokio::test]
async fn all_secrets_by_both_paths_under_both_names() {
    let world = World::new().await;
    let token = world.token().await;
    world.other_secret("not-attached").await;
    for path in ["/iso/sctm/secrets", "/iso/sctm/secret", "/iso/sctm/secret/"] {
        let answer = world.get(&token, path).await;
        let expected = json!({
            "code": 200, "response": default_object("Secrets loaded successfully."),
            "Secrets": [full(&world)], "secrets": [full(&world)]});
        assert_eq!(answer.body, expected, "{path}");
    }
    let second = world.other_secret("second").await;
    let attached = world
        .vault
        .attach_secret(&world.me, world.authorization, second);
    attached.await.expect("attached");
    let answer = world.get(&token, "/iso/sctm/secrets").await;
    assert_eq!(answer.body["Secrets"][1]["identity"], "second");
    assert_eq!(answer.body["Secrets"], answer.body["secrets"]);
}

#[tokio::test]
async fn the_application_with_its_secrets() {
    let world = World::new().await;
    let token = world.token().await;
    for path in ["/iso/dapp/application", "/iso/dapp/Application"] {
        let answer = world.get(&token, path).await;
        let message = format!("Application {}", world.application);
        let expected = json!({
            "code": 200, "response": default_object(&message),
            "application": {"name": "app", "description": null, "tags": ["t1", "t2"],
                "system": "sys", "environment": "env", "secrets": [brief(&world)]}});
        assert_eq!(answer.body, expected, "{path}");
    }
}

#[tokio::test]
async fn no_secret_is_an_empty_list() {
    let world = World::new().await;
    world
        .authorize(|fields| fields.secrets = Some(Vec::new()))
        .await;
    let token = world.token().await;
    let answer = world.get(&token, "/iso/dapp/application").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["application"]["secrets"], json!([]));
    let answer = world.get(&token, "/iso/sctm/secrets").await;
    assert_eq!(answer.body["Secrets"], json!([]));
    assert_eq!(answer.body["secrets"], json!([]));
}

#[tokio::test]
async fn a_read_takes_any_content_type_and_body() {
    let world = World::new().await;
    let token = world.token().await;
    for (content_type, body) in [
        (FORM, ""),
        (JSON, ""),
        (JSON, "{\"identity\":\"x\"}"),
        (JSON, "not JSON"),
        ("text/xml", "<a/>"),
    ] {
        for path in ["/iso/sctm/secret/Team/db.main", "/iso/dapp/application"] {
            let answer = world
                .with_token(&token, Method::GET, path, content_type, body)
                .await;
            assert_eq!(answer.status, 200, "{content_type} {body}");
        }
    }
}

#[tokio::test]
async fn identities_are_decoded_once_and_checked() {
    let world = World::new().await;
    let token = world.token().await;
    for path in [
        "a//b", "a/../b", "..", "a%2F%2Fb", "%2e%2e", "a%252Fb", "a%20b", "%FF", "a%00", "a+b",
        "a%2F",
    ] {
        let path = format!("/iso/sctm/secret/{path}");
        world.get(&token, &path).await.fails(400, "identity: ");
        world.delete(&token, &path).await.fails(400, "identity: ");
    }
    let long = format!("/iso/sctm/secret/{}", "x".repeat(257));
    world.get(&token, &long).await.fails(400, "identity: ");
    // Case matters.
    let answer = world.get(&token, "/iso/sctm/secret/team/db.main").await;
    answer.fails(404, "");
}
