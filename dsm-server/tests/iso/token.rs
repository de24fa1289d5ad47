use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use http::header::WWW_AUTHENTICATE;
use serde_json::json;

use crate::world::{Answer, FORM, JSON, World, hours};

const PATH: &str = "/iso/oauth2/token";

impl World {
    async fn ask(&self, headers: &[(&str, &str)], body: String) -> Answer {
        self.send(Method::POST, PATH, headers, body).await
    }

    async fn ask_form(&self, id: &str, secret: &str) -> Answer {
        let body = format!("client_secret={secret}&client_id={id}&grant_type=client_credentials");
        self.ask(&[("content-type", FORM)], body).await
    }

    async fn ask_own(&self) -> Answer {
        let secret = self.credentials.client_secret.expose();
        self.ask_form(&self.credentials.client_id, secret).await
    }

    fn basic(&self) -> String {
        let secret = self.credentials.client_secret.expose();
        // Encoded as RFC 6749 has it, further than these characters need.
        let secret = secret.replace('_', "%5F");
        let pair = format!("{}:{secret}", self.credentials.client_id);
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }
}

#[tokio::test]
async fn a_token_comes_by_every_way_to_authenticate() {
    let world = World::new().await;
    let id = &world.credentials.client_id;
    let secret = world.credentials.client_secret.expose();
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let object = json!({
        "grant_type": "client_credentials", "client_id": id, "client_secret": secret});
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let multipart = [
        part("grant_type", "client_credentials"),
        part("client_id", id),
        part("client_secret", secret),
        "--b--\r\n".to_owned(),
    ]
    .concat();
    let basic = world.basic();
    for (headers, body) in [
        (vec![("content-type", FORM)], form.clone()),
        (vec![("content-type", JSON)], object.to_string()),
        (
            vec![("content-type", "multipart/form-data; boundary=b")],
            multipart,
        ),
        (
            vec![("content-type", FORM), ("authorization", basic.as_str())],
            "grant_type=client_credentials".to_owned(),
        ),
        (
            vec![("content-type", FORM), ("authorization", basic.as_str())],
            format!("grant_type=client_credentials&client_id={id}"),
        ),
        // Clients send the token that they want to replace.
        (
            vec![("content-type", FORM), ("authorization", "Bearer old")],
            form.clone(),
        ),
        (vec![], form.clone()),
    ] {
        let answer = world.ask(&headers, body).await;
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.body);
        assert_eq!(answer.body["token_type"], "Bearer");
        assert_eq!(answer.body["expires_in"], 3600);
        let token = answer.body["access_token"].as_str().expect("a token");
        let names: Vec<&String> = answer.body.as_object().expect("an object").keys().collect();
        assert_eq!(
            names,
            [
                "access_token",
                "code",
                "expires_in",
                "response",
                "token_type"
            ]
        );
        assert_eq!(world.get(token, "/iso/sctm/secrets").await.status, 200);
    }
    for path in ["/api/oauth2/token", "/API/ISO/OAuth2/Token/"] {
        let headers = [("content-type", FORM)];
        let answer = world.send(Method::POST, path, &headers, form.clone()).await;
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[tokio::test]
async fn whatever_is_wrong_looks_the_same() {
    let world = World::new().await;
    let id = world.credentials.client_id.clone();
    let secret = world.credentials.client_secret.expose();
    let mut answers = vec![
        world.ask_form(&id, "wrong").await,
        world.ask_form("nobody", secret).await,
        world.ask_form(&id, "").await,
        world.ask_form("", "").await,
    ];
    world.come_from("203.0.113.1:4000");
    answers.push(world.ask_own().await);
    world.come_from("192.0.2.1:4000");
    let restrict = vec!["https://ci.example.org".to_owned()];
    world
        .authorize(|fields| fields.allowed_referrers = Some(restrict))
        .await;
    answers.push(world.ask_own().await);
    let at = world.vault.now() + hours(2);
    world
        .authorize(|fields| {
            fields.allowed_referrers = Some(Vec::new());
            fields.enabled = Some(false);
        })
        .await;
    answers.push(world.ask_own().await);
    world
        .authorize(|fields| {
            fields.enabled = Some(true);
            fields.expires_at = Some(Some(at));
        })
        .await;
    assert_eq!(world.ask_own().await.status, 200);
    // Last, since expiry is an end.
    world.clock.set(at);
    answers.push(world.ask_own().await);
    for answer in &answers {
        assert_eq!(answer.status, 401);
        assert_eq!(answer.bytes, answers[0].bytes);
        assert!(!answer.headers.contains_key(WWW_AUTHENTICATE));
    }
    let body = &answers[0].body;
    assert_eq!(body["error"], "invalid_client");
    assert_eq!(body["error_description"], "Client authentication failed");
    assert_eq!(body["message"], "Client authentication failed");
    assert_eq!(body["response"]["error_code"], 1);
    let headers = [
        ("authorization", "Basic bm9ib2R5OndoYXQ="),
        ("content-type", FORM),
    ];
    let answer = world
        .ask(&headers, "grant_type=client_credentials".to_owned())
        .await;
    assert_eq!(answer.bytes, answers[0].bytes);
    assert_eq!(answer.headers[WWW_AUTHENTICATE], "Basic realm=\"dsm\"");
}

#[tokio::test]
async fn requests_that_are_no_such_request_are_400() {
    let world = World::new().await;
    let id = &world.credentials.client_id;
    let secret = world.credentials.client_secret.expose();
    let pair = format!("client_id={id}&client_secret={secret}");
    let basic = world.basic();
    for (headers, body, error) in [
        (
            vec![("content-type", FORM)],
            format!("grant_type=password&{pair}"),
            "unsupported_grant_type",
        ),
        (
            vec![("content-type", FORM)],
            pair.clone(),
            "invalid_request",
        ),
        (vec![], String::new(), "invalid_request"),
        (
            vec![("content-type", FORM)],
            format!("grant_type=client_credentials&scope=all&{pair}"),
            "invalid_scope",
        ),
        (
            vec![("content-type", FORM)],
            format!("grant_type=client_credentials&{pair}&client_id={id}"),
            "invalid_request",
        ),
        (
            vec![("content-type", FORM), ("authorization", basic.as_str())],
            format!("grant_type=client_credentials&{pair}"),
            "invalid_request",
        ),
        (
            vec![("content-type", FORM), ("authorization", basic.as_str())],
            "grant_type=client_credentials&client_id=other".to_owned(),
            "invalid_request",
        ),
        (
            vec![("content-type", JSON)],
            "{\"grant_type\":".to_owned(),
            "invalid_request",
        ),
        (
            vec![("content-type", "text/xml")],
            "<a/>".to_owned(),
            "invalid_request",
        ),
    ] {
        let answer = world.ask(&headers, body).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert_eq!(answer.body["error"], error);
        assert_eq!(answer.body["error_description"], answer.body["message"]);
        assert!(!answer.body.to_string().contains(secret));
    }
    // Nothing is read from the URL.
    let path = format!("{PATH}?grant_type=client_credentials&{pair}");
    let answer = world.send(Method::POST, &path, &[], "").await;
    assert_eq!(answer.body["error"], "invalid_request");
}

#[tokio::test]
async fn a_revoked_token_is_good_for_nothing() {
    let world = World::new().await;
    let token = world.token().await;
    let about = async |path: &str, token: &str| {
        let id = &world.credentials.client_id;
        let secret = world.credentials.client_secret.expose();
        let body = format!("token={token}&client_id={id}&client_secret={secret}");
        let headers = [("content-type", FORM)];
        world.send(Method::POST, path, &headers, body).await
    };
    let told = about("/iso/oauth2/introspect", &token).await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(told.body["active"], true);
    assert_eq!(told.body["token_type"], "Bearer");
    let own = world.credentials.client_id.as_str();
    assert_eq!(told.body["client_id"], own);
    let lasts = told.body["exp"].as_i64().zip(told.body["iat"].as_i64());
    assert_eq!(lasts.map(|(exp, iat)| exp - iat), Some(3600));
    for _ in 0..2 {
        let revoked = about("/iso/oauth2/revoke", &token).await;
        assert_eq!(revoked.status, 200, "{}", revoked.body);
    }
    world.get(&token, "/iso/sctm/secrets").await.fails(401, "");
    for token in [token.as_str(), "dsm_at_unknown"] {
        let told = about("/iso/oauth2/introspect", token).await;
        assert_eq!(told.status, 200);
        let names: Vec<&String> = told.body.as_object().expect("an object").keys().collect();
        assert_eq!(names, ["active", "code", "response"]);
        assert_eq!(told.body["active"], false);
    }
    assert_eq!(
        about("/iso/oauth2/revoke", "dsm_at_unknown").await.status,
        200
    );
}

#[tokio::test]
async fn who_asks_about_tokens_authenticates_as_for_one() {
    let world = World::new().await;
    let token = world.token().await;
    let basic = world.basic();
    for path in ["/iso/oauth2/revoke", "/iso/oauth2/introspect"] {
        let send = async |headers: &[(&str, &str)], body: String| {
            world.send(Method::POST, path, headers, body).await
        };
        let form = ("content-type", FORM);
        for body in [
            format!("token={token}"),
            format!("token={token}&client_id=nobody&client_secret=wrong"),
        ] {
            let refused = send(&[form], body).await;
            assert_eq!(refused.status, 401, "{path}");
            assert_eq!(refused.body["error"], "invalid_client");
        }
        let bearer = format!("Bearer {token}");
        let refused = send(
            &[form, ("authorization", &bearer)],
            format!("token={token}"),
        )
        .await;
        assert_eq!(refused.status, 401, "a token is no client's credentials");
        let basic = ("authorization", basic.as_str());
        let missing = send(&[form, basic], String::new()).await;
        assert_eq!(
            (missing.status.as_u16(), &missing.body["error"]),
            (400, &json!("invalid_request"))
        );
        let hinted = format!("token={token}&token_type_hint=refresh_token");
        let asked = send(&[form, basic], hinted).await;
        assert_eq!(asked.status, 200, "{path}");
    }
}
