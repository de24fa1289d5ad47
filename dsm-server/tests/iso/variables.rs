//! `POST /iso/cicd/variables`, as it arrives.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dsm_core::pipeline::{ReviewStatus, Variable};
use dsm_core::store::Page;
use dsm_core::vault::{Stored, VariableFilter};
use http::Method;
use serde_json::{Value, json};

use crate::world::{JSON, World};

const PATH: &str = "/iso/cicd/variables";
const ENV: &str = "DB_USER=app\nDB_PASSWORD=it's ++//\nKEY=-----BEGIN\n\n9=y z\nCOLOUR=blue";

/// Base64 as the clients write it.
fn encoded(text: &str) -> String {
    let standard = BASE64_STANDARD.encode(text);
    standard
        .replace('+', "-")
        .replace('/', "_")
        .replace('=', ",")
}

fn map() -> Value {
    json!({
        "access_keys": [],
        "credentials": [{"name": "belt/db", "fields": {"user": "DB_USER", "password": "DB_PASSWORD", "host": ""}}],
        "key_value": [{"name": "belt/more", "fields": ["KEY"]}],
    })
}

async fn variables(world: &World) -> Vec<Stored<Variable>> {
    let filter = VariableFilter::default();
    let found = world
        .vault
        .list_variables(&world.me, filter, Page::first(500));
    found.await.expect("a list").items
}

#[tokio::test]
async fn a_form_a_multipart_form_and_json_say_the_same() {
    let (env, map) = (encoded(ENV), encoded(&map().to_string()));
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let bodies = [
        (
            "application/x-www-form-urlencoded",
            format!("env={env}&map={map}"),
        ),
        (
            "application/x-www-form-urlencoded",
            format!("map={map}&env={}", env.replace(',', "%2C")),
        ),
        (
            "multipart/form-data; boundary=b",
            format!("{}{}--b--\r\n", part("env", &env), part("map", &map)),
        ),
        (JSON, json!({"env": env, "map": map}).to_string()),
    ];
    for (content_type, body) in bodies {
        let world = World::new().await;
        let token = world.token().await;
        let answer = world
            .with_token(&token, Method::POST, PATH, content_type, body)
            .await;
        assert_eq!(answer.status, 200, "{content_type}: {}", answer.body);
        let members: Vec<&String> = answer.body.as_object().expect("an object").keys().collect();
        assert_eq!(
            members,
            ["code", "response"],
            "the default object and no more"
        );
        let shown = world.get(&token, "/iso/sctm/secret/belt/db").await;
        let data = &shown.body["secret"]["data"];
        assert_eq!(
            *data,
            json!([{"DB_USER": "app", "DB_PASSWORD": "it's ++//"}])
        );
        let shown = world.get(&token, "/iso/sctm/secret/belt/more").await;
        let value = &shown.body["secret"]["data"][0]["KEY"];
        assert_eq!(*value, "-----BEGIN\n\n9=y z", "a value of several lines");
        let names: Vec<_> = variables(&world)
            .await
            .iter()
            .map(|one| one.name.clone())
            .collect();
        assert_eq!(names, ["COLOUR", "KEY", "DB_PASSWORD", "DB_USER"]);
    }
}

#[tokio::test]
async fn either_field_may_be_empty() {
    let world = World::new().await;
    let token = world.token().await;
    for body in ["", "env=&map=", "env=", "map="] {
        let answer = world.post_form(&token, PATH, body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
    }
    assert!(variables(&world).await.is_empty());
    let answer = world
        .post_form(&token, PATH, &format!("env={}", encoded("API_KEY=x")))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        variables(&world).await[0].status,
        ReviewStatus::PendingReview
    );
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_is_stored() {
    let world = World::new().await;
    let token = world.token().await;
    let env = encoded(ENV);
    let too_many: Vec<String> = (0..1001).map(|n| format!("V{n}=")).collect();
    let too_long = format!("A={}", "x".repeat((64 << 10) + 1));
    let credential =
        |fields: Value| json!({"credentials": [{"name": "belt/db", "fields": fields}]});
    let cases: [(String, String, &str); 17] = [
        (
            "env=hunter2!".to_owned(),
            String::new(),
            "env: must be Base64",
        ),
        (
            "env=QUI9".to_owned() + "+A==",
            String::new(),
            "env: must be Base64",
        ),
        (
            format!(
                "env={}",
                BASE64_STANDARD.encode(b"A=\xff").replace('/', "_")
            ),
            String::new(),
            "env: must be UTF-8",
        ),
        (
            format!("env={}", encoded("hunter2")),
            String::new(),
            "env: must begin with a line NAME=VALUE",
        ),
        (
            format!("env={}", encoded(&too_many.join("\n"))),
            String::new(),
            "env: must have at most 1000",
        ),
        (
            format!("env={}", encoded(&too_long)),
            String::new(),
            "env: A: the value must have at most",
        ),
        (String::new(), "map=!".to_owned(), "map: must be Base64"),
        (
            String::new(),
            format!("map={}", encoded("{hunter2")),
            "map: ",
        ),
        (String::new(), format!("map={}", encoded("[]")), "map: "),
        (
            String::new(),
            format!("map={}", encoded("{\"a\":1,\"a\":2}")),
            "map: ",
        ),
        (
            String::new(),
            encoded_map(&json!({"credentials": {}})),
            "map.credentials: must be a list",
        ),
        (
            String::new(),
            encoded_map(&json!({"key_value": [{"name": "x", "fields": {}}]})),
            "map.key_value[0].fields: must be a list",
        ),
        (
            String::new(),
            encoded_map(&json!({"access_keys": [{"name": "x", "type": "ibm", "fields": {}}]})),
            "map.access_keys[0].type: must be aws, azure or gcp",
        ),
        (
            String::new(),
            encoded_map(&credential(json!({"user": "MISSING"}))),
            "map.credentials[0].fields.user: names a variable that env does not have",
        ),
        (
            String::new(),
            encoded_map(&credential(json!({"user": 7}))),
            "map.credentials[0].fields.user: must be the name of a variable",
        ),
        (
            String::new(),
            encoded_map(&credential(json!({}))),
            "map.credentials[0].fields: names no variable",
        ),
        (
            String::new(),
            encoded_map(&json!({"key_value": [{"name": "a b", "fields": ["KEY"]}]})),
            "map.key_value[0].name: an identity is made of",
        ),
    ];
    for (given, map, message) in cases {
        let body = if given.is_empty() {
            format!("env={env}&{map}")
        } else {
            given
        };
        let answer = world.post_form(&token, PATH, &body).await;
        answer.fails(400, message);
        assert!(
            !answer.body.to_string().contains("hunter"),
            "{}",
            answer.body
        );
    }
    assert!(variables(&world).await.is_empty());
    let gone = world.get(&token, "/iso/sctm/secret/belt/db").await;
    assert_eq!(gone.status, 404);
}

fn encoded_map(map: &Value) -> String {
    format!("map={}", encoded(&map.to_string()))
}

#[tokio::test]
async fn an_authorization_that_may_not_is_refused() {
    let world = World::new().await;
    let token = world.token().await;
    let body = format!("env={}", encoded(ENV));
    world
        .authorize(|fields| fields.read_only = Some(true))
        .await;
    world
        .post_form(&token, PATH, &body)
        .await
        .fails(403, "You are not authorized");
    world
        .authorize(|fields| {
            fields.read_only = Some(false);
            fields.resources = Some(vec![
                "Application".to_owned(),
                "Secret Management".to_owned(),
            ]);
        })
        .await;
    world
        .post_form(&token, PATH, &body)
        .await
        .fails(403, "You are not authorized");
    assert!(variables(&world).await.is_empty());
}

#[tokio::test]
async fn registrations_at_the_same_time_all_succeed() {
    let world = World::new().await;
    let token = world.token().await;
    let body = |n: usize| {
        format!(
            "env={}&map={}",
            encoded(&format!("KEY={n}")),
            encoded(r#"{"key_value":[{"name":"one","fields":["KEY"]}]}"#)
        )
    };
    let (a, b, c) = (body(1), body(2), body(3));
    let answers = tokio::join!(
        world.post_form(&token, PATH, &a),
        world.post_form(&token, PATH, &b),
        world.post_form(&token, PATH, &c),
    );
    for answer in [answers.0, answers.1, answers.2] {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(variables(&world).await.len(), 1);
    let shown = world.get(&token, "/iso/sctm/secret/one").await;
    assert_eq!(shown.body["secret"]["version"], "3");
}
