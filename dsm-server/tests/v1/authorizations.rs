use chrono::TimeDelta;
use dsm_core::access::Origin;
use serde_json::{Value, json};

use crate::support::{Server, authorization, content};

#[tokio::test]
async fn an_authorization_is_made_shown_and_changed() {
    let server = Server::start().await;
    server.furnish().await;
    let made = server
        .post("/applications/2/authorizations", authorization(&["1", "2"]))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.header("location"), Some("/api/v1/authorizations/2"));
    let code = made.body["code"].as_str().expect("a code");
    assert_eq!(code.len(), 30);
    let expected = json!({
        "id": "2", "code": code, "application": {"id": "2", "name": "empty"}, "name": "nightly",
        "enabled": true, "revoked_at": null, "expires_at": null, "encrypt_sensitive": false,
        "encryption_format": "jwe", "allow_application_creation": false,
        "environment": "production", "system": "billing",
        "allowed_ips": ["127.0.0.1", "10.0.0.0/8"], "allowed_referrers": [],
        "certificate_fingerprint": null, "resources": ["Application", "Secret Management"],
        "read_only": false, "has_unique_key": false, "secrets": ["1", "2"],
        "created_by_authorization": null,
    });
    assert_eq!(content(&made.body), expected);
    assert_eq!(server.get("/authorizations/2").await.body, made.body);

    let patch = json!({
        "expires_at": "2026-02-01T01:00:00+01:00", "resources": ["CI/CD"], "secrets": null,
        "unique_key": "k", "allowed_ips": null, "name": null, "read_only": true,
        "certificate_fingerprint": "AA".repeat(32),
    });
    let changed = server.patch("/authorizations/2", patch).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let mut now = expected;
    now["expires_at"] = json!("2026-02-01T00:00:00Z");
    now["resources"] = json!(["CI/CD"]);
    now["secrets"] = json!([]);
    now["has_unique_key"] = json!(true);
    now["allowed_ips"] = json!([]);
    now["name"] = json!("");
    now["read_only"] = json!(true);
    now["certificate_fingerprint"] = json!("aa".repeat(32));
    assert_eq!(content(&changed.body), now);
    let cleared = json!({"expires_at": null, "certificate_fingerprint": null, "unique_key": null});
    let cleared = server.patch("/authorizations/2", cleared).await.body;
    assert_eq!(cleared["expires_at"], Value::Null);
    assert_eq!(cleared["certificate_fingerprint"], Value::Null);
    assert_eq!(cleared["has_unique_key"], false);
}

#[tokio::test]
async fn omitted_addresses_refuse_everything() {
    let server = Server::start().await;
    server.furnish().await;
    let mut body = authorization(&[]);
    body.as_object_mut()
        .expect("an object")
        .remove("allowed_ips");
    let made = server.make("/applications/1/authorizations", body).await;
    assert_eq!(made["allowed_ips"], json!([]));
}

#[tokio::test]
async fn every_missing_and_wrong_field_is_named() {
    let server = Server::start().await;
    server.furnish().await;
    let answer = server
        .post("/applications/1/authorizations", json!({"name": "x"}))
        .await;
    answer.problem(422);
    let mut wrong = answer.wrong();
    wrong.sort_unstable();
    let required = [
        "allow_application_creation",
        "enabled",
        "encrypt_sensitive",
        "environment",
        "system",
    ];
    assert_eq!(wrong, required);

    let body = json!({
        "enabled": "yes", "encrypt_sensitive": true, "allow_application_creation": null,
        "environment": "mars", "system": 7, "expires_at": "2020-01-01T00:00:00Z",
        "encryption_format": "rot13", "allowed_ips": ["127.0.0.1", "300.1.1.1"],
        "allowed_referrers": ["nonsense"], "certificate_fingerprint": "zz",
        "resources": ["Everything"], "secrets": ["1", "x", "99"], "surplus": 1,
    });
    let answer = server.post("/applications/1/authorizations", body).await;
    answer.problem(422);
    let mut wrong = answer.wrong();
    wrong.sort_unstable();
    let expected = [
        "allow_application_creation",
        "allowed_ips[1]",
        "allowed_referrers[0]",
        "certificate_fingerprint",
        "enabled",
        "encryption_format",
        "environment",
        "expires_at",
        "resources[0]",
        "secrets",
        "secrets[1]",
        "surplus",
        "system",
    ];
    assert_eq!(wrong, expected);
    let listed = server.get("/applications/1/authorizations").await;
    assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn revoking_is_for_good() {
    let server = Server::start().await;
    server.furnish().await;
    let revoked = server.delete("/authorizations/1").await;
    assert_eq!((revoked.status, revoked.body), (204, Value::Null));
    let shown = server.get("/authorizations/1").await.body;
    assert_eq!(shown["enabled"], false);
    assert_eq!(shown["revoked_at"], "2026-01-01T00:00:00Z");
    let enable = server
        .patch("/authorizations/1", json!({"enabled": true}))
        .await;
    enable.problem(409);
    server.delete("/authorizations/1").await.problem(409);
}

#[tokio::test]
async fn secrets_are_attached_and_detached() {
    let server = Server::start().await;
    server.furnish().await;
    for _ in 0..2 {
        let attached = server
            .ask("PUT", "/authorizations/1/secrets/2")
            .answer()
            .await;
        assert_eq!((attached.status, attached.body), (204, Value::Null));
        let shown = server.get("/authorizations/1").await.body;
        assert_eq!(shown["secrets"], json!(["1", "2"]));
    }
    let detached = server.delete("/authorizations/1/secrets/1").await;
    assert_eq!((detached.status, detached.body), (204, Value::Null));
    let shown = server.get("/authorizations/1").await.body;
    assert_eq!(shown["secrets"], json!(["2"]));
    server
        .delete("/authorizations/1/secrets/1")
        .await
        .problem(404);
    for path in ["/authorizations/1/secrets/9", "/authorizations/9/secrets/1"] {
        server.ask("PUT", path).answer().await.problem(404);
        server.delete(path).await.problem(404);
    }
}

#[tokio::test]
async fn revealed_credentials_get_a_token() {
    let server = Server::start().await;
    server.furnish().await;
    let revealed = server
        .post("/authorizations/1/credentials", json!({}))
        .await;
    assert_eq!(revealed.status, 200, "{revealed:?}");
    let members: Vec<&String> = revealed
        .body
        .as_object()
        .expect("an object")
        .keys()
        .collect();
    assert_eq!(members, ["client_id", "client_secret"]);
    let text = |name: &str| revealed.body[name].as_str().expect("a text");
    let origin = Origin {
        ip: "127.0.0.1".parse().ok(),
        ..Origin::default()
    };
    let token = server
        .vault
        .authenticate(text("client_id"), text("client_secret"), origin)
        .await;
    token.expect("the credentials are good");
}

#[tokio::test]
async fn a_refusal_is_explained_rule_by_rule() {
    let server = Server::start().await;
    server.furnish().await;
    let body = json!({
        "ip": "::ffff:10.1.2.3", "resource": "Secret Management", "identity": "db/main",
    });
    let explained = server.post("/authorizations/1/explain", body).await;
    assert_eq!(explained.status, 200, "{explained:?}");
    assert_eq!(explained.body["permitted"], true);
    let rules = explained.body["rules"].as_array().expect("a list");
    assert_eq!(rules[0]["rule"], "application_enabled");
    assert_eq!(rules[0]["outcome"], "passed");
    assert!(rules.iter().all(|rule| rule["why"].is_string()));

    let failing = |explained: &Value| -> Vec<String> {
        let rules = explained["rules"].as_array().expect("a list");
        let failed = rules.iter().filter(|rule| rule["outcome"] == "failed");
        failed
            .map(|rule| rule["rule"].as_str().expect("a name").to_owned())
            .collect()
    };
    let body = json!({
        "ip": "192.0.2.1", "resource": "CI/CD", "identity": "other",
        "referrer": "https://example.org/", "fingerprint": "00".repeat(20),
        "at": "2031-01-01T00:00:00Z",
    });
    let explained = server.post("/authorizations/1/explain", body).await;
    assert_eq!(explained.body["permitted"], false);
    assert_eq!(
        failing(&explained.body),
        ["ip", "resource", "secret_attached"]
    );

    let body = json!({"resource": "X", "fingerprint": "1", "identity": "a//b", "at": 1, "b": 2});
    let answer = server.post("/authorizations/1/explain", body).await;
    answer.problem(422);
    let mut wrong = answer.wrong();
    wrong.sort_unstable();
    assert_eq!(
        wrong,
        ["at", "b", "fingerprint", "identity", "ip", "resource"]
    );
    assert_eq!(server.get("/authorizations/1").await.body["revision"], 1);
}

#[tokio::test]
async fn filters_choose() {
    let server = Server::start().await;
    server.furnish().await;
    server.make("/environments", json!({"name": "test"})).await;
    server.make("/systems", json!({"name": "crm"})).await;
    server.advance(TimeDelta::hours(1));
    let mut body = authorization(&[]);
    body["environment"] = json!("test");
    body["system"] = json!("crm");
    body["enabled"] = json!(false);
    server.make("/applications/2/authorizations", body).await;
    for (query, expected) in [
        ("application=1", "1"),
        ("application=2", "2"),
        ("system=crm", "2"),
        ("environment=production", "1"),
        ("enabled=false", "2"),
        ("created_from=2026-01-01T00:30:00Z", "2"),
        ("created_until=2026-01-01T00:30:00Z", "1"),
    ] {
        let listed = server.get(&format!("/authorizations?{query}")).await;
        let items = listed.body["items"].as_array().expect(query);
        assert_eq!(items.len(), 1, "{query}");
        assert_eq!(items[0]["id"], expected, "{query}");
    }
    // What refers to a disabled environment is still found by it.
    server
        .patch("/environments/2", json!({"enabled": false}))
        .await;
    let listed = server.get("/authorizations?environment=test").await;
    assert_eq!(listed.body["items"][0]["id"], "2");
}

#[tokio::test]
async fn the_proof_is_explained_where_it_is_asked_for() {
    let server = Server::start().await;
    server.furnish().await;
    let body = json!({
        "name": "cloud", "authentication_method": "aws",
        "aws_arns": ["arn:aws:iam::123456789012:role/ci-*"],
    });
    server.make("/applications", body).await;
    server
        .make("/applications/3/authorizations", authorization(&[]))
        .await;
    let path = "/authorizations/2/explain";
    for (method, arn, outcomes) in [
        (
            "aws",
            "arn:aws:iam::123456789012:role/ci-build",
            ["passed", "passed"],
        ),
        (
            "oauth1",
            "arn:aws:sts::123456789012:assumed-role/ci-x/1",
            ["failed", "passed"],
        ),
        (
            "aws",
            "arn:aws:iam::123456789012:user/ann",
            ["passed", "failed"],
        ),
    ] {
        let body = json!({
            "ip": "10.1.2.3", "resource": "Application", "method": method, "arn": arn,
        });
        let explained = server.post(path, body).await;
        assert_eq!(explained.status, 200, "{explained:?}");
        let rules = explained.body["rules"].as_array().expect("a list");
        assert_eq!(rules[0]["rule"], "authentication_method");
        assert_eq!(rules[1]["rule"], "aws_arn");
        assert_eq!([&rules[0]["outcome"], &rules[1]["outcome"]], outcomes);
        let permitted = outcomes == ["passed", "passed"];
        assert_eq!(explained.body["permitted"], permitted);
    }
    let body = json!({
        "ip": "10.1.2.3", "resource": "Application", "method": "basic", "arn": "ann",
    });
    let refused = server.post(path, body).await;
    assert_eq!(refused.wrong(), ["method", "arn"]);
}

#[tokio::test]
async fn all_are_grouped_by_application_and_pages_follow_each_other() {
    let server = Server::start().await;
    server.registries().await;
    let mut made = Vec::new();
    for name in ["one", "two", "three"] {
        let body = json!({"name": name, "authentication_method": "oauth2"});
        made.push(server.make("/applications", body).await["id"].clone());
    }
    // In turns, so that grouping is not the order of making; the last application has none.
    for (application, name) in [(0, "a"), (1, "b"), (0, "c"), (1, "d"), (0, "e")] {
        let path = format!(
            "/applications/{}/authorizations",
            made[application].as_str().expect("an id")
        );
        let mut body = authorization(&[]);
        body["name"] = json!(name);
        body["enabled"] = json!(name != "c");
        server.make(&path, body).await;
    }
    let names = async |query: &str| {
        let mut names = Vec::new();
        let mut path = format!("/authorizations?{query}");
        loop {
            let page = server.get(&path).await;
            assert_eq!(page.status, 200, "{page:?}");
            for item in page.body["items"].as_array().expect("a list") {
                names.push(item["name"].as_str().expect("a name").to_owned());
            }
            match page.body["next"].as_str() {
                Some(next) => path = format!("/authorizations?{query}&after={next}"),
                None => break names.concat(),
            }
        }
    };
    for limit in 1..=6 {
        assert_eq!(
            names(&format!("limit={limit}")).await,
            "dbeca",
            "{limit} at a time"
        );
    }
    assert_eq!(names("limit=2&enabled=true").await, "dbea");
    assert_eq!(names("limit=2&application=1").await, "eca");
    assert_eq!(names("limit=2&application=3").await, "");
    let whole = server.get("/authorizations?limit=5").await;
    assert!(whole.body["next"].is_null(), "no empty page follows");
    for wrong in ["1", "1-", "-1", "01-1", "1-1-1", "x-1"] {
        server
            .get(&format!("/authorizations?after={wrong}"))
            .await
            .problem(400);
    }
}
