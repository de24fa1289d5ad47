use serde_json::json;

use crate::support::{Server, content};

const PLACES: [&str; 5] = [
    "/environments",
    "/systems",
    "/engines",
    "/application-types",
    "/lines-of-business",
];

#[tokio::test]
async fn entries_are_made_shown_changed_and_listed() {
    let server = Server::start().await;
    for place in PLACES {
        let made = server
            .post(place, json!({"name": "alpha", "description": "the first"}))
            .await;
        assert_eq!(made.status, 201, "{made:?}");
        let id = made.body["id"].as_str().expect("an id").to_owned();
        let item = format!("{place}/{id}");
        let location = format!("/api/v1{item}");
        assert_eq!(made.header("location"), Some(&*location));
        assert_eq!(made.header("etag"), Some("\"1\""));
        let expected =
            json!({"id": id, "name": "alpha", "enabled": true, "description": "the first"});
        assert_eq!(content(&made.body), expected);
        assert_eq!(made.body["created_by"], "ada");
        assert_eq!(made.body["created_at"], "2026-01-01T00:00:00Z");

        let shown = server.get(&item).await;
        assert_eq!((shown.status, &shown.body), (200, &made.body));
        assert_eq!(shown.header("etag"), Some("\"1\""));

        let patch = json!({"name": "beta", "enabled": false, "description": null});
        let changed = server.patch(&item, patch).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        assert_eq!(changed.header("etag"), Some("\"2\""));
        let expected = json!({"id": id, "name": "beta", "enabled": false, "description": ""});
        assert_eq!(content(&changed.body), expected);
        assert_eq!(changed.body["revision"], 2);

        let listed = server.get(place).await;
        assert_eq!(listed.status, 200);
        assert_eq!(listed.body["items"][0], changed.body);
        assert_eq!(listed.body["next"], json!(null));
    }
}

#[tokio::test]
async fn a_new_vault_knows_its_engines() {
    let server = Server::start().await;
    let listed = server.get("/engines").await;
    let items = listed.body["items"].as_array().expect("a list");
    let names: Vec<&str> = items
        .iter()
        .filter_map(|item| item["name"].as_str())
        .collect();
    assert_eq!(names, ["Kubernetes", "GitLab", "Ansible", "Generic"]);
}

#[tokio::test]
async fn a_name_is_registered_once() {
    let server = Server::start().await;
    server.make("/systems", json!({"name": "billing"})).await;
    let again = server.post("/systems", json!({"name": "billing"})).await;
    assert!(again.problem(409).is_empty());
    // Another registry is another matter.
    server
        .make("/environments", json!({"name": "billing"}))
        .await;
    let other = server.make("/systems", json!({"name": "other"})).await;
    let path = format!("/systems/{}", other["id"].as_str().expect("an id"));
    let renamed = server.patch(&path, json!({"name": "billing"})).await;
    renamed.problem(409);
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let server = Server::start().await;
    let body = json!({"name": " x ", "description": 7, "enabled": "yes", "color": "red"});
    let answer = server.post("/systems", body).await;
    answer.problem(422);
    assert_eq!(answer.wrong(), ["enabled", "description", "color", "name"]);
    let answer = server.post("/systems", json!({})).await;
    answer.problem(422);
    assert_eq!(answer.wrong(), ["name"]);
    server.make("/systems", json!({"name": "billing"})).await;
    let answer = server
        .patch(
            "/systems/1",
            json!({"name": null, "enabled": null, "id": "2"}),
        )
        .await;
    answer.problem(422);
    assert_eq!(answer.wrong(), ["name", "enabled", "id"]);
    assert_eq!(server.get("/systems/1").await.body["revision"], 1);
}

#[tokio::test]
async fn a_line_or_type_that_is_disabled_leaves_its_applications_for_good() {
    let server = Server::start().await;
    server.registries().await;
    let body = json!({
        "name": "invoices", "authentication_method": "oauth2",
        "line_of_business": "retail", "application_type": "batch",
    });
    server.make("/applications", body).await;
    for enabled in [false, true] {
        let patch = json!({"enabled": enabled});
        assert_eq!(
            server.patch("/lines-of-business/1", patch).await.status,
            200
        );
        let application = server.get("/applications/1").await.body;
        assert_eq!(application["line_of_business"], json!(null));
        assert_eq!(application["application_type"], "batch");
    }
}
