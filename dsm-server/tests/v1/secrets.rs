use chrono::TimeDelta;
use dsm_core::access::Permission;
use serde_json::{Value, json};

use crate::support::{Server, content};

fn data() -> Value {
    json!({
        "credentials": [{"credential": {"fields": {"user": "u", "password": "hunter2"}}}],
        "ssh_keys": [{"ssh_key": {"fields": {"user": "root", "private_key": "hunter2"}}}],
        "ephemeral_credentials": [{"ephemeral_credential": {"profile": "web"}}],
        "access_keys": [{"access_key": {"type": "aws", "fields": {
            "access_key_id": "AK", "secret_access_key": "hunter2",
        }}}],
        "key_value": {"fields": {"A": "hunter2", "B": null}},
    })
}

#[tokio::test]
async fn a_secret_is_made_with_every_field_and_never_shows_values() {
    let server = Server::start().await;
    server.registries().await;
    let body = json!({
        "identity": "db/main", "name": "Main database", "enabled": false,
        "engine": "Kubernetes", "environment": "production",
        "expires_at": "2027-01-01T01:00:00+01:00", "tags": ["a", "b"],
        "description": "nightly",
        "renew": {"cloud": 10, "credential": 0, "ephemeral": 525_600}, "data": data(),
    });
    let made = server.post("/secrets", body).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.header("location"), Some("/api/v1/secrets/1"));
    assert_eq!(made.header("etag"), Some("\"1\""));
    let expected = json!({
        "id": "1", "identity": "db/main", "name": "Main database", "enabled": false,
        "status": "disabled", "engine": "Kubernetes", "environment": "production",
        "expires_at": "2027-01-01T00:00:00Z", "tags": ["a", "b"], "description": "nightly",
        "renew": {"cloud": 10, "credential": false, "ephemeral": 525_600},
        "version": 1, "oldest_version": 1, "has_error": false, "needs_operator": false,
        "destroyed_at": null, "managed": [],
        "items": {
            "credentials": 1, "ssh_keys": 1, "ephemeral_credentials": 1, "access_keys": 1,
            "key_values": 2,
        },
    });
    assert_eq!(content(&made.body), expected);
    for path in [
        "/secrets/1",
        "/secrets",
        "/secrets/1/versions",
        "/secrets/1/versions/1",
        "/secrets/1/errors",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.to_string().contains("hunter2"), "{path}");
    }
}

#[tokio::test]
async fn defaults_are_shown() {
    let server = Server::start().await;
    let made = server
        .make("/secrets", json!({"identity": "a", "name": "A"}))
        .await;
    let expected = json!({
        "id": "1", "identity": "a", "name": "A", "enabled": true, "status": "active",
        "engine": "Generic", "environment": null, "expires_at": null, "tags": [],
        "description": "",
        "renew": {"cloud": false, "credential": false, "ephemeral": false},
        "version": 1, "oldest_version": 1, "has_error": false, "needs_operator": false,
        "destroyed_at": null, "managed": [],
        "items": {
            "credentials": 0, "ssh_keys": 0, "ephemeral_credentials": 0, "access_keys": 0,
            "key_values": 0,
        },
    });
    assert_eq!(content(&made), expected);
}

#[tokio::test]
async fn a_patch_makes_a_version_unless_nothing_changes() {
    let server = Server::start().await;
    server.registries().await;
    let body = json!({
        "identity": "a", "name": "A", "environment": "production", "tags": ["x"],
        "description": "d", "expires_at": "2027-01-01T00:00:00Z", "data": data(),
    });
    let made = server.make("/secrets", body).await;
    let patch = json!({
        "name": "B", "environment": null, "tags": null, "description": null, "expires_at": null,
        "data": {"key_value": {"fields": {"C": "hunter3"}}, "access_keys": []},
    });
    let changed = server.patch("/secrets/1", patch).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.header("etag"), Some("\"2\""));
    let mut expected = content(&made);
    expected["name"] = json!("B");
    expected["environment"] = Value::Null;
    expected["tags"] = json!([]);
    expected["description"] = json!("");
    expected["expires_at"] = Value::Null;
    expected["version"] = json!(2);
    expected["items"]["key_values"] = json!(1);
    expected["items"]["access_keys"] = json!(0);
    assert_eq!(content(&changed.body), expected);
    for same in [
        json!({}),
        json!({"data": {"key_value": {"fields": {"C": "hunter3"}}}}),
    ] {
        let answer = server.patch("/secrets/1", same).await;
        assert_eq!((answer.status, &answer.body["version"]), (200, &json!(2)));
    }
}

#[tokio::test]
async fn timers_are_left_set_and_turned_off() {
    let server = Server::start().await;
    let body = json!({"identity": "a", "name": "A", "renew": {"cloud": 60}});
    server.make("/secrets", body).await;
    for (renew, cloud) in [
        (json!(null), json!(60)),
        (json!({"cloud": null}), json!(60)),
        (json!({"credential": 10}), json!(60)),
        (json!({"cloud": false}), json!(false)),
        (json!({"cloud": 10}), json!(10)),
        (json!({"cloud": 0}), json!(false)),
        (json!({"cloud": 525_600}), json!(525_600)),
        (json!({"cloud": []}), json!(false)),
    ] {
        let answer = server.patch("/secrets/1", json!({"renew": renew})).await;
        assert_eq!(answer.status, 200, "{renew}");
        assert_eq!(answer.body["renew"]["cloud"], cloud, "{renew}");
    }
    for wrong in [
        json!(9),
        json!(-10),
        json!(10.5),
        json!(525_601),
        json!("60"),
        json!(true),
        json!([1]),
        json!({}),
    ] {
        let answer = server
            .patch(
                "/secrets/1",
                json!({"renew": {"cloud": wrong, "ephemeral": 1}}),
            )
            .await;
        answer.problem(422);
        assert_eq!(
            answer.wrong(),
            ["renew.cloud", "renew.ephemeral"],
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn every_wrong_field_is_named_and_no_value_repeated() {
    let server = Server::start().await;
    let body = json!({
        "identity": "a//b", "enabled": "hunter2", "engine": "Vault", "environment": "mars",
        "expires_at": "2020-01-01T00:00:00Z", "tags": "x", "description": 1,
        "renew": {"cloud": 5, "other": 1}, "surplus": "hunter2",
        "data": {"credentials": [{"credential": {"fields": {"password": ["hunter2"]}}}], "b": 1},
    });
    let answer = server.post("/secrets", body).await;
    answer.problem(422);
    let mut wrong = answer.wrong();
    wrong.sort_unstable();
    let expected = [
        "data.b",
        "data.credentials[0].credential.fields.password",
        "description",
        "enabled",
        "engine",
        "environment",
        "expires_at",
        "identity",
        "name",
        "renew.cloud",
        "renew.other",
        "surplus",
        "tags",
    ];
    assert_eq!(wrong, expected);
    assert!(!answer.body.to_string().contains("hunter2"));
    assert_eq!(server.get("/secrets").await.body["items"], json!([]));
}

#[tokio::test]
async fn an_identity_is_unique_and_stays() {
    let server = Server::start().await;
    server.furnish().await;
    let body = json!({"identity": "db/main", "name": "Second"});
    server.post("/secrets", body).await.problem(409);
    let answer = server.patch("/secrets/1", json!({"identity": "x"})).await;
    answer.problem(422);
    assert_eq!(answer.wrong(), ["identity"]);
}

#[tokio::test]
async fn a_secret_is_disabled_and_enabled() {
    let server = Server::start().await;
    server.furnish().await;
    let disabled = server.post("/secrets/1/disable", json!({})).await;
    assert_eq!(disabled.status, 200, "{disabled:?}");
    assert_eq!(disabled.body["status"], "disabled");
    let enabled = server.post("/secrets/1/enable", json!({})).await;
    assert_eq!(
        (enabled.status, &enabled.body["status"]),
        (200, &json!("active"))
    );
    let deleted = server.delete("/secrets/1").await;
    assert_eq!((deleted.status, deleted.body), (204, Value::Null));
    let shown = server.get("/secrets/1").await.body;
    assert_eq!(shown["status"], "disabled");
    assert_eq!(shown["items"]["key_values"], 1);
}

#[tokio::test]
async fn an_expired_secret_is_gone_for_good() {
    let server = Server::start().await;
    server.furnish().await;
    let expired = server.post("/secrets/1/expire", json!({})).await;
    assert_eq!(expired.status, 200, "{expired:?}");
    assert_eq!(expired.body["status"], "expired");
    assert_eq!(expired.body["destroyed_at"], "2026-01-01T00:00:00Z");
    server
        .post("/secrets/1/versions/1/reveal", json!({}))
        .await
        .problem(410);
    server
        .post("/secrets/1/versions/1/restore", json!({}))
        .await
        .problem(410);
    server
        .post("/secrets/1/enable", json!({}))
        .await
        .problem(409);
    server
        .patch("/secrets/1", json!({"name": "x"}))
        .await
        .problem(409);
    let again = server.post("/secrets/1/expire", json!({})).await;
    assert_eq!((again.status, again.body), (200, expired.body));
}

#[tokio::test]
async fn expiry_is_decided_at_its_instant() {
    let server = Server::start().await;
    let body = json!({
        "identity": "a", "name": "A", "expires_at": "2026-01-01T01:00:00Z",
        "data": {"key_value": {"fields": {"A": "1"}}},
    });
    server.make("/secrets", body).await;
    server.advance(TimeDelta::minutes(59));
    let reveal = "/secrets/1/versions/1/reveal";
    assert_eq!(server.post(reveal, json!({})).await.status, 200);
    server.advance(TimeDelta::minutes(1));
    server.post(reveal, json!({})).await.problem(410);
    assert_eq!(server.get("/secrets/1").await.body["status"], "expired");
}

#[tokio::test]
async fn a_purge_destroys_and_frees_the_identity() {
    let server = Server::start().await;
    server.furnish().await;
    let purged = server.delete("/secrets/1?purge=true").await;
    assert_eq!((purged.status, purged.body), (204, Value::Null));
    for path in [
        "/secrets/1",
        "/secrets/1/versions",
        "/secrets/1/versions/1",
        "/secrets/1/errors",
    ] {
        server.get(path).await.problem(404);
    }
    assert_eq!(
        server.get("/authorizations/1").await.body["secrets"],
        json!([])
    );
    let body = json!({"identity": "db/main", "name": "Another"});
    let made = server.make("/secrets", body).await;
    assert_ne!(made["id"], "1");
    server.delete("/secrets/1?purge=true").await.problem(404);
}

#[tokio::test]
async fn credentials_need_permissions_of_their_own() {
    let server = Server::start().await;
    let block = |block: &str| json!({"identity": "a", "name": "A", "data": {block: data()[block]}});
    for (permission, name) in [
        (Permission::CredentialsWrite, "credentials"),
        (Permission::CredentialsWrite, "ssh_keys"),
        (Permission::CredentialsWrite, "ephemeral_credentials"),
        (Permission::CloudCredentialsWrite, "access_keys"),
    ] {
        let token = server.operator_without(&[permission]).await;
        let ask = server.ask("POST", "/secrets").by(&token).json(&block(name));
        ask.answer().await.problem(403);
    }
    let token = server
        .operator_without(&[Permission::CredentialsWrite])
        .await;
    let ask = server
        .ask("POST", "/secrets")
        .by(&token)
        .json(&block("key_value"));
    assert_eq!(ask.answer().await.status, 201);
}

#[tokio::test]
async fn filters_choose() {
    let server = Server::start().await;
    server.furnish().await;
    let body = json!({
        "identity": "third", "name": "Third one", "engine": "Ansible",
        "environment": "production", "tags": ["x"], "enabled": false,
        "expires_at": "2027-01-01T00:00:00Z",
    });
    server.make("/secrets", body).await;
    for (query, expected) in [
        ("identity=db%2Fmain", vec!["1"]),
        ("name=Third+one", vec!["3"]),
        ("engine=Ansible", vec!["3"]),
        ("engine=Generic", vec!["2", "1"]),
        ("environment=production", vec!["3"]),
        ("tag=x", vec!["3"]),
        ("enabled=true", vec!["2", "1"]),
        ("has_error=false", vec!["3", "2", "1"]),
        ("has_error=true", vec![]),
        (
            "expires_from=2026-06-01T00:00:00Z&expires_until=2027-01-01T00:00:00Z",
            vec!["3"],
        ),
        ("expires_until=2026-12-31T23:59:59Z", vec![]),
        ("enabled=true&tag=x", vec![]),
    ] {
        let listed = server.get(&format!("/secrets?{query}")).await;
        let items = listed.body["items"].as_array().expect(query);
        let ids: Vec<&str> = items
            .iter()
            .filter_map(|item| item["id"].as_str())
            .collect();
        assert_eq!(ids, expected, "{query}");
    }
}
