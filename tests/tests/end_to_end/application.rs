use std::collections::BTreeSet;

use dsm_tests::api::{Bearer, secret};
use dsm_tests::client;
use dsm_tests::place::Place;
use dsm_tests::server::Server;
use serde_json::{Value, json};

const SECRET: &str = "/iso/sctm/secret";

/// A token for credentials, if they are good.
pub(crate) async fn token_for(server: &Server, id: &Value, secret: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let body = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        text(id),
        text(secret)
    );
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let path = "/iso/oauth2/token";
    let answer = client::send(server.addr(), "POST", path, &form, body.as_bytes()).await;
    let answer = answer.expect("an answer");
    assert!(matches!(answer.status, 200 | 401), "{answer:?}");
    answer.json()["access_token"].as_str().map(str::to_owned)
}

pub(crate) async fn an_application_works_with_its_secrets(place: Place) {
    let server = place.server().expect("the server starts");
    let client = Bearer::application(&server).await.expect("a token");
    let example = &server.printed.identity;
    let shown = client.get(&format!("{SECRET}/{example}")).await;
    assert_eq!(shown["secret"]["data"][0]["hostname"], "db.example.org");
    let length = shown["secret"]["data"][0]["password"]
        .as_str()
        .map(str::len);
    assert_eq!(length, Some(32));

    let made = client.make(SECRET, secret("ci/token", "first")).await;
    assert_eq!(made["response"]["message"], "Secret created successfully.");
    assert_eq!(
        client
            .value("ci/token")
            .await
            .expect("an answer")
            .as_deref(),
        Some("first")
    );
    let changed = client
        .gives(200, "POST", SECRET, Some(secret("ci/token", "second")))
        .await;
    assert_eq!(
        changed["response"]["message"],
        "Secret updated successfully."
    );
    assert_eq!(
        client
            .value("ci/token")
            .await
            .expect("an answer")
            .as_deref(),
        Some("second")
    );
    let shown = client.get(&format!("{SECRET}/ci/token")).await;
    assert_eq!(shown["secret"]["version"], "2");

    let listed = client.get("/iso/sctm/secrets").await;
    let identities: BTreeSet<&str> = listed["secrets"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|secret| secret["identity"].as_str())
        .collect();
    assert_eq!(identities, BTreeSet::from(["ci/token", example]));

    client
        .gives(200, "DELETE", &format!("{SECRET}/ci/token"), None)
        .await;
    assert_eq!(client.value("ci/token").await.expect("an answer"), None);
    client
        .gives(409, "DELETE", &format!("{SECRET}/ci/token"), None)
        .await;
    let listed = client.get("/iso/sctm/secrets").await;
    assert_eq!(listed["secrets"].as_array().map(Vec::len), Some(1));
    let nobody = Bearer::new(&server, "dsm_nobody");
    nobody
        .gives(401, "GET", &format!("{SECRET}/{example}"), None)
        .await;
}

pub(crate) async fn an_application_registers_another_and_revokes_itself(place: Place) {
    let server = place.server().expect("the server starts");
    let parent = Bearer::application(&server).await.expect("a token");
    let path = "/iso/dapp/application";
    let body = json!({
        "application": "invoices", "system": "billing", "environment": "production",
        "description": "nightly", "tags": "a, b",
    });
    let made = parent.gives(200, "POST", path, Some(body.clone())).await;
    let again = parent.gives(200, "POST", path, Some(body)).await;
    assert_eq!(
        (&again["id"], &again["signature"]),
        (&made["id"], &made["signature"])
    );

    let token = token_for(&server, &made["id"], &made["signature"]).await;
    let child = Bearer::new(&server, &token.expect("a token"));
    let shown = child.get(path).await;
    let expected = json!({
        "name": "invoices", "description": "nightly", "tags": ["a", "b"], "system": "billing",
        "environment": "production", "secrets": [],
    });
    assert_eq!(shown["application"], expected);
    // Each sees what is its own.
    assert_eq!(child.value(&server.printed.identity).await.ok(), Some(None));
    child.make(SECRET, secret("theirs", "x")).await;
    assert_eq!(parent.value("theirs").await.expect("an answer"), None);

    child
        .gives(200, "DELETE", "/iso/dapp/application/authorization", None)
        .await;
    child.gives(401, "GET", path, None).await;
    assert_eq!(
        token_for(&server, &made["id"], &made["signature"]).await,
        None
    );
    parent.get(path).await;
}

/// Each write that was acknowledged is a version, in some order, and none is twice.
pub(crate) async fn writers_of_one_secret_lose_nothing(place: Place) {
    const WRITERS: usize = 6;
    const WRITES: usize = 5;

    let server = place.server().expect("the server starts");
    let client = Bearer::application(&server).await.expect("a token");
    client.make(SECRET, secret("contended", "start")).await;
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for n in 0..WRITES {
                    let value = format!("{writer}-{n}");
                    loop {
                        let answer = client.write("contended", &value).await.expect("an answer");
                        // It lost the race too often, which it may say.
                        if answer.status == 409 {
                            continue;
                        }
                        assert_eq!(answer.status, 200, "{answer:?}");
                        break acknowledged.push(value);
                    }
                }
                acknowledged
            })
        })
        .collect();
    let mut written = BTreeSet::from(["start".to_owned()]);
    for task in tasks {
        written.extend(task.await.expect("a writer ends"));
    }
    let operator = Bearer::operator(&server);
    let listed = operator.get("/api/v1/secrets?identity=contended").await;
    let id = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(listed["items"][0]["version"], WRITERS * WRITES + 1);
    let mut revealed = BTreeSet::new();
    for version in 1..=WRITERS * WRITES + 1 {
        let path = format!("/api/v1/secrets/{id}/versions/{version}/reveal");
        let shown = operator.gives(200, "POST", &path, Some(json!({}))).await;
        let value = shown["data"][0]["KEY"].as_str().expect("a value");
        assert!(revealed.insert(value.to_owned()), "{value} is there twice");
    }
    assert_eq!(revealed, written);
}
