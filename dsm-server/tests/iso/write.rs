use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use serde_json::{Value, json};

use crate::world::{IDENTITY, World};

const PATH: &str = "/iso/sctm/secret";

impl World {
    async fn write(&self, token: &str, body: &Value) -> crate::world::Answer {
        self.post(token, PATH, body).await
    }

    async fn secret(&self, token: &str, identity: &str) -> Value {
        let answer = self.get(token, &format!("{PATH}/{identity}")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["secret"].clone()
    }
}

#[tokio::test]
async fn a_new_secret_is_shown_and_attached() {
    let world = World::new().await;
    let token = world.token().await;
    let body = json!({
        "identity": "ci/token", "name": "Token", "engine": "GitLab", "description": "d",
        "expiration_date": "2026-06-01 10:00:00", "renew_cloud_time": 30,
        "renew_credential_time": "45", "renew_ephemeral_credential_time": [],
        "data": {"key_value": {"fields": {"TOKEN": "t", "PORT": 5432, "TLS": true, "X": null}}},
    });
    let answer = world.write(&token, &body).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.message(), "Secret created successfully.");
    let id = answer.body["application"]["secrets"][0]["secret_id"].clone();
    let data = json!([{"PORT": "5432", "TLS": "true", "TOKEN": "t", "X": null}]);
    let expected = json!({"name": "app", "description": null, "tags": ["t1", "t2"],
        "system": "sys", "environment": "env", "secrets": [{
            "secret_id": id, "secret_name": "Token", "identity": "ci/token", "version": "1",
            "description": "d", "expiration_date": "2026-06-01 10:00:00", "engine": "GitLab",
            "data": data}]});
    assert_eq!(answer.body["application"], expected);
    let secret = world.secret(&token, "ci/token").await;
    assert_eq!(secret["data"], data);
    assert_eq!(secret["renew_cloud_time"], 30);
    assert_eq!(secret["renew_credential_time"], 45);
    assert_eq!(secret["renew_ephemeral_credential_time"], false);
}

#[tokio::test]
async fn a_change_keeps_what_it_does_not_name() {
    let world = World::new().await;
    let token = world.token().await;
    let body = json!({"identity": IDENTITY, "data": {"key_value": {"fields": {"A": "2"}}}});
    let answer = world.write(&token, &body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.message(), "Secret updated successfully.");
    let secret = &answer.body["application"]["secrets"][0];
    assert_eq!(secret["version"], "2");
    assert_eq!(secret["secret_name"], "Main database");
    assert_eq!(secret["expiration_date"], "2026-02-03 04:05:06");
    assert_eq!(secret["data"][0]["DB_USER"], "u");
    assert_eq!(secret["data"][2], json!({"A": "2"}));
    // The same again is no new version.
    let answer = world.write(&token, &body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(world.version().await, 2);
    let body = json!({
        "identity": IDENTITY, "name": null, "engine": "", "description": null, "data": null,
        "expiration_date": null, "renew_cloud_time": ""});
    assert_eq!(world.write(&token, &body).await.status, 200);
    assert_eq!(world.version().await, 2);
    let body = json!({"identity": IDENTITY, "expiration_date": "", "description": ""});
    let answer = world.write(&token, &body).await;
    let secret = &answer.body["application"]["secrets"][0];
    assert_eq!(secret["expiration_date"], "");
    assert_eq!(secret["description"], "");
    assert_eq!(world.version().await, 3);
}

#[tokio::test]
async fn bodies_come_in_many_forms() {
    let world = World::new().await;
    let token = world.token().await;
    let data = json!({"value": "s3cret?>"}).to_string();
    let base64 = BASE64_STANDARD.encode(&data);
    let encoded = base64
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let multipart = [
        part("Identity", "a4"),
        part("Name", "n"),
        part("data", &base64),
        "--b--\r\n".to_owned(),
    ]
    .concat();
    for (identity, content_type, body) in [
        (
            "a1",
            "application/json",
            json!({"Identity": "a1", "NAME": "n", "Data": base64, "tenant": "x"}).to_string(),
        ),
        (
            "a2",
            "application/x-www-form-urlencoded",
            format!("identity=a2&name=n&data={encoded}"),
        ),
        (
            "a3",
            "application/x-www-form-urlencoded; charset=utf-8",
            format!("Identity=a3&Name=n&Expiration_Date=&date={base64}"),
        ),
        ("a4", "multipart/form-data; boundary=b", multipart),
        (
            "a5",
            "application/json",
            json!({"identity": "a5", "name": "n", "date": {"value": "s3cret?>"}}).to_string(),
        ),
    ] {
        let answer = world
            .with_token(&token, Method::POST, PATH, content_type, body)
            .await;
        assert_eq!(answer.status, 201, "{identity}: {}", answer.body);
        let secret = world.secret(&token, identity).await;
        assert_eq!(secret["data"], json!([{"value": "s3cret?>"}]), "{identity}");
        assert_eq!(secret["secret_name"], "n");
    }
}

#[tokio::test]
async fn dates_are_utc_unless_they_say_otherwise() {
    let world = World::new().await;
    let token = world.token().await;
    for (name, sent, shown) in [
        (
            "expiration_date",
            "2027-01-31 12:00:00",
            "2027-01-31 12:00:00",
        ),
        (
            "Expiration_Date",
            "2027-02-28T12:00:00Z",
            "2027-02-28 12:00:00",
        ),
        (
            "expiration_Date",
            "2027-03-31T12:00:00+02:00",
            "2027-03-31 10:00:00",
        ),
    ] {
        let body = json!({"identity": IDENTITY, name: sent});
        assert_eq!(world.write(&token, &body).await.status, 200, "{sent}");
        let secret = world.secret(&token, IDENTITY).await;
        assert_eq!(secret["expiration_date"], shown);
    }
}

#[tokio::test]
async fn timers_are_left_set_and_turned_off() {
    let world = World::new().await;
    let token = world.token().await;
    let cases = [
        (json!(10), json!(10)),
        (json!(null), json!(10)),
        (json!(""), json!(10)),
        (json!("525600"), json!(525_600)),
        (json!([]), json!(false)),
        (json!(20), json!(20)),
        (json!(0), json!(false)),
        (json!(20), json!(20)),
        (json!(false), json!(false)),
    ];
    for (name, shown_name) in [
        ("renew_cloud_time", "renew_cloud_time"),
        ("renew_credential_time", "renew_credential_time"),
        (
            "renew_ephemeral_credential_time",
            "renew_ephemeral_credential_time",
        ),
        (
            "renew_efemeral_credential_time",
            "renew_ephemeral_credential_time",
        ),
    ] {
        for (sent, shown) in &cases {
            let body = json!({"identity": IDENTITY, name: sent});
            let answer = world.write(&token, &body).await;
            assert_eq!(answer.status, 200, "{sent}: {}", answer.body);
            let secret = world.secret(&token, IDENTITY).await;
            assert_eq!(secret[shown_name], *shown, "{name} {sent}");
        }
        let version = world.version().await;
        for wrong in [
            json!(1),
            json!(9),
            json!(-1),
            json!(10.5),
            json!(525_601),
            json!("soon"),
            json!(true),
            json!([10]),
            json!({}),
            json!("9"),
        ] {
            let body = json!({"identity": IDENTITY, name: wrong});
            let answer = world.write(&token, &body).await;
            answer.fails(400, &format!("{shown_name}: "));
        }
        assert_eq!(world.version().await, version);
    }
}

#[tokio::test]
async fn wrong_fields_are_named_and_nothing_is_stored() {
    const CANARY: &str = "hunter2";
    let world = World::new().await;
    let token = world.token().await;
    let nested = BASE64_STANDARD.encode(json!({"A": [CANARY]}).to_string());
    let twice = BASE64_STANDARD.encode(r#"{"A":"hunter2","A":"b"}"#);
    for (field, value) in [
        ("name", json!("")),
        ("name", json!([CANARY])),
        ("name", json!("x".repeat(257))),
        ("engine", json!(CANARY)),
        ("engine", json!({"a": CANARY})),
        ("expiration_date", json!(CANARY)),
        ("expiration_date", json!(1_900_000_000)),
        ("expiration_date", json!("2025-01-01 00:00:00")),
        ("description", json!("x".repeat(4097))),
        ("data", json!("!hunter2!")),
        ("data", json!([CANARY])),
        ("data", json!(7)),
        ("data", json!(twice)),
        ("data.A", json!(nested)),
        ("data.A", json!({"A": {"B": CANARY}})),
        ("data.credentials", json!({"credentials": CANARY})),
        (
            "data.credentials[0].credential.target",
            json!({"credentials": [{"credential": {"target": CANARY, "fields": {}}}]}),
        ),
        (
            "data",
            json!({"credentials": [{"credential": {"fields": {"user_label": "password"}}}]}),
        ),
    ] {
        let name = field.split('.').next().expect("a name");
        for identity in [IDENTITY, "new"] {
            let mut body = json!({"identity": identity, "name": "n"});
            body[name] = value.clone();
            let answer = world.write(&token, &body).await;
            answer.fails(400, &format!("{field}: "));
            assert_eq!(answer.body["response"]["error_code"], 1);
            assert!(!answer.body.to_string().contains(CANARY), "{}", answer.body);
        }
    }
    for (body, field) in [
        (json!({"name": "n"}), "identity"),
        (json!({"name": "n", "identity": ""}), "identity"),
        (json!({"name": "n", "identity": "a b"}), "identity"),
        (json!({"identity": "new"}), "name"),
        (
            json!({"identity": "new", "name": "n", "data": "", "date": ""}),
            "data",
        ),
    ] {
        world.write(&token, &body).await.fails(400, field);
    }
    // Every wrong field at once.
    let body = json!({"identity": "a b", "expiration_date": "x", "renew_cloud_time": 1});
    let answer = world.write(&token, &body).await;
    for field in ["identity: ", "; expiration_date: ", "; renew_cloud_time: "] {
        assert!(answer.message().contains(field), "{}", answer.message());
    }
    world
        .get(&token, "/iso/sctm/secret/new")
        .await
        .fails(404, "");
    assert_eq!(world.version().await, 1);
}

#[tokio::test]
async fn bodies_that_cannot_be_read() {
    let world = World::new().await;
    let token = world.token().await;
    for (content_type, body, status) in [
        ("application/json", "{\"identity\":", 400),
        ("application/json", "[]", 400),
        (
            "application/json",
            "{\"identity\":\"a\",\"identity\":\"b\"}",
            400,
        ),
        ("application/x-www-form-urlencoded", "identity=%FF", 400),
        ("multipart/form-data; boundary=b", "--b\r\n", 400),
        ("multipart/form-data", "x", 400),
        ("text/xml", "<a/>", 415),
    ] {
        let answer = world
            .with_token(&token, Method::POST, PATH, content_type, body)
            .await;
        answer.fails(status, "");
    }
}

#[tokio::test]
async fn a_deleted_secret_is_disabled() {
    let world = World::new().await;
    let token = world.token().await;
    let answer = world
        .delete(&token, "/iso/sctm/secret/Team%2Fdb.main")
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.message(), "Secret deleted successfully.");
    let path = "/iso/sctm/secret/Team/db.main";
    world.get(&token, path).await.fails(404, "");
    world.delete(&token, path).await.fails(409, "");
    let found = world.vault.find_secret(&world.me, world.secret).await;
    assert!(!found.expect("it is kept").enabled);
}

#[tokio::test]
async fn writes_at_the_same_time_all_succeed() {
    let world = World::new().await;
    let token = world.token().await;
    let write = async |n: usize| {
        let body = json!({"identity": format!("s{n}"), "name": "n", "data": {"K": n}});
        world.write(&token, &body).await.status.as_u16()
    };
    let all = futures_util::future::join_all((0..8).map(write)).await;
    assert_eq!(all, [201; 8]);
    let answer = world.get(&token, "/iso/sctm/secrets").await;
    assert_eq!(answer.body["secrets"].as_array().map(Vec::len), Some(9));
}
