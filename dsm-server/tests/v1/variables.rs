use dsm_core::access::{Origin, Permission};
use dsm_core::pipeline::{Assignments, MappedKeyValues, Mapping};
use dsm_core::vault::{Caller, VariableRegistration};
use serde_json::{Value, json};

use crate::support::Server;

/// Variables of authorization 1, `APP_KEY` mapped to a secret.
pub(crate) async fn register(server: &Server) {
    let resources = json!({"resources": ["CI/CD"], "allowed_ips": ["*"]});
    server.patch("/authorizations/1", resources).await;
    let vault = &server.vault;
    let me = Caller::embedded("tests");
    let key = vault
        .reveal_credentials(&me, 1.into())
        .await
        .expect("credentials")
        .into_oauth2()
        .expect("a client id and secret");
    let origin = Origin {
        ip: "192.0.2.1".parse().ok(),
        ..Origin::default()
    };
    let token = vault
        .authenticate(&key.client_id, key.client_secret.expose(), origin.clone())
        .await
        .expect("a token");
    let client = vault
        .principal(token.token.expose(), origin)
        .await
        .expect("a client");
    let env = "PATH=/bin\nDB_PASSWORD=hunter2\nAPP_KEY=hunter3";
    let registration = VariableRegistration {
        variables: Assignments::parse(env).expect("variables"),
        mapping: Mapping {
            key_values: vec![MappedKeyValues {
                name: "app/key".to_owned(),
                variables: vec!["APP_KEY".to_owned()],
            }],
            ..Mapping::default()
        },
    };
    vault
        .register_variables(&client, registration)
        .await
        .expect("registered");
}

async fn names(server: &Server, query: &str) -> Vec<String> {
    let answer = server.get(&format!("/variables{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    assert!(
        !answer.body.to_string().contains("hunter"),
        "values are masked"
    );
    let items = answer.body["items"].as_array().expect("a list");
    let name = |item: &Value| item["name"].as_str().expect("a name").to_owned();
    items.iter().map(name).collect()
}

#[tokio::test]
async fn variables_are_listed_without_values_by_filters() {
    let server = Server::start().await;
    server.furnish().await;
    register(&server).await;
    assert_eq!(names(&server, "").await, ["APP_KEY", "DB_PASSWORD", "PATH"]);
    for (query, expected) in [
        ("?status=pending_review", &["DB_PASSWORD"][..]),
        ("?status=approved_automatically", &["APP_KEY"]),
        ("?status=rejected_automatically&sensitive=false", &["PATH"]),
        ("?sensitive=true", &["APP_KEY", "DB_PASSWORD"]),
        (
            "?application=1&system=billing&environment=production&limit=1",
            &["APP_KEY"],
        ),
        ("?application=2", &[]),
    ] {
        assert_eq!(names(&server, query).await, expected, "{query}");
    }
    for query in [
        "?status=approved",
        "?sensitive=yes",
        "?application=x",
        "?system=none",
    ] {
        server.get(&format!("/variables{query}")).await.problem(400);
    }
    let shown = server.get("/variables/3").await.body;
    assert_eq!(
        (
            &shown["name"],
            &shown["application"],
            &shown["secret"],
            &shown["revision"]
        ),
        (
            &json!("APP_KEY"),
            &json!({"id": "1", "name": "invoices"}),
            &json!("3"),
            &json!(1)
        )
    );
    let deploys = server
        .get("/deploys?application=1&system=billing")
        .await
        .body;
    let deploy = &deploys["items"][0];
    assert_eq!(
        (
            &deploy["variables"],
            &deploy["secrets"],
            &deploy["authorization"]
        ),
        (&json!(3), &json!(["3"]), &json!("1"))
    );
}

#[tokio::test]
async fn a_variable_is_reviewed_revealed_and_destroyed() {
    let server = Server::start().await;
    server.furnish().await;
    register(&server).await;
    let approved = json!({"status": "approved_manually"});
    let answer = server.patch("/variables/2", approved).await;
    assert_eq!(
        (answer.status, &answer.body["status"]),
        (200, &json!("approved_manually"))
    );
    assert_eq!(answer.headers["etag"], "\"2\"");
    for wrong in [
        json!({"status": "pending_review"}),
        json!({"status": "approved"}),
        json!({"status": null}),
        json!({"name": "X"}),
    ] {
        server.patch("/variables/2", wrong).await.problem(422);
    }
    let stale = server
        .ask("PATCH", "/variables/2")
        .header("if-match", "\"1\"");
    let off = json!({"enabled": false});
    stale.json(&off).answer().await.problem(412);

    let shown = server.ask("POST", "/variables/2/reveal").answer().await;
    assert_eq!(
        shown.body,
        json!({"name": "DB_PASSWORD", "value": "hunter2"})
    );
    let viewer = server
        .operator_without(&[Permission::VariablesReveal])
        .await;
    let refused = server.ask("POST", "/variables/2/reveal").by(&viewer);
    refused.answer().await.problem(403);
    let trail = server.get("/audit?operation=variable.reveal").await.body;
    let outcomes: Vec<&Value> = trail["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| &entry["outcome"]["result"])
        .collect();
    assert_eq!(outcomes, ["denied", "allowed"]);
    assert!(!trail.to_string().contains("hunter"));

    assert_eq!(server.delete("/variables/2").await.status, 204);
    server.get("/variables/2").await.problem(404);
}
