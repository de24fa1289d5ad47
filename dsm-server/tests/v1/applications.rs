use serde_json::json;

use crate::support::{Server, authorization, content};

#[tokio::test]
async fn an_application_is_made_with_every_field() {
    let server = Server::start().await;
    server.registries().await;
    let body = json!({
        "name": "invoices", "authentication_method": "aws", "enabled": false,
        "line_of_business": "retail", "application_type": "batch", "tags": ["a", "b"],
        "description": "nightly", "aws_arns": ["arn:aws:iam::1:role/x"],
        "automatic_provisioning": true, "cloud_profiles": ["p"],
        "credential_profiles": [{"device": "db7", "profile": "q"}],
    });
    let made = server.post("/applications", body.clone()).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.header("location"), Some("/api/v1/applications/1"));
    assert_eq!(made.header("etag"), Some("\"1\""));
    let mut expected = body;
    expected["id"] = json!("1");
    assert_eq!(content(&made.body), expected);
    let shown = server.get("/applications/1").await;
    assert_eq!((shown.status, shown.body), (200, made.body));
}

#[tokio::test]
async fn defaults_are_shown() {
    let server = Server::start().await;
    let body = json!({"name": "invoices", "authentication_method": "oauth2"});
    let made = server.make("/applications", body).await;
    let expected = json!({
        "id": "1", "name": "invoices", "authentication_method": "oauth2", "enabled": true,
        "line_of_business": null, "application_type": null, "tags": [], "description": null,
        "aws_arns": [], "automatic_provisioning": false, "cloud_profiles": [],
        "credential_profiles": [],
    });
    assert_eq!(content(&made), expected);
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_null_clears() {
    let server = Server::start().await;
    server.registries().await;
    let body = json!({
        "name": "invoices", "authentication_method": "oauth2", "line_of_business": "retail",
        "tags": ["a"], "description": "nightly",
    });
    let made = server.make("/applications", body).await;
    let patch = json!({"line_of_business": null, "description": null, "tags": null});
    let changed = server
        .ask("PATCH", "/applications/1")
        .raw("application/merge-patch+json", patch.to_string())
        .answer()
        .await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let mut expected = content(&made);
    expected["line_of_business"] = json!(null);
    expected["description"] = json!(null);
    expected["tags"] = json!([]);
    assert_eq!(content(&changed.body), expected);
    // Nothing to change makes no revision.
    let same = server.patch("/applications/1", json!({"tags": []})).await;
    assert_eq!((same.status, same.header("etag")), (200, Some("\"2\"")));
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let server = Server::start().await;
    let body = json!({
        "authentication_method": "basic", "enabled": 1, "line_of_business": "nowhere",
        "tags": ["a,b"], "aws_arns": ["x"], "credential_profiles": [{"device": "d"}, 7],
        "surplus": true,
    });
    let answer = server.post("/applications", body).await;
    answer.problem(422);
    let mut wrong = answer.wrong();
    wrong.sort_unstable();
    let expected = [
        "authentication_method",
        "aws_arns",
        "credential_profiles[0].profile",
        "credential_profiles[1]",
        "enabled",
        "line_of_business",
        "name",
        "surplus",
        "tags",
    ];
    assert_eq!(wrong, expected);
    let patch = json!({"authentication_method": "oauth1"});
    server
        .make(
            "/applications",
            json!({"name": "invoices", "authentication_method": "oauth2"}),
        )
        .await;
    let answer = server.patch("/applications/1", patch).await;
    answer.problem(422);
    assert_eq!(answer.wrong(), ["authentication_method"]);
}

#[tokio::test]
async fn only_an_application_without_authorizations_is_deleted() {
    let server = Server::start().await;
    server.furnish().await;
    server.delete("/applications/1").await.problem(409);
    let deleted = server.delete("/applications/2").await;
    assert_eq!((deleted.status, deleted.body), (204, json!(null)));
    server.get("/applications/2").await.problem(404);
    server.delete("/applications/2").await.problem(404);
    let taken = json!({"name": "invoices", "authentication_method": "oauth2"});
    server.post("/applications", taken).await.problem(409);
}

#[tokio::test]
async fn filters_choose() {
    let server = Server::start().await;
    server.registries().await;
    for (name, method, tag) in [("a", "oauth2", "x"), ("b", "oauth1", "y")] {
        let body = json!({
            "name": name, "authentication_method": method, "tags": [tag],
            "enabled": name == "a", "application_type": (name == "a").then_some("batch"),
            "line_of_business": (name == "b").then_some("retail"),
        });
        server.make("/applications", body).await;
    }
    for (query, expected) in [
        ("name=a", "a"),
        ("enabled=false", "b"),
        ("authentication_method=oauth1", "b"),
        ("application_type=batch", "a"),
        ("line_of_business=retail", "b"),
        ("tag=x&enabled=true", "a"),
    ] {
        let listed = server.get(&format!("/applications?{query}")).await;
        let items = listed.body["items"].as_array().expect(query);
        assert_eq!(items.len(), 1, "{query}");
        assert_eq!(items[0]["name"], expected, "{query}");
    }
}

#[tokio::test]
async fn the_authorizations_of_an_application_are_its_own() {
    let server = Server::start().await;
    server.furnish().await;
    server
        .make("/applications/2/authorizations", authorization(&[]))
        .await;
    let listed = server.get("/applications/2/authorizations").await;
    let items = listed.body["items"].as_array().expect("a list");
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["application"], json!({"id": "2", "name": "empty"}));
    server
        .get("/applications/9/authorizations")
        .await
        .problem(404);
    server
        .post("/applications/9/authorizations", authorization(&[]))
        .await
        .problem(404);
}
