use serde_json::{Value, json};

use crate::support::{Server, content};

#[tokio::test]
async fn versions_are_listed_and_shown_without_values() {
    let server = Server::start().await;
    server.furnish().await;
    let listed = server.get("/secrets/1/versions").await;
    assert_eq!(listed.status, 200, "{listed:?}");
    let items = listed.body["items"].as_array().expect("a list");
    let numbers: Vec<&Value> = items.iter().map(|item| &item["version"]).collect();
    assert_eq!(numbers, [&json!(2), &json!(1)]);
    let shown = server.get("/secrets/1/versions/1").await;
    assert_eq!((shown.status, &shown.body), (200, &items[1]));
    assert_eq!(shown.header("etag"), Some("\"1\""));
    let expected = json!({
        "version": 1, "secret": "1", "identity": "db/main", "name": "Main database",
        "enabled": true, "engine": "Generic", "environment": null, "expires_at": null,
        "tags": [], "description": "", "destroyed_at": null, "managed": [],
        "renew": {"cloud": false, "credential": false, "ephemeral": false},
        "items": {
            "credentials": 0, "ssh_keys": 0, "ephemeral_credentials": 0, "access_keys": 0,
            "key_values": 1,
        },
    });
    assert_eq!(content(&shown.body), expected);
    for path in [
        "/secrets/1/versions/3",
        "/secrets/1/versions/0",
        "/secrets/9/versions",
    ] {
        server.get(path).await.problem(404);
    }
}

#[tokio::test]
async fn each_version_reveals_its_own_values() {
    let server = Server::start().await;
    server.furnish().await;
    for (version, password) in [(1, "hunter2"), (2, "hunter3")] {
        let path = format!("/secrets/1/versions/{version}/reveal");
        let revealed = server.post(&path, json!({})).await;
        assert_eq!(revealed.status, 200, "{revealed:?}");
        let expected = json!({"version": version, "data": [{"PASSWORD": password}]});
        assert_eq!(revealed.body, expected);
    }
    server
        .post("/secrets/1/versions/3/reveal", json!({}))
        .await
        .problem(404);
    server
        .post("/secrets/9/versions/1/reveal", json!({}))
        .await
        .problem(404);
}

#[tokio::test]
async fn revealed_data_has_the_output_form() {
    let server = Server::start().await;
    let body = json!({
        "identity": "a", "name": "A", "data": {
            "credentials": [{"credential": {"fields": {
                "host": "db7", "user": "u", "user_label": "DB_USER", "password": "p",
            }}}],
            "access_keys": [{"access_key": {"type": "aws", "fields": {
                "access_key_id": "AK", "secret_access_key": "sk",
            }}}],
            "key_value": {"fields": {"N": 7, "Z": null}},
        },
    });
    server.make("/secrets", body).await;
    let revealed = server.post("/secrets/1/versions/1/reveal", json!({})).await;
    let expected = json!([
        {"hostname": "db7", "DB_USER": "u", "password": "p"},
        {"access_key_id": "AK", "secret_access_key": "sk", "TTL": null},
        {"N": "7", "Z": null},
    ]);
    assert_eq!(revealed.body["data"], expected);
}

#[tokio::test]
async fn a_restored_version_is_the_newest() {
    let server = Server::start().await;
    server.furnish().await;
    let restored = server
        .post("/secrets/1/versions/1/restore", json!({}))
        .await;
    assert_eq!(restored.status, 200, "{restored:?}");
    assert_eq!(restored.body["version"], 3);
    let revealed = server.post("/secrets/1/versions/3/reveal", json!({})).await;
    assert_eq!(revealed.body["data"], json!([{"PASSWORD": "hunter2"}]));
    server
        .post("/secrets/1/versions/9/restore", json!({}))
        .await
        .problem(404);
}

#[tokio::test]
async fn versions_are_compared_without_values() {
    let server = Server::start().await;
    server.furnish().await;
    let patch = json!({"environment": "production", "engine": "GitLab", "name": "Renamed"});
    assert_eq!(server.patch("/secrets/1", patch).await.status, 200);
    let compared = server.get("/secrets/1/compare?from=3&to=1").await;
    assert_eq!(compared.status, 200, "{compared:?}");
    let expected = json!({
        "from": 3, "to": 1, "differences": [
            {"field": "name", "change": "changed", "from": "Renamed", "to": "Main database"},
            {"field": "engine", "change": "changed", "from": "GitLab", "to": "Generic"},
            {"field": "environment", "change": "added", "from": "production"},
            {"field": "data[0].PASSWORD", "change": "changed"},
        ],
    });
    assert_eq!(compared.body, expected);
    server
        .get("/secrets/1/compare?from=9&to=1")
        .await
        .problem(404);
    for (query, wrong) in [
        ("from=1&to=1", vec!["from"]),
        ("from=1&to=2", vec!["from"]),
        ("from=x", vec!["from", "to"]),
        ("", vec!["from", "to"]),
        ("from=3&to=1&by=2", vec!["by"]),
    ] {
        let answer = server.get(&format!("/secrets/1/compare?{query}")).await;
        answer.problem(400);
        assert_eq!(answer.wrong(), wrong, "{query}");
    }
}
