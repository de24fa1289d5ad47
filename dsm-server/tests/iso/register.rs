use dsm_core::vault::{ApplicationFields, VaultOptions};
use http::Method;
use serde_json::{Value, json};

use crate::world::{Answer, FORM, World, authorization_fields};

const PATH: &str = "/iso/dapp/application";

impl World {
    async fn register(&self, token: &str, body: &Value) -> Answer {
        self.post(token, PATH, body).await
    }

    /// A token for what a registration gave.
    async fn token_from(&self, answer: &Answer) -> String {
        let text = |name: &str| answer.body[name].as_str().expect("a text").to_owned();
        self.token_for(&text("id"), &text("signature")).await
    }
}

#[tokio::test]
async fn the_flow_of_the_command_line_client() {
    let world = World::new().await;
    let token = world.token().await;
    let body = "application=app&environment=env&system=sys";
    let found = world.post_form(&token, "/iso/dapp/Application", body).await;
    assert_eq!(found.status, 200);
    let message = format!(
        "Application updated: ({}) app | Authorization found: ({})",
        world.application, world.authorization
    );
    assert_eq!(found.message(), message);
    assert_eq!(found.body["id"], world.credentials.client_id.as_str());
    let secret = world.credentials.client_secret.expose();
    assert_eq!(found.body["signature"], secret);
    let names: Vec<&String> = found.body.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["code", "id", "response", "signature"]);

    // The client keeps sending its old token when it asks for the next one.
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", FORM)];
    let body = format!(
        "client_id={}&client_secret={secret}&grant_type=client_credentials",
        world.credentials.client_id
    );
    let answer = world
        .send(Method::POST, "/iso/oauth2/token", &headers, body)
        .await;
    let token = answer.body["access_token"].as_str().expect("a token");
    let answer = world.get(token, "/iso/dapp/Application").await;
    assert_eq!(answer.body["application"]["name"], "app");
    assert_eq!(answer.body["application"]["secrets"][0]["version"], "1");
}

#[tokio::test]
async fn a_new_application_gets_a_usable_authorization() {
    let world = World::with(VaultOptions {
        auto_register: true,
        ..VaultOptions::default()
    })
    .await;
    let token = world.token().await;
    let body = json!({
        "Application": "new", "System": "other", "Environment": "prod", "description": "d",
        "tags": "a, b", "line_of_business": "sales", "application_type": "batch",
        "authentication_method": "OAuth 2.0",
        "authorized_resources": ["Application", "Secrets Management"],
        "expiration_date": "2026-05-01 00:00:00", "encryption_enabled": false,
        "allowed_ips": ["192.0.2.1"], "allowed_http_referers": [], "unique_key": "k1",
        "certificate_fingerprint": "",
    });
    let answer = world.register(&token, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(
        answer.message().starts_with("Application created: ("),
        "{}",
        answer.message()
    );
    assert!(
        answer
            .message()
            .contains(") new | Authorization created: (")
    );
    let new = world.token_from(&answer).await;
    let seen = world.get(&new, PATH).await;
    let application = json!({
        "name": "new", "description": "d", "tags": ["a", "b"], "system": "other",
        "environment": "prod", "secrets": []});
    assert_eq!(seen.body["application"], application);
    // Again, by its key alone.
    let body = json!({"application": "new", "unique_key": "k1"});
    let again = world.register(&token, &body).await;
    assert!(again.message().contains("Authorization found"));
    assert_eq!(again.body["id"], answer.body["id"]);
    assert_eq!(again.body["signature"], answer.body["signature"]);
    // What was given holds.
    world.come_from("192.0.2.9:4000");
    world.get(&new, PATH).await.fails(403, "");
}

#[tokio::test]
async fn a_second_environment_of_the_own_application() {
    let world = World::with(VaultOptions {
        auto_register: true,
        ..VaultOptions::default()
    })
    .await;
    world
        .authorize(|fields| fields.allow_application_creation = Some(false))
        .await;
    let token = world.token().await;
    let body = "application=app&environment=prod&system=sys";
    let answer = world.post_form(&token, PATH, body).await;
    assert!(
        answer.message().contains("Authorization created"),
        "{}",
        answer.message()
    );
    let new = world.token_from(&answer).await;
    let seen = world.get(&new, PATH).await;
    assert_eq!(seen.body["application"]["environment"], "prod");
    assert_eq!(seen.body["application"]["secrets"], json!([]));
    let body = "application=another&environment=env&system=sys";
    world.post_form(&token, PATH, body).await.fails(403, "");
}

#[tokio::test]
async fn wrong_fields_are_named_and_nothing_is_made() {
    let world = World::new().await;
    let token = world.token().await;
    let right = json!({"application": "new", "system": "sys", "environment": "env"});
    for (field, value) in [
        ("application", json!("")),
        ("application", json!(null)),
        ("application", json!(["a"])),
        ("system", json!("")),
        ("system", json!("hunter2")),
        ("environment", json!("hunter2")),
        ("environment", json!({"a": "hunter2"})),
        ("line_of_business", json!("hunter2")),
        ("application_type", json!("hunter2")),
        ("authentication_method", json!("hunter2")),
        ("authorized_resources", json!(["hunter2"])),
        ("authorized_resources", json!({"a": 1})),
        ("expiration_date", json!("hunter2")),
        ("expiration_date", json!("2020-01-01 00:00:00")),
        ("encryption_enabled", json!("hunter2")),
        ("allowed_ips", json!(["hunter2"])),
        ("allowed_http_referers", json!(["hunter2"])),
        ("certificate_fingerprint", json!("hunter2")),
        ("credential_profiles", json!(["hunter2"])),
        ("credential_profiles", json!("hunter2")),
        ("tags", json!([["hunter2"]])),
    ] {
        let mut body = right.clone();
        body[field] = value;
        let answer = world.register(&token, &body).await;
        // Items of lists are named by their place.
        answer.fails(400, field);
        assert!(
            !answer.body.to_string().contains("hunter2"),
            "{}",
            answer.body
        );
    }
    let filter = dsm_core::vault::ApplicationFilter::default();
    let page = dsm_core::store::Page::first(10);
    let all = world.vault.list_applications(&world.me, filter, page).await;
    assert_eq!(all.expect("a list").items.len(), 1);
}

#[tokio::test]
async fn nothing_wider_than_the_caller() {
    let world = World::new().await;
    let at = "2026-06-01T00:00:00Z".parse().expect("an instant");
    world
        .authorize(|fields| {
            fields.expires_at = Some(Some(at));
            fields.allowed_referrers = Some(vec!["https://ci.example.org".to_owned()]);
            fields.resources = Some(vec!["Application".to_owned()]);
        })
        .await;
    let body = format!(
        "client_id={}&client_secret={}&grant_type=client_credentials",
        world.credentials.client_id,
        world.credentials.client_secret.expose()
    );
    let referrer = ("referer", "https://ci.example.org/");
    let headers = [referrer, ("content-type", FORM)];
    let answer = world
        .send(Method::POST, "/iso/oauth2/token", &headers, body)
        .await;
    let token = answer.body["access_token"].as_str().expect("a token");
    let bearer = format!("Bearer {token}");
    for (field, value) in [
        ("allowed_ips", json!(["*"])),
        ("allowed_http_referers", json!([])),
        ("expiration_date", json!("")),
        ("authorized_resources", json!(["CI/CD"])),
    ] {
        let mut body = json!({"application": "new", "system": "sys", "environment": "env"});
        body[field] = value;
        let headers = [
            referrer,
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let answer = world
            .send(Method::POST, PATH, &headers, body.to_string())
            .await;
        answer.fails(403, "You are not authorized");
        assert!(answer.message().contains(&format!(" {field}: ")));
    }
}

#[tokio::test]
async fn credentials_of_others_are_not_given() {
    let world = World::new().await;
    let token = world.token().await;
    let other = world
        .vault
        .create_application(&world.me, ApplicationFields::new("theirs"))
        .await
        .expect("an application");
    world
        .vault
        .create_authorization(&world.me, other.id, authorization_fields(Vec::new()))
        .await
        .expect("an authorization");
    let body = json!({
        "application": "theirs", "system": "sys", "environment": "env", "description": "mine"});
    let answer = world.register(&token, &body).await;
    answer.fails(403, "You are not authorized to access this resource.");
    assert!(answer.body.get("id").is_none() && answer.body.get("signature").is_none());
    let found = world.vault.find_application(&world.me, other.id).await;
    assert_eq!(found.expect("it is there").description, None);
    // What operators manage stays theirs, on the own application too.
    for (field, value) in [
        ("aws_arns", json!(["arn:aws:iam::1:role/x"])),
        ("cloud_profiles", json!(["p"])),
        (
            "credential_profiles",
            json!([{"device": "d", "profile": "p"}]),
        ),
    ] {
        let mut body = json!({"application": "app", "system": "sys", "environment": "env"});
        body[field] = value;
        let answer = world.register(&token, &body).await;
        answer.fails(400, &format!("{field}: "));
    }
}

#[tokio::test]
async fn an_authorization_gives_itself_up() {
    let world = World::new().await;
    let token = world.token().await;
    let path = "/iso/dapp/application/authorization";
    let answer = world.delete(&token, path).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.message(), "Authorization deleted successfully.");
    world
        .delete(&token, path)
        .await
        .fails(401, "Inactive authorization");
    world
        .get(&token, PATH)
        .await
        .fails(401, "Inactive authorization");
    let found = world
        .vault
        .find_authorization(&world.me, world.authorization)
        .await;
    assert!(found.expect("it is kept").revoked_at.is_some());
}
