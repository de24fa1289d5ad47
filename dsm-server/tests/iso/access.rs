use dsm_core::vault::{ApplicationFields, AuthorizationFields, SecretFields};
use http::Method;
use http::header::WWW_AUTHENTICATE;
use serde_json::json;

use crate::world::{FORM, IDENTITY, World, authorization_fields, hours};

const SECRET: &str = "/iso/sctm/secret/Team/db.main";
const FORBIDDEN: &str = "You are not authorized to access this resource.";

/// Every endpoint that wants a token, with a body that is right.
const ENDPOINTS: [(Method, &str, &str); 8] = [
    (Method::GET, "/iso/dapp/application", ""),
    (
        Method::POST,
        "/iso/dapp/application",
        "application=app&system=sys&environment=env",
    ),
    (Method::GET, "/iso/sctm/secrets", ""),
    (Method::GET, "/iso/sctm/secret", ""),
    (Method::POST, "/iso/sctm/secret", "identity=x&name=n"),
    (Method::GET, SECRET, ""),
    (Method::DELETE, SECRET, ""),
    (Method::DELETE, "/iso/dapp/application/authorization", ""),
];

impl World {
    async fn all_fail(&self, token: &str, status: u16, message: &str) {
        for (method, path, body) in ENDPOINTS {
            let answer = self
                .with_token(token, method.clone(), path, FORM, body)
                .await;
            answer.fails(status, message);
            assert_eq!(answer.message(), message, "{method} {path}");
            assert_eq!(answer.body["response"]["error_code"], 1);
            let challenged = answer.headers.contains_key(WWW_AUTHENTICATE);
            assert_eq!(challenged, status == 401);
        }
    }
}

#[tokio::test]
async fn without_a_good_token_nothing_works() {
    const MESSAGE: &str = "The access token is missing, unknown or expired";
    let world = World::new().await;
    for header in [None, Some("Basic eDp5"), Some("Bearer"), Some("Bearer ")] {
        for (method, path, body) in ENDPOINTS {
            let mut headers = vec![("content-type", FORM)];
            headers.extend(header.map(|value| ("authorization", value)));
            let answer = world.send(method, path, &headers, body).await;
            answer.fails(401, MESSAGE);
        }
    }
    world.all_fail("dsm_at_nonsense", 401, MESSAGE).await;
    let token = world.token().await;
    let bearer = format!("bearer  {token}");
    let headers = [("authorization", bearer.as_str())];
    let answer = world.send(Method::GET, SECRET, &headers, "").await;
    assert_eq!(answer.status, 200);
    // At the very instant it has expired.
    world.clock.advance(hours(1));
    world.all_fail(&token, 401, MESSAGE).await;
}

#[tokio::test]
async fn an_authorization_that_is_not_in_force() {
    const MESSAGE: &str = "Inactive authorization";
    let world = World::new().await;
    let token = world.token().await;
    world.authorize(|fields| fields.enabled = Some(false)).await;
    world.all_fail(&token, 401, MESSAGE).await;
    let at = world.vault.now() + chrono::TimeDelta::seconds(1);
    world
        .authorize(|fields| {
            fields.enabled = Some(true);
            fields.expires_at = Some(Some(at));
        })
        .await;
    assert_eq!(world.get(&token, SECRET).await.status, 200);
    let switch = async |enabled| {
        let fields = ApplicationFields {
            enabled: Some(enabled),
            ..ApplicationFields::default()
        };
        world
            .vault
            .update_application(&world.me, world.application, fields, None)
            .await
            .expect("a change");
    };
    switch(false).await;
    world.all_fail(&token, 401, MESSAGE).await;
    switch(true).await;
    assert_eq!(world.get(&token, SECRET).await.status, 200);
    // Last, since expiry is an end.
    world.clock.set(at);
    world.all_fail(&token, 401, MESSAGE).await;
}

#[tokio::test]
async fn from_elsewhere_or_beyond_the_resources() {
    let world = World::new().await;
    let token = world.token().await;
    world.come_from("203.0.113.1:4000");
    world.all_fail(&token, 403, FORBIDDEN).await;
    world.come_from("192.0.2.7:4000");
    assert_eq!(world.get(&token, SECRET).await.status, 200);
    // A forwarding header of nobody's counts for nothing.
    let bearer = format!("Bearer {token}");
    world.come_from("203.0.113.1:4000");
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-forwarded-for", "192.0.2.1"),
    ];
    let answer = world.send(Method::GET, SECRET, &headers, "").await;
    answer.fails(403, FORBIDDEN);
    world.come_from("192.0.2.7:4000");

    let pages = vec!["https://ci.example.org/jobs".to_owned()];
    world
        .authorize(|fields| fields.allowed_referrers = Some(pages))
        .await;
    world.all_fail(&token, 403, FORBIDDEN).await;
    for (referrer, status) in [
        ("https://ci.example.org/jobs/7", 200),
        ("https://ci.example.org/jobsx", 403),
        ("http://ci.example.org/jobs", 403),
    ] {
        let headers = [("authorization", bearer.as_str()), ("referer", referrer)];
        let answer = world.send(Method::GET, SECRET, &headers, "").await;
        assert_eq!(answer.status, status, "{referrer}");
    }
    world
        .authorize(|fields| {
            fields.allowed_referrers = Some(Vec::new());
            fields.certificate_fingerprint = Some(Some("ab".repeat(32)));
        })
        .await;
    world.all_fail(&token, 403, FORBIDDEN).await;
    world
        .authorize(|fields| {
            fields.certificate_fingerprint = Some(None);
            fields.resources = Some(vec!["Application".to_owned()]);
        })
        .await;
    for (method, path, body) in ENDPOINTS {
        let answer = world
            .with_token(&token, method.clone(), path, FORM, body)
            .await;
        if path.starts_with("/iso/sctm") {
            answer.fails(403, FORBIDDEN);
        } else {
            assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_secret_that_is_not_attached_is_as_if_absent() {
    let world = World::new().await;
    let token = world.token().await;
    world.other_secret("theirs").await;
    for method in [Method::GET, Method::DELETE] {
        let path = "/iso/sctm/secret/theirs";
        let theirs = world
            .with_token(&token, method.clone(), path, FORM, "")
            .await;
        let path = "/iso/sctm/secret/nobodys";
        let nobodys = world.with_token(&token, method, path, FORM, "").await;
        theirs.fails(404, "Not found");
        assert_eq!(theirs.bytes, nobodys.bytes);
        assert_eq!(theirs.body["response"]["error_code"], 4);
    }
    let body = json!({"identity": "theirs", "name": "mine now", "data": {"K": "x"}});
    let answer = world.post(&token, "/iso/sctm/secret", &body).await;
    answer.fails(403, FORBIDDEN);
    assert!(!answer.body.to_string().contains("other value"));
}

#[tokio::test]
async fn disabled_and_expired_secrets() {
    let world = World::new().await;
    let token = world.token().await;
    let disabled = world.vault.disable_secret(&world.me, world.secret, None);
    disabled.await.expect("disabled");
    let body = json!({"identity": IDENTITY, "description": "x"});
    world.get(&token, SECRET).await.fails(404, "Not found");
    let answer = world.post(&token, "/iso/sctm/secret", &body).await;
    answer.fails(409, "");
    world.delete(&token, SECRET).await.fails(409, "");
    let answer = world.get(&token, "/iso/sctm/secrets").await;
    assert_eq!(answer.body["secrets"], json!([]));

    let at = world.vault.now() + chrono::TimeDelta::seconds(1);
    let fields = SecretFields {
        enabled: Some(true),
        expires_at: Some(Some(at)),
        ..SecretFields::default()
    };
    let changed = world
        .vault
        .update_secret(&world.me, world.secret, fields, None);
    changed.await.expect("a change");
    assert_eq!(world.get(&token, SECRET).await.status, 200);
    world.clock.set(at);
    world.get(&token, SECRET).await.fails(404, "Not found");
    let answer = world.post(&token, "/iso/sctm/secret", &body).await;
    answer.fails(409, "");
    world.delete(&token, SECRET).await.fails(409, "");
    let answer = world.get(&token, "/iso/dapp/application").await;
    assert_eq!(answer.body["application"]["secrets"], json!([]));
}

#[tokio::test]
async fn a_read_only_authorization_writes_nothing() {
    let world = World::new().await;
    world
        .authorize(|fields| fields.read_only = Some(true))
        .await;
    let token = world.token().await;
    for (method, path, body) in ENDPOINTS {
        let read = method == Method::GET;
        let answer = world.with_token(&token, method, path, FORM, body).await;
        if read {
            assert_eq!(answer.status, 200);
        } else {
            answer.fails(403, FORBIDDEN);
        }
    }
    assert_eq!(world.version().await, 1);
}

#[tokio::test]
async fn a_token_of_one_authorization_opens_nothing_of_another() {
    let world = World::new().await;
    let theirs = world.other_secret("theirs").await;
    let made = world
        .vault
        .create_authorization(
            &world.me,
            world.application,
            AuthorizationFields {
                name: Some("second".to_owned()),
                ..authorization_fields(vec![theirs])
            },
        )
        .await
        .expect("an authorization");
    let credentials = world.vault.reveal_credentials(&world.me, made.id).await;
    let credentials = credentials.expect("credentials").into_oauth2();
    let credentials = credentials.expect("of OAuth 2.0");
    let token = world
        .token_for(&credentials.client_id, credentials.client_secret.expose())
        .await;
    world.get(&token, SECRET).await.fails(404, "");
    let answer = world.get(&token, "/iso/sctm/secret/theirs").await;
    assert_eq!(answer.body["secret"]["data"], json!([{"K": "other value"}]));
}
